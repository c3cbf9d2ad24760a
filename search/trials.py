"""A trial in the driver's hands: which folds wait, run and are fitted."""

from collections import Counter
from dataclasses import dataclass, field, replace

from foldsmith.problem.contract import Problem
from foldsmith.results.members import MemberStore
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.studies import Ask, FamilyStudy

MAX_RETRIES = 1


@dataclass
class ActiveTrial:
    """One trial between ask and tell.

    Args:
        deadline: when its folds should all be fitted, None for no limit.
        provisional: score by fitted fold.
    """

    study: FamilyStudy
    ask: Ask
    member: str
    model_seed: int
    waiting: list[int]
    deadline: float | None = None
    provisional: dict[int, float] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    is_finishing: bool = False
    n_reported: int = 0
    crashes: Counter[int | None] = field(default_factory=Counter)

    @property
    def family(self) -> str:
        """The family's name."""
        return self.study.family

    @property
    def n_folds_left(self) -> int:
        """Folds that are not fitted yet."""
        return len(self.waiting) + len(self.running)

    @property
    def is_fitted(self) -> bool:
        """Whether all folds are fitted."""
        return self.n_folds_left == 0

    def has_job(self) -> bool:
        """Whether a slot could work on it now."""
        return bool(self.waiting) or (self.is_fitted and not self.is_finishing)

    def next_job(self, fold_deadline: float | None) -> Job:
        """The next fold, or the finish when all folds are fitted."""
        if self.waiting:
            fold: int | None = self.waiting.pop(0)
            self.running.add(fold)  # type: ignore[arg-type]
        else:
            fold, self.is_finishing = None, True
        return Job(self.member, self.family, self.ask.params, fold, self.model_seed, deadline=fold_deadline)

    def take(self, result: JobResult) -> bool:
        """Note a result; False when the trial has failed for good.

        A crash of the worker is tried once more: it may have been the machine's fault.
        """
        fold = result.job.fold
        if fold is not None:
            self.running.discard(fold)
        if result.fault is not None:
            self.is_finishing = False
            self.crashes[fold] += 1
            may_retry = result.fault.reason in ("crashed", "oom") and self.crashes[fold] <= MAX_RETRIES
            if (may_retry or result.fault.reason == "killed") and fold is not None:
                self.waiting.insert(0, fold)
            return may_retry or result.fault.reason == "killed"
        if fold is not None:
            assert result.provisional is not None
            self.provisional[fold] = result.provisional
        return True

    def report(self) -> None:
        """Report provisional scores in fold order, whatever the order in which the folds came."""
        while self.n_reported in self.provisional:
            self.study.report(self.ask.trial, self.n_reported, self.provisional[self.n_reported])
            self.n_reported += 1


def adopt_trial(study: FamilyStudy, ask: Ask, members: MemberStore, problem: Problem) -> ActiveTrial:
    """A trial of a dead driver, with the folds that are whole on disk counted as fitted.

    Predictions made for another test file than today's are made again from the fitted models.
    """
    assert ask.member is not None
    member = members.get(ask.member)
    is_stale = member.test_fingerprint != problem.data.test_fingerprint
    trial = ActiveTrial(study, ask, ask.member, member.seeds["model"], waiting=[])
    for fold in range(problem.plan.n_folds):
        store = members.fold(ask.member, 0, fold)
        if is_stale:
            store.forget_predictions()
        if store.state(verify=True) == "missing":
            trial.waiting.append(fold)
        else:
            trial.provisional[fold] = store.fitted()["provisional"]
    if is_stale:
        members.write(replace(member, test_fingerprint=problem.data.test_fingerprint))
    trial.report()
    return trial
