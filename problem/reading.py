"""Reading csv and parquet files: one line for every failure, and every row as it stands in the file.

How csv files are written is in :mod:`foldsmith.problem.dialect`, what is checked of their lines in
:mod:`foldsmith.problem.checked_text`, which cells are holes in :mod:`foldsmith.problem.holes`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from foldsmith.problem import csv_file
from foldsmith.problem.csv_file import csv_remarks, read_csv, spelled_holes, understand
from foldsmith.problem.dialect import BLANKS, MISSING_TOKENS
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.files import file_digest
from foldsmith.problem.holes import without_tokens
from foldsmith.problem.parquet_file import parquet_index, parquet_names, read_parquet

__all__ = [
    "BLANKS",
    "MISSING_TOKENS",
    "decimal_mark",
    "fingerprint",
    "has_decimal_comma",
    "index_columns",
    "is_csv",
    "number_holes",
    "read_frame",
    "read_header",
    "read_words",
    "remarks",
]

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet")


def read_frame(
    path: Path, *, columns: Sequence[str] | None = None, as_text: Collection[str] = (), keep_na: Collection[str] = ()
) -> pd.DataFrame:
    """Read a csv, csv.gz or parquet file; dates stay strings, and ``None`` in a csv stays a string.

    In a csv the tokens of ``MISSING_TOKENS`` are missing, but for the columns of ``as_text`` and ``keep_na``, where
    only blank cells are.

    Args:
        path: a file ending in .csv, .tsv, .txt, these with .gz, or .parquet.
        columns: the columns to read, in this order; None reads all but the index that pandas writes and nameless
            columns without a cell, which can be asked for.
        as_text: columns read as strings exactly as written, so that an id ``00123`` keeps its zeros and an id ``NA``
            stays one; names that the file lacks are ignored.
        keep_na: columns of words in which ``NA`` and its like are words; names that the file lacks are ignored.

    Returns:
        A frame of at least one row with a default index.

    Raises:
        InputError: the file is missing, a folder, empty, without rows, not readable as its suffix says, has a column
            name twice, or a line that does not fit: it names the line.
        UnknownNameError: a name of ``columns`` is not in the file.
    """
    texts = {*as_text, *keep_na}
    frame = read_words(path, columns=columns, as_text=texts)
    if not is_csv(path):
        return frame
    return without_tokens(frame, [name for name in frame.columns if name not in texts])


def read_words(path: Path, *, columns: Sequence[str] | None = None, as_text: Collection[str] = ()) -> pd.DataFrame:
    """As :func:`read_frame`, but ``NA`` and its like stay as they are in all columns of words."""
    if _suffix(path) == ".parquet":
        names = parquet_names(path)
        if not names:
            raise InputError(f"{path} has no columns; give a file with data")
        _refuse_unknown(path, columns, names)
        index = parquet_index(path) if columns is None else []
        wanted = [name for name in names if name not in index] if columns is None else list(columns)
        frame = read_parquet(path, wanted, as_text)
    else:
        _refuse_unknown(path, columns, understand(path).dialect.names)
        frame = read_csv(path, columns, as_text)
    if len(frame) == 0:
        raise InputError(f"{path} has a header but no rows; give a file with data")
    return frame


def read_header(path: Path) -> list[str]:
    """The columns that :func:`read_frame` gives, in order; an empty name becomes ``Unnamed: <position>`` as in pandas.

    Raises:
        InputError: as in :func:`read_frame`, after a look at the first rows only.
    """
    if _suffix(path) == ".parquet":
        index = parquet_index(path)
        return [name for name in parquet_names(path) if name not in index]
    return understand(path).dialect.columns


def index_columns(path: Path) -> list[str]:
    """The columns that are left out because they number the rows, as pandas writes them without ``index=False``."""
    if _suffix(path) == ".parquet":
        return parquet_index(path)
    return list(understand(path).dialect.index)


def decimal_mark(path: Path) -> str:
    """What stands before the fraction of the file's numbers, a point or a comma; known once it was read."""
    return understand(path).dialect.decimal if is_csv(path) else "."


def has_decimal_comma(path: Path, frame: pd.DataFrame, as_text: Collection[str] = ()) -> bool:
    """Whether a file whose numbers ``1,250`` may be thousands is to be read again, as another file has decimal commas.

    Args:
        path: the file.
        frame: its content as read.
        as_text: the columns that were read as text.
    """
    return is_csv(path) and csv_file.has_decimal_commas(path, frame, as_text)


def number_holes(path: Path, frame: pd.DataFrame) -> dict[str, str]:
    """How the holes of columns of numbers are written, by column, where that is a word such as ``NA``.

    Args:
        path: the file.
        frame: its content.
    """
    return spelled_holes(path, frame) if is_csv(path) else {}


def remarks(path: Path) -> list[str]:
    """How a file was understood where that is not plain from it, one sentence each; complete once it was read."""
    if is_csv(path):
        return csv_remarks(path)
    return [
        f"{path.name}: the column {one!r} is the index that pandas writes, and is left out"
        for one in parquet_index(path)
    ]


def fingerprint(path: Path) -> str:
    """Digest of a file's content, 32 hexadecimal digits; the name does not matter.

    Raises:
        InputError: the file is missing or a folder.
    """
    _require_file(path)
    return file_digest(path)


def is_csv(path: Path) -> bool:
    """Whether the file is one of text, compressed or not; the name does not tell its separator."""
    return path.name.lower().endswith(SUFFIXES[:-1])


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


def _refuse_unknown(path: Path, columns: Sequence[str] | None, names: Sequence[str]) -> None:
    for column in columns or ():
        if column not in names:
            raise UnknownNameError(f"column in {path}", column, names)
