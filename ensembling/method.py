"""The one interface of all methods, and how an ensemble is judged by rows that had no part in it."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import Fitted, Floored
from foldsmith.ensembling.kernels import make_kernel
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask, EnsembleResult
from foldsmith.problem.decisions import Decision
from foldsmith.problem.floors import ChanceFloor
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import score_oof, score_values


@runtime_checkable
class Method(Protocol):
    """A way to make one prediction of many.

    Attributes:
        name: what people type.
        declares: the invariants that it keeps, tested for each: ``"weights"`` (they sum to 1), ``"duplicates"`` (a
            repeated member changes nothing), ``"permutation"`` (of members or rows permutes the result), ``"noise"``
            (members that know nothing get next to no weight).
    """

    name: ClassVar[str]

    @property
    def declares(self) -> frozenset[str]:
        """The invariants, see above."""
        ...

    def why_not(self, pool: Pool) -> str | None:
        """Why the method should not be used on this pool; None if it may."""
        ...

    def fit(self, pool: Pool) -> Fitted:
        """Fit on the rows of a pool."""
        ...


ALL = frozenset({"weights", "duplicates", "permutation", "noise"})


@dataclass(frozen=True)
class CrossFitted:
    """A method's nested out-of-fold prediction: each fold's rows by an ensemble fitted on the other folds.

    Args:
        oof: ``(n_rows, n_outputs)``, NaN where no fold covers the row.
        shares: mean weight by member over those ensembles.
    """

    oof: Outputs
    shares: dict[str, float]


def cross_fit(method: Method, pool: Pool) -> CrossFitted:
    """Fit a method once per fold on the rows of the other folds and predict that fold's."""
    oof = np.full((len(pool.judge.y), pool.n_outputs), np.nan, pool.dtype)
    shares: dict[str, float] = {}
    for fold in pool.folds:
        fitted = fit_on(method, pool.without(fold))
        rows = np.flatnonzero(pool.task.fold_of_row == fold)
        oof[rows] = predict_rows(fitted, pool, rows)
        for name, weight in fitted.weights.items():
            shares[name] = shares.get(name, 0.0) + weight / len(pool.folds)
    return CrossFitted(oof, shares)


def fit_on(method: Method, pool: Pool) -> Fitted:
    """Fit a method on a pool, with a floor under the chances of classes that none of its rows has."""
    fitted = method.fit(pool)
    judge = pool.judge
    floor = ChanceFloor.of(judge.metric, judge.metric.goal(judge.task, judge.n_classes), judge.y[pool.rows])
    return fitted if floor is None else Floored(fitted, floor.unseen, floor.chance)


def predict_rows(fitted: Fitted, pool: Pool, rows: NDArray[np.int64]) -> Outputs:
    """An ensemble's out-of-fold prediction of some rows; a rank is one among all covered rows."""
    predictions = pool.predictions
    if pool.task.space == "rank":
        everything = np.full((len(pool.judge.y), pool.n_outputs), np.nan, pool.dtype)
        everything[pool.task.rows] = fitted.predict(
            {name: predictions[name][pool.task.rows] for name in fitted.weights}
        )
        return everything[rows]
    return fitted.predict({name: predictions[name][rows] for name in fitted.weights})


def fit_method(method: Method, pool: Pool) -> EnsembleResult:
    """Fit a method on all rows of a pool, and once more per fold without its rows for the nested score."""
    fitted = fit_on(method, pool)
    return as_result(method.name, fitted, cross_fit(method, pool), pool, fitted.note)


def as_result(name: str, fitted: Fitted, crossed: CrossFitted, pool: Pool, reason: str) -> EnsembleResult:
    """Score a fitted ensemble on the rows that fitted it and on those that did not."""
    predictions, task = pool.predictions, pool.task
    blended = np.full((len(task.judge.y), pool.n_outputs), np.nan, pool.dtype)
    blended[task.rows] = fitted.predict({member: predictions[member][task.rows] for member in fitted.weights})
    decision, in_sample = judge_in_sample(task, blended)
    nested = score_oof(task.judge, crossed.oof)
    return EnsembleResult(name, fitted, in_sample, nested, crossed.oof, decision, reason, crossed.shares)


def judge_in_sample(task: BlendTask, blended: Outputs) -> tuple[Decision | None, float]:
    """The decision rule fitted on all rows (None without labels) and the score on those same rows."""
    judge = task.judge
    if not judge.needs_labels:
        return None, score_values(judge, blended).value
    decision = judge.decide(task.rows, blended)
    labels = np.full(len(judge.y), -1, np.int64)
    labels[task.rows] = decision.apply(blended[task.rows])
    return decision, score_values(judge, labels).value


def losses_alone(pool: Pool) -> NDArray[np.float64]:
    """``(n_members,)`` each member's loss by itself, in the kernel's units."""
    return make_kernel(pool).losses(1.0)
