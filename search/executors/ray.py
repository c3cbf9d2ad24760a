"""Jobs on Ray actors, one long-lived actor per slot, on this machine or on a cluster."""

import errno
import logging
import os
import tarfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.executors import ray_cluster
from foldsmith.search.executors.base import Capabilities, Executor, InfrastructureError
from foldsmith.search.executors.ray_cluster import ray_module
from foldsmith.search.executors.satellite import pack_fold, pack_problem, receive_fold, sees, settle
from foldsmith.search.executors.worker import (
    DEVICE_ORDER,
    NO_DEVICE,
    THREAD_LIMITS,
    cause_of_death,
    die_over_limit,
    enter_worker,
)
from foldsmith.search.jobs import Fault, Job, JobResult, Workbench, note_fit
from foldsmith.search.processes import MARK
from foldsmith.search.slots import HOME, Layout, Slot

LOOK_FOR_NODES_SECONDS = 2.0
ARRIVAL_SECONDS = 300.0
LAST_WORDS_SECONDS = 30.0

logger = logging.getLogger(__name__)


class FoldWorker:
    """The actor behind one slot."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._is_satellite = False

    def arrive(self, root: str, identity: str, shares_folder: bool) -> tuple[str, bool]:
        """Say which GPUs are visible here, and whether the competition folder is."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if not shares_folder or not sees(Path(root), identity):
            return visible, False
        self._enter(Path(root))
        return visible, True

    def settle(self, packed: bytes) -> Path:
        """Work on a copy of the competition folder; says where it is."""
        self._is_satellite = True
        self._enter(settle(packed))
        return self._root

    def _enter(self, root: Path) -> None:
        self._root = root
        enter_worker(root, self._slot)
        self._bench = Workbench(
            root, on_over_limit=lambda job, peak: die_over_limit(root, self._slot, job, peak_bytes=peak)
        )

    def run(self, job: Job) -> tuple[JobResult, bytes | None]:
        """Do one job; the fold comes along if the driver's machine cannot see it."""
        result = self._bench.run(job)
        is_sent = self._is_satellite and result.fault is None
        return result, pack_fold(self._root, job) if is_sent else None


@dataclass
class _Worker:
    """An actor; ``arrival`` is awaited until it is known what it sees. ``copy`` is the folder that it works on instead
    of the competition's own."""

    slot: Slot
    actor: Any
    copy: Path | None = None
    arrival: Any = None
    call: Any = None
    job: Job | None = None
    killed: bool = False


class RayExecutor(Executor):
    """Actors on a Ray of this machine that starts with the executor and ends with it, or on a cluster's nodes.

    A Ray that the caller has started in this process is used as a cluster, and goes on when the executor ends.

    Args:
        address: of a Ray that runs already (``"auto"``, ``"host:6379"``); None starts one here.
        n_workers: CPU slots on each node of a cluster at most; 0 for one per core.
        shares_folder: False when other nodes must not look for the competition folder at the same path.
    """

    name = "ray"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(
        self,
        root: Path,
        layout: Layout,
        *,
        address: str | None = None,
        n_workers: int = 0,
        shares_folder: bool = True,
    ) -> None:
        super().__init__(root.resolve(), layout)
        self._address = address
        self._n_workers = n_workers
        self._shares_folder = shares_folder
        self._workers: dict[int, _Worker] = {}
        self._layouts: dict[str, Layout] = {}
        self._node_ids: dict[str, str] = {}
        self._packed: Any = None
        self._looked_at = 0.0
        self._started_at = 0.0
        self._membership: ray_cluster.Membership | None = None
        self._mark = uuid.uuid4().hex

    def start(self) -> None:
        """Start or join Ray, and make one actor per slot."""
        self._started_at = time.monotonic()
        self._membership = ray_cluster.enter(self._address, self.layout, self._mark)
        if self._is_alone:
            self._add_node(HOME, self.layout, node_id=None)
        else:
            self._look_for_nodes()

    @property
    def _is_alone(self) -> bool:
        """Whether the Ray is, or will be, this executor's own."""
        return self._address is None if self._membership is None else self._membership.is_alone

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots whose workers have arrived; before the start, those that this machine will have."""
        if not self._workers:
            return self._slots_here if self._is_alone else ()
        return [worker.slot for worker in self._workers.values() if worker.arrival is None]

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """By node."""
        return self._layouts or {HOME: self.layout}

    @property
    def is_warming(self) -> bool:
        """Whether workers are on their way that were not seen yet."""
        return any(worker.arrival is not None for worker in self._workers.values()) and (
            time.monotonic() - self._started_at < ARRIVAL_SECONDS
        )

    # --- nodes and their workers -------------------------------------------------------------------------------

    def _add_node(self, node: str, layout: Layout, node_id: str | None) -> None:
        self._layouts[node] = layout
        if node_id is not None:
            self._node_ids[node] = node_id
        first = max(self._workers, default=-1) + 1
        for slot in layout.slots(first, node=node):
            self._workers[slot.number] = self._hire(slot)

    def _hire(self, slot: Slot) -> _Worker:
        """An actor for a slot; what it sees must be asked unless it can only be this machine's CPUs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        layout, node_id = self._layouts[slot.node], self._node_ids.get(slot.node)
        options: dict[str, Any] = {
            # A GPU fold needs a core for its own thread, if there is one for it.
            "num_cpus": 1 if slot.gpu is None or layout.cores >= layout.n_slots else 0,
            "num_gpus": 0 if slot.gpu is None else int(10_000 / layout.per_gpu) / 10_000,
            "max_restarts": 0,
            "runtime_env": {"env_vars": {**THREAD_LIMITS, **DEVICE_ORDER, MARK: self._mark}},
        }
        if slot.gpu is None:
            options["runtime_env"]["env_vars"]["CUDA_VISIBLE_DEVICES"] = NO_DEVICE
        if node_id is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id, soft=False)
        actor = ray_module().remote(FoldWorker).options(**options).remote(slot.number)
        identity = MemberStore(Folder(self.root)).identity
        arrival = actor.arrive.remote(str(self.root), identity, self._shares_folder or slot.node == HOME)
        is_known = self._is_alone and slot.gpu is None
        return _Worker(slot, actor, arrival=None if is_known else arrival)

    def _look_for_nodes(self) -> None:
        """Workers for nodes that came; a node that left takes its slots with it (its jobs fail by themselves)."""
        self._looked_at = time.monotonic()
        living = ray_cluster.living_nodes(self._n_workers, self.layout.per_gpu)
        home = ray_cluster.home_node()
        known = set(self._node_ids.values())
        for node_id, layout in sorted(living.items(), key=lambda item: item[0] != home):  # Ray's order is by chance
            if node_id not in known:
                is_home = node_id == home
                layout = self._limited(layout) if is_home else layout
                self._add_node(HOME if is_home else f"node{len(self._node_ids) + 1}", layout, node_id)
        for node, node_id in list(self._node_ids.items()):
            if node_id not in living:
                self._drop_idle(node)

    def _limited(self, layout: Layout) -> Layout:
        """The driver's own machine keeps its memory limits: others may work there too."""
        ram_bytes = min(filter(None, (layout.ram_bytes, self.layout.ram_bytes)), default=0)
        return replace(layout, ram_bytes=ram_bytes, vram_bytes=self.layout.vram_bytes)

    def _drop_idle(self, node: str) -> None:
        for number, worker in list(self._workers.items()):
            if worker.slot.node == node and worker.job is None:
                del self._workers[number]

    def _welcome(self) -> None:
        """Take note of workers that have arrived."""
        waiting = {worker.arrival: worker for worker in self._workers.values() if worker.arrival is not None}
        if not waiting:
            return
        arrived, _ = ray_module().wait(list(waiting), num_returns=len(waiting), timeout=0)
        for arrival in arrived:
            worker = waiting[arrival]
            try:
                seen = ray_module().get(arrival)
            except ray_module().exceptions.RayError as error:
                self._check_ray(error)
                self._turn_away(worker, error)
                continue
            worker.arrival = None
            if isinstance(seen, Path):  # it has settled on a copy
                worker.copy = seen
                continue
            visible, sees_folder = seen
            worker.slot = replace(worker.slot, sees_folder=sees_folder)
            if worker.slot.gpu is not None:
                worker.slot = self._on_gpu(worker.slot, visible)
            if not sees_folder:
                self._packed = self._packed or ray_module().put(pack_problem(self.root))
                worker.arrival = worker.actor.settle.remote(self._packed)

    def _turn_away(self, worker: _Worker, error: Exception) -> None:
        """Do without a worker that cannot start, on a node that left or that lacks something."""
        del self._workers[worker.slot.number]
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        logger.warning("the worker of %s could not start: %s", worker.slot.name, reason)
        if not self._workers:
            raise InfrastructureError(f"no worker of the cluster could start: {reason}") from error

    def _on_gpu(self, slot: Slot, gpu: str) -> Slot:
        """The slot as Ray placed it: which device it gave to whom is Ray's choice."""
        layout = self._layouts[slot.node]
        taken = {other.name for other in self.slots if other.number != slot.number}
        names = (layout.gpu_name(gpu, place, slot.node) for place in range(layout.per_gpu * len(layout.gpus) + 1))
        return replace(slot, gpu=gpu, name=next(name for name in names if name not in taken))

    # --- jobs --------------------------------------------------------------------------------------------------

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return {number: worker.job for number, worker in self._workers.items() if worker.job is not None}

    def submit(self, job: Job, slot: int) -> None:
        """Call the slot's actor."""
        worker = self._workers[slot]
        assert worker.job is None, "the slot is taken"
        worker.job, worker.call = job, worker.actor.run.remote(job)

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every busy actor that died.

        Raises:
            InfrastructureError: Ray's own daemons died, so that every later call would fail too.
        """
        if self._is_alone and ray_cluster.is_broken():
            raise InfrastructureError("Ray broke down: one of its daemons died")
        if not self._is_alone and time.monotonic() - self._looked_at > LOOK_FOR_NODES_SECONDS:
            self._look_for_nodes()
        self._welcome()
        calls = {worker.call: worker for worker in self._workers.values() if worker.job is not None}
        if not calls:
            time.sleep(min(timeout_seconds, 0.05))
            return []
        ready, _ = ray_module().wait(list(calls), num_returns=1, timeout=timeout_seconds)
        more, _ = ray_module().wait(list(calls), num_returns=len(calls), timeout=0)
        results: list[JobResult] = []
        for call in dict.fromkeys([*ready, *more]):
            try:
                results.append(self._collect(calls[call]))
            except InfrastructureError:
                if not results:
                    raise
                break  # the next call raises it again
        return results

    def _collect(self, worker: _Worker) -> JobResult:
        job = worker.job
        assert job is not None
        result: JobResult
        try:
            result, packed = ray_module().get(worker.call)
            result = result if packed is None else self._receive(result, packed)
            is_dead = worker.killed
        except ray_module().exceptions.RayError as error:
            self._check_ray(error)
            fault, peak = self._fault(error, worker)
            result, is_dead = JobResult(job, 0.0, fault=fault, peak_bytes=peak), True
        worker.job = worker.call = None
        if is_dead:
            self._replace(worker)
        return result

    def _receive(self, result: JobResult, packed: bytes) -> JobResult:
        """The result of a fold that was fitted on a copy of the folder, once the fold lies here."""
        try:
            receive_fold(self.root, result.job, packed)
        except (FoldsmithError, OSError, tarfile.TarError) as error:
            is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            reason = "disk_full" if is_full else "crashed"  # a fold that came incomplete may come whole next time
            return JobResult(result.job, result.seconds, fault=Fault(reason, f"{type(error).__name__}: {error}"))
        note_fit(Folder(self.root), result.job)
        return result

    def _replace(self, worker: _Worker) -> None:
        number = worker.slot.number
        if self._has_left(worker.slot.node):
            del self._workers[number]
            return
        self._started_at = time.monotonic()
        self._workers[number] = self._hire(worker.slot)

    def _has_left(self, node: str) -> bool:
        node_id = self._node_ids.get(node)
        return node_id is not None and not any(
            entry["Alive"] and entry["NodeID"] == node_id for entry in ray_module().nodes()
        )

    def _check_ray(self, error: Exception) -> None:
        """An actor that died with its node says only that it died, and a new one would never start."""
        from ray.exceptions import LocalRayletDiedError, RaySystemError

        if isinstance(error, LocalRayletDiedError | RaySystemError) or (
            self._is_alone and (ray_cluster.is_broken() or not any(node["Alive"] for node in ray_module().nodes()))
        ):
            raise InfrastructureError(f"Ray broke down ({type(error).__name__})") from error

    def _fault(self, error: Exception, worker: _Worker) -> tuple[Fault, int]:
        if worker.killed:
            return Fault("killed", "ended by the driver"), 0
        if self._has_left(worker.slot.node):
            return Fault("killed", f"{worker.slot.node} left the cluster"), 0
        fault, peak = self._last_words(worker, type(error).__name__)
        if isinstance(error, ray_module().exceptions.OutOfMemoryError):
            fault = replace(fault, reason="oom")
        return fault, peak

    def _last_words(self, worker: _Worker, how: str) -> tuple[Fault, int]:
        """What the worker's log says; one that works on a copy keeps it on its own machine."""
        ray, number = ray_module(), worker.slot.number
        if worker.copy is None:
            return cause_of_death(self.root, number, how)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(self._node_ids[worker.slot.node], soft=False)
        asked = ray.remote(cause_of_death).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            words: tuple[Fault, int] = ray.get(asked.remote(worker.copy, number, how), timeout=LAST_WORDS_SECONDS)
        except ray.exceptions.RayError as error:
            return Fault("crashed", f"the worker process died ({how}); its log is out of reach: {error}"), 0
        return words

    def kill(self, slot: int) -> None:
        """Kill the actor; cancelling its call would have no effect on compiled code."""
        self._workers[slot].killed = True
        ray_module().kill(self._workers[slot].actor)

    def shutdown(self) -> None:
        """Kill the actors and leave Ray; one that was there before goes on."""
        ray = ray_module()
        if self._membership is not None:
            if ray.is_initialized() and not (self._is_alone and ray_cluster.is_broken()):
                for worker in self._workers.values():
                    ray.kill(worker.actor)
            self._membership.leave()
            self._membership = None
        self._workers.clear()
        self._layouts.clear()
        self._node_ids.clear()
        self._packed = None
