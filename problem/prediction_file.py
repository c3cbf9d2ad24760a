"""Predictions made elsewhere, read from csv, parquet or npy; pickles, which can run code, are never opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError
from foldsmith.problem.fold_import import fold_numbers
from foldsmith.problem.ids import same_column
from foldsmith.problem.outputs import OutputForm
from foldsmith.problem.reading import read_frame, read_header

PICKLES = (".pkl", ".pickle", ".joblib", ".pt")
FOLD = "fold"
PANDAS_INDEX = "Unnamed: 0"  # what pandas calls the nameless first column that it wrote itself


@dataclass(frozen=True)
class PredictionFile:
    """What stands in a file, in its own order of rows.

    Args:
        values: ``(n_rows, n_columns)`` numbers: the picked columns in the order of the outputs; NaN for missing cells.
        columns: their names, as ``--columns`` takes them.
        by_name: see :class:`~foldsmith.problem.outputs.Picked`.
        ids: ``(n_rows,)`` as text; None when rows are known by their order alone.
        folds: ``(n_rows,)`` whole numbers of a column ``fold``; None without one.
    """

    path: Path
    values: NDArray[Any]
    columns: tuple[str, ...]
    by_name: bool
    ids: pd.Series | None = None
    folds: NDArray[np.int64] | None = None


def read_predictions(
    path: Path, form: OutputForm, id_column: str | None, columns: Sequence[str] = ()
) -> PredictionFile:
    """Read the columns that the problem's outputs need.

    Args:
        columns: names of these columns, in the order of the outputs; of an npy file numbers from 0.

    Raises:
        InputError: a pickle, an unknown ending, a damaged file, columns that do not fit, cells that are no numbers.
    """
    name = path.name.lower()
    if name.removesuffix(".gz").endswith(PICKLES):
        raise InputError(
            f"{path} is not read: loading a pickle can run code; "
            "save the predictions as .csv, .parquet or .npy (np.save of plain numbers)"
        )
    if name.endswith(".npy"):
        return _read_npy(path, form, columns)
    return _read_table(path, form, id_column, columns)


def read_npy(path: Path) -> NDArray[Any]:
    """Memory-map an array of plain numbers.

    Raises:
        InputError: no such file, damaged, or anything but numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the name and the folder")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise InputError(
                f"{path} holds Python objects, not plain numbers, and is not opened; "
                "save it with np.save(path, predictions.astype('float32'))"
            ) from None
        raise InputError(f"{path} cannot be read as npy: {error!s:.200}; check that the file is complete") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; save one with np.save")
    return array


def _read_npy(path: Path, form: OutputForm, columns: Sequence[str]) -> PredictionFile:
    array = read_npy(path)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        what = "labels, not numbers" if array.dtype.kind in "US" else f"type {array.dtype} in {array.ndim} dimensions"
        raise InputError(f"{path} holds {what}; give numbers, one row per row and one column per output")
    table = array[:, None] if array.ndim == 1 else array
    numbers = [str(place) for place in range(table.shape[1])]
    picked = form.pick(numbers, path, is_named=False, asked=columns)
    names = tuple(numbers[place] for place in picked.places)
    is_whole = names == tuple(numbers)
    return PredictionFile(path, table if is_whole else table[:, list(picked.places)], names, picked.by_name)


def _read_table(path: Path, form: OutputForm, id_column: str | None, columns: Sequence[str]) -> PredictionFile:
    header = read_header(path)
    if id_column is not None:
        id_column = same_column(id_column, header)
    has_ids = id_column is not None and id_column not in columns
    has_folds = FOLD in header and FOLD not in columns and form.target != FOLD
    known = {PANDAS_INDEX, *([id_column] if has_ids else []), *([FOLD] if has_folds else [])} - set(columns)
    candidates = [name for name in header if name not in known]
    picked = form.pick(candidates, path, is_named=True, asked=columns)
    names = [candidates[place] for place in picked.places]
    extra = ([id_column] if has_ids and id_column else []) + ([FOLD] if has_folds else [])
    frame = read_frame(path, columns=[*extra, *names], as_text=[id_column] if has_ids and id_column else [])
    return PredictionFile(
        path,
        np.column_stack([_numbers(frame[name], path, name) for name in names]),
        tuple(names),
        picked.by_name,
        cells.strings(frame[id_column]) if has_ids else None,
        fold_numbers(frame[FOLD], path, FOLD) if has_folds else None,
    )


def _numbers(series: pd.Series, path: Path, name: str) -> NDArray[np.float64]:
    values, n_words = cells.numbers(series)
    if n_words:
        texts = cells.strings(series)
        first = next(text for text in cells.distinct(texts) if cells.numbers(pd.Series([text]))[1])
        raise InputError(
            f"column {name!r} of {path} has {n_words} values that are no numbers, e.g. {first!r}; labels alone cannot "
            "be combined: export chances (predict_proba), or name the right columns with --columns"
        )
    return values
