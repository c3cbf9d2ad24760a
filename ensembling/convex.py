"""The best weights on the simplex, by convex optimisation of the metric's own or nearest proper loss.

- Squared error, with Gram matrix G of residuals: least w' G w with w >= 0 and sum 1. Scaling turns that into
  non-negative least squares: the x >= 0 that minimises x' G x / 2 - sum x, divided by its sum.
- Log loss of the true class's chances A: least -mean ln(A x) + sum x over x >= 0, whose optimum sums to 1 by itself.
  Newton steps, each a non-negative least squares problem. Source: Kim, Carbonetto, Stephens, Anitescu (2020), A fast
  algorithm for maximum likelihood estimation of mixture proportions using sequential quadratic programming, Journal of
  Computational and Graphical Statistics 29(2), 261-273.
- Absolute error: the squared problem with rows weighted by 1 / residual, again and again (Schlossmacher 1973).

Metrics that are none of these get the weights of the smooth loss that stands in for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import Weighted, by_weight
from foldsmith.ensembling.kernels import is_squared
from foldsmith.ensembling.method import ALL, losses_alone
from foldsmith.ensembling.pool import Pool

Floats = NDArray[np.float64]
SMALL = 1e-3  # weights below are dropped: what a member of hundreds gets by rounding
RIDGE = 1e-10


@dataclass(frozen=True)
class Convex:
    """Optimal weights that are not negative and sum to 1, over the best ``n_candidates`` members."""

    n_candidates: int = 50
    name: ClassVar[str] = "convex"
    declares: ClassVar[frozenset[str]] = ALL

    def why_not(self, pool: Pool) -> str | None:
        """Every pool has such weights; in other spaces than the metric's its loss is not convex."""
        if pool.task.space not in ("identity", "log1p"):
            return f"its loss is not convex in the space {pool.task.space!r}"
        return None

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        candidates = pool
        if len(pool.names) > self.n_candidates:
            best = np.sort(np.argsort(losses_alone(pool), kind="stable")[: self.n_candidates])
            candidates = pool.of_members(best.tolist())
        weights = _pruned(_optimum(candidates))
        found = dict(zip(candidates.names, weights.tolist(), strict=True))
        n_used = int(np.count_nonzero(weights))
        note = f"optimal on the simplex: {n_used} of {len(pool.names)} members have a weight"
        return Weighted(by_weight(found), pool.task.space, note=note)


def _optimum(pool: Pool) -> Floats:
    if pool.judge.metric.name == "mae":
        return _least_absolute(pool)
    if is_squared(pool) or not pool.is_chance:
        return least_squares_weights(pool.gram())
    return mixture_weights(pool.true_class, pool.weight)


def _pruned(weights: Floats) -> Floats:
    kept = np.where(weights < SMALL, 0.0, weights)
    return np.asarray(kept / kept.sum())


def least_squares_weights(gram: Floats) -> Floats:
    """``(n_members,)`` weights >= 0, sum 1, of least w' G w."""
    scale = np.trace(gram) / len(gram)
    if scale <= 0:  # a member without any error
        return np.full(len(gram), 1 / len(gram))
    x = _least_quadratic(gram / scale, np.ones(len(gram)))
    return np.asarray(x / x.sum())


def _least_quadratic(hessian: Floats, right: Floats) -> Floats:
    """The x >= 0 of least x' H x / 2 - right' x."""
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    ridge = RIDGE * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    for _ in range(8):  # rounding may leave a tiny negative eigenvalue
        try:
            upper = cholesky(hessian + ridge)
            break
        except np.linalg.LinAlgError:
            ridge *= 100
    return np.asarray(nnls(upper, solve_triangular(upper, right, trans=1))[0])


def mixture_weights(chances: NDArray[np.float32], weight: Floats, most_steps: int = 50) -> Floats:
    """``(n_members,)`` weights >= 0, sum 1, of least -mean ln(chances' w).

    Args:
        chances: ``(n_members, n)`` of each row's own class.
        weight: ``(n,)`` of rows, or empty.
    """
    columns = chances.astype(np.float64).clip(1e-15, 1.0)
    rows = weight / weight.sum() if len(weight) else np.full(columns.shape[1], 1 / columns.shape[1])

    def loss(x: Floats) -> float:
        return float(-rows @ np.log(x @ columns) + x.sum())

    x = np.full(len(columns), 1 / len(columns))
    best = loss(x)
    for _ in range(most_steps):
        ratio = columns / (x @ columns)
        gradient = 1 - ratio @ rows
        if gradient.min() > -1e-9 and abs(gradient @ x) < 1e-9:
            break
        hessian = (ratio * rows) @ ratio.T
        aim = _least_quadratic(hessian, hessian @ x - gradient)
        step, lowered = _backtrack(loss, x, aim - x, best)
        if best - lowered < 1e-12 * max(1.0, abs(best)):
            break
        x, best = x + step * (aim - x), lowered
    return np.asarray(x / x.sum())


def _backtrack(loss: Callable[[Floats], float], x: Floats, direction: Floats, start: float) -> tuple[float, float]:
    """The step in (0, 1] that lowers the loss, and the loss there; step 0 if none does."""
    step = 1.0
    for _ in range(30):
        reached = loss((x + step * direction).clip(0))
        if reached < start:
            return step, reached
        step /= 2
    return 0.0, start


def _least_absolute(pool: Pool, rounds: int = 30) -> Floats:
    residuals = np.ascontiguousarray(pool.columns, np.float64) - pool.target
    rows = pool.weight if len(pool.weight) else np.ones(residuals.shape[1])
    weights = least_squares_weights((residuals * rows) @ residuals.T)
    best, least = weights, np.inf
    floor = 1e-4 * float(np.abs(residuals[0]).mean()) + 1e-300
    for _ in range(rounds):
        errors = np.abs(weights @ residuals)
        loss = float(rows @ errors)
        if loss > least * (1 - 1e-7):
            break
        best, least = weights, loss
        weights = least_squares_weights((residuals * (rows / np.maximum(errors, floor))) @ residuals.T)
    return best
