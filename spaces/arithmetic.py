"""Sums, differences, products and ratios of two or three numeric columns."""

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.scaling import Matrix

OPERATIONS = (np.add, np.subtract, np.multiply, np.divide)
NO_COLUMN = -1

# One row per formula: left column, place in OPERATIONS, right column, then a second operation and a third column, both
# -1 for a formula of two columns.
Formulas = NDArray[np.int64]


def draw_formulas(n_columns: int, n_formulas: int, seed: int) -> Formulas:
    """Distinct random formulas, ``(n_drawn, 5)``: all of two columns if there is room, of three for the rest.

    Args:
        n_columns: how many columns there are to combine.
        n_formulas: at most so many; half of them at most have three columns.
        seed: of the draw.
    """
    if n_columns < 2:
        return np.zeros((0, 5), np.int64)
    rng = np.random.default_rng(seed)
    left, right = np.triu_indices(n_columns, 1)
    pairs = np.stack([np.stack([left, np.full_like(left, o), right], axis=1) for o in range(4)], axis=1).reshape(-1, 3)
    pairs = pairs[rng.permutation(len(pairs))]
    n_pairs = min(len(pairs), n_formulas - n_formulas // 2)
    two = np.hstack([pairs[:n_pairs], np.full((n_pairs, 2), NO_COLUMN)])
    if n_columns < 3:
        return two
    started = pairs[rng.integers(len(pairs), size=n_formulas - n_pairs)]
    third = np.stack([rng.integers(4, size=len(started)), rng.integers(n_columns, size=len(started))], axis=1)
    three = np.hstack([started, third])
    fresh = (three[:, 4] != three[:, 0]) & (three[:, 4] != three[:, 2])
    return np.vstack([two, np.unique(three[fresh], axis=0)])


def evaluate(formulas: Formulas, numbers: Matrix) -> Matrix:
    """``(n_rows, n_formulas)`` float32; NaN where a column is missing, a divisor is zero or the result overflows."""
    out = np.empty((len(numbers), len(formulas)), np.float32)
    with np.errstate(all="ignore"):
        for place, (left, first, right, second, third) in enumerate(formulas):
            result = OPERATIONS[first](numbers[:, left], numbers[:, right])
            out[:, place] = result if third == NO_COLUMN else OPERATIONS[second](result, numbers[:, third])
    out[~np.isfinite(out)] = np.nan
    return out
