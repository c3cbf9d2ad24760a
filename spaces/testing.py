"""The tests that every model family passes. A family of your own inherits them:

from foldsmith.spaces.testing import FamilySuite

class TestMine(FamilySuite):
    family = Mine()
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.problem.columns import Column, Kind
from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table, build_schema, save_table, type_frame
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask
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
    return np.digitize(values, np.quantile(values, np.arange(1, goal.n_classes) / goal.n_classes)).astype(np.int32)


def make_problem(goal: str = "binary", n_rows: int = 240, kinds: tuple[Kind, ...] = (), seed: int = 0) -> Problem:
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


_LOAD_AND_PREDICT = """
import importlib, sys
from pathlib import Path
import numpy as np
from foldsmith.problem.tables import Table
module, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
fitted = getattr(importlib.import_module(module), name)().load(folder / "model")
np.save(folder / "predicted.npy", fitted.predict(Table.open(folder / "table")))
"""


class FamilySuite:
    """What the search relies on. Subclasses set ``family``; pytest collects them when their name starts with Test."""

    family: Family
    n_random_points = 3

    def params(self, problem: Problem) -> Params:
        """The point used where the point does not matter; override it to make tests quicker."""
        return self.family.defaults(problem.facts)[0]

    def problem(self, goal: str = "binary", **options: Any) -> Problem:
        """A problem; the test is skipped when the family does not accept it."""
        problem = make_problem(goal, **options)
        reason = self.family.accepts(problem.facts)
        if reason is not None:
            pytest.skip(reason)
        return problem

    def fit(self, problem: Problem, **changes: Any) -> FittedFold:
        """Fit the fold with the default point."""
        return self.family.fit_fold(problem.task(self.params(problem), **changes))

    def early_round(self, fitted: FittedFold) -> int | None:
        """A round that two fits of the same rows share, however long their curves are."""
        return None if fitted.curve is None else min(5, len(fitted.curve))

    def check_prediction(self, problem: Problem, predicted: NDArray[Any], n_rows: int) -> None:
        """Shape, dtype, range and row sums."""
        goal = problem.goal
        assert predicted.shape == (n_rows, goal.n_outputs)
        assert predicted.dtype == np.float32
        assert np.isfinite(predicted).all()
        if goal.is_classification:
            assert predicted.min() >= 0 and predicted.max() <= 1
        if goal.kind == "multiclass":
            np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("goal", list(GOALS))
    def test_learns(self, goal: str) -> None:
        problem = self.problem(goal)
        fitted = self.fit(problem)
        valid = problem.table.take(problem.valid_rows)
        best = None if fitted.curve is None else self.best_round(problem, fitted)
        predicted = fitted.predict(valid, round=best)
        self.check_prediction(problem, predicted, len(problem.valid_rows))
        assert problem.valid_loss(predicted) < 0.95 * problem.valid_loss(constant_prediction(problem))

    def best_round(self, problem: Problem, fitted: FittedFold) -> int:
        """The curve's own best round."""
        assert fitted.curve is not None
        sign = -1 if problem.goal.monitor_greater_is_better else 1
        return int(np.argmin(sign * fitted.curve)) + 1

    @pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
    def test_validation_labels_do_not_reach_the_fit(self, goal: str) -> None:
        problem = self.problem(goal)
        y = problem.y.copy()
        y[problem.valid_rows] = np.random.default_rng(1).permutation(y[problem.valid_rows])
        first, second = self.fit(problem), self.fit(problem, y=y)
        early = self.early_round(first)
        np.testing.assert_array_equal(
            first.predict(problem.table, round=early), second.predict(problem.table, round=early)
        )

    def test_rows_outside_train_do_not_reach_the_fit(self) -> None:
        problem = self.problem()
        frame = problem.frame.copy()
        outside = slice(len(problem.train_rows), None)
        frame.iloc[outside] = make_frame(len(frame), seed=9).iloc[outside]
        frame.loc[len(problem.train_rows) :, ["x:1", 'say "hi"']] *= 1000
        changed = type_frame(frame, problem.table.schema)
        first, second = self.fit(problem), self.fit(problem, table=changed)
        early = self.early_round(first)
        np.testing.assert_array_equal(
            first.predict(problem.table, round=early), second.predict(problem.table, round=early)
        )

    @pytest.mark.parametrize("goal", ["multiclass", "squared"])
    def test_same_seed_gives_the_same_model(self, goal: str) -> None:
        problem = self.problem(goal)
        first, second = self.fit(problem), self.fit(problem)
        np.testing.assert_array_equal(first.predict(problem.table), second.predict(problem.table))

    def test_a_shared_cache_changes_nothing(self) -> None:
        problem = self.problem()
        points = [self.params(problem), random_point(self.family.space(problem.facts), np.random.default_rng(3))]
        shared = FoldCache()
        for point in points:
            alone = self.family.fit_fold(problem.task(point))
            together = self.family.fit_fold(dataclasses.replace(problem.task(point), cache=shared))
            np.testing.assert_array_equal(alone.predict(problem.table), together.predict(problem.table))

    @pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
    def test_loads_in_a_fresh_process(self, goal: str, tmp_path: Path) -> None:
        problem = self.problem(goal)
        fitted = self.fit(problem)
        (tmp_path / "model").mkdir()
        fitted.save(tmp_path / "model")
        names = [path.name for path in (tmp_path / "model").iterdir()]
        assert names and not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib", ".pt"))]
        expected = fitted.predict(problem.table)
        again = self.family.load(tmp_path / "model")
        np.testing.assert_allclose(again.predict(problem.table), expected, atol=1e-6, rtol=1e-6)
        if goal != "binary":
            return
        save_table(problem.table, tmp_path / "table")
        kind = type(self.family)
        command = [sys.executable, "-c", _LOAD_AND_PREDICT, kind.__module__, kind.__qualname__, str(tmp_path)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), expected, atol=1e-6, rtol=1e-6)

    @pytest.mark.parametrize("goal", list(GOALS))
    def test_rounds_follow_the_curve(self, goal: str) -> None:
        problem = self.problem(goal)
        fitted = self.fit(problem)
        if self.family.stopping != "cv-curve":
            assert fitted.curve is None
            return
        assert fitted.curve is not None and fitted.curve.ndim == 1
        valid = problem.table.take(problem.valid_rows)
        last, first = fitted.predict(valid), fitted.predict(valid, round=1)
        np.testing.assert_array_equal(last, fitted.predict(valid, round=len(fitted.curve)))
        assert not np.allclose(first, last)
        if problem.goal.monitor != "auc":
            assert problem.valid_loss(first) == pytest.approx(fitted.curve[0], rel=1e-4)
            assert problem.valid_loss(last) == pytest.approx(fitted.curve[-1], rel=1e-3)

    @pytest.mark.parametrize("goal", ["multiclass", "squared"])
    def test_a_past_deadline_ends_soon_with_a_model(self, goal: str) -> None:
        problem = self.problem(goal)
        self.fit(problem)  # imports what is slow to import
        start = time.perf_counter()
        fitted = self.fit(problem, deadline=time.time() - 1)
        assert time.perf_counter() - start < 2
        self.check_prediction(problem, fitted.predict(problem.table), problem.table.n_rows)

    @pytest.mark.parametrize("kinds", [(), ("numeric",), ("text",)])
    @pytest.mark.parametrize("goal", list(GOALS))
    @pytest.mark.parametrize("n_rows", [50, 5000])
    def test_defaults_lie_in_the_space(self, goal: str, kinds: tuple[Kind, ...], n_rows: int) -> None:
        problem = self.problem(goal, n_rows=50, kinds=kinds)
        facts = dataclasses.replace(problem.facts, n_rows=n_rows)
        defaults = self.family.defaults(facts)
        assert defaults
        for point in defaults:
            self.family.space(facts).check(point)
            assert json.loads(json.dumps(point)) == point

    def test_facts_are_json_and_name_the_device(self) -> None:
        facts = self.fit(self.problem()).facts
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert facts["device"] == "cpu"

    @pytest.mark.parametrize("goal", ["multiclass", "squared"])
    def test_random_points_fit(self, goal: str) -> None:
        problem = self.problem(goal)
        space, rng = self.family.space(problem.facts), np.random.default_rng(11)
        for _ in range(self.n_random_points):
            point = random_point(space, rng)
            space.check(point)
            fitted = self.family.fit_fold(problem.task(point, deadline=time.time() + 1))
            self.check_prediction(problem, fitted.predict(problem.table), problem.table.n_rows)

    def test_unseen_levels_and_missing_values_at_prediction(self) -> None:
        problem = self.problem("multiclass")
        fitted = self.fit(problem)
        strange = problem.frame.copy()
        strange.loc[:9, "größe"] = "never seen"
        strange.loc[:9, "many levels"] = "nor this"
        strange.loc[5:14, list(COLUMNS)] = None
        strange.loc[15:19, "x:1"] = 3e38
        strange.loc[20:24, "x:1"] = -3e38
        table = type_frame(strange.astype({"flag=": "object"}), problem.table.schema)
        self.check_prediction(problem, fitted.predict(table), problem.table.n_rows)

    @pytest.mark.parametrize("kinds", [("numeric",), ("boolean",), ("categorical",), ("datetime",), ("text",)])
    def test_fits_columns_of_one_kind(self, kinds: tuple[Kind, ...]) -> None:
        problem = self.problem("multiclass", n_rows=50, kinds=kinds)
        self.check_prediction(problem, self.fit(problem).predict(problem.table), 50)

    @pytest.mark.parametrize("goal", list(GOALS))
    def test_fits_fifty_rows_with_an_empty_column(self, goal: str) -> None:
        problem = self.problem(goal, n_rows=50)
        numeric = problem.table.numeric.copy()
        numeric[problem.train_rows, 0] = np.nan  # has values in the other rows
        numeric[:, 1] = np.nan
        numeric[:, 2] = 3.0
        table = dataclasses.replace(problem.table, numeric=numeric)
        self.check_prediction(problem, self.fit(problem, table=table).predict(table), 50)

    def test_a_class_without_train_rows_keeps_its_column(self) -> None:
        problem = self.problem("multiclass")
        for absent in range(3):
            rows = problem.train_rows[problem.y[problem.train_rows] != absent]
            fitted = self.fit(problem, train_rows=rows, fold_key=f"without {absent}")
            predicted = fitted.predict(problem.table)
            self.check_prediction(problem, predicted, problem.table.n_rows)
            assert predicted[:, absent].mean() < 0.2
            present = [code for code in range(3) if code != absent]
            right = np.array(present)[predicted[rows][:, present].argmax(axis=1)] == problem.y[rows]
            assert right.mean() > 0.6
