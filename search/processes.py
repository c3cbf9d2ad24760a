"""Ending processes with all that they started, and putting a working directory back."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

# In the environment of a worker and of all that it starts: what is left of a worker that is gone is found by it.
MARK = "FOLDSMITH_WORKERS"

_PR_SET_CHILD_SUBREAPER = 36
# Helpers of Python's own that end with the process that they belong to.
_HELPERS = ("resource_tracker", "multiprocessing.forkserver")


def kill_tree(pid: int) -> None:
    """SIGKILL a process, all below it, and its process group if it leads one, whether it still lives or not."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        with contextlib.suppress(psutil.Error):
            root.suspend()  # it starts nothing more
        kill_children(root)
        root.kill()
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def kill_children(process: psutil.Process | None = None) -> None:
    """SIGKILL all below a process, this one by default; it goes on itself."""
    process = process or psutil.Process()
    with contextlib.suppress(psutil.Error):
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def kill_marked(mark: str) -> None:
    """SIGKILL every process that has ``mark`` in its environment: what workers that are gone left behind."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()


def adopt_orphans() -> None:
    """Become the parent of processes below this one whose own parent ends, so that they are found; Linux only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


_ENDING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_masks = threading.local()
_n_guards = 0
_is_hooked = False


@contextlib.contextmanager
def forked_children_end_as_told() -> Iterator[None]:
    """Let children that are forked meanwhile end when a signal tells them to.

    They inherit handlers (of a search, of Ray) that wait for something which they are no part of; and a signal that
    comes while a child is being made is forgotten by Python. So the signals wait until the child has no such handler.
    """
    global _n_guards
    guard_forks()
    try:
        yield
    finally:
        _n_guards -= 1


def guard_forks() -> None:
    """As ``forked_children_end_as_told``, for as long as this process lives."""
    global _n_guards, _is_hooked
    _n_guards += 1
    if not _is_hooked:
        _is_hooked = True
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_forget_handlers)


def _hold_signals() -> None:
    _masks.before_fork = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS) if _n_guards else None


def _release_signals() -> None:
    if _masks.before_fork is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before_fork)


def _forget_handlers() -> None:
    if _masks.before_fork is None:
        return
    for number in _ENDING_SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before_fork - {signal.SIGTERM})


class Offspring:
    """Processes that one thread starts while it is watched: what work done in this very process leaves behind."""

    def __init__(self) -> None:
        self._found: set[psutil.Process] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note what is started meanwhile."""
        before = _children_of_thread()
        try:
            yield
        finally:
            self._found |= _children_of_thread() - before

    def kill(self) -> None:
        """SIGKILL what was noted and still runs, with all below it."""
        for process in self._found:
            with contextlib.suppress(psutil.Error):
                if process.is_running() and not _is_helper(process):
                    kill_children(process)
                    process.kill()
                    process.wait(5)
        self._found.clear()


def _children_of_thread() -> set[psutil.Process]:
    """The children that this thread started; those of the whole process where nobody tells them apart."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        pids: Iterable[int] = map(int, text.split())
    except OSError:
        pids = [child.pid for child in psutil.Process().children()]
    found = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.add(psutil.Process(pid))
    return found


def _is_helper(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return any(helper in words for helper in _HELPERS)


def working_directory(otherwise: Path) -> Path:
    """Where this process works; ``otherwise`` when that folder is gone."""
    try:
        return Path.cwd()
    except OSError:
        return otherwise


@contextlib.contextmanager
def staying(otherwise: Path) -> Iterator[None]:
    """Come back to the working directory; to ``otherwise`` when that is gone meanwhile."""
    before = working_directory(otherwise)
    try:
        yield
    finally:
        if working_directory(Path()) != before:
            try:
                os.chdir(before)
            except OSError:
                with contextlib.suppress(OSError):
                    os.chdir(otherwise)


def names_of(pids: Iterable[int]) -> str:
    """Processes for people: their numbers, and which of them are stopped.

    >>> names_of([])
    ''
    """
    return ", ".join(f"{pid}{' (stopped)' if _is_stopped(pid) else ''}" for pid in sorted(pids))


def _is_stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def holders_of(path: Path) -> list[int]:
    """The processes that have ``path`` open, as far as this user may know: of this machine, and not this one."""
    try:
        wanted = path.stat()
    except OSError:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) != os.getpid() and _has_open(entry / "fd", wanted):
            found.append(int(entry.name))
    return sorted(found)


def _has_open(descriptors: Path, wanted: os.stat_result) -> bool:
    try:
        for name in os.listdir(descriptors):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(descriptors / name), wanted):
                    return True
    except OSError:  # it is gone, or another user's
        return False
    return False
