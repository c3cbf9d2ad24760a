"""A csv file's text on its way to the parser: every line has the fields of the header, every quote its partner.

Parsers forgive: missing fields become missing cells, blank lines vanish, a quote that is never closed swallows rows.
Here the separators and line ends outside quotes are counted, block by block while the parser reads: as it takes no row
with more fields than the header, equal totals mean that no row has fewer. A block that does not add up is looked at
line by line.
"""

import codecs
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.dialect import SEPARATORS, Dialect
from foldsmith.problem.errors import InputError
from foldsmith.problem.raw_text import RawText

_QUOTE, _LF, _CR = 34, 10, 13
# Quotes are followed one by one in so many bytes, later only where the parsed rows look odd.
_EXACT_BYTES = 1 << 23

Bytes = NDArray[np.uint8]


class NotUtf8Error(Exception):
    """The file was taken for UTF-8, which its first lines are, but a later one is not."""


class CheckedText:
    """The rows of a csv file as UTF-8, checked while they are read.

    It looks like an open file to pandas; bytes of UTF-8 spare pandas the decoding.

    Args:
        source: the file's text from its start.
        path: for messages.
        dialect: how the file is written.
        exact: count the fields of each line, for parsers that take rows with more fields than the header.

    Attributes:
        is_sure: the rows were checked; False in large files with quotes, behind whose first megabytes only totals are
            taken: then the parsed rows must vouch for the rest, see :mod:`foldsmith.problem.csv_file`, or the file is
            read again with ``exact``.
        adds_up: where it is not sure, whether the separators are as many as they should be.
        n_quotes: where it is not sure, how many there are, but for the first megabytes.
        n_rows: records so far, without blank lines in tables of several columns.
        n_blank: blank lines; in a table of one column they are rows with a missing cell.
        first_blank, last_blank: the lines of the first and the last of them, 0 without any.
        n_lines: lines so far, the header's included.
        ends_with_newline: whether the last line ends as the others; known at the end.
        fault: what a check raised; parsers replace exceptions by their own.
    """

    def __init__(self, source: RawText, path: Path, dialect: Dialect, *, exact: bool = False) -> None:
        self.is_sure = True
        self.adds_up = True
        self.n_quotes = 0
        self.n_rows = 0
        self.n_blank = 0
        self.first_blank = 0
        self.last_blank = 0
        self.n_lines = dialect.first_line - 1
        self.ends_with_newline = True
        self.fault: Exception | None = None
        self._source = source
        self._path = path
        self._separator = dialect.separator.encode()
        self._n_fields = len(dialect.names)
        self._row = self._separator * (self._n_fields - 1) + b"\n"
        self._no_structure = bytes(set(range(256)) - {_QUOTE, _LF, self._separator[0]})
        self._exact = exact or self._n_fields == 1
        self._to_skip = dialect.data_start
        self._decoder = codecs.getincrementaldecoder("utf-8")() if dialect.encoding == "utf-8" else None
        self._tail: list[bytes] = []  # the beginning of a line whose end is still to come
        self._n_seen = 0
        self._quotes = _Quotes(path, self._separator[0])
        self._record = b""  # the separators of a record that goes on behind a line end in quotes

    def __iter__(self) -> "CheckedText":  # pandas asks for it, and never uses it
        return self

    def __next__(self) -> bytes:
        raise StopIteration

    def read(self, size: int = -1) -> bytes:
        """About ``size`` bytes more; empty at the end only.

        Raises:
            InputError: a line has too few or too many fields, a quote is wrong, the file ends inside a cell.
            NotUtf8Error: the file is not UTF-8.
        """
        try:
            block = self._source.read(size if size > 0 else 1 << 18)
            block = self._check_text(block)
            while self._to_skip and block:
                n_skipped = min(self._to_skip, len(block))
                self._to_skip -= n_skipped
                block = block[n_skipped:] or self._check_text(self._source.read(1 << 18))
            if block:
                self._check_rows(block)
            else:
                self._check_end()
        except Exception as error:
            self.fault = error
            raise
        return block

    def _check_text(self, block: bytes) -> bytes:
        if b"\0" in block:
            line = self.n_lines + block.count(b"\n", 0, block.index(b"\0")) + 1
            raise InputError(
                f"{self._path} is not a text file (it has zero bytes, the first in line {line} or after); "
                "check that it is complete"
            )
        if self._decoder is not None and (not block.isascii() or self._decoder.getstate()[0] or not block):
            try:
                self._decoder.decode(block, final=not block)
            except UnicodeDecodeError:
                raise NotUtf8Error from None
        return block

    def _check_rows(self, block: bytes) -> None:
        cut = block.rfind(b"\n") + 1
        if cut == 0:
            self._tail.append(block)
            return
        if not self._exact and self._n_seen >= _EXACT_BYTES and b'"' in block:
            self.is_sure = False
        n_lines = self._glance(block, block[cut:])
        if n_lines:
            self.n_rows += n_lines
            self.n_lines += n_lines
        else:
            self._check_lines(b"".join([*self._tail, block[:cut]]))
        self._tail = [block[cut:]]
        self._n_seen += cut

    def _glance(self, block: bytes, rest: bytes) -> int:
        """How many lines end in a block, if the totals show that they are right, else 0: look at them one by one.

        Args:
            block: bytes with a line end; its first line may begin in the tail.
            rest: what stands behind its last line end.
        """
        if self._exact or (self.is_sure and (self._quotes.is_inside or self._record)):
            return 0
        codes = np.frombuffer(block, np.uint8)
        is_end = codes == _LF
        n_lines = int(np.count_nonzero(is_end))
        n_separators = _count(codes, self._separator[0])
        n_separators += self._in_tail(self._separator) - rest.count(self._separator)
        adds_up = n_separators == n_lines * (self._n_fields - 1)
        if not self.is_sure:
            self.n_quotes += _count(codes, _QUOTE)
            self.adds_up &= adds_up
            return n_lines
        if not adds_up or b'"' in block or self._in_tail(b'"'):
            return 0
        if b"\r" in block:  # each must stand before a line feed; one at the block's end asks for a closer look
            is_return = codes == _CR
            if np.count_nonzero(is_return) != np.count_nonzero(is_return[:-1] & is_end[1:]):
                return 0
        return n_lines

    def _in_tail(self, mark: bytes) -> int:
        return sum(piece.count(mark) for piece in self._tail)

    def _check_end(self) -> None:
        last = b"".join(self._tail)
        self._tail = []
        if last:
            self.ends_with_newline = False
        if not self.is_sure:
            self.n_rows += bool(last)
            self.n_lines += bool(last)
            return
        if last:
            self._check_lines(last + b"\n")
        self._quotes.check_end()

    def _check_lines(self, lines: bytes) -> None:
        """Lines with their ends: the first may go on with a record, the last may leave one open."""
        was_inside = self._quotes.is_inside
        is_quoted = self._quotes.follow(lines, self.n_lines)
        if b"\r" in lines:
            self._check_returns(lines, is_quoted=is_quoted, was_inside=was_inside)
        structure = self._structure(lines, is_quoted=is_quoted, was_inside=was_inside)
        records = self._record + structure
        whole = records.rfind(b"\n") + 1
        n_records = records.count(b"\n")
        is_right = records[:whole] == self._row * n_records
        if is_right and self._n_fields > 1:
            self.n_rows += n_records
        else:
            self._count_records(lines, is_quoted=is_quoted, was_inside=was_inside)
        self._record = records[whole:]
        self.n_lines += lines.count(b"\n")

    def _structure(self, lines: bytes, *, is_quoted: bool, was_inside: bool) -> bytes:
        """Separators and line ends outside quotes."""
        marks = lines.translate(None, self._no_structure)
        if not is_quoted:
            return marks.replace(b'"', b"")
        codes = np.frombuffer(marks, np.uint8)
        outside = ~_is_inside(codes, was_inside) & (codes != _QUOTE)
        kept: Bytes = codes[outside]
        return kept.tobytes()

    def _count_records(self, lines: bytes, *, is_quoted: bool, was_inside: bool) -> None:
        """Go through the records one by one: blank lines are counted, other widths than the header's refused."""
        codes = np.frombuffer(lines, np.uint8)
        is_end, is_separator = codes == _LF, codes == self._separator[0]
        if is_quoted:
            outside = ~_is_inside(codes, was_inside)
            is_end &= outside
            is_separator &= outside
        ends = np.flatnonzero(is_end)
        if len(ends) == 0:
            return
        counts = np.diff(np.searchsorted(np.flatnonzero(is_separator), ends), prepend=0)
        counts[0] += len(self._record)
        starts = np.concatenate([[0], ends[:-1] + 1])
        self.n_rows += len(ends)
        is_one = self._n_fields == 1
        is_empty = (ends == starts) | ((ends == starts + 1) & (codes[starts] == _CR))
        odd = np.flatnonzero(is_empty if is_one else (counts != self._n_fields - 1))
        for record in odd:
            line = self.n_lines + lines.count(b"\n", 0, int(starts[record])) + 1
            text = lines[starts[record] : ends[record]]
            goes_on = record == 0 and (was_inside or self._record)
            if text.strip(b"\r") == b"" and not goes_on:
                self._count_blank(line)
            elif counts[record] != self._n_fields - 1:
                raise self._wrong_width(line, int(counts[record]) + 1, text)
        wide = np.flatnonzero(counts != 0) if is_one else ()
        for record in wide:
            line = self.n_lines + lines.count(b"\n", 0, int(starts[record])) + 1
            raise self._wrong_width(line, int(counts[record]) + 1, lines[starts[record] : ends[record]])

    def _count_blank(self, line: int) -> None:
        self.n_blank += 1
        self.first_blank = self.first_blank or line
        self.last_blank = line
        self.n_rows -= self._n_fields > 1

    def _wrong_width(self, line: int, n_found: int, text: bytes) -> InputError:
        shown = text.decode("utf-8", "replace").strip()
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        return InputError(
            f"{self._path}, line {line}: expected {self._n_fields} field{'s' if self._n_fields > 1 else ''}, found "
            f"{n_found}: {shown!r}; repair the line (fields are separated by {SEPARATORS[self._separator.decode()]})"
        )

    def _check_returns(self, lines: bytes, *, is_quoted: bool, was_inside: bool) -> None:
        """Refuse a carriage return outside quotes that is not part of a line end: parsers end the line there."""
        if lines.count(b"\r") == lines.count(b"\r\n"):
            return
        codes = np.frombuffer(lines, np.uint8)
        returns = np.flatnonzero(codes == _CR)
        alone = returns[codes[returns + 1] != _LF]  # a line feed ends the lines
        if is_quoted:
            alone = alone[~_is_inside(codes, was_inside)[alone]]
        for place in alone:
            # Windows doubles the return where csv files are written in text mode: a blank line for most parsers.
            if lines[place : place + 3] == b"\r\r\n" and self._n_fields > 1:
                continue
            line = self.n_lines + lines.count(b"\n", 0, int(place)) + 1
            raise InputError(
                f"{self._path}, line {line}: a carriage return stands inside the line, the others end with a line "
                "feed; take it out, or put the cell into quotes"
            )


class _Quotes:
    """Whether quotes are used as csv files use them; kept from block to block.

    A file without any cell that begins with a quote has none: there ``5" pipe`` is text. In a file with quoted cells
    every quote opens a cell, closes one or is doubled inside one.
    """

    def __init__(self, path: Path, separator: int) -> None:
        self.is_inside = False
        self._path = path
        self._separator = separator
        self._is_used = False
        self._bare_line = 0
        self._opened_line = 0

    def follow(self, lines: bytes, n_before: int) -> bool:
        """Go on over whole lines; whether their quotes are those of cells.

        Raises:
            InputError: a quote that neither opens nor closes a cell.
        """
        codes = np.frombuffer(lines, np.uint8)
        places = np.flatnonzero(codes == _QUOTE)
        if len(places) == 0:
            return self.is_inside
        before = codes[places - 1]  # in front of the first byte stands the last, which is a line feed as well
        behind = codes[places + 1]
        if not self._is_used:
            self._is_used = bool(self._is_border(before).any())
            if not self._is_used:
                self._bare_line = self._bare_line or self._line(lines, n_before, int(places[0]))
                return False
        if self._bare_line:
            raise self._bare(self._bare_line)
        opens = (np.arange(len(places)) + self.is_inside) % 2 == 0
        wrong = np.where(opens, ~self._is_border(before), ~self._is_border(behind))
        wrong &= np.where(opens, before, behind) != _QUOTE
        if wrong.any():
            self._refuse(lines, n_before, places, opens, int(np.flatnonzero(wrong)[0]))
        self.is_inside = bool((len(places) + self.is_inside) % 2)
        if self.is_inside:
            self._opened_line = self._line(lines, n_before, int(places[-1]))
        return True

    def check_end(self) -> None:
        """Refuse an end inside quotes."""
        if self.is_inside:
            raise InputError(
                f"{self._path}, line {self._opened_line}: the file ends inside the quoted cell that begins here; "
                "check that the file is complete, or close the quote"
            )

    def _is_border(self, codes: Bytes) -> NDArray[np.bool_]:
        return np.asarray((codes == self._separator) | (codes == _LF) | (codes == _CR))

    def _refuse(
        self, lines: bytes, n_before: int, places: NDArray[np.int64], opens: NDArray[np.bool_], wrong: int
    ) -> None:
        if opens[wrong]:
            raise self._bare(self._line(lines, n_before, int(places[wrong])))
        # The quote that opened the cell may be the wrong one: without it this one would have opened the next.
        line = self._opened_line if wrong == 0 else self._line(lines, n_before, int(places[wrong - 1]))
        raise InputError(
            f"{self._path}, line {line}: the quoted cell that begins here goes on behind its closing quote; "
            "double the quotes inside the cell, or close it"
        )

    def _bare(self, line: int) -> InputError:
        return InputError(
            f"{self._path}, line {line}: a quote stands inside a cell that does not begin with one, though other cells "
            "of the file are quoted; quote the cell and double the quote, or take it out"
        )

    @staticmethod
    def _line(lines: bytes, n_before: int, place: int) -> int:
        return n_before + lines.count(b"\n", 0, place) + 1


def _count(codes: Bytes, code: int) -> int:
    return int(np.count_nonzero(codes == code))


def _is_inside(codes: Bytes, was_inside: bool) -> NDArray[np.bool_]:
    """Whether each byte stands inside quotes; the opening quote does, the closing one does not."""
    parity = np.bitwise_xor.accumulate((codes == _QUOTE).view(np.uint8))
    return np.asarray(parity.astype(bool) ^ was_inside)
