"""Whole searches under Ray Tune: Tune sees what the studies hold, and a killed driver loses nothing."""

import csv
import json
import os
import pickle
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

from foldsmith.flow.launch import SearchRequest
from foldsmith.flow.search import make_executor
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import MemberStore
from foldsmith.search.driver import Driver
from foldsmith.search.executors.base import InfrastructureError
from foldsmith.search.executors.tune.desk import Desk, Event, Run
from foldsmith.search.executors.tune.executor import TuneExecutor
from foldsmith.search.executors.tune.nodes import TuneNodes, resources
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.journal import open_journal
from foldsmith.search.locks import claim_driver
from foldsmith.search.options import SearchOptions
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
    # Times are whole seconds, in which a member may be pruned and promoted; nothing comes after its end.
    return {member: sorted(found, key=when_told) for member, found in rows.items()}


def when_told(row: dict[str, str]) -> tuple[int, bool]:
    """Sorts rows of one member."""
    return int(row["timestamp"]), row["state"] == "complete"


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
            sums = accumulate(scores[fold] for fold in sorted(scores))
            means = {fold: total / (fold + 1) for fold, total in enumerate(sums)}
            assert means == pytest.approx(trial.intermediate_values)
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
from foldsmith.search.driver import Driver
from foldsmith.search.options import SearchOptions
from foldsmith.search.executors.tune.executor import TuneExecutor
from foldsmith.search.locks import claim_driver
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout

if __name__ == "__main__":
    problem = open_problem(Path(sys.argv[1]))
    lock, _ = claim_driver(problem.folder)
    with lock:
        executor = TuneExecutor(problem.folder.root, Layout(2))
        Driver(problem, SearchOptions(("linear", "toys:Toy"), 4), executor, Clock()).run()
"""


@pytest.mark.slow
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
    assert "toy-0001 0 1" in before and "toy-0001 0 2" not in before

    lock, _ = claim_driver(problem.folder)  # the workers are gone
    (problem.folder.code / "go").touch()
    executor = TuneExecutor(problem.folder.root, Layout(2))
    with lock:
        outcome = Driver(problem, SearchOptions(("linear", TOYS), 4), executor, Clock()).run()
    assert outcome.ended == "done"
    states = Counter(trial.state.name for family in ("linear", TOYS) for trial in trials(problem, family))
    assert states == {"COMPLETE": 4}
    assert fits(problem)[: len(before)] == before
    assert len(fits(problem)) == len(set(fits(problem))) == 12
    members = MemberStore(problem.folder).all()
    assert [member.state for member in members] == ["complete"] * 4
    in_tune = fold_scores(tune_rows(problem)["toy-0001"])
    assert sorted(in_tune) == [2]  # a new experiment: the two folds before are known to the study only


CLUSTER = """
import sys
import ray
from foldsmith.search.executors import ray_cluster
from foldsmith.search.slots import Layout

if __name__ == "__main__":
    membership = ray_cluster.enter(None, Layout(2), "mark")
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    membership.leave()
"""


@pytest.mark.slow
def test_on_a_ray_that_runs_already(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None], tmp_path: Path
) -> None:
    """It joins, and leaves within seconds though a job waits for ever; the Ray goes on."""
    import ray

    job = Job("toy-0001", write_family(problem, "wait"), {"do": "wait", "shift": 0.1}, 0, 0)
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    cluster = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert cluster.stdout is not None
    try:
        address = cluster.stdout.readline().strip()
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
        assert cluster.poll() is None
    finally:
        cluster.communicate(timeout=60)


class Post:
    """A mailbox that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> "Post":
        self.name = name
        return self

    def remote(self, *words: Any) -> None:
        """Note the call."""
        self.said.append((self.name, *(pickle.loads(word) if isinstance(word, bytes) else word for word in words)))


class FakeLoop:
    """A loop of Tune that never does anything by itself."""

    def __init__(self) -> None:
        self.desk, self.mailbox_name, self.is_running = Desk(Post()), "box", True
        self.error: Exception | None = None

    @property
    def said(self) -> list[tuple[Any, ...]]:
        """What the mailbox was told since this was last asked."""
        said: list[tuple[Any, ...]] = list(self.desk.mailbox.said)
        self.desk.mailbox.said.clear()
        return said


@pytest.fixture
def loop() -> FakeLoop:
    """Of the executor."""
    return FakeLoop()


@pytest.fixture
def executor(tmp_path: Path, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> TuneExecutor:
    """With two seats, as if it were started."""
    monkeypatch.setattr("foldsmith.search.executors.ray_cluster.is_broken", lambda: False)
    layout = Layout(2)
    made = TuneExecutor(tmp_path, layout)
    made._furnish({slot: resources(slot, layout, slot.number + 1, "10.0.0.7") for slot in layout.slots()})
    monkeypatch.setattr(made, "_loop", loop)
    return made


def job_of(member: str, fold: int | None = 0) -> Job:
    return Job(member, TOYS, {"shift": 0.1}, fold, 0)


class TestBinding:
    """A member stays in its slot while its Tune trial lives; a slot with nothing to do may be given away."""

    def give_result(self, executor: TuneExecutor, loop: FakeLoop, slot: int, **others: Any) -> JobResult:
        """The job in ``slot`` has ended."""
        result = JobResult(executor.running()[slot], 1.0, **others)
        run = executor._seats[slot].run
        assert run is not None
        run.is_over = result.job.fold is None and result.fault is None
        loop.desk.events.put(Event(run, result=result))
        assert executor.wait(1) == [result]
        return result

    def test_the_next_job_goes_to_the_same_trial(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        first, second = job_of("toy-0001"), job_of("toy-0001", 1)
        executor.submit(first, 1)
        assert loop.said == [] and executor.running() == {1: first}
        run = loop.desk.take_up("a")
        assert run is not None and run.config["params"] == {"shift": 0.1}
        assert loop.said == [("post", "a", first)]
        self.give_result(executor, loop, 1)
        assert [executor.may_take(slot, "toy-0001") for slot in executor.slots] == [False, True]
        executor.submit(second, 1)
        assert loop.said == [("post", "a", second)]

    @pytest.mark.parametrize(("fault", "state"), [(None, "pruned"), (Fault("error", "on purpose"), "failed")])
    def test_an_ended_member_ends_its_trial(
        self, executor: TuneExecutor, loop: FakeLoop, fault: Fault | None, state: str
    ) -> None:
        executor.submit(job_of("toy-0001"), 0)
        loop.desk.take_up("a")
        self.give_result(executor, loop, 0, fault=fault)
        loop.said  # noqa: B018  only what comes now counts
        executor.ended("toy-0001")
        assert loop.said == [("end", "a", state)]
        assert executor.may_take(executor.slots[1], "toy-0001")

    def test_a_finished_member_is_ended_by_tune(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        executor.submit(job_of("toy-0001", None), 0)
        loop.desk.take_up("a")
        self.give_result(executor, loop, 0)
        executor.ended("toy-0001")
        assert loop.said == [("post", "a", job_of("toy-0001", None))]

    def test_a_member_that_ends_while_its_fold_runs(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        executor.submit(job_of("toy-0001"), 0)
        loop.desk.take_up("a")
        executor.ended("toy-0001")
        assert len(loop.said) == 1
        self.give_result(executor, loop, 0)
        assert loop.said == [("end", "a", "left")]

    def test_an_idle_slot_may_be_given_to_another_member(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        executor.submit(job_of("toy-0001"), 0)
        loop.desk.take_up("a")
        self.give_result(executor, loop, 0)
        loop.said  # noqa: B018
        assert executor.may_take(executor.slots[0], "toy-0002")
        executor.submit(job_of("toy-0002"), 0)
        assert loop.said == [("end", "a", "left")]
        executor.submit(job_of("toy-0001", 1), 1)
        assert [run.member for run in loop.desk.waiting] == ["toy-0002", "toy-0001"]

    def test_a_job_that_never_began_is_killed_at_once(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        executor.submit(job_of("toy-0001"), 0)
        executor.kill(0)
        executor.kill(0)
        (result,) = executor.wait(0)
        assert result.fault is not None and result.fault.reason == "killed"
        assert executor.running() == {} and not loop.desk.waiting and executor.wait(0) == []

    def test_what_comes_from_a_trial_that_is_no_longer_bound_is_no_result(
        self, executor: TuneExecutor, loop: FakeLoop
    ) -> None:
        executor.submit(job_of("toy-0001"), 0)
        run = loop.desk.take_up("a")
        self.give_result(executor, loop, 0)
        executor.submit(job_of("toy-0002"), 0)
        loop.desk.events.put(Event(run, error=RuntimeError("died")))
        assert executor.wait(0) == []
        assert executor.running() == {0: job_of("toy-0002")}

    def test_a_loop_that_ends_is_nobodys_fault(self, executor: TuneExecutor, loop: FakeLoop) -> None:
        executor.submit(job_of("toy-0001"), 0)
        loop.is_running, loop.error = False, ValueError("first line\nlast line")
        with pytest.raises(InfrastructureError, match=r"Tune broke down \(last line\); see 'foldsmith logs tune'"):
            executor.wait(0)
        assert executor.running() == {0: job_of("toy-0001")}


class TestDesk:
    """What the two threads do at the same time."""

    def test_tune_waits_for_a_run_while_it_has_none(self) -> None:
        desk = Desk(Post())
        run = Run("toy-0001", 0, {}, job_of("toy-0001"))
        taken: list[Run | None] = []
        thread = threading.Thread(target=lambda: taken.append(desk.take_up("a")), daemon=True)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        desk.open(run)
        thread.join(5)
        assert taken == [run] and desk.take_up("b") is None  # it has one now: it looks again later

    def test_a_closed_desk_gives_nothing(self) -> None:
        desk = Desk(Post())
        desk.open(Run("toy-0001", 0, {}, job_of("toy-0001")))
        desk.close()
        assert desk.take_up("a") is None


class TestResources:
    """No two slots ask for the same, and a node can grant them all at once."""

    def test_all_differ_and_fit(self) -> None:
        layout = Layout(6, ("0", "1"), per_gpu=2, cores=10)
        asked = [resources(slot, layout, number, "10.0.0.7") for number, slot in enumerate(layout.slots(), 1)]
        assert len({tuple(sorted(one.items())) for one in asked}) == 10
        assert sum(one["CPU"] for one in asked) == 10
        assert sum(one.get("GPU", 0) for one in asked) == 2
        assert sum(one["node:10.0.0.7"] for one in asked) <= 1

    def test_gpu_slots_beyond_the_cores_take_none(self) -> None:
        layout = Layout(1, ("0", "1"), cores=2)
        assert "CPU" not in resources(Slot(1, "gpu0", "0"), layout, 2, "10.0.0.7")

    def test_too_many_slots(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("foldsmith.search.executors.ray_cluster.home_node", lambda: "n")
        nodes = TuneNodes(tmp_path, Layout(141), n_workers=0, shares_folder=True)
        with pytest.raises(InputError, match="141 slots on one node are more than 140; lower --workers"):
            nodes.add_home()
