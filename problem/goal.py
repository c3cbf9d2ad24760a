"""What a model family is asked to fit: the task seen from the metric's side."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Loss = Literal["log_loss", "squared", "absolute"]
Monitor = Literal["log_loss", "auc", "rmse", "mae"]

Outputs = NDArray[np.floating[Any]]
"""Predictions ``(n_rows, n_outputs)`` as they are stored: float32 for probabilities, float64 for values."""


@dataclass(frozen=True)
class Goal:
    """What one fold fits and how its learning curve is measured.

    A quadratic-kappa problem with six classes has ``kind="regression"`` here: the families fit the class code and
    cut points turn it into labels later (:mod:`foldsmith.problem.decisions`).

    Args:
        kind: what the estimator is: a classifier of two or of several classes, or a regressor.
        n_classes: 2 for binary, C for multiclass, 0 for regression.
        loss: the training objective.
        monitor: the curve recorded on the validation rows for early stopping.
        log1p: the regression target was transformed by log(1 + y); predictions are transformed back by the caller.
    """

    kind: Task
    n_classes: int
    loss: Loss
    monitor: Monitor
    log1p: bool = False

    @property
    def n_outputs(self) -> int:
        """Columns of a prediction: one for binary (chance of class 1) and regression, else one per class."""
        return self.n_classes if self.kind == "multiclass" else 1

    @property
    def dtype(self) -> type[np.float32] | type[np.float64]:
        """What predictions are stored in: seven digits suffice for probabilities, values may have a large offset."""
        if self.is_classification:
            return np.float32
        return np.float64

    @property
    def is_classification(self) -> bool:
        """Whether predictions are class chances."""
        return self.kind != "regression"

    @property
    def monitor_greater_is_better(self) -> bool:
        """The direction of the learning curve."""
        return self.monitor == "auc"
