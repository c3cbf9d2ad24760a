"""Reading csv and parquet files: one set of missing-value tokens, and every failure one line that names the file."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.files import file_digest

MISSING_TOKENS = ("", " ", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "<NA>", "-nan")
"""Cells of a csv file that are read as missing; ``None`` is not one, it may be a category."""

_EMPTY = ["", " "]  # what is missing in a column that is read as text: there "NA" is a name like any other

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_HEAD_BYTES = 65536
# Bytes that no text file holds, whatever its single-byte encoding; tab, newlines, form feed and Ctrl-Z are left out.
_CONTROL_BYTES = bytes(set(range(32)) - {9, 10, 11, 12, 13, 26})


def read_frame(path: Path, *, columns: Sequence[str] | None = None, as_text: Collection[str] = ()) -> pd.DataFrame:
    """Read a csv, csv.gz or parquet file; dates stay strings, and ``None`` in a csv stays a string.

    Csv files are UTF-8, or latin-1 when they are text but not UTF-8.

    Args:
        path: a file ending in .csv, .csv.gz or .parquet.
        columns: the columns to read, in this order; None reads all.
        as_text: columns read as strings exactly as written, so that an id ``00123`` keeps its zeros and ``NA`` is no
            hole; names that the file lacks are ignored.

    Returns:
        A frame of at least one row with a default index.

    Raises:
        InputError: the file is missing, a folder, empty, without rows, not readable as its suffix says, or has a
            column name twice.
        UnknownNameError: a name of ``columns`` is not in the file.
    """
    if _suffix(path) == ".parquet":
        frame = _read_parquet(path, columns, as_text)
    else:
        try:
            frame = _read_csv(path, columns, as_text, "utf-8-sig")
        except UnicodeDecodeError:
            _refuse_control_bytes(path)
            frame = _read_csv(path, columns, as_text, "latin-1")
    if len(frame) == 0:
        raise InputError(f"{path} has a header but no rows; give a file with data")
    return frame


def read_header(path: Path) -> list[str]:
    """The column names of a file, in order; an empty name in a csv becomes ``Unnamed: <position>`` as in pandas.

    Raises:
        InputError: as in :func:`read_frame`, without reading the rows.
    """
    if _suffix(path) == ".parquet":
        return _parquet_names(path, _parquet_schema(path))
    try:
        return _csv_header(path, "utf-8-sig")
    except UnicodeDecodeError:
        return _csv_header(path, "latin-1")


def fingerprint(path: Path) -> str:
    """Digest of a file's content, 32 hexadecimal digits; the name does not matter.

    Raises:
        InputError: the file is missing or a folder.
    """
    _require_file(path)
    return file_digest(path)


def _suffix(path: Path) -> str:
    """The known suffix of an existing, non-empty file."""
    name = path.name.lower()
    suffix = next((s for s in SUFFIXES if name.endswith(s)), None)
    if suffix is None:
        raise InputError(f"{path} has the unknown ending {path.suffix!r}; convert it to one of {', '.join(SUFFIXES)}")
    _require_file(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); give a file with a header and rows")
    return suffix


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name and the folder")


def _refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    """pandas would rename a second ``x`` to ``x.1`` without a word."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has {_quoted(twice)} more than once in its header; rename or drop the repeats")


def _refuse_unknown(path: Path, columns: Sequence[str] | None, names: Sequence[str]) -> None:
    for column in columns or ():
        if column not in names:
            raise UnknownNameError(f"column in {path}", column, names)


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


# csv -----------------------------------------------------------------------------------------------------------------


def _open_bytes(path: Path) -> BinaryIO:
    opened: BinaryIO = _opener(path)(path, "rb")
    return opened


def _open_text(path: Path, encoding: str) -> TextIO:
    opened: TextIO = _opener(path)(path, "rt", encoding=encoding, newline="")
    return opened


def _opener(path: Path) -> Any:
    return gzip.open if path.name.lower().endswith(".gz") else open


def _read_csv(path: Path, columns: Sequence[str] | None, as_text: Collection[str], encoding: str) -> pd.DataFrame:
    names = _csv_header(path, encoding)
    _refuse_unknown(path, columns, names)
    try:
        # A file handle, not the path: pandas would take a path such as ``s3://…`` for something to download.
        with _open_bytes(path) as file:
            frame = pd.read_csv(
                file,
                header=0,
                names=names,
                usecols=None if columns is None else list(columns),
                index_col=False,
                dtype={name: "str" for name in as_text if name in names},
                encoding=encoding,
                keep_default_na=False,
                na_values={name: _EMPTY if name in as_text else list(MISSING_TOKENS) for name in names},
                low_memory=False,
            )
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, ValueError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, "csv", error) from None
    return frame if columns is None else frame[list(columns)]


def _csv_header(path: Path, encoding: str) -> list[str]:
    """The names in the first line that is not blank; also refuses what is visibly no table with commas."""
    try:
        _refuse_other_formats(path)
        with _open_text(path, encoding) as file:
            lines = (fields for fields in csv.reader(file) if fields)
            header, first = next(lines, []), next(lines, [])
    except UnicodeDecodeError:
        raise
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, "csv", error) from None
    if not header:
        raise InputError(f"{path} is empty; give a file with a header and rows")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InputError(f"{path} has one column {header[0][:60]!r}; save it with commas between the fields")
    # pandas would drop the extra fields, or shift all columns by one.
    if len(first) > len(header):
        raise InputError(f"{path} has {len(header)} names but {len(first)} fields in its first row; fix the header")
    names = [name if name else f"Unnamed: {i}" for i, name in enumerate(header)]
    _refuse_duplicates(path, names)
    return names


def _refuse_other_formats(path: Path) -> None:
    """Say what a file with the wrong name is, instead of a parser's complaint about its first bytes."""
    with _open_bytes(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        raise InputError(f"{path} is a parquet file; rename it to end in .parquet")
    if head.startswith(b"\x1f\x8b"):
        raise InputError(f"{path} is compressed with gzip; rename it to end in .csv.gz")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is in UTF-16; save it as UTF-8")
    if b"\0" in head:
        raise InputError(f"{path} is not a text file (it has zero bytes); give a csv in UTF-8")


def _refuse_control_bytes(path: Path) -> None:
    """Any bytes decode as latin-1, so a file that is not UTF-8 must at least look like text."""
    with _open_bytes(path) as file:
        while block := file.read(1 << 20):
            if len(block.translate(None, _CONTROL_BYTES)) < len(block):
                raise InputError(f"{path} is neither UTF-8 nor latin-1 text; save it as UTF-8")


def _unreadable(path: Path, kind: str, error: BaseException) -> InputError:
    reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split()) or type(error).__name__
    return InputError(f"{path} cannot be read as {kind}: {reason[:200]}; check that the file is complete")


# parquet -------------------------------------------------------------------------------------------------------------


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "parquet", error) from None


def _parquet_names(path: Path, schema: pa.Schema) -> list[str]:
    """Column names without the nameless index that pandas stores as a column."""
    names = [name for name in schema.names if not name.startswith("__index_level_")]
    _refuse_duplicates(path, names)
    return names


def _read_parquet(path: Path, columns: Sequence[str] | None, as_text: Collection[str]) -> pd.DataFrame:
    names = _parquet_names(path, _parquet_schema(path))
    if not names:
        raise InputError(f"{path} has no columns; give a file with data")
    _refuse_unknown(path, columns, names)
    try:
        # One file, not a data set: a folder such as ``day=1/`` in the path would otherwise add a column.
        with pq.ParquetFile(path) as file:
            table = file.read(columns=names)
        wanted = names if columns is None else list(columns)
        arrays = [_plain(table.column(name), as_string=name in as_text) for name in wanted]
        frame: pd.DataFrame = pa.table(arrays, names=wanted).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "parquet", error) from None
    return frame


def _plain(column: pa.ChunkedArray, *, as_string: bool) -> pa.ChunkedArray:
    """Columns as numbers, strings, booleans or timestamps: no dictionaries, decimals or bare dates."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if as_string and not pa.types.is_string(column.type):
        return column.cast(pa.string())
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us"))
    return column
