"""Numbers that stand for "missing": -999, 9999, -1 and their like, recognised per column of the train rows."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.shifts import NO_SHIFT, Shift
from foldsmith.spaces.scaling import Matrix

MIN_SHARE = 0.005  # of the known values
MIN_ROWS = 5
SHORT = (-1.0, -9.0, 9.0)  # values that often mean themselves; they must lie much further away
SHORT_GAP, LONG_GAP = 3.0, 1.0  # distance from the other values, in units of their range
_NINES = [float("9" * n_digits) for n_digits in range(2, 10)]
LONG = (*(-nines for nines in _NINES), *_NINES)


def find_fillers(numbers: Matrix, shifts: Sequence[Shift] = ()) -> Matrix:
    """The low and the high filler of each column, ``(2, n_columns)``, NaN where there is none.

    A filler is a column's least or greatest value that (1) is written with nines only, or is -1, (2) stands in at
    least half a percent of the rows, and (3) lies apart from all other values: by their range (between the 1st and
    99th percentile), by three times the range for -1, 9 and -9. So a capped column, whose values reach up to the
    cap, a column of zeros and positive numbers, and signs -1, 0 and 1 have none.

    Args:
        numbers: ``(n_rows, n_columns)`` as tables store them, NaN for missing.
        shifts: how each column is stored; none by default.

    >>> ages = np.array([[-999] * 5 + list(range(20, 60))], np.float32).T
    >>> find_fillers(ages).T.tolist()
    [[-999.0, nan]]
    """
    found = np.full((2, numbers.shape[1]), np.nan, np.float32)
    for column in range(numbers.shape[1]):
        shift = shifts[column] if shifts else NO_SHIFT
        known = numbers[~np.isnan(numbers[:, column]), column].astype(np.float64)
        ends = (known.min(initial=np.inf), known.max(initial=-np.inf))
        if not any(_looks_so(end, shift) for end in ends):
            continue
        body = known[~np.isin(known, [end for end in ends if _looks_so(end, shift)])]
        for side, end in enumerate(ends):
            if _is_filler(end, known, body, shift):
                found[side, column] = end
    return found


def without_fillers(numbers: Matrix, fillers: Matrix) -> Matrix:
    """The numbers with NaN in place of each column's fillers."""
    return np.where((numbers == fillers[0]) | (numbers == fillers[1]), np.float32(np.nan), numbers)


def _is_filler(value: float, known: NDArray[np.float64], body: NDArray[np.float64], shift: Shift) -> bool:
    """Whether an extreme of ``known`` ``(n_known,)`` stands for "missing"; ``body`` is ``known`` without such ones."""
    is_frequent = (known == value).sum() >= max(MIN_ROWS, MIN_SHARE * len(known))
    return bool(len(body) and is_frequent and _looks_so(value, shift) and _is_apart(value, body, shift))


def _looks_so(value: float, shift: Shift) -> bool:
    if not math.isfinite(value):
        return False
    if shift == NO_SHIFT:  # the usual case, thousands of times
        return value in SHORT or any(abs(long - value) <= 1e-7 * abs(value) for long in LONG)
    return _is_short(value, shift) or bool(_meant(LONG, value, shift).any())


def _is_short(value: float, shift: Shift) -> bool:
    return bool(_meant(SHORT, value, shift).any())


def _meant(words: Sequence[float], value: float, shift: Shift) -> NDArray[np.bool_]:
    """Which of the numbers a stored value may be, by what float32 tells apart at its distance from the offset."""
    stored = shift.reduce(np.array(words))
    with np.errstate(over="ignore"):
        return np.asarray(stored.astype(np.float32) == np.float32(value))


def _is_apart(value: float, body: NDArray[np.float64], shift: Shift) -> bool:
    """Whether a value lies far from the ordinary ones, ``(n_body,)``."""
    low, high = np.quantile(body, [0.01, 0.99])
    if _is_short(value, shift):  # -1 beside one other value is a sign or a label
        return bool(high > low and np.abs(body - value).min() > SHORT_GAP * (high - low))
    return bool(np.abs(body - value).min() > LONG_GAP * (high - low))
