"""Scoring all candidates of a greedy step at once, by the metric's structure.

A kernel holds the predictions of all members on the rows in use and the sum of those chosen so far. ``losses()``
gives the loss that the blend would have after adding each member; smaller is better.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.task import BlendTask, to_space
from foldsmith.problem.scoring import Judge

Array = NDArray[np.float64]

# Losses closer than this share of their magnitude are a tie: float noise must not choose between members.
TIE = 1e-10


def magnitude(losses: Array) -> float:
    """The greatest absolute value of the finite losses, 0 if there are none."""
    return float(np.abs(losses[np.isfinite(losses)]).max(initial=0.0))


StepLoss = Callable[[Array], Callable[[Array], float]]

RULE_ROWS = 5000


class Kernel(Protocol):
    """State of one greedy selection."""

    def losses(self) -> Array:
        """``(n_members,)`` loss of the blend after adding each member once; NaN is never the best."""
        ...

    def add(self, member: int) -> None:
        """Add a member to the blend."""
        ...


class SquaredKernel:
    """Mean squared error from the Gram matrix of residuals: a step costs ``O(n_members)``.

    The loss of weights ``w`` (sum 1) is ``w' G w`` with ``G = E E' / n`` and ``E`` the residuals of each member.
    """

    def __init__(self, gram: Array) -> None:
        self._gram = gram
        self._counts = np.zeros(len(gram))

    def losses(self) -> Array:
        """See :class:`Kernel`."""
        size = self._counts.sum()
        cross = self._gram @ self._counts
        inside = float(self._counts @ cross)
        return np.asarray((inside + 2 * cross + np.diag(self._gram)) / (size + 1) ** 2)

    def add(self, member: int) -> None:
        """See :class:`Kernel`."""
        self._counts[member] += 1


def residual_gram(columns: Array, y: Array) -> Array:
    """``(n_members, n_members)`` mean products of residuals; ``columns`` is ``(n_members, n_values)``."""
    residuals = columns - y
    return np.asarray(residuals @ residuals.T / residuals.shape[1])


class SeparableKernel:
    """A mean over rows of a function of the blended value: log loss of the true class, absolute error.

    Args:
        columns: ``(n_members, n_rows)`` what is averaged.
        row_loss: of blended columns ``(n_members, n_rows)`` to losses of the same shape.
    """

    def __init__(self, columns: Array, row_loss: Callable[[Array], Array]) -> None:
        self._columns = columns
        self._row_loss = row_loss
        self._sum = np.zeros(columns.shape[1])
        self._size = 0

    def losses(self) -> Array:
        """See :class:`Kernel`."""
        return np.asarray(self._row_loss((self._columns + self._sum) / (self._size + 1)).mean(axis=1))

    def add(self, member: int) -> None:
        """See :class:`Kernel`."""
        self._sum = self._sum + self._columns[member]
        self._size += 1


class AucKernel:
    """One minus the AUC, averaged over the folds that hold both classes; from ranks, exact.

    A step sorts every candidate: ``O(n_members n_rows log n_rows)``.

    Args:
        columns: ``(n_members, n_rows)`` chances.
        is_positive, folds: ``(n_rows,)``.
    """

    MOST_ROWS = 10_000  # beyond, sorting takes longer than counting

    def __init__(self, columns: Array, is_positive: NDArray[np.bool_], folds: NDArray[np.int64]) -> None:
        self._columns = columns
        self._folds = [
            (rows, is_positive[rows]) for fold in np.unique(folds) if len(rows := np.flatnonzero(folds == fold))
        ]
        self._sum = np.zeros(columns.shape[1])

    def losses(self) -> Array:
        """See :class:`Kernel`."""
        from scipy.stats import rankdata

        values = self._columns + self._sum
        scores = []
        for rows, positive in self._folds:
            n_positive = int(positive.sum())
            pairs = n_positive * (len(rows) - n_positive)
            if pairs:
                ranks = rankdata(values[:, rows], axis=1)[:, positive].sum(axis=1)
                scores.append((ranks - n_positive * (n_positive + 1) / 2) / pairs)
        return 1 - np.mean(scores, axis=0) if scores else np.full(len(values), np.nan)

    def add(self, member: int) -> None:
        """See :class:`Kernel`."""
        self._sum = self._sum + self._columns[member]


class BinnedAucKernel:
    """What :class:`AucKernel` gives, to about 1e-5, from counts in 2^14 bins: a step costs ``O(n_members n_rows)``.

    Pairs inside a bin count one half. Half of the bins are of equal width and half of equal weight under the members'
    chances, for those of a rare class crowd near 0.

    Args:
        columns: ``(n_members, n_rows)`` chances.
        is_positive, folds: ``(n_rows,)``.
    """

    N_BINS = 1 << 14
    N_CELLS = 1 << 20  # equal cells that the bins are made of

    def __init__(self, columns: Array, is_positive: NDArray[np.bool_], folds: NDArray[np.int64]) -> None:
        self._columns = columns
        self._low, high = float(columns.min()), float(columns.max())
        self._scale = (self.N_CELLS - 1) / (high - self._low if high > self._low else 1.0)
        self._bin_of_cell = self._make_bins()
        self._offset = (2 * folds + is_positive) * self.N_BINS
        self._n_folds = int(folds.max()) + 1
        self._sum = np.zeros(columns.shape[1])
        self._size = 0

    def _make_bins(self) -> NDArray[np.int64]:
        counts = np.zeros(self.N_CELLS)
        for column in self._columns:
            counts += np.bincount(self._cells(column), minlength=self.N_CELLS)
        weight = np.cumsum(counts) / counts.sum()
        width = np.arange(1, self.N_CELLS + 1) / self.N_CELLS
        return np.asarray(0.5 * (weight + width) * (self.N_BINS - 1), np.int64)

    def _cells(self, values: Array) -> NDArray[np.int64]:
        """Cell numbers of chances; a mean of columns lies in their range, too."""
        return ((values - self._low) * self._scale).astype(np.int64)

    def losses(self) -> Array:
        """See :class:`Kernel`."""
        return np.array([self._loss((self._sum + column) / (self._size + 1)) for column in self._columns])

    def _loss(self, values: Array) -> float:
        bins = self._bin_of_cell[self._cells(values)]
        counts = np.bincount(self._offset + bins, minlength=2 * self._n_folds * self.N_BINS)
        negative, positive = np.moveaxis(counts.reshape(self._n_folds, 2, self.N_BINS).astype(float), 1, 0)
        below = np.cumsum(negative, axis=1) - 0.5 * negative
        pairs = negative.sum(axis=1) * positive.sum(axis=1)
        known = pairs > 0
        return float(1 - ((positive * below).sum(axis=1)[known] / pairs[known]).mean()) if known.any() else np.nan

    def add(self, member: int) -> None:
        """See :class:`Kernel`."""
        self._sum = self._sum + self._columns[member]
        self._size += 1


class MetricKernel:
    """Any metric: a smooth loss screens the candidates, the metric itself decides among the best few.

    Label metrics move in steps and are costly to evaluate; the smooth loss also breaks their ties.

    Args:
        screen: a kernel of a smooth loss over the same members.
        step_loss: of the blend that the screen likes best, ``(n_rows, n_outputs)``, gives the loss of a blend that the
            candidates of this step are compared by.
        columns: ``(n_members, n_rows, n_outputs)``.
    """

    N_EXACT = 5

    def __init__(self, screen: Kernel, step_loss: StepLoss, columns: Array) -> None:
        self._screen = screen
        self._step_loss = step_loss
        self._columns = columns
        self._sum = np.zeros(columns.shape[1:])
        self._size = 0

    def losses(self) -> Array:
        """Losses of the screened few, infinite for the others; ties are set apart by the screen's order."""
        smooth = self._screen.losses()
        few = np.argsort(smooth, kind="stable")[: self.N_EXACT]
        blends = ((self._columns[member] + self._sum) / (self._size + 1) for member in few)
        favourite = next(blends)
        loss = self._step_loss(favourite)
        exact = np.array([loss(favourite), *map(loss, blends)])
        losses = np.full(len(smooth), np.inf)
        losses[few] = exact + 2 * TIE * magnitude(exact) * np.arange(len(few))
        return losses

    def add(self, member: int) -> None:
        """See :class:`Kernel`."""
        self._screen.add(member)
        self._sum = self._sum + self._columns[member]
        self._size += 1


def make_kernel(task: BlendTask, stack: Array, rows: NDArray[np.int64]) -> Kernel:
    """The kernel for the task's metric.

    Args:
        stack: ``(n_members, len(rows), n_outputs)`` predictions in the blend space.
        rows: the rows in use, as row numbers of the train table.
    """
    judge = task.judge
    y = judge.y[rows]
    name = judge.metric.name
    if name in ("rmse", "rmsle", "r2"):
        return SquaredKernel(residual_gram(stack[:, :, 0], to_space(y, judge.metric.blend_space)))
    if name == "brier" and stack.shape[2] == 1:
        return SquaredKernel(residual_gram(stack[:, :, 0], y.astype(np.float64)))
    if name == "mae":
        return SeparableKernel(stack[:, :, 0], lambda blended: np.abs(blended - y))
    if name == "log_loss":
        return SeparableKernel(_true_class(stack, y), _minus_log)
    if name == "auc":
        kind = AucKernel if len(rows) <= AucKernel.MOST_ROWS else BinnedAucKernel
        return kind(stack[:, :, 0], y == 1, task.fold_of_row[rows])
    return MetricKernel(_smooth(judge, stack, y), _step_loss(judge, rows), stack)


def _smooth(judge: Judge, stack: Array, y: NDArray[Any]) -> Kernel:
    """A proper loss for metrics that are none: log loss of chances, squared error of values and of ratings."""
    if judge.metric.goal(judge.task, judge.n_classes).kind == "regression":
        return SquaredKernel(residual_gram(stack[:, :, 0], y.astype(np.float64)))
    return SeparableKernel(_true_class(stack, y), _minus_log)


def _step_loss(judge: Judge, rows: NDArray[np.int64]) -> StepLoss:
    """The metric as a loss; labels are decided by the best rule for each blend.

    Class multipliers are found by a search that is far dearer than a score, so all candidates of a step share those
    of the screen's favourite, found on at most ``RULE_ROWS`` of the rows.
    """
    sign = -1.0 if judge.metric.greater_is_better else 1.0
    y = judge.y[rows]
    local = Judge(judge.metric, judge.task, judge.n_classes, y, judge.plan)
    everything = np.arange(len(rows))

    def plain(values: NDArray[Any]) -> float:
        return sign * judge.metric.score(y, values)

    def own_rule(blended: Array) -> float:
        return plain(local.decide(everything, blended).apply(blended))

    def shared_rule(favourite: Array) -> Callable[[Array], float]:
        rule = local.decide(everything[:: -(-len(rows) // RULE_ROWS)], favourite)
        return lambda blended: plain(rule.apply(blended))

    if not judge.needs_labels:
        return lambda favourite: plain
    if judge.metric.decision_for(judge.task) == "multipliers":
        return shared_rule
    return lambda favourite: own_rule


def _true_class(stack: Array, y: NDArray[Any]) -> Array:
    """``(n_members, n_rows)`` chance given to each row's own class: all that log loss needs, for weights sum to 1."""
    if stack.shape[2] == 1:
        chance = stack[:, :, 0]
        return np.where(y == 1, chance, 1 - chance)
    return np.take_along_axis(stack, y[None, :, None].astype(np.int64), axis=2)[:, :, 0]


def _minus_log(chance: Array) -> Array:
    return np.asarray(-np.log(np.clip(chance, 1e-15, 1.0)))
