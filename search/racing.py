"""Racing over folds: most trials fit a fold or two, the survivors their full cross-validation."""

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from foldsmith.problem.errors import ContractError, UnknownNameError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from foldsmith.search.studies import FamilyStudy, Reporting

PRUNE = 0  # a limit that no fold is below

# A sum of floats in another order may differ in the last digits; what differs by less is a tie.
TIE = 1e-12


class Racer(ABC):
    """Decides after a few folds whether a trial gets the others. It holds no state: all it knows is in the study.

    The driver calls :meth:`judge` when the folds below a trial's limit are fitted, and starts none at or above the
    limit before: what finishes first cannot change a decision. Enqueued points (the defaults) and promoted trials are
    never pruned.

    Args:
        name: what people call it.
        reports: what the intermediate values of a study may mean for it; the first is what a new study gets.
    """

    name: str
    reports: "Sequence[Reporting]"

    @property
    def reporting(self) -> "Reporting":
        """What the intermediate values of a new study mean."""
        return self.reports[0]

    @abstractmethod
    def rungs(self, n_folds: int) -> Sequence[int]:
        """After how many folds a trial is judged, ascending, each below ``n_folds``."""

    @abstractmethod
    def survives(self, study: "FamilyStudy", trial: "FrozenTrial", n_reported: int, n_folds: int) -> bool:
        """Whether a trial with ``n_reported`` folds, one of the rungs, deserves more."""

    def deserves_more(self, study: "FamilyStudy", pruned: "FrozenTrial", n_reported: int) -> bool:
        """Whether a pruned trial looks good by what is known today."""
        return False

    def next_limit(self, n_reported: int, n_folds: int) -> int:
        """How many folds a trial may fit that was found good after ``n_reported``."""
        return min((rung for rung in self.rungs(n_folds) if rung > n_reported), default=n_folds)

    def judge(self, study: "FamilyStudy", trial: "optuna.Trial", n_reported: int, n_folds: int) -> int:
        """The next limit, or ``PRUNE``.

        Args:
            n_reported: folds that were reported: 0 for a new trial, then the limit that was given last.
        """
        from foldsmith.search.studies import was_enqueued, was_promoted

        frozen = study.frozen(trial)
        if was_promoted(frozen) or was_enqueued(frozen):
            return n_folds
        if n_reported in self.rungs(n_folds) and not self.survives(study, frozen, n_reported, n_folds):
            return PRUNE
        return self.next_limit(n_reported, n_folds)

    def promotable(self, study: "FamilyStudy", *, at_end: bool = False) -> "FrozenTrial | None":
        """A pruned trial that should have its other folds now, None when there is none.

        Drivers that share the study choose and promote while asking, lest two of them choose the same one.

        Args:
            at_end: time is left that no new trial can use: the best pruned one, deserving or not.
        """
        for n_reported, trials in itertools.groupby(_waiting(study), key=lambda trial: len(trial.intermediate_values)):
            best = next(trials)  # where it does not deserve more, nobody else with as many folds does
            if at_end or self.deserves_more(study, best, n_reported):
                return best
        return None


class NoRacing(Racer):
    """Every trial gets all its folds."""

    name = "none"
    reports = ("fold score", "running mean")

    def rungs(self, n_folds: int) -> Sequence[int]:
        """None."""
        return ()

    def survives(self, study: "FamilyStudy", trial: "FrozenTrial", n_reported: int, n_folds: int) -> bool:
        """Always."""
        return True


class Halving(Racer):
    """Asynchronous successive halving with folds as the resource.

    A trial goes on when the mean over its first folds is among the best ``1 / eta`` of all trials of its family that
    came so far, itself included; ties go on. All are compared on the same folds, so a hard fold hurts nobody. A trial
    that was cut because few were known becomes promotable when the next ones turn out worse.

    Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2
    (https://arxiv.org/abs/1810.05934). There every trial waits for its promotion at each rung; here it goes on at once
    when it may, and a promoted one gets all its other folds.

    Args:
        eta: one of so many goes on.
        min_trials: fewer than these at a rung judge nobody.
    """

    name = "halving"
    reports = ("running mean", "fold score")

    def __init__(self, eta: int = 3, min_trials: int = 5) -> None:
        self._eta = eta
        self._min_trials = min_trials

    def rungs(self, n_folds: int) -> Sequence[int]:
        """A fifth of the folds and twice that; none beyond half, where little is left to save.

        >>> [tuple(Halving().rungs(n_folds)) for n_folds in (1, 2, 3, 5, 10)]
        [(), (1,), (1,), (1, 2), (2, 4)]
        """
        first = max(1, n_folds // 5)
        return [rung for rung in (first, 2 * first) if rung <= n_folds / 2]

    def survives(self, study: "FamilyStudy", trial: "FrozenTrial", n_reported: int, n_folds: int) -> bool:
        """Among the best of its rung, or one of the first there."""
        rung = _reached(study, n_reported)
        return len(rung) < self._min_trials or self._is_among_best(study, trial, n_reported, rung)

    def deserves_more(self, study: "FamilyStudy", pruned: "FrozenTrial", n_reported: int) -> bool:
        """Among the best of those that came as far as it did."""
        rung = _reached(study, n_reported)
        return len(rung) >= self._min_trials and self._is_among_best(study, pruned, n_reported, rung)

    def _is_among_best(self, study: "FamilyStudy", trial: "FrozenTrial", n_folds: int, rung: list[float]) -> bool:
        own = study.mean_after(trial, n_folds)
        assert own is not None, "a trial is judged on folds that were reported"
        n_best = max(1, len(rung) // self._eta)
        worst = sorted(rung, reverse=study.greater_is_better)[n_best - 1]
        margin = TIE * abs(worst)
        return own >= worst - margin if study.greater_is_better else own <= worst + margin


class OptunaRacer(Racer):
    """Asks one of Optuna's pruners after each fold from which on it can prune."""

    def survives(self, study: "FamilyStudy", trial: "FrozenTrial", n_reported: int, n_folds: int) -> bool:
        """What ``prune`` says, turned round."""
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            pruner = self.pruner(n_folds)
        return not study.would_prune(pruner, trial)

    @abstractmethod
    def pruner(self, n_folds: int) -> "optuna.pruners.BasePruner":
        """A new pruner; those of Optuna keep nothing that the study does not hold."""


class Median(OptunaRacer):
    """Goes on while its best running mean is no worse than the median of the complete trials at the same fold.

    Judges nobody before five trials are complete.
    """

    name = "median"
    reports = ("running mean",)

    def rungs(self, n_folds: int) -> Sequence[int]:
        """Every fold but the last."""
        return range(1, n_folds)

    def pruner(self, n_folds: int) -> "optuna.pruners.BasePruner":
        """With Optuna's defaults."""
        from optuna.pruners import MedianPruner

        return MedianPruner()


class Hyperband(OptunaRacer):
    """Successive halving as Optuna has it, in brackets that begin to judge at different folds.

    Optuna counts steps from 0, so its first rung, step 1, comes after two folds; the next after four and ten.
    """

    name = "hyperband"
    reports = ("running mean",)

    def rungs(self, n_folds: int) -> Sequence[int]:
        """One more than the powers of three."""
        return [rung for rung in (2, 4, 10, 28) if rung < n_folds]

    def pruner(self, n_folds: int) -> "optuna.pruners.BasePruner":
        """With all folds as the largest resource; else Optuna would wait for a complete trial to learn it."""
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(min_resource=1, max_resource=n_folds, reduction_factor=3)


class Wilcoxon(OptunaRacer):
    """Prunes what is worse than the best trial by a signed-rank test over the same folds.

    With ``n`` folds the smallest one-sided p is ``2 ** -n``, so at the default p of 0.1 nobody can be pruned before
    four folds: of five folds it saves the last one at most, of three nothing. It is made for ten and more.
    """

    name = "wilcoxon"
    reports = ("fold score",)

    def __init__(self, p_threshold: float = 0.1) -> None:
        self._p_threshold = p_threshold

    def rungs(self, n_folds: int) -> Sequence[int]:
        """Every fold at which the test can reach its p at all, so that the ones before can run side by side."""
        return [rung for rung in range(2, n_folds) if 0.5**rung < self._p_threshold]

    def pruner(self, n_folds: int) -> "optuna.pruners.BasePruner":
        """With this racer's p."""
        from optuna.pruners import WilcoxonPruner

        return WilcoxonPruner(p_threshold=self._p_threshold)


RACERS: dict[str, Racer] = {racer.name: racer for racer in (NoRacing(), Halving(), Median(), Hyperband(), Wilcoxon())}


def get_racer(name: str) -> Racer:
    """The racer of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in RACERS:
        raise UnknownNameError("racer", name, RACERS)
    return RACERS[name]


def settle_reports(study: "FamilyStudy", racer: Racer) -> None:
    """Make the study report what ``racer`` judges by; called before a search asks or adopts anything.

    Raises:
        ContractError: the study already holds reports that mean something else.
    """
    if not study.report_as(racer.reports):
        fitting = ", ".join(name for name, other in RACERS.items() if study.reporting in other.reports)
        raise ContractError(
            f"racer {racer.name!r} judges by the {racer.reporting} but the study of {study.family!r} holds the "
            f"{study.reporting} of each fold; go on with one of {fitting}"
        )


def _competitors(study: "FamilyStudy") -> "list[FrozenTrial]":
    """Trials whose fold scores are comparable; a promoted one would count its point twice, a failed one is none."""
    from optuna.trial import TrialState

    from foldsmith.search.studies import was_promoted

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return [trial for trial in study.trials() if trial.state in states and not was_promoted(trial)]


def _reached(study: "FamilyStudy", n_folds: int) -> list[float]:
    """Means over the first ``n_folds`` folds of all trials that came so far."""
    means = (study.mean_after(trial, n_folds) for trial in _competitors(study))
    return [mean for mean in means if mean is not None]


def _waiting(study: "FamilyStudy") -> "list[FrozenTrial]":
    """Pruned trials that were not promoted: those with the most folds first, then the best mean."""
    from optuna.trial import TrialState

    from foldsmith.search.studies import NOT_COUNTED

    if not study.tally().has_pruned:
        return []
    trials = study.trials()
    promoted = {
        trial.user_attrs.get("promoted_from") for trial in trials if trial.user_attrs.get("error") not in NOT_COUNTED
    }
    sign = -1 if study.greater_is_better else 1
    found = []
    for trial in trials:
        if trial.state != TrialState.PRUNED or trial.number in promoted or "member" not in trial.user_attrs:
            continue
        n_reported = len(trial.intermediate_values)
        if (mean := study.mean_after(trial, n_reported)) is not None:
            found.append((-n_reported, sign * mean, trial.number, trial))
    return [trial for *_, trial in sorted(found, key=lambda entry: entry[:3])]
