"""Tables to matrices for estimators, fitted on a fold's train rows only; state is JSON and npz, never pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces.scaling import Matrix, Scaler, Scaling
from foldsmith.spaces.text import TextEncoder

DATE_PARTS = ("days", "year", "month", "day", "weekday", "hour", "minute", "yearday")
MAX_LEVELS = 100  # columns of a categorical column
CYCLES = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
_DAY = 86_400_000_000  # microseconds


def date_parts(table: Table) -> Matrix:
    """Calendar parts of every datetime column, ``(n_rows, 8 * n_datetime)``, NaN where the date is missing."""
    parts = np.full((table.n_rows, len(DATE_PARTS) * table.datetimes.shape[1]), np.nan, dtype=np.float32)
    for number in range(table.datetimes.shape[1]):
        stamp = np.asarray(table.datetimes[:, number])
        known = stamp != np.iinfo(np.int64).min
        when = stamp[known].view("datetime64[us]")
        year = when.astype("datetime64[Y]")
        month = when.astype("datetime64[M]")
        day = when.astype("datetime64[D]")
        columns = (
            stamp[known] / _DAY,
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


def _cycles(parts: Matrix, n_datetime: int) -> Matrix:
    """Sine and cosine of month, weekday and hour, so that 23:00 lies beside 00:00 for linear models and nets."""
    waves = []
    for number in range(n_datetime):
        for name, period in CYCLES.items():
            angle = parts[:, number * len(DATE_PARTS) + DATE_PARTS.index(name)] * (2 * np.pi / period)
            waves += [np.sin(angle), np.cos(angle)]
    return np.stack(waves, axis=1).astype(np.float32) if waves else np.zeros((len(parts), 0), np.float32)


class TreeColumns(Protocol):
    """What boosting asks of an encoder: a matrix with NaN for missing values, and where its category codes are."""

    @property
    def categorical(self) -> list[int]: ...

    @property
    def n_columns(self) -> int: ...

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32."""
        ...

    def save(self, folder: Path) -> None:
        """Write the state into ``folder``, without pickle."""
        ...


@dataclass(frozen=True)
class TreeEncoder:
    """Numbers, date parts, category codes and text components side by side, missing values as NaN.

    Columns stand in the order numeric, date parts, text, codes; ``categorical`` gives the positions of the codes.
    Codes of levels unseen in train stay one past the last level, which the boosting libraries take for "other".
    """

    text: TextEncoder
    n_before_codes: int
    n_codes: int

    @classmethod
    def fit(cls, table: Table, rows: NDArray[np.int64], seed: int) -> "TreeEncoder":
        """Fit the text components on ``rows``; everything else has no state."""
        text = TextEncoder.fit(table, rows, seed)
        before = table.numeric.shape[1] + len(DATE_PARTS) * table.datetimes.shape[1] + text.n_outputs
        return cls(text, before, table.codes.shape[1])

    @property
    def n_numbers(self) -> int:
        """How many of the first columns are numbers and date parts."""
        return self.n_before_codes - self.text.n_outputs

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical columns."""
        return list(range(self.n_before_codes, self.n_before_codes + self.n_codes))

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.n_before_codes + self.n_codes

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32."""
        codes = table.codes.astype(np.float32)
        codes[codes < 0] = np.nan
        return np.hstack([table.numeric, date_parts(table), self.text.transform(table), codes])

    def save(self, folder: Path) -> None:
        """Write ``encoder.json`` and the text state."""
        record = {"format": 1, "n_before_codes": self.n_before_codes, "n_codes": self.n_codes}
        (folder / "encoder.json").write_text(json.dumps(record))
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "TreeEncoder":
        """Read what ``save`` wrote."""
        record = json.loads((folder / "encoder.json").read_text())
        return cls(TextEncoder.load(folder), record["n_before_codes"], record["n_codes"])


@dataclass(frozen=True)
class DenseEncoder:
    """Scaled numbers, missing indicators, date cycles, text components and one-hot levels: no NaN left.

    Missing numbers become the median before scaling. Levels rarer than ``min_count`` in the train rows, unseen and
    missing ones share the all-zero code; at most ``max_levels`` of the most frequent levels get a column.
    """

    text: TextEncoder
    scaler: Scaler
    indicators: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: NDArray[np.int64],
        seed: int,
        *,
        scaling: Scaling = "standard",
        max_levels: int = MAX_LEVELS,
        min_count: int = 5,
    ) -> "DenseEncoder":
        """Fit medians, scales, indicators and levels on ``rows``."""
        text = TextEncoder.fit(table, rows, seed)
        part = table.take(rows)
        numbers = _numbers(part, text)
        missing = np.isnan(numbers)
        center = _nan_median(numbers)
        scaler = Scaler.fit(np.where(missing, center, numbers), center, scaling, n_plain=text.n_outputs)
        share = missing.mean(axis=0)
        indicators = np.flatnonzero((share > 0.001) & (share < 1))
        levels = tuple(_frequent(part.codes[:, c], max_levels, min_count) for c in range(part.codes.shape[1]))
        return cls(text, scaler, indicators, levels)

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.n_numbers + len(self.indicators) + sum(len(level) for level in self.levels)

    @property
    def n_numbers(self) -> int:
        """How many of the first columns are scaled numbers (the rest are 0 or 1)."""
        return self.scaler.n_outputs

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32, finite."""
        numbers = _numbers(table, self.text)
        missing = np.isnan(numbers)
        scaled = self.scaler.transform(np.where(missing, self.scaler.center, numbers))
        onehot = [(table.codes[:, c : c + 1] == level).astype(np.float32) for c, level in enumerate(self.levels)]
        return np.hstack([scaled, missing[:, self.indicators].astype(np.float32), *onehot])

    def save(self, folder: Path) -> None:
        """Write ``encoder.npz`` and the text state."""
        arrays: dict[str, Any] = {f"levels_{n:05d}": level for n, level in enumerate(self.levels)}
        np.savez(folder / "encoder.npz", indicators=self.indicators, **arrays, **self.scaler.arrays())
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "DenseEncoder":
        """Read what ``save`` wrote."""
        with np.load(folder / "encoder.npz", allow_pickle=False) as stored:
            levels = tuple(stored[name] for name in sorted(stored.files) if name.startswith("levels_"))
            return cls(TextEncoder.load(folder), Scaler.from_arrays(stored), stored["indicators"], levels)


def _numbers(table: Table, text: TextEncoder) -> Matrix:
    parts = date_parts(table)
    return np.hstack([table.numeric, parts, _cycles(parts, table.datetimes.shape[1]), text.transform(table)])


def _nan_median(numbers: Matrix) -> Matrix:
    """Median per column without the missing values, 0 for a column without any value."""
    center = np.zeros(numbers.shape[1], np.float32)
    for column in range(numbers.shape[1]):
        known = numbers[~np.isnan(numbers[:, column]), column]
        if len(known):
            center[column] = np.median(known.astype(np.float64))  # the mean of two float32 can overflow
    return center


def _frequent(codes: NDArray[np.int32], max_levels: int, min_count: int) -> NDArray[np.int64]:
    counts = np.bincount(codes[codes >= 0]) if (codes >= 0).any() else np.zeros(0, np.int64)
    order = np.argsort(-counts, kind="stable")[:max_levels]
    return np.sort(order[counts[order] >= min_count]).astype(np.int64)
