"""What a number is beside the others of its group: the group's mean, the ratio to it, the rank inside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.target_encoding import Levels

STATISTICS = ("mean", "ratio", "rank")
MIN_ROWS = 5  # of a group; statistics of smaller ones are missing
RANK_ROWS = 20_000  # train rows that ranks are taken among

# One row per column made: (column of levels, column of numbers, place in STATISTICS).
Specs = NDArray[np.int64]


def draw_statistics(n_groupings: int, n_numbers: int, n_statistics: int, seed: int) -> Specs:
    """Random distinct specs, ``(n_drawn, 3)``, at most ``n_statistics``."""
    sizes = (n_groupings, n_numbers, len(STATISTICS))
    total = int(np.prod(sizes))
    drawn = np.random.default_rng(seed).permutation(total)[:n_statistics]
    return np.stack(np.unravel_index(np.sort(drawn), sizes), axis=1).astype(np.int64) if total else _none()


@dataclass(frozen=True)
class GroupStatistics:
    """Statistics of numbers inside groups, fitted on train rows; no label is used.

    Args:
        specs: ``(n_columns, 3)``.
        tables: one per column: ``(n_levels,)`` group means, or for ranks the sorted ``group + rank`` keys
            (see :func:`_rank_keys`) of some train rows.
        scales: one per column: for ranks the sorted distinct values that keys count by, else empty.
    """

    specs: Specs
    tables: tuple[NDArray[np.float64], ...]
    scales: tuple[Matrix, ...]

    @classmethod
    def fit(cls, specs: Specs, levels: Levels, numbers: Matrix, seed: int) -> "GroupStatistics":
        """Fit on all rows of ``levels`` ``(n_rows, n_groupings)`` and ``numbers`` ``(n_rows, n_numbers)``."""
        rows = np.random.default_rng(seed).permutation(len(levels))[:RANK_ROWS]
        tables, scales = [], []
        for grouping, number, statistic in specs:
            group, column = levels[:, grouping], numbers[:, number]
            if STATISTICS[statistic] == "rank":
                known = rows[~np.isnan(column[rows])]
                scale = np.unique(column[known])
                tables.append(np.sort(_rank_keys(group[known], column[known], scale)))
            else:
                scale = np.zeros(0, np.float32)
                tables.append(_group_means(group, column))
            scales.append(scale)
        return cls(specs, tuple(tables), tuple(scales))

    def transform(self, levels: Levels, numbers: Matrix) -> Matrix:
        """``(n_rows, n_columns)`` float32; NaN for missing numbers and for groups without enough train rows."""
        out = np.empty((len(levels), len(self.specs)), np.float32)
        for place, (grouping, number, statistic) in enumerate(self.specs):
            group, column, table = levels[:, grouping], numbers[:, number], self.tables[place]
            if STATISTICS[statistic] == "rank":
                out[:, place] = _ranks(group, column, table, self.scales[place])
            else:
                means = np.append(table, np.nan)[np.minimum(group, len(table))]
                out[:, place] = means if STATISTICS[statistic] == "mean" else _ratios(column, means)
        return out

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        state: dict[str, Any] = {"statistics": self.specs}
        state |= {f"table_{place:05d}": table for place, table in enumerate(self.tables)}
        return state | {f"scale_{place:05d}": scale for place, scale in enumerate(self.scales)}

    @classmethod
    def from_arrays(cls, stored: Any) -> "GroupStatistics":
        """Read what ``arrays`` named, from a mapping with more keys perhaps."""
        specs = stored["statistics"]
        tables = tuple(stored[f"table_{place:05d}"] for place in range(len(specs)))
        return cls(specs, tables, tuple(stored[f"scale_{place:05d}"] for place in range(len(specs))))


def _none() -> Specs:
    return np.zeros((0, 3), np.int64)


def _group_means(group: Levels, column: Matrix) -> NDArray[np.float64]:
    """Mean of the known values per level, NaN where there are few."""
    known = ~np.isnan(column)
    n_levels = int(group.max(initial=0)) + 1
    counts = np.bincount(group[known], minlength=n_levels)
    sums = np.bincount(group[known], column[known], n_levels)
    return np.where(counts >= MIN_ROWS, sums / np.maximum(counts, 1), np.nan)


def _ratios(column: Matrix, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value by mean; NaN where the mean is zero."""
    with np.errstate(all="ignore"):
        ratio = column / means
    return np.where(np.isfinite(ratio) & (np.abs(ratio) < np.finfo(np.float32).max), ratio, np.nan)


def _rank_keys(group: Levels, column: Matrix, scale: Matrix) -> NDArray[np.float64]:
    """One number per row that sorts by group first, then by value: ``group * (2 * n_values + 1) + place``.

    A value of the scale has an odd place, twice its position plus one; one between two of them an even place.
    """
    below, upto = np.searchsorted(scale, column, "left"), np.searchsorted(scale, column, "right")
    return group.astype(np.float64) * (2 * len(scale) + 1) + below + upto


def _ranks(group: Levels, column: Matrix, keys: NDArray[np.float64], scale: Matrix) -> NDArray[np.float64]:
    """Share of the group's fitted rows below the value, ties counted by half."""
    width = 2 * len(scale) + 1
    own = _rank_keys(group, column, scale)
    first, last = (np.searchsorted(keys, (group.astype(np.float64) + more) * width) for more in (0, 1))
    middle = (np.searchsorted(keys, own, "left") + np.searchsorted(keys, own, "right")) / 2
    size = last - first
    with np.errstate(all="ignore"):
        share = (middle - first) / size
    return np.where((size >= MIN_ROWS) & ~np.isnan(column), share, np.nan)
