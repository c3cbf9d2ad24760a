"""A dashboard that is asked without a pause neither blocks who writes the study nor loses anything."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from foldsmith.flow.competition import Competition
from foldsmith.problem.contract import Problem
from foldsmith.problem.folder import Folder
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.journal import open_journal
from foldsmith.search.notes import describe_trial

SERVE = """
import sys
from pathlib import Path
from foldsmith.flow.dashboard import make_dashboard
with make_dashboard(Path(sys.argv[1]), 0) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


class Watcher:
    """Asks a dashboard in a process of its own, from two threads, as fast as it answers."""

    def __init__(self, port: int) -> None:
        self.counts: list[int] = []
        self._url = f"http://127.0.0.1:{port}/api/studies"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_for_ever, daemon=True) for _ in range(2)]

    def ask(self) -> int:
        """How many trials the studies have."""
        with urllib.request.urlopen(self._url, timeout=900) as answer:
            studies = json.load(answer)["study_summaries"]
        total = 0
        for study in studies:
            with urllib.request.urlopen(f"{self._url}/{study['study_id']}?after=0", timeout=900) as answer:
                assert answer.status == 200
                total += len(json.load(answer)["trials"])
        return total

    def _ask_for_ever(self) -> None:
        while not self._stop.is_set():
            self.counts.append(self.ask())

    def __enter__(self) -> "Watcher":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def watched(journal: Path) -> Iterator[Watcher]:
    """A dashboard over ``journal`` that is asked all the time."""
    command = [sys.executable, "-c", SERVE, str(journal)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            with Watcher(int(server.stdout.readline())) as watcher:
                yield watcher
        finally:
            server.terminate()


def write_trials(folder: Folder, n_threads: int, n_trials: int) -> float:
    """What a driver writes, from ``n_threads`` threads at once; the seconds it took."""
    storage, store = open_journal(folder.journal), MemberStore(folder)
    study = optuna.create_study(storage=storage, study_name="c0ffee/linear", load_if_exists=True)
    began = time.perf_counter()

    def write_one(_: int) -> None:
        trial = study.ask()
        member = Member(store.reserve("lin"), "trial", "complete", "c0ffee", "linear", "auc", params={"x": 0.5})
        trial.set_user_attr("member", member.id)
        for fold in range(3):
            trial.report(0.5, fold)
        describe_trial(study, trial, member, store)
        study.tell(trial, trial.suggest_float("x", 0, 1))

    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(write_one, range(n_trials)))
    return time.perf_counter() - began


def test_eight_threads_write_while_it_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone, folder = Folder(tmp_path / "alone"), Folder(tmp_path / "watched")
    calm = write_trials(alone, 8, 60)
    write_trials(folder, 1, 1)  # a study to look at
    with watched(folder.journal) as watcher:
        busy = write_trials(folder, 8, 60)
    lines = folder.journal.read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    trials = optuna.load_study(study_name="c0ffee/linear", storage=open_journal(folder.journal)).trials
    assert len(trials) == 61 and {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.user_attrs["member"] for trial in trials}) == 61
    assert watcher.counts, "it was never asked"
    with capsys.disabled():
        print(f" [dashboard asked {len(watcher.counts)} times: writing took {busy / calm:.2f} times as long] ", end="")


def test_a_search_goes_on_while_it_is_asked(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem()
    comp = Competition(problem.folder.root)
    comp.search(["linear"], trials=1, executor="inline")
    with watched(problem.folder.journal) as watcher:
        report = comp.search(["linear", "knn"], trials=16, executor="inline")
    assert report.ended == "done"
    storage = open_journal(problem.folder.journal)
    states = [
        trial.state
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
        if trial.state != TrialState.WAITING
    ]
    members = MemberStore(problem.folder).all(states=["complete"])
    assert states.count(TrialState.COMPLETE) == 16 == sum(member.kind == "trial" for member in members)
    assert watcher.counts, "it was never asked"
