"""The process behind a slot of the local executor: how it is started, and what it does until its driver is gone.

It is a plain process, no child of ``multiprocessing``: that would run the caller's main module again, in scripts
without ``if __name__ == "__main__"`` the whole search, and would forbid a family to start processes of its own.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path

from foldsmith.search.executors.worker import die_over_limit, enter_worker, log_path
from foldsmith.search.jobs import Job, Workbench
from foldsmith.search.processes import adopt_orphans, kill_children

LOOK_SECONDS = 1.0  # between looks whether the driver is still this process's parent

# The first message is where modules are found; everything else comes from them.
_BOOT = (
    "import sys; from multiprocessing.connection import Connection; link = Connection(int(sys.argv[1])); "
    "sys.path[:] = link.recv(); from foldsmith.search.executors.serving import serve; "
    "serve(link, sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)


def start_worker(
    root: Path, slot: int, *, environment: Mapping[str, str], folder: Path
) -> tuple["subprocess.Popen[bytes]", Connection]:
    """Start a worker, and give its process and the driver's end of the line to it.

    Args:
        root: the competition folder.
        environment: of the worker; this process's own stays as it is.
        folder: where the worker works.
    """
    log_path(root, slot).parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = (_above_standard(end) for end in socket.socketpair())
    words = [str(theirs), str(root), str(slot), str(os.getpid())]
    try:
        with open(log_path(root, slot), "ab") as log:
            process = subprocess.Popen(
                [*_interpreter(), "-c", _BOOT, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(environment),
                pass_fds=[theirs],
                start_new_session=True,  # signals of the terminal are the driver's to decide on
            )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    link = Connection(ours)
    with contextlib.suppress(OSError):  # it is dead already, which is found when it gets a job
        link.send([entry if os.path.isabs(entry) else str(folder / entry) for entry in sys.path])
    return process, link


def _interpreter() -> list[str]:
    """This Python with its own switches; ``-P``: the folder that somebody works in is no place to import from."""
    executable = spawn.get_executable()
    switches: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    return [os.fsdecode(executable), *(switch for switch in switches if switch != "-P"), "-P"]


def _above_standard(end: socket.socket) -> int:
    """The descriptor of ``end``, not one of the three standard ones, which may be closed here."""
    import fcntl

    with end:
        return fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)


def serve(link: Connection, root: str, slot: int, driver: int) -> None:
    """A worker's life: take a job, do it, send the result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    os.register_at_fork(after_in_child=link.close)  # else a child that outlives this process keeps the line open
    _die_with(driver)
    folder = Path(root)
    enter_worker(folder, slot)
    bench = Workbench(folder, on_over_limit=lambda job, peak: die_over_limit(folder, slot, job, peak_bytes=peak))
    while True:
        try:
            job: Job = link.recv()
        except (EOFError, OSError):
            break
        link.send(bench.run(job))
    kill_children()
    os._exit(0)


def _die_with(driver: int) -> None:
    """End this process, and what it started, soon after its driver is gone."""
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(driver)
        except OSError:
            descriptor = -1
    else:
        descriptor = -1

    def watch() -> None:
        while os.getppid() == driver:
            if descriptor >= 0:
                select.select([descriptor], [], [], LOOK_SECONDS)
            else:
                threading.Event().wait(LOOK_SECONDS)
        kill_children()
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
