"""Scores of out-of-fold predictions: per fold, pooled, and with labels decided by rules fitted on other folds."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.decisions import Decision, default_decision, fit_decision
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import Metric


@dataclass(frozen=True)
class Judge:
    """A metric bound to a problem's labels and folds.

    Args:
        y: ``(n_rows,)`` class codes or values, in the units of the metric.
        n_classes: 0 for regression.
        weight: ``(n_rows,)``, not negative, what each row counts in scores and decisions; None counts each once.
    """

    metric: Metric
    task: Task
    n_classes: int
    y: NDArray[Any]
    plan: FoldPlan
    weight: NDArray[np.float64] | None = None

    @property
    def needs_labels(self) -> bool:
        """Whether predictions must be turned into labels before they are scored."""
        return self.metric.needs == "label" and self.task != "regression"

    def decide(self, rows: NDArray[np.int64], predictions: NDArray[Any]) -> Decision:
        """The rule that turns predictions into labels, fitted on ``rows``; ``predictions`` are of all rows."""
        weight = self._weight(rows)
        return fit_decision(self.metric, self.task, self.n_classes, self.y[rows], predictions[rows], weight)

    def score(self, rows: NDArray[np.int64], values: NDArray[Any]) -> float:
        """The metric on ``rows``; ``values`` are predictions or labels of all rows."""
        return self.metric.score(self.y[rows], values[rows], self._weight(rows))

    def _weight(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        return None if self.weight is None else self.weight[rows]


@dataclass(frozen=True)
class Scores:
    """How good a prediction is, in the metric's own units.

    Args:
        value: what is compared and shown: mean of folds or pooled, as the metric says.
        mean, sem: mean over folds and its standard error.
        per_fold: one score per fold.
        pooled: one score over all covered rows.
        untuned: ``value`` with the plain rule (0.5, arg max, rounding) instead of the cross-fitted one; None for
            metrics that need no labels.
    """

    value: float
    mean: float
    sem: float
    per_fold: tuple[float, ...]
    pooled: float
    untuned: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Scores":
        """Read what ``to_json`` wrote."""
        return cls(**{**record, "per_fold": tuple(record["per_fold"])})


def score_oof(judge: Judge, oof: NDArray[Any], repeat: int = 0) -> Scores:
    """Score out-of-fold predictions ``(n_rows, n_outputs)``.

    Labels of a fold are decided by a rule fitted on the covered rows of the *other* folds, so that no threshold is
    scored on the rows that chose it.
    """
    values = crossfitted_labels(judge, oof, repeat) if judge.needs_labels else oof
    scores = score_values(judge, values, repeat)
    if not judge.needs_labels:
        return scores
    plain = default_decision(judge.metric, judge.task, judge.n_classes).apply(np.nan_to_num(oof))
    return Scores(**{**asdict(scores), "untuned": score_values(judge, plain, repeat).value})


def crossfitted_labels(judge: Judge, oof: NDArray[Any], repeat: int = 0) -> NDArray[np.int64]:
    """Label codes ``(n_rows,)``, each fold's decided on the other folds; -1 where no fold covers the row."""
    labels = np.full(len(oof), -1, np.int64)
    covered = judge.plan.coverage(repeat)
    for fold in range(judge.plan.n_folds):
        _, valid = judge.plan.split(repeat, fold)
        others = covered.copy()
        others[valid] = False
        labels[valid] = judge.decide(np.flatnonzero(others), oof).apply(oof[valid])
    return labels


def score_values(judge: Judge, values: NDArray[Any], repeat: int = 0) -> Scores:
    """Score values or labels of all rows as they are, per fold and pooled."""
    folds = [judge.plan.split(repeat, fold)[1] for fold in range(judge.plan.n_folds)]
    per_fold = tuple(judge.score(rows, values) for rows in folds)
    known = np.array([score for score in per_fold if np.isfinite(score)])
    mean = float(known.mean()) if len(known) else float("nan")
    sem = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    pooled = judge.score(np.flatnonzero(judge.plan.coverage(repeat)), values)
    return Scores(mean if judge.metric.aggregate == "mean_of_folds" else pooled, mean, sem, per_fold, pooled)
