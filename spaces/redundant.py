"""Columns that say nothing, or nothing new: constant ones and exact copies, on the train rows."""

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.target_encoding import Levels


def distinct_numbers(numbers: Matrix) -> NDArray[np.int64]:
    """Positions of the columns to keep, ascending: the first of each set of equal ones, none that is constant.

    A column that is sometimes missing is not constant. Compares bytes, so that NaN equals NaN.
    """
    return _first_of_each([np.ascontiguousarray(column).tobytes() for column in numbers.T], _is_constant(numbers))


def distinct_codes(codes: Levels) -> NDArray[np.int64]:
    """As :func:`distinct_numbers` for category codes: two columns are equal if they only name levels differently."""
    import pandas as pd

    # Levels are numbered by first occurrence.
    relabelled = [pd.factorize(np.ascontiguousarray(column))[0].astype(np.int32).tobytes() for column in codes.T]
    return _first_of_each(relabelled, (codes == codes[:1]).all(axis=0))


def _is_constant(numbers: Matrix) -> NDArray[np.bool_]:
    missing = np.isnan(numbers)
    return np.asarray(missing.all(axis=0) | (numbers == numbers[:1]).all(axis=0))


def _first_of_each(columns: list[bytes], is_constant: NDArray[np.bool_]) -> NDArray[np.int64]:
    first: dict[bytes, int] = {}
    for position, column in enumerate(columns):
        first.setdefault(column, position)
    return np.array([position for position in first.values() if not is_constant[position]], np.int64)
