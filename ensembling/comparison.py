"""Whether one prediction is better than another, beyond the luck of the rows and folds.

Paired bootstrap (Efron, Tibshirani 1993, An introduction to the bootstrap, chapter 16): folds are drawn with
replacement, then rows within each, the same for both predictions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.scoring import Judge, crossfitted_labels, score_values

ROWS_IN_ALL = 10_000_000
RESAMPLES = (100, 400)


@dataclass(frozen=True)
class Comparison:
    """How prediction A stands against prediction B, in the metric's units.

    Args:
        gain: A's score better than B's by this much; negative where it is worse.
        sem: standard error of that gain over resamples.
        probability: share of resamples in which A is better, ties half.
        folds_won, folds_lost: in how many folds A is better, or worse.
        n_resamples: that were drawn.
    """

    gain: float
    sem: float
    probability: float
    folds_won: int
    folds_lost: int
    n_resamples: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self).copy()


def compare(judge: Judge, a: NDArray[Any], b: NDArray[Any], seed: int = 0) -> Comparison:
    """Compare two out-of-fold predictions ``(n_rows, n_outputs)`` on the rows that both cover.

    Labels are decided by rules fitted on the other folds, once; the rules are not fitted anew per resample.

    Args:
        seed: of the resamples; 100 to 400 are drawn, fewer for many rows.
    """
    covered = judge.plan.coverage(0) & np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    fold_rows = [judge.plan.split(0, fold)[1] for fold in range(judge.plan.n_folds)]
    fold_rows = [rows for rows in (rows[covered[rows]] for rows in fold_rows) if len(rows)]
    first, second = (crossfitted_labels(judge, each) if judge.needs_labels else each for each in (a, b))
    sign = 1.0 if judge.metric.greater_is_better else -1.0
    fold_gains = np.array(
        [sign * (judge.score(rows, first) - judge.score(rows, second)) for rows in fold_rows], np.float64
    )
    gain = sign * (score_values(judge, first).value - score_values(judge, second).value)
    rng = np.random.default_rng(seed)
    n_resamples = int(np.clip(ROWS_IN_ALL // max(1, int(covered.sum())), *RESAMPLES))
    gains = np.array([sign * _resampled_gain(judge, first, second, fold_rows, rng) for _ in range(n_resamples)])
    gains = gains[np.isfinite(gains)]
    probability = float((gains > 0).mean() + 0.5 * (gains == 0).mean()) if len(gains) else float("nan")
    error = float(gains.std(ddof=1)) if len(gains) > 1 else float("nan")
    won, lost = int((fold_gains > 0).sum()), int((fold_gains < 0).sum())
    return Comparison(float(gain), error, probability, won, lost, len(gains))


def _resampled_gain(
    judge: Judge,
    first: NDArray[Any],
    second: NDArray[Any],
    fold_rows: list[NDArray[np.int64]],
    rng: np.random.Generator,
) -> float:
    drawn = [fold_rows[fold] for fold in rng.integers(0, len(fold_rows), len(fold_rows))]
    samples = [rows[rng.integers(0, len(rows), len(rows))] for rows in drawn]
    if judge.metric.aggregate == "mean_of_folds":
        gains = np.array([judge.score(rows, first) - judge.score(rows, second) for rows in samples])
        gains = gains[np.isfinite(gains)]
        return float(gains.mean()) if len(gains) else float("nan")
    everything = np.concatenate(samples)
    return judge.score(everything, first) - judge.score(everything, second)
