"""Tables to what nets with embeddings want: scaled numbers, scaled one-hot levels, and codes of levels."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces.encoding import _frequent, _nan_median, _numbers
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.scaling import Matrix, Scaler
from foldsmith.spaces.text import TextEncoder

NumberScaling = Literal["robust", "quantile"]
Codes = NDArray[np.int64]

MIN_COUNT = 3  # train rows of a level; rarer ones share the code 0 with missing and unseen ones
SMOOTH_CLIP = 3.0


@dataclass(frozen=True)
class RobustScaler:
    """Median centring, scaling by the quartiles, and a smooth clip to (-3, 3).

    Source: Holzmueller, Grinsztajn & Steinwart (2024, arXiv:2407.04491), section 3: the factor is one over the
    distance of the quartiles, or two over the range where the quartiles coincide, or 0 for a constant column.

    Args:
        center: ``(n_columns,)`` medians.
        factor: ``(n_columns,)`` float64.
    """

    center: Matrix
    factor: NDArray[np.float64]

    @classmethod
    def fit(cls, numbers: Matrix, center: Matrix) -> "RobustScaler":
        """Fit on finite numbers ``(n_rows, n_columns)``, at least one row."""
        low, first, third, high = np.quantile(numbers.astype(np.float64), [0, 0.25, 0.75, 1], axis=0)
        width = np.where(third > first, third - first, (high - low) / 2)
        return cls(center, np.divide(1.0, width, out=np.zeros_like(width), where=width > 0))

    def transform(self, numbers: Matrix) -> Matrix:
        """``(n_rows, n_columns)`` finite numbers to numbers between -3 and 3."""
        return smooth_clip((numbers - self.center.astype(np.float64)) * self.factor).astype(np.float32)

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        return {"kind": np.array("robust"), "center": self.center, "factor": self.factor}


def smooth_clip(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x / sqrt(1 + (x / 3)^2)``: nearly x around 0, never beyond 3."""
    return x / np.sqrt(1 + (x / SMOOTH_CLIP) ** 2)


@dataclass(frozen=True)
class NetInputs:
    """One float matrix and one matrix of codes for a net; fitted on a fold's train rows, nothing missing is left.

    The matrix has first the numbers (numeric columns, date parts and cycles) that vary in train, the missing ones
    filled with the median, then text components, then the one-hot columns of categorical columns with at most
    ``max_one_hot`` levels. The other categorical columns are codes: 0 for a missing, rare or unseen level, else 1 to
    ``cardinalities - 1``. Whether a number was missing is a categorical column of two levels.

    Args:
        text: encoder of the text columns.
        median: ``(n_raw,)`` fills missing numbers.
        kept: positions of the raw numbers that vary.
        scaler: of the kept numbers.
        flagged: positions of raw numbers whose absence is a categorical column.
        levels: per categorical column of the table the sorted table codes that have a code here.
        max_one_hot: categorical columns with more levels than this are codes.
        one_hot_scaler: of the one-hot columns.
    """

    text: TextEncoder
    median: Matrix
    kept: Codes
    scaler: RobustScaler | Scaler
    flagged: Codes
    levels: tuple[Codes, ...]
    max_one_hot: int
    one_hot_scaler: RobustScaler

    @classmethod
    def fit(
        cls, table: Table, rows: Codes, seed: int, *, scaling: NumberScaling, max_levels: int, max_one_hot: int
    ) -> "NetInputs":
        """Fit on ``rows``; at most ``max_levels`` of a column's most frequent levels get a code."""
        text = TextEncoder.fit(table, rows, seed)
        part = table.take(rows)
        raw = _numbers(part, text)
        missing, median = np.isnan(raw), _nan_median(raw)
        filled = np.where(missing, median, raw)
        kept = np.flatnonzero(filled.min(axis=0) < filled.max(axis=0))
        scaler = _fit_scaler(filled[:, kept], median[kept], scaling)
        levels = tuple(_frequent(part.codes[:, c], max_levels, MIN_COUNT) for c in range(part.codes.shape[1]))
        flagged = _flagged(missing)
        if not len(kept) and not levels and not len(flagged):
            flagged = np.zeros(1, np.int64)  # a net needs an input, be it a constant one
        none = np.zeros(0, np.float32)
        bare = cls(
            text, median, kept, scaler, flagged, levels, max_one_hot, RobustScaler(none, none.astype(np.float64))
        )
        one_hot = bare._one_hot(bare._all_codes(part, missing))
        return replace(bare, one_hot_scaler=RobustScaler.fit(one_hot, np.median(one_hot, axis=0)))

    @property
    def n_numbers(self) -> int:
        """How many of the first columns of the matrix are numbers other than text components."""
        return int((self.kept < len(self.median) - self.text.n_outputs).sum())

    @property
    def n_scaled(self) -> int:
        """How many of the first columns are numbers or text components; the rest are one-hot."""
        return len(self.kept)

    @property
    def n_columns(self) -> int:
        """Columns of the matrix."""
        return len(self.kept) + len(self.one_hot_scaler.center)

    @property
    def cardinalities(self) -> list[int]:
        """Per column of codes the number of codes, 0 included."""
        return [n_levels + 1 for n_levels in self._n_levels if n_levels > self.max_one_hot]

    def transform(self, table: Table) -> tuple[Matrix, Codes]:
        """Matrix ``(n_rows, n_columns)`` float32 and codes ``(n_rows, len(cardinalities))`` int64."""
        raw = _numbers(table, self.text)
        missing = np.isnan(raw)
        filled = np.where(missing, self.median, raw)[:, self.kept]
        codes = self._all_codes(table, missing)
        one_hot = self.one_hot_scaler.transform(self._one_hot(codes))
        matrix = np.hstack([self.scaler.transform(filled), one_hot]).astype(np.float32)
        return matrix, codes[:, [n > self.max_one_hot for n in self._n_levels]]

    @property
    def _n_levels(self) -> list[int]:
        return [2] * len(self.flagged) + [len(level) for level in self.levels]

    def _all_codes(self, table: Table, missing: NDArray[np.bool_]) -> Codes:
        """Codes of the absences and then of the categorical columns, ``(n_rows, n_flagged + n_categorical)``."""
        found = [_places(table.codes[:, c], level) for c, level in enumerate(self.levels)]
        return np.column_stack([missing[:, self.flagged].astype(np.int64) + 1, *found])

    def _one_hot(self, codes: Codes) -> Matrix:
        """A column a level for up to ``max_one_hot`` levels; a single one of -1, 0 and 1 for two levels."""
        blocks = [np.zeros((len(codes), 0), np.float32)]
        for column, n_levels in enumerate(self._n_levels):
            if n_levels <= self.max_one_hot:
                hot = (codes[:, [column]] == np.arange(1, n_levels + 1)).astype(np.float32)
                blocks.append(hot[:, 1:] - hot[:, :1] if n_levels == 2 else hot)
        return np.hstack(blocks)

    def save(self, folder: Path) -> None:
        """Write ``inputs.npz``, ``inputs.json`` and the text state."""
        arrays: dict[str, Any] = {f"level_{n:05d}": level for n, level in enumerate(self.levels)}
        arrays |= {"median": self.median, "kept": self.kept, "flagged": self.flagged}
        for prefix, scaler in (("scaler", self.scaler), ("one_hot", self.one_hot_scaler)):
            arrays |= {f"{prefix}.{name}": array for name, array in scaler.arrays().items()}
        np.savez(folder / "inputs.npz", **arrays)
        (folder / "inputs.json").write_text(json.dumps({"format": 1, "max_one_hot": self.max_one_hot}))
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "NetInputs":
        """Read what ``save`` wrote."""
        record = json.loads((folder / "inputs.json").read_text())
        with np.load(folder / "inputs.npz", allow_pickle=False) as stored:
            arrays = dict(stored)
        one_hot = RobustScaler(arrays["one_hot.center"], arrays["one_hot.factor"])
        return cls(
            TextEncoder.load(folder),
            arrays["median"],
            arrays["kept"],
            _read_scaler(arrays),
            arrays["flagged"],
            tuple(arrays[name] for name in sorted(arrays) if name.startswith("level_")),
            record["max_one_hot"],
            one_hot,
        )


@dataclass(frozen=True)
class NetFold:
    """The encoded train rows of one fold; read only."""

    inputs: NetInputs
    matrix: Matrix
    codes: Codes


def net_fold(task: FoldTask, *, scaling: NumberScaling, max_levels: int, max_one_hot: int) -> NetFold:
    """The train rows as matrix and codes, made once per worker: they do not depend on the parameters."""

    def make() -> NetFold:
        inputs = NetInputs.fit(
            task.table, task.train_rows, seed=0, scaling=scaling, max_levels=max_levels, max_one_hot=max_one_hot
        )
        return NetFold(inputs, *inputs.transform(task.table.take(task.train_rows)))

    key = ("net inputs", scaling, max_levels, max_one_hot, task.fold_key)
    found: NetFold = task.cache.get(key, make, lambda fold: fold.matrix.nbytes + fold.codes.nbytes)
    return found


def _fit_scaler(numbers: Matrix, center: Matrix, scaling: NumberScaling) -> RobustScaler | Scaler:
    return RobustScaler.fit(numbers, center) if scaling == "robust" else Scaler.fit(numbers, center, "quantile")


def _read_scaler(arrays: dict[str, Any]) -> RobustScaler | Scaler:
    own = {name.removeprefix("scaler."): array for name, array in arrays.items() if name.startswith("scaler.")}
    return RobustScaler(own["center"], own["factor"]) if own["kind"] == "robust" else Scaler.from_arrays(own)


def _flagged(missing: NDArray[np.bool_]) -> Codes:
    """Columns whose absence is worth a column; of several that are absent together the first (parts of one date)."""
    share = missing.mean(axis=0)
    flagged = np.flatnonzero((share > 0.001) & (share < 1))
    _, first = np.unique(missing[:, flagged], axis=1, return_index=True)
    return flagged[np.sort(first)].astype(np.int64)


def _places(codes: NDArray[np.int32], level: Codes) -> Codes:
    """1 + the place of each code in the sorted ``level``, 0 where it is not there."""
    if not len(level):
        return np.zeros(len(codes), np.int64)
    place = np.searchsorted(level, codes).clip(max=len(level) - 1)
    return np.where(level[place] == codes, place + 1, 0)
