"""A portfolio learned from competitions: which points were good where, and which list of them serves all of them.

The evidence of a competition is, per family, its complete trials with their scaled rank there (0 is the best of the
family, 1 the worst). Competitions share only the points that they started from; of another point the rank in a
competition is taken to be that of the nearest trial there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.greedy import greedy_list, scaled_ranks
from foldsmith.spaces.portfolio_file import Entry, RowClass, TaskClass, row_class

MIN_TRIALS = 5  # of a family in a competition; ranks among fewer say little
N_POINTS = 6  # learned per family and kind of task
N_KEPT = 40  # trials of a family that a competition's evidence keeps
GOOD_RANK = 0.25  # candidates are among the best quarter somewhere
LEAST_DISTANCE = 0.05  # between two points of a list: nearer ones tell the same
LOG_RATIO = 20.0  # of greatest to least value, from where on a parameter is compared on a log scale


@dataclass(frozen=True)
class Tried:
    """A complete trial: its point, its scaled rank in its competition, and what it took."""

    params: Mapping[str, Any]
    rank: float
    seconds: float


@dataclass(frozen=True)
class Evidence:
    """What one competition says of one family.

    Args:
        space: version of the family's own space.
        n_rows: of the train table.
    """

    task: TaskClass
    n_rows: int
    space: str
    trials: tuple[Tried, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Evidence":
        """Read what ``to_json`` wrote."""
        return cls(**{**record, "trials": tuple(Tried(**trial) for trial in record["trials"])})


def make_evidence(
    task: TaskClass, n_rows: int, space: str, trials: Sequence[tuple[Mapping[str, Any], float, float]]
) -> Evidence | None:
    """The evidence of a family in a competition, None when there are too few trials.

    Args:
        trials: point, error (smaller is better) and seconds of each complete trial.
    """
    if len(trials) < MIN_TRIALS:
        return None
    ranks = scaled_ranks(np.array([[error for _, error, _ in trials]]))[0]
    found = [
        Tried(dict(params), round(float(rank), 4), round(seconds, 2))
        for rank, (params, _, seconds) in zip(ranks, trials, strict=True)
    ]
    found.sort(key=lambda tried: tried.rank)
    return Evidence(task, n_rows, space, tuple(_thinned(found)))


def _thinned(trials: list[Tried]) -> list[Tried]:
    """The best half of what is kept, and an even choice of the others."""
    n_best = N_KEPT // 2
    if len(trials) <= N_KEPT:
        return trials
    others = np.linspace(n_best, len(trials) - 1, N_KEPT - n_best).round().astype(int)
    return trials[:n_best] + [trials[number] for number in others]


def learn_points(evidence: Sequence[Evidence]) -> tuple[Entry, ...]:
    """The entries of one family, for each kind of task that there is evidence of; the newest space version counts."""
    entries: list[Entry] = []
    tasks: tuple[TaskClass, ...] = ("classification", "regression")
    for task in tasks:
        group = [one for one in evidence if one.task == task]
        if group:
            group = [one for one in group if one.space == group[-1].space]
            entries += _learn_group(task, group)
    return tuple(entries)


def _learn_group(task: TaskClass, group: list[Evidence]) -> list[Entry]:
    scale = Scale([tried.params for one in group for tried in one.trials])
    candidates = [tried for one in group for tried in one.trials if tried.rank <= GOOD_RANK]
    ranks = np.array([[_rank_in(one, tried.params, scale) for tried in candidates] for one in group])
    order = greedy_list(ranks, _relative_seconds(group), len(candidates))
    taken: list[Tried] = []
    for number in order:
        params = candidates[number].params
        if all(scale.distance(params, other.params) >= LEAST_DISTANCE for other in taken):
            taken.append(candidates[number])
    rows = {row_class(one.n_rows) for one in group}
    where: RowClass = rows.pop() if len(rows) == 1 else "any"
    source = f"learned from {len(group)} competition{'s' if len(group) > 1 else ''}"
    return [Entry(dict(tried.params), task, where, source, group[-1].space) for tried in taken[:N_POINTS]]


def _rank_in(one: Evidence, params: Mapping[str, Any], scale: "Scale") -> float:
    """The rank of the nearest trial; of equally near ones the mean."""
    distances = np.array([scale.distance(params, tried.params) for tried in one.trials])
    ranks = np.array([tried.rank for tried in one.trials])
    return float(ranks[distances <= distances.min() + 1e-12].mean())


def _relative_seconds(group: list[Evidence]) -> list[float]:
    """What the candidates took, as a multiple of the median in their own competition."""
    costs = []
    for one in group:
        median = float(np.median([tried.seconds for tried in one.trials])) or 1.0
        costs += [tried.seconds / median for tried in one.trials if tried.rank <= GOOD_RANK]
    return costs


class Scale:
    """How far apart two points are, each parameter on the scale that the points themselves span.

    >>> scale = Scale([{"rate": 0.01, "kind": "a"}, {"rate": 1.0, "kind": "b"}])
    >>> scale.distance({"rate": 0.1, "kind": "a"}, {"rate": 1.0, "kind": "a"})
    0.25
    """

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        values: dict[str, list[float]] = {}
        for point in points:
            for name, value in point.items():
                if _is_number(value):
                    values.setdefault(name, []).append(value)
        self._ends = {name: (min(found), max(found)) for name, found in values.items()}

    def distance(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        """Mean difference over the parameters, each in [0, 1]; a parameter that one of them lacks counts 1."""
        names = one.keys() | other.keys()
        return sum(self._difference(name, one, other) for name in names) / max(1, len(names))

    def _difference(self, name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        a: Any = one.get(name)
        b: Any = other.get(name)
        if not (_is_number(a) and _is_number(b)):
            return float(a != b)
        low, high = self._ends.get(name, (0.0, 0.0))
        if high <= low:
            return 0.0
        if low > 0 and high / low >= LOG_RATIO:
            return abs(math.log(a / b)) / math.log(high / low)
        return float(abs(a - b) / (high - low))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_errors(values: Sequence[float], *, greater_is_better: bool) -> NDArray[np.float64]:
    """Scores in a metric's own units as errors, smaller is better; a nan is a failure."""
    errors = np.asarray(values, np.float64) * (-1 if greater_is_better else 1)
    return np.where(np.isnan(errors), np.inf, errors)
