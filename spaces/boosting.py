"""What gradient boosting families share: when a curve has stopped improving, and the shape of predictions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 5000
PATIENCE = 50
GPU_ROWS = 50_000  # from here on a GPU is worth its start
HISTOGRAM_BYTES = 256 * 16  # of one column in one node: 256 bins, a sum of gradients and one of second derivatives


@dataclass
class CurveWatch:
    """Collects a learning curve and says when to stop.

    Patience grows with the best round, ``50 + 0.3 * best``, so that slow learners get further and a fold's curve
    reaches well past its own best round: the round used for prediction comes from the other folds' curves.

    >>> watch = CurveWatch(greater_is_better=False, is_late=lambda: False)
    >>> [watch.add(value) for value in (3.0, 2.0)], watch.best_round
    ([False, False], 2)
    """

    greater_is_better: bool
    is_late: Callable[[], bool]
    values: list[float] = field(default_factory=list)
    best_round: int = 0
    stopped_by: str = "rounds"

    def add(self, value: float) -> bool:
        """Record the next round's value; True when boosting should stop."""
        self.values.append(value)
        best = self.values[self.best_round - 1] if self.best_round else None
        if best is None or (value > best if self.greater_is_better else value < best):
            self.best_round = len(self.values)
        if len(self.values) - self.best_round >= PATIENCE + 0.3 * self.best_round:
            self.stopped_by = "patience"
            return True
        if self.is_late():
            self.stopped_by = "deadline"
            return True
        return False

    @property
    def curve(self) -> NDArray[np.float64]:
        """``(n_rounds,)`` recorded values."""
        return np.asarray(self.values, np.float64)


def as_columns(raw: NDArray[Any], n_outputs: int) -> NDArray[np.float32]:
    """A library's prediction as ``(n_rows, n_outputs)`` float32."""
    return np.ascontiguousarray(np.asarray(raw, np.float32).reshape(-1, n_outputs))
