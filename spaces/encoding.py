"""Tables to matrices for estimators, fitted on a fold's train rows only; state is JSON and npz, never pickle."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table
from foldsmith.spaces.dates import CYCLES, DATE_PARTS, cycles, date_gaps, date_parts
from foldsmith.spaces.fillers import find_fillers, without_fillers
from foldsmith.spaces.formats import check_format
from foldsmith.spaces.level_means import LevelMeans
from foldsmith.spaces.redundant import distinct_codes, distinct_numbers
from foldsmith.spaces.scaling import Matrix, Scaler, Scaling
from foldsmith.spaces.text import TextEncoder

__all__ = ["CYCLES", "DATE_PARTS", "DenseEncoder", "MAX_LEVELS", "TreeColumns", "TreeEncoder", "date_parts"]

FORMAT = 2  # of what encoders write; 1 had no record of dropped columns
MAX_LEVELS = 100  # columns of a categorical column
MANY_LEVELS = 2  # categorical columns with more are encoded by the target's means as well


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

    Columns stand in the order numeric, date parts, days between dates, text, codes; ``categorical`` gives the
    positions of the codes. Columns that are constant on the train rows, or repeat another one, are left out.
    Codes of levels unseen in train stay one past the last level, which the boosting libraries take for "other".

    Args:
        text: encoder of the text columns.
        numbers: ``(n_kept,)`` which numbers and date columns are used.
        codes: ``(n_codes,)`` which categorical columns are used.
    """

    text: TextEncoder
    numbers: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def fit(cls, table: Table, rows: NDArray[np.int64], seed: int) -> "TreeEncoder":
        """Fit the text components on ``rows``, and see there which columns say something."""
        text = TextEncoder.fit(table, rows, seed)
        part = table.take(rows)
        raw = _plain_numbers(part)
        numbers, codes = distinct_numbers(raw), distinct_codes(part.codes)
        if not len(numbers) + len(codes) + text.n_outputs:  # a matrix needs a column, be it a constant one
            numbers, codes = np.arange(raw.shape[1])[:1], np.arange(part.codes.shape[1])[: 1 - min(1, raw.shape[1])]
        return cls(text, numbers, codes)

    @property
    def n_numbers(self) -> int:
        """How many of the first columns are numbers and date parts."""
        return len(self.numbers)

    @property
    def n_codes(self) -> int:
        """How many of the last columns are category codes."""
        return len(self.codes)

    @property
    def n_before_codes(self) -> int:
        """How many columns are no codes."""
        return self.n_numbers + self.text.n_outputs

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical columns."""
        return list(range(self.n_before_codes, self.n_columns))

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.n_before_codes + len(self.codes)

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32."""
        codes = table.codes[:, self.codes].astype(np.float32)
        codes[codes < 0] = np.nan
        return np.hstack([_plain_numbers(table)[:, self.numbers], self.text.transform(table), codes])

    def save(self, folder: Path) -> None:
        """Write ``encoder.json`` and the text state."""
        record = {"format": FORMAT, "numbers": self.numbers.tolist(), "codes": self.codes.tolist()}
        (folder / "encoder.json").write_text(json.dumps(record))
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "TreeEncoder":
        """Read what ``save`` wrote.

        Raises:
            ContractError: another version of foldsmith wrote it.
        """
        record = json.loads((folder / "encoder.json").read_text())
        check_format(record["format"], FORMAT, folder / "encoder.json")
        numbers, codes = (np.array(record[name], np.int64) for name in ("numbers", "codes"))
        return cls(TextEncoder.load(folder), numbers, codes)


@dataclass(frozen=True)
class DenseEncoder:
    """Scaled numbers, target means, missing indicators, date cycles, text components and one-hot levels: no NaN left.

    Missing numbers, and fillers such as -999 that stand for them, become the median before scaling. Columns that are
    then constant or repeat another one are left out. Levels rarer than ``min_count`` in the train rows, unseen and
    missing ones share the all-zero code; at most ``max_levels`` of the most frequent levels get a column. A column of
    more than two levels has its target means beside them, if the fit knows the target.

    Args:
        text: encoder of the text columns.
        fillers: ``(2, n_numeric)`` what stands for a missing number in each numeric column, NaN for nothing.
        kept: ``(n_kept,)`` which numbers are used.
        scaler: of those.
        means: target means of columns with more than two levels.
        means_scaler: of those.
        indicators: ``(n_indicators,)`` numbers that have an indicator of being missing.
        levels: per categorical column the levels that have a column.
    """

    text: TextEncoder
    fillers: Matrix
    kept: NDArray[np.int64]
    scaler: Scaler
    means: LevelMeans
    means_scaler: Scaler
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
        """Fit medians, scales, indicators and levels on ``rows``; without the target, there are no target means."""
        text = TextEncoder.fit(table, rows, seed)
        part = table.take(rows)
        fillers = find_fillers(part.numeric, [table.schema.shift(name) for name in table.schema.numeric])
        numbers = _numbers(part, text, fillers)
        missing = np.isnan(numbers)
        center = _nan_median(numbers)
        filled = np.where(missing, center, numbers)
        kept = distinct_numbers(filled)
        indicators = _indicators(missing)
        used = set(distinct_codes(part.codes).tolist())
        columns = (part.codes[:, c] if c in used else part.codes[:0, c] for c in range(part.codes.shape[1]))
        levels = tuple(_frequent(column, max_levels, min_count) for column in columns)
        if not len(kept) + len(indicators) + sum(len(level) for level in levels):
            kept = np.arange(numbers.shape[1])[:1]  # a matrix needs a column, be it a constant one
        n_text = int((kept >= numbers.shape[1] - text.n_outputs).sum())
        scaler = Scaler.fit(filled[:, kept], center[kept], scaling, n_plain=n_text)
        no_scaler = Scaler("standard", np.zeros(0, np.float32), np.zeros(0, np.float32))
        return cls(text, fillers, kept, scaler, LevelMeans.none(), no_scaler, indicators, levels)

    @classmethod
    def fit_with_target(
        cls, table: Table, rows: NDArray[np.int64], y: NDArray[Any], goal: Goal, seed: int, *, scaling: Scaling
    ) -> tuple["DenseEncoder", Matrix]:
        """As :meth:`fit`, with target means for columns of more than two levels.

        Args:
            table: all rows.
            rows: ``(n_train,)`` what is fitted on.
            y: ``(n_rows,)`` of the table.
            goal: what is fitted.
            seed: of the text components and the inner folds.
            scaling: of the numbers.

        Returns:
            The encoder, and the cross-fitted target means ``(n_train, n_means)``: what stands in the columns
            ``means_columns`` of the train rows' matrix, where ``transform`` would put their own labels into them.
        """
        bare = cls.fit(table, rows, seed, scaling=scaling)
        codes = np.asarray(table.codes[rows])
        many = [c for c in distinct_codes(codes) if len(np.unique(codes[:, c])) > MANY_LEVELS]
        means, crossed = LevelMeans.fit_transform(codes, np.array(many, np.int64), y[rows], goal, seed)
        means_scaler = Scaler.fit(crossed, _nan_median(crossed), "standard")
        return replace(bare, means=means, means_scaler=means_scaler), means_scaler.transform(crossed)

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.n_numbers + len(self.indicators) + sum(len(level) for level in self.levels)

    @property
    def n_numbers(self) -> int:
        """How many of the first columns are scaled numbers or target means (the rest are 0 or 1)."""
        return self.scaler.n_outputs + self.means.n_outputs

    @property
    def means_columns(self) -> slice:
        """Where the target means stand."""
        return slice(self.scaler.n_outputs, self.n_numbers)

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32, finite."""
        numbers = _numbers(table, self.text, self.fillers)
        marks = np.isnan(numbers[:, self.indicators]).astype(np.float32)
        numbers = numbers[:, self.kept]
        scaled = self.scaler.transform(np.where(np.isnan(numbers), self.scaler.center, numbers))
        means = self.means_scaler.transform(self.means.transform(table.codes))
        onehot = [(table.codes[:, c : c + 1] == level).astype(np.float32) for c, level in enumerate(self.levels)]
        return np.hstack([scaled, means, marks, *onehot])

    def save(self, folder: Path) -> None:
        """Write ``encoder.npz`` and the text state."""
        arrays: dict[str, Any] = {f"levels_{n:05d}": level for n, level in enumerate(self.levels)}
        arrays |= {"format": FORMAT, "fillers": self.fillers, "kept": self.kept, "indicators": self.indicators}
        arrays |= {"means_center": self.means_scaler.center, "means_scale": self.means_scaler.scale}
        np.savez(folder / "encoder.npz", **arrays, **self.means.arrays(), **self.scaler.arrays())
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "DenseEncoder":
        """Read what ``save`` wrote.

        Raises:
            ContractError: another version of foldsmith wrote it.
        """
        with np.load(folder / "encoder.npz", allow_pickle=False) as file:
            stored = dict(file)
        check_format(int(stored.get("format", 1)), FORMAT, folder / "encoder.npz")
        return cls(
            text=TextEncoder.load(folder),
            fillers=stored["fillers"],
            kept=stored["kept"],
            scaler=Scaler.from_arrays(stored),
            means=LevelMeans.from_arrays(stored),
            means_scaler=Scaler("standard", stored["means_center"], stored["means_scale"]),
            indicators=stored["indicators"],
            levels=tuple(stored[name] for name in sorted(stored) if name.startswith("levels_")),
        )


def _plain_numbers(table: Table) -> Matrix:
    """Numeric columns, date parts and days between dates, side by side."""
    return np.hstack([table.numeric, date_parts(table), date_gaps(table)])


def _numbers(table: Table, text: TextEncoder, fillers: Matrix | None = None) -> Matrix:
    """What dense encoders scale; text components stand last."""
    numeric = table.numeric if fillers is None else without_fillers(table.numeric, fillers)
    parts = date_parts(table)
    waves = cycles(parts, table.datetimes.shape[1])
    return np.hstack([numeric, parts, date_gaps(table), waves, text.transform(table)])


def _indicators(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Columns that are sometimes missing, one of each set that is missing in the same rows."""
    share = missing.mean(axis=0)
    sometimes = np.flatnonzero((share > 0.001) & (share < 1))
    return sometimes[distinct_numbers(missing[:, sometimes].astype(np.float32))]


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
