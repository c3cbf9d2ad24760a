"""The loop of a search: hands fold jobs to slots, takes their results, keeps to the clock."""

import errno
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from foldsmith.problem.contract import Problem
from foldsmith.problem.decoration import Decorations
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.files import write_json
from foldsmith.search.desk import TrialDesk
from foldsmith.search.executors.base import Executor, InfrastructureError
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.leases import LEASE_SECONDS
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock, Pace
from foldsmith.search.placement import Need, Placement
from foldsmith.search.policies import FamilyLoad, FamilyPolicy, Opening, RoundRobin, get_policy
from foldsmith.search.slots import Slot
from foldsmith.search.snapshot import Snapshot
from foldsmith.search.trials import ActiveTrial, RunningJob
from foldsmith.search.view import SearchView, has_running, lag_of, take_snapshot
from foldsmith.spaces.costs import fold_seconds

TICK_SECONDS = 0.25
SHOW_SECONDS = 0.25  # between two snapshots: each counts what thousands of trials came to
MAX_RESTARTS = 3  # in a row, with no result in between
FIRST_SHARE = 0.1  # of what is left, above which a first trial gives way to the cheapest family's
FINAL_SHARE = 0.15  # of the time budget, in which the ensemble's members are repeated with other seeds
ADOPT_SECONDS = 10.0  # between looks for trials of other drivers that died

logger = logging.getLogger(__name__)


class SearchFailedError(FoldsmithError):
    """Everything that was tried failed; going on would only fail more."""


class DiskFullError(FoldsmithError):
    """Nothing more can be written."""


def _is_disk_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended: ``done``, ``out_of_time`` or ``interrupted``; and why families took no part."""

    ended: str
    skipped: dict[str, str]


class Driver:
    """Runs one search; the caller holds the folder's driver lock.

    Args:
        executor: not started yet.
        clock: when to end.
        observe: gets a snapshot several times a second.
        on_member: gets the id of each member as it is complete.
        shares: of the cross-fitted ensemble's weights, by family; empty before there is an ensemble.
        favourites: members of the ensemble, the one with the greatest weight first.
    """

    def __init__(
        self,
        problem: Problem,
        options: SearchOptions,
        executor: Executor,
        clock: Clock,
        *,
        observe: Callable[[Snapshot], None] = lambda snapshot: None,
        on_member: Callable[[str], None] = lambda member: None,
        shares: Callable[[], Mapping[str, float]] = dict,
        favourites: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._problem = problem
        self._options = options
        self._executor = executor
        self._clock = clock
        self._observe = observe
        self._guard = Decorations(self._say)
        self._placement = Placement(executor, options.gpu_shares)
        self._pace = Pace(clock, self._n_slots, problem.plan.n_folds, self._reckon)
        self._shares, self._favourites = shares, favourites
        self._policy: FamilyPolicy = RoundRobin()
        self._desk = TrialDesk(
            problem,
            options,
            has_deadline=clock.deadline is not None,
            on_begin=self._plan,
            on_end=executor.ended,
            on_member=on_member,
            say=self._say,
            guard=self._guard,
        )
        self._running: dict[tuple[str, int | None], RunningJob] = {}
        self._began = time.time()
        self._shown_at = self._beat_at = self._adopt_at = 0.0
        self._stop = False
        self._restarts = 0
        self._messages: list[str] = list(options.notices)

    def request_stop(self) -> None:
        """Finish the folds that run, start nothing new. Safe to call from a signal handler."""
        self._stop = True

    def run(self) -> SearchOutcome:
        """Search until the trials are done, the time is over, or somebody stops it.

        Raises:
            InputError: none of the families can take this problem.
            ContractError: the racer judges by other values than the studies hold.
            SearchFailedError: nothing is left to try, and no trial was ever completed.
            DiskFullError: what was found can no longer be written; the next call goes on from what was.
        """
        try:
            return self._run()
        except OSError as error:
            if not _is_disk_full(error):
                raise
            raise DiskFullError(
                f"the disk is full ({error.strerror}); make room for {self._problem.folder.root}, then go on with "
                "'foldsmith resume': every fold that was fitted is kept"
            ) from error

    def _run(self) -> SearchOutcome:
        self._desk.open()
        self._policy = self._choose_policy()
        self._await_others()
        if self._has_work():  # starting an executor may take longer than a whole call that has nothing to do
            try:
                self._executor.start()
                self._work()
            finally:
                self._executor.shutdown()
                if not _is_disk_full(sys.exception()):  # trials stay open for the next call: nothing can be told now
                    self._desk.leave_unfinished()
                self._desk.book.leases.close()
        ended = self._how_it_ended()
        self._show(ended if ended in ("interrupted", "failed") else "blending", force=True)
        if ended == "failed":
            raise SearchFailedError(f"no trial was completed; {self._desk.last_failure or self._messages[-1]}")
        return SearchOutcome(ended, self._desk.book.skipped)

    def _choose_policy(self) -> FamilyPolicy:
        """Without a deadline turns are taken: the same trials on every machine."""
        name = self._options.policy
        if name == "auto":
            name = "round-robin" if self._clock.deadline is None else "ensemble-gain"
        policy = get_policy(name)
        return policy if isinstance(policy, RoundRobin) else Opening(self._desk.book.opening, policy)

    def _has_work(self) -> bool:
        return self._clock.left() > 0 and bool(self._desk.active or self._desk.startable_families())

    def _work(self) -> None:
        while True:
            is_full = self._fill_slots()
            if not self._running and not (self._executor.is_warming and self._has_work() and not self._stop):
                known = set(self._desk.active)
                self._await_others()
                if self._desk.active.keys() <= known:
                    self._check_slots()
                    return
                continue
            self._show("stopping" if self._stop else "searching")
            self._collect(TICK_SECONDS if is_full else 0.0)
            self._end_overdue()
            if self._desk.book.leases.is_shared:
                self._keep_leases()
            if self._clock.left() <= 0:
                self._kill_all()

    def _check_slots(self) -> None:
        """Nothing was ever started because there was nowhere to start it: that is no end of the work."""
        if not self._executor.slots and self._has_work() and not self._stop:
            raise InfrastructureError(
                f"the executor {self._executor.name!r} has no slot that takes a fold: its Ray offers no free core; "
                "free some, or use the executor 'local'"
            )

    def _how_it_ended(self) -> str:
        if self._stop:
            return "interrupted"
        if self._desk.is_hopeless and not self._desk.has_fitted_folds and not self._others_work():
            return "failed"
        if self._desk.active or self._desk.wants_trials():
            return "out_of_time"
        return "done"

    def _others_work(self) -> bool:
        """Whether other drivers have trials under way."""
        return self._desk.book.leases.is_shared and any(map(has_running, self._desk.book.studies.values()))

    # --- other drivers -----------------------------------------------------------------------------------------

    def _keep_leases(self) -> None:
        """Drop what another driver took over; take over what a dead one left."""
        lost = self._desk.book.leases.renew()
        for trial in [trial for trial in self._desk.active.values() if trial.ask.trial_id in lost]:
            self._desk.lose(trial)
        if time.time() > self._adopt_at and not self._stop:
            self._adopt_at = time.time() + ADOPT_SECONDS
            self._desk.adopt_all()

    def _await_others(self) -> None:
        """When only other drivers' trials are open: wait for as long as it takes to know that their drivers live."""
        give_up = time.time() + LEASE_SECONDS + 2 * ADOPT_SECONDS
        while self._desk.book.leases.is_shared and not self._stop and not self._has_work() and time.time() < give_up:
            if self._clock.left() <= 0 or not any(map(has_running, self._desk.book.studies.values())):
                return
            self._show("searching")
            time.sleep(TICK_SECONDS)
            self._keep_leases()

    # --- choosing work -----------------------------------------------------------------------------------------

    def _fill_slots(self) -> bool:
        """Give jobs to free slots; False when it takes so long that results should be taken in between."""
        until = time.time() + TICK_SECONDS
        while not self._stop and self._placement.has_free_slot and self._clock.left() > 0:
            placed = self._next_job()
            if placed is None:
                break
            job, slot = placed
            self._running[job.key] = RunningJob(job, slot, time.time())
            self._executor.submit(job, slot.number)
            if time.time() > until:
                return False
        if notice := self._placement.take_notice():
            self._say(notice)
        return True

    def _next_job(self) -> tuple[Job, Slot] | None:
        """Folds of trials that have begun go before new trials: fewer are open when something ends the search."""
        self._placement.begin_choice()
        for trial in self._desk.active.values():
            if not self._is_ready(trial):
                continue
            if (slot := self._slot_for(trial)) is not None:
                return self._place(trial, slot)
            if not trial.is_fitted:
                self._placement.keep_free(trial.member, trial.need)
        while (started := self._new_trial()) is not None:
            if started.has_job() and (slot := self._slot_for(started)) is not None:
                return self._place(started, slot)
        return None

    def _plan(self, trial: ActiveTrial) -> None:
        """Give a trial that begins its deadline, and what its folds need."""
        trial.deadline = self._pace.trial_deadline(trial.family)
        need = self._placement.need(trial.family, self._desk.book.resources(trial.family, trial.ask.params))
        trial.need = replace(need, refits=self._desk.book.families[trial.family].refits)

    def _is_ready(self, trial: ActiveTrial) -> bool:
        one_by_one = not self._executor.capabilities.folds_side_by_side
        if not trial.has_job() or (one_by_one and trial.running):
            return False
        return self._pace.fits(trial.family, trial.n_folds_left)

    def _slot_for(self, trial: ActiveTrial) -> Slot | None:
        return self._placement.find(
            trial.family,
            trial.need,
            member=trial.member,
            is_finish=trial.is_fitted,
            is_new=not (trial.provisional or trial.running),
        )

    def _place(self, trial: ActiveTrial, slot: Slot) -> tuple[Job, Slot]:
        n_waiting = self._n_waiting()
        job = trial.next_job(self._pace.fold_deadline(trial.family, trial.deadline, trial.n_folds_left))
        return self._placement.occupy(job, slot, trial.need, n_waiting), slot

    def _n_waiting(self) -> int | None:
        """Jobs that could start now; None when new trials can always be had."""
        wants_trials = self._desk.wants_trials()
        if wants_trials and self._options.n_trials is None:
            return None
        waiting = sum(max(1, len(trial.startable)) for trial in self._desk.active.values() if trial.has_job())
        if not wants_trials or self._options.n_trials is None:
            return waiting
        return waiting + (self._options.n_trials - self._desk.n_counted()) * self._problem.plan.n_folds

    def _n_slots(self, family: str) -> int:
        return self._placement.n_slots(self._family_need(family)) if family in self._desk.book.studies else 1

    def _family_need(self, family: str) -> Need:
        return self._placement.need(family, self._desk.book.wishes[family])

    def _new_trial(self) -> ActiveTrial | None:
        """A new trial, or a pruned one's second chance, of a family that has a slot and time; None if none has.

        In the last minutes the ensemble's members come again with other seeds: their mean varies less, while a new
        point that is to be found yet gains little.
        """
        if (repeated := self._repeat()) is not None:
            return repeated
        while True:
            # Points of a family differ in what they need: one that waits for room is not joined by more of them.
            waiting = {trial.family for trial in self._desk.active.values() if self._is_ready(trial)}
            loads = self._placeable(
                [
                    self._load(name)
                    for name in self._desk.startable_families()
                    if name not in waiting and self._pace.fits(name)
                ]
            )
            if not loads:
                return None
            if (started := self._desk.begin(self._choose(loads))) is not None:
                return started

    def _choose(self, loads: list[FamilyLoad]) -> str:
        """The policy's choice; but the first member comes cheap where a dearer one might not be finished in time."""
        choice = self._policy.choose(loads)
        if self._clock.left() == float("inf") or self._desk.has_member:
            return choice
        costs = {load.name: self._pace.remaining(load.name, self._problem.plan.n_folds) for load in loads}
        known = {name: cost for name, cost in costs.items() if cost > 0}
        if not known or costs[choice] <= FIRST_SHARE * self._clock.left():
            return choice
        untried = [load.name for load in loads if load.n_trials == 0 and load.name in known] or list(known)
        return min(untried, key=known.__getitem__)

    def _reckon(self, family: str) -> float | None:
        facts = self._desk.book.facts
        return None if facts is None or ":" in family else fold_seconds(family, facts)

    def _repeat(self) -> ActiveTrial | None:
        budget = self._options.budget_seconds
        if budget is None or self._clock.left() > FINAL_SHARE * budget:
            return None
        for member in self._desk.repeatable(self._favourites()):
            family = self._desk.family_of(member)
            if self._pace.fits(family) and self._has_room(family):
                return self._desk.repeat(member)
        return None

    def _has_room(self, family: str) -> bool:
        return self._placement.find(family, self._family_need(family), is_new=True) is not None

    def _load(self, family: str) -> FamilyLoad:
        desk = self._desk
        return FamilyLoad(
            family,
            desk.book.studies[family].n_counted(),
            self._pace.spent(family),
            self._shares().get(family),
            lag_of(desk.history, family, self._problem.metric),
        )

    def _placeable(self, loads: list[FamilyLoad]) -> list[FamilyLoad]:
        """The families that there is a slot for; a GPU is kept free for the one whose turn it is on the GPUs."""
        on_gpu = {load.name: load for load in loads if self._family_need(load.name).gpu_share > 0}
        if on_gpu and not self._has_room(turn := self._policy.choose(list(on_gpu.values()))):
            self._placement.keep_free(turn, self._family_need(turn))
        return [load for load in loads if self._has_room(load.name)]

    # --- taking results ----------------------------------------------------------------------------------------

    def _collect(self, timeout_seconds: float) -> None:
        try:
            results = self._executor.wait(timeout_seconds)
        except InfrastructureError as error:
            self._restart(error)
            return
        for result in results:
            running = self._running.pop(result.job.key)
            self._placement.vacate(running.slot, result)
            if result.fault is None:
                self._pace.note(result.job.family, result.seconds, is_finish=result.job.fold is None)
                self._restarts = 0
            if trial := self._desk.active.get(result.job.member):
                self._desk.take(trial, running.explain(result))

    def _restart(self, error: InfrastructureError) -> None:
        """Infrastructure broke: no trial is at fault, the folds that ran go back into the queue."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise error
        self._say(f"{error}; starting it again ({self._restarts} of {MAX_RESTARTS})")
        for running in self._running.values():
            if trial := self._desk.active.get(running.job.member):
                trial.take(JobResult(running.job, 0.0, fault=Fault("killed", str(error))))
        self._running.clear()
        self._placement.clear()
        self._executor.shutdown()
        self._executor.start()

    def _end_overdue(self) -> None:
        """End folds that hang; one that iterates has stopped by itself at its deadline."""
        if not self._executor.capabilities.can_kill:
            return
        for running in self._running.values():
            limit = self._options.fold_seconds or self._pace.patience(running.job.family)
            if running.killed_for is None and running.seconds > limit:
                message = f"{running.job.label} did not end in {running.seconds:.0f} s; its limit was {limit:.0f} s"
                running.killed_for = Fault("timeout", message)
                self._executor.kill(running.slot.number)

    def _kill_all(self) -> None:
        """The time is over: end what runs. Whole folds stay; the next call goes on from them."""
        if self._executor.capabilities.can_kill:
            for running in self._running.values():
                self._executor.kill(running.slot.number)

    # --- telling people ----------------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        logger.info(message)
        self._messages.append(message)

    def _show(self, phase: str, *, force: bool = False) -> None:
        if not force and time.time() - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = time.time()
        with self._guard("the snapshot of the search"):
            snapshot = take_snapshot(self._view(), phase)
            with self._guard("showing the progress"):
                self._observe(snapshot)
            if force or time.time() - self._beat_at >= 1:
                self._beat(snapshot)

    def _beat(self, snapshot: Snapshot) -> None:
        """Tell other processes; a disk that is full ends the search where results are written, not here."""
        self._beat_at = time.time()
        left = self._clock.left()
        record = {"at": self._beat_at, "seconds_left": None if left == float("inf") else left}
        with self._guard("the heartbeat for 'foldsmith status'"):
            write_json(self._problem.folder.driver, {**record, "snapshot": snapshot.to_json()})

    def _view(self) -> SearchView:
        return SearchView(
            self._problem.metric,
            self._options.budget_seconds,
            self._options.n_trials,
            self._options.families,
            self._desk.n_ended_before,
            self._began,
            self._clock,
            self._pace,
            self._desk.book.studies,
            self._desk.history,
            list(self._running.values()),
            tuple(sorted(family for family, is_broken in self._desk.closed.items() if is_broken)),
            tuple(self._messages),
            self._options.rig,
        )
