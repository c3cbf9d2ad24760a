"""One prediction scored on many resamples of its rows at once: a resample is a row of weights.

A bootstrap asks for thousands of scores of the same rows. For most metrics they follow from sums over the rows, so all
of them are one product of matrices; for the AUC the rows are sorted once. Others are scored one resample after another.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from foldsmith.problem.formulas import CLIP
from foldsmith.problem.metrics import Metric

Floats = NDArray[np.float64]
BLOCK = 20_000_000  # weights that are held at once


def resampled_scorer(metric: Metric, y: NDArray[Any], values: NDArray[Any]) -> Callable[[ArrayLike], Floats]:
    """A function of weights ``(n_resamples, n)`` that gives ``metric.score(y, values, row)`` for each row of them.

    Args:
        metric: of the scores.
        y: ``(n,)`` class codes or values.
        values: ``(n, n_outputs)`` predictions, or ``(n,)`` labels for label metrics.

    Returns:
        ``(n_resamples,)`` scores; nan where one is undefined.
    """
    score = _scorer(metric, y, values)

    def scores(given: ArrayLike) -> Floats:
        weights = np.asarray(given, np.float64)
        step = max(1, BLOCK // max(1, weights.shape[1]))
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [score(weights[start : start + step]) for start in range(0, len(weights), step)]
        return np.concatenate(parts) if parts else np.empty(0)

    return scores


def _scorer(metric: Metric, y: NDArray[Any], values: NDArray[Any]) -> Callable[[Floats], Floats]:
    if metric.of_confusion is not None:
        return _of_confusion(metric.of_confusion, np.asarray(y, np.int64), np.asarray(values, np.int64))
    match metric.name:
        case "log_loss" | "brier" | "mae":
            losses = _row_losses(metric.name, y, values)
            return lambda weights: weights @ losses / weights.sum(axis=1)
        case "rmse" | "rmsle":
            squares = _row_losses(metric.name, y, values)
            return lambda weights: np.sqrt(weights @ squares / weights.sum(axis=1))
        case "r2":
            return _r2(np.asarray(y, np.float64), _column(values))
        case "auc":
            return _auc(np.asarray(y) == 1, _column(values))
    return lambda weights: np.array([metric.score(y, values, row) for row in weights])


def _column(values: NDArray[Any]) -> Floats:
    return np.asarray(values, np.float64).reshape(len(values), -1)[:, 0]


def _row_losses(name: str, y: NDArray[Any], values: NDArray[Any]) -> Floats:
    """``(n,)`` what the mean is taken of."""
    p = np.asarray(values, np.float64).reshape(len(values), -1)
    match name:
        case "log_loss":
            if p.shape[1] == 1:
                own = np.where(np.asarray(y) == 1, p[:, 0], 1 - p[:, 0])
            else:
                own = p[np.arange(len(p)), np.asarray(y, np.int64)] / p.sum(axis=1)
            return np.asarray(-np.log(own.clip(CLIP, 1 - CLIP)))
        case "mae":
            return np.asarray(np.abs(np.asarray(y, np.float64) - p[:, 0]))
        case "rmsle":
            return np.asarray((np.log1p(np.asarray(y, np.float64)) - np.log1p(p[:, 0].clip(0))) ** 2)
    return np.asarray((np.asarray(y, np.float64) - p[:, 0]) ** 2)


def _r2(y: Floats, predicted: Floats) -> Callable[[Floats], Floats]:
    centered = y - y.mean()  # so that the sums do not cancel
    sums = np.stack([(y - predicted) ** 2, centered**2, centered, np.ones(len(y))], axis=1)

    def score(weights: Floats) -> Floats:
        errors, squares, total, mass = (weights @ sums).T
        return np.asarray(1 - errors / (squares - total**2 / mass))

    return score


def _of_confusion(of: Callable[[Any], Any], y: NDArray[np.int64], labels: NDArray[np.int64]) -> Callable[..., Floats]:
    n_classes = int(max(y.max(initial=1), labels.max(initial=1))) + 1
    cells = csr_array((np.ones(len(y)), (np.arange(len(y)), y * n_classes + labels)), shape=(len(y), n_classes**2))

    def score(weights: Floats) -> Floats:
        tables = np.asarray((cells.T @ weights.T).T).reshape(len(weights), n_classes, n_classes)
        return np.asarray(of(tables), np.float64)

    return score


def _auc(positive: NDArray[np.bool_], scores: Floats) -> Callable[[Floats], Floats]:
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    is_positive = positive[order].astype(np.float64)

    def score(weights: Floats) -> Floats:
        in_order = weights[:, order]
        above = np.add.reduceat(in_order * is_positive, starts, axis=1)
        below = np.add.reduceat(in_order * (1 - is_positive), starts, axis=1)
        pairs = above * (below.cumsum(axis=1) - below / 2)
        return np.asarray(pairs.sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1)))

    return score
