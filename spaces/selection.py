"""Which of many columns are worth keeping, judged on a sample of the train rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces.scaling import Matrix

SAME = 0.98  # columns whose ranks correlate that much tell trees the same
RANK_ROWS = 4000
MIN_SHARE = 0.005  # of the rows must differ from a column's most frequent value
QUICK_ROUNDS = 40


def standard_ranks(matrix: Matrix) -> NDArray[np.float32]:
    """Ranks of each column, centred, with length one, ``(n_rows, n_columns)``; zero for a near-constant column.

    Products of two such columns are Spearman's correlations. A missing value takes the middle rank.
    """
    import pandas as pd

    ranked = pd.DataFrame(matrix).rank()
    ranks = (ranked - (ranked.notna().sum() + 1) / 2).fillna(0).to_numpy(np.float32, copy=True)
    ranks[:, _is_near_constant(matrix)] = 0
    length = np.maximum(np.linalg.norm(ranks, axis=0), 1e-12)
    return np.asarray(ranks / length, np.float32)


def _is_near_constant(matrix: Matrix) -> NDArray[np.bool_]:
    """Whether nearly all rows share one value, or are missing."""
    found = np.zeros(matrix.shape[1], bool)
    for number, column in enumerate(matrix.T):
        counts = np.unique(column, return_counts=True)[1]  # NaNs count as one value
        found[number] = counts.max(initial=0) > (1 - MIN_SHARE) * len(column)
    return found


def select(
    given: Matrix, candidates: Matrix, y: NDArray[Any], targets: NDArray[np.float64], goal: Goal, limit: int, seed: int
) -> NDArray[np.int64]:
    """Positions of at most ``limit`` candidates worth adding, ascending.

    First the ones that repeat an earlier column are dropped, near-constant ones too, then the best ``3 * limit`` by
    rank correlation with the target stay; of those the ones that a quick booster gains most from.

    Args:
        given: ``(n_rows, n_given)`` columns that are there anyway.
        candidates: ``(n_rows, n_candidates)``.
        y: ``(n_rows,)`` class codes or values.
        targets: ``(n_rows, n_targets)`` of :func:`~foldsmith.spaces.target_encoding.target_columns`.
        goal: what is fitted.
        limit: how many may stay.
        seed: of the booster.
    """
    rows = np.random.default_rng(seed).permutation(len(y))[:RANK_ROWS]
    ranks = standard_ranks(np.hstack([given[rows], candidates[rows]]))
    relevance = np.abs(standard_ranks(targets[rows].astype(np.float32)).T @ ranks[:, given.shape[1] :]).max(axis=0)
    distinct = _distinct(ranks, given.shape[1], relevance, 3 * limit)
    if not len(distinct):
        return distinct
    gains = _gains(np.hstack([given, candidates[:, distinct]]), y, goal, seed)[given.shape[1] :]
    best = np.argsort(-gains, kind="stable")[:limit]
    return np.sort(distinct[best[gains[best] > 0]])


def _distinct(
    ranks: NDArray[np.float32], n_given: int, relevance: NDArray[np.float32], limit: int
) -> NDArray[np.int64]:
    """The most relevant candidates, without those that correlate with a given or a better one; not ascending."""
    alike = np.abs(ranks.T @ ranks) > SAME
    is_kept = np.zeros(ranks.shape[1], bool)
    is_kept[:n_given] = True
    varies = (ranks != 0).any(axis=0)
    for place in n_given + np.argsort(-relevance, kind="stable"):
        if is_kept.sum() - n_given >= limit:
            break
        is_kept[place] = varies[place] and not (alike[place] & is_kept).any()
    found = np.flatnonzero(is_kept[n_given:])
    return found[np.argsort(-relevance[found], kind="stable")]


def _gains(matrix: Matrix, y: NDArray[Any], goal: Goal, seed: int) -> NDArray[np.float64]:
    """How much each column brings a small forest-like booster, ``(n_columns,)``."""
    import lightgbm

    objective = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[goal.kind]
    params = {
        "objective": objective,
        "num_class": goal.n_classes if goal.kind == "multiclass" else 1,
        "num_leaves": 15,
        "min_data_in_leaf": 20,
        "learning_rate": 0.1,
        "feature_fraction": 0.3,
        "max_bin": 63,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    booster = lightgbm.train(params, lightgbm.Dataset(matrix, y), QUICK_ROUNDS)
    return np.asarray(booster.feature_importance("gain"), np.float64)
