"""The units that model families fit values in, so that float32 keeps the digits that matter.

Boosting libraries and nets hold labels and predictions in float32, about seven digits. A target of 1.7e9 ± 29 has lost
all of its spread there. So values are shifted by their mean and divided by their standard deviation, in float64, before
a family sees them; predictions come back as float64 in the target's own units. It also makes penalties, learning rates
and tolerances mean the same for every target, whatever its units.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Outputs

BAND = 0.1
"""How far a prediction may lie outside of the train values, as a share of their range (of their logarithms for RMSLE).

Measured in ``benchmarks/extrapolation.py`` on ten sets: a tenth cost no family anything, on random folds or on rows
that lie beyond the train rows, and took 2 % off a linear model's error where one test row of fifty had a broken cell.
No margin at all cost up to 27 %.
"""
BAND_IN_TIME = 0.5
"""The same where folds go forward in time: there a trend may go on outside of the train values."""


GRID = 2.0**-22
"""Fitted values are rounded to this share of the spread, as float32 would near 2.

What lies behind is noise of the arithmetic; without it the same target in other units gives the same models.
"""


LARGEST, SMALLEST = 1e100, 1e-100  # magnitude and spread of a target; squares of others leave float64


def refuse_unfit(name: str, values: NDArray[Any]) -> None:
    """Refuse values of a regression that no family can fit and no metric can score.

    Args:
        name: of the target.
        values: ``(n_rows,)`` finite numbers, as they were read: whole numbers as int64.

    Raises:
        InputError: squared errors would leave the range of float64, or the differences between the values are lost in
            float64.
    """
    exact = values.astype(np.float64)
    row = int(np.abs(exact).argmax())
    spread = float(exact.max() - exact.min())
    if abs(exact[row]) > LARGEST or 0 < spread < SMALLEST:
        what = "large" if abs(exact[row]) > LARGEST else "little apart"
        raise InputError(
            f"target {name!r} holds {exact[row]:g} in row {row + 1}: its values are too {what} for squared errors; "
            "multiply the target by a constant, and the predictions by its inverse"
        )
    if values.dtype.kind in "iu" and len(np.unique(values)) > len(np.unique(exact)):
        raise InputError(
            f"target {name!r} holds whole numbers such as {values[row]} in row {row + 1} that differ behind their 16th "
            "digit, where arithmetic ends; subtract a constant from the target, and add it to the predictions"
        )


@dataclass(frozen=True)
class FitUnits:
    """An affine map of values, or of their ``log1p``, and the band that predictions are kept in.

    Args:
        center: subtracted first.
        spread: divided by then; positive.
        log1p: whether ``log(1 + y)`` is mapped instead of y.
        low, high: least and greatest prediction in the mapped units; infinite for no bound.
    """

    center: float = 0.0
    spread: float = 1.0
    log1p: bool = False
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of(cls, y: ArrayLike, *, log1p: bool, band: float = BAND) -> Self:
        """The units of a target.

        Args:
            y: ``(n_rows,)`` finite values; not negative with ``log1p``.
            log1p: whether the family fits logarithms.
            band: how far predictions may lie outside of the values, as a share of their range.
        """
        values = np.asarray(y, np.float64)
        if log1p:
            values = np.log1p(values)
        center = float(values.mean())
        spread = float((values - center).std())
        if not spread > 0:  # equal values, or so near that their differences underflow
            spread = 1.0
        lowest = (float(values.min()) - center) / spread
        highest = (float(values.max()) - center) / spread
        margin = band * (highest - lowest)
        return cls(center, spread, log1p, lowest - margin, highest + margin)

    def to_fit(self, y: ArrayLike) -> NDArray[np.float64]:
        """Values ``(n_rows,)`` as families fit them; NaN stays NaN."""
        values = np.asarray(y, np.float64)
        if self.log1p:
            values = np.log1p(values)
        reduced = (values - self.center) / self.spread
        return np.round(reduced / GRID) * GRID

    def to_output(self, raw: NDArray[Any]) -> Outputs:
        """A family's prediction ``(n_rows, 1)`` as float64 in the target's own units.

        Finite predictions are kept inside the band; what is not finite stays so, for the caller to refuse.
        """
        values = np.asarray(raw, np.float64)
        bounded = np.where(np.isfinite(values), values.clip(self.low, self.high), values)
        restored = bounded * self.spread + self.center
        if not self.log1p:
            return restored
        return np.expm1(np.minimum(restored, _LARGEST_LOGARITHM)).clip(min=0)

    def to_curve(self, curve: NDArray[np.float64]) -> NDArray[np.float64]:
        """A learning curve of RMSE or MAE in the units of the target, or of its logarithm."""
        return curve * self.spread

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The units of a record made by :meth:`to_json`."""
        return cls(**record)


_LARGEST_LOGARITHM = 700.0  # its exponential is still finite in float64
