"""Members' predictions as the methods work on them: covered rows, fold after fold, in the space of averaging."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.blend_space import to_space
from foldsmith.ensembling.loops import loops_for
from foldsmith.ensembling.task import BlendTask, Predictions, common_dtype
from foldsmith.problem.files import digest
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Judge

T = TypeVar("T")
MAX_BYTES = 4 << 30
NONE = np.empty(0)
SCALE_MEMBERS = 5  # that level and spread are taken from; one of them may predict a constant


@dataclass(frozen=True)
class Scale:
    """An affine map to about mean 0 and standard deviation 1, so that float32 holds the spread of predictions.

    Weights that sum to 1 do not notice it: a blend of reduced predictions is the reduced blend.
    """

    origin: float = 0.0
    unit: float = 1.0

    def reduce(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in these units."""
        return (values - self.origin) / self.unit

    def restore(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The way back."""
        return np.asarray(np.asarray(values, np.float64) * self.unit + self.origin)


class Pool:
    """The candidates of an ensemble on the rows of some folds; what is dear is made when it is first asked for.

    Args:
        predictions: ``(n_rows, n_outputs)`` of all rows by member, best member first; memory-mapped ones are read
            once per pool and copied as float32, so a pool of 1,000 members x 600,000 rows takes 2.4 GB.
        task: metric, labels, folds.
        loops: those of the kernels, chosen by the size of the pool by default.

    Attributes:
        predictions: as given.
        names: the members, without those that repeat an earlier one.
        rows: ``(n,)`` row numbers in the train table, fold after fold.
        bounds: ``(n_folds + 1,)`` where each fold begins in them.
    """

    def __init__(self, predictions: Predictions, task: BlendTask, loops: ModuleType | None = None) -> None:
        self.task = task
        self.predictions = predictions
        self.names = tuple(_distinct(predictions))
        self._loops = loops
        self._gram = FoldGram(self)
        self._memo: dict[Any, Any] = {}
        self._settle(np.unique(task.fold_of_row[task.rows]).tolist())

    def _settle(self, folds: Sequence[int]) -> None:
        self.folds = tuple(folds)
        parts = [np.flatnonzero(self.task.fold_of_row == fold) for fold in self.folds]
        self.rows = np.concatenate(parts) if parts else np.empty(0, np.int64)
        self.bounds = np.cumsum([0, *map(len, parts)])

    def of_folds(self, folds: Sequence[int]) -> "Pool":
        """The same members on the rows of some folds; Gram columns are shared with this pool."""
        other = Pool.__new__(Pool)
        other.task, other.names, other.predictions = self.task, self.names, self.predictions
        other._loops = self._loops
        other._gram, other._memo = self._gram, self._memo
        other._settle(folds)
        return other

    def without(self, fold: int) -> "Pool":
        """The same members on the rows of all folds but one."""
        return self.of_folds([other for other in self.folds if other != fold])

    def of_members(self, members: Sequence[int]) -> "Pool":
        """Some of the members, on the same rows."""
        chosen = [self.names[member] for member in members]
        other = Pool.__new__(Pool)
        other.task, other.names = self.task, tuple(chosen)
        other.predictions, other._loops = self.predictions, self._loops
        other._gram, other._memo = FoldGram(other), {}
        other._settle(self._gram.pool.folds)
        return other.of_folds(self.folds)

    def sampled(self, share: float, rng: np.random.Generator) -> "Pool":
        """The same members on a random part of each fold's rows, drawn without replacement."""
        other = self.of_folds(self.folds)
        other._gram, other._memo = FoldGram(other), {}
        kept = []
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            n_rows = max(1, round(share * int(stop - start)))
            kept.append(np.sort(rng.permutation(self.rows[start:stop])[:n_rows]))
        other.rows, other.bounds = np.concatenate(kept), np.cumsum([0, *map(len, kept)])
        return other

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gave for this key and these folds before: nested methods meet the same selections again."""
        place = key, self.folds
        if place not in self._memo:
            self._memo[place] = make()
        made: T = self._memo[place]
        return made

    @property
    def loops(self) -> ModuleType:
        """The loops over all members that suit this pool."""
        return self._loops or loops_for(len(self.names) * len(self.rows))

    @property
    def judge(self) -> Judge:
        """Metric and labels of all rows."""
        return self.task.judge

    @property
    def is_chance(self) -> bool:
        """Whether predictions are chances of classes, not values or ratings."""
        return self.judge.metric.goal(self.judge.task, self.judge.n_classes).is_classification

    @property
    def n_outputs(self) -> int:
        """Columns of a prediction."""
        return int(next(iter(self.predictions.values())).shape[1])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """What predictions are stored in."""
        return common_dtype(self.predictions.values())

    @cached_property
    def scale(self) -> "Scale":
        """Level and spread of a regression's predictions in the blend space; no label has a part in it."""
        if self.judge.task != "regression" or self.task.space not in ("identity", "log1p"):
            return Scale()
        few = list(self.predictions.values())[:SCALE_MEMBERS]
        values = [to_space(prediction[self.task.rows], self.task.space) for prediction in few]
        origin = float(np.mean(values[0]))
        spread = max(float(np.std(one - origin)) for one in values)
        if not 0 < spread < np.inf:
            return Scale(origin)
        return Scale(origin, spread)

    def prediction(self, member: int) -> NDArray[np.float64]:
        """``(n, n_outputs)`` of one member in the blend space."""
        prediction = self.predictions[self.names[member]]
        if self.task.space == "rank":  # a rank is one among all rows
            return self._ranked(prediction)[self.rows]
        return to_space(prediction[self.rows], self.task.space)

    def raw(self, member: int) -> Outputs:
        """``(n, n_outputs)`` of one member as it is stored."""
        return self.predictions[self.names[member]][self.rows]

    def _ranked(self, prediction: NDArray[Any]) -> NDArray[np.float64]:
        ranks = np.zeros(prediction.shape)
        ranks[self.task.rows] = to_space(prediction[self.task.rows], "rank")
        return ranks

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """``(n_members, n, n_outputs)`` in the blend space and the units of :attr:`scale`."""
        made = np.empty((len(self.names), len(self.rows), self.n_outputs), np.float32)
        for member in range(len(self.names)):
            made[member] = self.scale.reduce(self.prediction(member))
        return made

    @property
    def columns(self) -> NDArray[np.float32]:
        """``(n_members, n)`` the first output: values in the units of :attr:`scale`, or the chance of class 1."""
        return self.values[:, :, 0]

    @cached_property
    def true_class(self) -> NDArray[np.float32]:
        """``(n_members, n)`` the chance given to each row's own class: all that log loss needs of a convex blend."""
        made = np.empty((len(self.names), len(self.rows)), np.float32)
        codes = self.codes
        for member in range(len(self.names)):
            chances = self.prediction(member)
            if self.n_outputs == 1:
                made[member] = np.where(codes == 1, chances[:, 0], 1 - chances[:, 0])
            else:
                made[member] = chances[np.arange(len(codes)), codes]
        return made

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """``(n,)`` class codes."""
        return np.asarray(self.judge.y[self.rows], np.int64)

    @cached_property
    def target(self) -> NDArray[np.float64]:
        """``(n,)`` what a squared or absolute loss compares with: as :attr:`columns`."""
        return self.scale.reduce(self.truth)

    @cached_property
    def truth(self) -> NDArray[np.float64]:
        """``(n,)`` the labels in the blend space."""
        y = np.asarray(self.judge.y[self.rows], np.float64)
        return y if self.task.space == "rank" else to_space(y[:, None], self.task.space)[:, 0]

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """``(n,)`` weights of rows, or empty where each counts once."""
        given = self.judge.weight
        return NONE if given is None else np.asarray(given[self.rows], np.float64)

    @cached_property
    def mass(self) -> float:
        """The sum of the weights."""
        return float(self.weight.sum()) if len(self.weight) else float(len(self.rows))

    def gram_column(self, member: int) -> NDArray[np.float64]:
        """``(n_members,)`` mean products of the members' residuals with one member's."""
        return self._gram.column(member, self.folds) / self.mass

    def gram(self) -> NDArray[np.float64]:
        """``(n_members, n_members)`` mean products of residuals: the squared loss of weights w is w' G w."""
        return np.stack([self.gram_column(member) for member in range(len(self.names))])

    def gram_diagonal(self) -> NDArray[np.float64]:
        """``(n_members,)`` each member's mean squared residual."""
        return self._gram.diagonal(self.folds) / self.mass


class FoldGram:
    """Products of residuals per fold, a column at a time: all folds of a nested score share one pass over the data.

    The squared loss of any weights on any folds follows from these sums; a selection of 25 steps meets a few dozen
    members, so most of the ``n_members ** 2`` products are never needed.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool  # of all folds
        self._columns: dict[int, NDArray[np.float64]] = {}

    @cached_property
    def _residuals(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        return np.ascontiguousarray(self.pool.columns), self.pool.target, self.pool.weight

    def column(self, member: int, folds: Sequence[int]) -> NDArray[np.float64]:
        """``(n_members,)`` sums over the rows of ``folds``."""
        if member not in self._columns:
            columns, y, weight = self._residuals
            other = columns[member].astype(np.float64) - y
            self._columns[member] = self.pool.loops.products(columns, y, other, weight, self.pool.bounds)
        return np.asarray(self._columns[member][self._places(folds)].sum(axis=0))

    @cached_property
    def _diagonals(self) -> NDArray[np.float64]:
        columns, y, weight = self._residuals
        return np.asarray(self.pool.loops.squares(columns, y, weight, self.pool.bounds))

    def diagonal(self, folds: Sequence[int]) -> NDArray[np.float64]:
        """``(n_members,)`` sums of squares over the rows of ``folds``."""
        return np.asarray(self._diagonals[self._places(folds)].sum(axis=0))

    def _places(self, folds: Sequence[int]) -> list[int]:
        return [self.pool.folds.index(fold) for fold in folds]


def _distinct(predictions: Predictions) -> list[str]:
    """Names without those that repeat an earlier prediction, and only as many as fit into the memory of a pool.

    A repetition would only crowd out other candidates.
    """
    first_of: dict[str, str] = {}
    for name, prediction in predictions.items():
        first_of.setdefault(digest(np.asarray(prediction)), name)
    one = next(iter(predictions.values()))
    return list(first_of.values())[: max(1, MAX_BYTES // (4 * one.size))]
