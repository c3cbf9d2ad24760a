"""A search that goes on when its terminal is gone: a process session of its own, or a terminal that is let go."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldsmith.flow.heartbeat import driven_seats, last_beat
from foldsmith.flow.logs import appended, log_path
from foldsmith.problem.folder import Folder

# Tells the child that it is the detached one, and when the command was given: "07:30" means the same to both.
MARK = "FOLDSMITH_DETACHED_AT"
# Most of what can still be wrong with a search shows before its first heartbeat, or within this time.
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Detached:
    """A search that runs by itself.

    Args:
        code: its exit code if it has ended already, else None.
        output: what it wrote until then.
        log: where it writes.
    """

    pid: int
    code: int | None
    output: str
    log: Path


def take_mark() -> float | None:
    """When the command was given if this process is its detached child, else None.

    The mark is taken off, so that nothing which this process starts believes the same of itself.
    """
    mark = os.environ.pop(MARK, None)
    return None if mark is None else float(mark)


def detach(
    root: Path, arguments: Sequence[str], given_at: float, *, settle_seconds: float = SETTLE_SECONDS
) -> Detached:
    """Run ``foldsmith ARGUMENTS`` in a process session of its own, and wait until it searches or has ended.

    It reads from /dev/null, writes to ``logs/search.log`` and ignores SIGHUP.

    Args:
        root: the competition that the arguments are about.
        given_at: when the command was given, in seconds since the epoch.
        settle_seconds: how long to wait at most once it is the folder's driver.
    """
    folder = Folder(root)
    with appended(folder, "search", shlex.join(["foldsmith", *arguments])) as log, _ignoring_hangups():
        start = os.fstat(log.fileno()).st_size
        began = time.time()
        process = subprocess.Popen(
            # -P: a folder that a person works in is no place to import modules from
            [sys.executable, "-P", "-m", "foldsmith", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, MARK: repr(given_at)},
        )
    try:
        code = _settle(folder, process, began, settle_seconds)
    except BaseException:
        process.terminate()  # it would not hear a Ctrl-C
        raise
    with open(log_path(folder, "search"), "rb") as written:
        written.seek(start)
        output = written.read().decode(errors="replace")
    return Detached(process.pid, code, output, log_path(folder, "search"))


def _settle(folder: Folder, process: "subprocess.Popen[bytes]", began: float, settle_seconds: float) -> int | None:
    """Wait until the child is the driver and works, or has ended; its exit code in that case."""
    seat: Folder | None = None
    settled = 0.0
    while process.poll() is None:
        if seat is None:
            seat = next((seat for seat, driver in driven_seats(folder) if driver == process.pid), None)
            settled = time.monotonic() + settle_seconds
        else:
            beat = last_beat(seat)
            if time.monotonic() >= settled or (beat is not None and beat.at >= began):
                break
        time.sleep(0.05)
    return process.poll()


@contextlib.contextmanager
def _ignoring_hangups() -> Iterator[None]:
    """A process started meanwhile ignores SIGHUP from its first moment on."""
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, kept)


class Terminal:
    """The terminal that this process writes to when it is made; it may go away before the process ends."""

    def __init__(self) -> None:
        self._descriptors = {number: os.fstat(number) for number in _open_descriptors() if os.isatty(number)}

    def let_go(self) -> None:
        """Write to /dev/null instead: every write to a terminal that is gone fails."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, terminal in self._descriptors.items():
            with contextlib.suppress(OSError):  # closed meanwhile; or the number leads to another file by now
                if os.path.samestat(os.fstat(number), terminal):
                    os.dup2(nothing, number, inheritable=number <= 2)
        os.close(nothing)
        self._descriptors = {}


def _open_descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc here
        return list(range(64))
