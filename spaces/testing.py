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
import pytest
from numpy.typing import NDArray

from foldsmith.problem.columns import Kind
from foldsmith.problem.tables import save_table, type_frame
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Family, FittedFold
from foldsmith.spaces.space import Params
from foldsmith.spaces.toy import COLUMNS, GOALS, Problem, constant_prediction, make_frame, make_problem, random_point

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
        assert (fitted.curve is not None) == (self.family.stopping == "cv-curve")
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
    def test_labels_outside_train_do_not_reach_the_fit(self, goal: str) -> None:
        problem = self.problem(goal)
        y = problem.y.copy()
        outside = np.setdiff1d(np.arange(len(y)), problem.train_rows)  # rows of no fold as well
        y[outside] = np.random.default_rng(1).permutation(y[outside])
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
        if self.family.stopping != "cv-curve":
            pytest.skip("a family without a curve")
        problem = self.problem(goal)
        fitted = self.fit(problem)
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
        start = time.process_time()  # its own work, however long a busy machine takes for that
        fitted = self.fit(problem, deadline=time.time() - 1)
        assert time.process_time() - start < 2
        self.check_prediction(problem, fitted.predict(problem.table), problem.table.n_rows)

    @pytest.mark.parametrize("kinds", [(), ("numeric",), ("text",)])
    @pytest.mark.parametrize("goal", list(GOALS))
    def test_defaults_lie_in_the_space(self, goal: str, kinds: tuple[Kind, ...]) -> None:
        problem = self.problem(goal, kinds=kinds)
        for n_rows in (10, 300, 5000, 1_000_000):
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
