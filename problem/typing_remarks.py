"""What is told of a typed table: cells that became missing, spellings, dates and amounts in another format."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells, time_formats
from foldsmith.problem.amounts import Reading, parse_amount, unit_of
from foldsmith.problem.columns import Column
from foldsmith.problem.decided import is_too_much
from foldsmith.problem.errors import InputError
from foldsmith.problem.levels import spelling_remarks
from foldsmith.problem.settings import advice
from foldsmith.problem.tables import Table
from foldsmith.problem.words import Source, Words, cell

_SAMPLE = 2_000
_WHAT = {"numeric": "numbers", "boolean": "truth values", "datetime": "dates"}


def train_remarks(frame: pd.DataFrame, table: Table, source: Source) -> tuple[str, ...]:
    """What is told of train: how its columns were decided, and cells that became missing."""
    remarks = [remark for column in table.schema.columns for remark in column.remarks]
    for column in table.schema.columns:
        remarks += _lost(column, frame, table, source, may_refuse=False)
    return tuple(remarks)


def other_remarks(frame: pd.DataFrame, table: Table, source: Source, *, is_later: bool) -> tuple[str, ...]:
    """What is told of another table under the schema of train.

    Args:
        frame: the cells; lacks columns that are no features.
        table: what became of them.
        source: the file.
        is_later: the schema was made without this table: formats that it has alone are told too.

    Raises:
        InputError: so many cells of a column do not fit that the file must hold something else.
    """
    remarks: list[str] = []
    for column in table.schema.columns:
        remarks += _lost(column, frame, table, source, may_refuse=True)
        if column.kind == "categorical":
            levels = table.schema.categories[column.name]
            remarks += spelling_remarks(column.name, Words.of(frame[column.name]), source, levels)
        if is_later:
            remarks += _new_formats(column, frame, table, source)
    return tuple(remarks)


def _lost(column: Column, frame: pd.DataFrame, table: Table, source: Source, *, may_refuse: bool) -> Iterator[str]:
    missing = _missing(column, table)
    if missing is None or not missing.any():
        return
    series = frame[column.name]
    if pd.api.types.is_numeric_dtype(series.dtype) and column.kind != "boolean":
        return
    words = Words.of(series)
    yield from _missing_words(column, words, source)
    is_word = np.array([not cells.is_missing_word(text) for text in words.distinct] + [False], dtype=bool)
    lost = missing & is_word[words.codes]
    n_lost, n_present = int(lost.sum()), int(is_word[words.codes].sum())
    if not n_lost:
        return
    row = int(np.argmax(lost))
    shown = cell(words.distinct[words.codes[row]], source.at(row))
    is_set = column.reason.startswith("set by you")
    if may_refuse and is_too_much(n_lost, n_present, is_set=is_set):
        raise InputError(
            f"column {column.name!r} holds {_WHAT[column.kind]}, but {n_lost:,} of {n_present:,} cells of "
            f"{source.name} are none that can be read, such as {shown}; write them as train has them, or leave the "
            f"column out with {advice(column.name, 'constant')}"
        )
    cells_are = "cell is" if n_lost == 1 else "cells are"
    yield (
        f"column {column.name!r}: {n_lost:,} {cells_are} missing because {'it is' if n_lost == 1 else 'they are'} no "
        f"{_WHAT[column.kind]}, such as {shown}"
    )


def _missing_words(column: Column, words: Words, source: Source) -> Iterator[str]:
    """Words such as ``unknown`` that stand for no value."""
    rows = [row for row, text in enumerate(words.distinct) if column.kind != "boolean" and cells.is_missing_word(text)]
    if rows:
        n_cells = int(words.counts[rows].sum())
        shown = cell(words.distinct[rows[0]], source.at(words.row(rows[0])))
        are = "cell" if n_cells == 1 else "cells"
        yield f"column {column.name!r}: {n_cells:,} {are} of {source.name} such as {shown} read as missing"


def _missing(column: Column, table: Table) -> NDArray[np.bool_] | None:
    """The missing values of a column, None for kinds that take every cell."""
    schema = table.schema
    if column.kind in ("numeric", "boolean"):
        return np.isnan(table.numeric[:, schema.numeric.index(column.name)])
    if column.kind == "datetime":
        return np.asarray(table.datetimes[:, schema.datetime.index(column.name)] == cells.MISSING_TIME)
    return None


def _new_formats(column: Column, frame: pd.DataFrame, table: Table, source: Source) -> Iterator[str]:
    series = frame.get(column.name)
    if series is None or cells.is_time(series) or pd.api.types.is_numeric_dtype(series.dtype):
        return
    words = Words.of(series)
    texts = words.distinct[:: max(1, len(words.distinct) // _SAMPLE)]
    if column.kind == "datetime":
        formats = table.schema.time_formats[column.name]
        used = time_formats.parse(texts, formats).formats
        known = {"", *formats.split(time_formats.SEPARATOR), *_other_order(formats)}
        odd = [text for text, name in zip(texts, used, strict=True) if name not in known]
        what = f"dates in another format than train ({formats})"
    elif column.kind == "numeric":
        chosen = Reading.from_text(column.reading)
        odd = [text for text in texts if _is_new_amount(text, chosen)]
        what = "numbers in another format than train" + (f" (unit {chosen.unit})" if chosen.unit else "")
    else:
        return
    if odd:
        shown = cell(odd[0], source.at(words.row(words.distinct.index(odd[0]))))
        yield f"column {column.name!r}: {source.name} has {what}, such as {shown}; each cell is read by itself"


def _other_order(formats: str) -> set[str]:
    """Names under which cells count that have a column's format with day and month in either order."""
    names = set(formats.split(time_formats.SEPARATOR))
    return {month for month, day in time_formats.ORDERED_FORMATS if day in names or month in names}


def _is_new_amount(text: str, chosen: Reading) -> bool:
    amount = parse_amount(text)
    if amount is None or amount.is_zero:
        return False
    return unit_of(amount, scales=chosen.scales) != chosen.unit or (not amount.is_plain and chosen == Reading())
