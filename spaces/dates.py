"""Date columns to numbers: calendar parts, days between two dates, cycles."""

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces.scaling import Matrix

DATE_PARTS = ("days", "year", "month", "day", "weekday", "hour", "minute", "yearday")
CYCLES = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
MOST_DATES = 6  # columns that are subtracted from each other
_DAY = 86_400_000_000  # microseconds
_MISSING = np.iinfo(np.int64).min


def date_parts(table: Table) -> Matrix:
    """Calendar parts of every datetime column, ``(n_rows, 8 * n_datetime)``, NaN where the date is missing."""
    parts = np.full((table.n_rows, len(DATE_PARTS) * table.datetimes.shape[1]), np.nan, dtype=np.float32)
    for number, name in enumerate(table.schema.datetime):
        stamp = np.asarray(table.datetimes[:, number])
        known = stamp != _MISSING
        when = stamp[known].view("datetime64[us]")
        year = when.astype("datetime64[Y]")
        month = when.astype("datetime64[M]")
        day = when.astype("datetime64[D]")
        columns = (
            table.schema.shift(name).reduce(stamp[known] / _DAY),
            year.astype(int) + 1970,
            (month - year).astype(int) + 1,
            (day - month).astype(int) + 1,
            (day.astype(int) + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
            (when - day).astype("timedelta64[h]").astype(int),
            (when - day).astype("timedelta64[m]").astype(int) % 60,
            (day - year).astype(int) + 1,
        )
        start = number * len(DATE_PARTS)
        for offset, column in enumerate(columns):
            parts[known, start + offset] = column
    return parts


def n_gaps(n_datetime: int) -> int:
    """Columns that :func:`date_gaps` makes.

    >>> [n_gaps(n) for n in (0, 1, 2, 3, 100)]
    [0, 0, 1, 3, 15]
    """
    used = min(n_datetime, MOST_DATES)
    return used * (used - 1) // 2


def date_gaps(table: Table) -> Matrix:
    """Days from one date column to each later one, ``(n_rows, n_gaps)``, NaN where either is missing."""
    stamps: NDArray[np.int64] = np.asarray(table.datetimes[:, :MOST_DATES])
    first, second = np.triu_indices(stamps.shape[1], 1)
    missing = (stamps[:, first] == _MISSING) | (stamps[:, second] == _MISSING)
    with np.errstate(over="ignore"):  # of missing dates only
        days = (stamps[:, second] - stamps[:, first]) / _DAY
    return np.where(missing, np.nan, days).astype(np.float32)


def cycles(parts: Matrix, n_datetime: int) -> Matrix:
    """Sine and cosine of month, weekday and hour, so that 23:00 lies beside 00:00 for linear models and nets."""
    waves = []
    for number in range(n_datetime):
        for name, period in CYCLES.items():
            angle = parts[:, number * len(DATE_PARTS) + DATE_PARTS.index(name)] * (2 * np.pi / period)
            waves += [np.sin(angle), np.cos(angle)]
    return np.stack(waves, axis=1).astype(np.float32) if waves else np.zeros((len(parts), 0), np.float32)
