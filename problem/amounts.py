"""Numbers as people write them: with thousands separators, a decimal comma, a currency, per cent or a unit.

Each cell is taken apart into sign, digits, multiplier and unit. Whether a comma is a thousands separator or a decimal
comma is decided once per column, from all cells of both files. What could be two numbers is not read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.texts import clean

Mark = Literal["point", "comma"]

_SYMBOLS = "$€£¥₹₽₩₺₫₱฿₴₪₦₡₸"
_CODES = {
    "us$": "$",
    "usd": "$",
    "eur": "€",
    "euro": "€",
    "euros": "€",
    "gbp": "£",
    "jpy": "¥",
    "inr": "₹",
    "rs": "₹",
    "rub": "₽",
    "krw": "₩",
    "try": "₺",
    "dollars": "$",
    "dollar": "$",
    "usd$": "$",
    **{code: code for code in ("cny", "rmb", "chf", "sek", "nok", "dkk", "pln", "czk", "huf", "ron", "aud", "cad")},
    **{code: code for code in ("nzd", "sgd", "hkd", "brl", "mxn", "zar", "idr", "php", "thb", "vnd", "aed", "sar")},
    "kr": "kr",
    "zł": "pln",
    "kč": "czk",
    "ft": "huf",
    "a$": "aud",
    "c$": "cad",
    "r$": "brl",
    "nz$": "nzd",
    "hk$": "hkd",
    "s$": "sgd",
    "rm": "rm",
    "myr": "rm",
    "rp": "idr",
    "r": "zar",
}
# Words before a number are a currency or no part of a number; "r 5" and "ft 5" are no prices.
_PREFIXES = sorted((re.escape(code) for code in _CODES if code not in ("r", "ft")), key=len, reverse=True)
_CURRENCY = rf"(?:(?i:{'|'.join(_PREFIXES)})\.?(?![^\W\d_])|[{_SYMBOLS}])"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+])? ?(?P<before>{_CURRENCY})? ?(?P<sign2>[-+])? ?"
    r"(?P<body>\d(?:[\d.,' ]*\d)?\.?|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?"
    r"(?P<minus>-)?(?P<after> ?[^\W\d_]+[^\d()+<>=~]{0,20}[23²³]?| ?[%‰°\"'²³][^\d()+<>=~]{0,6}| ?["
    + _SYMBOLS
    + r"])?(?P<close>\))?"
)
_POINT = re.compile(r"(\d+|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3}|[1-9]\d{0,2}(?:[ ']\d{3})+)?(\.\d*)?")
_COMMA = re.compile(r"(\d+|[1-9]\d{0,2}(?:\.\d{3})+|[1-9]\d{0,2}(?:[ ']\d{3})+)?(,\d+)?")
_MULTIPLIERS = {
    "k": 1e3,
    "thousand": 1e3,
    "thousands": 1e3,
    "tsd": 1e3,
    "mio": 1e6,
    "mn": 1e6,
    "mln": 1e6,
    "m": 1e6,
    "million": 1e6,
    "millions": 1e6,
    "bn": 1e9,
    "b": 1e9,
    "billion": 1e9,
    "billions": 1e9,
    "mrd": 1e9,
    "lakh": 1e5,
    "lakhs": 1e5,
    "crore": 1e7,
    "crores": 1e7,
    "cr": 1e7,
    "trillion": 1e12,
    "mm": 1e6,
}
_LETTERS = frozenset(("m", "g", "l", "s", "h", "t", "w", "v", "d"))
_SAME_UNIT = {
    "lbs": "lb",
    "kgs": "kg",
    "hrs": "h",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "mins": "min",
    "minutes": "min",
    "minute": "min",
    "secs": "s",
    "sec": "s",
    "seconds": "s",
    "yrs": "year",
    "yr": "year",
    "years": "year",
    "y": "year",
    "days": "day",
    "months": "month",
    "mos": "month",
    "weeks": "week",
    "pct": "%",
    "percent": "%",
    "per cent": "%",
    "km/hr": "km/h",
    "kmph": "km/h",
    "meters": "m",
    "metres": "m",
    "miles": "mile",
    "mi": "mile",
    "feet": "ft",
    "inches": "in",
    "inch": "in",
    "sqm": "m2",
    "sq m": "m2",
    "m²": "m2",
    "km²": "km2",
    "m³": "m3",
    "sq ft": "sqft",
    "sq. ft": "sqft",
    "liters": "l",
    "litres": "l",
    "grams": "g",
    "points": "pt",
    "pts": "pt",
}
_INEXACT = re.compile(r"(?i)^(?:[~≈<>≤≥±=]+|ca\.?|circa|about|approx\.?|under|over|less than|more than) ?|\+$")
# Marks that a spreadsheet puts around numbers which it holds as text.
_QUOTED = re.compile(r"^(?:=?\"(.*)\"|'(?=[^']*$)(?=[-+\d(.,$€£¥]))")
_MINUS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-", "\u2019": "'"})
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))


@dataclass(frozen=True)
class Amount:
    """One cell, taken apart.

    Args:
        point, comma: its number if the decimal mark is a point or a comma; None where it cannot be.
        currency: a symbol or code, '' for none.
        unit: what follows, in one spelling, '' for none.
        scale: the multiplier that the unit is if it is no unit, as 1000 of ``5k``; 0 where it is none.
        is_plain: nothing but a number with a decimal point.
    """

    point: float | None
    comma: float | None
    currency: str = ""
    unit: str = ""
    scale: float = 0.0
    is_plain: bool = False

    @property
    def is_zero(self) -> bool:
        """Zero is the same in every unit."""
        return self.point == 0 and self.comma == 0


def parse_amount(text: str) -> Amount | None:
    """Take a cell apart; None for what is no number with a currency or unit.

    >>> parse_amount("($1,234.50)")
    Amount(point=-1234.5, comma=None, currency='$', unit='', scale=0.0, is_plain=False)
    """
    written = text.strip()
    text = _QUOTED.sub(r"\1", clean(text.translate(_SPACES)).translate(_MINUS))
    if text.isascii() and len(text) < 20:
        try:
            plain = float(text)
        except ValueError:
            pass
        else:
            return _plain(text, plain, is_plain=written == text)
    match = _CELL.fullmatch(text)
    if match is None or bool(match["open"]) != bool(match["close"]) or (match["sign"] and match["sign2"]):
        return None
    after = (match["after"] or "").strip()
    body = match["body"].strip()
    if match["exponent"] and match["after"] is None and body.isdecimal() and match["before"] is None:
        return _number(match, body)
    currency, unit = _units(match["before"] or "", after)
    if unit is None or currency is None:
        return None
    if match["minus"] and not re.search(r"[.,]\d\d$", body):  # "5-" may be a grade
        return None
    is_attached = bool(after) and not (match["after"] or "").startswith(" ")
    key, scale = _unit(unit, is_attached=is_attached, has_currency=bool(currency))
    if key is None:
        return None
    number = _number(match, body)
    if number is None:
        return None
    return Amount(number.point, number.comma, currency, key, scale)


def is_inexact(text: str) -> bool:
    """Whether a cell is a number with a word or mark that makes it none: ``~5``, ``<5``, ``10+``, ``ca. 5``."""
    bare, n_marks = _INEXACT.subn("", clean(text))
    return n_marks > 0 and parse_amount(bare) is not None


def _plain(text: str, number: float, *, is_plain: bool) -> Amount | None:
    if not np.isfinite(number) or "_" in text:
        return None
    grouped = re.fullmatch(r"([-+]?)([1-9]\d{0,2})\.(\d{3})", text)
    if grouped:
        sign = -1 if grouped[1] == "-" else 1
        return Amount(number, sign * float(grouped[2] + grouped[3]), is_plain=is_plain)
    return Amount(number, None if "." in text else number, is_plain=is_plain)


def _number(match: re.Match[str], body: str) -> Amount | None:
    sign = -1.0 if "-" in (match["sign"], match["sign2"], match["minus"]) or match["open"] else 1.0
    if match["open"] and ("-" in (match["sign"], match["sign2"], match["minus"])):
        return None
    exponent = match["exponent"] or ""
    point = comma = None
    if _POINT.fullmatch(body):
        point = sign * float(re.sub(r"[, ']", "", body) + exponent)
    if _COMMA.fullmatch(body):
        comma = sign * float(re.sub(r"[. ']", "", body).replace(",", ".") + exponent)
    return None if point is None and comma is None else Amount(point, comma)


def _units(before: str, after: str) -> tuple[str | None, str | None]:
    """The currency, and the unit that is none; None where two currencies stand in one cell."""
    first = _currency(before)
    last = _currency(after)
    if last and not (first and after.casefold() in _MULTIPLIERS):
        return (None, None) if first and first != last else (last, "")
    parts = after.split(" ")
    if len(parts) == 2 and not first and _currency(parts[1]) and parts[0].casefold().rstrip(".") in _MULTIPLIERS:
        return _currency(parts[1]), parts[0]  # "5 Mio. €"
    return first, after


def _currency(text: str) -> str:
    folded = text.casefold().rstrip(".")
    if folded and folded in _SYMBOLS:
        return folded
    return _CODES.get(folded, "") if folded not in ("ft", "r") else ""


def _unit(text: str, *, is_attached: bool, has_currency: bool) -> tuple[str | None, float]:
    """The unit in one spelling, and its multiplier if it is one; None for letters that may be a code (``12X``)."""
    folded = text.casefold().rstrip(".").strip()
    folded = _SAME_UNIT.get(folded, folded)
    scale = _MULTIPLIERS.get(folded, 0.0)
    if folded == "mm" and not has_currency:
        scale = 0.0
    if len(folded) == 1 and folded.isalpha() and not scale and folded not in _LETTERS:
        return None, 0.0
    if len(folded.split(" ")) > 3 or (is_attached and folded in ("st", "nd", "rd", "th")):
        return None, 0.0
    return folded, scale


@dataclass(frozen=True)
class Reading:
    """How the amounts of a column are read.

    Args:
        mark: the decimal mark.
        unit: the unit that all cells with one have, '' for none.
        scales: whether ``k``, ``M`` and the like multiply.
    """

    mark: Mark = "point"
    unit: str = ""
    scales: bool = False

    def to_text(self) -> str:
        """One line for the schema: ``point $``; '' for plain numbers."""
        if self == Reading():
            return ""
        return f"{self.mark}{'*' if self.scales else ''} {self.unit}".strip()

    @classmethod
    def from_text(cls, text: str) -> "Reading":
        """The reading of :meth:`to_text`; '' is that of plain numbers."""
        mark, _, unit = text.partition(" ")
        name: Mark = "comma" if mark.startswith("comma") else "point"
        return cls(name, unit, mark.endswith("*"))

    def value(self, amount: Amount | None) -> float:
        """The number of a cell, NaN where it is none or has another unit."""
        if amount is None:
            return np.nan
        number = amount.comma if self.mark == "comma" else amount.point
        if number is None:
            # The other mark is a decimal mark beyond doubt: "1,5" in a column of points.
            number = amount.point if self.mark == "comma" else amount.comma
        if number is None or not self._fits(amount):
            return np.nan
        return number * (amount.scale if self.scales and amount.scale else 1.0)

    def _fits(self, amount: Amount) -> bool:
        unit = unit_of(amount, scales=self.scales)
        if unit == self.unit or amount.is_zero:
            return True
        if unit == "" or self.unit == "":  # a cell without a unit has that of its column, but 0.12 is not 12 %
            return "%" not in (unit, self.unit)
        return False


def unit_of(amount: Amount, *, scales: bool) -> str:
    """Currency and unit as one word; a multiplier is none."""
    unit = "" if scales and amount.scale else amount.unit
    return f"{amount.currency} {unit}".strip()


def amounts(series: pd.Series, reading: str) -> pd.Series:
    """A column with its cells as numbers; one that holds numbers already comes back as it is.

    Args:
        series: the cells, ``(n,)``.
        reading: of the column, from :meth:`Reading.to_text`; '' for plain numbers.

    Returns:
        Numbers, NaN for missing and for what is none under this reading.
    """
    if pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_timedelta64_dtype(series.dtype):
        return series
    codes, uniques = pd.factorize(cells.strings(series), use_na_sentinel=True)
    values = np.append(amount_values(list(uniques), reading), np.nan)
    return pd.Series(values[codes], index=series.index, name=series.name)


def amount_values(texts: Sequence[str], reading: str) -> NDArray[np.float64]:
    """The numbers of texts under a column's reading, NaN for what is none."""
    chosen = Reading.from_text(reading)
    values = np.full(len(texts), np.nan)
    rows = np.arange(len(texts))
    if chosen.mark == "point" and "%" not in chosen.unit:  # then a plain number is what it seems
        values = cells.parse_numbers(texts)
        rows = np.flatnonzero(np.isnan(values))
    for row in map(int, rows):
        values[row] = chosen.value(parse_amount(texts[row]))
    return values
