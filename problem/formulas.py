"""The metrics as plain functions of labels and predictions, after their exact definitions; NumPy only.

Arguments are checked and shaped by :class:`foldsmith.problem.metrics.Metric`: ``y`` holds class codes or values
``(n_rows,)``, weights are None or positive ``(n_rows,)``, and what is undefined is nan.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CLIP = 1e-15  # Kaggle's clip of chances in a log loss


def _safe_ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """``top / bottom``, 0 where ``bottom`` is 0; same shapes."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def auc(y: IntArray, chance: FloatArray, weight: FloatArray | None) -> float:
    """P(score of a positive > score of a negative) + 1/2 P(equal), weighted; nan if a class is absent.

    Args:
        y: ``(n_rows,)``, 0 or 1.
        chance: ``(n_rows,)``, any increasing score.
        weight: ``(n_rows,)``, positive, or None.
    """
    positive, negative = _by_distinct_score(y, chance, weight)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return math.nan
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / pairs)


def average_precision(y: IntArray, chance: FloatArray, weight: FloatArray | None) -> float:
    """Sum over thresholds of (R_n - R_{n-1}) P_n, tied chances as one threshold; nan without positives."""
    positive, negative = (part[::-1] for part in _by_distinct_score(y, chance, weight))
    if positive.sum() == 0:
        return math.nan
    found = np.cumsum(positive)
    return float((positive * found / (found + np.cumsum(negative))).sum() / positive.sum())


def _by_distinct_score(y: IntArray, score: FloatArray, weight: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Weight of the positives and of the negatives at each distinct score, ascending; both ``(n_distinct,)``."""
    order = np.argsort(score)
    ordered = score[order]
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
    weights = np.ones(len(y)) if weight is None else weight[order]
    positive = y[order] == 1
    return np.add.reduceat(weights * positive, starts), np.add.reduceat(weights * ~positive, starts)


def auc_ovr(y: IntArray, chances: FloatArray, weight: FloatArray | None) -> float:
    """Mean over the classes of one-versus-rest AUC.

    A class that is absent from ``y`` has no AUC: it is skipped, as a rare class would else make a whole fold
    undefined. nan if ``y`` has one class only.

    Args:
        y: ``(n_rows,)``, 0..C-1.
        chances: ``(n_rows, C)``.
        weight: ``(n_rows,)``, positive, or None.
    """
    one_class = [auc((y == code).astype(np.int64), chances[:, code], weight) for code in np.unique(y)]
    return float(np.mean(one_class))


def log_loss(y: IntArray, chances: FloatArray, weight: FloatArray | None) -> float:
    """Mean of -ln(chance of the true class), the chance clipped to [1e-15, 1 - 1e-15].

    Args:
        y: ``(n_rows,)``, 0..C-1.
        chances: ``(n_rows,)`` of class 1, or ``(n_rows, C)``, whose rows are first divided by their sums.
        weight: ``(n_rows,)``, positive, or None.
    """
    if chances.ndim == 1:
        of_truth = np.where(y == 1, chances, 1 - chances)
    else:
        totals = chances.sum(axis=1)
        of_truth = chances[np.arange(len(y)), y] / np.where(totals > 0, totals, 1.0)
    return -float(np.average(np.log(np.clip(of_truth, CLIP, 1 - CLIP)), weights=weight))


def brier(y: IntArray, chance: FloatArray, weight: FloatArray | None) -> float:
    """Mean (y - p)^2 over two classes."""
    return float(np.average((y - chance) ** 2, weights=weight))


def rmse(y: FloatArray, value: FloatArray, weight: FloatArray | None) -> float:
    """sqrt(mean (y - f)^2)."""
    return math.sqrt(np.average((y - value) ** 2, weights=weight))


def rmsle(y: FloatArray, value: FloatArray, weight: FloatArray | None) -> float:
    """RMSE of ln(1 + y) and ln(1 + f), f clipped at 0; nan if a label is negative."""
    return rmse(np.log1p(y), np.log1p(np.maximum(value, 0)), weight) if y.min() >= 0 else math.nan


def mae(y: FloatArray, value: FloatArray, weight: FloatArray | None) -> float:
    """mean abs(y - f)."""
    return float(np.average(np.abs(y - value), weights=weight))


def r2(y: FloatArray, value: FloatArray, weight: FloatArray | None) -> float:
    """1 - SSE/SST, SST about the mean of these rows; nan if they are all equal."""
    if y.min() == y.max():  # asked directly: rounding of the mean would leave a tiny SST
        return math.nan
    spread = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
    return float(1 - np.average((y - value) ** 2, weights=weight) / spread)


def confusion(y: IntArray, codes: IntArray, weight: FloatArray | None) -> FloatArray:
    """Weight of each (true class, predicted class), ``(C, C)``, C being the highest code + 1 and at least 2."""
    size = max(2, int(y.max()) + 1, int(codes.max()) + 1)
    return np.bincount(y * size + codes, weights=weight, minlength=size * size).astype(np.float64).reshape(size, size)


def of_labels(of_confusion: Callable[[FloatArray], FloatArray], y: Any, codes: Any, weight: FloatArray | None) -> float:
    return float(of_confusion(confusion(y, codes, weight)))


def _diagonal(matrix: FloatArray) -> FloatArray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def accuracy_of(matrix: FloatArray) -> FloatArray:
    """Share of rows on the diagonal; ``(..., C, C)`` to ``(...)``, as all functions ``..._of``."""
    return _safe_ratio(_diagonal(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy_of(matrix: FloatArray) -> FloatArray:
    """Mean recall of the classes that are present in y."""
    of_class = matrix.sum(axis=-1)
    return _safe_ratio(_safe_ratio(_diagonal(matrix), of_class).sum(axis=-1), (of_class > 0).sum(axis=-1) * 1.0)


def f1_of(matrix: FloatArray) -> FloatArray:
    """2 TP / (2 TP + FP + FN) of class 1; 0 if the denominator is 0."""
    return _class_f1(matrix)[0][..., 1]


def macro_f1_of(matrix: FloatArray) -> FloatArray:
    """Mean F1 of the classes that are present in y or predicted, as in scikit-learn."""
    f1, present = _class_f1(matrix)
    return _safe_ratio(f1.sum(axis=-1), present.sum(axis=-1) * 1.0)


def _class_f1(matrix: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """F1 of each class, 0 where it does not occur, and whether it occurs; both ``(..., C)``."""
    rows = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return _safe_ratio(2 * _diagonal(matrix), rows), rows > 0


def mcc_of(matrix: FloatArray) -> FloatArray:
    """Matthews correlation, for several classes the correlation R_K of the labels; 0 if the denominator is 0.

    Source: J. Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient, eq. 8.
    """
    true, guessed = matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = true.sum(axis=-1)
    together = _diagonal(matrix).sum(axis=-1) * total - (true * guessed).sum(axis=-1)
    # t (n - t), not n^2 - t^2: exactly 0 for one class, whatever the weights
    true_spread = (true * (true.sum(axis=-1, keepdims=True) - true)).sum(axis=-1)
    guess_spread = (guessed * (guessed.sum(axis=-1, keepdims=True) - guessed)).sum(axis=-1)
    return _safe_ratio(together, np.sqrt(true_spread) * np.sqrt(guess_spread))


def qwk_of(matrix: FloatArray) -> FloatArray:
    """Quadratic weighted kappa: 1 - sum w O / sum w E with w = (i - j)^2; 0 if the denominator is 0.

    The usual factor 1/(N - 1)^2 of w cancels. Codes count as they are: a class that no row has still takes its place
    on the scale, like scikit-learn's ``cohen_kappa_score`` with ``labels=range(N)``.
    """
    codes = np.arange(matrix.shape[-1], dtype=np.float64)
    penalty = (codes[:, None] - codes) ** 2
    true, guessed = matrix.sum(axis=-1), matrix.sum(axis=-2)
    expected = ((true @ penalty) * guessed).sum(axis=-1)
    observed = (matrix * penalty).sum(axis=(-2, -1)) * true.sum(axis=-1)
    return np.where(expected > 0, 1 - _safe_ratio(observed, expected), 0.0)
