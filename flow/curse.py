"""The winner's curse of choosing the best of many, estimated from stored predictions alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.flow.submission import why_not_comparable
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.resampled import resampled_scorer
from foldsmith.problem.scoring import crossfitted_labels
from foldsmith.results.members import MemberStore
from foldsmith.results.soundness import sound
from foldsmith.results.top import ranked

DRAWS = (50, 400)
WORK = 2_000_000_000  # rows x members x draws
WEIGHTS = 20_000_000  # that are held at once


@dataclass(frozen=True)
class CurseEstimate:
    """What the best of many is worth when the choice is not scored on the rows that made it.

    Args:
        leader: the best member, and its score on all rows.
        honest: mean score on rows that had no part in choosing.
        curse: how much better the leader's score looks, in the metric's units.
    """

    leader: str
    score: float
    honest: float
    curse: float
    n_members: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self).copy()


def estimate_curse(problem: Problem, members: MemberStore, seed: int = 0) -> CurseEstimate:
    """The winner's curse of choosing the best single member, from stored predictions alone.

    In every bootstrap draw of rows the best member on the drawn rows is scored on those that were not drawn. Source:
    Tsamardinos, Greasidou, Borboudakis 2018, Bootstrapping the out-of-sample predictions for efficient and accurate
    cross-validation (BBC-CV). Nothing is fitted again; what the choice of parameters learned from the folds stays in.

    Raises:
        InputError: fewer than two members.
    """
    found = [one for one in members.all() if one.kind != "blend" and why_not_comparable(problem, one) is None]
    best = ranked(sound(problem, members, found), greater_is_better=problem.metric.greater_is_better)
    if len(best) < 2:
        raise InputError(f"{len(best)} member(s): there was nothing to choose from")
    oofs = {one.id: members.oof(one.id) for one in best}
    judge = problem.judge
    rows = np.flatnonzero(
        judge.plan.coverage(0) & np.all([np.isfinite(oof).all(axis=1) for oof in oofs.values()], axis=0)
    )
    values = [
        crossfitted_labels(judge, oof)[rows] if judge.needs_labels else np.asarray(oof[rows]) for oof in oofs.values()
    ]
    scorers = [resampled_scorer(judge.metric, judge.y[rows], one) for one in values]
    sign = 1.0 if judge.metric.greater_is_better else -1.0
    whole = np.array([score(np.ones((1, len(rows))))[0] for score in scorers])
    rng = np.random.default_rng(seed)
    n_draws = int(np.clip(WORK // (len(rows) * len(scorers)), *DRAWS))
    honest: list[NDArray[np.float64]] = []
    step = max(1, WEIGHTS // len(rows))
    for start in range(0, n_draws, step):
        n = min(step, n_draws - start)
        counts = np.stack([np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows)) for _ in range(n)])
        inside, outside = (np.stack([score(weights) for score in scorers]) for weights in (counts, counts == 0))
        chosen = np.nanargmax(sign * inside, axis=0)
        honest.append(outside[chosen, np.arange(n)])
    score = float(np.nanmean(np.concatenate(honest)))
    leader = int(np.nanargmax(sign * whole))
    return CurseEstimate(best[leader].id, float(whole[leader]), score, float(sign * (whole[leader] - score)), len(best))
