"""A typed table as people think of it: a pandas frame with names, numbers, strings and dates."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from foldsmith.problem.tables import Table


def as_frame(table: Table) -> pd.DataFrame:
    """The columns of a table: float32 numbers, strings of categories and texts, datetimes; a default index.

    Columns that are stored relative to an offset come back in their own units, as float64.

    Missing values are NaN or NaT; so are categories that the train file does not have. Numbers and dates are views of
    the table's arrays: who hands the frame on gives away a shallow copy, which pandas copies when it is written to.
    """
    schema = table.schema
    numbers = pd.DataFrame(np.asarray(table.numeric), columns=list(schema.numeric), copy=False)
    for name in schema.numeric:
        if name in schema.shifts:
            numbers[name] = schema.shift(name).restore(numbers[name].to_numpy())
    others: dict[str, pd.Series] = {}
    for number, name in enumerate(schema.categorical):
        others[name] = _strings(np.asarray(table.codes[:, number]), schema.categories[name])
    for number, name in enumerate(schema.datetime):
        others[name] = pd.Series(np.asarray(table.datetimes[:, number]).view("datetime64[us]"), copy=False)
    for number, name in enumerate(schema.text):
        others[name] = table.texts[number].to_pandas().astype("str")
    if not others:
        return numbers
    return pd.concat([numbers, pd.DataFrame(others, index=numbers.index, copy=False)], axis=1)


def _strings(codes: NDArray[np.int32], levels: tuple[str, ...]) -> pd.Series:
    """Codes as the strings that they stand for, NaN for missing and unknown ones."""
    unknown = (codes < 0) | (codes >= len(levels))
    words = pa.array(list(levels), type=pa.large_string())
    places = pa.array(np.where(unknown, 0, codes), mask=unknown)
    series: pd.Series = words.take(places).to_pandas().astype("str")
    return series
