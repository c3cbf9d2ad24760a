"""Jobs on Ray actors, one long-lived actor per slot."""

import os
import time
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import FoldsmithError, MissingPackageError
from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.executors.worker import THREAD_LIMITS, enter_worker, log_tail
from foldsmith.search.jobs import Fault, Job, JobResult, Workbench

# Results only travel through the object store; tables are memory-mapped files and models stay on disk.
OBJECT_STORE_BYTES = 100 * 1024 * 1024


class InfrastructureError(FoldsmithError):
    """Ray itself broke (a node or its daemon died): no trial is at fault."""


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
        return [self._collect(reference) for reference in dict.fromkeys([*ready, *more])]

    def _collect(self, reference: Any) -> JobResult:
        from ray import exceptions

        slot, job = self._jobs.pop(reference)
        try:
            result: JobResult = _ray().get(reference)
            return result
        except (exceptions.NodeDiedError, exceptions.LocalRayletDiedError, exceptions.RaySystemError) as error:
            self._jobs[reference] = (slot, job)
            raise InfrastructureError(f"Ray broke down: {error}") from error
        except exceptions.RayError as error:
            self._actors[slot] = self._make_actor(slot)
            if slot in self._killed:
                self._killed.discard(slot)
                return JobResult(job, 0.0, fault=Fault("killed", "ended by the driver"))
            reason = "oom" if isinstance(error, exceptions.OutOfMemoryError) else "crashed"
            message = f"the worker process died ({type(error).__name__})"
            return JobResult(job, 0.0, fault=Fault(reason, message, log_tail(self.root, slot)))

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


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingPackageError("the ray executor needs the package ray: pip install 'ray[tune]'") from None
    return ray
