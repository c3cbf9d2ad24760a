"""Folds that were made elsewhere, read from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError
from foldsmith.problem.ids import same_column
from foldsmith.problem.reading import read_frame, read_header


def read_assignment(path: Path, ids: Sequence[str], id_column: str | None) -> NDArray[np.int16]:
    """Read a fold per row from a csv or parquet file with a column ``fold``, in any order if it has the ids.

    Args:
        path: the file. With the id column rows are matched by id, and ids that train lacks are ignored; without it
            the file has train's rows in train's order.
        ids: train's ids, as text.
        id_column: their column; None goes by the order of rows.

    Returns:
        int16 ``(len(ids),)``: the file's fold numbers in order renumbered from 0; -1 stays, and means never validated.

    Raises:
        InputError: no fold column, ids missing or repeated, a wrong number of rows, folds that are missing or not
            whole numbers, or fewer than 2.
    """
    header = read_header(path)
    if id_column is not None:
        id_column = same_column(id_column, header)
    has_ids = id_column is not None
    others = [name for name in header if name != id_column]
    column = "fold" if "fold" in header else others[0] if len(others) == 1 else None
    if column is None:
        raise InputError(f"{path} has no column 'fold' but {', '.join(map(repr, header))}; rename one to 'fold'")
    frame = read_frame(path, as_text=[id_column] if has_ids and id_column else [])
    folds = fold_numbers(frame[column], path, column)
    if has_ids:
        folds = _match_ids(folds, cells.strings(frame[id_column]), ids, path)
    elif len(folds) != len(ids):
        raise InputError(
            f"{path} has {len(folds)} rows but train has {len(ids)}; "
            + (f"add the column {id_column!r} to match by id" if id_column else "give one row per row of train")
        )
    present = np.unique(folds[folds >= 0])
    if len(present) < 2:
        raise InputError(f"{path} assigns train's rows to {len(present)} fold(s) only; give at least 2 different folds")
    return np.where(folds < 0, -1, np.searchsorted(present, folds)).astype(np.int16)


def fold_numbers(series: pd.Series, path: Path, column: str) -> NDArray[np.int64]:
    """A column of fold numbers.

    Raises:
        InputError: a value is missing, not whole or below -1.
    """
    values = cells.numbers(series)[0]
    wrong = ~np.isfinite(values) | (values != np.trunc(values)) | (values < -1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"column {column!r} of {path} has {np.count_nonzero(wrong)} values that are not whole fold numbers, "
            f"the first {cells.strings(series).iloc[first]!r} in row {first + 1}; write 0, 1, 2, …"
        )
    return values.astype(np.int64)


def _match_ids(folds: NDArray[np.int64], file_ids: pd.Series, ids: Sequence[str], path: Path) -> NDArray[np.int64]:
    index = pd.Index(file_ids)
    repeats = file_ids[file_ids.duplicated()]
    if len(repeats):
        raise InputError(f"{path} has {len(repeats)} repeated ids, e.g. {repeats.iloc[0]!r}; keep one row per id")
    places = index.get_indexer(pd.Index([str(value) for value in ids], dtype=object))
    absent = np.flatnonzero(places < 0)
    if len(absent):
        raise InputError(
            f"{path} lacks {len(absent)} of {len(ids)} train ids, e.g. {str(ids[absent[0]])!r}; add a fold for each"
        )
    return np.asarray(folds[places])


def is_same_partition(folds: NDArray[Any], others: NDArray[Any]) -> bool:
    """Whether two assignments ``(n_rows,)`` put the same rows together, whatever the folds are called.

    >>> is_same_partition(np.array([0, 0, 1]), np.array([2, 2, 0]))
    True
    """
    first, second = np.unique(folds, return_inverse=True)[1], np.unique(others, return_inverse=True)[1]
    pairs = np.unique(first.astype(np.int64) * (second.max(initial=0) + 1) + second)
    return bool(len(pairs) == first.max(initial=-1) + 1 == second.max(initial=-1) + 1)
