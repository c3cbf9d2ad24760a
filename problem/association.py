"""Whether predictions have to do with the labels of their rows at all, and which class each column seems to be of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Association:
    """How predictions and labels go together.

    Args:
        z: sum of products of prediction and label, in standard deviations from what shuffled rows would give; about
            normal for predictions of other rows, strongly negative for the chance of the wrong one of two classes.
        order: for several classes the column that goes best with each class; else empty.
    """

    z: float
    order: tuple[int, ...] = ()


def associate(predictions: NDArray[Any], y: NDArray[Any], n_classes: int) -> Association:
    """Compare predictions ``(n_rows, n_outputs)`` with class codes or values ``(n_rows,)``.

    Under a random order of rows the sum over ``a_i · b_i`` of centred predictions and labels has mean 0 and variance
    ``sum(A'A * B'B) / (n - 1)`` (the permutation moments of Mantel 1967, with products for distances).

    Args:
        n_classes: of several classes, whose codes are ``y``; 0 when ``y`` is one number to go with one column.

    >>> y = np.arange(20) % 2
    >>> round(associate(0.1 + 0.8 * y[:, None], y, 0).z, 2)
    4.36
    """
    a = np.asarray(predictions, np.float64)
    a = a - a.mean(axis=0)
    n_rows = len(a)
    if n_classes:
        counts = np.bincount(y, minlength=n_classes).astype(np.float64)
        cross = np.stack([np.bincount(y, column, n_classes) for column in a.T])
        label_squares = np.diag(counts) - np.outer(counts, counts) / n_rows
    else:
        b = np.asarray(y, np.float64)[:, None]
        b = b - b.mean(axis=0)
        cross, label_squares = a.T @ b, b.T @ b
    variance = float((a.T @ a * label_squares).sum()) / max(1, n_rows - 1)
    z = float(np.trace(cross) / np.sqrt(variance)) if variance > 0 else 0.0
    return Association(z, _best_order(cross) if n_classes else ())


def _best_order(cross: NDArray[Any]) -> tuple[int, ...]:
    from scipy.optimize import linear_sum_assignment

    columns, classes = linear_sum_assignment(-cross)
    return tuple(int(column) for column in columns[np.argsort(classes)])
