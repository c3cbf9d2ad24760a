"""Who may touch a competition folder: one driver, and its workers."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from foldsmith.problem.errors import ContractError


class FolderLock:
    """An advisory lock on a file, dropped by the system when its process ends, however it ends.

    Args:
        path: created when missing; holds the process id of an exclusive owner.
        shared: many may hold it at once, but not beside an exclusive owner.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._file: int | None = None

    def acquire(self, *, wait_seconds: float = 0.0) -> bool:
        """Take the lock; False when somebody else still holds it after ``wait_seconds``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        give_up = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(file, self._mode | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= give_up:
                    os.close(file)
                    return False
                time.sleep(0.05)
        if self._mode == fcntl.LOCK_EX:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "FolderLock":
        if self._file is None and not self.acquire():
            raise ContractError(f"{self._path} is held by process {lock_owner(self._path) or 'unknown'}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def lock_owner(path: Path) -> int | None:
    """The process that holds ``path`` exclusively; None when nobody does."""
    if not path.exists():
        return None
    probe = FolderLock(path, shared=True)
    if probe.acquire():
        probe.release()
        return None
    try:
        return int(path.read_text().strip() or 0) or None
    except (OSError, ValueError):
        return None


def claim_driver(driver_lock: Path, workers_lock: Path, *, wait_seconds: float = 60.0) -> FolderLock:
    """Become the folder's driver, once the workers of a killed driver are gone.

    Raises:
        ContractError: another driver runs, or workers of an earlier one outlive ``wait_seconds``.
    """
    lock = FolderLock(driver_lock)
    if not lock.acquire(wait_seconds=0.3):  # somebody who only asks for its owner holds it for a moment
        raise ContractError(
            f"another foldsmith (process {lock_owner(driver_lock) or 'unknown'}) works in {driver_lock.parent.parent}; "
            "watch it with 'foldsmith status' or end it with 'foldsmith stop'"
        )
    leftover = FolderLock(workers_lock)
    if not leftover.acquire(wait_seconds=wait_seconds):
        lock.release()
        raise ContractError(
            f"workers of an earlier run still hold {workers_lock} after {wait_seconds:g} s; end them, then try again"
        )
    leftover.release()
    return lock
