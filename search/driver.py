"""The one process that owns the studies: asks, hands fold jobs to slots, tells, keeps to the clock."""

import datetime
import errno
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.files import write_json
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.executors.base import Executor, InfrastructureError
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.leases import LEASE_SECONDS
from foldsmith.search.notes import describe_trial
from foldsmith.search.opening import StudyBook, open_studies
from foldsmith.search.pace import Clock, Pace
from foldsmith.search.placement import Need, Placement
from foldsmith.search.policies import EqualTime, FamilyLoad, FamilyPolicy, RoundRobin
from foldsmith.search.racing import get_racer
from foldsmith.search.slots import Slot
from foldsmith.search.snapshot import Snapshot
from foldsmith.search.studies import Ask, FamilyStudy
from foldsmith.search.trials import ActiveTrial, RunningJob, adopt_trial
from foldsmith.search.view import SearchView, has_running, n_ended, take_snapshot

TICK_SECONDS = 0.25
SHOW_SECONDS = 0.25  # between two snapshots: each counts what thousands of trials came to
MAX_FAILURES_IN_A_ROW = 3
MAX_RESTARTS = 3
ADOPT_SECONDS = 10.0  # between looks for trials of other drivers that died

logger = logging.getLogger(__name__)


class SearchFailedError(FoldsmithError):
    """Everything that was tried failed; going on would only fail more."""


class DiskFullError(FoldsmithError):
    """Nothing more can be written."""


def _is_disk_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class SearchOptions:
    """What a search is asked to do.

    Args:
        families: names, in starting order.
        n_trials: the total over these families and over all calls; None for no limit.
        budget_seconds: for display; the clock keeps the time.
        model_seed: of the estimators. ``sampler_seed``: of the samplers.
        racer: who decides after a few folds whether a trial gets the others.
        gpu_shares: of a GPU that a fold takes, by family, where somebody chose; 0 keeps a family on the CPU.
        fold_seconds: a fold that takes longer is ended; None for many times the family's usual time.
        storage_url: of a database that several drivers share; None for the folder's journal.
        rig: what is told of the machine; ``notices``: what is told first.
    """

    families: tuple[str, ...]
    n_trials: int | None = None
    budget_seconds: float | None = None
    model_seed: int = 0
    sampler_seed: int = 0
    racer: str = "none"
    gpu_shares: Mapping[str, float] = field(default_factory=dict)
    fold_seconds: float | None = None
    storage_url: str | None = None
    rig: str = ""
    notices: tuple[str, ...] = ()


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
    ) -> None:
        self._problem = problem
        self._options = options
        self._executor = executor
        self._clock = clock
        self._observe = observe
        self._on_member = on_member
        self._members = MemberStore(problem.folder)
        self._racer = get_racer(options.racer)
        self._placement = Placement(executor, options.gpu_shares)
        self._pace = Pace(clock, self._n_slots, problem.plan.n_folds)
        self._policy: FamilyPolicy = RoundRobin() if clock.deadline is None else EqualTime()
        self._book = StudyBook()
        self._active: dict[str, ActiveTrial] = {}
        self._running: dict[tuple[str, int | None], RunningJob] = {}
        self._history: dict[str, list[Member]] = defaultdict(list)
        self._n_ended_before = 0
        self._failures: dict[str, int] = defaultdict(int)
        self._closed: dict[str, bool] = {}  # whether its trials fail; else it has nothing new to try
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
        self._open()
        self._await_others()
        if self._has_work():  # starting an executor may take longer than a whole call that has nothing to do
            try:
                self._executor.start()
                self._work()
            finally:
                self._executor.shutdown()
                if not _is_disk_full(sys.exception()):  # trials stay open for the next call: nothing can be told now
                    self._leave_unfinished()
                self._book.leases.close()
        ended = self._how_it_ended()
        self._show(ended if ended in ("interrupted", "failed") else "blending", force=True)
        if ended == "failed":
            raise SearchFailedError(f"no trial was completed; {self._messages[-1]}")
        return SearchOutcome(ended, self._book.skipped)

    def _has_work(self) -> bool:
        return self._clock.left() > 0 and (bool(self._active) or self._wants_trials() or self._can_promote())

    def _work(self) -> None:
        while True:
            is_full = self._fill_slots()
            if not self._running and not (self._executor.is_warming and self._has_work() and not self._stop):
                known = set(self._active)
                self._await_others()
                if self._active.keys() <= known:
                    return
                continue
            self._show("stopping" if self._stop else "searching")
            self._collect(TICK_SECONDS if is_full else 0.0)
            self._end_overdue()
            if self._book.leases.is_shared:
                self._keep_leases()
            if self._clock.left() <= 0:
                self._kill_all()

    def _how_it_ended(self) -> str:
        if self._stop:
            return "interrupted"
        if self._active or self._wants_trials():
            return "out_of_time"
        return "failed" if any(self._failures.values()) and not any(self._history.values()) else "done"

    # --- what is there already ---------------------------------------------------------------------------------

    def _open(self) -> None:
        problem, options = self._problem, self._options
        self._book = open_studies(
            problem,
            options.families,
            self._racer,
            storage_url=options.storage_url,
            seed=options.sampler_seed,
            model_seed=options.model_seed,
            say=self._say,
        )
        for member in self._members.all(contract=problem.contract, states=["complete"]):
            if member.kind == "trial":
                self._history[member.family].append(member)
        self._n_ended_before = n_ended(self._book.studies, options.families)
        self._adopt_all()
        self._drop_orphans()

    def _adopt_all(self) -> None:
        self._adopt_at = time.time() + ADOPT_SECONDS
        for study in self._book.studies.values():
            for ask in study.adopt():
                self._adopt(study, ask)

    def _adopt(self, study: FamilyStudy, ask: Ask) -> None:
        if ask.member is not None and not self._members.has(ask.member):
            study.fail(ask.trial, "lost_ask", f"the folder of {ask.member} is gone")
            return
        trial = self._take_up(study, ask)
        if trial is not None:
            self._say(f"took up {trial.member} again: {len(trial.provisional)} folds were fitted")

    def _take_up(self, study: FamilyStudy, ask: Ask) -> ActiveTrial | None:
        """Go on with a trial that has a member, and so perhaps fitted folds.

        Its folds may lie in another copy of the folder, on another machine; and two copies may have given the same
        name to different members. Such a trial begins anew here.
        """
        if ask.member is None or self._members.get(ask.member).params != ask.params:
            return self._bind(study, ask)
        trial = adopt_trial(study, ask, self._members, self._problem)
        self._activate(trial)
        self._judge(trial)
        return trial

    def _activate(self, trial: ActiveTrial) -> None:
        trial.deadline = self._pace.trial_deadline(trial.family)
        trial.need = self._placement.need(trial.family, self._book.resources(trial.family, trial.ask.params))
        self._active[trial.member] = trial

    def _drop_orphans(self) -> None:
        """Clear what a crash left between an id and its trial: reserved folders, records that no trial points to.

        Where other drivers may be at work in the folder, what looks like an orphan may be theirs.
        """
        if self._book.leases.is_shared:
            return
        if self._problem.folder.members.exists():
            for path in self._problem.folder.members.iterdir():
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        for member in self._members.all(contract=self._problem.contract, states=["running"]):
            if member.family in self._book.studies and member.id not in self._active:
                self._fail_member(member.id, Fault("lost_ask", "the driver died while this trial was being made"))

    def _keep_leases(self) -> None:
        """Drop what another driver took over; take over what a dead one left."""
        lost = self._book.leases.renew()
        for trial in [trial for trial in self._active.values() if trial.ask.trial_id in lost]:
            self._lose(trial)
        if time.time() > self._adopt_at and not self._stop:
            self._adopt_all()

    def _await_others(self) -> None:
        """When only other drivers' trials are open: wait for as long as it takes to know that their drivers live."""
        give_up = time.time() + LEASE_SECONDS + 2 * ADOPT_SECONDS
        while self._book.leases.is_shared and not self._stop and not self._has_work() and time.time() < give_up:
            if self._clock.left() <= 0 or not any(map(has_running, self._book.studies.values())):
                return
            self._show("searching")
            time.sleep(TICK_SECONDS)
            self._keep_leases()

    def _lose(self, trial: ActiveTrial) -> None:
        """Another driver has the trial now: its result is not this one's to tell."""
        self._say(f"{trial.member} was taken over by another driver, which had not heard of this one for long")
        self._forget(trial)  # its record may be in the other driver's hands: they may share the folder

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
        for trial in self._active.values():
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
        wants_trials = self._wants_trials()
        if wants_trials and self._options.n_trials is None:
            return None
        waiting = sum(max(1, len(trial.startable)) for trial in self._active.values() if trial.has_job())
        if not wants_trials or self._options.n_trials is None:
            return waiting
        return waiting + (self._options.n_trials - self._n_counted()) * self._problem.plan.n_folds

    def _wants_trials(self) -> bool:
        wanted = self._options.n_trials
        return bool(self._open_families()) and (wanted is None or self._n_counted() < wanted)

    def _open_families(self) -> list[str]:
        return [name for name in self._options.families if name in self._book.studies and name not in self._closed]

    def _n_counted(self) -> int:
        families = (name for name in self._options.families if name in self._book.studies)
        return sum(self._book.studies[name].n_counted() for name in families)

    def _n_slots(self, family: str) -> int:
        return self._placement.n_slots(self._family_need(family)) if family in self._book.studies else 1

    def _family_need(self, family: str) -> Need:
        return self._placement.need(family, self._book.wishes[family])

    def _new_trial(self) -> ActiveTrial | None:
        """A new trial, or a pruned one's second chance, of a family that has a slot and time; None if none has."""
        while True:
            may_start = self._wants_trials()
            names = [name for name in self._open_families() if may_start or self._promotable(name) is not None]
            # Points of a family differ in what they need: one that waits for room is not joined by more of them.
            waiting = {trial.family for trial in self._active.values() if self._is_ready(trial)}
            loads = self._placeable(
                [
                    FamilyLoad(name, self._book.studies[name].n_counted(), self._pace.spent(name))
                    for name in names
                    if name not in waiting and self._pace.fits(name)
                ]
            )
            if not loads:
                return None
            study = self._book.studies[self._policy.choose(loads)]
            with self._book.leases.asking():  # other drivers count and promote the same trials
                pruned = self._promotable(study.family)
                ask = study.promote(pruned) if pruned is not None else self._ask(study)
            if ask is None:
                continue
            if pruned is None:
                started = self._bind(study, ask)
            elif (started := self._take_up(study, ask)) is not None:
                self._members.write(replace(self._members.get(started.member), state="running"))
            if started is not None:
                return started

    def _placeable(self, loads: list[FamilyLoad]) -> list[FamilyLoad]:
        """The families that there is a slot for; a GPU is kept free for the one whose turn it is on the GPUs."""

        def fits(load: FamilyLoad) -> bool:
            return self._placement.find(load.name, self._family_need(load.name), is_new=True) is not None

        on_gpu = {load.name: load for load in loads if self._family_need(load.name).gpu_share > 0}
        if on_gpu and not fits(on_gpu[turn := self._policy.choose(list(on_gpu.values()))]):
            self._placement.keep_free(turn, self._family_need(turn))
        return [load for load in loads if fits(load)]

    def _promotable(self, family: str) -> FrozenTrial | None:
        """A pruned trial that deserves its other folds; when no new trial may start but time is left, the best one."""
        at_end = not self._wants_trials() and self._clock.deadline is not None
        return self._racer.promotable(self._book.studies[family], at_end=at_end)

    def _can_promote(self) -> bool:
        return any(self._promotable(name) is not None for name in self._open_families())

    def _ask(self, study: FamilyStudy) -> Ask | None:
        """A point that was never tried; None when there is nothing to fit for it."""
        if not self._wants_trials():
            return None
        ask = study.ask()
        if ask is None:
            self._close(study.family, "its search space has nothing new to try")
            return None
        if ask.same_as is not None:
            study.reuse(ask)
            return None
        return ask

    def _bind(self, study: FamilyStudy, ask: Ask) -> ActiveTrial | None:
        """Give a trial a member of its own; None when another driver has taken it over meanwhile."""
        problem, family = self._problem, self._book.families[study.family]
        member = Member(
            id=self._members.reserve(family.prefix),
            kind="trial",
            state="running",
            contract=problem.contract,
            family=study.family,
            metric=problem.metric.name,
            policy=family.stopping,
            space_version=study.space.version,
            params=ask.params,
            seeds={"model": self._options.model_seed, "sampler": self._options.sampler_seed},
            test_fingerprint=problem.data.test_fingerprint,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            details={"trial_number": ask.trial.number, "fold_hash": problem.plan.hash},
        )
        self._members.write(member)
        attributes = {"family": study.family, "policy": family.stopping, "model_seed": self._options.model_seed}
        if not study.accept(ask, member.id, attributes):
            self._fail_member(member.id, Fault("lost_lease", "another driver took the trial over"))
            return None
        trial = ActiveTrial(study, ask, member.id, self._options.model_seed, list(range(problem.plan.n_folds)))
        self._activate(trial)
        self._judge(trial)
        return trial

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
            trial = self._active.get(result.job.member)
            if trial is not None:
                self._take(trial, running.explain(result))

    def _restart(self, error: InfrastructureError) -> None:
        """Infrastructure broke: no trial is at fault, the folds that ran go back into the queue."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise error
        self._say(f"{error}; starting it again ({self._restarts} of {MAX_RESTARTS})")
        for running in self._running.values():
            if trial := self._active.get(running.job.member):
                trial.take(JobResult(running.job, 0.0, fault=Fault("killed", str(error))))
        self._running.clear()
        self._placement.clear()
        self._executor.shutdown()
        self._executor.start()

    def _take(self, trial: ActiveTrial, result: JobResult) -> None:
        if not trial.take(result):
            assert result.fault is not None
            self._fail(trial, result.fault)
        elif result.fault is None:
            self._pace.note(trial.family, result.seconds, is_finish=result.job.fold is None)
            if result.job.fold is None:
                self._complete(trial)
            else:
                trial.report()
                self._judge(trial)

    def _judge(self, trial: ActiveTrial) -> None:
        """Give the trial its next folds, or prune it."""
        if trial.judge(self._racer):
            return
        self._members.write(replace(self._members.get(trial.member), state="pruned"))
        self._describe(trial)
        trial.study.prune(trial.ask.trial, f"{self._racer.name} after {trial.n_reported} folds", trial.attributes)
        self._forget(trial)

    def _complete(self, trial: ActiveTrial) -> None:
        member = self._members.get(trial.member)
        assert member.scores is not None
        self._describe(trial)
        trial.study.complete(
            trial.ask.trial,
            member.scores.value,
            {
                "fold_scores": list(member.scores.per_fold),
                "sem": member.scores.sem,
                "pooled": member.scores.pooled,
                "rounds": member.details["rounds"],
                **trial.attributes,
            },
        )
        self._forget(trial)
        self._history[trial.family].append(member)
        self._failures[trial.family] = 0
        self._on_member(member.id)

    def _fail(self, trial: ActiveTrial, fault: Fault) -> None:
        self._fail_member(trial.member, fault)
        self._describe(trial)
        trial.study.fail(trial.ask.trial, fault.reason, fault.message, trial.attributes)
        self._forget(trial)
        self._failures[trial.family] += 1
        self._say(f"{trial.member} failed ({fault.reason}): {fault.message}")
        if self._failures[trial.family] >= MAX_FAILURES_IN_A_ROW:
            reason = f"{MAX_FAILURES_IN_A_ROW} trials failed in a row, the last with {fault.message}"
            self._close(trial.family, reason, is_broken=True)

    def _describe(self, trial: ActiveTrial) -> None:
        """Note and picture for the dashboard; a trial that was told can no longer be changed."""
        describe_trial(
            trial.study.optuna_study,
            trial.ask.trial,
            self._members.get(trial.member),
            self._members,
            curve_name=self._problem.goal.monitor,
        )

    def _forget(self, trial: ActiveTrial) -> None:
        del self._active[trial.member]
        self._executor.ended(trial.member)

    def _fail_member(self, member: str, fault: Fault) -> None:
        error = {"reason": fault.reason, "message": fault.message, "tail": fault.tail}
        self._members.write(replace(self._members.get(member), state="failed", error=error))

    def _close(self, family: str, reason: str, *, is_broken: bool = False) -> None:
        self._closed[family] = is_broken
        self._say(f"{family} is left out from here on: {reason}")

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

    def _leave_unfinished(self) -> None:
        """Trials with fitted folds stay RUNNING for the next call; those without are closed and forgotten."""
        for trial in self._active.values():
            if not trial.provisional:
                fault = Fault("out_of_time", "the search ended before a fold was fitted")
                self._fail_member(trial.member, fault)
                trial.study.fail(trial.ask.trial, fault.reason, fault.message)

    # --- telling people ----------------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        logger.info(message)
        self._messages.append(message)

    def _show(self, phase: str, *, force: bool = False) -> None:
        if not force and time.time() - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = time.time()
        snapshot = take_snapshot(self._view(), phase)
        self._observe(snapshot)
        if force or time.time() - self._beat_at >= 1:
            self._beat_at = time.time()
            left = self._clock.left()
            record = {"at": self._beat_at, "seconds_left": None if left == float("inf") else left}
            write_json(self._problem.folder.driver, {**record, "snapshot": snapshot.to_json()})

    def _view(self) -> SearchView:
        return SearchView(
            self._problem.metric,
            self._options.budget_seconds,
            self._options.n_trials,
            self._options.families,
            self._n_ended_before,
            self._began,
            self._clock,
            self._pace,
            self._book.studies,
            self._history,
            list(self._running.values()),
            tuple(sorted(family for family, is_broken in self._closed.items() if is_broken)),
            tuple(self._messages),
            self._options.rig,
        )
