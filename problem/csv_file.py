"""Reading csv files: the parser is pandas', the dialect is found first, and every row is checked on its way."""

import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from foldsmith.problem.checked_text import CheckedText, NotUtf8Error
from foldsmith.problem.dialect import BLANKS, MISSING_TOKENS, SEPARATORS, Dialect, find_dialect
from foldsmith.problem.errors import InputError
from foldsmith.problem.raw_text import BLOCK_BYTES, DAMAGED, RawText, first_beyond_ascii, single_byte_encoding

# Files that were looked at and are still the same: path, size and time of the last change.
_KNOWN: "OrderedDict[tuple[str, int, int], Understood]" = OrderedDict()
_MOST_KNOWN = 64

_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_GROUP_OF_THREE = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")
_COMMA_NUMBER = re.compile(r"\s*[+-]?(?:\d+|\d*,\d+(?:[eE][+-]?\d+)?)\s*")


@dataclass
class Understood:
    """What is known of one version of a csv file.

    Args:
        dialect: how it is written.
        rows: what a whole reading told: blank lines and the first of them, the last line and whether it ends.
    """

    dialect: Dialect
    rows: "RowFacts | None" = None
    words: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class RowFacts:
    """What the lines of a file were like."""

    n_blank: int
    first_blank: int
    n_lines: int
    ends_with_newline: bool


def understand(path: Path) -> Understood:
    """The dialect of an existing, non-empty csv file; looked up when the file was seen before.

    Raises:
        InputError: as :func:`foldsmith.problem.dialect.find_dialect`, or a broken gz file.
    """
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _KNOWN:
        try:
            _KNOWN[key] = Understood(find_dialect(path))
        except DAMAGED as error:
            raise unreadable(path, "csv", error) from None
        while len(_KNOWN) > _MOST_KNOWN:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def read_csv(path: Path, columns: Sequence[str] | None, as_text: Collection[str]) -> pd.DataFrame:
    """Read a csv file; words stay as they are written, tokens such as ``NA`` are missing among numbers only.

    Args:
        path: an existing, non-empty file.
        columns: which to read, in this order, columns that are otherwise left out included; None reads the table's.
        as_text: columns whose cells are kept exactly as written; only blank ones are missing.

    Raises:
        InputError: whatever is wrong with the file, with the line.
    """
    known = understand(path)
    wanted = known.dialect.columns if columns is None else list(columns)
    try:
        frame = _parse(path, known, columns, as_text)
    except NotUtf8Error:
        known.dialect = find_dialect(path, single_byte_encoding(path))
        frame = _parse(path, known, columns, as_text)
    if known.dialect.decimal == "." and _has_decimal_commas(frame, known.dialect, as_text):
        known.dialect = replace(known.dialect, decimal=",")
        frame = _parse(path, known, columns, as_text)
    mixed = _mixed(frame, known, as_text)
    if mixed:  # words that the first rows did not show: their tokens must not be lost
        known.words.update(mixed)
        again = _parse(path, known, mixed, as_text)
        for name in mixed:
            frame[name] = again[name]
    _refuse_filled(path, frame, known.dialect)
    _refuse_second_header(path, frame, known.dialect)
    return frame[wanted]


def spelled_holes(path: Path, frame: pd.DataFrame, *, most_rows: int = 200_000) -> dict[str, str]:
    """How the first hole of each column of numbers is written, where that is a word such as ``NA``.

    Args:
        path: the file.
        frame: what was read from it.
        most_rows: columns whose first hole comes later are left out.
    """
    holes = frame.iloc[:most_rows].select_dtypes("float").isna()
    first = {str(name): int(row) for name, row in holes.idxmax().items()} if len(holes.columns) else {}
    first = {name: row for name, row in first.items() if holes[name].iat[row]}
    if not first:
        return {}
    rows = _parse(path, understand(path), sorted(first), sorted(first), n_rows=max(first.values()) + 1)
    cells = {name: rows[name].iloc[row] for name, row in first.items()}
    return {name: str(cell) for name, cell in cells.items() if isinstance(cell, str) and cell in MISSING_TOKENS}


def csv_remarks(path: Path) -> list[str]:
    """How a file was understood where that is not plain; complete once it was read whole."""
    known = understand(path)
    dialect, rows, name = known.dialect, known.rows, path.name
    says = []
    if dialect.encoding == "cp1252":
        line, word = first_beyond_ascii(path, dialect.encoding)
        says.append(
            f"{name} is not UTF-8 and is read as Windows-1252 (latin-1), such as {word!r} in line {line}: save it as "
            "UTF-8 if that looks wrong"
        )
    elif dialect.encoding != "utf-8":
        says.append(f"{name} is read as {dialect.encoding.removesuffix('-le').removesuffix('-be').upper()}")
    if dialect.separator != ",":
        says.append(f"{name}: fields are separated by {SEPARATORS[dialect.separator]}")
    if dialect.decimal == ",":
        says.append(f"{name}: numbers have a decimal comma")
    if dialect.cr_lines:
        says.append(f"{name}: lines end with a carriage return alone")
    says += [f"{name}: the column {one!r} is the index that pandas writes, and is left out" for one in dialect.index]
    if dialect.hollow:
        count = len(dialect.hollow)
        what = "a column without a name and cells is" if count == 1 else f"{count} columns without names and cells are"
        says.append(f"{name}: {what} left out")
    return says + (_row_remarks(name, rows, is_one=len(dialect.names) == 1) if rows else [])


def _row_remarks(name: str, rows: RowFacts, *, is_one: bool) -> list[str]:
    says = []
    if rows.n_blank:
        count = "a blank line" if rows.n_blank == 1 else f"{rows.n_blank} blank lines"
        verb = "is" if rows.n_blank == 1 else "are"
        rest = f"{verb} read as a missing cell" if is_one else f"{verb} skipped"
        says.append(f"{name}: {count}, the first line {rows.first_blank}, {rest}")
    if not rows.ends_with_newline:
        says.append(f"{name}: line {rows.n_lines}, the last, does not end as the others: check that it is complete")
    return says


def words_of(frame: pd.DataFrame) -> list[str]:
    """The columns that are no numbers and no truth values without a hole, looked up at once: there may be thousands."""
    return [str(name) for name, dtype in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]


def unreadable(path: Path, kind: str, error: BaseException) -> InputError:
    """The error for a file that a library cannot read."""
    reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split()) or type(error).__name__
    return InputError(f"{path} cannot be read as {kind}: {reason[:200]}; check that the file is complete")


# parsing ------------------------------------------------------------------------------------------------------------


def _parse(
    path: Path,
    known: Understood,
    columns: Sequence[str] | None,
    as_text: Collection[str],
    *,
    n_rows: int | None = None,
) -> pd.DataFrame:
    dialect = known.dialect
    # The parser does not count fields where it reads some columns only.
    exact = columns is not None and known.rows is None
    try:
        with RawText(path, dialect.encoding, cr_lines=dialect.cr_lines) as source:
            text = CheckedText(source, path, dialect, exact=exact)
            try:
                frame = _parse_text(text, known, columns, as_text, n_rows)
            except (InputError, NotUtf8Error):
                raise
            except Exception as error:
                raise text.fault or error from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} has a header but no rows; give a file with data") from None
    except DAMAGED as error:
        raise unreadable(path, "csv", error) from None
    except (InputError, NotUtf8Error):
        raise
    except ValueError as error:
        _scan(path, dialect)  # names the line, unless it is something else
        raise unreadable(path, "csv", error) from None
    if n_rows is None:
        if not text.is_sure and not _vouches(frame, text, known):
            text = _scan(path, dialect)
        _check_rows(path, frame, text, dialect)
        known.rows = RowFacts(text.n_blank, text.first_blank, text.n_lines, text.ends_with_newline)
    return frame


def _vouches(frame: pd.DataFrame, text: CheckedText, known: Understood) -> bool:
    """Whether the parsed rows show that quotes and fields of a large file were right.

    The parser fills rows that are too short with missing cells at their end, leaves a quote inside a cell that does
    not begin with one, and reads on over line ends where a quote is not closed.
    """
    if known.rows is not None:  # read before
        return True
    if len(frame) != text.n_rows or text.n_quotes % 2:
        return False
    last = known.dialect.names[-1]
    if not text.adds_up and (last not in frame or bool(frame[last].isna().any())):
        return False
    return not any(_has_quotes(frame[name]) for name in words_of(frame))


def _has_quotes(series: pd.Series) -> bool:
    if series.dtype == object:
        return True  # truth values and holes: seldom enough to look at the file again
    texts = pa.array(series, type=pa.large_string(), from_pandas=True)
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return any(re.search(rb'"', chunk.buffers()[2] or b"") is not None for chunk in chunks)


def _scan(path: Path, dialect: Dialect) -> CheckedText:
    """Check every line of the file."""
    with RawText(path, dialect.encoding, cr_lines=dialect.cr_lines) as source:
        text = CheckedText(source, path, dialect, exact=True)
        while text.read(BLOCK_BYTES):
            pass
    return text


def _parse_text(
    text: CheckedText, known: Understood, columns: Sequence[str] | None, as_text: Collection[str], n_rows: int | None
) -> pd.DataFrame:
    dialect = known.dialect
    names = list(dialect.names)
    texts = set(as_text)
    as_words = texts | dialect.words | known.words
    missing: Any = list(MISSING_TOKENS)
    if as_words:
        missing = {name: list(BLANKS if name in as_words else MISSING_TOKENS) for name in names}
    frame: pd.DataFrame = pd.read_csv(  # type: ignore[call-overload]
        text,
        sep=dialect.separator,
        header=None,
        names=names,
        usecols=None if columns is None else list(columns),
        index_col=False,
        dtype={name: "str" for name in names if name in texts},
        keep_default_na=False,
        na_values=missing,
        decimal=dialect.decimal,
        skip_blank_lines=len(names) > 1,
        low_memory=False,
        nrows=n_rows,
    )
    return frame


def _check_rows(path: Path, frame: pd.DataFrame, text: CheckedText, dialect: Dialect) -> None:
    if len(frame) == 0:
        raise InputError(f"{path} has a header but no rows; give a file with data")
    if len(frame) != text.n_rows:
        raise InputError(f"{path} has {text.n_rows:,} rows in {text.n_lines:,} lines, but {len(frame):,} were read")
    if len(dialect.names) == 1 and text.n_blank and text.last_blank == text.n_lines:
        raise InputError(
            f"{path}, line {text.n_lines}: a blank line at the end may be a row with a missing cell, or nothing; "
            'take it out, or write ""'
        )


def _refuse_filled(path: Path, frame: pd.DataFrame, dialect: Dialect) -> None:
    """Nameless columns that were empty in the first rows must be so in all."""
    for name in dialect.hollow:
        if name in frame and frame[name].notna().any():
            row = int(np.flatnonzero(frame[name].notna())[0])
            raise InputError(
                f"{path}, line {_line_of_row(path, dialect, row)}: column {dialect.names.index(name) + 1} has no name "
                f"and no cell but {str(frame[name].iloc[row])[:40]!r}; give it a name, or empty it"
            )


def _refuse_second_header(path: Path, frame: pd.DataFrame, dialect: Dialect) -> None:
    """Refuse files that were put together header and all: the names would be cells, and no column numbers."""
    names = [name for name in dialect.names if name in frame and name not in dialect.hollow and name in dialect.own]
    if len(names) < 2 or not set(names) <= set(words_of(frame)):
        return
    # A byte-order mark may have come along.
    is_header = frame[names[0]].isin([names[0], f"\ufeff{names[0]}"])
    for name in names[1:]:
        if not is_header.any():
            return
        is_header &= frame[name] == name
    if is_header.any():
        line = _line_of_row(path, dialect, int(np.flatnonzero(is_header)[0]))
        raise InputError(f"{path}, line {line}: the header stands here again; take the line out")


def _line_of_row(path: Path, dialect: Dialect, row: int) -> int:
    """The line in which a row of the table begins."""
    n_rows, is_inside = 0, False
    for number, line in enumerate(_lines(path, dialect)):
        is_blank = len(dialect.names) > 1 and not line.strip(b"\r")
        if not is_inside and not is_blank:
            if n_rows == row:
                return dialect.first_line + number
            n_rows += 1
        is_inside ^= line.count(b'"') % 2 == 1
    return 0


def _lines(path: Path, dialect: Dialect) -> Iterator[bytes]:
    """The lines behind the header."""
    to_skip, tail = dialect.data_start, b""
    with RawText(path, dialect.encoding, cr_lines=dialect.cr_lines) as text:
        while block := text.read(BLOCK_BYTES):
            n_skipped = min(to_skip, len(block))
            to_skip -= n_skipped
            *lines, tail = (tail + block[n_skipped:]).split(b"\n")
            yield from lines
    yield tail


def _mixed(frame: pd.DataFrame, known: Understood, as_text: Collection[str]) -> list[str]:
    """Columns of words that were read as if they were numbers, so that tokens became holes."""
    seen = known.dialect.words | known.words | set(as_text)
    return [str(name) for name in words_of(frame) if name not in seen and frame[name].isna().any()]


def has_decimal_commas(path: Path, frame: pd.DataFrame, as_text: Collection[str]) -> bool:
    """Whether numbers such as ``1,250``, which may be thousands, have a decimal comma if those of another file have.

    From then on the file is read so.
    """
    known = understand(path)
    if known.dialect.decimal == "." and _has_decimal_commas(frame, known.dialect, as_text, groups=True):
        known.dialect = replace(known.dialect, decimal=",")
        return True
    return False


def _has_decimal_commas(
    frame: pd.DataFrame, dialect: Dialect, as_text: Collection[str], *, groups: bool = False
) -> bool:
    """Whether numbers with a comma came behind the first rows, and no column has numbers with a point."""
    groups = groups or dialect.separator == ";"
    found = False
    for name in words_of(frame):
        if name in as_text:
            continue
        if not all(_COMMA_NUMBER.fullmatch(str(cell)) for cell in frame[name].head(100).dropna()):
            continue  # seen at once of most columns of words
        cells = [str(cell) for cell in frame[name].dropna().unique()]
        commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
        if commas and all(_COMMA_NUMBER.fullmatch(cell) for cell in cells):
            found = found or groups or not all(_GROUP_OF_THREE.fullmatch(cell) for cell in commas)
    return found and not any(_has_fractions(frame[name]) for name in frame.select_dtypes("float"))


def _has_fractions(series: pd.Series) -> bool:
    return bool((series.dropna() % 1 != 0).any())
