"""What a user's transformer returns: run, checked, and given a kind for every new column."""

import difflib
from collections.abc import Callable
from typing import Any

import pandas as pd

from foldsmith.problem import cells
from foldsmith.problem.columns import Column, Kind
from foldsmith.problem.errors import InputError
from foldsmith.problem.tables import Schema, shift_of

_NUMBERS = ("floating", "integer", "mixed-integer-float", "boolean", "decimal")


def run_user(reference: str, what: str, frame: pd.DataFrame | None, function: Callable[..., Any], *args: Any) -> Any:
    """Call the user's code; what it raises becomes one line that says whose it is.

    Args:
        what: the method, for people.
        frame: that it was given, whose column names help with a name that is not there.
    """
    try:
        return function(*args)
    except MemoryError:
        raise
    except Exception as error:
        hint = ""
        if isinstance(error, KeyError) and frame is not None and error.args:
            near = difflib.get_close_matches(str(error.args[0]), [str(name) for name in frame.columns], n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; X has {_listed(frame.columns)}"
        raise InputError(f"{reference}: {what} failed with {type(error).__name__}: {error}{hint}") from error


def new_columns(reference: str, made: Any, frame: pd.DataFrame, schema: Schema | None) -> pd.DataFrame:
    """What a transformer returned, without the columns of ``frame`` that came back unchanged.

    Args:
        schema: of the new columns, once they are known.

    Raises:
        InputError: it is no frame of these rows, or its columns cannot be used.
    """
    if isinstance(made, pd.Series):
        made = made.to_frame()
    _require_rows(reference, made, frame)
    _require_names(reference, made, frame)
    new: pd.DataFrame = made[[name for name in made.columns if name not in frame.columns]]
    if schema is None and new.shape[1] == 0:
        raise InputError(f"{reference}: transform returned no new column; return a DataFrame of new columns")
    if schema is not None and set(new.columns) != {column.name for column in schema.columns}:
        expected = _listed([column.name for column in schema.columns])
        raise InputError(
            f"{reference}: transform returned {_listed(new.columns)}, but {expected} in fit; return the same columns "
            "for all rows"
        )
    return new


def _require_rows(reference: str, made: Any, frame: pd.DataFrame) -> None:
    if not isinstance(made, pd.DataFrame):
        raise InputError(f"{reference}: transform returned {type(made).__name__}; return a DataFrame of new columns")
    if len(made) != len(frame):
        raise InputError(
            f"{reference}: transform was given {len(frame)} rows and returned {len(made)}; return one row for each"
        )
    if not made.index.equals(frame.index):
        raise InputError(f"{reference}: transform returned the rows in another order; keep the index of X")


def _require_names(reference: str, made: pd.DataFrame, frame: pd.DataFrame) -> None:
    seen = set()
    for name in made.columns:
        if not isinstance(name, str):
            raise InputError(f"{reference}: the column name {name!r} is no string; name the new columns")
        if name in seen:
            raise InputError(f"{reference}: transform returned the column {name!r} twice; give each a name of its own")
        if name in frame.columns and not made[name].equals(frame[name]):
            raise InputError(f"{reference}: the column {name!r} is there already; give the changed one another name")
        seen.add(name)


def _listed(names: Any) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if shown[8:] else "")


def schema_of(reference: str, made: pd.DataFrame) -> Schema:
    """The kinds of new columns, from their dtypes, and the levels of the categorical ones."""
    columns, categories, formats, shifts = [], {}, {}, {}
    for name in made.columns:
        series = made[name]
        if series.isna().all():
            raise InputError(f"{reference}: the column {name!r} is missing in every train row; correct or drop it")
        kind = _kind(reference, name, series)
        columns.append(Column(name, kind, f"made by {reference}"))
        if kind == "categorical":
            categories[name] = tuple(sorted(cells.distinct(cells.strings(series))))
        elif kind == "datetime":
            formats[name] = cells.ISO
        elif kind == "numeric" and (shift := shift_of(series)) is not None:
            shifts[name] = shift
    return Schema(tuple(columns), categories, formats, shifts)


def _kind(reference: str, name: str, series: pd.Series) -> Kind:
    dtype = series.dtype
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        if pd.api.types.is_complex_dtype(dtype):
            raise InputError(f"{reference}: the column {name!r} has complex numbers; make real ones of them")
        return "numeric"
    if cells.is_time(series):
        return "datetime"
    if pd.api.types.is_object_dtype(dtype) and pd.api.types.infer_dtype(series, skipna=True) in _NUMBERS:
        return "numeric"
    return "categorical"
