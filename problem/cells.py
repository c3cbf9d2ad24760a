"""One column's values seen as strings, numbers, truth values or times: the conversions behind typing a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING_TIME = int(np.iinfo(np.int64).min)
"""The missing value among int64 microseconds; it is also NumPy's NaT."""

BOOLEAN_PAIRS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("0", "1"))
"""(false, true) spellings, lower case."""

_TRUTH = {word: float(value) for pair in BOOLEAN_PAIRS for value, word in enumerate(pair)}

# What people write for "no value" in a column of numbers; in a column of words these may be categories.
_NOT_A_NUMBER = frozenset(
    (
        *("none", "null", "na", "n/a", "nan", "-nan", "<na>", "#n/a", "nil", "missing", "unknown"),
        *("?", "-", "--", ".", "#div/0!", "#value!", "#null!"),
    )
)

ISO = "ISO8601"
_DATES = (
    *("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y.%m.%d", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
)
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
_ODD_DATES = ("%a, %d %b %Y %H:%M:%S %Z", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y")
_FORMATS = (ISO, *(date + clock for date in _DATES for clock in _CLOCKS), *_ODD_DATES)
# Only tried where the user says that a column of plain integers is a date.
_INTEGER_FORMATS = ("%Y%m%d", "%Y")
ENOUGH_DATES = 20_000  # distinct strings, to say how many of a column have a format
# A date has a year of four digits or two numbers beside it, and a separator; "2011" and "1.5" are numbers.
_LOOKS_LIKE_DATE = r"\d{4}\s*[-/.]\s*\d|\d[-/. ]\s*\w+[-/., ]+\s*\d|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"


def strings(series: pd.Series) -> pd.Series:
    """Each value as a string, missing as None; a whole number is written without ``.0``, blank strings are missing.

    The same number thus gets the same string in an integer column and in one that holes have turned into floats.
    """
    try:
        codes, uniques = pd.factorize(_without_categories(series), use_na_sentinel=True)
    except TypeError:  # lists and other values that cannot be hashed
        return strings(series.map(str, na_action="ignore").astype(object))
    names = np.empty(len(uniques) + 1, dtype=object)
    # As objects first: taking the items of an Arrow array one by one is several times slower.
    names[:-1] = [_string(value) for value in np.asarray(uniques, dtype=object)]
    names[-1] = None  # the code of missing is -1
    return pd.Series(names[codes], index=series.index, dtype=object)


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
    parsed = np.append(_parse_numbers([str(value) for value in uniques]), np.nan)
    known = np.array([str(value).strip().casefold() in _NOT_A_NUMBER for value in uniques] + [True])
    values = parsed[codes]
    return values, int(np.count_nonzero(np.isnan(values) & ~known[codes]))


def _parse_numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    parsed = pd.to_numeric(pd.Series([text.strip() for text in texts], dtype=object), errors="coerce")
    return np.asarray(parsed, dtype=np.float64)


def truth_values(series: pd.Series) -> NDArray[np.float64]:
    """1 for true, yes, y, t and 1, 0 for their opposites in any case, NaN for everything else; ``(n,)``."""
    codes, uniques = pd.factorize(strings(series), use_na_sentinel=True)
    truth = [_TRUTH.get(str(value).strip().casefold(), np.nan) for value in uniques]
    return np.array([*truth, np.nan])[codes]


def unknown_truth(series: pd.Series) -> int:
    """How many values are neither missing nor a truth value."""
    return int(np.count_nonzero(np.isnan(truth_values(series)) & strings(series).notna().to_numpy()))


def boolean_pair(values: Sequence[str]) -> tuple[str, str] | None:
    """The known pair that these distinct strings are, both of it, or None."""
    folded = {value.strip().casefold() for value in values}
    return next((pair for pair in BOOLEAN_PAIRS if folded == set(pair)), None)


def is_time(series: pd.Series) -> bool:
    """Whether the column already holds datetimes."""
    return pd.api.types.is_datetime64_any_dtype(series.dtype)


def find_time_format(values: Sequence[str], *, share: float = 0.99, integers: bool = False) -> str | None:
    """The format that most of these distinct strings have.

    Where two formats fit equally (days and months below 13), the earlier in the list wins: month first.

    Args:
        values: distinct strings.
        share: how many of them must parse, 0..1.
        integers: accept ``20110131`` and ``2011`` too, which otherwise are numbers.

    Returns:
        ``"ISO8601"``, a strftime pattern, or None.
    """
    if not values:
        return None
    series = pd.Series(list(values), dtype="str")
    sample = series.iloc[:: max(1, len(series) // 64)]
    formats = list(_FORMATS)
    if sample.str.contains(_LOOKS_LIKE_DATE, regex=True).mean() < 0.9:
        formats = []
    if integers:
        formats.extend(_INTEGER_FORMATS)
    near = [pattern for pattern in formats if _parsed_share(sample, pattern) >= min(share, 0.9)]
    if len(near) == 1:  # nothing to tell apart
        series = series.iloc[:: max(1, len(series) // ENOUGH_DATES)]
    shares = {pattern: _parsed_share(series, pattern) for pattern in near}
    best = max(shares, key=lambda pattern: shares[pattern], default=None)  # the first of equals
    return best if best is not None and shares[best] >= share else None


def _parsed_share(series: pd.Series, pattern: str) -> float:
    return float(pd.to_datetime(series, format=pattern, errors="coerce", utc=True).notna().mean())


def times(series: pd.Series, pattern: str) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC, ``(n,)``; missing and unparsable are ``MISSING_TIME``; no zone means UTC.

    Args:
        series: datetimes, or strings of the given format.
        pattern: from :func:`find_time_format`; unused for real datetimes.
    """
    if is_time(series):
        return _microseconds(pd.to_datetime(series, utc=True))
    codes, uniques = pd.factorize(strings(series), use_na_sentinel=True)
    parsed = pd.to_datetime(pd.Series(uniques, dtype="str"), format=pattern, errors="coerce", utc=True)
    return np.append(_microseconds(parsed), MISSING_TIME)[codes]


def _microseconds(stamps: pd.Series) -> NDArray[np.int64]:
    return np.asarray(stamps.dt.tz_localize(None).dt.as_unit("us"), dtype="datetime64[us]").view(np.int64)


def _without_categories(series: pd.Series) -> pd.Series:
    """A categorical column as plain values; factorize would return categories instead of an array."""
    return series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series
