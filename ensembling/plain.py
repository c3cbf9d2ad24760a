"""Losses of all candidates of one step, in NumPy: what stands in where numba is missing, and what it is tested by.

A candidate's value in a row is ``(1 - share) * blend + share * column``. Arguments that all functions share:

- ``columns``: float32 ``(n_members, n_rows)``, or ``values`` ``(n_members, n_rows, n_classes)``;
- ``blend``: float64, the present blend, ``(n_rows,)`` or ``(n_rows, n_classes)``;
- ``share``: of the candidate; negative for a signed step;
- ``weight``: float64 ``(n_rows,)``, or empty where each row counts once.

Each function takes one member at a time, so that a memory-mapped pool is streamed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = NDArray[np.float32]
CLIP = 1e-15


def _candidates(columns: Columns, blend: Floats, share: float) -> Iterator[Floats]:
    start = (1 - share) * blend
    for column in columns:
        yield start + share * column.astype(np.float64)


def _mean(losses: Floats, weight: Floats) -> float:
    return float(losses @ weight / weight.sum()) if len(weight) else float(losses.mean())


def log_loss(columns: Columns, blend: Floats, share: float, weight: Floats) -> Floats:
    """``(n_members,)`` mean of -ln(value), the value being the chance given to each row's own class."""
    return np.array([_mean(-np.log(v.clip(CLIP, 1.0)), weight) for v in _candidates(columns, blend, share)])


def absolute(columns: Columns, blend: Floats, share: float, weight: Floats, y: Floats) -> Floats:
    """``(n_members,)`` mean absolute error."""
    return np.array([_mean(np.abs(v - y), weight) for v in _candidates(columns, blend, share)])


def squares(columns: Columns, y: Floats, weight: Floats, bounds: NDArray[np.int64]) -> Floats:
    """``(n_folds, n_members)`` sums over each fold's rows of a member's squared residual."""

    def of(column: NDArray[np.float32]) -> Floats:
        squared = (column.astype(np.float64) - y) ** 2
        return np.asarray(np.add.reduceat(squared * weight if len(weight) else squared, bounds[:-1]))

    return np.array([of(column) for column in columns]).T


def products(columns: Columns, y: Floats, other: Floats, weight: Floats, bounds: NDArray[np.int64]) -> Floats:
    """``(n_folds, n_members)`` sums over each fold's rows of a member's residual times ``other``: of a Gram matrix."""
    right = other * weight if len(weight) else other
    sums = [np.add.reduceat((column.astype(np.float64) - y) * right, bounds[:-1]) for column in columns]
    return np.array(sums).T


def binned_auc(
    columns: Columns,
    blend: Floats,
    share: float,
    weight: Floats,
    positive: NDArray[np.int32],
    bounds: NDArray[np.int64],
    origin: float,
    scale: float,
    low: int,
    shift: int,
    n_bins: int,
) -> Floats:
    """``(n_members,)`` one minus the AUC from counts in bins, averaged over the folds that hold both classes.

    Bins are finer towards both ends, as chances crowd there: they are the leading bits of the float32 distance to the
    nearer end.

    Args:
        positive: 0 or 1 per row.
        bounds: ``(n_folds + 1,)``, where each fold's rows begin.
        origin, scale: move values into [0, 1].
        low, shift: a distance's bin is its bit pattern minus ``low``, shifted right, at least 0.
        n_bins: even; the upper half mirrors the lower one.
    """
    losses = []
    for values in _candidates(columns, blend, share):
        inside = ((values - origin) * scale).astype(np.float32)
        sides = np.minimum(inside, np.float32(1) - inside)
        places = ((side_key(sides) - low) >> shift).clip(0, n_bins // 2 - 1)
        cells = 2 * np.where(inside > 0.5, n_bins - 1 - places, places) + positive
        scores = []
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            part = weight[start:stop] if len(weight) else None
            counts = np.bincount(cells[start:stop], part, minlength=2 * n_bins).astype(np.float64)
            negative, found = counts[::2], counts[1::2]
            pairs = negative.sum() * found.sum()
            if pairs > 0:
                scores.append(float(found @ (np.cumsum(negative) - 0.5 * negative)) / pairs)
        losses.append(1 - np.mean(scores) if scores else np.nan)
    return np.array(losses, np.float64)


def exact_auc(
    values: Floats,
    positive: NDArray[np.int32],
    bounds: NDArray[np.int64],
    origin: float,
    scale: float,
    low: int,
    shift: int,
    n_bins: int,
) -> float:
    """One minus the AUC of one blend, averaged over the folds that hold both classes; nan if none does.

    Values one unit in the last place apart are ties. The bins, as in :func:`binned_auc`, only help to sort.
    """
    parts = [slice(start, stop) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    scores = np.array([_auc(values[part], positive[part]) for part in parts])
    return float(1 - np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def _auc(values: Floats, positive: NDArray[np.int32]) -> float:
    """ROC AUC by one sort of integers that hold value and label."""
    bits = np.ascontiguousarray(values + 0.0).view(np.int64)  # + 0.0: one zero, not two
    keys = np.sort(((bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)) & ~1) | positive)
    labels = keys & 1
    above = int(labels.sum())
    below = len(labels) - above
    if above == 0 or below == 0:
        return float("nan")
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] >> 1 != keys[:-1] >> 1]))
    hits = np.add.reduceat(labels, starts).astype(np.float64)
    others = np.diff(np.append(starts, len(keys))) - hits
    return float(hits @ (np.cumsum(others) - 0.5 * others)) / (above * below)


def side_key(sides: Columns) -> NDArray[np.int64]:
    """The bit patterns of float32 numbers in [0, 0.5]: integers in the same order."""
    return np.asarray(np.ascontiguousarray(sides, np.float32).view(np.int32), np.int64)


def confusion_of_cuts(
    columns: Columns, blend: Floats, share: float, weight: Floats, y: NDArray[np.int64], cuts: Floats, n_classes: int
) -> Floats:
    """``(n_members, C, C)`` weight of (true class, number of ascending cuts that the value reaches)."""
    return np.array(
        [
            _table(y, np.searchsorted(cuts, v, side="right"), weight, n_classes)
            for v in _candidates(columns, blend, share)
        ]
    )


def confusion_of_threshold(
    columns: Columns, blend: Floats, share: float, weight: Floats, is_positive: Floats, threshold: float
) -> Floats:
    """``(n_members, 2, 2)`` weight of (true class, whether the value reaches the threshold)."""
    y = is_positive.astype(np.int64)
    return np.array(
        [_table(y, (v >= threshold).astype(np.int64), weight, 2) for v in _candidates(columns, blend, share)]
    )


def confusion_of_classes(
    values: Columns, blend: Floats, share: float, weight: Floats, y: NDArray[np.int64], multipliers: Floats
) -> Floats:
    """``(n_members, C, C)`` weight of (true class, class of the greatest chance times its multiplier)."""
    size = len(multipliers)
    return np.array(
        [_table(y, np.argmax(v * multipliers, axis=1), weight, size) for v in _candidates(values, blend, share)]
    )


def signed_log_loss(values: Columns, blend: Floats, share: float, weight: Floats, y: NDArray[np.int64]) -> Floats:
    """``(n_members,)`` log loss of blends that may leave the simplex: clipped and divided by their sums first."""
    losses = []
    for blended in _candidates(values, blend, share):
        clipped = blended.clip(CLIP, 1.0)
        losses.append(_mean(-np.log(clipped[np.arange(len(y)), y] / clipped.sum(axis=1)), weight))
    return np.array(losses)


def _table(y: NDArray[np.int64], codes: NDArray[Any], weight: Floats, size: int) -> Floats:
    counts = np.bincount(y * size + codes, weight if len(weight) else None, minlength=size * size)
    return counts.astype(np.float64).reshape(size, size)
