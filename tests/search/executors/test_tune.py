"""Whole searches under Ray Tune: Tune sees what the studies hold, and a killed driver loses nothing."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from foldsmith.flow.search import SearchRequest, make_executor
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import MemberStore
from foldsmith.search.driver import Driver, SearchOptions
from foldsmith.search.executors.base import InfrastructureError
from foldsmith.search.executors.tune import TuneExecutor
from foldsmith.search.executors.tune_desk import Desk, Event, Run
from foldsmith.search.executors.tune_nodes import TuneNodes, resources
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.journal import open_journal
from foldsmith.search.locks import claim_driver
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout, Slot

TOYS = "toys:Toy"


def trials(problem: Problem, family: str) -> list[FrozenTrial]:
    """What a study holds, without the defaults that wait for their turn."""
    storage = open_journal(problem.folder.journal)
    found = storage.get_all_trials(storage.get_study_id_from_name(f"{problem.contract}/{family}"))
    return [trial for trial in found if trial.state != TrialState.WAITING]


def last_trials(problem: Problem, family: str) -> dict[str, FrozenTrial]:
    """By member; one that was pruned and promoted later has two trials."""
    return {trial.user_attrs["member"]: trial for trial in trials(problem, family)}


def tune_rows(problem: Problem) -> dict[str, list[dict[str, str]]]:
    """The rows of Tune's csv files by member, in the order in which they came."""
    rows: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for path in (problem.folder.logs / "tune/search").glob("*/progress.csv"):
        member = json.loads((path.parent / "params.json").read_text())["member"]
        with open(path, newline="") as file:
            rows[member] += csv.DictReader(file)
    return {member: sorted(found, key=lambda row: int(row["timestamp"])) for member, found in rows.items()}


def fold_scores(rows: list[dict[str, str]]) -> dict[int, float]:
    """Tune's score of each fold."""
    return {int(row["fold"]): float(row["score"]) for row in rows if row["fold"] != "-1"}


@pytest.fixture(scope="module")
def searched(new_problem: Callable[[], Problem], write_family: Callable[..., str]) -> Problem:
    """A problem after a search with halving, one family on two (logical) GPUs and one on a core."""
    problem = new_problem()
    write_family(problem, "fit")
    options = SearchOptions(("linear", TOYS), 18, racer="halving", gpu_shares={TOYS: 1.0})
    executor = TuneExecutor(problem.folder.root, Layout(1, ("0", "1")))
    switches, handlers = tune_switches(), [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGUSR1)]
    assert Driver(problem, options, executor, Clock()).run().ended == "done"
    assert tune_switches() == switches, "what Tune was told by the environment is still there"
    assert [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGUSR1)] == handlers
    return problem


def tune_switches() -> dict[str, str]:
    """The variables of the environment that Tune reads."""
    return {name: value for name, value in os.environ.items() if name.startswith(("TUNE_", "RAY_AIR_", "RAY_CHDIR"))}


class TestSearch:
    """Tune's record of the search and the studies' agree."""

    def test_states(self, searched: Problem) -> None:
        found = {family: last_trials(searched, family) for family in ("linear", TOYS)}
        states = {member: trial.state.name.lower() for last in found.values() for member, trial in last.items()}
        assert states == {member.id: member.state for member in MemberStore(searched.folder).all()}
        assert len(states) == 18
        assert {trial.state.name for last in found.values() for trial in last.values()} == {"COMPLETE", "PRUNED"}

    @pytest.mark.parametrize("family", ["linear", TOYS])
    def test_tune_shows_what_the_study_holds(self, searched: Problem, family: str) -> None:
        rows = tune_rows(searched)
        for member, trial in last_trials(searched, family).items():
            found = rows[member]
            scores = fold_scores(found)
            assert sorted(scores) == sorted(trial.intermediate_values)
            means = [total / (fold + 1) for fold, total in enumerate(accumulate(scores[fold] for fold in sorted(scores)))]
            assert means == pytest.approx([trial.intermediate_values[fold] for fold in sorted(scores)])
            if trial.state is TrialState.COMPLETE:
                assert found[-1]["state"] == "complete"
                assert float(found[-1]["score"]) == pytest.approx(trial.value)
                assert len(scores) == 3
            else:
                assert found[-1]["state"] == "pruned"
                assert len(scores) == 1

    def test_each_fold_where_it_belongs(self, searched: Problem) -> None:
        store = MemberStore(searched.folder)
        devices: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        for member in store.all():
            for fold in range(3):
                if store.fold(member.id, 0, fold).state() != "missing":
                    record = store.fold(member.id, 0, fold).fitted()
                    devices[member.family].add((record["slot"], record["visible_gpus"]))
        assert devices == {"linear": {("cpu1", "")}, TOYS: {("gpu0", "0"), ("gpu1", "1")}}

    def test_no_fold_is_fitted_twice(self, searched: Problem, fits: Callable[[Problem], list[str]]) -> None:
        assert len(fits(searched)) == len(set(fits(searched)))

    def test_tune_leaves_nothing_else(self, searched: Problem) -> None:
        logs = {path.name for path in searched.folder.logs.iterdir()}
        assert logs == {"fits.log", "tune", "tune.log", "worker-0.log", "worker-1.log", "worker-2.log"}
        assert {path.name for path in searched.folder.root.iterdir()} == {
            *(".foldsmith", "code", "foldsmith.toml", "test.csv", "train.csv")
        }
        assert not [thread for thread in threading.enumerate() if thread.name == "tune"]

    def test_members_share_their_slots_process(self, searched: Problem) -> None:
        pids = {row["pid"] for rows in tune_rows(searched).values() for row in rows}
        assert len(pids) == 3


DRIVER = """
import sys
from pathlib import Path
from foldsmith.problem.contract import open_problem
from foldsmith.search.driver import Driver, SearchOptions
from foldsmith.search.executors.tune import TuneExecutor
from foldsmith.search.locks import claim_driver
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout

if __name__ == "__main__":
    problem = open_problem(Path(sys.argv[1]))
    lock, _ = claim_driver(problem.folder)
    with lock:
        executor = TuneExecutor(problem.folder.root, Layout(2))
        Driver(problem, SearchOptions(("linear", "toys:Toy"), 6), executor, Clock()).run()
"""


def test_a_killed_driver_loses_and_doubles_nothing(
    problem: Problem,
    write_family: Callable[..., str],
    until: Callable[..., None],
    fits: Callable[[Problem], list[str]],
    tmp_path: Path,
) -> None:
    write_family(problem, "wait 2")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, str(script), str(problem.folder.root)], start_new_session=True)
    until((problem.folder.code / "waits").exists)
    driver.kill()
    driver.wait()
    before = fits(problem)
    (problem.folder.code / "go").touch()
    assert "toy-0001 0 1" in before and "toy-0001 0 2" not in before

    lock, _ = claim_driver(problem.folder)
    executor = TuneExecutor(problem.folder.root, Layout(2))
    with lock:
        outcome = Driver(problem, SearchOptions(("linear", TOYS), 6), executor, Clock()).run()
    assert outcome.ended == "done"
    states = Counter(trial.state.name for family in ("linear", TOYS) for trial in trials(problem, family))
    assert states == {"COMPLETE": 6}
    assert fits(problem)[: len(before)] == before
    assert len(fits(problem)) == len(set(fits(problem))) == 18
    members = MemberStore(problem.folder).all()
    assert [member.state for member in members] == ["complete"] * 6
    in_tune = fold_scores(tune_rows(problem)["toy-0001"])
    assert sorted(in_tune) == [2]  # a new experiment: the two folds before are known to the study only


def test_on_a_ray_that_runs_already(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None], tmp_path: Path
) -> None:
    """It joins, and leaves within seconds though a job waits for ever; the Ray goes on."""
    import ray

    job = Job("toy-0001", write_family(problem, "wait"), {"do": "wait", "shift": 0.1}, 0, 0)
    ray_command = [str(Path(sys.executable).with_name("ray"))]
    temporary = ["--temp-dir", str(tmp_path)] if len(str(tmp_path)) < 60 else []
    head = ["start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false", *temporary]
    started = subprocess.run([*ray_command, *head], capture_output=True, text=True, check=True)
    try:
        address = next(word for word in started.stdout.replace("'", " ").split() if word.count(".") == 3 and ":" in word)
        executor = make_executor(problem, SearchRequest(executor="tune", address=address), Layout(9))
        with executor:
            assert [slot.name for slot in executor.slots] == ["cpu1", "cpu2"]
            executor.submit(job, 0)
            until((problem.folder.code / "waits").exists)
            began = time.monotonic()
        assert time.monotonic() - began < 20
        pid = int((problem.folder.code / "waits").read_text())
        until(lambda: not Path(f"/proc/{pid}").exists(), seconds=10)
        assert not ray.is_initialized()
        ray.init(address, log_to_driver=False, configure_logging=False)
        ray.shutdown()
    finally:
        subprocess.run([*ray_command, "stop"], capture_output=True, check=False)
