"""Numeric columns to the ranges that linear models, distances and nets want; fitted on train rows, saved as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Scaling = Literal["standard", "quantile", "pieces"]

N_QUANTILES = 256
N_PIECES = 16
CLIP = 5.0
CELLS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Scaler:
    """One of three transforms of numeric columns without missing values.

    - ``"standard"``: centred at the median, divided by the standard deviation, clipped to five of them, so that one
      wild value cannot carry a linear model or a net away.
    - ``"quantile"``: normal scores of the empirical distribution (van der Waerden), linear between quantiles.
    - ``"pieces"``: ``"standard"`` and beside it the piecewise-linear encoding of Gorishniy, Rubachev & Babenko
      (2022, arXiv:2203.05556, eq. 1): one ramp from 0 to 1 per quantile bin. A linear model on it is additive and
      piecewise linear in each column. Unlike there, the outer bins are clipped too.

    Args:
        kind: the transform.
        center: ``(n_columns,)``.
        scale: ``(n_columns,)``; infinite for a constant column, which becomes zero.
        knots: per column (the first ones, for ``"pieces"``) its distinct quantiles, ascending; none for ``"standard"``.
        scores: per column the normal score of each knot; entries for ``"quantile"`` only.
    """

    kind: Scaling
    center: Matrix
    scale: Matrix
    knots: tuple[Matrix, ...] = ()
    scores: tuple[Matrix, ...] = ()

    @classmethod
    def fit(cls, numbers: Matrix, center: Matrix, kind: Scaling, *, n_plain: int = 0) -> "Scaler":
        """Fit on finite numbers.

        Args:
            numbers: ``(n_rows, n_columns)``.
            center: ``(n_columns,)``, usually the median.
            kind: the transform.
            n_plain: how many of the last columns get no ramps: many and smooth already, as components of text are.
        """
        scale = numbers.std(axis=0, dtype=np.float64).astype(np.float32)
        scale[scale <= 1e-7 * np.abs(center) + 1e-12] = np.inf
        if kind == "standard":
            return cls(kind, center, scale)
        columns = range(numbers.shape[1])
        if kind == "pieces":
            ramped = numbers[:, : len(columns) - n_plain]
            return cls(kind, center, scale, tuple(knots for knots, _ in _quantiles(ramped, N_PIECES + 1)))
        found = zip(columns, _quantiles(numbers, N_QUANTILES), strict=True)
        fitted = [_normal_scores(numbers[:, c], knots, chances) for c, (knots, chances) in found]
        return cls(kind, center, scale, tuple(knots for knots, _ in fitted), tuple(score for _, score in fitted))

    @property
    def n_outputs(self) -> int:
        """Columns that ``transform`` makes."""
        return len(self.center) + (sum(_n_ramps(knots) for knots in self.knots) if self.kind == "pieces" else 0)

    def transform(self, numbers: Matrix) -> Matrix:
        """``(n_rows, n_columns)`` finite numbers to ``(n_rows, n_outputs)``."""
        if self.kind == "quantile":
            out = np.zeros_like(numbers)
            for column, (knots, scores) in enumerate(zip(self.knots, self.scores, strict=True)):
                out[:, column] = np.interp(numbers[:, column], knots, scores)
            return out
        # In float64, where the difference of two float32 values cannot overflow.
        standard = np.clip((numbers - self.center.astype(np.float64)) / self.scale, -CLIP, CLIP).astype(np.float32)
        ramps = [_ramps(numbers[:, column], knots) for column, knots in enumerate(self.knots)]
        return np.hstack([standard, *ramps])

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        lists = {"knots": self.knots, "scores": self.scores}
        columns = {f"{name}_{n:05d}": array for name, arrays in lists.items() for n, array in enumerate(arrays)}
        return {"kind": np.array(self.kind), "center": self.center, "scale": self.scale, **columns}

    @classmethod
    def from_arrays(cls, stored: Any) -> "Scaler":
        """Read what ``arrays`` named, from a mapping with more keys perhaps."""
        names = sorted(stored)
        knots = tuple(stored[name] for name in names if name.startswith("knots_"))
        scores = tuple(stored[name] for name in names if name.startswith("scores_"))
        kind: Any = str(stored["kind"])
        return cls(kind, stored["center"], stored["scale"], knots, scores)


def _quantiles(numbers: Matrix, n_quantiles: int) -> Iterator[tuple[Matrix, NDArray[np.float64]]]:
    """Distinct quantiles of each column and the mean probability of each: ties share the middle of their range.

    Several columns at once: of thousands of short ones the calls would take longer than the work.
    """
    n_rows, n_columns = numbers.shape
    chances = np.linspace(0, 1, min(n_quantiles, max(2, n_rows)))
    step = max(1, CELLS_AT_ONCE // max(1, n_rows))
    for first in range(0, n_columns, step):
        some = np.ascontiguousarray(numbers[:, first : first + step].T, np.float64)
        for values in np.quantile(some, chances, axis=1).astype(np.float32).T:
            knots, place = np.unique(values, return_inverse=True)
            yield knots, np.bincount(place, chances) / np.bincount(place)


def _normal_scores(column: Matrix, knots: Matrix, chances: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """Knots and their normal scores, scaled so that the column's transform has a deviation of one."""
    from scipy.special import ndtri

    margin = 0.5 / max(2, min(N_QUANTILES, len(column)))
    scores = ndtri(np.clip(chances, margin, 1 - margin))
    if len(knots) < 2:
        return knots, np.zeros(len(knots), np.float32)
    deviation = np.interp(column, knots, scores).std()
    return knots, (scores / max(deviation, 1e-3)).clip(-CLIP, CLIP).astype(np.float32)


def _n_ramps(knots: Matrix) -> int:
    """Ramps of a column; a single one would repeat the standardised column."""
    return len(knots) - 1 if len(knots) > 2 else 0


def _ramps(column: Matrix, knots: Matrix) -> Matrix:
    """``(n_rows, n_ramps)``: how far the value has passed through each bin, 0 to 1."""
    if not _n_ramps(knots):
        return np.zeros((len(column), 0), np.float32)
    exact = knots.astype(np.float64)
    return np.clip((column[:, None] - exact[:-1]) / np.diff(exact), 0, 1).astype(np.float32)
