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
