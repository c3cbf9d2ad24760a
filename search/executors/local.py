"""Jobs in spawned processes of this machine: ready in a second, for budgets too short for a cluster's start."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.executors.worker import THREAD_LIMITS, die_with, enter_worker, log_tail
from foldsmith.search.jobs import Fault, Job, JobResult, Workbench


@dataclass
class _Slot:
    process: SpawnProcess
    connection: Connection
    job: Job | None = None
    killed: bool = False


class LocalExecutor(Executor):
    """One long-lived process per slot, a pipe to each; a process that dies is replaced."""

    name = "local"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(self, root: Path, n_slots: int) -> None:
        super().__init__(root, n_slots)
        self._slots: dict[int, _Slot] = {}

    def start(self) -> None:
        """Spawn the workers; they warm up while the driver goes on."""
        for slot in range(self.n_slots):
            self._slots[slot] = self._spawn(slot)

    def _spawn(self, slot: int) -> _Slot:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, str(self.root), slot), daemon=True)
        kept = {name: os.environ.get(name) for name in THREAD_LIMITS}
        os.environ.update(THREAD_LIMITS)  # read by the libraries when the child imports them
        try:
            process.start()
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()
        return _Slot(process, ours)

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return {number: slot.job for number, slot in self._slots.items() if slot.job is not None}

    def submit(self, job: Job) -> int:
        """Send the job to the first free worker, replacing it if it died meanwhile."""
        number = next(n for n, slot in self._slots.items() if slot.job is None)
        try:
            self._slots[number].connection.send(job)
        except ConnectionError:  # it died while it was idle
            self._slots[number].connection.close()
            self._slots[number] = self._spawn(number)
            self._slots[number].connection.send(job)
        self._slots[number].job = job
        return number

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every busy worker that died."""
        busy = {slot.connection: number for number, slot in self._slots.items() if slot.job is not None}
        ready = wait(list(busy), timeout_seconds) if busy else []
        return [self._collect(number) for connection, number in busy.items() if connection in ready]

    def _collect(self, number: int) -> JobResult:
        slot = self._slots[number]
        assert slot.job is not None
        job, slot.job = slot.job, None
        try:
            result: JobResult = slot.connection.recv()
            is_dead = slot.killed
        except (EOFError, ConnectionError):
            slot.process.join(5)
            result = JobResult(job, 0.0, fault=self._fault(slot, number))
            is_dead = True
        if is_dead:
            slot.connection.close()
            self._slots[number] = self._spawn(number)
        return result

    def _fault(self, slot: _Slot, number: int) -> Fault:
        if slot.killed:
            return Fault("killed", "ended by the driver")
        code = slot.process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return Fault("crashed", f"the worker process died ({how})", log_tail(self.root, number))

    def kill(self, slot: int) -> None:
        """SIGKILL the worker; ``wait`` reports it and starts another."""
        self._slots[slot].killed = True
        self._slots[slot].process.kill()

    def shutdown(self) -> None:
        """SIGKILL all workers: everything worth keeping is on disk."""
        for slot in self._slots.values():
            slot.process.kill()
        for slot in self._slots.values():
            slot.process.join(5)
            slot.connection.close()
        self._slots.clear()


def _serve(connection: Connection, root: str, slot: int) -> None:
    """A worker's life: take a job, do it, send the result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        die_with(parent.sentinel)
    enter_worker(Path(root), slot)
    bench = Workbench(Path(root))
    while True:
        try:
            job: Job = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(bench.run(job))
