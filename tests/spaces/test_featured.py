"""A family on a table with features of a user's own keeps what every family keeps."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.problem.tables import save_table
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Family, FittedFold
from foldsmith.spaces.featured import Featured
from foldsmith.spaces.features import Features, load_features, try_features
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.linear import Linear
from foldsmith.spaces.testing import FamilySuite
from foldsmith.spaces.toy import Problem, make_problem
from foldsmith.spaces.transformer import FunctionTransformer, Transformer

CODE = """
import pandas as pd
from foldsmith.spaces.transformer import Transformer

class Level(Transformer):
    def fit(self, X, y):
        self.rows_ = X["größe"].value_counts()
    def transform(self, X):
        return pd.DataFrame({"rows": X["größe"].map(self.rows_), "whole": (X["x:1"] // 1).astype("str")})
"""
_LOAD_AND_PREDICT = """
import sys
from pathlib import Path
import numpy as np
from foldsmith.problem.tables import Table
from foldsmith.spaces.featured import Featured
from foldsmith.spaces.features import load_features
from foldsmith.spaces.linear import Linear
folder = Path(sys.argv[1])
fitted = Featured(Linear(), load_features(["mine:Level"], folder)).load(folder / "model")
np.save(folder / "predicted.npy", fitted.predict(Table.open(folder / "table")))
"""


class FirstColumn(Transformer):
    """A number and a category of whatever stands first: where it lies among the train rows."""

    fits: list[int] = []  # noqa: RUF012

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> None:
        self.fits.append(len(X))
        codes = X.iloc[:, 0].astype("str").value_counts()
        self.count_, self.prior_ = codes, float(np.mean(y))

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        count = X.iloc[:, 0].astype("str").map(self.count_).fillna(0)
        kind = np.where(count > 1, "often", np.where(count == 1, "once", "never"))
        return pd.DataFrame({"count": count + self.prior_, "kind": kind}, index=X.index)


def missing(X: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"missing": X.isna().sum(axis=1)})


FEATURES = Features(("missing", "FirstColumn"), (lambda: FunctionTransformer(missing), FirstColumn), "abc123")


class TestFeaturedLightGBM(FamilySuite):
    """Each problem has new columns of its own; a fresh process needs a code folder, see below."""

    family = Featured(LightGBM(), FEATURES)

    def problem(self, goal: str = "binary", **options: Any) -> Problem:
        problem = make_problem(goal, **options)
        self.family = Featured(LightGBM(), FEATURES, try_features(FEATURES, problem.table, problem.y))
        return super().problem(goal, **options)

    @pytest.mark.parametrize("goal", ["multiclass", "squared"])
    def test_loads_in_a_fresh_process(self, goal: str, tmp_path: Path) -> None:
        problem = self.problem(goal)
        fitted = self.fit(problem)
        fitted.save(tmp_path)
        assert (tmp_path / "features.zip").exists()
        again = self.family.load(tmp_path)
        np.testing.assert_allclose(again.predict(problem.table), fitted.predict(problem.table), atol=1e-6, rtol=1e-6)


@pytest.fixture
def problem() -> Problem:
    return make_problem()


@pytest.fixture
def family(problem: Problem) -> Featured:
    return Featured(Linear(), FEATURES, try_features(FEATURES, problem.table, problem.y))


def test_the_family_fits_the_wider_table(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Watched(Linear):
        def fit_fold(self, task: Any) -> FittedFold:
            seen.append(task)
            return super().fit_fold(task)

    family = Featured(Watched(), FEATURES, try_features(FEATURES, problem.table, problem.y))
    task = problem.task(family.defaults(problem.facts)[0])
    fitted = family.fit_fold(task)
    (inner,) = seen
    assert inner.table.schema.numeric == (*problem.table.schema.numeric, "missing", "count")
    assert inner.table.schema.categorical[-1] == "kind"
    assert inner.fold_key != task.fold_key and inner.fold_key.endswith(task.fold_key)
    assert fitted.facts["features"] == {"digest": "abc123", "use": ["missing", "FirstColumn"]}


def test_version_and_needs_tell_of_the_features(problem: Problem, family: Featured) -> None:
    plain, facts = Linear(), problem.facts
    assert family.space(facts).version == plain.space(facts).version + "+features-abc123"
    assert (family.name, family.prefix, family.stopping) == (plain.name, plain.prefix, plain.stopping)
    point = plain.defaults(facts)[0]
    assert family.resources(facts, point).ram_bytes > plain.resources(facts, point).ram_bytes


def test_every_method_of_a_family_is_passed_on() -> None:
    methods = {name for name, value in vars(Family).items() if callable(value) and not name.startswith("_")}
    assert methods <= set(vars(Featured))


def test_a_fold_without_other_rows(problem: Problem, family: Featured) -> None:
    every = np.arange(problem.table.n_rows)
    task = problem.task(family.defaults(problem.facts)[0], train_rows=every, valid_rows=every[:0])
    assert family.fit_fold(task).predict(problem.table).shape == (300, 1)


def test_spaces_see_the_new_kinds() -> None:
    numeric = make_problem(kinds=("numeric",))
    family = Featured(LightGBM(), FEATURES, try_features(FEATURES, numeric.table, numeric.y))
    assert "cat_smooth" in family.space(numeric.facts).params
    assert "cat_smooth" not in LightGBM().space(numeric.facts).params


def test_trials_of_a_worker_share_the_fitted_transformers(problem: Problem, family: Featured) -> None:
    cache, point = FoldCache(), family.defaults(problem.facts)[0]
    FirstColumn.fits.clear()
    for key in ("c/0-0", "c/0-0", "c/0-1"):
        family.fit_fold(replace(problem.task(point), fold_key=key, cache=cache))
    assert FirstColumn.fits == [len(problem.train_rows)] * 2


def test_models_load_in_a_fresh_process(problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    features = load_features(["mine:Level"], tmp_path)
    assert features is not None
    family = Featured(Linear(), features, try_features(features, problem.table, problem.y))
    fitted = family.fit_fold(problem.task(family.defaults(problem.facts)[0]))
    (tmp_path / "model").mkdir()
    fitted.save(tmp_path / "model")
    save_table(problem.table, tmp_path / "table")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", _LOAD_AND_PREDICT, str(tmp_path)], check=True, env=environment)
    expected = fitted.predict(problem.table)
    np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), expected, atol=1e-6, rtol=1e-6)
