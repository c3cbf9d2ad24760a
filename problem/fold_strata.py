"""What is spread evenly over the folds: classes, bins of values, and further columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Task

MAX_LEVELS = 20  # of a further column, before numbers are put into bins


def regression_bins(y: NDArray[Any], n_folds: int) -> tuple[NDArray[np.int64], int]:
    """Bins of equal numbers of rows by the rank of y, for stratifying a regression.

    There are ``floor(1 + log2 n)`` bins (Sturges), fewer where a bin would have less than ``n_folds`` rows. Equal
    values may fall into neighbouring bins, which does no harm and keeps the bins equal.

    Args:
        y: ``(n,)`` values.
        n_folds: at most n.

    Returns:
        int64 ``(n,)`` bin of each row, and the number of bins.
    """
    n_rows = len(y)
    n_bins = max(1, min(int(1 + np.log2(n_rows)), n_rows // n_folds))
    ranks = np.empty(n_rows, dtype=np.int64)
    ranks[np.argsort(y, kind="stable")] = np.arange(n_rows)
    return ranks * n_bins // n_rows, n_bins


def require_rows_per_class(codes: NDArray[Any], n_folds: int, classes: Sequence[str]) -> None:
    """Refuse a class that cannot be in every fold.

    Raises:
        InputError: a class has fewer rows than there are folds.
    """
    counts = np.bincount(codes.astype(np.int64), minlength=len(classes))
    rarest = int(np.where(counts == 0, np.iinfo(np.int64).max, counts).argmin())
    count = int(counts[rarest])
    if count < n_folds:
        label = classes[rarest] if rarest < len(classes) else str(rarest)
        raise InputError(
            f"n_folds={n_folds} but class {label!r} has {count} row{'s' if count > 1 else ''}; "
            + (f"lower n_folds to {count} or merge the class" if count > 1 else "merge the class or drop its row")
        )


def strata_of(y: NDArray[Any], task: Task, n_folds: int) -> tuple[NDArray[Any], int | None]:
    """Class codes, or the bins of a regression and their number."""
    return regression_bins(y, n_folds) if task == "regression" else (y, None)


def joint_strata(strata: NDArray[Any], columns: Sequence[Any], n_folds: int) -> NDArray[np.int64]:
    """Strata of several columns at once, the target's first.

    Every combination with at least ``n_folds`` rows is one. Rows of rarer combinations are told apart by fewer columns,
    the last one left out first, so that the target is always spread evenly. (Iterative stratification, Sechidis,
    Tsoumakas, Vlahavas 2011, balances each column by itself where combinations are rare, at a cost that grows with rows
    times columns in Python; for ten million rows that is hours.)

    Args:
        strata: ``(n,)`` class codes or bins of the target.
        columns: further columns ``(n,)`` of any type; numbers with over 20 values are put into ten bins.
        n_folds: that the rows are spread over.

    Returns:
        int64 ``(n,)`` codes.
    """
    levels = [np.unique(strata, return_inverse=True)[1].astype(np.int64), *map(_levels, columns)]
    found = np.full(len(strata), -1, dtype=np.int64)
    left = np.arange(len(strata))
    offset = 0
    for n_columns in range(len(levels), 0, -1):
        key = np.zeros(len(left), dtype=np.int64)
        for column in levels[:n_columns]:
            key = key * (int(column.max()) + 1) + column[left]
        codes, counts = np.unique(key, return_inverse=True, return_counts=True)[1:]
        settled = (counts[codes] >= n_folds) | (n_columns == 1)
        found[left[settled]] = offset + codes[settled]
        offset += len(counts)
        left = left[~settled]
    return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)


def _levels(column: Any) -> NDArray[np.int64]:
    """Codes of a column's values; missing ones are a value of their own."""
    series = pd.Series(column)
    codes, values = pd.factorize(series, use_na_sentinel=True)
    if len(values) > MAX_LEVELS and pd.api.types.is_numeric_dtype(series.dtype):
        codes = pd.qcut(series, 10, labels=False, duplicates="drop").fillna(-1).to_numpy()
    return np.asarray(codes, np.int64) + 1
