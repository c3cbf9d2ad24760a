"""The greedy rule that makes a portfolio of measured points.

Source: the rule of TabRepo (Salinas & Erickson 2024, arXiv:2311.02971, section 5): repeatedly take the configuration
with which the best rank so far, averaged over data sets, gets lowest. Ours differs in that of candidates that are
almost as good the quickest is taken.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.005  # of mean scaled rank: candidates that are this near to the best one count as equal
MIN_GAIN = 1e-9


def scaled_ranks(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of configurations on each data set, 0 for the best and 1 for the worst.

    Args:
        errors: ``(n_sets, n_configs)``, smaller is better; infinite where a configuration failed, nan where nothing
            is known.

    Returns:
        ``(n_sets, n_configs)``; equal errors share their mean rank, failures are worst, the unknown is 0.5.

    >>> scaled_ranks(np.array([[0.2, 0.1, np.inf, np.nan]]))
    array([[0.5, 0. , 1. , 0.5]])
    """
    from scipy.stats import rankdata

    ranks = np.full(errors.shape, 0.5)
    for number, row in enumerate(errors):
        known = ~np.isnan(row)
        if known.sum() > 1:
            ranks[number, known] = (rankdata(row[known]) - 1) / (known.sum() - 1)
    return ranks


def greedy_order(ranks: NDArray[np.float64], seconds: Sequence[float]) -> list[int]:
    """Which configurations to take, in order; stops when no other one improves any data set's best rank.

    Args:
        ranks: ``(n_sets, n_configs)``, smaller is better.
        seconds: ``(n_configs,)`` what each costs: decides among candidates that are almost equally good.

    >>> greedy_order(np.array([[0.0, 1.0, 0.1], [1.0, 0.0, 0.1]]), [1.0, 1.0, 1.0])
    [2, 0, 1]
    """
    best = np.full(len(ranks), np.inf)
    taken: list[int] = []
    cost = np.asarray(seconds, np.float64)
    while len(taken) < ranks.shape[1]:
        means = np.minimum(best[:, None], ranks).mean(axis=0)
        gains = means < best.mean() - MIN_GAIN
        if not gains.any():
            break
        good = np.flatnonzero(gains & (means <= means.min() + TOLERANCE))
        chosen = int(good[np.lexsort((good, means[good], cost[good]))[0]])
        taken.append(chosen)
        best = np.minimum(best, ranks[:, chosen])
    return taken


def greedy_list(ranks: NDArray[np.float64], seconds: Sequence[float], n_most: int) -> list[int]:
    """Like :func:`greedy_order`, but when nothing is gained any more it begins anew with what is left.

    >>> greedy_list(np.array([[0.0, 0.5, 1.0]]), [1.0, 1.0, 1.0], 2)
    [0, 1]
    """
    cost, left = np.asarray(seconds, np.float64), np.arange(ranks.shape[1])
    taken: list[int] = []
    while len(left) and len(taken) < n_most:
        taken += [int(left[number]) for number in greedy_order(ranks[:, left], cost[left].tolist())]
        left = np.setdiff1d(left, taken)
    return taken[:n_most]
