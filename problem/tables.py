"""Typed tables: parsed once per content of a file, then memory-mapped by every process that reads them."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.amounts import amounts
from foldsmith.problem.columns import Column
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import read_array, read_json, sync, write_array, write_atomically, write_json
from foldsmith.problem.levels import levels_of, match_levels
from foldsmith.problem.reading import fingerprint
from foldsmith.problem.shifts import NO_SHIFT, Shift, find_shift, to_float32
from foldsmith.problem.target import Target, type_target
from foldsmith.problem.words import Words

__all__ = [
    "Schema",
    "Table",
    "Target",
    "build_schema",
    "check_ids",
    "fingerprint",
    "save_table",
    "type_frame",
    "type_target",
]


@dataclass(frozen=True)
class Schema:
    """How the columns of a frame become arrays; made from train, applied to train, test and later rows alike.

    Args:
        columns: the feature columns in train's order, the id included.
        categories: for each categorical column the levels seen in train, sorted, as strings.
        time_formats: for each datetime column the format its strings have, or "ISO8601".
        shifts: numeric columns that are stored relative to an offset, and dates whose days since 1970 are, because
            float32 would lose their digits.
    """

    columns: tuple[Column, ...]
    categories: dict[str, tuple[str, ...]]
    time_formats: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, Shift] = field(default_factory=dict)

    @cached_property  # asked for once per column of tables with thousands
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric and boolean columns, the columns of ``Table.numeric``."""
        return tuple(column.name for column in self.columns if column.kind in ("numeric", "boolean"))

    @cached_property
    def boolean(self) -> tuple[str, ...]:
        """Names of those numeric columns that hold 0 and 1 only."""
        return self._names("boolean")

    @cached_property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns, the columns of ``Table.codes``."""
        return self._names("categorical")

    @cached_property
    def datetime(self) -> tuple[str, ...]:
        """Names of the datetime columns, the columns of ``Table.datetimes``."""
        return self._names("datetime")

    @cached_property
    def text(self) -> tuple[str, ...]:
        """Names of the text columns, in the order of ``Table.text``."""
        return self._names("text")

    @cached_property
    def as_written(self) -> tuple[str, ...]:
        """Names of the columns whose text decides: words, and numbers that are not written plainly."""
        amounts = (column.name for column in self.columns if column.kind == "numeric" and column.reading)
        return (*self.categorical, *self.text, *amounts)

    def shift(self, name: str) -> Shift:
        """How a numeric column is stored."""
        return self.shifts.get(name, NO_SHIFT)

    def _names(self, kind: str) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.kind == kind)

    def join(self, more: "Schema") -> "Schema":
        """The columns of both, those of ``more`` behind."""
        return Schema(
            (*self.columns, *more.columns),
            {**self.categories, **more.categories},
            {**self.time_formats, **more.time_formats},
            {**self.shifts, **more.shifts},
        )

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values."""
        return {
            "columns": [_column_record(column) for column in self.columns],
            "categories": {name: list(levels) for name, levels in self.categories.items()},
            "time_formats": dict(self.time_formats),
            "shifts": {name: asdict(shift) for name, shift in self.shifts.items()},
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The schema of a record made by :meth:`to_json`."""
        return cls(
            columns=tuple(Column(**column) for column in record["columns"]),
            categories={name: tuple(levels) for name, levels in record["categories"].items()},
            time_formats=dict(record["time_formats"]),
            shifts={name: Shift(**shift) for name, shift in record.get("shifts", {}).items()},
        )


def _column_record(column: Column) -> dict[str, Any]:
    record = {"name": column.name, "kind": column.kind, "reason": column.reason}
    return {**record, "reading": column.reading} if column.reading else record


def build_schema(train: pd.DataFrame, columns: Sequence[Column], *, test: pd.DataFrame | None = None) -> Schema:
    """The schema of a training table.

    Args:
        train: the training frame.
        columns: from :func:`foldsmith.problem.columns.infer_columns`.
        test: only helps to tell day-first from month-first dates; its categories are not used.

    Raises:
        InputError: a datetime column has no known format.
    """
    categories = {c.name: _levels(train[c.name]) for c in columns if c.kind == "categorical"}
    formats = {c.name: c.reading or _time_format(c.name, train, test) for c in columns if c.kind == "datetime"}
    return Schema(tuple(columns), categories, formats, _shifts(train, columns) | _time_shifts(train, formats))


def _shifts(train: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Shift]:
    """The shifts of the numeric columns that need one."""
    found = {}
    for column in columns:
        if column.kind != "numeric":
            continue
        shift = shift_of(train[column.name], column.reading)
        if shift is not None:
            found[column.name] = shift
    return found


def _time_shifts(train: pd.DataFrame, formats: Mapping[str, str]) -> dict[str, Shift]:
    """The shifts of dates as days since 1970, which models learn: seconds of one week are lost among 20,000 days."""
    found = {}
    for name, pattern in formats.items():
        shift = _time_shift(train[name], pattern)
        if shift is not None:
            found[name] = shift
    return found


def _time_shift(series: pd.Series, pattern: str) -> Shift | None:
    return find_shift(lambda rows: cells.days(series.iloc[rows], pattern), len(series))


def shift_of(series: pd.Series, reading: str = "") -> Shift | None:
    """The shift that a column of numbers needs; a sample of its cells is read.

    Args:
        series: the column, ``(n,)``.
        reading: how its cells are read, see :class:`foldsmith.problem.columns.Column`.
    """
    return find_shift(lambda rows: _numbers(amounts(series.iloc[rows], reading)), len(series))


def _levels(series: pd.Series) -> tuple[str, ...]:
    return levels_of(Words.of(series))


def _time_format(name: str, train: pd.DataFrame, test: pd.DataFrame | None) -> str:
    if cells.is_time(train[name]):
        return cells.ISO
    values = cells.distinct(cells.strings(train[name]))
    more = [] if test is None else cells.distinct(cells.strings(test[name]))
    both = list(dict.fromkeys(values + more))
    # The second and third try: formats that differ in test, and a column that the user declared as dates.
    known = (
        cells.find_time_format(both)
        or cells.find_time_format(values)
        or cells.find_time_format(values, share=0.5, integers=True)
    )
    if known is None:
        raise InputError(f"column {name!r} is set to datetime but its values have no known format; set another kind")
    return known


@dataclass(frozen=True, eq=False)
class Table:
    """The features of one file as typed arrays; rows in the file's order. Nobody writes into the arrays.

    Args:
        schema: what the columns are.
        n_rows: number of rows.
        numeric: float32 ``(n_rows, len(schema.numeric))``, booleans as 0 and 1, NaN for missing and for ±inf; relative
            to ``schema.shift(name)``.
        codes: int32 ``(n_rows, len(schema.categorical))``: -1 missing, 0..m-1 the level in ``schema.categories``, m a
            level that train does not have.
        datetimes: int64 ``(n_rows, len(schema.datetime))``, microseconds since 1970 UTC, the least int64 for missing;
            viewed as ``datetime64[us]`` that is NaT.
        texts: one Arrow string array of n_rows per text column.
    """

    schema: Schema
    n_rows: int
    numeric: NDArray[np.float32]
    codes: NDArray[np.int32]
    datetimes: NDArray[np.int64]
    texts: tuple[pa.Array, ...]

    def text(self, i: int, rows: NDArray[np.int64] | None = None) -> list[str]:
        """The strings of the i-th text column, "" for missing.

        Args:
            i: position in ``schema.text``.
            rows: int64 row numbers; None means all.
        """
        array = self.texts[i] if rows is None else self.texts[i].take(pa.array(rows))
        return ["" if value is None else value for value in array.to_pylist()]

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """A copy in memory of these rows, in this order."""
        return Table(
            schema=self.schema,
            n_rows=len(rows),
            numeric=np.asarray(self.numeric[rows]),
            codes=np.asarray(self.codes[rows]),
            datetimes=np.asarray(self.datetimes[rows]),
            texts=tuple(array.take(pa.array(rows, type=pa.int64())) for array in self.texts),
        )

    def join(self, more: "Table") -> "Table":
        """This table with the columns of ``more``, of as many rows and other names, on the right.

        An array to which ``more`` adds nothing is not copied.
        """
        assert more.n_rows == self.n_rows, "tables side by side have the same rows"
        return Table(
            schema=self.schema.join(more.schema),
            n_rows=self.n_rows,
            numeric=_beside(self.numeric, more.numeric),
            codes=_beside(self.codes, more.codes),
            datetimes=_beside(self.datetimes, more.datetimes),
            texts=(*self.texts, *more.texts),
        )

    @classmethod
    def open(cls, folder: Path) -> "Table":
        """Memory-map a table written by :func:`save_table`; takes milliseconds whatever its size.

        Raises:
            InputError: the folder holds no table.
            ContractError: it was written by a newer foldsmith.
        """
        if not (folder / "schema.json").is_file():
            raise InputError(f"{folder} holds no table; run the command that makes it again")
        record = read_json(folder / "schema.json")
        schema = Schema.from_json(record)
        return cls(
            schema=schema,
            n_rows=record["n_rows"],
            numeric=read_array(folder / "numeric.npy"),
            codes=read_array(folder / "codes.npy"),
            datetimes=read_array(folder / "datetimes.npy"),
            texts=_open_texts(folder / "text.arrow") if schema.text else (),
        )


def stacked(above: Table, below: Table) -> Table:
    """Two tables of one schema, one above the other, in memory."""
    assert above.schema == below.schema, "tables above each other have the same columns"
    return Table(
        schema=above.schema,
        n_rows=above.n_rows + below.n_rows,
        numeric=np.concatenate([above.numeric, below.numeric]),
        codes=np.concatenate([above.codes, below.codes]),
        datetimes=np.concatenate([above.datetimes, below.datetimes]),
        texts=tuple(
            pa.concat_arrays([one.cast(pa.large_string()), other.cast(pa.large_string())])
            for one, other in zip(above.texts, below.texts, strict=True)
        ),
    )


def _beside(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    return np.hstack([left, right]) if right.shape[1] else left


def type_frame(frame: pd.DataFrame, schema: Schema) -> Table:
    """Turn a frame into typed arrays; what does not fit its kind becomes missing, an unknown category code m.

    Args:
        frame: has every column of the schema; more columns are ignored.
        schema: from :func:`build_schema`.

    Raises:
        InputError: a column is missing.
    """
    used = (*schema.numeric, *schema.categorical, *schema.datetime, *schema.text)
    lacking = [name for name in used if name not in frame.columns]
    if lacking:
        raise InputError(f"the table lacks column {lacking[0]!r} ({len(lacking)} missing in all); add it")
    readings = {column.name: column.reading for column in schema.columns if column.kind == "numeric"}
    numbers = {name: amounts(frame[name], reading) for name, reading in readings.items()}
    return Table(
        schema=schema,
        n_rows=len(frame),
        numeric=_stack(
            [_floats(numbers.get(name, frame[name]), schema, name) for name in schema.numeric], len(frame), np.float32
        ),
        codes=_stack([_codes(frame[n], schema.categories[n]) for n in schema.categorical], len(frame), np.int32),
        datetimes=_stack(
            [cells.times(frame[n], schema.time_formats[n]) for n in schema.datetime], len(frame), np.int64
        ),
        texts=tuple(pa.array(cells.strings(frame[name]), type=pa.large_string()) for name in schema.text),
    )


def _stack(columns: list[NDArray[Any]], n_rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Columns side by side, row-major; ``(n_rows, 0)`` for none."""
    stacked = np.empty((n_rows, len(columns)), dtype=dtype)
    for i, column in enumerate(columns):
        stacked[:, i] = column
    return stacked


def _floats(series: pd.Series, schema: Schema, name: str) -> NDArray[np.float32]:
    if name in schema.boolean:
        return cells.truth_values(series).astype(np.float32)
    return to_float32(name, _numbers(series), schema.shift(name))


def _numbers(series: pd.Series) -> NDArray[np.float64] | NDArray[np.int64]:
    """A column of numbers as float64, or as int64 where it holds whole numbers without holes."""
    if series.dtype == np.int64:
        return series.to_numpy()
    return cells.numbers(series)[0]


def _codes(series: pd.Series, levels: Sequence[str]) -> NDArray[np.int32]:
    words = Words.of(series)
    mapped = np.append(match_levels(words.distinct, levels).positions, np.int32(-1))
    return mapped[words.codes]  # -1, missing, takes the last


def save_table(table: Table, folder: Path) -> None:
    """Write a table so that ``folder`` appears whole or not at all; one that exists already is kept.

    Two processes may save the same table at once: one wins, the other drops its copy.

    Args:
        table: what to write.
        folder: named after the content; its parent must exist.
    """
    if folder.exists():
        return
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        write_array(temporary / "numeric.npy", table.numeric)
        write_array(temporary / "codes.npy", table.codes)
        write_array(temporary / "datetimes.npy", table.datetimes)
        if table.texts:
            _write_texts(temporary / "text.arrow", table.texts)
        write_json(temporary / "schema.json", {"n_rows": table.n_rows, **table.schema.to_json()})
        os.rename(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # Renaming onto a folder that is not empty fails: another process was faster, with the same content.
        if isinstance(error, OSError) and (folder / "schema.json").is_file():
            return
        raise
    sync(folder.parent)


def _write_texts(path: Path, texts: Sequence[pa.Array]) -> None:
    table = pa.table(list(texts), names=[str(i) for i in range(len(texts))])

    def write(file: Any) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    write_atomically(path, write)


def _open_texts(path: Path) -> tuple[pa.Array, ...]:
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    # One batch was written, so a column is one chunk that lies in the mapped file.
    return tuple(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns)


def check_ids(train_ids: pd.Series | None, test_ids: pd.Series, name: str) -> None:
    """Refuse ids that do not name rows one to one, within each file; the same id may be in both.

    Args:
        train_ids: the id column of train, ``(n_train,)``; None where train has none.
        test_ids: the id column of test, ``(n_test,)``.
        name: the column's name.

    Raises:
        InputError: an id is missing or stands twice in one file.
    """
    for file, ids in (("train", train_ids), ("test", test_ids)):
        if ids is None:
            continue
        texts = cells.strings(ids)
        missing = texts.isna()
        if missing.any():
            first = int(np.flatnonzero(missing)[0]) + 1
            raise InputError(
                f"id column {name!r} of {file} has {missing.sum()} missing ids, the first in row {first}; fill in"
            )
        repeats = texts.duplicated()
        if repeats.any():
            raise InputError(
                f"id column {name!r} of {file} has {repeats.sum()} repeated ids, e.g. {texts[repeats].iloc[0]!r}; "
                "remove the repeated rows or name another id column"
            )
