"""Dates as people write them: what each cell says, which formats a column has, and whether the day or month is first.

A cell is read by every format that can only mean one thing, so that one column may hold several. Where day and month
could change places (``01/02/2011``), one order holds for the whole column, in both files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Order = Literal["day", "month"]

MISSING_TIME = int(np.iinfo(np.int64).min)
"""The missing value among int64 microseconds; it is also NumPy's NaT."""

ISO = "ISO8601"
SEPARATOR = " | "
"""Between the formats of a column that has several."""

EPOCHS = {
    "epoch seconds": (r"\d{10}(?:\.\d*)?", 1e6),
    "epoch milliseconds": (r"\d{13}(?:\.\d*)?", 1e3),
    "epoch microseconds": (r"\d{16}(?:\.0*)?", 1.0),
    "epoch nanoseconds": (r"\d{19}(?:\.0*)?", 1e-3),
}
"""Numbers that count from 1970: their digits, and microseconds in one. Ten digits begin in 2001 and end in 2286."""

YEARS = "%Y"
_CLOCKS = (
    *("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p", " %I:%M:%S%p", " %I:%M%p"),
    *(" %H:%M:%S%z", " %H:%M%z", " %H:%M:%S.%f%z", " %H", "T%H:%M:%S", "T%H:%M"),
)
_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y"),
    *("%d-%B-%Y", "%d/%b/%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%b-%d-%Y", "%d. %B %Y", "%d. %b %Y"),
    *("%Y-%b-%d", "%Y %b %d", "%d %b, %Y", "%d %B, %Y", "%d%b%Y"),
)
_ODD = (
    *("%a, %d %b %Y %H:%M:%S %Z", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y"),
    *("%a %b %d %H:%M:%S %Z %Y", "%d/%b/%Y:%H:%M:%S %z", "%H:%M:%S %d.%m.%Y", "%H:%M %d.%m.%Y"),
    *(
        "%b %Y",
        "%B %Y",
        "%Y年%m月%d日",
        "%Y-%m-%dT%H%M%S",
        "%Y%m%d %H%M%S",
        "%Y%m%dT%H%M%S",
        "%Y%m%d%H%M%S",
        "%d%b%Y:%H:%M:%S",
    ),
)
PLAIN_FORMATS = (ISO, *(date + clock for date in _DATES for clock in _CLOCKS), *_ODD)
"""Formats that can be mistaken for no other."""

_PAIRS = (("%m/%d/%Y", "%d/%m/%Y"), ("%m-%d-%Y", "%d-%m-%Y"), ("%m/%d/%y", "%d/%m/%y"))
ORDERED_FORMATS = tuple((month + clock, day + clock) for month, day in _PAIRS for clock in _CLOCKS)
"""Formats in which day and month could change places: month first, day first."""

_MONTH_FIRST = {month for month, _ in ORDERED_FORMATS}
_DAY_FIRST = {day for _, day in ORDERED_FORMATS}

# Zones that have one meaning; CST, IST and BST have several.
_ZONES = dict(
    CET="+01:00",
    CEST="+02:00",
    EET="+02:00",
    EEST="+03:00",
    WET="+00:00",
    WEST="+01:00",
    MSK="+03:00",
    EST="-05:00",
    EDT="-04:00",
    MDT="-06:00",
    PST="-08:00",
    PDT="-07:00",
    JST="+09:00",
)
# What stands around a date without changing it; replaced before the second try.
_SPELLINGS = (
    (r"\s+", " "),
    (r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", ""),
    (r"(?i)\b(\d{1,2})(?:st|nd|rd|th)\b", r"\1"),
    (r"(?i)\b(jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec)\. ?", r"\1 "),
    (r"(?i)\bsept\b", "sep"),
    (r",? (?:at )?(\d{1,2}:\d\d)", r" \1"),
    (r"(:\d\d),(\d+)", r"\1.\2"),
    (r"(?i)([ap])\.m\.$", r"\1m"),
    (r"(?i) ?(?:utc|gmt)([+-]\d)", r"\1"),
    (r"(?i) ?(?:utc|gmt|(?<=\d)z)$", "+00:00"),
    *((rf"(?i)(:\d\d) ?{name}$", rf"\g<1>{offset}") for name, offset in _ZONES.items()),
    (r" ([+-]\d\d:?\d\d)$", r"\1"),
    (r"^(\d{4})/(\d{1,2})/(\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{8})\.0*$", r"\1"),
)
# A date has a year of four digits or two numbers beside it, and a separator; "2011" and "1.5" are numbers.
_LOOKS_LIKE_DATE = (
    r"\d{4}\s*[-/.年]\s*\d|\d[-/. ]\s*\w+[-/., ]+\s*\d|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|^[A-Za-z]{3,9},? \d{4}$"
    r"|^\d{1,2}[A-Za-z]{3}\d{4}|^\d{1,2}(?:st|nd|rd|th) [A-Za-z]{3,9},? \d{4}"
)
_DIGITS = r"\d{8}(?:\.0*)?|\d{14}|" + "|".join(digits for digits, _ in EPOCHS.values())
_SAMPLE = 256


@dataclass(frozen=True)
class Parsed:
    """What texts say as dates.

    Args:
        month_first, day_first: int64 ``(n,)`` microseconds since 1970 UTC under either order, ``MISSING_TIME`` where
            the text is no date; equal where the order does not matter.
        formats: ``(n,)`` the format of each text, of the month-first kind where both orders fit, '' for no date.
    """

    month_first: NDArray[np.int64]
    day_first: NDArray[np.int64]
    formats: NDArray[np.object_]

    def micros(self, order: Order | None) -> NDArray[np.int64]:
        """The times under one order; month first without one."""
        return self.day_first if order == "day" else self.month_first

    @property
    def only_day(self) -> NDArray[np.bool_]:
        """Texts that can only have the day first."""
        return np.asarray((self.month_first == MISSING_TIME) & (self.day_first != MISSING_TIME))

    @property
    def only_month(self) -> NDArray[np.bool_]:
        """Texts that can only have the month first."""
        return np.asarray((self.day_first == MISSING_TIME) & (self.month_first != MISSING_TIME))

    @property
    def either(self) -> NDArray[np.bool_]:
        """Texts that say two days, depending on the order."""
        return np.asarray((self.month_first != self.day_first) & ~self.only_day & ~self.only_month)

    def certain(self, order: Order | None) -> NDArray[np.int64]:
        """The times under a column's order; without one, what the texts themselves leave no doubt about."""
        if order is not None:
            return self.micros(order)
        has_day, has_month = bool(self.only_day.any()), bool(self.only_month.any())
        if has_day != has_month:
            return self.micros("day" if has_day else "month")
        return np.where(self.month_first == self.day_first, self.month_first, MISSING_TIME)

    def names(self, order: Order | None) -> list[str]:
        """The formats in use under an order, the most frequent first."""
        found = pd.Series(self.formats[self.micros(order) != MISSING_TIME]).value_counts()
        names = [str(name) for name in found.index]
        return names if order is None else list(dict.fromkeys(in_order(name, order) for name in names))


def in_order(name: str, order: Order) -> str:
    """A format with day and month in an order, others as they are."""
    for month, day in ORDERED_FORMATS:
        if name in (month, day):
            return day if order == "day" else month
    return name


def order_of(formats: str) -> Order | None:
    """The order that a column's formats have; None where none of them has two sides."""
    names = set(formats.split(SEPARATOR))
    if names & _DAY_FIRST:
        return "day"
    return "month" if names & _MONTH_FIRST else None


def parse(texts: Sequence[str], formats: str = "") -> Parsed:
    """Read every text by itself; a format of the column is tried before all others.

    Args:
        texts: distinct strings.
        formats: of the column, with ``SEPARATOR`` between them; only these make years of ``2011``.
    """
    reader = _Reader(texts)
    wanted = [name for name in formats.split(SEPARATOR) if name]
    for name in wanted:
        if name not in _MONTH_FIRST | _DAY_FIRST:
            reader.read(name)
    reader.read_plain(may_sample=not wanted)
    reader.respell()
    reader.read_plain(may_sample=not wanted)
    return reader.parsed()


class _Reader:
    """Reads texts format by format; each text by the first that fits."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = pd.Series(list(texts), dtype="str")
        self.month = np.full(len(texts), MISSING_TIME, dtype=np.int64)
        self.day = self.month.copy()
        self.formats = np.full(len(texts), "", dtype=object)

    def left(self) -> NDArray[np.intp]:
        return np.flatnonzero((self.month == MISSING_TIME) & (self.day == MISSING_TIME))

    def read(self, name: str) -> None:
        rows = self.left()
        if not len(rows):
            return
        values = parse_one(self.texts.iloc[rows], name)
        good = values != MISSING_TIME
        self.month[rows[good]] = values[good]
        self.day[rows[good]] = values[good]
        self.formats[rows[good]] = name

    def read_ordered(self, names: tuple[str, str]) -> None:
        rows = self.left()
        texts = self.texts.iloc[rows]
        month, day = parse_one(texts, names[0]), parse_one(texts, names[1])
        self.month[rows], self.day[rows] = month, day
        self.formats[rows[day != MISSING_TIME]] = names[1]
        self.formats[rows[month != MISSING_TIME]] = names[0]

    def read_plain(self, *, may_sample: bool) -> None:
        self.read(ISO)
        for name in EPOCHS:
            self.read(name)
        while len(rows := self.left()):
            sample = self.texts.iloc[rows[:: max(1, len(rows) // _SAMPLE)]]
            plain = [name for name in PLAIN_FORMATS if _fits_some(sample, name)]
            for name in plain:
                self.read(name)
            pairs = [names for names in ORDERED_FORMATS if any(_fits_some(sample, name) for name in names)]
            for names in pairs:
                self.read_ordered(names)
            if not plain and not pairs:
                return

    def respell(self) -> None:
        rows = self.left()
        if not len(rows):
            return
        texts = self.texts.iloc[rows]
        for pattern, put in _SPELLINGS:
            texts = texts.str.replace(pattern, put, regex=True)
        self.texts.iloc[rows] = texts.str.strip()

    def parsed(self) -> Parsed:
        return Parsed(self.month, self.day, self.formats)


def parse_one(texts: pd.Series, name: str) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC by one format, ``MISSING_TIME`` where it does not fit."""
    if name in EPOCHS:
        digits, unit = EPOCHS[name]
        fits = texts.str.fullmatch(digits).to_numpy(dtype=bool)
        values = np.full(len(texts), MISSING_TIME, dtype=np.int64)
        numbers = pd.to_numeric(texts[fits], errors="coerce").to_numpy(dtype=np.longdouble)
        values[fits] = np.rint(numbers * unit).astype(np.int64)
        return values
    stamps = pd.to_datetime(texts, format=name, errors="coerce", utc=True)
    values = np.asarray(stamps.dt.tz_localize(None).dt.as_unit("us"), dtype="datetime64[us]").view(np.int64).copy()
    if name == ISO:  # takes "2011" for a year, which may be any number
        values[(texts.str.len() < 6).to_numpy(dtype=bool)] = MISSING_TIME
    return values


def _fits_some(texts: pd.Series, name: str) -> bool:
    return bool((parse_one(texts, name) != MISSING_TIME).any())


def look_like_dates(texts: Sequence[str], *, or_digits: bool = False) -> bool:
    """Whether nine of ten texts of a sample have the shape of a date; with digits, of a point in time as a number."""
    if not texts:
        return False
    series = pd.Series(list(texts[:: max(1, len(texts) // 64)]), dtype="str")
    found = series.str.contains(_LOOKS_LIKE_DATE, regex=True)
    if or_digits:
        found |= series.str.fullmatch(_DIGITS)
    return bool(found.mean() >= 0.9)
