"""Hill climbing with signed steps: members are moved towards, or away from, a little at a time.

Source: M. Mahmudur Rahman's hillclimbers package and C. Deotte's notebooks start at the best member and add
``(1 - w) blend + w member`` for the best w of a grid. Here a member may come again, steps are small, gains must be
worth having, and few rows are refused: on 300 rows signed weights lost 5 % to plain greedy selection.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foldsmith.ensembling.fitted import Weighted, by_weight
from foldsmith.ensembling.greedy import shown
from foldsmith.ensembling.kernels import make_kernel
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import Step

MIN_ROWS = 1000
SHARES = (-0.02, 0.02)  # larger steps lost 5 % on 1,200 rows, these nothing on average


@dataclass(frozen=True)
class SignedHill:
    """Start at the best member; take the best signed step of all members until none gains.

    Args:
        most_steps: that are taken.
        min_gain: as a share of the loss, that a step must bring.
    """

    most_steps: int = 25
    min_gain: float = 1e-3
    name: ClassVar[str] = "signed_hill"
    declares: ClassVar[frozenset[str]] = frozenset({"weights", "duplicates", "permutation"})

    def why_not(self, pool: Pool) -> str | None:
        """Signed weights fit the noise of few rows."""
        return None if len(pool.rows) >= MIN_ROWS else f"{len(pool.rows)} rows, fewer than {MIN_ROWS}"

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        kernel = make_kernel(pool, signed=True)
        alone = kernel.losses(1.0)
        best = int(np.nanargmin(alone))
        loss = float(alone[best])
        kernel.add(best, 1.0)
        weights = np.zeros(len(pool.names))
        weights[best] = 1.0
        trace = [Step(pool.names[best], shown(pool, loss))]
        for _ in range(self.most_steps):
            tried = np.stack([kernel.losses(share) for share in SHARES])
            tried[~np.isfinite(tried)] = np.inf
            which, member = np.unravel_index(int(tried.argmin()), tried.shape)
            if not tried[which, member] < loss - self.min_gain * abs(loss):
                break
            share, loss = SHARES[which], float(tried[which, member])
            kernel.add(int(member), share)
            weights *= 1 - share
            weights[member] += share
            trace.append(Step(pool.names[member], shown(pool, loss)))
        found = by_weight(dict(zip(pool.names, weights.tolist(), strict=True)))
        note = f"{len(trace) - 1} signed steps from {trace[0].member} over {len(pool.names)} candidates"
        return Weighted(found, pool.task.space, tuple(trace), signed=True, is_chance=pool.is_chance, note=note)
