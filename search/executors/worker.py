"""What every worker process does first: thread limits, a log, the workers' lock; and how it says why it died."""

import faulthandler
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from foldsmith.problem.files import read_json, write_json
from foldsmith.problem.folder import Folder
from foldsmith.search.forks import guard_forks
from foldsmith.search.jobs import Fault, Job
from foldsmith.search.locks import FolderLock

# One thread a library by default; the job's own thread count is passed to each library explicitly.
THREAD_LIMITS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# CUDA's own order of devices is another than that of NVML, by which they are numbered here.
DEVICE_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
NO_DEVICE = ""  # an empty list of devices; without a list every device would be visible

_lock: FolderLock | None = None


def enter_worker(root: Path, slot: int) -> None:
    """Hold the shared workers' lock while the process lives, and write output and crashes to the slot's log.

    A new driver waits for that lock, so that a fold of a dying worker and its repetition never overlap.
    """
    global _lock
    folder = Folder(root)
    folder.logs.mkdir(parents=True, exist_ok=True)
    _last_words(root, slot).unlink(missing_ok=True)  # of an earlier worker whose driver died before it could read them
    log = os.open(log_path(root, slot), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    if log > 2:
        os.close(log)
    for text in (sys.stdout, sys.stderr):
        if isinstance(text, TextIOWrapper):  # what a family prints is in the log at once, and can always be spelled
            text.reconfigure(line_buffering=True, errors="backslashreplace")
    faulthandler.enable(2)
    guard_forks()
    _lock = FolderLock(folder.workers_lock, shared=True)
    _lock.acquire(wait_seconds=30)


def log_path(root: Path, slot: int) -> Path:
    """Where what a slot's worker prints goes."""
    return Folder(root).logs / f"worker-{slot}.log"


def die_over_limit(root: Path, slot: int, job: Job, peak_bytes: int) -> None:
    """End this process because its fold passed the memory limit, and leave the reason for the executor."""
    limit = job.ram_limit_bytes or 0
    message = f"{job.label} used {peak_bytes / 2**30:.2f} GiB of memory, its limit was {limit / 2**30:.2f} GiB"
    write_json(_last_words(root, slot), {"message": message, "peak_bytes": peak_bytes})
    os._exit(1)


def cause_of_death(root: Path, slot: int, how: str) -> tuple[Fault, int]:
    """Why a slot's worker died, and its memory's peak if that was the cause.

    Args:
        how: what the executor saw, for people.
    """
    words = _last_words(root, slot)
    if words.exists():
        record = read_json(words)
        words.unlink()
        return Fault("oom", record["message"]), record["peak_bytes"]
    return Fault("crashed", f"the worker process died ({how})", log_tail(root, slot)), 0


def _last_words(root: Path, slot: int) -> Path:
    return Folder(root).logs / f"worker-{slot}.died.json"


def log_tail(root: Path, slot: int, size: int = 4000) -> str:
    """The end of a slot's log, at most ``size`` characters."""
    path = log_path(root, slot)
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 3 * size))
        lines = file.read().decode(errors="replace").splitlines()
    # A crash ends with this one line, long enough to push the frames out.
    return "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-size:]
