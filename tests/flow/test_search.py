"""A search from the first lock to the last member: options, order of events, signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from foldsmith.flow import search as flow
from foldsmith.flow.launch import SearchRequest, last_request
from foldsmith.flow.search import SHORT_BUDGET_SECONDS, check, make_executor, search
from foldsmith.flow.status import status
from foldsmith.flow.submission import current_path
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import ContractError, InputError
from foldsmith.problem.files import read_json
from foldsmith.results.members import MemberStore
from foldsmith.search.executors.inline import InlineExecutor
from foldsmith.search.locks import FolderLock, lock_owner
from foldsmith.search.slots import Layout
from foldsmith.search.snapshot import Snapshot


@pytest.fixture(autouse=True)
def every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots of a search whose folds take milliseconds."""
    monkeypatch.setattr("foldsmith.search.driver.SHOW_SECONDS", 0.0)


MakeProblem = Callable[..., Problem]


def asked(*families: str, n_trials: int | None = 1, **others: Any) -> SearchRequest:
    """A request for an inline search."""
    return SearchRequest(families, n_trials, executor=others.pop("executor", "inline"), **others)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"families": ("lihtgbm",)}, "unknown family 'lihtgbm'; did you mean 'lightgbm'"),
        ({"n_trials": 0}, "--trials 0 is not positive; ask for at least 1"),
        ({"n_trials": None}, "needs an end; give --trials or --time-budget"),
        ({"executor": "locale"}, "unknown executor 'locale'; did you mean 'local'"),
        ({"policy": "round-robbin"}, "unknown policy 'round-robbin'; did you mean 'round-robin'"),
        ({"pruner": "halfing"}, "unknown pruner 'halfing'; did you mean 'halving'"),
        ({"model_seed": -1}, "seed -1 is negative; give 0 or more"),
        ({"sampler_seed": -2}, "seed -2 is negative; give 0 or more"),
        ({"families": ("mine:Own",)}, "there is no file .*mine.py"),
    ],
)
def test_senseless_requests(make_problem: MakeProblem, wrong: dict[str, Any], message: str) -> None:
    problem = make_problem()
    with pytest.raises(InputError, match=message):
        search(problem, replace(asked("linear"), **wrong))
    assert not problem.folder.launch.exists()


def test_a_family_named_twice_is_one_family(make_problem: MakeProblem) -> None:
    problem = make_problem()
    assert search(problem, asked("linear", "linear", n_trials=2)).ended == "done"
    assert len(MemberStore(problem.folder).all()) == 2


def test_flags_go_before_the_config(make_problem: MakeProblem) -> None:
    problem = make_problem(families=["linear"], model_seed=7)
    began = time.time()
    search(problem, SearchRequest((), 1, executor="inline", sampler_seed=5))
    launched = read_json(problem.folder.launch)["request"]
    assert launched["families"] == ["linear"]
    assert (launched["model_seed"], launched["sampler_seed"], launched["executor"]) == (7, 5, "inline")
    assert launched["workers"] == 0  # one per core, of whatever machine goes on with it
    assert began <= launched["started"] <= time.time()
    (member,) = MemberStore(problem.folder).all()
    assert member.seeds == {"model": 7, "sampler": 5}


@pytest.mark.parametrize(
    ("executor", "budget", "expected"),
    [
        ("auto", None, "ray"),
        ("auto", SHORT_BUDGET_SECONDS, "ray"),
        ("auto", SHORT_BUDGET_SECONDS - 1, "local"),
        ("ray", 10.0, "ray"),
        ("local", None, "local"),
        ("inline", None, "inline"),
    ],
)
def test_executors_by_name_and_budget(
    make_problem: MakeProblem, executor: Any, budget: float | None, expected: str
) -> None:
    request = SearchRequest(budget_seconds=budget, executor=executor)
    made = make_executor(make_problem(), request, Layout(3))
    assert (made.name, len(made.slots)) == (expected, 1 if expected == "inline" else 3)


def test_a_search_leaves_members_an_ensemble_and_a_submission(make_problem: MakeProblem) -> None:
    problem = make_problem()
    seen: list[Snapshot] = []
    report = search(problem, asked("linear", "knn", n_trials=3), seen.append)
    assert (report.ended, report.skipped, report.warning) == ("done", {}, None)
    assert report.blended is not None
    assert set(report.blended.members) == {"lin-0001", "lin-0002", "knn-0001"}
    assert sum(report.blended.result.weights.values()) == pytest.approx(1)
    assert len(current_path(problem).read_text().splitlines()) == 13
    assert all(shot.elapsed_seconds >= 0 for shot in seen)
    assert seen[-1].phase == "blending"


def test_there_is_a_submission_before_the_first_trial(
    make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    phases = []

    class Looking(InlineExecutor):
        def start(self) -> None:
            assert current_path(problem).exists()
            phases.append(status(problem.folder.root).phase)

    monkeypatch.setattr(flow, "make_executor", lambda problem, *_: Looking(problem.folder.root))
    search(problem, asked("linear", n_trials=1))
    search(problem, asked("linear", n_trials=2))
    assert phases == ["starting", "starting"]  # not what the search before has left


@pytest.mark.parametrize("verb", [search, check])
def test_another_driver_is_refused(make_problem: MakeProblem, verb: Callable[..., Any]) -> None:
    problem = make_problem()
    with FolderLock(problem.folder.driver_lock), pytest.raises(ContractError, match=f"process {os.getpid()}"):
        verb(problem, asked("linear"))
    assert not problem.folder.launch.exists()


HOLD = """
import sys
from pathlib import Path
from foldsmith.search.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]), shared=True)
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_whom_a_search_waits_for_is_told_at_once(make_problem: MakeProblem) -> None:
    problem = make_problem()
    words = [sys.executable, "-c", HOLD, str(problem.folder.workers_lock)]
    worker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "True\n"
    seen: list[Snapshot] = []

    def observe(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        worker.kill()
        worker.wait()

    assert search(problem, asked("linear"), observe).ended == "done"
    told = f"waiting up to 60 s for workers of an earlier run (process {worker.pid}) to end"
    assert (seen[0].phase, seen[0].messages) == ("starting", (told,))
    assert seen[-1].messages[0] == told  # a display that counts messages shows each of them once
    worker.communicate()


def test_a_check_says_what_the_search_would_say(make_problem: MakeProblem) -> None:
    problem = make_problem()
    check(problem, asked("linear"))
    assert lock_owner(problem.folder.driver_lock) is None
    with pytest.raises(InputError, match="unknown family 'lihtgbm'"):
        check(problem, asked("lihtgbm"))


def test_other_processes_see_the_ensemble(make_problem: MakeProblem) -> None:
    problem = make_problem()
    told: list[Any] = []

    def look(snapshot: Snapshot) -> None:
        seen = status(problem.folder.root).snapshot
        told.append(None if seen is None else seen["ensemble"])

    report = search(problem, asked("linear", n_trials=3), look)
    assert told[0] is None
    give_up = time.monotonic() + 600
    while not any(told) and time.monotonic() < give_up:
        report = search(problem, asked("linear", n_trials=len(told) + 4), look)
    assert report.ended == "done"
    [value, sem] = next(entry for entry in told if entry)
    assert 0 <= value <= 1 and sem >= 0


@pytest.fixture
def outer() -> Iterator[Callable[..., None]]:
    """A handler of SIGINT and SIGTERM that was there before; pytest's own would end the whole run."""

    def handle(*_: object) -> None:
        raise AssertionError("the search did not take the signal")

    kept = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield handle
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_lets_folds_end(make_problem: MakeProblem, number: int, outer: Callable[..., None]) -> None:
    problem = make_problem()

    def once(snapshot: Snapshot) -> None:
        if snapshot.n_complete == 1 and snapshot.slots and not problem.folder.driver.with_name("sent").exists():
            problem.folder.driver.with_name("sent").touch()
            os.kill(os.getpid(), number)

    report = search(problem, asked("linear", n_trials=5), once)
    assert report.ended == "interrupted"
    assert report.blended is not None
    assert signal.getsignal(number) is outer
    found = MemberStore(problem.folder)
    assert [member.state for member in found.all()] == ["complete", "running"]
    assert found.fold("lin-0002", 0, 0).state() == "done"
    assert status(problem.folder.root).phase == "interrupted"
    assert search(problem, asked("linear", n_trials=5)).ended == "done"
    assert [member.state for member in found.all()] == ["complete"] * 5


@pytest.fixture
def hangup(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Who heard of a SIGHUP. The terminal of whoever runs the tests stays as it is."""
    heard: list[str] = []

    class Kept:
        def let_go(self) -> None:
            heard.append("terminal")

    monkeypatch.setattr(flow, "Terminal", Kept)
    kept = signal.signal(signal.SIGHUP, lambda *_: heard.append("outer"))
    yield heard
    signal.signal(signal.SIGHUP, kept)


def hanging_up(snapshot: Snapshot) -> None:
    """Sends two hangups as a fold runs, and waits until they are heard."""
    if snapshot.n_complete == 1 and snapshot.slots:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.02)


def test_hangups_let_folds_end(make_problem: MakeProblem, hangup: list[str]) -> None:
    problem = make_problem()
    report = search(problem, asked("linear", n_trials=5), hanging_up)
    assert report.ended == "interrupted"
    assert set(hangup) == {"terminal"}
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # more of them may come
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert search(problem, asked("linear", n_trials=3)).ended == "done"


def test_hangups_that_are_ignored_stay_ignored(make_problem: MakeProblem, hangup: list[str]) -> None:
    """As below ``nohup``, and in a detached search."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert search(make_problem(), asked("linear", n_trials=3), hanging_up).ended == "done"
    assert (hangup, signal.getsignal(signal.SIGHUP)) == ([], signal.SIG_IGN)


def test_a_search_without_hangups_leaves_their_handler(make_problem: MakeProblem, hangup: list[str]) -> None:
    search(make_problem(), asked("linear"))
    os.kill(os.getpid(), signal.SIGHUP)
    assert hangup == ["outer"]


def test_a_second_signal_ends_at_once(make_problem: MakeProblem, outer: Callable[..., None]) -> None:
    problem = make_problem()

    def twice(snapshot: Snapshot) -> None:
        if snapshot.slots:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        search(problem, asked("linear", n_trials=5), twice)
    assert signal.getsignal(signal.SIGINT) is outer
    assert [member.state for member in MemberStore(problem.folder).all()] == ["failed"]  # closed, not counted
    assert lock_owner(problem.folder.driver_lock) is None
    assert search(problem, asked("linear", n_trials=2)).ended == "done"


def test_a_search_in_a_thread_sets_no_handlers(make_problem: MakeProblem) -> None:
    problem = make_problem()
    before = signal.getsignal(signal.SIGINT)
    seen = []
    work = threading.Thread(
        target=search, args=(problem, asked("linear"), lambda shot: seen.append(signal.getsignal(signal.SIGINT)))
    )
    work.start()
    work.join()
    assert set(seen) == {before}
    assert [member.state for member in MemberStore(problem.folder).all()] == ["complete"]


class TestLastRequest:
    """What ``resume`` asks for."""

    def test_nothing_was_started(self, make_problem: MakeProblem) -> None:
        with pytest.raises(InputError, match="no search was started in .* yet; use 'foldsmith run' or 'search'"):
            last_request(make_problem())

    def test_the_same_families_trials_and_seeds(self, make_problem: MakeProblem) -> None:
        problem = make_problem()
        search(problem, asked("linear", n_trials=2, model_seed=3, sampler_seed=4, workers=2))
        began = time.time()
        again = last_request(problem)
        expected = SearchRequest(("linear",), 2, None, 2, "inline", 3, 4, 0.0, "search", policy="auto", pruner="auto")
        assert replace(again, started=0.0) == expected
        assert began <= again.started <= time.time()

    def test_the_time_that_was_left(self, make_problem: MakeProblem) -> None:
        problem = make_problem()
        began = time.time()
        search(problem, asked("linear", n_trials=1, budget_seconds=100_000.0, started=began - 300))
        took = time.time() - began
        left = last_request(problem).budget_seconds
        assert left is not None
        reserve = 100_000.0 - 300 - left  # for the ensemble: used up, too
        assert 1.5 < reserve < 10_000 + took

    def test_a_driver_that_died_while_starting_used_no_time(self, make_problem: MakeProblem) -> None:
        """The heartbeat of the search before says nothing about this one."""
        problem = make_problem()
        search(problem, asked("linear", n_trials=1, budget_seconds=100_000.0, started=time.time() - 1))

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow, "make_executor", die)
            with pytest.raises(KeyboardInterrupt):
                search(problem, asked("linear", n_trials=None, budget_seconds=500.0))
        assert last_request(problem).budget_seconds == 500.0
        assert status(problem.folder.root).phase == "interrupted"

    def test_the_same_end(self, make_problem: MakeProblem) -> None:
        """Whatever the time budget was, and however long nothing ran."""
        problem = make_problem()
        end = time.time() + 50_000.0
        search(problem, asked("linear", budget_seconds=1_000_000.0, until=end))
        again = last_request(problem)
        assert again.until == end and again.budget_seconds is not None
        assert end - again.started - 10_000 < again.budget_seconds <= end - again.started  # the ensemble's reserve

    def test_the_earlier_end_counts(self, make_problem: MakeProblem) -> None:
        problem = make_problem()
        began = time.time()
        search(problem, asked("linear", budget_seconds=10_000.0, until=began + 500_000, started=began))
        launched = read_json(problem.folder.launch)["request"]
        assert (launched["budget_seconds"], launched["until"]) == (10_000.0, began + 500_000)
        left = last_request(problem).budget_seconds
        assert left is not None and left < 10_000.0

    def test_an_end_that_has_passed(self, make_problem: MakeProblem) -> None:
        problem = make_problem()
        search(problem, asked("linear", n_trials=None, until=time.time()))
        with pytest.raises(InputError, match=r"was to end at \w{3} \d\d:\d\d, which has passed; go on with .* --until"):
            last_request(problem)

    def test_no_time_was_left(self, make_problem: MakeProblem) -> None:
        problem = make_problem()
        search(problem, asked("linear", n_trials=None, budget_seconds=1.0, started=time.time() - 1))
        with pytest.raises(InputError, match="used its whole time; go on with 'foldsmith run --time-budget 10m'"):
            last_request(problem)
