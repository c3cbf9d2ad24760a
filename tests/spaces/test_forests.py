import numpy as np
import pytest

from foldsmith.problem.goal import Goal
from foldsmith.spaces import forests
from foldsmith.spaces.forests import CompactTrees, ExtraTrees, RandomForest
from foldsmith.spaces.toy import GOALS, make_problem


def _matrix(n_rows: int = 400) -> np.ndarray:
    """Some values missing, and many that stand exactly on thresholds."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(n_rows, 5)).round(1).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix


@pytest.mark.parametrize("name", ["ExtraTreesRegressor", "RandomForestRegressor"])
def test_compact_values_equal_the_fitted_forest(name: str) -> None:
    from sklearn import ensemble

    matrix = _matrix()
    y = np.nan_to_num(matrix[:, 0]) * 3 + 100 * np.isnan(matrix[:, 1])
    forest = getattr(ensemble, name)(20, random_state=0).fit(matrix, y)
    trees = CompactTrees.from_sklearn([tree.tree_ for tree in forest.estimators_], np.zeros(1, np.int64), 1)
    other = np.vstack([matrix, np.full((1, 5), np.nan, np.float32)])
    np.testing.assert_allclose(trees.predict(other)[:, 0], forest.predict(other), rtol=1e-6)
    assert len(trees) == 20


@pytest.mark.parametrize("name", ["ExtraTreesClassifier", "RandomForestClassifier"])
def test_compact_chances_equal_the_fitted_forest(name: str) -> None:
    from sklearn import ensemble

    matrix = _matrix()
    y = np.digitize(np.nan_to_num(matrix[:, 0]), [-0.5, 0.5])
    forest = getattr(ensemble, name)(20, random_state=0, min_samples_leaf=3).fit(matrix, y)
    trees = CompactTrees.from_sklearn([tree.tree_ for tree in forest.estimators_], np.arange(3), 3)
    np.testing.assert_allclose(trees.predict(matrix), forest.predict_proba(matrix), atol=1e-6)


def test_a_deadline_leaves_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forests, "N_TREES", 50)
    problem = make_problem("squared")
    params = ExtraTrees().defaults(problem.facts)[0]
    late = ExtraTrees().fit_fold(problem.task(params, deadline=1.0))
    assert late.facts == {"device": "cpu", "n_trees": forests.BATCH, "stopped_by": "deadline"}
    assert ExtraTrees().fit_fold(problem.task(params)).facts["n_trees"] == 50


def test_large_tables_look_at_the_clock_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forests, "LARGE_ROWS", 100)
    monkeypatch.setattr(forests, "N_TREES", forests.BATCH)
    problem = make_problem("squared")  # 200 train rows
    params = ExtraTrees().defaults(problem.facts)[0]
    assert ExtraTrees().fit_fold(problem.task(params, deadline=1.0)).facts["n_trees"] == 3
    assert ExtraTrees().fit_fold(problem.task(params)).facts["n_trees"] == forests.BATCH


def test_batches_grow_the_forest_that_one_fit_would_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forests, "N_TREES", 50)
    problem = make_problem("squared")
    params = RandomForest().defaults(problem.facts)[0]
    batched = RandomForest().fit_fold(problem.task(params)).predict(problem.table)
    monkeypatch.setattr(forests, "BATCH", 50)
    at_once = RandomForest().fit_fold(problem.task(params)).predict(problem.table)
    np.testing.assert_array_equal(batched, at_once)


def test_classes_find_their_columns() -> None:
    three = GOALS["multiclass"]
    np.testing.assert_array_equal(forests._class_columns(three, np.array([0, 2])), [0, 2])
    two = Goal("binary", 2, "log_loss", "log_loss")
    np.testing.assert_array_equal(forests._class_columns(two, np.array([0, 1])), [-1, 0])
