"""The scales on which predictions are averaged, and the way back.

``identity`` for most metrics, ``log1p`` for RMSLE. Others on request: ``logit`` (chances of members that are sure of
different things), ``rank`` (scores of unlike scales, for metrics of order only), ``power`` (squares: the surer member
counts more).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.metrics import Metric

SPACES = ("identity", "log1p", "logit", "rank", "power")
EDGE = 1e-6  # chances are kept this far from 0 and 1 where they become logits


def to_space(prediction: NDArray[Any], space: str) -> NDArray[np.float64]:
    """Predictions ``(…, n_outputs)`` as float64 where they are averaged."""
    values = np.asarray(prediction, np.float64)
    match space:
        case "log1p":
            return np.asarray(np.log1p(values.clip(min=0)))
        case "logit":
            if values.shape[-1] == 1:
                inside = values.clip(EDGE, 1 - EDGE)
                return np.asarray(np.log(inside / (1 - inside)))
            return np.asarray(np.log(values.clip(EDGE)))
        case "rank":
            from scipy.stats import rankdata

            return np.asarray(rankdata(values, axis=-2, nan_policy="omit") / values.shape[-2])
        case "power":
            return np.asarray(np.sign(values) * values**2)
    return values


def from_space(values: NDArray[np.float64], space: str) -> NDArray[np.float64]:
    """The way back; ranks stay ranks."""
    match space:
        case "log1p":
            return np.expm1(values)
        case "logit":
            if values.shape[-1] == 1:
                return np.asarray(1 / (1 + np.exp(-values)))
            raised = np.exp(values - values.max(axis=-1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
        case "power":
            root = np.sign(values) * np.sqrt(np.abs(values))
            if values.shape[-1] == 1:
                return np.asarray(root)
            return np.asarray(root / root.sum(axis=-1, keepdims=True).clip(EDGE))
    return values


def logit_losses(logits: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(n_rows,)`` log loss of each row, of logits ``(n_rows, n_outputs)`` as :func:`to_space` gives them."""
    if logits.shape[1] == 1:
        return np.asarray(np.logaddexp(0, np.where(codes == 1, -logits[:, 0], logits[:, 0])))
    return np.asarray(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(codes)), codes])


def check_space(space: str, metric: Metric) -> None:
    """Refuse a space that a metric's predictions cannot be averaged in.

    Raises:
        UnknownNameError: no such space.
        InputError: logits of values, or ranks for a metric that looks at more than the order.
    """
    if space not in SPACES:
        raise UnknownNameError("blend space", space, SPACES)
    if space == "logit" and metric.needs == "value":
        raise InputError(f"blend space 'logit' is for chances, but {metric.name} needs values; use identity or log1p")
    if space == "rank" and metric.name not in ("auc", "average_precision"):
        raise InputError(
            f"blend space 'rank' keeps the order only, but {metric.name} looks at more; use it with auc or "
            "average_precision"
        )
