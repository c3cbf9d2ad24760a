"""What every worker process does first: thread limits, a log, and dying with its driver."""

import faulthandler
import os
import sys
import threading
from pathlib import Path

from foldsmith.problem.folder import Folder
from foldsmith.search.locks import FolderLock

# One thread a library by default; the job's own thread count is passed to each library explicitly.
THREAD_LIMITS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

_lock: FolderLock | None = None


def enter_worker(root: Path, slot: int) -> None:
    """Hold the shared workers' lock while the process lives, and write output and crashes to the slot's log.

    A new driver waits for that lock, so that a fold of a dying worker and its repetition never overlap.
    """
    global _lock
    folder = Folder(root)
    folder.logs.mkdir(parents=True, exist_ok=True)
    log = os.open(folder.logs / f"worker-{slot}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    _lock = FolderLock(folder.workers_lock, shared=True)
    _lock.acquire(wait_seconds=30)


def die_with(descriptor: int) -> None:
    """End this process as soon as ``descriptor`` reads end-of-file: its writer, the driver, is gone."""

    def watch() -> None:
        try:
            while os.read(descriptor, 1):
                pass
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def log_tail(root: Path, slot: int, size: int = 4000) -> str:
    """The end of a slot's log, at most ``size`` characters."""
    path = Folder(root).logs / f"worker-{slot}.log"
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 3 * size))
        lines = file.read().decode(errors="replace").splitlines()
    # A crash ends with this one line, long enough to push the frames out.
    return "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-size:]
