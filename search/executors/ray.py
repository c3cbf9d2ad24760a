"""Jobs on Ray actors, one long-lived actor per slot."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import MissingPackageError
from foldsmith.search.executors.base import Capabilities, Executor, InfrastructureError
from foldsmith.search.executors.worker import THREAD_LIMITS, enter_worker, log_tail
from foldsmith.search.jobs import Fault, Job, JobResult, Workbench

# Results only travel through the object store; tables are memory-mapped files and models stay on disk.
OBJECT_STORE_BYTES = 100 * 1024 * 1024


class FoldWorker:
    """The actor behind one slot."""

    def __init__(self, root: str, slot: int) -> None:
        enter_worker(Path(root), slot)
        self._bench = Workbench(Path(root))

    def run(self, job: Job) -> JobResult:
        """Do one job."""
        return self._bench.run(job)


class RayExecutor(Executor):
    """Actors on a Ray of this machine that starts with the executor and ends with it."""

    name = "ray"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(self, root: Path, n_slots: int) -> None:
        super().__init__(root, n_slots)
        self._actors: dict[int, Any] = {}
        self._jobs: dict[Any, tuple[int, Job]] = {}
        self._killed: set[int] = set()

    def start(self) -> None:
        """Start Ray and one actor per slot."""
        # By default Ray leaves all GPUs visible to an actor that asked for none.
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray = _ray()
        with _keeping_sigterm():
            ray.init(
                num_cpus=self.n_slots,
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                object_store_memory=OBJECT_STORE_BYTES,
                namespace="foldsmith",
            )
        for slot in range(self.n_slots):
            self._actors[slot] = self._make_actor(slot)

    def _make_actor(self, slot: int) -> Any:
        actor = (
            _ray()
            .remote(FoldWorker)
            .options(num_cpus=1, num_gpus=0, max_restarts=0, runtime_env={"env_vars": THREAD_LIMITS})
        )
        return actor.remote(str(self.root), slot)

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return dict(self._jobs.values())

    def submit(self, job: Job) -> int:
        """Call the first idle actor."""
        busy = self.running()
        slot = next(number for number in self._actors if number not in busy)
        self._jobs[self._actors[slot].run.remote(job)] = (slot, job)
        return slot

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every busy actor that died.

        Raises:
            InfrastructureError: the node or its daemon died, so that every later call would fail too.
        """
        if not self._jobs:
            time.sleep(min(timeout_seconds, 0.05))
            return []
        ready, _ = _ray().wait(list(self._jobs), num_returns=1, timeout=timeout_seconds)
        more, _ = _ray().wait(list(self._jobs), num_returns=len(self._jobs), timeout=0)
        results: list[JobResult] = []
        for reference in dict.fromkeys([*ready, *more]):
            try:
                results.append(self._collect(reference))
            except InfrastructureError:
                if not results:
                    raise
                break  # the next call raises it again
        return results

    def _collect(self, reference: Any) -> JobResult:
        from ray.exceptions import RayError

        slot, job = self._jobs[reference]
        is_dead = slot in self._killed
        try:
            result: JobResult = _ray().get(reference)
        except RayError as error:
            if _is_broken(error):
                raise InfrastructureError(f"Ray broke down ({type(error).__name__})") from error
            result = JobResult(job, 0.0, fault=self._fault(error, slot))
            is_dead = True
        del self._jobs[reference]
        if is_dead:
            self._killed.discard(slot)
            self._actors[slot] = self._make_actor(slot)
        return result

    def _fault(self, error: Exception, slot: int) -> Fault:
        from ray.exceptions import OutOfMemoryError

        if slot in self._killed:
            return Fault("killed", "ended by the driver")
        reason = "oom" if isinstance(error, OutOfMemoryError) else "crashed"
        return Fault(reason, f"the worker process died ({type(error).__name__})", log_tail(self.root, slot))

    def kill(self, slot: int) -> None:
        """Kill the actor; cancelling its call would have no effect on compiled code."""
        self._killed.add(slot)
        _ray().kill(self._actors[slot])

    def shutdown(self) -> None:
        """Kill the actors and stop Ray."""
        ray = _ray()
        if ray.is_initialized():
            for actor in self._actors.values():
                ray.kill(actor)
            ray.shutdown()
        self._actors.clear()
        self._jobs.clear()
        self._killed.clear()


def _is_broken(error: Exception) -> bool:
    """Whether Ray itself broke: an actor that died with its node says only that it died, and a new one never starts."""
    from ray.exceptions import LocalRayletDiedError, NodeDiedError, RaySystemError

    is_infrastructure = isinstance(error, NodeDiedError | LocalRayletDiedError | RaySystemError)
    return is_infrastructure or not any(node["Alive"] for node in _ray().nodes())


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Undo what ``ray.init`` does to SIGTERM: it would end the driver in the middle of anything."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingPackageError("the ray executor needs the package ray: pip install 'ray[tune]'") from None
    return ray
