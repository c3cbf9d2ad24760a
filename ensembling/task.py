"""What an ensembler is given, and what it gives back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.blend_space import from_space, to_space
from foldsmith.problem.decisions import Decision
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Judge, Scores

if TYPE_CHECKING:
    from foldsmith.ensembling.fitted import Fitted

Predictions = Mapping[str, Outputs]


@dataclass(frozen=True)
class BlendTask:
    """What is blended for: the judge's metric on the rows that the fold plan covers.

    Args:
        judge: metric, labels, folds and weights of rows.
        size: how many members a greedy selection draws, counting repetitions.
        space: where predictions are averaged, see :mod:`foldsmith.ensembling.blend_space`; the metric's own by default.
        seed: of what is drawn: bags and bootstraps.
        foreign: members that were made under other or unknown folds: they may be averaged, but the models behind them
            may have seen the labels that a meta-model would be judged by.
    """

    judge: Judge
    size: int = 25
    space: str = ""
    seed: int = 0
    foreign: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.space:
            object.__setattr__(self, "space", self.judge.metric.blend_space)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Covered rows of repeat 0."""
        return np.flatnonzero(self.judge.plan.coverage(0))

    @cached_property
    def fold_of_row(self) -> NDArray[np.int64]:
        """``(n_rows,)`` the fold that validates each row, -1 for none."""
        folds = np.full(len(self.judge.y), -1, np.int64)
        for fold in range(self.judge.plan.n_folds):
            folds[self.judge.plan.split(0, fold)[1]] = fold
        return folds


@dataclass(frozen=True)
class Step:
    """One step of a selection: the member that was added, and the in-sample score from then on."""

    member: str
    score: float


@dataclass(frozen=True)
class EnsembleResult:
    """A fitted ensemble.

    Args:
        method: its name.
        fitted: turns members' predictions, of any rows, into the ensemble's.
        in_sample: score on the rows that fitted it; flatters.
        nested: scores of ``nested_oof``: each fold predicted by an ensemble fitted on the other folds.
        nested_oof: ``(n_rows, n_outputs)``, NaN where no fold covers the row.
        decision: for label metrics the rule fitted on all covered rows, for test predictions.
        reason: why this ensemble, for people.
        shares: mean weight by member over the ensembles of ``nested_oof``, sum 1: what members are worth where they
            were not chosen by the rows that they are judged on.
        by_method: nested scores of the methods that were compared, for the automatic choice.
    """

    method: str
    fitted: "Fitted"
    in_sample: float
    nested: Scores
    nested_oof: Outputs
    decision: Decision | None
    reason: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    by_method: dict[str, float] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """By member, the greatest first, sum 1; of a meta-model the share of its coefficients."""
        return self.fitted.weights

    @property
    def trace(self) -> tuple[Step, ...]:
        """Every step that was taken, also beyond the best prefix; empty for methods without steps."""
        return self.fitted.trace

    def predict(self, predictions: Predictions) -> Outputs:
        """The ensemble's prediction ``(n_rows, n_outputs)`` from its members' predictions of the same rows."""
        return self.fitted.predict(predictions)

    def details(self) -> dict[str, Any]:
        """What is stored beside the arrays, as plain values."""
        return {
            "in_sample": self.in_sample,
            "trace": [{"member": step.member, "score": step.score} for step in self.trace],
            "decision": None if self.decision is None else self.decision.to_json(),
            "model": self.fitted.to_json(),
            "by_method": self.by_method,
            "reason": self.reason,
        }


def common_dtype(predictions: Iterable[Outputs]) -> np.dtype[Any]:
    """What a blend of some predictions is stored in: float64 once one of them is."""
    return np.result_type(*(prediction.dtype for prediction in predictions))


def mix(weights: Mapping[str, float], predictions: Predictions, space: str) -> Outputs:
    """Weighted sum of predictions ``(n_rows, n_outputs)``, taken in a blend space.

    Args:
        weights: sum 1; where one is negative, chances are clipped and divided by their sums afterwards.
        predictions: at least the members that have a weight.
        space: see :mod:`foldsmith.ensembling.blend_space`.
    """
    total: NDArray[np.float64] | None = None
    for name, weight in weights.items():
        part = weight * to_space(predictions[name], space)
        total = part if total is None else total + part
    assert total is not None, "a blend has at least one member"
    return np.asarray(from_space(total, space), common_dtype(predictions[name] for name in weights))
