"""What the luck of the public and private rows may do to the order of submissions: a bootstrap of out-of-fold rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.flow.submission import why_not_comparable, why_not_judged
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.fold_schemes import group_codes
from foldsmith.problem.goal import Outputs
from foldsmith.problem.reading import read_frame
from foldsmith.problem.resampled import resampled_scorer
from foldsmith.problem.scoring import Judge, crossfitted_labels
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import sound
from foldsmith.results.top import ranked

Floats = NDArray[np.float64]
WEIGHTS = 20_000_000  # that are held at once
WORK = 3_000_000_000  # rows x candidates x draws, of all draws together
DRAWS = (50, 1000)
MAX_CANDIDATES = 30


@dataclass(frozen=True)
class Shaken:
    """One candidate among the others, over the draws.

    Args:
        validation: its score on all out-of-fold rows together.
        public_sd: standard deviation of its public score: what the luck of the public rows alone does.
        best_public, best_private: share of the draws in which it is the best of all; ties are shared.
        rank: by validation, from 1.
        private_rank: expected.
        rank_change: expected distance between its public and its private rank.
    """

    member: str
    validation: float
    public_sd: float
    best_public: float
    best_private: float
    rank: int
    private_rank: float
    rank_change: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self).copy()


@dataclass(frozen=True)
class Shake:
    """All candidates under redrawn public and private rows.

    Args:
        candidates: by validation, the best first.
        n_public, n_private: rows of a draw.
        n_rows: out-of-fold rows that are drawn from.
        gap_sd: standard deviation of the public gap between two candidates that are equally good: the noise band.
        luck_of_validation, luck_of_public: share of the candidates' distances in validation, and in a public score,
            that is luck: the variance that the draws alone make, over the variance that is seen (the shrinkage of
            Efron, Morris 1975, Data analysis using Stein's estimator). 1: there is nothing but luck.
        public_winner_stays: share of the draws in which the best public candidate is the best private one.
    """

    metric: str
    candidates: tuple[Shaken, ...]
    n_public: int
    n_private: int
    n_rows: int
    n_draws: int
    gap_sd: float
    luck_of_validation: float
    luck_of_public: float
    public_winner_stays: float

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "candidates": [one.to_json() for one in self.candidates]}


def shake(problem: Problem, members: MemberStore, names: Sequence[str], public_share: float, *, seed: int = 0) -> Shake:
    """Draw public and private rows from the out-of-fold rows, again and again, and score all candidates on both.

    All candidates see the same rows, so what they have in common does no harm. Where folds are by group, whole groups
    are drawn: rows of one group are right and wrong together. Test rows that differ from train rows in kind are beyond
    it.

    Args:
        names: at least two members or blends, which are judged by their nested predictions.
        public_share: of the test rows, between 0 and 1.

    Raises:
        UnknownNameError: no such member.
        InputError: fewer than two candidates, a share out of range, or one that is not of these folds.
    """
    if not 0 < public_share < 1:
        raise InputError(f"public share {public_share:g} is not between 0 and 1; give e.g. 0.3")
    chosen = [members.get(name) for name in dict.fromkeys(names)]
    if len(chosen) < 2:
        raise InputError(f"{len(chosen)} candidate(s) to shake; give at least two members, or search for more")
    for member in chosen:
        if reason := why_not_judged(problem, members, member):
            raise InputError(f"{member.id} cannot be shaken: {reason}; leave it out")
    n_test = problem.data.test.n_rows
    n_public = min(max(1, round(public_share * n_test)), n_test - 1)
    oofs, sizes = [members.oof(one.id) for one in chosen], (n_public, n_test - n_public)
    drawn = draw_scores(problem.judge, oofs, sizes, seed, groups_of(problem))
    return _summary(problem, chosen, drawn, (n_public, n_test - n_public))


def best_candidates(problem: Problem, members: MemberStore) -> list[str]:
    """All blends and the best single members, up to thirty."""
    usable = [one for one in members.all() if why_not_comparable(problem, one) is None]
    best = ranked(sound(problem, members, usable), greater_is_better=problem.metric.greater_is_better)
    blends = [one.id for one in best if one.kind == "blend"][: MAX_CANDIDATES // 2]
    singles = [one.id for one in best if one.kind != "blend"]
    return [*blends, *singles[: MAX_CANDIDATES - len(blends)]]


@dataclass(frozen=True)
class Drawn:
    """Scores ``(n_draws, n_candidates)`` for each size of a draw, and ``(n_candidates,)`` on all rows."""

    by_size: tuple[Floats, ...]
    whole: Floats
    n_rows: int


def groups_of(problem: Problem) -> NDArray[np.int64] | None:
    """``(n_rows,)`` codes of the groups that the folds keep together; None where rows are drawn one by one."""
    name = problem.config.split.group
    if name is None or problem.plan.scheme not in ("group", "stratified_group", "leave_one_group_out"):
        return None
    groups = read_frame(problem.data.paths[0], columns=[name], keep_na=problem.config.data.keep_na)[name]
    return group_codes(groups.to_numpy(), name, 1)


def draw_scores(
    judge: Judge,
    oofs: Sequence[Outputs],
    sizes: Sequence[int],
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> Drawn:
    """Score candidates on bootstrap draws of the rows that all of them cover, all rows of a draw together.

    Labels are decided once, each fold's by a rule fitted on the other folds.

    Args:
        oofs: ``(n_rows, n_outputs)`` each.
        sizes: rows of the draws.
        groups: ``(n_rows,)`` codes of groups that are drawn whole, so many that the size is met on average.
    """
    rows = np.flatnonzero(judge.plan.coverage(0) & np.all([np.isfinite(oof).all(axis=1) for oof in oofs], axis=0))
    values = [crossfitted_labels(judge, oof)[rows] if judge.needs_labels else np.asarray(oof[rows]) for oof in oofs]
    scorers = [resampled_scorer(judge.metric, judge.y[rows], one) for one in values]
    weight = np.ones(len(rows)) if judge.weight is None else np.asarray(judge.weight[rows])
    codes = np.arange(len(rows)) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    n_groups = int(codes.max(initial=0)) + 1
    rng = np.random.default_rng(seed)
    n_draws = int(np.clip(WORK // max(1, len(rows) * len(oofs)), *DRAWS))
    step = max(1, WEIGHTS // max(1, len(rows)))
    parts: list[list[Floats]] = [[] for _ in sizes]
    for start in range(0, n_draws, step):
        for part, size in zip(parts, sizes, strict=True):
            n_drawn = max(1, round(size * n_groups / len(rows)))
            counts = np.stack(
                [
                    np.bincount(rng.integers(0, n_groups, n_drawn), minlength=n_groups)[codes]
                    for _ in range(min(step, n_draws - start))
                ]
            )
            part.append(np.stack([score(counts * weight) for score in scorers], axis=1))
    whole = np.array([score(weight[None])[0] for score in scorers])
    return Drawn(tuple(np.concatenate(part) for part in parts), whole, len(rows))


def _summary(problem: Problem, chosen: Sequence[Member], drawn: Drawn, sizes: tuple[int, int]) -> Shake:
    sign = -1.0 if problem.metric.greater_is_better else 1.0
    defined = np.all([np.isfinite(scores).all(axis=1) for scores in drawn.by_size], axis=0)
    if not defined.any():
        raise InputError(
            f"{problem.metric.name} is undefined on every draw of {sizes[0]} public and {sizes[1]} private rows; "
            "the test file is too small for it"
        )
    public, private = (sign * scores[defined] for scores in drawn.by_size)
    ranks_public, ranks_private = (_ranks(losses) for losses in (public, private))
    order = np.argsort(sign * drawn.whole, kind="stable")
    winners = _shares_of_best(public)
    candidates = tuple(
        Shaken(
            chosen[i].id,
            float(drawn.whole[i]),
            float(public[:, i].std(ddof=1)),
            float(winners[:, i].mean()),
            float(_shares_of_best(private)[:, i].mean()),
            place,
            float(ranks_private[:, i].mean()),
            float(np.abs(ranks_public[:, i] - ranks_private[:, i]).mean()),
        )
        for place, i in enumerate(order, start=1)
    )
    noise = _paired_variance(public)
    seen = float(drawn.whole.var(ddof=1))
    of_validation = noise * sizes[0] / drawn.n_rows  # the same noise on all out-of-fold rows
    true = max(0.0, seen - of_validation)
    return Shake(
        problem.metric.name,
        candidates,
        *sizes,
        drawn.n_rows,
        len(public),
        float(np.sqrt(2 * noise)),
        min(1.0, of_validation / seen) if seen > 0 else 1.0,
        noise / (true + noise) if noise > 0 else 0.0,
        float((winners * _shares_of_best(private)).sum(axis=1).mean()),
    )


def _paired_variance(losses: Floats) -> float:
    """Variance of one candidate against the mean of all, over the draws: luck that they do not share."""
    centered = losses - losses.mean(axis=1, keepdims=True)
    n = losses.shape[1]
    return float(centered.var(axis=0, ddof=1).mean() * n / (n - 1))


def _ranks(losses: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(losses, axis=1))


def _shares_of_best(losses: Floats) -> Floats:
    """``(n_draws, n_candidates)`` 1 for the best of a draw, ties in equal parts."""
    best = losses == losses.min(axis=1, keepdims=True)
    return np.asarray(best / best.sum(axis=1, keepdims=True))
