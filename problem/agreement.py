"""Two files with one header and one type per column: names that differ by blanks, columns that must be words."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from foldsmith.problem import cells
from foldsmith.problem.amount_columns import may_be_grouped
from foldsmith.problem.reading import read_frame

Family = Literal["numbers", "truth", "times", "words", "empty"]


def family(series: pd.Series) -> Family:
    """What a column was read as."""
    dtype = series.dtype
    if series.isna().all():
        return "empty"
    if pd.api.types.is_bool_dtype(dtype):
        return "truth"
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        return "numbers"
    if cells.is_time(series):
        return "times"
    # Truth values with holes are Python objects; words have a dtype of their own, and are many.
    is_object = pd.api.types.is_object_dtype(dtype)
    return "truth" if is_object and pd.api.types.infer_dtype(series, skipna=True) == "boolean" else "words"


def disagreeing(train: pd.DataFrame, test: pd.DataFrame, *, leave: Iterable[str]) -> list[str]:
    """The columns whose text must tell what they are, in train's order.

    One file has words, the other numbers, truth values or times; or points in numbers may be thousands separators.

    Args:
        train, test: the tables as read.
        leave: columns that are not looked at.
    """
    left_out = set(leave)
    names = [str(name) for name in train.columns if name in test.columns and name not in left_out]
    found = []
    for name in names:
        families = {family(train[name]), family(test[name])} - {"empty"}
        floats = any(pd.api.types.is_float_dtype(frame[name].dtype) for frame in (train, test))
        if len(families) > 1 or (families == {"numbers"} and floats and may_be_grouped(train[name], test[name])):
            found.append(name)
    return found


def words_again(path: Path, frame: pd.DataFrame, names: Iterable[str], stored: Mapping[str, str]) -> pd.DataFrame:
    """A table with some of its columns read anew, exactly as they are written in its file.

    Args:
        path: the file.
        frame: the table as read.
        names: the columns.
        stored: their names in the file where those are others.
    """
    wanted = [name for name in names if family(frame[name]) not in ("words", "empty")]
    if not wanted:
        return frame
    if path.name.lower().endswith(".parquet"):  # typed values: nothing was lost when they were read
        return frame.assign(**{name: cells.strings(frame[name]) for name in wanted})
    in_file = [stored.get(name, name) for name in wanted]
    words = read_frame(path, columns=in_file, as_text=in_file)
    return frame.assign(**{name: words[other] for name, other in zip(wanted, in_file, strict=True)})
