"""Turning scores into labels: thresholds, class multipliers and cut points, fitted for one label metric.

A rule is fitted on the rows it is given and only on them; whoever scores it must apply it to other rows.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from foldsmith.problem.errors import UnknownNameError
from foldsmith.problem.formulas import FloatArray, IntArray
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import Metric

SAME = 1e-12  # scores closer than this are ties
ASCENT_ROWS = 50_000  # the coordinate ascent looks at no more rows than these
CUT_CANDIDATES = 256  # more fit the given rows a little better, but not others
STEPS = (2.0, 0.7, 0.25)  # half-widths of the log grid of multipliers, one pass each
GRID = np.linspace(-1, 1, 41)


@dataclass(frozen=True)
class Threshold:
    """Two classes: code 1 where the chance is at least ``value``."""

    value: float

    def apply(self, scores: ArrayLike) -> IntArray:
        """Codes ``(n_rows,)`` of chances ``(n_rows,)`` or ``(n_rows, 1)``."""
        return (_one_column(scores) >= self.value).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`decision_from_json`."""
        return {"kind": "threshold", **asdict(self)}


@dataclass(frozen=True)
class ClassMultipliers:
    """Several classes: the class of the highest chance times multiplier; the plain arg max where all are 1."""

    multipliers: tuple[float, ...]

    def apply(self, scores: ArrayLike) -> IntArray:
        """Codes ``(n_rows,)`` of chances ``(n_rows, C)``; the lowest code wins a tie."""
        chances = np.asarray(scores, dtype=np.float64)
        codes: IntArray = np.argmax(chances * np.array(self.multipliers), axis=1)
        return codes

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`decision_from_json`."""
        return {"kind": "multipliers", "multipliers": list(self.multipliers)}


@dataclass(frozen=True)
class CutPoints:
    """Ordered classes: the number of ``cuts`` (ascending, C - 1 of them) that a value reaches."""

    cuts: tuple[float, ...]

    def apply(self, scores: ArrayLike) -> IntArray:
        """Codes ``(n_rows,)`` of values ``(n_rows,)`` or ``(n_rows, 1)``."""
        return np.searchsorted(np.array(self.cuts), _one_column(scores), side="right").astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`decision_from_json`."""
        return {"kind": "cuts", "cuts": list(self.cuts)}


Decision = Threshold | ClassMultipliers | CutPoints


def decision_from_json(record: dict[str, Any]) -> Decision:
    """The rule that ``to_json`` wrote.

    Raises:
        UnknownNameError: the record's kind is not one of threshold, multipliers and cuts.

    >>> decision_from_json(Threshold(0.25).to_json())
    Threshold(value=0.25)
    """
    match record.get("kind"):
        case "threshold":
            return Threshold(float(record["value"]))
        case "multipliers":
            return ClassMultipliers(tuple(float(value) for value in record["multipliers"]))
        case "cuts":
            return CutPoints(tuple(float(cut) for cut in record["cuts"]))
        case kind:
            raise UnknownNameError("decision", str(kind), ("threshold", "multipliers", "cuts"))


def default_decision(metric: Metric, task: Task, n_classes: int) -> Decision:
    """The untuned rule: threshold 0.5, the plain arg max, or rounding to the nearest code."""
    kind = metric.decision_for(task)
    assert kind != "none", f"{metric.name} needs no labels"
    if kind == "threshold":
        return Threshold(0.5)
    if kind == "cuts":
        return CutPoints(tuple(code + 0.5 for code in range(n_classes - 1)))
    return ClassMultipliers((1.0,) * n_classes)


def fit_decision(
    metric: Metric,
    task: Task,
    n_classes: int,
    y: ArrayLike,
    scores: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> Decision:
    """The rule that makes ``metric`` best on these rows; never worse on them than :func:`default_decision`.

    Two classes: the best threshold of all, exactly; for accuracy 0.5, unless another one is better by more than one
    standard error of the paired difference, as accuracy hardly gains from a threshold and easily loses. Several
    classes: multipliers by coordinate ascent (on 50 000 rows drawn with a fixed seed if there are more), for accuracy
    the plain arg max. Quadratic kappa: the best cut points among up to 256 quantiles. A user's own label metric: the
    best of 99 quantiles as threshold, or the plain arg max. The default rule stays where nothing is better.
    Deterministic.

    Args:
        metric: a metric with ``needs="label"``.
        n_classes: C.
        y: ``(n_rows,)``, codes 0..C-1.
        scores: chances of class 1 ``(n_rows,)`` or ``(n_rows, 1)`` or of all classes ``(n_rows, C)``; values on the
            scale of the codes, ``(n_rows, 1)``, for cut points. If one is not finite the default rule is returned.
        sample_weight: ``(n_rows,)``, not negative; None counts each row once.
    """
    plain = default_decision(metric, task, n_classes)
    codes = np.asarray(y, dtype=np.int64)
    given = np.asarray(scores, dtype=np.float64)
    weight = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    kept = weight > 0
    codes, given, weight = codes[kept], given[kept], weight[kept]
    if len(codes) == 0 or not np.isfinite(given).all():
        return plain
    match metric.decision_for(task):
        case "threshold":
            found: Decision = _fit_threshold(metric, codes, _one_column(given), weight)
        case "multipliers":
            found = _fit_multipliers(metric, codes, given, weight)
        case "cuts":
            found = _fit_cuts(n_classes, codes, _one_column(given), weight)
        case _:
            return plain
    used = None if sample_weight is None else weight
    gained = metric.better(metric.score(codes, found.apply(given), used), metric.score(codes, plain.apply(given), used))
    return found if gained else plain


def _one_column(scores: ArrayLike) -> FloatArray:
    column = np.asarray(scores, dtype=np.float64)
    assert column.ndim == 1 or column.shape[1] == 1, f"one column expected, not {column.shape}"
    return column.reshape(len(column))


# ---- two classes ----


def _fit_threshold(metric: Metric, y: IntArray, chance: FloatArray, weight: FloatArray) -> Threshold:
    if metric.of_confusion is None:
        return _best_of_quantiles(metric, y, chance, weight)
    best = exact_threshold(metric.of_confusion, y, chance, weight)
    if metric.name == "accuracy" and not _surely_more_accurate(best, Threshold(0.5), y, chance, weight):
        return Threshold(0.5)
    return best


def exact_threshold(
    of_confusion: Callable[[FloatArray], FloatArray], y: IntArray, chance: FloatArray, weight: FloatArray
) -> Threshold:
    """The best of all thresholds, O(n log n).

    Every threshold between the same two neighbouring chances gives the same labels. Where several such gaps in a row
    tie, the middle of them all is taken, as it is the farthest from where the score falls; of several such plateaus
    the one nearest to 0.5.

    Args:
        of_confusion: ``(..., 2, 2)`` confusion matrices to ``(...)`` scores, greater is better.
        y: ``(n_rows,)``, 0 or 1.
        chance, weight: ``(n_rows,)``.
    """
    order = np.argsort(chance, kind="stable")
    ordered, starts = np.unique(chance[order], return_index=True)
    # sums from both ends, not total minus sum, so that what is empty is exactly 0 under any weights
    by_class = [np.add.reduceat(weight[order] * (y[order] == code), starts) for code in (0, 1)]
    below = [np.concatenate([[0.0], np.cumsum(part)]) for part in by_class]
    above = [np.concatenate([np.cumsum(part[::-1])[::-1], [0.0]]) for part in by_class]
    matrices = np.array([[below[0], above[0]], [below[1], above[1]]]).transpose(2, 0, 1)
    values = of_confusion(matrices)  # at index k the k lowest chances are called 0
    # the ends: halfway to 0 and to 1, so that new rows a little outside are called the same
    lowest = min(ordered[0], ordered[0] / 2)
    highest = (ordered[-1] + 1) / 2 if ordered[-1] < 1 else np.nextafter(ordered[-1], np.inf)
    bounds = np.concatenate([[lowest], ordered, [highest]])
    tied = np.flatnonzero(values >= values.max() - SAME)
    plateaus = np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1)
    middles = [_middle(bounds, plateau[0], plateau[-1], len(ordered)) for plateau in plateaus]
    return Threshold(float(min(middles, key=lambda middle: abs(middle - 0.5))))


def _middle(bounds: FloatArray, first: int, last: int, n_distinct: int) -> float:
    """The threshold in the middle of the gaps ``first`` to ``last``; gap k lies in ``(bounds[k], bounds[k + 1]]``."""
    if first == last and first in (0, n_distinct):
        return float(bounds[0] if first == 0 else bounds[-1])
    low, high = bounds[first], bounds[last + 1]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)  # neighbouring floats have no middle; the rule is >=


def _surely_more_accurate(a: Threshold, b: Threshold, y: IntArray, chance: FloatArray, weight: FloatArray) -> bool:
    """Whether ``a`` is more accurate by more than one standard error of the mean of the paired differences."""
    gain = (a.apply(chance) == y).astype(np.float64) - (b.apply(chance) == y)
    mean = np.average(gain, weights=weight)
    correction = len(y) / max(len(y) - 1, 1)  # of the sample variance: a single row gained is exactly one error
    error = np.sqrt(correction * (weight**2 * (gain - mean) ** 2).sum()) / weight.sum()
    return bool(mean > error + SAME)


def _best_of_quantiles(metric: Metric, y: IntArray, chance: FloatArray, weight: FloatArray) -> Threshold:
    """The best of 99 quantiles of the chances and 0.5, ties to the nearest to 0.5."""
    used = None if (weight == 1).all() else weight
    candidates = np.unique(np.append(np.quantile(chance, np.arange(1, 100) / 100), 0.5))
    best = 0.5
    best_value = metric.score(y, Threshold(best).apply(chance), used)
    for candidate in sorted(candidates.tolist(), key=lambda value: abs(value - 0.5)):
        value = metric.score(y, Threshold(candidate).apply(chance), used)
        if metric.better(value, best_value):
            best, best_value = candidate, value
    return Threshold(best)


# ---- several classes ----


def _fit_multipliers(metric: Metric, y: IntArray, chances: FloatArray, weight: FloatArray) -> ClassMultipliers:
    """Coordinate ascent from the inverse class shares (best for balanced accuracy if the chances are calibrated) and,
    for other metrics, from the plain arg max too."""
    of_confusion = metric.of_confusion
    assert of_confusion is not None
    shares = np.bincount(y, weights=weight, minlength=chances.shape[1])
    inverse = shares.sum() / np.where(shares > 0, shares, shares.max())  # nothing speaks for a class without rows
    starts = [inverse] if metric.name == "balanced_accuracy" else [np.ones_like(inverse), inverse]
    if len(y) > ASCENT_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(len(y))[:ASCENT_ROWS])
        y, chances, weight = y[rows], chances[rows], weight[rows]
    climbed = [_ascend(of_confusion, y, chances, weight, np.log(start)) for start in starts]
    best = max(climbed, key=lambda result: result[0])[1]
    return ClassMultipliers(tuple(np.exp(best - best.mean()).tolist()))


def _ascend(
    of_confusion: Callable[[FloatArray], FloatArray],
    y: IntArray,
    chances: FloatArray,
    weight: FloatArray,
    logs: FloatArray,
) -> tuple[float, FloatArray]:
    """The score reached and the log multipliers ``(C,)``: each class in turn along a log grid, in ever finer passes."""
    best = -np.inf
    logs = logs.copy()
    for step in STEPS:
        for code in range(len(logs)):
            grid = logs[code] + step * GRID
            values = of_confusion(_confusions_along(y, chances, weight, logs, code, grid))
            # the shortest of the steps that tie
            tied = np.flatnonzero(values >= values.max() - SAME)
            choice = tied[np.argmin(np.abs(GRID[tied]))]
            logs[code] = grid[choice]
            best = float(values[choice])
    return best, logs


def _confusions_along(
    y: IntArray, chances: FloatArray, weight: FloatArray, logs: FloatArray, code: int, grid: FloatArray
) -> FloatArray:
    """Confusion matrices ``(n_grid, C, C)`` as the log multiplier of ``code`` runs along the ascending ``grid``.

    A row goes to ``code`` once the multiplier passes (best other class) / (chance of ``code``), so that one histogram
    of where rows change over gives all matrices: O(n_rows C + n_grid C^2).
    """
    size = len(logs)
    others = chances * np.exp(logs)
    others[:, code] = -np.inf
    rival = np.argmax(others, axis=1)
    strength, own = others[np.arange(len(y)), rival], chances[:, code]
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(own > 0, strength / own, np.inf)
    switch = np.searchsorted(np.exp(grid), needed)  # the first grid point where the row is called `code`
    cell = (switch * size + y) * size + rival
    shape = (len(grid) + 1, size, size)
    moved = np.bincount(cell, weights=weight, minlength=int(np.prod(shape))).astype(np.float64).reshape(shape)
    matrices = np.cumsum(moved[::-1], axis=0)[::-1][1:]  # rows that change over only later, under their rival
    matrices[:, :, code] = np.cumsum(moved, axis=0)[:-1].sum(axis=-1)
    return matrices


# ---- ordered classes ----


def _fit_cuts(n_classes: int, y: IntArray, values: FloatArray, weight: FloatArray) -> CutPoints:
    """The cut points of the highest quadratic kappa, exactly, among the candidates of :func:`_cut_candidates`.

    1 - kappa = n O / E, and both the observed penalty O and the expected one E are a constant plus one term per cut
    point. So the ascending cuts of least n O - r E are found by dynamic programming, and r is lowered to the ratio
    that they reach, until it stays: O(n log B + B C) for B candidates.

    Source: W. Dinkelbach 1967, On nonlinear fractional programming, Management Science 13(7), 492-498.
    """
    midpoints = np.arange(n_classes - 1) + 0.5
    candidates = np.unique(np.concatenate([_cut_candidates(values), midpoints]))
    reached = np.searchsorted(candidates, values, side="right")
    cells = np.bincount(reached * n_classes + y, weights=weight, minlength=(len(candidates) + 1) * n_classes)
    below = np.cumsum(cells.reshape(-1, n_classes), axis=0)  # (B + 1, C): rows below each candidate by true class
    total, below = below[-1], below[:-1]
    codes = np.arange(n_classes, dtype=np.float64)
    penalty = (codes[:, None] - codes) ** 2
    change = penalty[:, :-1] - penalty[:, 1:]  # of a row that cut c labels c, not c + 1
    observed = total.sum() * (below @ change)
    expected = below.sum(axis=1)[:, None] * (total @ change)
    constant = total.sum() * (total @ penalty[:, -1])  # all rows in the last class, in O and in E
    columns = np.arange(n_classes - 1)
    best = chosen = np.searchsorted(candidates, midpoints)
    ratio = np.inf
    for _ in range(50):  # converges faster than linearly, in about five steps
        top, bottom = constant + observed[chosen, columns].sum(), constant + expected[chosen, columns].sum()
        if bottom <= 0 or top / bottom >= ratio - SAME:
            break
        best, ratio = chosen, top / bottom
        chosen = _cheapest_ascending(observed - ratio * expected)
    return CutPoints(tuple(candidates[best].tolist()))


def _cut_candidates(values: FloatArray) -> FloatArray:
    """Up to 256 places between values that split them into equal parts, and the two ends; ascending."""
    ordered = np.sort(values)
    places = np.unique(np.linspace(0, len(ordered), CUT_CANDIDATES + 1).astype(np.int64))[1:-1]
    inner = ordered[places - 1] + (ordered[places] - ordered[places - 1]) / 2
    return np.concatenate([ordered[:1], inner, np.nextafter(ordered[-1:], np.inf)])


def _cheapest_ascending(cost: FloatArray) -> IntArray:
    """Row numbers, ascending but not strictly, one per column of ``cost`` ``(B, k)``, of the least sum."""
    n_rows, n_columns = cost.shape
    rows = np.arange(n_rows)
    before: list[IntArray] = []  # for each column but the first: the best row of the last column, up to this row
    sums = cost[:, 0]
    for column in range(1, n_columns):
        lowest = np.minimum.accumulate(sums)
        is_new = np.concatenate([[True], sums[1:] < lowest[:-1]])
        before.append(np.maximum.accumulate(np.where(is_new, rows, 0)))
        sums = lowest + cost[:, column]
    path = [int(np.argmin(sums))]
    for earlier in reversed(before):
        path.append(int(earlier[path[-1]]))
    return np.array(path[::-1])
