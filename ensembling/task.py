"""What an ensembler is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.decisions import Decision
from foldsmith.problem.scoring import Judge, Scores

Predictions = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class BlendTask:
    """What is blended for: the judge's metric on the rows that the fold plan covers.

    Args:
        judge: metric, labels and folds.
        size: how many members are drawn, counting repetitions.
    """

    judge: Judge
    size: int = 25

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
        weights: by member, positive, sum 1.
        trace: every step that was taken, also beyond the best prefix.
        in_sample: score on the rows that chose the weights; flatters.
        nested: scores of ``nested_oof``: each fold predicted with weights fitted on the other folds.
        nested_oof: ``(n_rows, n_outputs)`` float32, NaN where no fold covers the row.
        decision: for label metrics the rule fitted on all covered rows, for test predictions.
        reason: why this ensemble, for people.
        shares: mean weight by member over the ensembles of ``nested_oof``, sum 1: what members are worth where they
            were not chosen by the rows that they are judged on.
    """

    method: str
    weights: dict[str, float]
    trace: tuple[Step, ...]
    in_sample: float
    nested: Scores
    nested_oof: NDArray[np.float32]
    decision: Decision | None
    reason: str = ""
    shares: dict[str, float] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """What is stored beside the arrays, as plain values."""
        return {
            "in_sample": self.in_sample,
            "trace": [{"member": step.member, "score": step.score} for step in self.trace],
            "decision": None if self.decision is None else self.decision.to_json(),
            "reason": self.reason,
        }


def mix(weights: Mapping[str, float], predictions: Predictions, space: str) -> NDArray[np.float32]:
    """Weighted mean of predictions ``(n_rows, n_outputs)``, taken in the metric's blend space.

    Args:
        weights: sum 1.
        predictions: at least the members that have a weight.
        space: ``"identity"`` or ``"log1p"``.
    """
    total: NDArray[np.float64] | None = None
    for name, weight in weights.items():
        part = weight * to_space(predictions[name], space)
        total = part if total is None else total + part
    assert total is not None, "a blend has at least one member"
    return np.asarray(np.expm1(total) if space == "log1p" else total, np.float32)


def to_space(prediction: NDArray[Any], space: str) -> NDArray[np.float64]:
    """Predictions as float64 where they are averaged."""
    values = np.asarray(prediction, np.float64)
    return np.log1p(values.clip(min=0)) if space == "log1p" else values
