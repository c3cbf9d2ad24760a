"""Offsets and units of numeric columns, taken off in float64 before a table becomes float32.

Tables are float32, about seven digits. Seconds since 1970, ids, coordinates and prices with a base vary in digits
behind those: 1.6e9 + 0…99 has one value left. Such a column is stored relative to its middle. All others are stored as
they are, so that ratios and products of columns keep their meaning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError

Floats = NDArray[np.float64]
Numbers = NDArray[np.float64] | NDArray[np.int64]

ROUNDING = 1e-5
"""A column is shifted when float32 rounds its values by more than this share of their interquartile range."""
MERGED = 0.01
"""It is also shifted when more than this share of its distinct values are equal as float32."""
OFFSETS = (0.5, 0.25, 0.75, 0.05, 0.95)  # quantiles that are tried: many values may lie far from the median
SAMPLE_ROWS = 20_000
PLAIN = (1e-2, 1e30)
"""The spread and the magnitude between which a column keeps its unit.

scikit-learn's forests take values that differ by less than 1e-7 for equal, and float32 ends at 3.4e38.
"""
EXACT = 2.0**53  # float64 tells whole numbers apart up to here
LARGEST = float(np.finfo(np.float32).max)  # that a stored number may be


@dataclass(frozen=True)
class Shift:
    """How a column is stored: ``(value - offset) / unit``.

    Args:
        offset: in the column's own units; an int where the column holds whole numbers that float64 cannot tell apart.
        unit: a power of two, so that dividing by it loses nothing.
    """

    offset: float | int = 0.0
    unit: float = 1.0

    def reduce(self, values: Numbers) -> Floats:
        """Values ``(n,)`` as they are stored; missing ones stay missing."""
        return np.asarray((values - self.offset) / self.unit, np.float64)

    def restore(self, stored: NDArray[Any]) -> Floats:
        """The way back, as float64."""
        return np.asarray(stored, np.float64) * self.unit + self.offset


NO_SHIFT = Shift()


def find_shift(read: Callable[[slice], Numbers], n_rows: int) -> Shift | None:
    """The shift of a column, or None when float32 holds its values as they are.

    Args:
        read: gives the values of some rows as float64, NaN for missing, or as int64.
        n_rows: of the column; at most 20,000 evenly spaced ones are looked at.
    """
    values = read(slice(None, None, max(1, n_rows // SAMPLE_ROWS)))
    if values.dtype.kind == "i" and len(values) and np.abs(values.astype(np.float64)).max() > EXACT:
        base = int(np.sort(values)[len(values) // 2])
        inner = _find_shift((values - base).astype(np.float64)) or NO_SHIFT
        return Shift(base + int(inner.offset), inner.unit)
    return _find_shift(values.astype(np.float64))


def _find_shift(values: Floats) -> Shift | None:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    body = _body(known)
    spread = float(body[-1] - body[0])
    if spread == 0:
        return None
    unit = 1.0
    if spread < PLAIN[0] or np.abs(body).max() > PLAIN[1]:
        unit = 2.0 ** round(np.log2(spread))
    shift = Shift(_offset(known / unit, body / unit) * unit, unit)
    return None if shift == NO_SHIFT else shift


def _offset(known: Floats, body: Floats) -> float:
    """The value that the column is stored relative to, 0 where float32 tells its values apart without one."""
    spread = float(body[-1] - body[0])
    rounding = float(np.abs(body - body.astype(np.float32)).max())
    if rounding <= ROUNDING * spread and _n_distinct(known, 0.0) >= (1 - MERGED) * len(np.unique(known)):
        return 0.0
    offsets = np.quantile(known, OFFSETS, method="nearest").tolist()
    return float(max(offsets, key=lambda offset: _n_distinct(known, offset)))


def _n_distinct(known: Floats, offset: float) -> int:
    with np.errstate(over="ignore"):  # one that is too large is refused when the column is stored
        return len(np.unique((known - offset).astype(np.float32)))


def _body(known: Floats) -> Floats:
    """The middle half of the values in order; wider where it is all one value, which tells nothing of the spread."""
    ordered = np.sort(known)
    for share in (0.25, 0.1, 0.01, 0.0):
        first = round(share * (len(ordered) - 1))
        body = ordered[first : len(ordered) - first]
        if body[0] < body[-1]:
            break
    return body


def to_float32(name: str, values: Numbers, shift: Shift) -> NDArray[np.float32]:
    """A column ``(n,)`` as it is stored: reduced, ±inf as missing.

    Raises:
        InputError: a value so far from the others that no model can take it.
    """
    reduced = shift.reduce(values)
    reduced[np.isinf(reduced)] = np.nan
    too_large = np.flatnonzero(np.abs(reduced) > LARGEST)
    if len(too_large):
        row = int(too_large[0])
        raise InputError(
            f"column {name!r} holds {values[row]:g} in row {row + 1} (the header not counted), too far from its other "
            "values for any model; correct the value, or leave the cell empty if it stands for a missing one"
        )
    return reduced.astype(np.float32)
