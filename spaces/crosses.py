"""Crossed categories: how often a combination of levels occurs, and the target's mean where it does."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.target_encoding import Levels, TargetEncoding, cross_fitted

NO_COLUMN = -1
COUNT = -1
MIN_ROWS = 2  # of a combination in train; rarer ones are "unknown"
MAX_COMBINATIONS = 1 << 62  # more than that overflow a key

# One row per column made: (first, second, third column of levels or -1, target column or -1 for the frequency).
Specs = NDArray[np.int64]


def draw_crosses(n_levels: NDArray[np.int64], n_crosses: int, n_targets: int, seed: int) -> Specs:
    """Specs of single columns, of pairs and of triples: ``(n_drawn, 4)``.

    Args:
        n_levels: ``(n_columns,)`` how many levels each column has; pairs and triples with fewer rows per combination
            come as well, the selection judges them.
        n_crosses: combinations of columns at most; single columns and pairs first, triples drawn for the rest.
        n_targets: each combination is encoded by so many target columns, and by its frequency.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    columns = range(len(n_levels))
    found: list[tuple[int, ...]] = []
    for order in (1, 2, 3):
        of_order = list(combinations(columns, order))
        kept = [c for c in of_order if np.prod((n_levels[list(c)] + 2).astype(np.float64)) < MAX_COMBINATIONS]
        room = max(0, n_crosses - len(found))
        found += [kept[place] for place in np.sort(rng.permutation(len(kept))[:room])]
    crosses = np.array([(*c, *[NO_COLUMN] * (3 - len(c))) for c in found], np.int64).reshape(-1, 3)
    targets = np.arange(COUNT, n_targets)
    return np.hstack([np.repeat(crosses, len(targets), axis=0), np.tile(targets, len(crosses))[:, None]])


@dataclass(frozen=True)
class _Cross:
    """One combination of columns: ``keys`` ``(n_known,)`` ascending, the share of rows of each, their encoding."""

    columns: NDArray[np.int64]
    sizes: NDArray[np.int64]
    keys: NDArray[np.int64]
    shares: Matrix
    encoding: TargetEncoding

    def known(self, levels: Levels) -> Levels:
        """Position of each row's combination among the known ones, -1 for others."""
        key = _keys(levels, self.columns, self.sizes)
        place = np.minimum(np.searchsorted(self.keys, key), max(0, len(self.keys) - 1))
        found = self.keys[place] == key if len(self.keys) else np.zeros(len(key), bool)
        return np.where(found, place, -1).astype(np.int32)

    def column(self, known: Levels, encoded: Matrix, target: int) -> NDArray[np.float32]:
        """The frequency, or one column of ``encoded``."""
        if target == COUNT:
            return np.append(self.shares, np.float32(0))[known]
        return encoded[:, target]


@dataclass(frozen=True)
class Crosses:
    """Frequencies and target encodings of crossed columns, fitted on train rows.

    Args:
        specs: ``(n_columns, 4)``, columns of one combination side by side.
        crosses: one per combination, in the order of ``specs``.
    """

    specs: Specs
    crosses: tuple[_Cross, ...]

    @classmethod
    def fit_transform(
        cls, specs: Specs, levels: Levels, targets: NDArray[np.float64], folds: NDArray[np.int64]
    ) -> tuple["Crosses", Matrix]:
        """Fit on all rows, and make their columns by cross-fitting.

        Args:
            specs: from :func:`draw_crosses`, or some rows of it.
            levels: ``(n_rows, n_columns)``, not negative.
            targets: ``(n_rows, n_targets)``.
            folds: ``(n_rows,)`` inner folds; a row is encoded by the others.
        """
        out = np.empty((len(levels), len(specs)), np.float32)
        crosses = []
        for combination, places in _by_combination(specs):
            cross = _fit_cross(combination, levels, targets)
            known = cross.known(levels)
            wanted = [t for t in specs[places, 3] if t != COUNT]
            encoded = np.empty(targets.shape, np.float32)
            encoded[:, wanted] = cross_fitted(known, targets[:, wanted], len(cross.keys), folds)
            for place in places:
                out[:, place] = cross.column(known, encoded, int(specs[place, 3]))
            crosses.append(cross)
        return cls(specs, tuple(crosses)), out

    def transform(self, levels: Levels) -> Matrix:
        """``(n_rows, n_columns)`` float32 for rows that were not fitted on; no NaN."""
        out = np.empty((len(levels), len(self.specs)), np.float32)
        for cross, (_, places) in zip(self.crosses, _by_combination(self.specs), strict=True):
            known = cross.known(levels)
            encoded = cross.encoding.transform(known)
            for place in places:
                out[:, place] = cross.column(known, encoded, int(self.specs[place, 3]))
        return out

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        state: dict[str, Any] = {"crosses": self.specs}
        for number, cross in enumerate(self.crosses):
            parts = {"sizes": cross.sizes, "keys": cross.keys, "shares": cross.shares}
            parts |= {"means": cross.encoding.means, "prior": cross.encoding.prior}
            state |= {f"{name}_{number:05d}": array for name, array in parts.items()}
        return state

    @classmethod
    def from_arrays(cls, stored: Any) -> "Crosses":
        """Read what ``arrays`` named, from a mapping with more keys perhaps."""
        specs = stored["crosses"]
        crosses = []
        for number, (combination, _) in enumerate(_by_combination(specs)):
            sizes, keys, shares, means, prior = (
                stored[f"{name}_{number:05d}"] for name in ("sizes", "keys", "shares", "means", "prior")
            )
            crosses.append(_Cross(combination, sizes, keys, shares, TargetEncoding(means, prior)))
        return cls(specs, tuple(crosses))


def _by_combination(specs: Specs) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Columns of each combination and the places of its specs, in a fixed order."""
    combinations_, place = np.unique(specs[:, :3], axis=0, return_inverse=True)
    return [(c[c != NO_COLUMN], np.flatnonzero(place == n)) for n, c in enumerate(combinations_)]


def _fit_cross(columns: NDArray[np.int64], levels: Levels, targets: NDArray[np.float64]) -> _Cross:
    sizes = levels[:, columns].max(axis=0, initial=0).astype(np.int64) + 2
    key = _keys(levels, columns, sizes)
    keys, place, counts = np.unique(key, return_inverse=True, return_counts=True)
    frequent = counts >= MIN_ROWS
    renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)
    encoding = TargetEncoding.fit(renumbered[place], targets, int(frequent.sum()))
    return _Cross(columns, sizes, keys[frequent], (counts[frequent] / len(key)).astype(np.float32), encoding)


def _keys(levels: Levels, columns: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """One whole number per combination of levels; levels beyond the fitted ones share the last place."""
    key = np.zeros(len(levels), np.int64)
    for column, size in zip(columns, sizes, strict=True):
        key = key * size + np.minimum(levels[:, column], size - 1)
    return key
