"""Jobs under Ray Tune, one Tune trial per member, for clusters and tools that are built on Tune."""

import queue
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.executors import ray_cluster
from foldsmith.search.executors.base import Capabilities, Executor, InfrastructureError
from foldsmith.search.executors.ray_cluster import ray_module
from foldsmith.search.executors.satellite import sees
from foldsmith.search.executors.worker import cause_of_death
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.slots import HOME, Layout, Slot

if TYPE_CHECKING:  # both import Ray, which takes seconds
    from foldsmith.search.executors.tune_loop import Event, Run, TuneLoop

LOOK_FOR_NODES_SECONDS = 2.0
ARRIVAL_SECONDS = 60.0
SHUTDOWN_SECONDS = 15.0
# A node offers 1 of a resource with its own name; a slot takes as many of these shares as its number on the node.
SHARE = 1e-4
MAX_SLOTS = 140  # 1 + 2 + … + 140 shares are still less than 1


@dataclass
class _Seat:
    """A slot, what it asks of its node, and the run that is bound to it."""

    slot: Slot
    resources: dict[str, float]
    run: "Run | None" = None

    @property
    def busy(self) -> "Run | None":
        """The run, if a job of it is under way."""
        return self.run if self.run is not None and self.run.is_busy else None


class TuneExecutor(Executor):
    """One Tune trial per member, in a slot of its own while it lives; its steps are the member's jobs.

    A slot that has nothing to do for its member may be given to another one; the first then gets a new Tune trial when
    it goes on. Tune's tables, csv files and TensorBoard logs lie in ``logs/tune`` until the next start.

    Args:
        address: of a Ray that runs already (``"auto"``, ``"host:6379"``); None starts one here.
        n_workers: CPU slots on each node of a cluster at most; 0 for one per core.
        shares_folder: False keeps to this machine. A node that does not see the competition folder takes no part.
    """

    name = "tune"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True, folds_side_by_side=False)

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
        self._seats: dict[int, _Seat] = {}
        self._layouts: dict[str, Layout] = {}
        self._node_ids: dict[str, str] = {}
        self._probes: dict[str, Any] = {}
        self._looked_at = 0.0
        self._loop: TuneLoop | None = None

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots of nodes that see the folder; before the start, those that this machine will have."""
        if not self._seats:
            return self._slots_here if self._address is None else ()
        return [seat.slot for seat in self._seats.values()]

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """By node."""
        return self._layouts or {HOME: self.layout}

    def start(self) -> None:
        """Start or join Ray, and begin a new Tune experiment.

        Raises:
            InputError: no node of the cluster can take jobs.
        """
        ray_module()
        from foldsmith.search.executors.tune_loop import TuneLoop

        if self._address is None:
            ray_cluster.start_here(self.layout)
            self._add_node(HOME, self.layout, ray_cluster.home_node())
        else:
            ray_cluster.join(self._address)
            self._look_for_nodes(wait_seconds=ARRIVAL_SECONDS)
            if not self._seats:
                raise InputError(
                    f"no node of the cluster at {self._address!r} sees {self.root}; mount the folder there under the "
                    "same path, or leave --executor tune out: Ray alone can work on copies"
                )
        self._loop = TuneLoop(Folder(self.root), len(self._seats))
        self._loop.start()

    # --- nodes -------------------------------------------------------------------------------------------------

    def _add_node(self, node: str, layout: Layout, node_id: str) -> None:
        if layout.n_slots > MAX_SLOTS:
            raise InputError(f"{layout.n_slots} slots on one node are more than {MAX_SLOTS}; lower --workers")
        self._layouts[node] = layout
        self._node_ids[node] = node_id
        address = next(entry["NodeManagerAddress"] for entry in ray_module().nodes() if entry["NodeID"] == node_id)
        first = max(self._seats, default=-1) + 1
        for number, slot in enumerate(layout.slots(first, node=node), 1):
            resources = {f"node:{address}": round(number * SHARE, 4)}
            # A GPU fold needs a core for its own thread, if there is one for it.
            if slot.gpu is None or layout.cores >= layout.n_slots or not layout.cores:
                resources["CPU"] = 1
            if slot.gpu is not None:
                resources["GPU"] = int(10_000 / layout.per_gpu) / 10_000
            self._seats[slot.number] = _Seat(slot, resources)

    def _look_for_nodes(self, wait_seconds: float = 0.0) -> None:
        """Slots for nodes that came and see the folder; a node that left takes its idle slots with it."""
        self._looked_at = time.monotonic()
        living = ray_cluster.living_nodes(self._n_workers, self.layout.per_gpu)
        home = ray_cluster.home_node()
        for node_id in living:
            if node_id not in self._node_ids.values() and node_id not in self._probes:
                self._probes[node_id] = self._probe(node_id) if self._shares_folder or node_id == home else None
        probes = {probe: node_id for node_id, probe in self._probes.items() if probe is not None}
        if probes:
            ready, _ = ray_module().wait(list(probes), num_returns=len(probes), timeout=wait_seconds)
            for probe in ready:
                node_id = probes[probe]
                self._probes[node_id] = None
                if node_id in living and self._is_seen(probe):
                    self._welcome(node_id, living[node_id], is_home=node_id == home)
        for node, node_id in list(self._node_ids.items()):
            if node_id not in living:
                self._seats = {n: seat for n, seat in self._seats.items() if seat.slot.node != node or seat.busy}

    def _welcome(self, node_id: str, layout: Layout, *, is_home: bool) -> None:
        if is_home:  # the driver's own machine keeps its memory limit: others may work there too
            ram_bytes = min(filter(None, (layout.ram_bytes, self.layout.ram_bytes)), default=0)
            layout = replace(layout, ram_bytes=ram_bytes)
        self._add_node(HOME if is_home else f"node{len(self._node_ids) + 1}", layout, node_id)

    def _probe(self, node_id: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node_id, soft=False)
        task = ray_module().remote(sees).options(num_cpus=0, max_retries=0, scheduling_strategy=place)
        return task.remote(self.root, MemberStore(Folder(self.root)).identity)

    def _is_seen(self, probe: Any) -> bool:
        try:
            return bool(ray_module().get(probe))
        except ray_module().exceptions.RayError:  # it left again, or has no foldsmith
            return False

    def _has_left(self, node: str) -> bool:
        return self._address is not None and not any(
            entry["Alive"] and entry["NodeID"] == self._node_ids[node] for entry in ray_module().nodes()
        )

    # --- jobs --------------------------------------------------------------------------------------------------

    def running(self) -> dict[int, Job]:
        """Jobs by slot."""
        return {number: seat.run.job for number, seat in self._seats.items() if seat.run is not None and seat.busy}

    def may_take(self, slot: Slot, member: str) -> bool:
        """A member stays in its slot while its Tune trial lives; one that has none may have any free slot."""
        bound = self._seat_of(member)
        return bound is None or bound.slot.number == slot.number

    def _seat_of(self, member: str) -> _Seat | None:
        return next((seat for seat in self._seats.values() if seat.run and seat.run.member == member), None)

    def submit(self, job: Job, slot: int) -> None:
        """The next job for the slot's Tune trial, or a new trial with a first one."""
        seat, bound = self._seats[slot], self._seat_of(job.member)
        assert self._loop is not None and seat.busy is None, "the slot is taken"
        if seat.run is not None and bound is seat:
            self._loop.desk.post(seat.run, job)
            return
        for other in filter(None, (seat, bound)):
            self._leave(other, "left")
        seat.run = self._new_run(seat, job)
        self._loop.desk.open(seat.run)

    def _new_run(self, seat: _Seat, job: Job) -> "Run":
        from foldsmith.search.executors.tune_loop import Run

        assert self._loop is not None
        config = {
            "member": job.member,
            "family": job.family,
            "params": job.params,
            "slot": seat.slot.number,
            # On a cluster's nodes a device may have another name than its number; there Ray chooses.
            "gpu": seat.slot.gpu if self._address is None else None,
            "resources": seat.resources,
            "root": str(self.root),
            "mailbox": self._loop.mailbox_name,
        }
        return Run(job.member, seat.slot.number, config, job)

    def _leave(self, seat: _Seat, state: str) -> None:
        """End the Tune trial of a seat and free the seat."""
        if seat.run is not None and self._loop is not None:
            self._loop.desk.end(seat.run, state)
            seat.run = None

    def ended(self, member: str) -> None:
        """End the member's Tune trial, after the job that still runs if there is one."""
        seat = self._seat_of(member)
        if seat is None or seat.run is None:
            return
        if seat.busy is not None:
            seat.run.is_left = True
        else:
            self._leave(seat, "failed" if seat.run.has_failed else "pruned")

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results, and a fault for every trial with a job whose process died.

        Raises:
            InfrastructureError: Ray or Tune's loop died.
        """
        assert self._loop is not None
        self._check_ray()
        if self._address is not None and time.monotonic() - self._looked_at > LOOK_FOR_NODES_SECONDS:
            self._look_for_nodes()
        for seat in self._seats.values():
            if seat.busy is not None and seat.busy.killed:
                self._shoot(seat.busy)
        results: list[JobResult] = []
        give_up = time.monotonic() + timeout_seconds
        while not results:
            try:
                event = self._loop.desk.events.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                return results
            results = self._take(event)
        while not self._loop.desk.events.empty():
            try:
                results += self._take(self._loop.desk.events.get())
            except InfrastructureError:
                break  # the next call raises it again
        return results

    def _check_ray(self) -> None:
        assert self._loop is not None
        if self._address is None and ray_cluster.is_broken():
            raise InfrastructureError("Ray broke down: one of its daemons died")
        if not self._loop.is_running and self._loop.desk.events.empty():
            error = self._loop.error
            how = f"{type(error).__name__}: {error}".splitlines()[-1] if error is not None else "it ended too early"
            raise InfrastructureError(f"Ray Tune broke down ({how}); see 'foldsmith logs tune'")

    def _take(self, event: "Event") -> list[JobResult]:
        """The result of an event; none when the seat has gone on with another run, or had no job."""
        run = event.run
        seat = None if run is None else self._seats.get(run.slot)
        if run is None or seat is None or seat.run is not run:
            return []
        if event.result is None:
            result = self._of_dead(run, seat.slot, event.error) if run.is_busy else None
            run.is_busy, seat.run = False, None
            return [] if result is None else [result]
        run.is_busy, run.has_failed = False, event.result.fault is not None
        if run.is_over or run.killed:
            seat.run = None
        elif run.is_left:
            self._leave(seat, "left")
        return [event.result]

    def _of_dead(self, run: "Run", slot: Slot, error: Exception | None) -> JobResult:
        if run.killed:
            return JobResult(run.job, 0.0, fault=Fault("killed", "ended by the driver"))
        if self._has_left(slot.node):
            return JobResult(run.job, 0.0, fault=Fault("killed", f"{slot.node} left the cluster"))
        self._check_error(error)
        fault, peak = cause_of_death(self.root, slot.number, type(error).__name__)
        if isinstance(error, ray_module().exceptions.OutOfMemoryError):
            fault = replace(fault, reason="oom")
        return JobResult(run.job, 0.0, fault=fault, peak_bytes=peak)

    def _check_error(self, error: Exception | None) -> None:
        """A process that died with its node, or could not reach the mailbox, is no trial's fault."""
        from ray.exceptions import ActorDiedError, LocalRayletDiedError, RaySystemError, RayTaskError

        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(error, LocalRayletDiedError | RaySystemError) or isinstance(cause, ActorDiedError):
            raise InfrastructureError(f"Ray broke down ({type(cause or error).__name__})")
        if self._address is None and ray_cluster.is_broken():
            raise InfrastructureError("Ray broke down: one of its daemons died")

    def kill(self, slot: int) -> None:
        """End the process of the slot's Tune trial; one that has not begun gets no job."""
        run = self._seats[slot].busy
        if run is None or run.is_over or self._loop is None:
            return
        run.killed = True
        if not self._shoot(run):
            self._loop.desk.end(run, "killed")
            if run.trial_id is None:  # Tune has not seen it, and never will
                from foldsmith.search.executors.tune_loop import Event

                self._loop.desk.events.put(Event(run))

    def _shoot(self, run: "Run") -> bool:
        """Kill a run's process; False when it has none yet."""
        actor = None if run.trial is None else run.trial.temporary_state.ray_actor
        if actor is None:
            return False
        if not run.is_shot:
            run.is_shot = True
            ray_module().kill(actor)
        return True

    def shutdown(self) -> None:
        """Kill the processes with jobs, end Tune's experiment, and leave Ray."""
        loop, self._loop = self._loop, None
        is_broken = self._address is None and ray_cluster.is_broken()
        if loop is not None:
            loop.desk.close()
            if not is_broken:
                for seat in self._seats.values():
                    if seat.busy is not None:
                        self._shoot(seat.busy)
                loop.join(SHUTDOWN_SECONDS)
        ray_cluster.stop()
        if loop is not None and loop.is_running:
            loop.join(SHUTDOWN_SECONDS)
        self._seats.clear()
        self._layouts.clear()
        self._node_ids.clear()
        self._probes.clear()
