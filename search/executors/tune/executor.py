"""Jobs under Ray Tune, one Tune trial per member, for clusters and tools that are built on Tune."""

import queue
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder
from foldsmith.search.executors import ray_cluster
from foldsmith.search.executors.base import Capabilities, Executor, InfrastructureError
from foldsmith.search.executors.ray_cluster import ray_module
from foldsmith.search.executors.tune.desk import Event, Run
from foldsmith.search.executors.tune.nodes import TuneNodes, has_lost_control
from foldsmith.search.executors.worker import cause_of_death
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.slots import HOME, Layout, Slot

if TYPE_CHECKING:  # it imports Ray, which takes seconds
    from foldsmith.search.executors.tune.loop import TuneLoop

ARRIVAL_SECONDS = 60.0
SHUTDOWN_SECONDS = 15.0


@dataclass
class _Seat:
    """A slot, what it asks of its node, and the run that is bound to it."""

    slot: Slot
    resources: dict[str, float]
    run: Run | None = None

    @property
    def busy(self) -> Run | None:
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
        self._make_nodes = partial(TuneNodes, self.root, layout, n_workers=n_workers, shares_folder=shares_folder)
        self._nodes = self._make_nodes()
        self._seats: dict[int, _Seat] = {}
        self._loop: TuneLoop | None = None
        self._membership: ray_cluster.Membership | None = None
        self._mark = uuid.uuid4().hex

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots of nodes that see the folder; before the start, those that this machine will have."""
        if not self._seats:
            return self._slots_here if self._is_alone else ()
        return [seat.slot for seat in self._seats.values()]

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """By node."""
        return self._nodes.layouts or {HOME: self.layout}

    def start(self) -> None:
        """Start or join Ray, and begin a new Tune experiment.

        Raises:
            InputError: no node of the cluster can take jobs.
        """
        ray_module()
        from foldsmith.search.executors.tune.loop import TuneLoop

        self._membership = ray_cluster.enter(self._address, self.layout, self._mark)
        if self._is_alone:
            self._furnish(self._nodes.add_home())
        else:
            self._furnish(self._nodes.look(ARRIVAL_SECONDS))
            if not self._seats:
                where = "this process's Ray" if self._address is None else f"the cluster at {self._address!r}"
                raise InputError(
                    f"no node of {where} offers a core and sees {self.root}; mount the folder there under the "
                    "same path, or leave --executor tune out: Ray alone can work on copies"
                )
        self._loop = TuneLoop(Folder(self.root), len(self._seats))
        self._loop.start()

    @property
    def _is_alone(self) -> bool:
        """Whether the Ray is, or will be, this executor's own."""
        return self._address is None if self._membership is None else self._membership.is_alone

    def _furnish(self, found: Mapping[Slot, dict[str, float]]) -> None:
        self._seats.update({slot.number: _Seat(slot, resources) for slot, resources in found.items()})

    def _follow_nodes(self) -> None:
        """Seats on nodes that came; a node that left takes its idle seats with it, its jobs fail by themselves."""
        self._furnish(self._nodes.look())
        gone = {node for node in self._nodes.layouts if self._nodes.has_left(node)}
        if gone:
            self._seats = {n: seat for n, seat in self._seats.items() if seat.busy or seat.slot.node not in gone}

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

    def _new_run(self, seat: _Seat, job: Job) -> Run:
        assert self._loop is not None
        config = {
            "member": job.member,
            "family": job.family,
            "params": job.params,
            "slot": seat.slot.number,
            # On a cluster's nodes a device may have another name than its number; there Ray chooses.
            "gpu": seat.slot.gpu if self._is_alone else None,
            "mark": self._mark,
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
        if not self._is_alone:
            self._follow_nodes()
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
        if self._is_alone and ray_cluster.is_broken():
            raise InfrastructureError("Ray broke down: one of its daemons died")
        if not self._loop.is_running and self._loop.desk.events.empty():
            error = self._loop.error
            how = f"{type(error).__name__}: {error}".splitlines()[-1] if error is not None else "it ended too early"
            raise InfrastructureError(f"Ray Tune broke down ({how}); see 'foldsmith logs tune'")

    def _take(self, event: Event) -> list[JobResult]:
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

    def _of_dead(self, run: Run, slot: Slot, error: Exception | None) -> JobResult:
        if run.killed:
            return JobResult(run.job, 0.0, fault=Fault("killed", "ended by the driver"))
        if not self._is_alone and self._nodes.has_left(slot.node):
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
        if self._is_alone and ray_cluster.is_broken():
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
                self._loop.desk.events.put(Event(run))

    def _shoot(self, run: Run) -> bool:
        """Kill a run's process; False when it has none yet."""
        actor = None if run.trial is None else run.trial.temporary_state.ray_actor
        if actor is None:
            return False
        if not run.is_shot:
            run.is_shot = True
            ray_module().kill(actor)
        return True

    def shutdown(self) -> None:
        """Kill the processes with jobs, end Tune's experiment, and leave Ray.

        When only the node died, Tune can still end by itself. It must: a thread that asks a control store which is
        gone has this process ended by Ray after a minute.
        """
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.desk.close()
            if not has_lost_control():
                for seat in self._seats.values():
                    if seat.busy is not None:
                        self._shoot(seat.busy)
                loop.join(SHUTDOWN_SECONDS)
            loop.abandon()
        if self._membership is not None:
            self._membership.leave()
            self._membership = None
        if loop is not None:
            loop.leave()
        self._seats.clear()
        self._nodes = self._make_nodes()
