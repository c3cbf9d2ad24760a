"""Executors whose folds sleep: the real driver, storage and records, with more slots than any machine here has."""

import heapq
import multiprocessing
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.results.members import MemberStore
from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.executors.ray import RayExecutor, _Worker
from foldsmith.search.jobs import Job, JobResult, Workbench, finish_member
from foldsmith.search.slots import Layout, Slot

FILL_SECONDS = 60.0


class EnoughError(Exception):
    """The window that is measured has passed; raised through the driver, which shuts its executor down."""


class BusyBook:
    """When which slot was busy, and when all of them were for the first time.

    A driver that is too slow never fills them: after ``FILL_SECONDS`` the window begins all the same.

    Args:
        low, high: seconds that a job sleeps, drawn from between them.
        settle_seconds: from the first moment when all slots are busy to the window that is measured.
        window_seconds: its length.
    """

    def __init__(
        self, n_slots: int, *, low: float, high: float, settle_seconds: float, window_seconds: float, seed: int = 0
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._n_slots = n_slots
        self._range = low, high
        self._settle_seconds = settle_seconds
        self.window_seconds = window_seconds
        self._began = time.monotonic()
        self._full_at: float | None = None
        self._spans: list[tuple[float, float]] = []

    def draw(self, n_busy: int) -> float:
        """How long the next job sleeps; it begins now, and ``n_busy`` slots are then busy."""
        now, seconds = time.monotonic(), float(self._random.uniform(*self._range))
        self._spans.append((now, now + seconds))
        if n_busy >= self._n_slots and self._full_at is None:
            self._full_at = now
        return seconds

    def check_time(self) -> None:
        """Raises: EnoughError: the window is over."""
        if self._full_at is None and time.monotonic() > self._began + FILL_SECONDS:
            self._full_at = time.monotonic()
        if self._full_at is not None and time.monotonic() > self._window()[1]:
            raise EnoughError

    def _window(self) -> tuple[float, float]:
        assert self._full_at is not None
        first = self._full_at + self._settle_seconds
        return first, first + self.window_seconds

    @property
    def fill_seconds(self) -> float:
        """From the start until all slots were busy."""
        assert self._full_at is not None
        return self._full_at - self._began

    def busy_share(self) -> float:
        """Slot seconds with a job over all slot seconds, in the window."""
        first, last = self._window()
        busy = sum(max(0.0, min(end, last) - max(start, first)) for start, end in self._spans)
        return busy / (self._n_slots * self.window_seconds)


class SimulatedExecutor(Executor):
    """Slots in one other process: it sleeps for all of them, writes what real workers would write, sends results.

    Args:
        draw: seconds that a job sleeps, given how many slots are then busy.
        check_time: called while waiting; may raise.
    """

    name = "simulated"
    capabilities = Capabilities(isolates_faults=True, can_kill=False, runs_beside=True)

    def __init__(
        self,
        root: Path,
        n_slots: int,
        draw: Callable[[int], float] = lambda n_busy: 0.0,
        check_time: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(root, Layout(n_slots))
        self._draw = draw
        self._check_time = check_time
        self._jobs: dict[int, Job] = {}

    def start(self) -> None:
        """Spawn the process."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, str(self.root)), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # it is ready

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return dict(self._jobs)

    def submit(self, job: Job, slot: int) -> None:
        """Let a job begin."""
        self._jobs[slot] = job
        self._connection.send((slot, job, self._draw(len(self._jobs))))

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results of jobs whose time is over."""
        self._check_time()
        results = []
        while self._connection.poll(0 if results else timeout_seconds):
            slot, result = self._connection.recv()
            del self._jobs[slot]
            results.append(result)
        return results

    def kill(self, slot: int) -> None:
        """Never called: it says that it cannot."""
        raise NotImplementedError

    def shutdown(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._jobs.clear()


def _serve(connection: Connection, root: str) -> None:
    """Sleep for all slots at once: a heap of the times at which jobs end."""
    pretender, outbox = Pretender(Path(root)), queue.SimpleQueue[Any]()
    # A thread of its own sends: two processes that both wait for the other to read would wait for ever.
    threading.Thread(target=_send, args=(connection, outbox), daemon=True).start()
    outbox.put("ready")
    heap: list[tuple[float, int, Job, float]] = []
    while True:
        timeout = max(0.0, heap[0][0] - time.monotonic()) if heap else None
        if connection.poll(timeout):
            try:
                slot, job, seconds = connection.recv()
            except EOFError:
                return
            heapq.heappush(heap, (time.monotonic() + seconds, slot, job, seconds))
        while heap and heap[0][0] <= time.monotonic():
            _, slot, job, seconds = heapq.heappop(heap)
            outbox.put((slot, pretender.finish(job, seconds)))


def _send(connection: Connection, outbox: "queue.SimpleQueue[Any]") -> None:
    while True:
        connection.send(outbox.get())


class Pretender:
    """Writes what a fold and a finish would leave, without fitting anything.

    The files are not synced: a thousand machines would not sync to one disk, and only the driver is measured here.
    """

    def __init__(self, root: Path) -> None:
        os.fsync = lambda descriptor: None
        self._problem: Problem = open_problem(root)
        self._bench = Workbench(root)
        self._members = MemberStore(self._problem.folder)

    def finish(self, job: Job, seconds: float) -> JobResult:
        """The records of a job, and its result."""
        if job.fold is None:
            return finish_member(self._bench, job)
        score = 0.5 + zlib.crc32(repr(sorted(job.params.items())).encode()) / 2**33
        facts = {"device": "cpu"}
        record = {"member": job.member, "fold": job.fold, "repeat": 0, "seed": 0, "provisional": score}
        record |= {"inner_round": None, "seconds": seconds, "facts": facts, "slot": job.slot, "threads": 1}
        store = self._members.fold(job.member, 0, job.fold)
        store.save_fitted(lambda folder: None, None, record)
        valid = self._problem.plan.split(0, job.fold)[1]
        shape = len(valid), self._problem.goal.n_outputs
        random = np.random.default_rng(zlib.crc32(f"{job.member} {job.fold}".encode()))
        test = np.full((self._problem.data.test.n_rows, shape[1]), score, np.float32)
        store.save_done(random.random(shape, np.float32), test, {"round": None})
        return JobResult(job, seconds, score, facts=facts)


class RaySleeper:
    """An actor that sleeps for many slots at once, each in a thread."""

    def __init__(self, root: str) -> None:
        self._pretender = Pretender(Path(root))

    def ready(self) -> bool:
        """True as soon as the actor lives."""
        return True

    def run(self, job: Job, seconds: float) -> tuple[JobResult, None]:
        """As the actor of a real slot answers."""
        time.sleep(seconds)
        return self._pretender.finish(job, seconds), None


class RaySleepers(RayExecutor):
    """Ray's own path from submit to result, with many slots per actor.

    Args:
        n_actors: processes that share the slots.
        draw, check_time: see :class:`SimulatedExecutor`.
    """

    name = "ray sleepers"

    def __init__(
        self, root: Path, n_slots: int, n_actors: int, draw: Callable[[int], float], check_time: Callable[[], None]
    ) -> None:
        super().__init__(root, Layout(n_slots))
        self._n_actors = n_actors
        self._draw = draw
        self._check_time = check_time
        self._actors: list[Any] = []

    def start(self) -> None:
        """Start Ray, wait for the actors."""
        super().start()
        import ray

        ray.get([actor.ready.remote() for actor in self._actors])

    def _hire(self, slot: Slot) -> _Worker:
        import ray

        if len(self._actors) < self._n_actors:
            per_actor = -(-self.layout.n_slots // self._n_actors)
            options = ray.remote(RaySleeper).options(max_concurrency=per_actor, num_cpus=0)
            self._actors.append(options.remote(str(self.root)))
        return _Worker(slot, self._actors[slot.number % len(self._actors)])

    def submit(self, job: Job, slot: int) -> None:
        """Call the slot's actor."""
        worker = self._workers[slot]
        worker.job = job
        worker.call = worker.actor.run.remote(job, self._draw(len(self.running())))

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """See :class:`RayExecutor`."""
        self._check_time()
        return super().wait(timeout_seconds)
