"""Faults injected into whole searches: each ends its own trial or is repaired, and nothing else is lost.

Spawned processes and Ray where both make sense; what happens to files, with one process.
"""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState

from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.driver import DiskFullError, Driver, SearchFailedError
from foldsmith.search.executors.base import Executor
from foldsmith.search.executors.inline import InlineExecutor
from foldsmith.search.journal import open_journal
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout
from foldsmith.search.snapshot import Snapshot

Fits = Callable[[Problem], list[str]]
WriteFamily = Callable[..., str]
Until = Callable[..., None]

MIB = 1 << 20

# More that a fold of the toy family can do; each says which process it is first.
MORE = """
    def note(self):
        with open(HERE / f"{Path(__file__).stem}.pids", "a") as file:
            file.write(f"{os.getpid()}\\n")

    def die_by_signal(self):
        self.note()
        self.crash()

    def die_by_exit(self):
        self.note()
        self.exit()

    def loop(self):
        self.note()
        while True:
            pass

    def eat(self):
        self.note()
        taken = []
        for _ in range(200):
            taken.append(np.ones(16 << 17))  # 16 MiB
            time.sleep(0.01)
        raise RuntimeError("nobody ended it")

    def full(self):
        import errno
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def gpu(self):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
"""


class Lab:
    """A started executor of two workers, and a problem of its own."""

    def __init__(self, problem: Problem, executor: Any, write_family: WriteFamily) -> None:
        self.problem, self.executor, self._write = problem, executor, write_family
        self.messages: tuple[str, ...] = ()

    def family(self, name: str, *plan: str) -> str:
        """A family of the user's own whose points do as ``plan`` says."""
        family = self._write(self.problem, *plan, name=name)
        with open(self.problem.folder.code / f"{name}.py", "a") as file:
            file.write(MORE)
        return family

    def search(self, *families: str, n_trials: int, **options: Any) -> str:
        """Search; how it ended."""

        def observe(snapshot: Snapshot) -> None:
            self.messages = snapshot.messages

        executor: Executor = self.executor
        options_ = SearchOptions(families, n_trials, **options)
        return Driver(self.problem, options_, executor, Clock(), observe=observe).run().ended

    def told(self, family: str) -> list[tuple[str, str | None]]:
        """State and reason of the family's trials."""
        storage = open_journal(self.problem.folder.journal)
        study = storage.get_study_id_from_name(f"{self.problem.contract}/{family}")
        found = [trial for trial in storage.get_all_trials(study) if trial.state != TrialState.WAITING]
        return [(trial.state.name, trial.user_attrs.get("error")) for trial in found]

    def error(self, family: str) -> dict[str, Any]:
        """Of the family's one failed member."""
        (member,) = (member for member in members(self.problem) if member.family == family)
        assert member.state == "failed" and member.error is not None
        return member.error

    def pids(self, name: str) -> list[int]:
        """The processes that its folds ran in."""
        path = self.problem.folder.code / f"{name}.pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []  # ended before it said so


@pytest.fixture(scope="module", params=["local", "ray"])
def lab(
    request: pytest.FixtureRequest,
    kept_executors: dict[str, Any],
    new_problem: Callable[[], Problem],
    write_family: WriteFamily,
) -> Iterator[Lab]:
    """Two workers that may use 1.5 GiB together."""
    problem = new_problem()
    kind = kept_executors[request.param]
    executor = kind(problem.folder.root, Layout(2, ram_bytes=1536 * MIB))
    yield Lab(problem, executor, write_family)
    executor.end()


def members(problem: Problem) -> list[Member]:
    """All members, by id."""
    return MemberStore(problem.folder).all()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, and its memory with it."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_every_fault_ends_its_own_trial(lab: Lab, until: Until) -> None:
    plans = {
        "mistake": ("error 1", "error", "ValueError: on purpose"),
        "nothing": ("nan 1", "not_finite", "20 of 20 rows have no finite prediction"),
        "signals": ("die_by_signal 1", "crashed", "the worker process died"),
        "leaves": ("die_by_exit 1", "crashed", "the worker process died"),
        "fills": ("full 1", "disk_full", "No space left on device"),
        "graphics": ("gpu 1", "gpu_oom", "CUDA out of memory"),
    }
    families = {name: lab.family(name, plan) for name, (plan, _, _) in plans.items()}
    good = lab.family("good", "fit")
    assert lab.search(*families.values(), good, n_trials=len(plans) + 1) == "done"
    assert lab.told(good) == [("COMPLETE", None)]
    for name, (_, reason, message) in plans.items():
        assert lab.told(families[name]) == [("FAIL", reason)]
        error = lab.error(families[name])
        assert error["reason"] == reason and message in error["message"]
    assert 'raise ValueError("on purpose")' in lab.error(families["mistake"])["tail"]
    assert "Fatal Python error: Segmentation fault" in lab.error(families["signals"])["tail"]
    for name in ("signals", "leaves"):
        assert len(lab.pids(name)) == 2  # it was tried once more
        until(lambda name=name: all(map(is_gone, lab.pids(name))))


def test_an_endless_loop_is_ended(lab: Lab, until: Until) -> None:
    family = lab.family("endless", "loop")
    assert lab.search(family, n_trials=1, fold_seconds=1.0) == "done"
    assert lab.told(family) == [("FAIL", "timeout")]
    assert "its limit was 1 s" in lab.error(family)["message"]
    until(lambda: all(map(is_gone, lab.pids("endless"))))


def test_a_fold_over_its_memory_is_ended_alone(lab: Lab, until: Until) -> None:
    eats, good = lab.family("eats", "eat 1"), lab.family("lean", "fit")
    assert lab.search(eats, good, n_trials=2) == "done"
    assert lab.told(good) == [("COMPLETE", None)]
    assert lab.told(eats) == [("FAIL", "oom")]
    error = lab.error(eats)
    assert error["reason"] == "oom"
    assert "GiB of memory, its limit was" in error["message"] and "fold 2" in error["message"]
    assert len(lab.pids("eats")) == 2
    until(lambda: all(map(is_gone, lab.pids("eats"))))


def test_folds_that_do_not_fit_together_run_one_after_the_other(lab: Lab) -> None:
    """Until one has ended, and it is known that they take less than they wished for."""
    family = lab.family("large", "fit")
    with open(lab.problem.folder.code / "large.py", "a") as file:
        file.write(
            "\n    def resources(self, facts, params):\n"
            "        from foldsmith.spaces.family import Resources\n"
            f"        return Resources(ram_bytes={1000 * MIB})\n"
            "\n    def fit(self):\n"
            "        began = time.time()\n"
            "        time.sleep(0.1)\n"
            "        with open(HERE / 'large.times', 'a') as file:\n"
            "            file.write(f'{began} {time.time()}\\n')\n"
        )
    assert lab.search(family, n_trials=1) == "done"
    assert lab.told(family) == [("COMPLETE", None)]
    lines = (lab.problem.folder.code / "large.times").read_text().splitlines()
    first, second, third = sorted([float(number) for number in line.split()] for line in lines)
    assert first[1] <= second[0] <= third[0]
    notices = [message for message in lab.messages if "wait for memory although a worker is free" in message]
    assert len(notices) == 1 and notices[0].startswith(f"folds of {family}")


def test_a_worker_that_is_killed_from_outside(lab: Lab, until: Until, fits: Fits) -> None:
    """As by the system when memory is short: the fold is fitted once more, the trial is complete."""
    family = lab.family("victim", "wait 1")
    waits, go = lab.problem.folder.code / "waits", lab.problem.folder.code / "go"
    go.unlink(missing_ok=True)
    killed: list[int] = []

    def kill_once(snapshot: Snapshot) -> None:
        if waits.exists() and waits.read_text() and not killed:
            killed.append(int(waits.read_text()))
            go.touch()
            os.kill(killed[0], signal.SIGKILL)

    # The fold may see `go` before the signal comes: then it is stored, and the worker dies idle.
    Driver(lab.problem, SearchOptions((family,), 1), lab.executor, Clock(), observe=kill_once).run()
    assert killed and lab.told(family) == [("COMPLETE", None)]
    until(lambda: is_gone(killed[0]))
    mine = [line for line in fits(lab.problem) if line.startswith(members_of(lab.problem, family)[0].id)]
    assert len(mine) == len(set(mine)) == 3
    waits.unlink()
    go.unlink()


def members_of(problem: Problem, family: str) -> list[Member]:
    """Of one family."""
    return [member for member in members(problem) if member.family == family]


def test_all_slots_are_whole_again(lab: Lab) -> None:
    assert lab.executor.running() == {}
    assert len(lab.executor.slots) == 2
    faults = {"error", "not_finite", "crashed", "disk_full", "gpu_oom", "timeout", "oom"}
    failed = [member for member in members(lab.problem) if member.state == "failed"]
    assert {member.error["reason"] for member in failed if member.error} == faults
    assert {member.state for member in members(lab.problem)} == {"failed", "complete"}


# --- files -----------------------------------------------------------------------------------------------------


def search(problem: Problem, *families: str, n_trials: int, **others: Any) -> str:
    """In this process."""
    executor = InlineExecutor(problem.folder.root)
    return Driver(problem, SearchOptions(families, n_trials), executor, Clock(), **others).run().ended


def states(problem: Problem, family: str) -> list[str]:
    """Of the trials in the journal."""
    storage = open_journal(problem.folder.journal)
    found = storage.get_all_trials(storage.get_study_id_from_name(f"{problem.contract}/{family}"))
    return [trial.state.name for trial in found if trial.state != TrialState.WAITING]


@pytest.mark.parametrize("n_writes", [0, 1, 12, 25, 40, 47])
def test_a_full_disk_under_the_journal(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, fits: Fits, n_writes: int
) -> None:
    """Half a line was written, then there was no room: one clear message, and after making room nothing is missing."""
    from foldsmith.search import journal

    writes, real = iter(range(10_000)), journal._SoleWriter.append_logs

    def append(self: Any, logs: list[dict[str, Any]]) -> None:
        if next(writes) >= n_writes:
            with open(problem.folder.journal, "ab") as file:
                file.write(b'{"op_code": 4, "work')
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(journal._SoleWriter, "append_logs", append)
        with pytest.raises(DiskFullError, match="^the disk is full .*make room for .*'foldsmith resume'") as caught:
            search(problem, "linear", n_trials=3)
    assert caught.value.exit_code == 1
    fitted = set(fits(problem))
    seen: list[Snapshot] = []
    assert search(problem, "linear", n_trials=3, observe=seen.append) == "done"
    assert any("half-written" in message for message in seen[-1].messages)
    assert states(problem, "linear").count("COMPLETE") == 3
    assert fitted <= set(fits(problem)) and len(fits(problem)) == len(set(fits(problem)))
    complete = [member for member in members(problem) if member.state == "complete"]
    assert len(complete) == 3 and {member.state for member in members(problem)} <= {"complete", "failed"}


def test_a_full_disk_under_a_record(problem: Problem, monkeypatch: pytest.MonkeyPatch, fits: Fits) -> None:
    real = MemberStore.write

    def write(self: MemberStore, member: Member) -> None:
        if member.id == "lin-0002":
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        real(self, member)

    with monkeypatch.context() as patch:
        patch.setattr(MemberStore, "write", write)
        with pytest.raises(DiskFullError, match="the disk is full"):
            search(problem, "linear", n_trials=2)
    assert search(problem, "linear", n_trials=2) == "done"
    assert states(problem, "linear").count("COMPLETE") == 2
    assert len(fits(problem)) == len(set(fits(problem))) == 6


def test_other_errors_of_files_are_not_taken_for_a_full_disk(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: MemberStore, member: Member) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(MemberStore, "write", write)
    with pytest.raises(PermissionError):
        search(problem, "linear", n_trials=1)


def interrupted(problem: Problem, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is killed when its member is complete but not told."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("foldsmith.search.studies.FamilyStudy.complete", die)
        with pytest.raises(KeyboardInterrupt):
            search(problem, family, n_trials=1)


def test_a_torn_line_and_a_stale_lock(problem: Problem, monkeypatch: pytest.MonkeyPatch, fits: Fits) -> None:
    interrupted(problem, "linear", monkeypatch)
    whole = problem.folder.journal.read_bytes()
    problem.folder.journal.write_bytes(whole + b'{"op_code": 6, "trial_id"')
    stale = problem.folder.journal.with_name(problem.folder.journal.name + ".lock")
    stale.touch()
    seen: list[Snapshot] = []
    assert search(problem, "linear", n_trials=1, observe=seen.append) == "done"
    assert not stale.exists()
    assert any("half-written" in message for message in seen[-1].messages)
    assert problem.folder.journal.read_bytes().startswith(whole)
    assert states(problem, "linear") == ["COMPLETE"]
    assert len(fits(problem)) == 3


def test_a_stored_fold_whose_bytes_changed_is_fitted_again(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, write_family: WriteFamily, fits: Fits
) -> None:
    family = write_family(problem, "fit")
    interrupted(problem, family, monkeypatch)
    before = MemberStore(problem.folder).oof("toy-0001").copy()
    model: Path = MemberStore(problem.folder).fold("toy-0001", 0, 1).path / "level.txt"
    text = model.read_bytes()
    model.write_bytes(bytes([text[0] ^ 1]) + text[1:])  # as long as before
    assert search(problem, family, n_trials=1) == "done"
    assert fits(problem) == ["toy-0001 0 0", "toy-0001 0 1", "toy-0001 0 2", "toy-0001 0 1"]
    assert model.read_bytes() == text
    assert (MemberStore(problem.folder).oof("toy-0001") == before).all()
    assert states(problem, family) == ["COMPLETE"]


def test_a_study_in_which_everything_fails_stops(problem: Problem, write_family: WriteFamily) -> None:
    families = [write_family(problem, *["error"] * 9, name=name) for name in ("one", "two")]
    with pytest.raises(SearchFailedError, match="no trial was completed; .*ValueError: on purpose"):
        search(problem, *families, n_trials=100)
    assert [states(problem, family) for family in families] == [["FAIL"] * 3] * 2
