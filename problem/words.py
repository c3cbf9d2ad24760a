"""A column's cells by their distinct strings, and how a message names a cell and its line."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells

_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Words:
    """The cells of one column of one file.

    Args:
        distinct: the strings, in order of appearance; missing cells are none of them.
        codes: ``(n_rows,)`` the position of each cell in ``distinct``, -1 for missing.
    """

    distinct: list[str]
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, series: pd.Series) -> Self:
        """The cells as :func:`foldsmith.problem.cells.strings` writes them."""
        codes, uniques = cells.factorize(series)
        return cls(uniques, codes)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """``(len(distinct),)`` cells of each string."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.distinct))

    @property
    def n_present(self) -> int:
        """Cells that are not missing."""
        return int(np.count_nonzero(self.codes >= 0))

    def row(self, position: int) -> int:
        """The first row that holds a string, counted from 0."""
        return int(np.argmax(self.codes == position))


@dataclass(frozen=True)
class Source:
    """A file as messages name it.

    Args:
        name: for people.
        path: of the file, where it can be looked at; lines are counted in it.
    """

    name: str
    path: Path | None = None

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file by its own name."""
        return cls(path.name, path)

    def at(self, row: int) -> str:
        """Where a row stands, as ``train.csv line 7``; rows where lines cannot be told."""
        line = None
        if self.path is None and not self.name.endswith(".parquet"):
            line = row + 2
        elif self.path is not None:
            line = line_of(self.path, row)
        return f"{self.name} row {row + 1}" if line is None else f"{self.name} line {line}"


@dataclass(frozen=True)
class Both:
    """One column in both files.

    Args:
        name: of the column.
        train, test: its cells.
        sources: the two files.
    """

    name: str
    train: Words
    test: Words
    sources: tuple[Source, Source]

    @cached_property
    def texts(self) -> list[str]:
        """The distinct strings of both files, train's before those of test alone."""
        return list(dict.fromkeys([*self.train.distinct, *self.test.distinct]))

    @cached_property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each file the position of its distinct strings in ``texts``."""
        index = pd.Index(self.texts, dtype=object)
        files = (self.train, self.test)
        found = [np.asarray(index.get_indexer(pd.Index(words.distinct, dtype=object))) for words in files]
        return found[0], found[1]

    def counts(self, file: int) -> NDArray[np.int64]:
        """``(len(texts),)`` cells of train (0) or test (1) that hold each string."""
        total = np.zeros(len(self.texts), dtype=np.int64)
        total[self.places[file]] = (self.train, self.test)[file].counts
        return total

    def shown(self, position: int, *, file: int | None = None) -> str:
        """A string of ``texts`` with the file and line of its first cell: ``'5 kg' (train.csv line 7)``."""
        for number, words in enumerate((self.train, self.test)):
            found = np.flatnonzero(self.places[number] == position)
            if len(found) and file in (None, number):
                return cell(self.texts[position], self.sources[number].at(words.row(int(found[0]))))
        return short(self.texts[position])


def cell(text: str, place: str) -> str:
    """``'5 kg' (train.csv line 7)``."""
    return f"{short(text)} ({place})"


def short(value: object) -> str:
    """A value for a message, cut to 60 characters."""
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


def listed(values: Sequence[str], most: int = 3) -> str:
    """``'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(short(value) for value in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown


def line_of(path: Path, row: int) -> int | None:
    """The line of a csv file on which a row begins, counted from 1; None where it cannot be told from the bytes.

    Args:
        path: of the file.
        row: counted from 0, the header not counted, blank lines neither.
    """
    if not path.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")):
        return None
    try:
        lines = _row_lines(path, path.stat().st_mtime_ns)
    except (OSError, EOFError, ValueError):
        return None
    return int(lines[row + 1]) if lines is not None and row + 1 < len(lines) else None


@lru_cache(maxsize=4)
def _row_lines(path: Path, changed: int) -> NDArray[np.int64] | None:
    """The line on which each record begins, the header's first; line breaks inside quotes belong to their record."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        data = np.frombuffer(file.read(), dtype=np.uint8)
    if len(data) == 0 or (data[:64] == 0).any():  # UTF-16
        return None
    if data[-1] != ord("\n"):
        data = np.append(data, np.uint8(ord("\n")))
    ends = np.flatnonzero(data == ord("\n"))
    quotes = np.flatnonzero(data == ord('"'))
    is_end = np.searchsorted(quotes, ends) % 2 == 0
    if len(quotes) % 2:  # a stray quote: no telling what is inside
        return None
    starts = np.append(0, ends[is_end][:-1] + 1)
    lines = np.append(1, np.flatnonzero(is_end)[:-1] + 2)
    lengths = ends[is_end] - starts
    is_blank = (lengths == 0) | ((lengths == 1) & (data[starts] == ord("\r")))
    return np.asarray(lines[~is_blank])
