"""Levels to the target's mean among the other rows of the level, without a row ever seeing its own label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces.scaling import Matrix

N_FOLDS = 5
SMOOTHING = 10.0
MAX_CLASSES = 10  # of a multiclass target get a column: the most frequent ones

Levels = NDArray[np.int32]


def target_columns(y: NDArray[Any], goal: Goal) -> NDArray[np.float64]:
    """What levels are encoded by, ``(n_rows, n_targets)``: the value, class 1 or not, or one column per class.

    >>> target_columns(np.array([0, 1, 1]), Goal("binary", 2, "log_loss", "auc")).tolist()
    [[0.0], [1.0], [1.0]]
    """
    if goal.kind == "regression":
        return np.asarray(y, np.float64)[:, None]
    if goal.kind == "binary":
        return np.asarray(y == 1, np.float64)[:, None]
    counts = np.bincount(y, minlength=goal.n_classes)
    classes = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
    return np.asarray(y[:, None] == classes, np.float64)


def inner_folds(y: NDArray[Any], seed: int, n_folds: int = N_FOLDS) -> NDArray[np.int64]:
    """A fold per row, ``(n_rows,)``, that spreads classes and values alike over the folds.

    Of ``n_folds`` neighbours in the target's order each goes to another fold. With folds drawn freely, a fold rich
    in positives would be encoded by the others, which are poor in them: a column of noise would tell of the label.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    folds = np.empty(len(y), np.int64)
    dealt = rng.permuted(np.tile(np.arange(n_folds), (len(y) // n_folds + 1, 1)), axis=1)
    folds[order] = dealt.ravel()[: len(y)]
    return folds


@dataclass(frozen=True)
class TargetEncoding:
    """The smoothed mean of each target per level.

    An m-estimate, as in Micci-Barreca (2001, A preprocessing scheme for high-cardinality categorical attributes,
    SIGKDD Explorations 3(1), eq. 3 and 4): ``(sum + m * prior) / (count + m)``.

    Args:
        means: ``(n_levels, n_targets)`` float32.
        prior: ``(n_targets,)`` means over all rows, for levels that the fit did not see.
    """

    means: Matrix
    prior: Matrix

    @classmethod
    def fit(
        cls, levels: Levels, targets: NDArray[np.float64], n_levels: int, smoothing: float = SMOOTHING
    ) -> "TargetEncoding":
        """Fit on all rows; rows with a level outside ``0..n_levels - 1`` count for the prior only."""
        prior = targets.mean(axis=0)
        known = (levels >= 0) & (levels < n_levels)
        counts, sums = _totals(levels[known], targets[known], n_levels)
        means = (sums + smoothing * prior) / (counts + smoothing)[:, None]
        return cls(means.astype(np.float32), prior.astype(np.float32))

    def transform(self, levels: Levels) -> Matrix:
        """``(n_rows, n_targets)``; the prior where the level lies outside ``0..n_levels - 1``."""
        table = np.vstack([self.means, self.prior])
        return table[np.where((levels < 0) | (levels >= len(self.means)), len(self.means), levels)]


def cross_fitted(
    levels: Levels,
    targets: NDArray[np.float64],
    n_levels: int,
    folds: NDArray[np.int64],
    smoothing: float = SMOOTHING,
) -> Matrix:
    """The encoding of the rows that it is fitted on, ``(n_rows, n_targets)``: each row by the other folds' rows.

    Args:
        levels: ``(n_rows,)``; outside ``0..n_levels - 1`` for unknown.
        targets: ``(n_rows, n_targets)`` from :func:`target_columns`.
        n_levels: how many levels there are.
        folds: ``(n_rows,)`` from :func:`inner_folds`.
        smoothing: rows that the prior counts for.
    """
    out = np.empty(targets.shape, np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        rest = ~inside if not inside.all() else inside
        out[inside] = TargetEncoding.fit(levels[rest], targets[rest], n_levels, smoothing).transform(levels[inside])
    return out


def _totals(
    levels: Levels, targets: NDArray[np.float64], n_levels: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and sums per level, ``(n_levels,)`` and ``(n_levels, n_targets)``."""
    sums = np.empty((n_levels, targets.shape[1]))
    for number, column in enumerate(targets.T):
        sums[:, number] = np.bincount(levels, column, n_levels)
    return np.bincount(levels, minlength=n_levels), sums
