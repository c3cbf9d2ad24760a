"""A trial in the driver's hands: which folds wait, run and are fitted."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from foldsmith.problem.contract import Problem
from foldsmith.results.members import MemberStore
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.placement import Need
from foldsmith.search.racing import PRUNE, Racer
from foldsmith.search.slots import Slot
from foldsmith.search.studies import Ask, FamilyStudy

# How often a fold is tried again, by reason. A crash may have been the machine's fault. A GPU that was too small is
# given to the fold alone at first, and then a smaller batch.
RETRIES = {"crashed": 1, "oom": 1, "gpu_oom": 2}
SMALLER_BATCH = 4


@dataclass
class ActiveTrial:
    """One trial between ask and tell.

    Args:
        deadline: when its folds should all be fitted, None for no limit.
        provisional: score by fitted fold.
        need: what one of its folds takes.
        seconds: slot time of its fitted folds; ``devices``: where they were fitted.
        batch_divisor: of nets, after the GPU's memory was too small.
        shares: of a GPU, as each fold began with it last.
        limit: only folds below it may start; None for all of them. :meth:`judge` moves it.
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
    limit: int | None = None
    need: Need = field(default_factory=Need)
    batch_divisor: int = 1
    shares: dict[int | None, float] = field(default_factory=dict)
    seconds: float = 0.0
    devices: set[str] = field(default_factory=set)

    @property
    def family(self) -> str:
        """The family's name."""
        return self.study.family

    @property
    def n_folds(self) -> int:
        """Folds of the plan."""
        return self.n_folds_left + len(self.provisional)

    @property
    def startable(self) -> list[int]:
        """Waiting folds that may start now, in the order in which they should."""
        return [fold for fold in self.waiting if self.limit is None or fold < self.limit]

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
        if not self.waiting:  # of most trials all folds run, and the driver asks all trials for each job
            return not self.running and not self.is_finishing
        return bool(self.startable)

    def next_job(self, fold_deadline: float | None) -> Job:
        """The next fold, or the finish when all folds are fitted."""
        fold = next(iter(self.startable), None)
        if fold is not None:
            self.waiting.remove(fold)
            self.running.add(fold)
        else:
            self.is_finishing = True
        self.shares[fold] = self.need.gpu_share
        return Job(
            self.member,
            self.family,
            self.ask.params,
            fold,
            self.model_seed,
            deadline=fold_deadline,
            batch_divisor=self.batch_divisor,
        )

    def take(self, result: JobResult) -> bool:
        """Note a result; False when the trial has failed for good."""
        fold = result.job.fold
        if fold is not None:
            self.running.discard(fold)
        if result.fault is not None:
            self.is_finishing = False
            self.crashes[fold] += result.fault.reason != "killed"  # which is never the fold's fault
            may_retry = self.crashes[fold] <= RETRIES.get(result.fault.reason, 0)
            if result.fault.reason == "gpu_oom":
                self._ask_for_more(result.job)
            if (may_retry or result.fault.reason == "killed") and fold is not None:
                self.waiting.insert(0, fold)
            return may_retry or result.fault.reason == "killed"
        if fold is not None:
            assert result.provisional is not None
            self.provisional[fold] = result.provisional
            self.seconds += result.seconds
            self.devices.add(str((result.facts or {}).get("device", "cpu")))
        return True

    @property
    def attributes(self) -> dict[str, Any]:
        """What is known of its folds, for the dashboard."""
        return {"seconds": round(self.seconds, 3), "device": ", ".join(sorted(self.devices)) or "cpu"}

    def _ask_for_more(self, job: Job) -> None:
        """The whole GPU for each fold from here on; when the failed one had that already, a smaller batch.

        Another fold that began with less before may fail for the same cause: that asks for nothing new.
        """
        if 0 < self.need.gpu_share < 1:
            self.need = replace(self.need, gpu_share=1.0)
        elif self.shares[job.fold] == self.need.gpu_share and job.batch_divisor == self.batch_divisor:
            self.batch_divisor *= SMALLER_BATCH

    def report(self) -> None:
        """Report provisional scores in fold order, whatever the order in which the folds came."""
        while self.n_reported in self.provisional:
            self.study.report(self.ask.trial, self.n_reported, self.provisional[self.n_reported])
            self.n_reported += 1

    def judge(self, racer: Racer) -> bool:
        """Move the limit as far as the reports allow; False when the trial should be pruned now.

        To be called for a new trial, for one taken up again, and after each :meth:`report`. A fold at or beyond a limit
        proves that the trial was found good there before a crash: nothing that came later can take that back.
        """
        n_folds = self.n_folds
        if self.limit is None:
            self.limit = racer.judge(self.study, self.ask.trial, 0, n_folds)
        while self.limit < n_folds and self.limit <= self.n_reported:
            if max(self.provisional) >= self.limit:
                self.limit = racer.next_limit(self.limit, n_folds)
                continue
            limit = racer.judge(self.study, self.ask.trial, self.limit, n_folds)
            if limit == PRUNE:
                return False
            self.limit = limit
        return True


@dataclass
class RunningJob:
    """A job in its slot.

    Args:
        began: seconds since the epoch.
        killed_for: why the driver ended it, if it did so for the job's own fault.
    """

    job: Job
    slot: Slot
    began: float
    killed_for: Fault | None = None

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.time() - self.began

    def explain(self, result: JobResult) -> JobResult:
        """The result; a job that was killed for a fault of its own has that fault."""
        if self.killed_for is None or result.fault is None or result.fault.reason != "killed":
            return result
        return replace(result, fault=self.killed_for)


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
            record = store.fitted()
            trial.provisional[fold] = record["provisional"]
            trial.seconds += record["seconds"]
            trial.devices.add(str(record["facts"].get("device", "cpu")))
    if is_stale:
        members.write(replace(member, test_fingerprint=problem.data.test_fingerprint))
    trial.report()
    return trial
