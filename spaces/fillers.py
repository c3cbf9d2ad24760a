"""Numbers that stand for "missing": -999, 9999, -1 and their like, recognised per column of the train rows."""

import math

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.scaling import Matrix

MIN_SHARE = 0.005  # of the known values
MIN_ROWS = 5
SHORT = (-1.0, -9.0, 9.0)  # values that often mean themselves; they must lie much further away
SHORT_GAP, LONG_GAP = 3.0, 1.0  # distance from the other values, in units of their range
_NINES = [float("9" * n_digits) for n_digits in range(2, 10)]
LONG = (*(-nines for nines in _NINES), *_NINES)


def find_fillers(numbers: Matrix) -> Matrix:
    """The low and the high filler of each column, ``(2, n_columns)``, NaN where there is none.

    A filler is a column's least or greatest value that (1) is written with nines only, or is -1, (2) stands in at
    least half a percent of the rows, and (3) lies apart from all other values: by their range (between the 1st and
    99th percentile), by three times the range for -1, 9 and -9. So a capped column, whose values reach up to the
    cap, a column of zeros and positive numbers, and signs -1, 0 and 1 have none.

    >>> ages = np.array([[-999] * 5 + list(range(20, 60))], np.float32).T
    >>> find_fillers(ages).T.tolist()
    [[-999.0, nan]]
    """
    found = np.full((2, numbers.shape[1]), np.nan, np.float32)
    for column in range(numbers.shape[1]):
        known = numbers[~np.isnan(numbers[:, column]), column].astype(np.float64)
        ends = (known.min(initial=np.inf), known.max(initial=-np.inf))
        if not any(map(_looks_so, ends)):
            continue
        body = known[~np.isin(known, [end for end in ends if _looks_so(end)])]
        for side, end in enumerate(ends):
            if _is_filler(end, known, body):
                found[side, column] = end
    return found


def without_fillers(numbers: Matrix, fillers: Matrix) -> Matrix:
    """The numbers with NaN in place of each column's fillers."""
    return np.where((numbers == fillers[0]) | (numbers == fillers[1]), np.float32(np.nan), numbers)


def _is_filler(value: float, known: NDArray[np.float64], body: NDArray[np.float64]) -> bool:
    """Whether an extreme of ``known`` ``(n_known,)`` stands for "missing"; ``body`` is ``known`` without such ones."""
    is_frequent = (known == value).sum() >= max(MIN_ROWS, MIN_SHARE * len(known))
    return bool(len(body) and is_frequent and _looks_so(value) and _is_apart(value, body))


def _looks_so(value: float) -> bool:
    is_near = math.isfinite(value) and any(abs(long - value) <= 1e-7 * abs(value) for long in LONG)
    return value in SHORT or is_near


def _is_apart(value: float, body: NDArray[np.float64]) -> bool:
    """Whether a value lies far from the ordinary ones, ``(n_body,)``."""
    low, high = np.quantile(body, [0.01, 0.99])
    if value in SHORT:  # -1 beside one other value is a sign or a label
        return bool(high > low and np.abs(body - value).min() > SHORT_GAP * (high - low))
    return bool(np.abs(body - value).min() > LONG_GAP * (high - low))
