"""One column's values seen as strings, numbers, truth values or times: the conversions behind typing a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import time_formats
from foldsmith.problem.texts import clean
from foldsmith.problem.time_formats import ISO, MISSING_TIME

__all__ = [
    "BOOLEAN_PAIRS",
    "ISO",
    "MISSING_TIME",
    "boolean_pair",
    "distinct",
    "factorize",
    "find_time_format",
    "is_missing_word",
    "is_time",
    "is_truth",
    "no_numbers",
    "numbers",
    "parse_numbers",
    "strings",
    "times",
    "truth_values",
    "unknown_truth",
]

BOOLEAN_PAIRS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("0", "1"))
"""(false, true) spellings, lower case."""

_MOST_TRUTH = 20  # spellings of two truth values, in all cases and with blanks
_TRUTH = {word: float(value) for pair in BOOLEAN_PAIRS for value, word in enumerate(pair)}

# What people write for "no value" in a column of numbers; in a column of words these may be categories.
_NOT_A_NUMBER = frozenset(
    (
        *("none", "null", "na", "n/a", "nan", "-nan", "<na>", "#n/a", "nil", "missing", "unknown"),
        *("?", "-", "--", ".", "#div/0!", "#value!", "#null!", "#ref!", "#name?", "#num!", "n.a.", "n.a", "undefined"),
        *(
            "not available",
            "not applicable",
            "no data",
            "nd",
            "n.d.",
            "tbd",
            "nat",
            "0000-00-00",
            "0000-00-00 00:00:00",
        ),
    )
)

_DAY = 86_400_000_000  # microseconds


def strings(series: pd.Series) -> pd.Series:
    """Each value as a string, missing as None; a whole number is written without ``.0``, blank strings are missing.

    The same number thus gets the same string in an integer column and in one that holes have turned into floats.
    """
    codes, names = _factorized(series)
    texts = np.empty(len(names) + 1, dtype=object)
    texts[:-1] = names
    texts[-1] = None  # the code of missing is -1
    return pd.Series(texts[codes], index=series.index, dtype=object)


def factorize(series: pd.Series) -> tuple[NDArray[np.intp], list[str]]:
    """The cells of :func:`strings` as positions ``(n,)`` in a list of the distinct ones, -1 for missing."""
    codes, names = _factorized(series)
    distinct_names = dict.fromkeys(name for name in names if name is not None)
    if len(distinct_names) == len(names):
        return codes, list(distinct_names)
    place = {name: number for number, name in enumerate(distinct_names)}
    places = np.array([*(-1 if name is None else place[name] for name in names), -1], dtype=np.intp)
    return places[codes], list(distinct_names)


def _factorized(series: pd.Series) -> tuple[NDArray[np.intp], list[str | None]]:
    """Each cell's position among the strings of the distinct values, which may repeat; -1 for missing."""
    try:
        codes, uniques = pd.factorize(_without_categories(series), use_na_sentinel=True)
    except TypeError:  # lists and other values that cannot be hashed
        return _factorized(series.map(str, na_action="ignore").astype(object))
    # As objects first: taking the items of an Arrow array one by one is several times slower.
    return np.asarray(codes), [_string(value) for value in np.asarray(uniques, dtype=object)]


def _string(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if abs(number) < 2**53 and number.is_integer() else repr(number)
    return str(value)


def distinct(values: pd.Series) -> list[str]:
    """The distinct strings of :func:`strings` without missing, in order of appearance."""
    return [value for value in values.unique() if value is not None]


def numbers(series: pd.Series) -> tuple[NDArray[np.float64], int]:
    """Values as floats, and how many cells are neither numbers nor a known word for missing.

    Returns:
        float64 ``(n,)`` with NaN for missing and for what is no number; the number of such cells.
    """
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        return series.dt.total_seconds().to_numpy(dtype=np.float64), 0
    if pd.api.types.is_numeric_dtype(series.dtype):  # includes booleans
        return series.to_numpy(dtype=np.float64, na_value=np.nan), 0
    texts = strings(series)
    codes, uniques = pd.factorize(texts, use_na_sentinel=True)
    parsed = np.append(parse_numbers([str(value) for value in uniques]), np.nan)
    lost = np.append(no_numbers(list(uniques), parsed[:-1]), False)
    return parsed[codes], int(np.count_nonzero(lost[codes]))


def no_numbers(texts: Sequence[str], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which texts are neither numbers nor a known word for missing, given their numbers; ``(n,)``."""
    lost = np.isnan(values)
    for row in np.flatnonzero(lost):
        lost[row] = not is_missing_word(texts[int(row)])
    return np.asarray(lost)


def is_missing_word(text: str) -> bool:
    """Whether a string means "no value" in a column of numbers or dates."""
    return clean(text).casefold() in _NOT_A_NUMBER


def parse_numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    """Plain numbers as floats, NaN for all other texts; ``(n,)``."""
    parsed = pd.to_numeric(pd.Series([text.strip() for text in texts], dtype=object), errors="coerce")
    return np.array(parsed, dtype=np.float64)


def truth_values(series: pd.Series) -> NDArray[np.float64]:
    """1 for true, yes, y, t and 1, 0 for their opposites in any case, NaN for everything else; ``(n,)``."""
    codes, uniques = pd.factorize(strings(series), use_na_sentinel=True)
    truth = [_TRUTH.get(clean(str(value)).casefold(), np.nan) for value in uniques]
    return np.array([*truth, np.nan])[codes]


def is_truth(text: str) -> bool:
    """Whether a string is one of the truth values."""
    return clean(text).casefold() in _TRUTH


def unknown_truth(series: pd.Series) -> int:
    """How many values are neither missing nor a truth value."""
    return int(np.count_nonzero(np.isnan(truth_values(series)) & strings(series).notna().to_numpy()))


def boolean_pair(values: Sequence[str]) -> tuple[str, str] | None:
    """The known pair that these distinct strings are, both of it, or None."""
    if len(values) > _MOST_TRUTH:
        return None
    folded = {clean(value).casefold() for value in values}
    return next((pair for pair in BOOLEAN_PAIRS if folded == set(pair)), None)


def is_time(series: pd.Series) -> bool:
    """Whether the column already holds datetimes."""
    return pd.api.types.is_datetime64_any_dtype(series.dtype)


def find_time_format(values: Sequence[str], *, share: float = 0.99, integers: bool = False) -> str | None:
    """The formats that most of these distinct strings have, the most frequent first.

    Where the day and the month could change places in every string, the month is first.

    Args:
        values: distinct strings.
        share: how many of them must parse, 0..1.
        integers: accept ``20110131`` and ``2011`` too, which otherwise are numbers.

    Returns:
        ``"ISO8601"``, a strftime pattern, several of them with `` | `` between, or None.
    """
    if not values or not (integers or time_formats.look_like_dates(values)):
        return None
    are_years = integers and all(len(value) == 4 and value.isdecimal() for value in values)
    parsed = time_formats.parse(values, time_formats.YEARS if are_years else "")
    order: time_formats.Order = "day" if parsed.only_day.sum() > parsed.only_month.sum() else "month"
    if (parsed.micros(order) != MISSING_TIME).mean() < share:
        return None
    return time_formats.SEPARATOR.join(parsed.names(order))


def times(series: pd.Series, pattern: str) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC, ``(n,)``; missing and unparsable are ``MISSING_TIME``; no zone means UTC.

    A cell that has none of the column's formats is read by its own if that can mean one thing only.

    Args:
        series: datetimes, or strings.
        pattern: the column's formats, from :func:`find_time_format`; unused for real datetimes.
    """
    if is_time(series):
        return _microseconds(pd.to_datetime(series, utc=True))
    codes, uniques = pd.factorize(strings(series), use_na_sentinel=True)
    parsed = time_formats.parse(list(uniques), pattern)
    return np.append(parsed.certain(time_formats.order_of(pattern)), MISSING_TIME)[codes]


def days(series: pd.Series, pattern: str) -> NDArray[np.float64]:
    """Days since 1970 UTC, ``(n,)``, NaN for missing; arguments as of :func:`times`."""
    stamps = times(series, pattern)
    return np.where(stamps == MISSING_TIME, np.nan, stamps / _DAY)


def _microseconds(stamps: pd.Series) -> NDArray[np.int64]:
    return np.asarray(stamps.dt.tz_localize(None).dt.as_unit("us"), dtype="datetime64[us]").view(np.int64)


def _without_categories(series: pd.Series) -> pd.Series:
    """A categorical column as plain values; factorize would return categories instead of an array."""
    return series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series
