"""The plainest ensembles: the best member alone, and the mean of the best few."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foldsmith.ensembling.fitted import Weighted
from foldsmith.ensembling.method import losses_alone
from foldsmith.ensembling.pool import Pool

PLAIN = frozenset({"weights", "duplicates", "permutation"})


@dataclass(frozen=True)
class BestSingle:
    """The member with the least loss."""

    name: ClassVar[str] = "best_single"
    declares: ClassVar[frozenset[str]] = PLAIN | {"noise"}

    def why_not(self, pool: Pool) -> str | None:
        """There is always a best one."""
        return None

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        losses = losses_alone(pool)
        best = pool.names[int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0]
        return Weighted({best: 1.0}, pool.task.space, note=f"the best of {len(pool.names)} candidates alone")


@dataclass(frozen=True)
class TopMean:
    """The plain mean of the ``k`` members with the least losses."""

    k: int = 5
    name: ClassVar[str] = "top_mean"
    declares: ClassVar[frozenset[str]] = PLAIN

    def why_not(self, pool: Pool) -> str | None:
        """A mean of one is no mean."""
        return None if len(pool.names) > 1 else "a single member"

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        best = np.argsort(losses_alone(pool), kind="stable")[: self.k]
        weights = {pool.names[member]: 1 / len(best) for member in best}
        return Weighted(weights, pool.task.space, note=f"the mean of the best {len(best)} of {len(pool.names)}")
