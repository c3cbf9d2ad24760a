"""Who may touch a competition folder: one driver, and its workers."""

import fcntl
import logging
import os
import socket
import time
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from foldsmith.problem.errors import ContractError, FoldsmithWarning
from foldsmith.problem.folder import Folder
from foldsmith.problem.lock_files import LockFile, NoLocksError, try_flock
from foldsmith.search.processes import holders_of, names_of

MAX_SEATS = 16
PATIENCE_SECONDS = 1.0  # with workers of a driver that ended a moment ago, before anybody is told

logger = logging.getLogger(__name__)
_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _let_go() -> None:
    """A forked child holds what its parent held for as long as it lives; it has no use for it."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go)


class FolderLock:
    """An advisory lock on a file, dropped by the system when its process ends, however it ends.

    On a file system without such locks, claims beside the file that name their process; see
    :mod:`foldsmith.problem.lock_files`.

    Args:
        path: created when missing; holds the process id and the machine of an exclusive owner.
        shared: many may hold it at once, but not beside an exclusive owner.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._file: int | None = None
        self._claims = LockFile(path, shared=shared)
        self.is_claimed = False  # by a file that names this process: the system has no lock here

    def acquire(self, *, wait_seconds: float = 0.0) -> bool:
        """Take the lock; False when somebody else still holds it after ``wait_seconds``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        give_up = time.monotonic() + wait_seconds
        try:
            while not self._try(file):
                if time.monotonic() >= give_up:
                    os.close(file)
                    return False
                time.sleep(0.05)
        except OSError:
            os.close(file)
            raise
        if self._mode == fcntl.LOCK_EX:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        self._file = file
        _held.add(self)
        return True

    def _try(self, file: int) -> bool:
        try:
            return try_flock(file, self._mode)
        except NoLocksError:
            self.is_claimed = self._claims.try_acquire()
            return self.is_claimed

    def release(self) -> None:
        """Give the lock back."""
        self._claims.release()
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _held.discard(self)

    def __enter__(self) -> "FolderLock":
        if self._file is None and not self.acquire():
            raise ContractError(f"{self._path} is held by process {lock_owner(self._path) or 'unknown'}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def lock_owner(path: Path) -> int | None:
    """The process that holds ``path`` exclusively, on :func:`lock_machine`; None when nobody does.

    It only reads: a folder may be another user's, or on a read-only file system.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if try_flock(file, fcntl.LOCK_SH):
            return None
    except NoLocksError:
        holders = LockFile(path).holders()
        return holders[0].pid if holders else None
    finally:
        os.close(file)
    try:
        return int(path.read_text().split()[0]) or None
    except (OSError, ValueError, IndexError):
        return None


def lock_machine(path: Path) -> str | None:
    """The other machine whose process holds ``path``; None when it is one of this machine, or nobody knows."""
    try:
        machine = path.read_text().split()[1]
    except (OSError, IndexError):
        return None
    return None if machine == socket.gethostname() else machine


def claim_driver(
    folder: Folder,
    *,
    is_shared: bool = False,
    wait_seconds: float = 60.0,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[FolderLock, Folder]:
    """Become a driver of the folder, once the workers of a killed driver are gone.

    Args:
        is_shared: the study lies in a database, so that others may drive beside this one. They leave each other's
            trials alone by leases, and there is no waiting for workers that may be theirs.
        say: for people; told at once whom this waits for.

    Returns:
        The lock, and the folder as seen from the seat that was free.

    Raises:
        ContractError: another driver runs, or workers of an earlier one outlive ``wait_seconds``.
    """
    for seat in range(1, MAX_SEATS + 1 if is_shared else 2):
        seated = replace(folder, seat=seat)
        lock = FolderLock(seated.driver_lock)
        if lock.acquire(wait_seconds=0.3):  # somebody who only asks for its owner holds it for a moment
            if lock.is_claimed:
                _warn_of_claims(seated.driver_lock)
            if not is_shared:
                _wait_for_workers(lock, folder.workers_lock, wait_seconds, say)
            return lock, seated
    machine = lock_machine(folder.driver_lock)
    where = f" on {machine}" if machine else ""
    claims = LockFile(folder.driver_lock)
    if (holders := claims.holders()) and machine is not None:
        raise ContractError(
            f"another foldsmith (process {holders[0].pid} on {holders[0].host}) works in {folder.root}, or died there: "
            f"the file system has no locks to tell; if it is gone, delete {claims.owner_path}"
        )
    raise ContractError(
        f"another foldsmith (process {lock_owner(folder.driver_lock) or 'unknown'}{where}) works in {folder.root}; "
        "watch it with 'foldsmith status' or end it with 'foldsmith stop'"
    )


def _warn_of_claims(path: Path) -> None:
    warnings.warn(
        f"the file system of {path.parent} has no locks (flock fails): a lock file that names this process stands in; "
        "start no search there from another machine meanwhile",
        FoldsmithWarning,
        stacklevel=3,
    )


def _wait_for_workers(lock: FolderLock, workers_lock: Path, wait_seconds: float, say: Callable[[str], None]) -> None:
    leftover = FolderLock(workers_lock)
    soon = min(PATIENCE_SECONDS, wait_seconds)
    if leftover.acquire(wait_seconds=soon):
        leftover.release()
        return
    message = f"waiting up to {wait_seconds:g} s for {_leftover_workers(workers_lock)} to end"
    logger.warning(message)
    say(message)
    if not leftover.acquire(wait_seconds=wait_seconds - soon):
        lock.release()
        raise ContractError(
            f"{_leftover_workers(workers_lock)} still run after {wait_seconds:g} s and hold {workers_lock}; "
            f"end them{_how_to_end(holders_of(workers_lock))}, then try again"
        )
    leftover.release()


def _leftover_workers(workers_lock: Path) -> str:
    pids = holders_of(workers_lock)
    if not pids:
        return "workers of an earlier run (of another user, or on another machine)"
    return f"workers of an earlier run ({'processes' if len(pids) > 1 else 'process'} {names_of(pids)})"


def _how_to_end(pids: list[int]) -> str:
    return f" with 'kill -9 {' '.join(map(str, pids))}'" if pids else ""
