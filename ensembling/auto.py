"""The automatic choice: several methods, judged by rows that had no part in them, and the mean of the near-best.

On real pools no single method beats greedy selection beyond two standard errors; what holds up is to average what the
nested scores cannot tell apart, and to let the number of rows say which methods may take part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldsmith.ensembling.calibration import Calibrated
from foldsmith.ensembling.convex import Convex
from foldsmith.ensembling.fitted import Averaged, Fitted
from foldsmith.ensembling.greedy import FoldGreedy, Greedy
from foldsmith.ensembling.hill import SignedHill
from foldsmith.ensembling.method import CrossFitted, Method, as_result, cross_fit, fit_on
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.simple import BestSingle
from foldsmith.ensembling.stacks import LinearStack
from foldsmith.ensembling.task import BlendTask, EnsembleResult, Predictions, mix
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Scores, score_oof

FEW_ROWS = 500  # up to here nothing is chosen: nested scores of so few rows are mostly luck
MANY_ROWS = 2000
METHODS: tuple[Method, ...] = (Greedy(), FoldGreedy(), Convex(), Calibrated())
# On 1,200 rows they lost up to 1 % to greedy selection; from about 1,500 on they were seen to gain.
METHODS_OF_MANY_ROWS: tuple[Method, ...] = (LinearStack(), SignedHill())


@dataclass(frozen=True)
class Tried:
    """A method on all rows and cross-fitted, with its nested scores."""

    name: str
    fitted: Fitted
    crossed: CrossFitted
    scores: Scores


def fit_auto(predictions: Predictions, task: BlendTask, methods: Sequence[Method] = ()) -> EnsembleResult:
    """Average the methods that are within one standard error of the best by nested score.

    With up to 500 rows: the mean of fold-averaged greedy and convex weights, without a choice, for the best of many is
    then mostly lucky: to fall back to it cost up to a third of the loss. With more rows the best single member takes
    the place of the ensemble if it is surely better.

    Args:
        predictions: ``(n_rows, n_outputs)`` by member, best first.
        task: metric, labels, folds.
        methods: those that may take part; by default those for so many rows. Each may decline.
    """
    few = len(task.rows) <= FEW_ROWS
    if not methods:
        methods = (*METHODS, *METHODS_OF_MANY_ROWS) if len(task.rows) >= MANY_ROWS else METHODS
    if few:
        methods = [method for method in methods if method.name in (FoldGreedy.name, Convex.name)]
    pool = Pool(predictions, task)
    fit = [method for method in methods if method.why_not(pool) is None]
    tried = [_try(method, pool) for method in [*fit, BestSingle()]]
    *blends, single = tried
    chosen = blends if few else _near_best(blends, task)
    reason, oof = _reason(chosen, few), _crossed_choice(blends, task, few)
    if not few and _surely_better(single.scores, score_oof(task.judge, oof), task):
        chosen, reason, oof = [single], "no ensemble is better than the best single member", single.crossed.oof
    crossed = CrossFitted(oof, _shares(chosen))
    result = as_result("auto", _average(chosen, task), crossed, pool, reason)
    by_method = {one.name: one.scores.value for one in tried}
    return replace(result, by_method=by_method)


def _try(method: Method, pool: Pool) -> Tried:
    crossed = cross_fit(method, pool)
    return Tried(method.name, fit_on(method, pool), crossed, score_oof(pool.judge, crossed.oof))


def _near_best(tried: Sequence[Tried], task: BlendTask, left_out: int | None = None) -> list[Tried]:
    """Methods whose nested score is within one standard error, of the paired differences over folds, of the best."""
    folds = np.array([fold for fold in range(task.judge.plan.n_folds) if fold != left_out])
    sign = -1.0 if task.judge.metric.greater_is_better else 1.0
    losses = sign * np.array([np.array(one.scores.per_fold)[folds] for one in tried])
    losses = losses[:, np.isfinite(losses).all(axis=0)]
    if losses.shape[1] < 2:
        return list(tried)
    gaps = losses - losses[int(losses.mean(axis=1).argmin())]
    errors = gaps.std(axis=1, ddof=1) / np.sqrt(losses.shape[1])
    return [one for one, gap, error in zip(tried, gaps.mean(axis=1), errors, strict=True) if gap <= error]


def _surely_better(a: Scores, b: Scores, task: BlendTask) -> bool:
    """Whether ``a`` beats ``b`` in every fold, and by more than two standard errors of their differences over folds."""
    sign = 1.0 if task.judge.metric.greater_is_better else -1.0
    gains = sign * (np.array(a.per_fold) - np.array(b.per_fold))
    gains = gains[np.isfinite(gains)]
    return len(gains) > 1 and bool(gains.min() > 0 and gains.mean() > 2 * gains.std(ddof=1) / np.sqrt(len(gains)))


def _average(chosen: Sequence[Tried], task: BlendTask) -> Fitted:
    if len(chosen) == 1:
        return chosen[0].fitted
    return Averaged(tuple((1 / len(chosen), one.fitted) for one in chosen), task.judge.metric.blend_space)


def _mean(chosen: Sequence[Tried], task: BlendTask) -> Outputs:
    """The chosen methods' nested predictions, averaged."""
    oofs: Mapping[str, Outputs] = {one.name: one.crossed.oof for one in chosen}
    return mix(dict.fromkeys(oofs, 1 / len(oofs)), oofs, task.judge.metric.blend_space)


def _crossed_choice(blends: Sequence[Tried], task: BlendTask, few: bool) -> Outputs:
    """The nested prediction with the choice itself cross-fitted: each fold by methods chosen on the other folds.

    What the methods predict for those other folds was fitted with this fold's labels, so a trace of them is left in the
    choice, none in the weights.
    """
    oof = np.full_like(blends[0].crossed.oof, np.nan)
    for fold in np.unique(task.fold_of_row[task.rows]).tolist():
        chosen = list(blends) if few else _near_best(blends, task, left_out=fold)
        rows = task.fold_of_row == fold
        oof[rows] = _mean(chosen, task)[rows]
    return oof


def _shares(chosen: Sequence[Tried]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in chosen:
        for name, weight in one.crossed.shares.items():
            total[name] = total.get(name, 0.0) + weight / len(chosen)
    return total


def _reason(chosen: Sequence[Tried], few: bool) -> str:
    names = " + ".join(one.name for one in chosen)
    if few:
        return f"few rows, so nothing is chosen: the mean of {names}"
    if len(chosen) == 1:
        return f"{names} alone is within one standard error of the best nested score"
    return f"within one standard error of the best nested score, so averaged: {names}"
