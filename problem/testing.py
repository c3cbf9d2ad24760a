"""Tables written in every dialect that people have, and damaged as files are: for tests and benchmarks."""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foldsmith.problem.errors import InputError

Rng = np.random.Generator
Columns = dict[str, list[str]]

WORDS = ("Köln", "München", "naïve", "Orléans", "a, b", "x; y", 'say "so"', "p|q", "plain", "None")
"""Levels with letters beyond ASCII, separators and quotes in them; all of them exist in Windows-1252."""


@dataclass(frozen=True)
class Tables:
    """A small competition as text: cells as a csv file with commas and decimal points has them, holes empty."""

    train: Columns
    test: Columns
    sample: Columns


def make_tables(seed: int, *, n_train: int = 60, n_test: int = 30, regression: bool = False) -> Tables:
    """Columns of every kind: numbers with holes, whole numbers, words, truth values, dates."""
    rng = np.random.default_rng(seed)
    n_rows = n_train + n_test
    ids = [str(number) for number in rng.permutation(10 * n_rows)[:n_rows]]
    columns: Columns = {
        "id": ids,
        "a": _with_holes([f"{value:.4f}" for value in rng.normal(scale=50, size=n_rows)], rng),
        "b": [str(value) for value in rng.integers(-5, 1000, n_rows)],
        "größe": _with_holes([str(rng.choice(WORDS)) for _ in range(n_rows)], rng),
        "flag": [str(value) for value in rng.random(n_rows) < 0.4],
        "day": [str(np.datetime64("2020-01-01") + int(days)) for days in rng.integers(0, 900, n_rows)],
    }
    columns["y"] = [str(value) for value in rng.choice(["low", "mid", "high"], n_rows)]
    if regression:
        columns["y"] = [f"{value:.2f}" for value in rng.normal(10, 3, n_rows)]
    train = {name: cells[:n_train] for name, cells in columns.items()}
    test = {name: cells[n_train:] for name, cells in columns.items() if name != "y"}
    outputs = ["y"] if regression else ["high", "low", "mid"]
    return Tables(train, test, {"id": test["id"], **{name: ["0"] * n_test for name in outputs}})


def _with_holes(cells: list[str], rng: Rng) -> list[str]:
    return ["" if rng.random() < 0.1 else cell for cell in cells]


# dialects -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writing:
    """How a table is written.

    Args:
        separator, decimal, newline, encoding: as their names say; a decimal comma needs another separator.
        quoting: of the :mod:`csv` module: minimal, all, or all but numbers.
        bom: begin with a byte-order mark.
        index: with the row numbers that pandas writes without ``index=False``.
        trailing: a separator at the end of every line.
        shuffle: seed of the order of columns; None keeps it.
        final_newline: whether the last line ends.
    """

    separator: str = ","
    decimal: str = "."
    newline: str = "\n"
    encoding: str = "utf-8"
    quoting: int = csv.QUOTE_MINIMAL
    bom: bool = False
    index: bool = False
    trailing: bool = False
    shuffle: int | None = None
    final_newline: bool = True


def encode(columns: Columns, writing: Writing) -> bytes:
    """A table as the bytes of a csv file."""
    names = _order(list(columns), writing.shuffle)
    quotes = {csv.QUOTE_ALL: lambda _: True, csv.QUOTE_NONNUMERIC: lambda cell: not _is_number(cell)}
    is_quoted: Callable[[str], bool] = quotes.get(writing.quoting, lambda _: False)
    rows = [names, *(list(row) for row in zip(*(columns[name] for name in names), strict=True))]
    lines = []
    for number, row in enumerate(rows):
        cells = [_cell(cell, writing, is_quoted(cell)) for cell in row]
        if writing.index:
            cells.insert(0, str(number - 1) if number else "")
        if writing.trailing:
            cells.append("")
        lines.append(writing.separator.join(cells))
    text = writing.newline.join(lines) + (writing.newline if writing.final_newline else "")
    mark = "\ufeff" if writing.bom else ""
    return (mark + text).encode(writing.encoding)


def _order(names: list[str], seed: int | None) -> list[str]:
    return names if seed is None else [names[place] for place in np.random.default_rng(seed).permutation(len(names))]


def _cell(text: str, writing: Writing, is_quoted: bool) -> str:
    if _is_number(text):
        text = text.replace(".", writing.decimal)
    if is_quoted or any(mark in text for mark in (writing.separator, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_csv(path: Path, columns: Columns, writing: Writing) -> None:
    """Write a csv file, compressed where its name ends in .gz."""
    data = encode(columns, writing)
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)


PARQUET = (
    *("plain", "dictionary", "large", "nullable", "decimal", "zoned", "nanoseconds", "text ids", "float ids", "index"),
)
"""Ways to store the same table as parquet; each is one step away from the plain types."""


def write_parquet(path: Path, columns: Columns, kind: str, *, shuffle: int | None = None) -> None:
    """Write a table as parquet with the types that ``kind`` asks for; targets of words stay words."""
    names = _order(list(columns), shuffle)
    arrays = {name: _array(name, columns[name], kind) for name in names}
    if kind == "index":
        arrays = {"__index_level_0__": pa.array(np.arange(len(columns[names[0]]))), **arrays}
    table = pa.table(arrays)
    if kind == "nullable":
        table.to_pandas().convert_dtypes().to_parquet(path)
    else:
        pq.write_table(table, path)


def _array(name: str, cells: list[str], kind: str) -> pa.Array:
    values = [cell or None for cell in cells]
    present = [value for value in values if value is not None]
    if name == "id" and kind == "text ids":
        return pa.array(values, pa.string())
    if all(value in ("True", "False") for value in present):
        return pa.array([None if value is None else value == "True" for value in values])
    if all(value.lstrip("-").isdecimal() for value in present):
        numbers = [None if value is None else int(value) for value in values]
        return pa.array(numbers, pa.float64() if name == "id" and kind == "float ids" else pa.int64())
    if all(_is_number(value) for value in present):
        if kind == "decimal":
            return pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(12, 4))
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if all(len(value) == 10 and value[4] == "-" for value in present):
        return _dates(values, kind)
    words = pa.array(values, pa.large_string() if kind == "large" else pa.string())
    return words.dictionary_encode() if kind == "dictionary" else words


def _dates(values: Sequence[str | None], kind: str) -> pa.Array:
    days = pa.array([None if value is None else np.datetime64(value, "D").astype(object) for value in values])
    if kind == "zoned":
        return days.cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    return days.cast(pa.timestamp("ns")) if kind == "nanoseconds" else days


# damage -------------------------------------------------------------------------------------------------------------

Mutation = Callable[[bytes, Rng], bytes]


def drop_field(data: bytes, rng: Rng) -> bytes:
    """A row lacks one of its fields."""
    rows = _parsed(data)
    row = int(rng.integers(1, len(rows)))
    del rows[row][int(rng.integers(len(rows[row])))]
    return _unparsed(rows)


def add_field(data: bytes, rng: Rng) -> bytes:
    """A row has one of its fields twice."""
    rows = _parsed(data)
    row = int(rng.integers(1, len(rows)))
    place = int(rng.integers(len(rows[row])))
    rows[row].insert(place, rows[row][place])
    return _unparsed(rows)


def drop_and_add(data: bytes, rng: Rng) -> bytes:
    """One row lacks a field, another has one too many: the file has as many separators as before."""
    return add_field(drop_field(data, rng), rng)


def cut_line(data: bytes, rng: Rng) -> bytes:
    """The file ends inside a line, before its last cell."""
    ends = [place for place in range(len(data)) if data[place : place + 1] == b"\n"]
    row = int(rng.integers(1, len(ends)))
    begin, end = ends[row - 1] + 1, ends[row]
    last = data.rindex(b",", begin, end)
    return data[: int(rng.integers(begin + 1, last + 1))]


def drop_quote(data: bytes, rng: Rng) -> bytes:
    """One quote is gone."""
    return _without(data, b'"', rng)


def drop_newline(data: bytes, rng: Rng) -> bytes:
    """Two lines are one."""
    return _without(data[:-1], b"\n", rng) + data[-1:]


def break_line(data: bytes, rng: Rng) -> bytes:
    """A line is two."""
    place = _inside_a_line(data, rng)
    return data[:place] + b"\n" + data[place:]


def lone_return(data: bytes, rng: Rng) -> bytes:
    """A carriage return stands inside a line."""
    place = _inside_a_line(data, rng)
    return data[:place] + b"\r" + data[place:]


def repeat_name(data: bytes, rng: Rng) -> bytes:
    """The header has a name twice."""
    rows = _parsed(data)
    first, second = (int(place) for place in rng.permutation(len(rows[0]))[:2])
    rows[0][first] = rows[0][second]
    return _unparsed(rows)


def repeat_header(data: bytes, rng: Rng) -> bytes:
    """Two files were put together, header and all."""
    lines = data.splitlines(keepends=True)
    lines.insert(int(rng.integers(2, len(lines))), lines[0])
    return b"".join(lines)


def mix_encodings(data: bytes, rng: Rng) -> bytes:
    """One letter of a file in UTF-8 is stored as in Windows-1252; the others are not."""
    letters = [place for place in range(len(data)) if data[place] == 0xC3]
    place = letters[int(rng.integers(len(letters)))]
    return data[:place] + data[place : place + 2].decode().encode("cp1252") + data[place + 2 :]


def stray_byte(data: bytes, rng: Rng) -> bytes:
    """A byte 0xE9 got into a file in UTF-8."""
    place = int(rng.integers(len(data)))
    while 0x80 <= data[place] < 0xC0:  # not into a character
        place -= 1
    return data[:place] + b"\xe9" + data[place:]


def zero_byte(data: bytes, rng: Rng) -> bytes:
    """A zero byte got into the file."""
    place = int(rng.integers(len(data)))
    return data[:place] + b"\0" + data[place:]


def other_separator(data: bytes, rng: Rng) -> bytes:
    """One line has semicolons."""
    rows = _parsed(data)
    row = int(rng.integers(1, len(rows)))
    lines = _unparsed(rows).splitlines(keepends=True)
    at = _unparsed(rows[:row]).count(b"\n")
    lines[at] = ";".join(rows[row]).encode() + b"\n"
    return b"".join(lines)


def blank_lines(data: bytes, rng: Rng) -> bytes:
    """Blank lines between the rows; tables of several columns are the same without them."""
    lines = data.splitlines(keepends=True)
    for _ in range(2):
        lines.insert(int(rng.integers(1, len(lines) + 1)), b"\n")
    return b"".join(lines)


def no_final_newline(data: bytes, rng: Rng) -> bytes:
    """The last line does not end; the table is the same."""
    return data.rstrip(b"\n")


MUTATIONS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        *(drop_field, add_field, drop_and_add, cut_line, drop_quote, drop_newline, break_line, lone_return),
        *(repeat_name, repeat_header, mix_encodings, stray_byte, zero_byte, other_separator, blank_lines),
        no_final_newline,
    )
}
"""Damage to the bytes of a csv file with commas, line feeds and UTF-8, by name."""

HARMLESS = ("blank_lines", "no_final_newline")
"""Mutations after which the table is the same."""


def mutate_gz(data: bytes, rng: Rng) -> bytes:
    """A compressed file that lacks its end."""
    packed = gzip.compress(data, mtime=0)
    return packed[: int(rng.integers(20, len(packed) - 1))]


def _parsed(data: bytes) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]


def _unparsed(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _without(data: bytes, mark: bytes, rng: Rng) -> bytes:
    places = [place for place in range(len(data)) if data[place : place + 1] == mark]
    place = places[int(rng.integers(len(places)))]
    return data[:place] + data[place + 1 :]


def _inside_a_line(data: bytes, rng: Rng) -> int:
    """A place in a row, between two bytes of a cell that is not quoted or of a separator."""
    while True:
        place = int(rng.integers(data.index(b"\n") + 2, len(data) - 1))
        if b"\n" not in data[place - 1 : place + 1] and data.count(b'"', 0, place) % 2 == 0:
            return place


# what comes of it ---------------------------------------------------------------------------------------------------


def typed(train: Path, test: Path, *, target: str = "y", id_column: str | None = "id") -> dict[str, Any]:
    """Everything that a search sees of two files: the schema without its reasons, arrays, labels and ids."""
    from foldsmith.problem.columns import infer_columns
    from foldsmith.problem.dataset import read_frames
    from foldsmith.problem.tables import build_schema, type_frame, type_target

    frames = read_frames(train, test, target=target, id_column=id_column)
    columns = infer_columns(frames.train, frames.test, target=target, id_column=id_column, overrides={})
    schema = build_schema(frames.train, columns, test=frames.test)
    label, y, _ = type_target(frames.train[target], name=target)
    seen: dict[str, Any] = {"kinds": {column.name: column.kind for column in columns}, "target": label, "y": y}
    seen |= {"categories": schema.categories, "formats": schema.time_formats}
    for name, frame in (("train", frames.train), ("test", frames.test)):
        table = type_frame(frame, schema)
        for place, column in enumerate(schema.numeric):
            seen[f"{name} {column}"] = np.asarray(table.numeric[:, place])
        for place, column in enumerate(schema.categorical):
            seen[f"{name} {column}"] = np.asarray(table.codes[:, place])
        for place, column in enumerate(schema.datetime):
            seen[f"{name} {column}"] = np.asarray(table.datetimes[:, place])
        if id_column is not None:
            seen[f"{name} ids"] = [str(value) for value in frame[id_column]]
    seen["remarks"] = frames.remarks
    return seen


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two results of :func:`typed`; what was remarked does not count."""
    names = sorted((set(one) | set(other)) - {"remarks"})
    return [name for name in names if name not in one or name not in other or not _same(one[name], other[name])]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other)


def judge(clean: dict[str, Any], train: Path, test: Path, *, is_harmless: bool) -> str:
    """What came of a damaged file: ``refused`` with its line, ``same``, or what went wrong, in words."""
    try:
        seen = typed(train, test)
    except InputError as error:
        if is_harmless:
            return f"refused without need: {error}"
        return "refused" if _names_its_line(str(error)) else f"refused without a line: {error}"
    found = differences(clean, seen)
    return f"read wrongly, without a word: {', '.join(found)}" if found else "same"


def _names_its_line(message: str) -> bool:
    says = ("line ", "more than once in its header", "in its first row", "cannot be read as csv", "unknown")
    return any(words in message for words in says)
