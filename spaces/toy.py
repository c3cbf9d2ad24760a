"""Small learnable problems of every kind, for tests of families and of what stands above them."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.columns import Column, Kind
from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Facts, FoldTask
from foldsmith.spaces.space import Float, Int, Params, Space, Value

GOALS = {
    "binary": Goal("binary", 2, "log_loss", "log_loss"),
    "auc": Goal("binary", 2, "log_loss", "auc"),
    "multiclass": Goal("multiclass", 3, "log_loss", "log_loss"),
    "squared": Goal("regression", 0, "squared", "rmse"),
    "absolute": Goal("regression", 0, "absolute", "mae"),
}
# Names that have broken text formats of model libraries.
COLUMNS: dict[str, Kind] = {
    "x:1": "numeric",
    'say "hi"': "numeric",
    "it's [a], {b}": "numeric",
    "flag=": "boolean",
    "größe": "categorical",
    "many levels": "categorical",
    "when": "datetime",
    "words": "text",
}
_WORDS = np.array(["apple", "bear", "cloud", "door", "engine", "forest"])


@dataclasses.dataclass(frozen=True)
class Problem:
    """A small learnable problem; its first rows are train rows, then validation rows, then rows of no fold."""

    goal: Goal
    frame: pd.DataFrame
    table: Table
    y: NDArray[Any]
    train_rows: NDArray[np.int64]
    valid_rows: NDArray[np.int64]

    @property
    def facts(self) -> Facts:
        """What a family may know beforehand."""
        return Facts(self.goal, self.table.schema, self.table.n_rows)

    def task(self, params: Params, **changes: Any) -> FoldTask:
        """The fold as a task."""
        task = FoldTask(self.goal, self.table, self.y, self.train_rows, self.valid_rows, params, seed=7, fold_key="f0")
        return dataclasses.replace(task, cache=FoldCache(), **changes)

    def valid_loss(self, predicted: NDArray[Any]) -> float:
        """Log loss, root mean squared or mean absolute error on the validation rows."""
        return loss(self.goal, self.y[self.valid_rows], predicted)


def make_frame(n_rows: int, seed: int) -> pd.DataFrame:
    """Every kind of column, a tenth of the numbers, categories and dates missing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n_rows, 3)) * [1, 100, 1e-3] + [0, 5000, 0]
    frame = pd.DataFrame(numbers, columns=list(COLUMNS)[:3])
    frame["flag="] = rng.integers(2, size=n_rows)
    frame["größe"] = rng.choice(["small", "medium", "large"], n_rows)
    frame["many levels"] = [f"level {level}" for level in rng.integers(40, size=n_rows)]
    seconds = rng.integers(100_000_000, size=n_rows)
    frame["when"] = (pd.Timestamp("2021-01-01") + pd.to_timedelta(seconds, unit="s")).strftime("%Y-%m-%d %H:%M:%S")
    frame["words"] = [" ".join(rng.choice(_WORDS, size=5)) for _ in range(n_rows)]
    for name in ('say "hi"', "größe", "when"):
        frame.loc[rng.random(n_rows) < 0.1, name] = None
    return frame


def make_target(frame: pd.DataFrame, goal: Goal) -> NDArray[Any]:
    """Class codes or values that depend on a number, a category and a word."""
    score = frame["x:1"] + 1.5 * (frame["größe"] == "large") + 0.5 * frame["words"].str.count("bear")
    noise = np.random.default_rng(len(frame)).normal(size=len(frame)) * 0.3
    values = (score + noise).to_numpy(np.float64)
    if goal.kind == "regression":
        return 100 + 10 * values
    edges = np.quantile(values, np.arange(1, goal.n_classes) / goal.n_classes)
    return np.asarray(np.digitize(values, edges), np.int32)


@functools.cache
def make_problem(goal: str = "binary", n_rows: int = 300, kinds: tuple[Kind, ...] = (), seed: int = 0) -> Problem:
    """A problem with the columns of some kinds, all by default; two thirds of the rows train, one sixth validates."""
    frame = make_frame(n_rows, seed)
    columns = [Column(name, kind, "") for name, kind in COLUMNS.items() if not kinds or kind in kinds]
    table = type_frame(frame, build_schema(frame, columns))
    y = make_target(frame, GOALS[goal])
    cut, end = n_rows * 2 // 3, n_rows * 5 // 6
    return Problem(GOALS[goal], frame, table, y, np.arange(cut), np.arange(cut, end))


def loss(goal: Goal, y: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Log loss of chances; root mean squared or mean absolute error of values."""
    if goal.kind == "regression":
        error = y - predicted[:, 0]
        return float(np.abs(error).mean() if goal.loss == "absolute" else np.sqrt((error**2).mean()))
    chances = predicted if goal.kind == "multiclass" else np.hstack([1 - predicted, predicted])
    return float(-np.log(np.clip(chances[np.arange(len(y)), y], 1e-7, 1)).mean())


def constant_prediction(problem: Problem) -> NDArray[np.float64]:
    """The best constant of the train rows, once per validation row."""
    y, goal = problem.y[problem.train_rows], problem.goal
    best = np.atleast_1d(np.median(y) if goal.loss == "absolute" else y.mean())
    if goal.kind == "multiclass":
        best = np.bincount(y, minlength=goal.n_classes) / len(y)
    return np.tile(best, (len(problem.valid_rows), 1))


def random_point(space: Space, rng: np.random.Generator) -> Params:
    """A point of the space, uniform on each parameter's own scale."""
    point: dict[str, Value] = {}
    for name, param in space.params.items():
        if param.when is not None and not param.when.holds(point):
            continue
        if isinstance(param, Float | Int):
            low, high = np.log([param.low, param.high]) if param.log else (param.low, param.high)
            drawn = rng.uniform(low, high)
            value = float(np.clip(np.exp(drawn) if param.log else drawn, param.low, param.high))
            point[name] = round(value) if isinstance(param, Int) else value
        else:
            point[name] = param.choices[rng.integers(len(param.choices))]
    return point
