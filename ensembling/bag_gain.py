"""What the mean of the folds' models is expected to gain on test rows over one of them, before any label is known.

Out-of-fold scores are those of single fold models, but test rows are predicted by the mean of them all, which is
better. By how much does not need the test's labels: for a squared loss the gain is the models' spread about their mean,
row by row (Krogh, Vedelsby 1995, Neural network ensembles, cross validation, and active learning, equation 6). For any
other metric labels are drawn as the ensemble expects them: classes by its chances, values with the residuals that it
has out of fold. Chances of two classes are brought to the truth first by a logistic curve of their logits out of fold
(Platt 1999, Probabilistic outputs for support vector machines), which also makes chances of ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.blend_space import from_space, to_space
from foldsmith.problem.decisions import Decision
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Judge

MAX_ROWS = 20_000
DRAWS = 20

Draw = Callable[[np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class BagGain:
    """Test score of the mean of the folds' models over the mean score of each alone.

    Args:
        gain: expected, in the metric's units, positive where the mean is better.
        sd: between test files of so many rows: how far the gain of one file may lie from it.
        n_models: fold models behind each test prediction.
        without: members of which only the mean is known: their part of the gain is missing.
    """

    gain: float
    sd: float
    n_models: int
    without: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "without": list(self.without)}


def expected_bag_gain(
    judge: Judge,
    bagged: Outputs,
    alone: Sequence[Outputs],
    oof: Outputs,
    decision: Decision | None,
    *,
    without: Sequence[str] = (),
    seed: int = 0,
) -> BagGain:
    """Expect the gain from drawn labels.

    Args:
        judge: metric and labels of the train rows.
        bagged: ``(n_test, n_outputs)`` the prediction that is submitted.
        alone: the same by each fold's models only.
        oof: ``(n_rows, n_outputs)`` nested out-of-fold prediction, for the residuals of a regression.
        decision: of label metrics.
        without: members that every entry of ``alone`` predicts by their mean.
        seed: of the labels.
    """
    rng = np.random.default_rng(seed)
    is_chance = judge.metric.goal(judge.task, judge.n_classes).is_classification
    draw = _class_drawer(judge, bagged, alone, oof) if is_chance else _value_drawer(judge, bagged, alone, oof)
    candidates = [bagged if decision is None else decision.apply(bagged)]
    candidates += [one if decision is None else decision.apply(one) for one in alone]
    sign = 1.0 if judge.metric.greater_is_better else -1.0
    gains = []
    for _ in range(DRAWS):
        y = draw(rng)
        together, *each = (judge.metric.score(y, values) for values in candidates)
        gains.append(sign * (together - float(np.mean(each))))
    known = np.array([gain for gain in gains if np.isfinite(gain)])
    if len(known) < 2:
        return BagGain(float("nan"), float("nan"), len(alone), tuple(without))
    return BagGain(float(known.mean()), float(known.std(ddof=1)), len(alone), tuple(without))


def _class_drawer(judge: Judge, bagged: Outputs, alone: Sequence[Outputs], oof: Outputs) -> Draw:
    """Classes drawn by the chances of each row."""
    if bagged.shape[1] == 1:
        p = _calibrated(judge, bagged, alone, oof)
        return lambda rng: (rng.random(len(p)) < p).astype(np.int64)
    ends = np.asarray(bagged, np.float64).cumsum(axis=1)
    ends /= ends[:, -1:]
    return lambda rng: (ends < rng.random((len(ends), 1))).sum(axis=1).clip(max=judge.n_classes - 1)


def _calibrated(judge: Judge, bagged: Outputs, alone: Sequence[Outputs], oof: Outputs) -> NDArray[np.float64]:
    """``(n_test,)`` the chance of class 1 by Platt's curve, fitted out of fold on at most 20,000 rows.

    That curve is one of single models, whose noise flattens it. A mean of models has less, so it is made steeper by
    what their spread explains.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(np.isfinite(oof[:, 0]))
    rows = rows[:: -(-len(rows) // MAX_ROWS)]
    curve = LogisticRegression(C=1e3).fit(to_space(oof[rows], "logit"), judge.y[rows])
    slope, intercept = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    logits = to_space(bagged, "logit")[:, 0]
    singles = np.stack([to_space(one, "logit")[:, 0] for one in alone])
    noise, total = float(singles.var(axis=0, ddof=1).mean()), float(singles.var(axis=1).mean())
    steeper = total / max(total - noise * (1 - 1 / len(alone)), total / 4) if total > 0 else 1.0
    middle = float(logits.mean())
    return np.asarray(1 / (1 + np.exp(-(intercept + slope * (middle + steeper * (logits - middle))))))


def _value_drawer(judge: Judge, bagged: Outputs, alone: Sequence[Outputs], oof: Outputs) -> Draw:
    """Values drawn with residuals that leave each fold's model alone with the error that it has out of fold."""
    space = judge.metric.blend_space
    center = to_space(bagged, space)[:, 0]
    spread = np.mean([np.mean((to_space(one, space)[:, 0] - center) ** 2) for one in alone])
    rows = np.flatnonzero(np.isfinite(oof).all(axis=1))
    residuals = to_space(np.asarray(judge.y[rows], np.float64)[:, None], space)[:, 0] - to_space(oof[rows], space)[:, 0]
    squared = float(np.mean(residuals**2))
    residuals = residuals * max(0.0, 1 - float(spread) / squared) ** 0.5 if squared > 0 else residuals

    def draw(rng: np.random.Generator) -> NDArray[Any]:
        drawn = center + residuals[rng.integers(0, len(residuals), len(center))]
        values = np.asarray(from_space(drawn[:, None], space)[:, 0])
        # ratings: labels predicted as values, cut into classes
        return values if judge.task == "regression" else values.round().clip(0, judge.n_classes - 1).astype(np.int64)

    return draw
