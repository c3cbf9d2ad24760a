"""A search in a process of its own: watched, stopped, killed, and resumed to the exact count."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foldsmith.flow.launch import last_request
from foldsmith.flow.status import Status, Stopped, status, stop
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.files import write_json
from foldsmith.results.members import MemberStore
from foldsmith.search.locks import FolderLock, lock_owner
from foldsmith.search.snapshot import Snapshot

Run = Callable[..., Any]


@pytest.fixture
def problem(make_problem: Callable[..., Problem], slow_family: str) -> Problem:
    """A competition with the slow family."""
    problem = make_problem(metric="log_loss")
    problem.folder.code.mkdir()
    (problem.folder.code / "mine.py").write_text(slow_family)
    return problem


@pytest.fixture
def launch(problem: Problem) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a search and waits until its second fold runs."""
    started = []

    def start(*words: object) -> "subprocess.Popen[bytes]":
        command = ["-m", "foldsmith", "-C", problem.folder.root, "search", "mine:Slow", "--executor", "local", *words]
        with open(problem.folder.root / "driver.log", "wb") as log:
            process = subprocess.Popen([sys.executable, *map(str, command)], stdout=log, stderr=log)
        started.append(process)
        until((problem.folder.code / "waits").exists, process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Waits for something that another process does."""
    give_up = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        assert process is None or process.poll() is None, "it ended"
        time.sleep(0.01)


def audit(problem: Problem, n_trials: int) -> None:
    """Every trial is complete, and no fold was fitted twice."""
    members = MemberStore(problem.folder).all()
    assert Counter(member.state for member in members) == {"complete": n_trials}
    fits = (problem.folder.logs / "fits.log").read_text().splitlines()
    assert len(fits) == len(set(fits)) == 3 * n_trials


def test_watched_stopped_and_resumed(problem: Problem, launch: Run, foldsmith: Run) -> None:
    root, code = problem.folder.root, problem.folder.code
    assert status(root).phase == "idle"
    process = launch("--trials", 3, "--workers", 1)

    def has_beat() -> Status | None:
        found = status(root)
        slots = found.snapshot["slots"] if found.snapshot else []
        return found if slots and slots[0]["label"] == "fold 2" else None

    until(has_beat, process)
    found = has_beat()
    assert found is not None and found.snapshot is not None
    assert (found.driver, found.phase) == (process.pid, "searching")
    assert (found.states, found.members) == ({"running": 1}, {})
    assert (found.snapshot["n_running"], found.snapshot["n_trials_wanted"]) == (1, 3)
    assert found.submission is not None and Path(found.submission).exists()
    assert foldsmith("-C", root, "status").out.count(f"process {process.pid} is searching") == 1

    refused = foldsmith("-C", root, "search", "linear", "--trials", 1, "--executor", "inline")
    assert refused.code == 3
    assert f"another foldsmith (process {process.pid}) works in" in refused.err

    asked = threading.Thread(target=stop, args=(root,))
    asked.start()
    until(lambda: status(root).phase == "stopping", process)
    assert asked.is_alive()  # it waits for the running fold
    (code / "go").touch()
    assert process.wait(600) == 130
    asked.join()
    found = status(root)
    assert (found.driver, found.phase, found.snapshot) == (None, "interrupted", None)
    assert found.states == {"running": 1}
    assert (problem.folder.logs / "fits.log").read_text() == "slow-0001 0 0\nslow-0001 0 1\n"
    assert "interrupted; go on with 'foldsmith resume'" in foldsmith("-C", root, "status").out

    resumed = foldsmith("-C", root, "resume")
    assert resumed.code == 0, resumed.err
    audit(problem, 3)
    found = status(root)
    assert (found.phase, found.members, found.driver) == ("idle", {"mine:Slow": 3}, None)
    again = foldsmith("-C", root, "resume")
    assert again.code == 0, again.err
    audit(problem, 3)


def test_killed_and_resumed(problem: Problem, launch: Run, foldsmith: Run) -> None:
    process = launch("--trials", 2, "--workers", 1, "--time-budget", "10m")
    process.kill()
    process.wait()
    found = status(problem.folder.root)
    assert (found.driver, found.phase, found.states) == (None, "interrupted", {"running": 1})
    left = last_request(problem).budget_seconds
    assert left is not None and 500 < left < 600
    with pytest.raises(InputError, match="no search is running in .*; nothing to stop"):
        stop(problem.folder.root)
    (problem.folder.code / "go").touch()
    resumed = foldsmith("-C", problem.folder.root, "resume")
    assert resumed.code == 0, resumed.err
    audit(problem, 2)


def test_a_second_stop_ends_it_at_once(problem: Problem, launch: Run) -> None:
    process = launch("--trials", 2, "--workers", 1)
    asked = [threading.Thread(target=stop, args=(problem.folder.root,)) for _ in range(2)]
    asked[0].start()
    until(lambda: status(problem.folder.root).phase == "stopping", process)
    asked[1].start()
    assert process.wait(600) == 130  # though the fold never ended
    for thread in asked:
        thread.join()
    assert status(problem.folder.root).states == {"running": 1}  # its first fold is kept


def test_resume_without_a_search(problem: Problem, foldsmith: Run) -> None:
    done = foldsmith("-C", problem.folder.root, "resume")
    assert done.code == 2
    assert "error: no search was started in" in done.err


def test_a_search_in_which_everything_failed(problem: Problem, foldsmith: Run) -> None:
    code = problem.folder.code / "mine.py"
    code.write_text(
        code.read_text().replace("        if task.fold_key", "        raise ValueError('no')\n        if task.fold_key")
    )
    done = foldsmith("-C", problem.folder.root, "search", "mine:Slow", "--trials", 9, "--executor", "inline")
    assert done.code == 1
    assert "error: no trial was completed; slow-000" in done.err
    assert "Traceback" not in done.err
    assert status(problem.folder.root).phase == "failed"
    assert status(problem.folder.root).states == {"failed": 3}


def test_phases_between_the_files(problem: Problem) -> None:
    """Before the first heartbeat, and after the last one."""
    folder = problem.folder
    with FolderLock(folder.driver_lock):
        assert status(folder.root).phase == "starting"
        assert status(folder.root).driver == os.getpid()
    write_json(folder.launch, {})
    assert status(folder.root).phase == "interrupted"  # killed while it started
    for last, phase in {
        "searching": "interrupted",
        "stopping": "interrupted",
        "interrupted": "interrupted",
        "failed": "failed",
        "blending": "idle",
    }.items():
        snapshot = Snapshot(last, 1.0).to_json()
        write_json(folder.driver, {"at": 0.0, "seconds_left": None, "snapshot": snapshot})
        assert status(folder.root).phase == phase
    assert lock_owner(folder.driver_lock) is None


def test_stop_leaves_other_machines_alone(problem: Problem) -> None:
    """A process with the same number may run here, too."""
    with FolderLock(problem.folder.driver_lock):
        problem.folder.driver_lock.write_text(f"{os.getpid()} elsewhere\n")
        with pytest.raises(FoldsmithError, match=f"process {os.getpid()}, .* runs on elsewhere; stop it there"):
            stop(problem.folder.root)


@pytest.mark.parametrize(
    ("error", "message"),
    [(ProcessLookupError, "is it in another container"), (PermissionError, "belongs to another user; ask them")],
)
def test_a_process_that_cannot_be_asked(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, error: type[OSError], message: str
) -> None:
    def refuse(pid: int, number: int) -> None:
        raise error

    monkeypatch.setattr(os, "kill", refuse)
    with FolderLock(problem.folder.driver_lock), pytest.raises(FoldsmithError, match=message):
        stop(problem.folder.root)


def test_a_driver_that_takes_its_time(problem: Problem, launch: Run) -> None:
    process = launch("--trials", 2, "--workers", 1)
    assert stop(problem.folder.root, wait_seconds=0.3) == [Stopped(process.pid, "running")]
    (problem.folder.code / "go").touch()
    assert process.wait(600) == 130


def test_stop_names_the_process_it_asked(problem: Problem) -> None:
    script = "import sys; from pathlib import Path; from foldsmith.search.locks import FolderLock\n"
    script += "FolderLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", script, str(problem.folder.driver_lock)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    assert stop(problem.folder.root) == [Stopped(process.pid, "killed")]
    process.communicate()
    assert process.returncode == -signal.SIGTERM
