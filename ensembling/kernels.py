"""Scoring all candidates of a step at once, by the metric's structure.

A kernel holds a pool of members and the present blend. ``losses(share)`` gives the loss that the blend would have after
each member took that share of it; smaller is better. Losses are exact to the plain metric, but for the ranks of many
rows, where the best few are.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.blend_space import from_space
from foldsmith.ensembling.loops import COMPILED_FROM, compiled_loops
from foldsmith.ensembling.plain import side_key
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask
from foldsmith.problem.decisions import ClassMultipliers, CutPoints, Decision, Threshold
from foldsmith.problem.scoring import Judge

Array = NDArray[np.float64]
Columns = NDArray[np.float32]

# Losses closer than this share of their magnitude are a tie: float noise must not choose between members.
TIE = 1e-10
RULE_ROWS = 5000  # that the rule of a step is fitted on, where fitting it is far dearer than a score


def magnitude(losses: Array) -> float:
    """The greatest absolute value of the finite losses, 0 if there are none."""
    return float(np.abs(losses[np.isfinite(losses)]).max(initial=0.0))


class Kernel(Protocol):
    """State of one selection."""

    def losses(self, share: float) -> Array:
        """``(n_members,)`` loss of the blend after each member took ``share`` of it; NaN is never the best."""
        ...

    def add(self, member: int, share: float) -> None:
        """Give a member ``share`` of the blend; the first one takes all."""
        ...


class SmoothKernel(Kernel, Protocol):
    """One that can also look at a few members only."""

    def losses_of(self, members: NDArray[np.int64], share: float) -> Array:
        """``(len(members),)`` as :meth:`losses`."""
        ...


class Blend:
    """A blend that grows member by member, and starts as nothing.

    Args:
        columns: ``(n_members, …)`` what is blended.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.value = np.zeros(columns.shape[1:])

    def with_member(self, member: int, share: float) -> Array:
        """The blend after a member took a share of it."""
        return np.asarray((1 - share) * self.value + share * self.columns[member].astype(np.float64))

    def add(self, member: int, share: float) -> None:
        """Give a member a share."""
        self.value = self.with_member(member, share)


class SquaredKernel:
    """Mean squared error from Gram columns of residuals: a step costs ``O(n_members)``, a new member one pass.

    The loss of weights ``w`` (sum 1) is ``w' G w`` with ``G = E E' / n`` and ``E`` the residuals of each member.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._diagonal = pool.gram_diagonal()
        self._cross = np.zeros(len(pool.names))  # G w
        self._inside = 0.0  # w' G w

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        rest = 1 - share
        return np.asarray(rest**2 * self._inside + 2 * rest * share * self._cross + share**2 * self._diagonal)

    def losses_of(self, members: NDArray[np.int64], share: float) -> Array:
        """See :class:`SmoothKernel`."""
        return np.asarray(self.losses(share)[members])

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._inside = float(self.losses(share)[member])
        self._cross = (1 - share) * self._cross + share * self._pool.gram_column(member)


class LogLossKernel:
    """Log loss of the chance given to each row's own class."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._blend = Blend(pool.true_class)

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        return np.asarray(self._pool.loops.log_loss(self._blend.columns, self._blend.value, share, self._pool.weight))

    def losses_of(self, members: NDArray[np.int64], share: float) -> Array:
        """See :class:`SmoothKernel`."""
        return np.asarray(
            self._pool.loops.log_loss(self._blend.columns[members], self._blend.value, share, self._pool.weight)
        )

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._blend.add(member, share)


class SignedLogLossKernel:
    """Log loss of several classes for blends that may leave the simplex.

    The column of the true class alone would show gains that are none: such a blend is clipped and divided by its sum
    before it is scored, as it is before it is used.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._blend = Blend(pool.values)

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        blend, pool = self._blend, self._pool
        return np.asarray(pool.loops.signed_log_loss(blend.columns, blend.value, share, pool.weight, pool.codes))

    def losses_of(self, members: NDArray[np.int64], share: float) -> Array:
        """See :class:`SmoothKernel`."""
        blend, pool = self._blend, self._pool
        given = blend.columns[members], blend.value, share
        return np.asarray(pool.loops.signed_log_loss(*given, pool.weight, pool.codes))

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._blend.add(member, share)


class AbsoluteKernel:
    """Mean absolute error."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._blend = Blend(np.ascontiguousarray(pool.columns))

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        blend, pool = self._blend, self._pool
        return np.asarray(pool.loops.absolute(blend.columns, blend.value, share, pool.weight, pool.target))

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._blend.add(member, share)


class AucKernel:
    """One minus the AUC, averaged over the folds that hold both classes.

    All candidates are screened by counts in up to ``max_bins`` bins (2^14: an error of about 1e-6); of the best
    ``n_exact`` those that are near the best are then ranked exactly. With few rows all are ranked. A screened
    candidate's loss is never shown below the best exact one.
    """

    MAX_BINS = 1 << 14
    N_EXACT = 16
    MARGIN = 1.0  # over the number of bins: many times what counting in bins gets wrong
    NEAREST = 2.0**-24  # to an end that is told apart
    FEW_ROWS = 2000  # up to here sorting takes no longer than counting

    def __init__(self, pool: Pool, n_exact: int = N_EXACT, max_bins: int = MAX_BINS) -> None:
        self._pool = pool
        self._n_exact = n_exact
        self._max_bins = max_bins
        self._blend = Blend(np.ascontiguousarray(pool.columns))
        self._positive = (pool.codes == 1).astype(np.int32)
        self._bins = self._lay_bins(self._blend.columns)

    def _lay_bins(self, columns: Columns) -> tuple[float, float, int, int, int]:
        """Origin and scale into [0, 1], and which leading bits of the distance to the nearer end make a bin."""
        lowest, highest = float(columns.min(initial=0.0)), float(columns.max(initial=0.0))
        is_chance = lowest >= 0 and highest <= 1
        origin, scale = (0.0, 1.0) if is_chance else (lowest, 1 / (highest - lowest))
        inside = ((columns - np.float32(origin)) * np.float32(scale)) if not is_chance else columns
        smallest = min(float(inside[inside > 0].min(initial=0.25)), 1 - float(inside[inside < 1].max(initial=0.75)))
        low, middle = side_key(np.array([max(smallest, self.NEAREST), 0.5], np.float32)).tolist()
        n_bins = min(self._max_bins, max(4, 2 << len(self._pool.rows).bit_length()))
        shift = 0
        while ((middle - low) >> shift) + 1 > n_bins // 2:
            shift += 1
        return origin, scale, low, shift, n_bins

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        everyone = np.arange(len(self._blend.columns))
        if len(self._pool.rows) <= self.FEW_ROWS or len(everyone) <= self._n_exact:
            return self._exact(everyone, share)
        screened = self._screen(share)
        ordered = np.nan_to_num(screened, nan=np.inf)
        best = np.argpartition(ordered, self._n_exact)[: self._n_exact]
        best = best[ordered[best] <= ordered.min() + self.MARGIN / self._bins[-1]]
        exact = self._exact(best, share)
        losses = np.maximum(screened, np.nanmin(exact) if np.isfinite(exact).any() else np.nan)
        losses[best] = exact
        return losses

    def _screen(self, share: float) -> Array:
        blend, pool = self._blend, self._pool
        return np.asarray(
            pool.loops.binned_auc(
                blend.columns, blend.value, share, pool.weight, self._positive, pool.bounds, *self._bins
            )
        )

    def _exact(self, members: NDArray[np.int64], share: float) -> Array:
        return np.array([self._loss(self._blend.with_member(int(member), share)) for member in members])

    def _loss(self, values: Array) -> float:
        bounds, weight = self._pool.bounds, self._pool.weight
        if not len(weight):
            return float(self._pool.loops.exact_auc(values, self._positive, bounds, *self._bins))
        score, y = self._pool.judge.metric.score, self._positive
        parts = [slice(start, stop) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
        scores = np.array([score(y[part], values[part], weight[part]) for part in parts])
        return float(1 - np.nanmean(scores)) if np.isfinite(scores).any() else np.nan

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._blend.add(member, share)


class ConfusionKernel:
    """A label metric of all candidates, exact for one rule of decision; a smooth loss breaks ties.

    Label metrics move in steps, so many candidates tie. Class multipliers, thresholds and cut points are dear to fit,
    so all candidates of a step share the rule of the one that the smooth loss likes best.

    Args:
        smooth: a kernel of a smooth loss over the same members.
        rule: used at every step; None fits one per step.
    """

    def __init__(self, pool: Pool, smooth: SmoothKernel, rule: Decision | None = None) -> None:
        self._pool = pool
        self._smooth = smooth
        self._rule = rule
        values = pool.values if pool.n_outputs > 1 else np.ascontiguousarray(pool.columns)
        self._blend = Blend(values)

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        rule = self._rule or self._fit_rule(share)
        of_confusion = self._pool.judge.metric.of_confusion
        assert of_confusion is not None
        losses = 1.0 - np.asarray(of_confusion(self._tables(rule, share)), np.float64)
        tied = np.flatnonzero(losses <= losses.min() + TIE)
        if len(tied) > 1:
            order = np.argsort(np.argsort(self._smooth.losses_of(tied, share), kind="stable"))
            losses[tied] += 2 * TIE * max(magnitude(losses), TIE) * order
        return losses

    def _fit_rule(self, share: float) -> Decision:
        blended = self._blend.with_member(int(np.nanargmin(self._smooth.losses(share))), share)
        rows = slice(None, None, -(-len(blended) // RULE_ROWS))
        local = local_judge(self._pool)
        everything = np.arange(len(blended))
        return local.decide(everything[rows], blended)

    def _tables(self, rule: Decision, share: float) -> Array:
        pool, blend = self._pool, self._blend
        given = blend.columns, blend.value, share, pool.weight
        match rule:
            case Threshold(value):
                positive = (pool.codes == 1).astype(np.float64)
                return np.asarray(pool.loops.confusion_of_threshold(*given, positive, value))
            case CutPoints(cuts):
                n_classes = max(len(cuts) + 1, pool.judge.n_classes)
                return np.asarray(pool.loops.confusion_of_cuts(*given, pool.codes, np.array(cuts), n_classes))
            case ClassMultipliers(multipliers):
                return np.asarray(pool.loops.confusion_of_classes(*given, pool.codes, np.array(multipliers)))

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._smooth.add(member, share)
        self._blend.add(member, share)


class ScreenedKernel:
    """Any metric: a smooth loss screens the candidates, the metric itself decides among the best few.

    Args:
        smooth: a kernel of a smooth loss over the same members.
        step_loss: of the blend that the smooth loss likes best, ``(n, n_outputs)``, gives the loss of a blend that the
            candidates of this step are compared by.
    """

    N_EXACT = 5

    def __init__(self, pool: Pool, smooth: Kernel, step_loss: "StepLoss") -> None:
        self._smooth = smooth
        self._step_loss = step_loss
        self._blend = Blend(pool.values)

    def losses(self, share: float) -> Array:
        """Losses of the screened few, infinite for the others; ties are set apart by the screen's order."""
        smooth = self._smooth.losses(share)
        few = np.argsort(smooth, kind="stable")[: self.N_EXACT]
        blends = (self._blend.with_member(int(member), share) for member in few)
        favourite = next(blends)
        loss = self._step_loss(favourite)
        exact = np.array([loss(favourite), *map(loss, blends)])
        losses = np.full(len(smooth), np.inf)
        losses[few] = exact + 2 * TIE * magnitude(exact) * np.arange(len(few))
        return losses

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._smooth.add(member, share)
        self._blend.add(member, share)


class CallableKernel:
    """Any metric of any blend, one candidate after another.

    Args:
        loss: of a blend ``(n, n_outputs)`` in the pool's space.
    """

    def __init__(self, pool: Pool, loss: Callable[[Array], float]) -> None:
        self._loss = loss
        self._blend = Blend(pool.values)

    def losses(self, share: float) -> Array:
        """See :class:`Kernel`."""
        members = range(len(self._blend.columns))
        return np.array([self._loss(self._blend.with_member(member, share)) for member in members])

    def add(self, member: int, share: float) -> None:
        """See :class:`Kernel`."""
        self._blend.add(member, share)


StepLoss = Callable[[Array], Callable[[Array], float]]

SQUARED = ("rmse", "rmsle", "r2", "brier")


def is_squared(pool: Pool) -> bool:
    """Whether the metric orders blends as their mean squared error in the pool's space does."""
    judge = pool.judge
    return judge.metric.name in SQUARED and pool.n_outputs == 1 and pool.task.space == judge.metric.blend_space


def make_kernel(pool: Pool, *, signed: bool = False) -> Kernel:
    """The kernel for the pool's metric.

    Args:
        signed: whether shares may be negative.
    """
    judge, name = pool.judge, pool.judge.metric.name
    if name == "auc":  # the order is the same in every space
        return AucKernel(pool)
    if pool.task.space != judge.metric.blend_space:
        return CallableKernel(pool, plain_loss(pool))
    if is_squared(pool):
        return SquaredKernel(pool)
    if name == "mae":
        return AbsoluteKernel(pool)
    if name == "log_loss":
        return SignedLogLossKernel(pool) if signed and pool.n_outputs > 1 else LogLossKernel(pool)
    return ScreenedKernel(pool, smooth_kernel(pool, signed=signed), step_loss(pool))


def smooth_kernel(pool: Pool, *, signed: bool = False) -> SmoothKernel:
    """A proper loss for metrics that are none: log loss of chances, squared error of values and of ratings."""
    if not pool.is_chance:
        return SquaredKernel(pool)
    return SignedLogLossKernel(pool) if signed and pool.n_outputs > 1 else LogLossKernel(pool)


def local_judge(pool: Pool) -> Judge:
    """The judge of the pool's rows alone; it has no folds to score by."""
    judge = pool.judge
    weight = pool.weight if len(pool.weight) else None
    return Judge(judge.metric, judge.task, judge.n_classes, judge.y[pool.rows], judge.plan, weight)


def plain_loss(pool: Pool) -> Callable[[Array], float]:
    """The metric itself as a loss of a blend in the pool's space; labels are decided by the best rule."""
    local, space, scale = local_judge(pool), pool.task.space, pool.scale
    sign = -1.0 if local.metric.greater_is_better else 1.0
    everything = np.arange(len(pool.rows))

    def loss(blended: Array) -> float:
        values = valid_chances(from_space(scale.restore(blended), space), pool)
        if local.needs_labels:
            return sign * local.score(everything, local.decide(everything, values).apply(values))
        return sign * local.score(everything, values)

    return loss


def valid_chances(values: Array, pool: Pool) -> Array:
    """Blends of signed weights may leave the simplex: chances are clipped and divided by their sums."""
    if not pool.is_chance or pool.judge.metric.name == "auc":
        return values
    if values.shape[1] == 1:
        return values.clip(0.0, 1.0)
    clipped = values.clip(1e-15, None)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def step_loss(pool: Pool) -> StepLoss:
    """The metric as a loss; class multipliers are those of a step's favourite, fitted on some of the rows now and then.

    Finding them takes far longer than a score.
    """
    local = local_judge(pool)
    if local.metric.decision_for(local.task) != "multipliers" or not local.needs_labels:
        loss = plain_loss(pool)
        return lambda favourite: loss
    sign = -1.0 if local.metric.greater_is_better else 1.0
    everything = np.arange(len(pool.rows))
    n_steps, rule = 0, None

    def of_rule(favourite: Array) -> Callable[[Array], float]:
        nonlocal n_steps, rule
        n_steps += 1
        if rule is None or n_steps & (n_steps - 1) == 0:  # anew at steps 1, 2, 4, 8, …: later it hardly changes
            rule = local.decide(everything[:: -(-len(everything) // RULE_ROWS)], favourite)
        decided = rule
        return lambda blended: sign * local.score(everything, decided.apply(blended))

    return of_rule


def warm_up(task: BlendTask, n_members: int) -> None:
    """Compile, or load, what selections of this metric need, if so many members will call for it."""
    if n_members * len(task.rows) < COMPILED_FROM:
        return
    rng = np.random.default_rng(0)
    judge = task.judge
    n_outputs = judge.metric.goal(judge.task, judge.n_classes).n_outputs
    shape = (len(judge.y), n_outputs)
    some = {str(n): rng.random(shape, np.float32) for n in range(AucKernel.N_EXACT + 1)}
    kernel = make_kernel(Pool(some, task, loops=compiled_loops()))
    kernel.losses(1.0)
    kernel.add(0, 1.0)
    kernel.losses(0.5)
