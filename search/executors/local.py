"""Jobs in processes of this machine: ready in a second, for budgets too short for a cluster's start."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from foldsmith.search.executors.base import Capabilities, Executor, InfrastructureError
from foldsmith.search.executors.serving import start_worker
from foldsmith.search.executors.worker import DEVICE_ORDER, NO_DEVICE, THREAD_LIMITS, cause_of_death
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.processes import MARK, kill_marked, kill_tree, working_directory
from foldsmith.search.slots import Layout, Slot

# Between looks for workers that died while a child of theirs keeps the line open.
LOOK_SECONDS = 0.25
GOODBYE_SECONDS = 5.0


@dataclass
class _Worker:
    place: Slot
    process: "subprocess.Popen[bytes]"
    connection: Connection
    job: Job | None = None
    killed: bool = False

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None


class LocalExecutor(Executor):
    """One long-lived process per slot, a line to each; a process that dies is replaced."""

    name = "local"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(self, root: Path, layout: Layout) -> None:
        super().__init__(root.absolute(), layout)
        self._workers: dict[int, _Worker] = {}
        self._folder = working_directory(self.root)  # a family or a notebook may move on
        self._mark = uuid.uuid4().hex

    def start(self) -> None:
        """Start the workers; they warm up while the driver goes on.

        Raises:
            InfrastructureError: the system gives no process.
        """
        for slot in self.slots:
            self._workers[slot.number] = self._spawn(slot)

    def _spawn(self, slot: Slot) -> _Worker:
        # Read by the libraries when the worker imports them.
        own = {**THREAD_LIMITS, **DEVICE_ORDER, "CUDA_VISIBLE_DEVICES": slot.gpu or NO_DEVICE, MARK: self._mark}
        folder = self._folder if self._folder.is_dir() else self.root
        try:
            process, connection = start_worker(self.root, slot.number, environment={**os.environ, **own}, folder=folder)
        except OSError as error:
            raise InfrastructureError(f"the worker of {slot.name} could not be started ({error})") from error
        return _Worker(slot, process, connection)

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return {number: worker.job for number, worker in self._workers.items() if worker.job is not None}

    def submit(self, job: Job, slot: int) -> None:
        """Send the job to the slot's worker, replacing it if it died meanwhile."""
        worker = self._workers[slot]
        assert worker.job is None, "the slot is taken"
        if worker.is_dead:  # while it was idle
            worker = self._replace(worker)
        try:
            worker.connection.send(job)
        except OSError:  # just now
            worker = self._replace(worker)
            worker.connection.send(job)
        worker.job = job

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every busy worker that died."""
        busy = {worker.connection: worker for worker in self._workers.values() if worker.job is not None}
        if not busy:
            time.sleep(timeout_seconds)
        give_up = time.monotonic() + timeout_seconds
        while busy:
            left = give_up - time.monotonic()
            ready = wait(list(busy), max(0.0, min(left, LOOK_SECONDS)))
            ended = [worker for connection, worker in busy.items() if connection in ready or worker.is_dead]
            if ended or left <= LOOK_SECONDS:
                return [self._collect(worker) for worker in ended]
        return []

    def _collect(self, worker: _Worker) -> JobResult:
        assert worker.job is not None
        job, worker.job = worker.job, None
        try:
            # Dead with nothing said: the line may still be open in a child that it left behind.
            if worker.is_dead and not worker.connection.poll():
                raise EOFError
            result: JobResult = worker.connection.recv()
            is_dead = worker.killed
        except (EOFError, OSError):  # it died, perhaps in the middle of a result
            _await_end(worker)
            fault, peak = self._fault(worker)
            result = JobResult(job, 0.0, fault=fault, peak_bytes=peak)
            is_dead = True
        if is_dead:
            self._replace(worker)
        return result

    def _replace(self, worker: _Worker) -> _Worker:
        kill_tree(worker.process.pid)
        _await_end(worker)
        worker.connection.close()
        fresh = self._workers[worker.place.number] = self._spawn(worker.place)
        return fresh

    def _fault(self, worker: _Worker) -> tuple[Fault, int]:
        if worker.killed:
            return Fault("killed", "ended by the driver"), 0
        code = worker.process.poll()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return cause_of_death(self.root, worker.place.number, how)

    def kill(self, slot: int) -> None:
        """SIGKILL the worker and what it started; ``wait`` reports it and starts another."""
        self._workers[slot].killed = True
        kill_tree(self._workers[slot].process.pid)

    def shutdown(self) -> None:
        """SIGKILL all workers and what they started: everything worth keeping is on disk."""
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            kill_tree(worker.process.pid)
        for worker in workers:
            _await_end(worker)
            worker.connection.close()
        if workers:
            kill_marked(self._mark)


def _await_end(worker: _Worker) -> None:
    """A killed process is gone at once, but for one that waits for a broken file system."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.process.wait(GOODBYE_SECONDS)
