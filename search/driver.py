"""The one process that owns the studies: asks, hands fold jobs to slots, tells, keeps to the clock."""

import datetime
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.files import write_json
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.executors.base import Executor, InfrastructureError
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.journal import open_journal, repair_journal
from foldsmith.search.pace import Clock, Pace
from foldsmith.search.policies import EqualTime, FamilyLoad, FamilyPolicy, RoundRobin
from foldsmith.search.snapshot import Snapshot
from foldsmith.search.studies import FamilyStudy, studied_families
from foldsmith.search.trials import ActiveTrial, adopt_trial
from foldsmith.search.view import SearchView, n_ended, take_snapshot
from foldsmith.spaces.family import Facts, Family
from foldsmith.spaces.registry import get_family

TICK_SECONDS = 0.25
MAX_FAILURES_IN_A_ROW = 3
MAX_RESTARTS = 3

logger = logging.getLogger(__name__)


class SearchFailedError(FoldsmithError):
    """Everything that was tried failed; going on would only fail more."""


@dataclass(frozen=True)
class SearchOptions:
    """What a search is asked to do.

    Args:
        families: names, in starting order.
        n_trials: the total over these families and over all calls; None for no limit.
        budget_seconds: for display; the clock keeps the time.
        model_seed: of the estimators. ``sampler_seed``: of the samplers.
    """

    families: tuple[str, ...]
    n_trials: int | None = None
    budget_seconds: float | None = None
    model_seed: int = 0
    sampler_seed: int = 0


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
        self._pace = Pace(clock, executor.n_slots, problem.plan.n_folds)
        self._policy: FamilyPolicy = RoundRobin() if clock.deadline is None else EqualTime()
        self._studies: dict[str, FamilyStudy] = {}
        self._families: dict[str, Family] = {}
        self._skipped: dict[str, str] = {}
        self._active: dict[str, ActiveTrial] = {}
        self._started_at: dict[tuple[str, int | None], float] = {}
        self._history: dict[str, list[Member]] = defaultdict(list)
        self._n_ended_before = 0
        self._failures: dict[str, int] = defaultdict(int)
        self._closed: set[str] = set()
        self._began = time.time()
        self._beat_at = 0.0
        self._stop = False
        self._restarts = 0
        self._messages: list[str] = []

    def request_stop(self) -> None:
        """Finish the folds that run, start nothing new. Safe to call from a signal handler."""
        self._stop = True

    def run(self) -> SearchOutcome:
        """Search until the trials are done, the time is over, or somebody stops it.

        Raises:
            InputError: none of the families can take this problem.
            SearchFailedError: nothing is left to try, and no trial was ever completed.
        """
        self._open_studies()
        if self._has_work():  # starting an executor may take longer than a whole call that has nothing to do
            self._executor.start()
            try:
                self._work()
            finally:
                self._executor.shutdown()
                self._leave_unfinished()
        ended = self._how_it_ended()
        self._show(ended if ended in ("interrupted", "failed") else "blending", force=True)
        if ended == "failed":
            raise SearchFailedError(f"no trial was completed; {self._messages[-1]}")
        return SearchOutcome(ended, self._skipped)

    def _has_work(self) -> bool:
        return self._clock.left() > 0 and (bool(self._active) or self._wants_trials())

    def _work(self) -> None:
        while True:
            self._fill_slots()
            if not self._executor.running():
                return
            self._show("stopping" if self._stop else "searching")
            self._collect()
            if self._clock.left() <= 0:
                self._kill_all()

    def _how_it_ended(self) -> str:
        if self._stop:
            return "interrupted"
        if self._active or self._wants_trials():
            return "out_of_time"
        return "failed" if any(self._failures.values()) and not any(self._history.values()) else "done"

    # --- studies -----------------------------------------------------------------------------------------------

    def _open_studies(self) -> None:
        problem, options = self._problem, self._options
        cut = repair_journal(problem.folder.journal)
        if cut:
            self._say(f"cut {cut} bytes of a line that a crash left half-written in the journal")
        storage = open_journal(problem.folder.journal)
        facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
        # A dead driver's trials are finished whichever families were asked for now.
        names = dict.fromkeys([*options.families, *studied_families(storage, problem.contract)])
        for name in names:
            try:
                family = get_family(name, problem.folder.code)
            except FoldsmithError as error:
                if name in options.families:
                    raise
                self._skipped[name] = str(error)  # a user's family that is gone must not stop the others
                continue
            if reason := family.accepts(facts):
                self._skipped[name] = reason
                continue
            self._families[name] = family
            self._studies[name] = FamilyStudy(
                storage,
                problem.contract,
                name,
                family.space(facts),
                family.defaults(facts),
                metric=problem.metric.name,
                greater_is_better=problem.metric.greater_is_better,
                seed=options.sampler_seed,
                model_seed=options.model_seed,
            )
        if not any(name in self._studies for name in options.families):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self._skipped.items())
            raise InputError(f"none of the families can take this problem ({reasons}); name others")
        for member in self._members.all(contract=problem.contract, states=["complete"]):
            if member.kind == "trial":
                self._history[member.family].append(member)
        self._n_ended_before = n_ended(self._studies, options.families)
        for study in self._studies.values():
            self._adopt(study)
        self._drop_orphans()

    def _adopt(self, study: FamilyStudy) -> None:
        for ask in study.adopt():
            assert ask.member is not None
            if not self._members.has(ask.member):
                study.fail(ask.trial, "lost_ask", f"the folder of {ask.member} is gone")
                continue
            trial = adopt_trial(study, ask, self._members, self._problem)
            trial.deadline = self._pace.trial_deadline(study.family)
            self._active[ask.member] = trial
            self._say(f"took up {ask.member} again: {len(trial.provisional)} folds were fitted")

    def _drop_orphans(self) -> None:
        """Clear what a crash left between an id and its trial: reserved folders, records that no trial points to."""
        if self._problem.folder.members.exists():
            for path in self._problem.folder.members.iterdir():
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        for member in self._members.all(contract=self._problem.contract, states=["running"]):
            if member.family in self._studies and member.id not in self._active:
                self._fail_member(member.id, "lost_ask", "the driver died while this trial was being made")

    # --- choosing work -----------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        while not self._stop and self._executor.n_free and self._clock.left() > 0:
            job = self._next_job()
            if job is None:
                return
            self._started_at[job.key] = time.time()
            self._executor.submit(job)

    def _next_job(self) -> Job | None:
        """Folds of trials that have begun go before new trials: fewer are open when something ends the search."""
        for trial in self._active.values():
            if trial.has_job() and self._pace.fits(trial.family, trial.n_folds_left):
                return trial.next_job(self._pace.fold_deadline(trial.deadline, trial.n_folds_left))
        while (family := self._next_family()) is not None:
            if (started := self._start_trial(self._studies[family])) is not None:
                return started.next_job(self._pace.fold_deadline(started.deadline, started.n_folds_left))
        return None

    def _wants_trials(self) -> bool:
        names = [name for name in self._options.families if name in self._studies]
        wanted = self._options.n_trials
        open_families = [name for name in names if name not in self._closed]
        return bool(open_families) and (wanted is None or sum(self._n_trials(name) for name in names) < wanted)

    def _n_trials(self, family: str) -> int:
        return self._studies[family].n_counted()

    def _next_family(self) -> str | None:
        if not self._wants_trials():
            return None
        names = [name for name in self._options.families if name in self._studies and name not in self._closed]
        loads = [
            FamilyLoad(name, self._n_trials(name), self._pace.spent(name)) for name in names if self._pace.fits(name)
        ]
        return self._policy.choose(loads) if loads else None

    def _start_trial(self, study: FamilyStudy) -> ActiveTrial | None:
        ask = study.ask()
        if ask is None:
            self._close(study.family, "its search space has nothing new to try")
            return None
        if ask.same_as is not None:
            study.reuse(ask)
            return None
        problem, family = self._problem, self._families[study.family]
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
        study.accept(ask, member.id, attributes)
        deadline = self._pace.trial_deadline(study.family)
        trial = ActiveTrial(
            study, ask, member.id, self._options.model_seed, list(range(problem.plan.n_folds)), deadline
        )
        self._active[member.id] = trial
        return trial

    # --- taking results ----------------------------------------------------------------------------------------

    def _collect(self) -> None:
        try:
            results = self._executor.wait(TICK_SECONDS)
        except InfrastructureError as error:
            self._restart(error)
            return
        for result in results:
            self._started_at.pop(result.job.key, None)
            trial = self._active.get(result.job.member)
            if trial is not None:
                self._take(trial, result)

    def _restart(self, error: InfrastructureError) -> None:
        """Infrastructure broke: no trial is at fault, the folds that ran go back into the queue."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise error
        self._say(f"{error}; starting it again ({self._restarts} of {MAX_RESTARTS})")
        for job in self._executor.running().values():
            if trial := self._active.get(job.member):
                trial.take(JobResult(job, 0.0, fault=Fault("killed", str(error))))
        self._started_at.clear()
        self._executor.shutdown()
        self._executor.start()

    def _take(self, trial: ActiveTrial, result: JobResult) -> None:
        if not trial.take(result):
            assert result.fault is not None
            self._fail(trial, result.fault)
        elif result.fault is None:
            self._pace.note(trial.family, result.seconds, is_finish=result.job.fold is None)
            trial.report()
            if result.job.fold is None:
                self._complete(trial)

    def _complete(self, trial: ActiveTrial) -> None:
        member = self._members.get(trial.member)
        assert member.scores is not None
        facts = member.details["fold_facts"]
        trial.study.complete(
            trial.ask.trial,
            member.scores.value,
            {
                "fold_scores": list(member.scores.per_fold),
                "sem": member.scores.sem,
                "pooled": member.scores.pooled,
                "seconds": round(member.seconds, 3),
                "rounds": member.details["rounds"],
                "device": facts[0].get("device", "cpu"),
            },
        )
        del self._active[trial.member]
        self._history[trial.family].append(member)
        self._failures[trial.family] = 0
        self._on_member(member.id)

    def _fail(self, trial: ActiveTrial, fault: Fault) -> None:
        self._fail_member(trial.member, fault.reason, fault.message, fault.tail)
        trial.study.fail(trial.ask.trial, fault.reason, fault.message)
        del self._active[trial.member]
        self._say(f"{trial.member} failed ({fault.reason}): {fault.message}")
        self._failures[trial.family] += 1
        if self._failures[trial.family] >= MAX_FAILURES_IN_A_ROW:
            self._close(trial.family, f"{MAX_FAILURES_IN_A_ROW} trials failed in a row, the last with {fault.message}")

    def _fail_member(self, member: str, reason: str, message: str, tail: str = "") -> None:
        error = {"reason": reason, "message": message, "tail": tail}
        self._members.write(replace(self._members.get(member), state="failed", error=error))

    def _close(self, family: str, reason: str) -> None:
        self._closed.add(family)
        self._say(f"{family} is left out from here on: {reason}")

    def _kill_all(self) -> None:
        """The time is over: end what runs. Whole folds stay; the next call goes on from them."""
        if self._executor.capabilities.can_kill:
            for slot in self._executor.running():
                self._executor.kill(slot)

    def _leave_unfinished(self) -> None:
        """Trials with fitted folds stay RUNNING for the next call; those without are closed and forgotten."""
        for trial in self._active.values():
            if not trial.provisional:
                reason, message = "out_of_time", "the search ended before a fold was fitted"
                self._fail_member(trial.member, reason, message)
                trial.study.fail(trial.ask.trial, reason, message)

    # --- telling people ----------------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        logger.info(message)
        self._messages.append(message)

    def _show(self, phase: str, *, force: bool = False) -> None:
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
            self._studies,
            self._history,
            self._executor.running(),
            self._started_at,
            tuple(self._messages),
        )
