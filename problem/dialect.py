"""How a csv file is written: encoding, separator, decimal mark, header, and columns that are no columns."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldsmith.problem.errors import InputError
from foldsmith.problem.raw_text import BLOCK_BYTES, RawText, guess_encoding, open_bytes, single_byte_encoding

MISSING_TOKENS = ("", " ", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "<NA>", "-nan")
"""Cells of a csv file that are read as missing in a column of numbers; ``None`` is not one, it may be a category."""

BLANKS = ("", " ")
"""Cells that are missing in every column."""

SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}

_HEAD_RECORDS = 200
_SNIFFED_RECORDS = 50
_MOST_HEAD_BYTES = 1 << 30
_NAMELESS = re.compile(r"Unnamed: \d+(?:\.\d+)*")
_WHOLE = re.compile(rb"\d{1,15}")
_NUMBER = re.compile(rb"\s*[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?\s*")
_DECIMAL_COMMA = re.compile(rb"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_DECIMAL_POINT = re.compile(rb"\s*[+-]?\d*\.\d+(?:[eE][+-]?\d+)?\s*")
_GROUP_OF_THREE = re.compile(rb"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")
_EXCEL_HINT = re.compile(rb"(?i)\"?sep=([,;\t|])\"?(?:\r\n|\n|\r)")

Record = list[bytes]


@dataclass(frozen=True)
class Dialect:
    """How one csv file is written; found once per version of the file.

    Args:
        encoding: a name that Python knows; UTF-8 without a word.
        separator: between the cells of a line, one of ``SEPARATORS``.
        decimal: the mark before a number's fraction, ``"."`` or ``","``.
        cr_lines: lines end with a carriage return alone.
        names: all columns in order; one without a name is called ``Unnamed: <position>`` as in pandas.
        own: the names that stand in the header.
        index: columns that hold the row numbers which pandas writes without ``index=False``; left out.
        hollow: nameless columns without a cell, as a separator at the end of every line makes them; left out.
        words: columns of which the first rows show that they are no numbers.
        data_start: where the first row begins, in bytes of the text as UTF-8.
        first_line: the line of the first row, from 1.
    """

    encoding: str
    separator: str
    decimal: str
    cr_lines: bool
    names: tuple[str, ...]
    own: frozenset[str]
    index: tuple[str, ...]
    hollow: tuple[str, ...]
    words: frozenset[str]
    data_start: int
    first_line: int

    @property
    def columns(self) -> list[str]:
        """The columns of the table, in order."""
        return [name for name in self.names if name not in self.index and name not in self.hollow]


def find_dialect(path: Path, encoding: str | None = None) -> Dialect:
    """Look at the first rows of a csv or csv.gz file, and at all of it where they are not UTF-8.

    Args:
        path: the file.
        encoding: what it is known to be stored in.

    Raises:
        InputError: no text, no header, a name twice, a header with fewer fields than the rows.
    """
    encoding = encoding or _encoding(path)
    head, is_whole, cr_lines = _head(path, encoding)
    start, separator = _begin(head)
    if separator is None:
        separator = _sniff(head, start, is_whole)
    records = list(_records(head, start, separator, is_whole))
    if not records:
        raise InputError(f"{path} is empty; give a file with a header and rows")
    (header, data_start), rows = records[0], [cells for cells, _ in records[1:]]
    names = _names(path, header, rows)
    rows = [cells for cells in rows if len(cells) == len(names)]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    index = _index_columns(names, header, columns)
    nameless = [name for name, text in zip(names, [*header, b""], strict=False) if not text and name not in index]
    decimal = _decimal(columns, separator)
    return Dialect(
        encoding=encoding,
        separator=separator.decode(),
        decimal=decimal,
        cr_lines=cr_lines,
        names=tuple(names),
        own=frozenset(name for name, text in zip(names, header, strict=False) if text),
        index=tuple(index),
        hollow=tuple(name for name in nameless if not any(cell.strip() for cell in columns.get(name, ()))),
        words=frozenset(name for name, cells in columns.items() if _is_words(cells)),
        data_start=data_start,
        first_line=head.count(b"\n", 0, data_start) + 1,
    )


# the first bytes ----------------------------------------------------------------------------------------------------


def _encoding(path: Path) -> str:
    with open_bytes(path) as file:
        first = file.read(BLOCK_BYTES)
    if first.startswith(b"PAR1"):
        raise InputError(f"{path} is a parquet file; rename it to end in .parquet")
    if first.startswith(b"\x1f\x8b"):
        raise InputError(f"{path} is compressed with gzip; rename it to end in .csv.gz")
    if encoding := guess_encoding(first):
        return encoding
    if b"\0" in first:
        line = first.count(b"\n", 0, first.index(b"\0")) + 1
        raise InputError(
            f"{path} is not a text file (it has zero bytes, the first in line {line}); give a csv in UTF-8"
        )
    try:
        first[: max(first.rfind(b"\n"), first.rfind(b"\r")) + 1].decode()
    except UnicodeDecodeError:
        return single_byte_encoding(path)
    return "utf-8"


def _head(path: Path, encoding: str) -> tuple[bytes, bool, bool]:
    """The first lines with a line end at their end, whether they are all, and whether lines end with CR alone."""
    size = BLOCK_BYTES
    while True:
        with RawText(path, encoding) as text:
            head = b""
            while len(head) < size and (block := text.read(size - len(head))):
                head += block
            is_whole = not text.read(1)
        cr_lines = b"\r" in head and b"\n" not in head
        head = head.replace(b"\r", b"\n") if cr_lines else head
        # A header, or a first row, that is longer than the block: look at more.
        if is_whole or head.count(b"\n") > 1 or size >= _MOST_HEAD_BYTES:
            return head, is_whole, cr_lines
        size *= 8


def _begin(head: bytes) -> tuple[int, bytes | None]:
    """Where the header begins, behind blank lines and Excel's ``sep=;``, and the separator that the latter names."""
    start = len(head) - len(head.lstrip(b"\r\n"))
    hint = _EXCEL_HINT.match(head, start)
    return (hint.end(), hint[1]) if hint else (start, None)


def _sniff(head: bytes, start: int, is_whole: bool) -> bytes:
    """The separator under which the header has several fields and most rows as many; a comma where none has."""
    best, separator = (0.0, 0), b","
    for candidate in (name.encode() for name in SEPARATORS):
        widths = [len(cells) for cells, _ in _records(head, start, candidate, is_whole, _SNIFFED_RECORDS)]
        if not widths or widths[0] < 2:
            continue
        # A separator behind the last cell, in the header or in the rows alone, is nearly the same width.
        fits = [0.9 ** abs(width - widths[0]) if abs(width - widths[0]) <= 1 else 0 for width in widths]
        share = sum(fits) / len(fits)
        if (share, widths[0]) > best:
            best, separator = (share, widths[0]), candidate
    return separator


def _records(
    text: bytes, start: int, separator: bytes, is_whole: bool, limit: int = _HEAD_RECORDS
) -> Iterator[tuple[Record, int]]:
    """The records from ``start`` on, and where each ends; one that goes on behind the text is left out."""
    mark = re.escape(separator)
    field = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"([^%s\r\n]*)|([^%s\r\n]*))(%s|\r\n|\n|\r|\Z)' % (mark, mark, mark))
    place, n_records = start, 0
    cells: Record = []
    while place < len(text) and n_records < limit:
        match = field.match(text, place)
        assert match is not None, "the second branch matches anything up to a separator or a line end"
        quoted, behind, plain, end = match.groups()
        if (not end and not is_whole) or (quoted is None and plain.startswith(b'"') and not is_whole):
            return
        cells.append(plain if quoted is None else quoted.replace(b'""', b'"') + behind)
        place = match.end()
        if end == separator:
            if place < len(text):
                continue
            cells.append(b"")
        if cells != [b""]:  # no blank line
            n_records += 1
            yield cells, place
        cells = []


# what the columns are -----------------------------------------------------------------------------------------------


def _names(path: Path, header: Record, rows: Sequence[Record]) -> list[str]:
    """A name for each column; a separator at the end of all rows, or of the header alone, makes no difference."""
    widths = {len(cells) for cells in rows}
    if widths == {len(header) + 1} and not any(cells[-1] for cells in rows):
        header = [*header, b""]
    elif widths == {len(header) - 1} and not header[-1]:
        header = header[:-1]
    elif rows and len(rows[0]) > len(header):
        raise InputError(f"{path} has {len(header)} names but {len(rows[0])} fields in its first row; fix the header")
    texts = [name.decode("utf-8", "replace") for name in header]
    refuse_duplicates(path, [name for name in texts if name])
    taken = set(texts)
    names = []
    for number, name in enumerate(texts):
        if not name:
            name = f"Unnamed: {number}"
            while name in taken:
                name += ".0"
            taken.add(name)
        names.append(name)
    return names


def refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    """Refuse a header with a name twice, which pandas would rename without a word."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        shown = ", ".join(repr(name) for name in twice[:5])
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise InputError(f"{path} has {shown}{more} more than once in its header; rename or drop the repeats")


def is_nameless(name: str) -> bool:
    """Whether pandas made up the name: ``Unnamed: 0``."""
    return _NAMELESS.fullmatch(name) is not None


def _index_columns(names: Sequence[str], header: Record, columns: dict[str, tuple[bytes, ...]]) -> list[str]:
    """The leading columns without a name of their own that hold other whole numbers in every row."""
    index = []
    for name, text in zip(names, header, strict=False):
        if text and not is_nameless(name):
            break
        cells = columns.get(name, ())
        if not cells or len(set(cells)) < len(cells) or not all(_WHOLE.fullmatch(cell) for cell in cells):
            break
        index.append(name)
    return index if len(index) < len(names) else []


def _decimal(columns: dict[str, tuple[bytes, ...]], separator: bytes) -> str:
    """A comma where numbers are written with it and none with a point.

    ``1,250`` may be a thousand: alone it counts only where a semicolon, which spares the comma, separates the cells.
    """
    n_sure = n_groups = 0
    for cells in columns.values():
        present = [cell for cell in cells if cell.decode("utf-8", "replace") not in MISSING_TOKENS]
        if not present or not all(_NUMBER.fullmatch(cell) for cell in present):
            continue
        if any(_DECIMAL_POINT.fullmatch(cell) for cell in present):
            return "."
        commas = [cell for cell in present if _DECIMAL_COMMA.fullmatch(cell)]
        n_sure += sum(_GROUP_OF_THREE.fullmatch(cell) is None for cell in commas)
        n_groups += len(commas)
    return "," if n_sure or (n_groups and separator == b";") else "."


def _is_words(cells: Sequence[bytes]) -> bool:
    """Whether a cell is neither a number nor a word for missing."""
    return any(
        _NUMBER.fullmatch(cell) is None and cell.decode("utf-8", "replace") not in MISSING_TOKENS for cell in cells
    )
