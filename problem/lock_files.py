"""Locks for file systems that have none: files that name their owner, and count only while that process lives.

Network, FUSE and shared folders of virtual machines may refuse ``flock``. There a lock is a folder of claims:
``owner``, which is made whole or not at all and never twice, and ``share-…``, one for each process that shares the
lock. A claim of a process of this machine that has ended counts no more and is taken over. What happens to a process
on another machine, or in another container, cannot be seen from here: its claim counts until somebody deletes the file.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

# What ``flock`` answers where it does not work; EBADF is NFS's word for an exclusive lock on a folder.
UNSUPPORTED = frozenset(
    {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EBADF, errno.ENOTTY}
)
HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
OWNER = "owner"


class NoLocksError(OSError):
    """The file system has no ``flock``."""


def try_flock(descriptor: int, mode: int) -> bool:
    """Take the system's lock on an open file without waiting; False while somebody else holds it.

    Raises:
        NoLocksError: the file system has no such locks.
        OSError: what else went wrong.
    """
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        if error.errno in UNSUPPORTED:
            raise NoLocksError(error.errno, error.strerror) from None
        raise
    return True


@dataclass(frozen=True)
class Claim:
    """Who holds a lock.

    Args:
        machine: host name and process namespace: within one, processes are seen by their numbers.
        boot: of that machine; a claim of before the last start is dead.
        pid: the process.
        start: when it began, in the system's own count; empty where the system does not tell.
    """

    machine: str
    boot: str
    pid: int
    start: str

    @property
    def host(self) -> str:
        """The host's name."""
        return self.machine.partition(" ")[0]

    def may_live(self) -> bool:
        """Whether its process runs, or may run where it cannot be seen."""
        if self.machine != _machine():
            return True
        if self.boot != _boot():
            return False
        with contextlib.suppress(PermissionError):  # it lives, and is somebody else's
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
        return _start_of(self.pid) == self.start


def own_claim() -> Claim:
    """This process."""
    return Claim(_machine(), _boot(), os.getpid(), _start_of(os.getpid()))


def _machine() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """The process's start in ticks since boot; two processes of one number differ in it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class LockFile:
    """A lock of claims beside ``path``; see the module.

    Args:
        path: of the file that the system's lock would be on; the claims lie in ``PATH.claims``.
        shared: many may hold it at once, but not beside an owner.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._folder = path.with_name(f"{path.name}.claims")
        self._shared = shared
        self._mine: Path | None = None

    @property
    def owner_path(self) -> Path:
        """The file that names the owner."""
        return self._folder / OWNER

    def try_acquire(self) -> bool:
        """Take the lock; False while somebody else holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"share-{uuid.uuid4().hex[:12]}" if self._shared else OWNER
        mine = self._folder / name
        if not self._make(mine):
            return False
        others = self._sharers(but=mine) if not self._shared else self._owner()
        if others:  # who came at the same moment gives way, too, and both try again
            mine.unlink(missing_ok=True)
            return False
        self._mine = mine
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._mine is not None:
            self._mine.unlink(missing_ok=True)
            self._mine = None

    def holders(self) -> list[Claim]:
        """Who holds the lock: its owner, or all that share it."""
        return [*self._owner(), *self._sharers(but=None)]

    def _make(self, path: Path) -> bool:
        """Let a claim appear whole under its name, unless a living one is there."""
        written = self._folder / f".{uuid.uuid4().hex[:12]}.tmp"
        written.write_text(json.dumps(asdict(own_claim())))
        try:
            for _ in range(2):
                try:
                    os.link(written, path)
                    return True
                except FileExistsError:
                    if not self._bury(path):
                        return False
                except OSError as error:  # no hard links here, either
                    if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                        raise
                    return self._make_exclusively(path, written.read_bytes())
            return False
        finally:
            written.unlink(missing_ok=True)

    def _make_exclusively(self, path: Path, content: bytes) -> bool:
        for _ in range(2):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                if not self._bury(path):
                    return False
                continue
            os.write(descriptor, content)
            os.close(descriptor)
            return True
        return False

    def _bury(self, path: Path) -> bool:
        """Move a dead claim away; False when it lives. Of several that try one succeeds, and puts back a living one."""
        claim = _read(path)
        if claim is not None and claim.may_live():
            return False
        grave = self._folder / f".{uuid.uuid4().hex[:12]}.dead"
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return True
        moved = _read(grave)
        if moved is not None and moved != claim and moved.may_live():
            with contextlib.suppress(OSError):
                os.rename(grave, path)
            return False
        grave.unlink(missing_ok=True)
        return True

    def _owner(self) -> list[Claim]:
        claim = _read(self._folder / OWNER)
        return [claim] if claim is not None and claim.may_live() else []

    def _sharers(self, *, but: Path | None) -> list[Claim]:
        found = []
        for path in sorted(self._folder.glob("share-*")):
            claim = _read(path)
            if path == but or claim is None:
                continue
            if claim.may_live():
                found.append(claim)
            else:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return found


def _read(path: Path) -> Claim | None:
    try:
        return Claim(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
