"""Whether a column of words is one of dates, and how its cells are read: decided over both files."""

import re

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.cells import is_missing_word
from foldsmith.problem.decided import ColumnReading, is_too_much
from foldsmith.problem.errors import InputError
from foldsmith.problem.settings import advice
from foldsmith.problem.time_formats import (
    EPOCHS,
    ISO,
    MISSING_TIME,
    SEPARATOR,
    YEARS,
    Order,
    Parsed,
    in_order,
    look_like_dates,
    parse,
)
from foldsmith.problem.words import Both

LEAST_READABLE = 0.99
"""Share of train's cells that must be dates."""
_STRAYS = 0.01
_ZONE = re.compile(r"(?:[A-Za-z]{1,5}|[+-]\d\d(?::?\d\d)?)$")
_SAMPLE = 256
_LABELLED = 20_000


def date_reading(both: Both, setting: str = "", *, is_set: bool = False) -> ColumnReading:
    """The formats of a column in both files.

    Args:
        both: the column's cells.
        setting: the user's reading, see :mod:`foldsmith.problem.settings`.
        is_set: the user says that it holds dates: half of train's cells are enough.

    Raises:
        InputError: day and month stand in two orders, or the test file holds something else than dates.
    """
    if not is_set and not _may_be_dates(both):
        return ColumnReading(None)
    return _Decision(both, setting, is_set=is_set).reading()


def _may_be_dates(both: Both) -> bool:
    files = [_sample(words.distinct) for words in (both.train, both.test)]
    looks = [look_like_dates(texts) for texts in files]
    if looks[0]:
        return True
    return look_like_dates(files[0], or_digits=True) and (looks[1] or _has_dates(files[0]))


def _sample(texts: list[str]) -> list[str]:
    """Texts from all over a list, without words for missing."""
    return [text for text in texts[:: max(1, len(texts) // _SAMPLE)] if not is_missing_word(text)]


def _has_dates(texts: list[str]) -> bool:
    """Whether some texts have the shape of a date, so that digits beside them may be points in time."""
    return any(look_like_dates([text]) for text in texts)


class _Decision:
    """One column on its way to a reading."""

    def __init__(self, both: Both, setting: str, *, is_set: bool) -> None:
        self.both = both
        self.is_set = is_set
        self.pattern = setting.replace("-", " ") if setting.replace("-", " ") in EPOCHS else setting
        self.order: Order | None = None
        if setting in ("day-first", "month-first"):
            self.order = "day" if setting == "day-first" else "month"
            self.pattern = ""
        self.parsed = self._parse()
        self.counts = (both.counts(0), both.counts(1))
        self.is_word = self.parsed.formats != ""
        for row in map(int, np.flatnonzero(~self.is_word)):
            self.is_word[row] = not is_missing_word(both.texts[row])
        self.remarks: list[str] = []

    def _parse(self) -> Parsed:
        wanted = self.pattern
        if self.is_set and not wanted and _are_years(self.both.train.distinct):
            wanted = YEARS
        return parse(self.both.texts, wanted)

    def reading(self) -> ColumnReading:
        both, name = self.both, self.both.name
        readable = (self.parsed.month_first != MISSING_TIME) | (self.parsed.day_first != MISSING_TIME)
        lost = self._share(0, ~readable)
        if lost > (0.5 if self.is_set else 1 - LEAST_READABLE):
            if lost < 0.5 and not self.is_set:
                example = self._example(~readable & self.is_word, 0)
                self.remarks.append(
                    f"column {name!r} holds dates but for {lost:.0%} of its cells, such as {example}, and is taken as "
                    f"words; correct them, or make them missing with {advice(name, 'datetime')}"
                )
            elif not self.is_set and look_like_dates(_sample(both.train.distinct)):
                self.remarks.append(
                    f"column {name!r} looks like dates, such as {self._example(~readable & self.is_word, 0)}, but in "
                    "no format that is known, and is taken as words; write them as 2021-03-15 10:30"
                )
            return ColumnReading(None, tuple(self.remarks))
        self._decide_order()
        values = self.parsed.micros(self.order)
        lost_in_test = self._share(1, values == MISSING_TIME)
        n_present = int(self.counts[1][self.is_word].sum())
        if is_too_much(round(lost_in_test * n_present), n_present, is_set=self.is_set):
            good = self._example(values != MISSING_TIME, 0)
            bad = self._example((values == MISSING_TIME) & self.is_word, 1)
            raise InputError(
                f"column {name!r} holds dates in {both.sources[0].name}, such as {good}, but {lost_in_test:.0%} of the "
                f"cells of {both.sources[1].name} are none that can be read, such as {bad}; write them alike, or leave "
                f"the column out with {advice(name, 'constant')}"
            )
        formats = self.parsed.names(self.order)
        if self.pattern and self.pattern not in formats:
            formats.insert(0, self.pattern)
        self._tell_formats(formats, values)
        return ColumnReading(SEPARATOR.join(formats), tuple(self.remarks))

    def _decide_order(self) -> None:
        parsed, name = self.parsed, self.both.name
        if self.order is not None:
            return
        n_day, n_month = (int(self._cells(mask)) for mask in (parsed.only_day, parsed.only_month))
        if n_day or n_month:
            if min(n_day, n_month) > _STRAYS * (n_day + n_month):
                raise InputError(
                    f"column {name!r} has dates with the day first, such as {self._example(parsed.only_day)}, and with "
                    f"the month first, such as {self._example(parsed.only_month)}; write them in one way, or say which "
                    f"it is with {advice(name, 'datetime:day-first')}"
                )
            self.order = "day" if n_day > n_month else "month"
            proof = parsed.only_day if n_day > n_month else parsed.only_month
            if self._files_differ(proof, parsed.either):
                self.remarks.append(
                    f"column {name!r}: dates have the {self.order} first, as {self._example(proof)} tells, so "
                    f"{self._example(parsed.either)} is {self._shown(parsed.either)}"
                )
        elif parsed.either.any():
            self.order = "month"
            self.remarks.append(
                f"column {name!r}: no cell tells whether the day or the month is first; read month first, "
                f"{self._example(parsed.either)} as {self._shown(parsed.either)}; otherwise set "
                f"{advice(name, 'datetime:day-first')}"
            )

    def _tell_formats(self, formats: list[str], values: NDArray[np.int64]) -> None:
        """Several formats in one column, or another one in test, are told with a cell of each."""
        name, used = self.both.name, self.parsed.formats
        kinds = {} if self.pattern else self._kinds(used, values)
        if len(kinds) > 1:
            examples = [self._example(mask) for mask in kinds.values()]
            self.remarks.append(
                f"column {name!r} holds dates in {len(kinds)} formats, {' and '.join(examples[:3])}; each is read by "
                "itself, without a time zone as UTC"
            )

    def _kinds(self, used: NDArray[np.object_], values: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
        """Cells of each format, where ISO dates with a clock, without one and with a zone are told apart by file."""
        texts = self.both.texts
        order: Order = self.order or "month"
        names = {name: in_order(str(name), order).replace("%B", "%b") for name in set(used)}
        labels = np.array([names[name] for name in used], dtype=object)
        labels[values == MISSING_TIME] = ""
        iso = np.flatnonzero(labels == ISO)
        step = max(1, len(iso) // _LABELLED)
        for row in map(int, iso[::step]):
            labels[row] = _label(texts[row])
        if step > 1:  # the rest is like those that were looked at
            labels[labels == ISO] = ""
        return {str(label): labels == label for label in dict.fromkeys(labels) if label}

    def _files_differ(self, proof: NDArray[np.bool_], either: NDArray[np.bool_]) -> bool:
        """Whether only one file tells the order and the other needs it."""
        return any(self.counts[file][either].sum() and not self.counts[file][proof].sum() for file in (0, 1))

    def _share(self, file: int, mask: NDArray[np.bool_]) -> float:
        counts = self.counts[file]
        total = int(counts[self.is_word].sum())
        return float(counts[mask & self.is_word].sum()) / total if total else 0.0

    def _cells(self, mask: NDArray[np.bool_]) -> int:
        return int(self.counts[0][mask].sum() + self.counts[1][mask].sum())

    def _example(self, mask: NDArray[np.bool_], file: int | None = None) -> str:
        """A cell of a mask with its place; of the given file."""
        found = np.flatnonzero(mask if file is None else mask & (self.counts[file] > 0))
        return self.both.shown(int(found[0]), file=file)

    def _shown(self, mask: NDArray[np.bool_]) -> str:
        value = self.parsed.micros(self.order)[int(np.flatnonzero(mask)[0])]
        return str(np.datetime64(int(value), "us"))[:10]


def _are_years(texts: list[str]) -> bool:
    return bool(texts) and all(len(text) == 4 and text.isdecimal() for text in texts[:64])


def _label(text: str) -> str:
    """An ISO date with a clock, without one, or with a time zone."""
    clock = len(text) > 10
    zone = clock and _ZONE.search(text[10:]) is not None
    digits = "" if any(mark in text[:8] for mark in "-/.") else " in digits"
    return f"{ISO}{' with a clock' if clock else ''}{' and a zone' if zone else ''}{digits}"
