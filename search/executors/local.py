"""Jobs in spawned processes of this machine: ready in a second, for budgets too short for a cluster's start."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.executors.worker import (
    DEVICE_ORDER,
    NO_DEVICE,
    THREAD_LIMITS,
    cause_of_death,
    die_over_limit,
    die_with,
    enter_worker,
)
from foldsmith.search.jobs import Fault, Job, JobResult, Workbench
from foldsmith.search.slots import Layout, Slot


@dataclass
class _Worker:
    place: Slot
    process: SpawnProcess
    connection: Connection
    job: Job | None = None
    killed: bool = False


class LocalExecutor(Executor):
    """One long-lived process per slot, a pipe to each; a process that dies is replaced."""

    name = "local"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(self, root: Path, layout: Layout) -> None:
        super().__init__(root, layout)
        self._workers: dict[int, _Worker] = {}

    def start(self) -> None:
        """Spawn the workers; they warm up while the driver goes on."""
        for slot in self.slots:
            self._workers[slot.number] = self._spawn(slot)

    def _spawn(self, slot: Slot) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, str(self.root), slot.number), daemon=True)
        # Read by the libraries when the child imports them.
        with _environment({**THREAD_LIMITS, **DEVICE_ORDER, "CUDA_VISIBLE_DEVICES": slot.gpu or NO_DEVICE}):
            process.start()
        theirs.close()
        return _Worker(slot, process, ours)

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return {number: worker.job for number, worker in self._workers.items() if worker.job is not None}

    def submit(self, job: Job, slot: int) -> None:
        """Send the job to the slot's worker, replacing it if it died meanwhile."""
        worker = self._workers[slot]
        assert worker.job is None, "the slot is taken"
        try:
            worker.connection.send(job)
        except ConnectionError:  # it died while it was idle
            worker = self._replace(worker)
            worker.connection.send(job)
        worker.job = job

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every busy worker that died."""
        busy = {worker.connection: worker for worker in self._workers.values() if worker.job is not None}
        if not busy:
            time.sleep(timeout_seconds)
        ready = wait(list(busy), timeout_seconds) if busy else []
        return [self._collect(worker) for connection, worker in busy.items() if connection in ready]

    def _collect(self, worker: _Worker) -> JobResult:
        assert worker.job is not None
        job, worker.job = worker.job, None
        try:
            result: JobResult = worker.connection.recv()
            is_dead = worker.killed
        except (EOFError, OSError):  # it died, perhaps in the middle of a result
            worker.process.join(5)
            fault, peak = self._fault(worker)
            result = JobResult(job, 0.0, fault=fault, peak_bytes=peak)
            is_dead = True
        if is_dead:
            self._replace(worker)
        return result

    def _replace(self, worker: _Worker) -> _Worker:
        worker.connection.close()
        fresh = self._workers[worker.place.number] = self._spawn(worker.place)
        return fresh

    def _fault(self, worker: _Worker) -> tuple[Fault, int]:
        if worker.killed:
            return Fault("killed", "ended by the driver"), 0
        code = worker.process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return cause_of_death(self.root, worker.place.number, how)

    def kill(self, slot: int) -> None:
        """SIGKILL the worker; ``wait`` reports it and starts another."""
        self._workers[slot].killed = True
        self._workers[slot].process.kill()

    def shutdown(self) -> None:
        """SIGKILL all workers: everything worth keeping is on disk."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join(5)
            worker.connection.close()
        self._workers.clear()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a child started inside inherits; put back afterwards."""
    kept = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(connection: Connection, root: str, slot: int) -> None:
    """A worker's life: take a job, do it, send the result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        die_with(parent.sentinel)
    enter_worker(Path(root), slot)
    bench = Workbench(
        Path(root), on_over_limit=lambda job, peak: die_over_limit(Path(root), slot, job, peak_bytes=peak)
    )
    while True:
        try:
            job: Job = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(bench.run(job))
