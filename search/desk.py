"""The life of trials, from the ask to what is told of them; folds are run elsewhere."""

import datetime
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from foldsmith.problem.contract import Problem
from foldsmith.problem.decoration import Decorations
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.jobs import Fault, JobResult
from foldsmith.search.notes import describe_trial
from foldsmith.search.opening import StudyBook, open_studies
from foldsmith.search.options import SearchOptions
from foldsmith.search.racing import get_racer
from foldsmith.search.rounds import stopping_of
from foldsmith.search.studies import Ask, FamilyStudy, counts
from foldsmith.search.trials import ActiveTrial, adopt_trial
from foldsmith.search.view import n_ended

MAX_FAILURES_IN_A_ROW = 3
MAX_SEEDS = 4  # of one point
SEED_STEP = 1_000_003  # far from the seeds that people give


class TrialDesk:
    """Begins trials, judges them, and tells the studies and the member store what came of them.

    Args:
        has_deadline: whether time can be left when no new trial may start.
        on_begin: gets each trial that begins here, new or taken up.
        on_end: gets the member of each trial that is done with, one way or another.
        on_member: gets the id of each member as it is complete.
        say: for people.
        guard: around what only decorates a trial.
    """

    def __init__(
        self,
        problem: Problem,
        options: SearchOptions,
        *,
        has_deadline: bool,
        on_begin: Callable[[ActiveTrial], None],
        on_end: Callable[[str], None],
        on_member: Callable[[str], None],
        say: Callable[[str], None],
        guard: Decorations,
    ) -> None:
        self.book = StudyBook()
        self.active: dict[str, ActiveTrial] = {}
        self.history: dict[str, list[Member]] = defaultdict(list)
        self.closed: dict[str, bool] = {}  # whether its trials fail; else it has nothing new to try
        self.n_ended_before = 0
        self._problem = problem
        self._options = options
        self._has_deadline = has_deadline
        self._on_begin = on_begin
        self._on_end = on_end
        self._on_member = on_member
        self._say = say
        self._guard = guard
        self._n_forgiven = 0  # failures of earlier calls that do not count against the number of trials
        self._members = MemberStore(problem.folder)
        self._racer = get_racer(options.racer)
        self._failures: dict[str, int] = defaultdict(int)

    @property
    def is_hopeless(self) -> bool:
        """Whether trials of the families failed, in this call or before, and no family ever completed one."""
        tallies = [study.tally() for study in self._asked_studies()]
        n_failed = sum(tally.states[TrialState.FAIL] for tally in tallies)
        n_fine = sum(tally.states[state] for tally in tallies for state in (TrialState.COMPLETE, TrialState.PRUNED))
        return n_failed > 0 and n_fine == 0 and not any(self.history.values())

    @property
    def has_member(self) -> bool:
        """Whether any family has a complete member."""
        return any(self.history.values())

    @property
    def has_fitted_folds(self) -> bool:
        """Whether a trial that has begun has something to go on from."""
        return any(trial.provisional for trial in self.active.values())

    @property
    def last_failure(self) -> str:
        """Why the last trial that failed did; empty when none has."""
        failed = [
            trial
            for study in self._asked_studies()
            for trial in study.trials()
            if trial.state == TrialState.FAIL and counts(trial)
        ]
        if not failed:
            return ""
        last = max(failed, key=lambda trial: (trial.datetime_complete or datetime.datetime.min, trial.number))
        known = last.user_attrs
        return f"{known.get('member', 'the last one')} failed ({known.get('error')}): {known.get('error_message')}"

    def _asked_studies(self) -> list[FamilyStudy]:
        return [self.book.studies[name] for name in self._options.families if name in self.book.studies]

    # --- what is there already ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the studies and take up what a dead driver left.

        Raises:
            InputError: none of the families can take this problem.
            ContractError: the racer judges by other values than the studies hold.
        """
        problem, options = self._problem, self._options
        self.book = open_studies(
            problem,
            options.families,
            self._racer,
            storage_url=options.storage_url,
            seed=options.sampler_seed,
            model_seed=options.model_seed,
            say=self._say,
            budget_seconds=options.budget_seconds,
            n_slots=options.n_slots,
        )
        for member in self._members.all(contract=problem.contract, states=["complete"]):
            if member.kind == "trial":
                self.history[member.family].append(member)
        self.n_ended_before = n_ended(self.book.studies, options.families)
        self.adopt_all()
        self._drop_orphans()
        if self.is_hopeless:  # somebody has mended what made them fail, or wants to see it again: a call is no dead end
            self._n_forgiven = sum(study.tally().states[TrialState.FAIL] for study in self._asked_studies())

    def adopt_all(self) -> None:
        """Take up RUNNING trials whose driver is gone."""
        for study in self.book.studies.values():
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
        self.active[trial.member] = trial
        self._on_begin(trial)

    def _drop_orphans(self) -> None:
        """Clear what a crash left between an id and its trial: reserved folders, records that no trial points to.

        Where other drivers may be at work in the folder, what looks like an orphan may be theirs.
        """
        if self.book.leases.is_shared:
            return
        if self._problem.folder.members.exists():
            for path in self._problem.folder.members.iterdir():
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        for member in self._members.all(contract=self._problem.contract, states=["running"]):
            if member.family in self.book.studies and member.id not in self.active:
                self._fail_member(member.id, Fault("lost_ask", "the driver died while this trial was being made"))

    def lose(self, trial: ActiveTrial) -> None:
        """Another driver has the trial now: its result is not this one's to tell."""
        self._say(f"{trial.member} was taken over by another driver, which had not heard of this one for long")
        self._forget(trial)  # its record may be in the other driver's hands: they may share the folder

    # --- what may begin ----------------------------------------------------------------------------------------

    def wants_trials(self) -> bool:
        """Whether a new trial may begin."""
        wanted = self._options.n_trials
        return bool(self.open_families()) and (wanted is None or self.n_counted() < wanted)

    def open_families(self) -> list[str]:
        """Families that were asked for and take part, in order."""
        return [name for name in self._options.families if name in self.book.studies and name not in self.closed]

    def n_counted(self) -> int:
        """Trials of the families that count against ``--trials``, other drivers' included."""
        return sum(study.n_counted() for study in self._asked_studies()) - self._n_forgiven

    def promotable(self, family: str) -> FrozenTrial | None:
        """A pruned trial that deserves its other folds; when no new trial may start but time is left, the best one."""
        at_end = not self.wants_trials() and self._has_deadline
        return self._racer.promotable(self.book.studies[family], at_end=at_end)

    def startable_families(self) -> list[str]:
        """Families that may begin a trial now: a new one, or a pruned one's second chance."""
        may_start = self.wants_trials()
        return [name for name in self.open_families() if may_start or self.promotable(name) is not None]

    def begin(self, family: str) -> ActiveTrial | None:
        """A pruned trial's second chance, or a new trial; None when there is nothing to fit."""
        study = self.book.studies[family]
        with self.book.leases.asking():  # other drivers count and promote the same trials
            pruned = self.promotable(family)
            ask = study.promote(pruned) if pruned is not None else self._ask(study)
        if ask is None:
            return None
        if pruned is None:
            return self._bind(study, ask)
        if (trial := self._take_up(study, ask)) is not None:
            self._members.write(replace(self._members.get(trial.member), state="running"))
        return trial

    def repeatable(self, favourites: Sequence[str]) -> list[str]:
        """Those members whose point may be fitted with another model seed, the fewest seeds first."""
        if not self.wants_trials():
            return []
        places = {name: self._place_of(name) for name in favourites}
        n_seeds = {name: place[0].n_seeds(place[1]) for name, place in places.items() if place is not None}
        return sorted((name for name in n_seeds if n_seeds[name] < MAX_SEEDS), key=lambda name: n_seeds[name])

    def family_of(self, member: str) -> str:
        """The family of a member."""
        return self._members.get(member).family

    def repeat(self, member: str) -> ActiveTrial | None:
        """The point of a complete member once more, with another model seed."""
        place = self._place_of(member)
        assert place is not None, "only what is repeatable is repeated"
        study, number = place
        with self.book.leases.asking():
            ask = study.repeat(number, self._options.model_seed + SEED_STEP * study.n_seeds(number))
        return self._bind(study, ask)

    def _place_of(self, name: str) -> tuple[FamilyStudy, int] | None:
        """Study and number of a member's trial; of a repeated one the first; None where repeating it is no use."""
        member = self._members.get(name)
        if member.kind != "trial" or member.family not in self.open_families():
            return None
        if not self.book.families[member.family].is_seeded:
            return None
        study, number = self.book.studies[member.family], member.details["trial_number"]
        trials = study.trials()
        if member.space_version != study.space.version or number >= len(trials):
            return None
        return study, trials[number].user_attrs.get("seed_of", number)

    def _ask(self, study: FamilyStudy) -> Ask | None:
        """A point that was never tried; None when there is nothing to fit for it."""
        if not self.wants_trials():
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
        problem, family = self._problem, self.book.families[study.family]
        policy = stopping_of(family, problem.config.search.stopping)
        model_seed = self._options.model_seed if ask.model_seed is None else ask.model_seed
        member = Member(
            id=self._members.reserve(family.prefix),
            kind="trial",
            state="running",
            contract=problem.contract,
            family=study.family,
            metric=problem.metric.name,
            policy=policy,
            space_version=study.space.version,
            params=ask.params,
            seeds={"model": model_seed, "sampler": self._options.sampler_seed},
            test_fingerprint=problem.data.test_fingerprint,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            details={"trial_number": ask.trial.number, "fold_hash": problem.plan.hash},
        )
        self._members.write(member)
        attributes = {"family": study.family, "policy": policy, "model_seed": model_seed}
        if not study.accept(ask, member.id, attributes):
            self._fail_member(member.id, Fault("lost_lease", "another driver took the trial over"))
            return None
        trial = ActiveTrial(study, ask, member.id, model_seed, list(range(problem.plan.n_folds)))
        self._activate(trial)
        self._judge(trial)
        return trial

    # --- what came of it ---------------------------------------------------------------------------------------

    def take(self, trial: ActiveTrial, result: JobResult) -> None:
        """Note a result: report it, judge the trial by it, or end the trial with it."""
        if not trial.take(result):
            assert result.fault is not None
            self._fail(trial, result.fault)
        elif result.fault is None and result.job.fold is None:
            self._complete(trial)
        elif result.fault is None:
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
        self.history[trial.family].append(member)
        self._failures[trial.family] = 0
        with self._guard("telling of a new member"):
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
        with self._guard("a note or picture for the dashboard"):
            describe_trial(
                trial.study.optuna_study,
                trial.ask.trial,
                self._members.get(trial.member),
                self._members,
                curve_name=self._problem.goal.monitor,
            )

    def _forget(self, trial: ActiveTrial) -> None:
        del self.active[trial.member]
        self._on_end(trial.member)

    def _fail_member(self, member: str, fault: Fault) -> None:
        error = {"reason": fault.reason, "message": fault.message, "tail": fault.tail}
        self._members.write(replace(self._members.get(member), state="failed", error=error))

    def _close(self, family: str, reason: str, *, is_broken: bool = False) -> None:
        self.closed[family] = is_broken
        self._say(f"{family} is left out from here on: {reason}")

    def leave_unfinished(self) -> None:
        """Trials with fitted folds stay RUNNING for the next call; those without are closed and forgotten."""
        for trial in self.active.values():
            if not trial.provisional:
                fault = Fault("out_of_time", "the search ended before a fold was fitted")
                self._fail_member(trial.member, fault)
                trial.study.fail(trial.ask.trial, fault.reason, fault.message)
