"""Greedy selection with replacement.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes (2004), Ensemble selection from libraries of models, ICML. Starting
from nothing, the member that helps most is added, again and again; the best prefix of that path is kept.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from foldsmith.ensembling.fitted import Weighted, by_weight
from foldsmith.ensembling.kernels import TIE, AucKernel, Kernel, is_squared, magnitude, make_kernel, smooth_kernel
from foldsmith.ensembling.method import ALL
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import Step

MAX_MEMBERS = 50


@dataclass(frozen=True)
class Greedy:
    """Caruana's selection; ties prefer a member that is already inside.

    Args:
        size: draws, counting repetitions; the task's by default.
        bags: how often the selection is repeated on a random part, its weights averaged.
        share_of_members, share_of_rows: how much of the pool a bag sees.
    """

    size: int = 0
    bags: int = 0
    share_of_members: float = 0.5
    share_of_rows: float = 1.0
    name: ClassVar[str] = "greedy"

    @property
    def declares(self) -> frozenset[str]:
        """Bags are drawn, so the order of members and rows matters to them."""
        return ALL - {"permutation"} if self.bags else ALL

    def why_not(self, pool: Pool) -> str | None:
        """Greedy selection fits every pool."""
        return None

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        if self.bags:
            return self._bagged(pool)
        size = self.size or pool.task.size
        return pool.once(("greedy", size), lambda: selected(make_kernel(pool), pool, size))

    def _bagged(self, pool: Pool) -> Weighted:
        rng = np.random.default_rng(pool.task.seed)
        total: dict[str, float] = {}
        once = Greedy(self.size)
        for _ in range(self.bags):
            n_members = max(1, round(self.share_of_members * len(pool.names)))
            chosen = np.sort(rng.permutation(len(pool.names))[:n_members]).tolist()
            part = pool.of_members(chosen)
            if self.share_of_rows < 1:
                part = part.sampled(self.share_of_rows, rng)
            for name, weight in once.fit(part).weights.items():
                total[name] = total.get(name, 0.0) + weight / self.bags
        note = f"mean of {self.bags} selections, each from {n_members} of {len(pool.names)} candidates"
        return Weighted(by_weight(total), pool.task.space, note=note)


@dataclass(frozen=True)
class QuickGreedy:
    """Greedy selection in well under a second, for what is blended anew after every member of a search.

    Metrics of labels give way to the smooth loss behind them, which chose as well on real pools (within 0.4 ± 1.2 % of
    the error over nine sets of 1,200 rows) in a fifth of the time; of very many rows a random part is looked at.
    """

    max_rows: int = 15_000
    name: ClassVar[str] = "quick_greedy"
    declares: ClassVar[frozenset[str]] = ALL

    def why_not(self, pool: Pool) -> str | None:
        """It fits every pool."""
        return None

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        if is_squared(pool):  # costs next to nothing, and its products are shared by all folds
            return Greedy().fit(pool)
        part, n_rows = pool, len(pool.rows)
        if n_rows > self.max_rows:
            part = pool.sampled(self.max_rows / n_rows, np.random.default_rng(pool.task.seed))
        if not pool.judge.needs_labels:
            kernel = (
                AucKernel(part, n_exact=3, max_bins=1 << 11) if pool.judge.metric.name == "auc" else make_kernel(part)
            )
            found = selected(kernel, part, pool.task.size)
        else:
            found = selected(smooth_kernel(part), part, pool.task.size)
            found = replace(found, trace=(), note=f"{found.note}, by a smooth loss")  # in whose units its steps are
        return found if part is pool else replace(found, note=f"{found.note}, on {len(part.rows):,} of {n_rows:,} rows")


@dataclass(frozen=True)
class FoldGreedy:
    """The mean of one greedy selection per fold, each without that fold's rows: steadier weights on few rows."""

    size: int = 0
    name: ClassVar[str] = "fold_greedy"
    declares: ClassVar[frozenset[str]] = ALL

    def why_not(self, pool: Pool) -> str | None:
        """It needs folds to leave out."""
        return None if len(pool.folds) > 1 else "a single fold"

    def fit(self, pool: Pool) -> Weighted:
        """See :class:`foldsmith.ensembling.method.Method`."""
        once = Greedy(self.size)
        if len(pool.folds) < 2:
            return once.fit(pool)
        total: dict[str, float] = {}
        for fold in pool.folds:
            for name, weight in once.fit(pool.without(fold)).weights.items():
                total[name] = total.get(name, 0.0) + weight / len(pool.folds)
        note = f"mean of {len(pool.folds)} selections, each without one fold, over {len(pool.names)} candidates"
        return Weighted(by_weight(total), pool.task.space, note=note)


def max_members(n_rows: int) -> int:
    """How many members may be candidates: with few rows the best of many are only lucky.

    On pools of 56-60 members preselecting the 10-20 best helped at 300 rows and cost a little at 1,000; AutoGluon caps
    its models likewise (8 at 500 rows, 40 at 10,000).

    >>> [max_members(n) for n in (100, 300, 1000, 3000, 10_000)]
    [13, 17, 25, 35, 50]
    """
    return int(np.clip(round(25 * (max(1, n_rows) / 1000) ** 0.3), 8, MAX_MEMBERS))


def selected(kernel: Kernel, pool: Pool, size: int) -> Weighted:
    """The best prefix of a selection's path, as weights."""
    path, losses = select(kernel, size)
    best = best_prefix(losses)
    trace = tuple(Step(pool.names[member], shown(pool, loss)) for member, loss in zip(path, losses, strict=True))
    note = f"best prefix: {best} of {len(path)} steps over {len(pool.names)} candidates"
    return Weighted(path_weights(path[:best], pool.names), pool.task.space, trace, note=note)


def select(kernel: Kernel, size: int) -> tuple[list[int], list[float]]:
    """The path of added members and the loss after each step; ties prefer a member that is already inside."""
    path: list[int] = []
    losses: list[float] = []
    for step in range(size):
        losses_now = kernel.losses(1 / (step + 1))
        candidates = np.where(np.isnan(losses_now), np.inf, losses_now)
        least = candidates.min()
        tied = np.flatnonzero(candidates <= least + TIE * magnitude(candidates))
        inside = [member for member in tied if member in path]
        chosen = int(inside[0] if inside else tied[0])
        kernel.add(chosen, 1 / (step + 1))
        path.append(chosen)
        losses.append(float(least))
    return path, losses


def best_prefix(losses: list[float]) -> int:
    """Length of the shortest prefix with the least loss."""
    # ten ties: a kernel may set the members that tie apart by a few
    enough = min(losses) + 10 * TIE * magnitude(np.array(losses))
    return next(n for n, loss in enumerate(losses, start=1) if loss <= enough)


def path_weights(path: list[int], names: tuple[str, ...]) -> dict[str, float]:
    """How often each member was added, as shares, the greatest first."""
    counts = np.bincount(path, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[member]: float(counts[member] / len(path)) for member in order if counts[member]}


def shown(pool: Pool, loss: float) -> float:
    """A kernel's loss in the metric's own units: those of squared and absolute errors work in the pool's scale."""
    metric = pool.judge.metric
    unit = pool.scale.unit
    if metric.name == "auc":
        return 1.0 - loss
    if pool.task.space != metric.blend_space:  # the metric itself was the loss
        return -loss if metric.greater_is_better else loss
    match metric.name:
        case "rmse" | "rmsle":
            return float(np.sqrt(max(loss, 0.0))) * unit
        case "mae":
            return loss * unit
        case "r2":
            y = pool.target
            weight = pool.weight if len(pool.weight) else None
            return float(1 - loss / np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
    return -loss if metric.greater_is_better else loss
