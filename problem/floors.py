"""A chance is never 0 only because a class had no row to learn from: the floor that the number of rows justifies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Goal, Outputs
from foldsmith.problem.metrics import Metric
from foldsmith.problem.target import Target


def unseen_chance(n_rows: int, n_classes: int) -> float:
    """The chance of a class that none of ``n_rows`` rows has: 1 / (n + C).

    Source: the rule of succession, P.-S. Laplace 1814, Essai philosophique sur les probabilités: (k + 1) / (n + C) for
    a class with k of n rows and C classes, here with k = 0.

    >>> unseen_chance(200, 3)
    0.0049261083743842365
    """
    return 1.0 / (n_rows + n_classes)


@dataclass(frozen=True)
class ChanceFloor:
    """Lifts the chances of classes that a model could not learn to what the rows justify.

    Args:
        unseen: codes of the classes without a row.
        chance: the least chance of each of them; below 1 / C.
    """

    unseen: tuple[int, ...]
    chance: float

    @classmethod
    def of(cls, metric: Metric, goal: Goal, y: NDArray[np.int64]) -> "ChanceFloor | None":
        """The floor of a model that learned the class codes ``y`` ``(n,)``; None where there is nothing to lift.

        Only metrics that punish certainty without bound need one: log loss, and a user's own that judges chances.
        """
        if not goal.is_classification or not metric.punishes_certainty:
            return None
        n_classes = goal.n_classes
        counts = np.bincount(np.asarray(y, np.int64), minlength=n_classes)
        unseen = np.flatnonzero(counts == 0)
        if not len(unseen):
            return None
        return cls(tuple(unseen.tolist()), unseen_chance(len(y), n_classes))

    def lift(self, chances: Outputs) -> Outputs:
        """Chances ``(n_rows, n_outputs)`` with the floor; those of the other classes are scaled to the sum of 1."""
        lifted = np.array(chances, np.float64)
        if lifted.shape[1] == 1:
            low = self.chance if 1 in self.unseen else 0.0
            high = 1 - self.chance if 0 in self.unseen else 1.0
            return np.asarray(lifted.clip(low, high), chances.dtype)
        unseen = np.zeros(lifted.shape[1], np.bool_)
        unseen[list(self.unseen)] = True
        # The share of all unseen classes together stays what the model says where that is more than their floors.
        raised = np.maximum(lifted[:, unseen], self.chance)
        rest = lifted[:, ~unseen]
        sums = rest.sum(axis=1, keepdims=True)
        left = np.maximum(1 - raised.sum(axis=1, keepdims=True), 0.0)
        lifted[:, unseen] = raised
        lifted[:, ~unseen] = np.divide(
            rest * left, sums, out=np.full_like(rest, 1 / rest.shape[1]) * left, where=sums > 0
        )
        return np.asarray(lifted, chances.dtype)


def lifted(chances: Outputs, floor: ChanceFloor | None) -> Outputs:
    """The chances with the floor, if there is one."""
    return chances if floor is None else floor.lift(chances)


def classes_missing_in_folds(plan: FoldPlan, y: NDArray[np.int64], n_classes: int) -> dict[int, list[int]]:
    """For each class that some fold's train rows lack, the folds (from 0) of the first repeat."""
    missing: dict[int, list[int]] = {}
    for fold in range(plan.n_folds):
        train, _ = plan.split(0, fold)
        counts = np.bincount(np.asarray(y[train], np.int64), minlength=n_classes)
        for code in np.flatnonzero(counts == 0).tolist():
            missing.setdefault(code, []).append(fold)
    return missing


def missing_class_remarks(plan: FoldPlan, y: NDArray[np.int64], target: Target) -> tuple[str, ...]:
    """A sentence about classes that models of some folds never see; none where every fold has all."""
    if target.task == "regression":
        return ()
    missing = classes_missing_in_folds(plan, y, len(target.classes))
    if not missing:
        return ()
    return (missing_classes_sentence(missing, plan, y, target.classes),)


def missing_classes_sentence(
    missing: dict[int, list[int]], plan: FoldPlan, y: NDArray[np.int64], classes: Sequence[str]
) -> str:
    """What is missing where, for people."""
    counts = np.bincount(np.asarray(y, np.int64), minlength=len(classes))
    parts = []
    for code, folds in list(missing.items())[:3]:
        which = "all folds" if len(folds) == plan.n_folds else f"fold {', '.join(str(fold + 1) for fold in folds)}"
        parts.append(f"{classes[code]!r} ({counts[code]} rows in all) in {which}")
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return (
        f"the train rows of some folds lack a class: {'; '.join(parts)}{more}; models of those folds cannot know it, "
        "log loss takes a floor of 1 / (rows + classes) for it"
    )
