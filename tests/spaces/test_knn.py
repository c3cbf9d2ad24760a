import dataclasses

import numpy as np
import pytest

from foldsmith.problem.goal import Goal
from foldsmith.spaces import knn
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.knn import KNN, Vote
from foldsmith.spaces.space import Choice
from foldsmith.spaces.toy import make_problem

VOTE = Vote(n_classes=0, n_outputs=1, median=False, k=3, by_distance=True, p=2)


def test_nearer_neighbours_weigh_more() -> None:
    weights = VOTE.weights(np.array([[1.0, 2.0, 4.0]], np.float32))
    np.testing.assert_allclose(weights, [[12 / 7, 6 / 7, 3 / 7]], rtol=1e-6)


def test_rows_at_distance_zero_take_everything() -> None:
    weights = VOTE.weights(np.array([[0.0, 0.0, 1.0]], np.float32))
    np.testing.assert_allclose(weights, [[1.5, 1.5, 0]], atol=1e-6)
    np.testing.assert_allclose(VOTE.values(np.array([[2.0, 4.0, 90.0]]), weights), [[3.0]])


def test_the_weighted_median_is_a_label() -> None:
    vote = dataclasses.replace(VOTE, median=True)
    labels = np.array([[10.0, 1.0, 3.0], [10.0, 1.0, 3.0]])
    weights = np.array([[1, 1, 1], [5, 1, 1]], np.float32)
    np.testing.assert_array_equal(vote.values(labels, weights), [[3.0], [10.0]])


def test_class_shares_count_as_one_neighbour() -> None:
    vote = dataclasses.replace(VOTE, n_classes=2, n_outputs=1, by_distance=False)
    chances = vote.chances(np.array([[1, 1, 1]]), np.ones((1, 3), np.float32), np.array([0.8, 0.2], np.float32))
    np.testing.assert_allclose(chances, [[3.2 / 4]])


@pytest.mark.parametrize("kind", ["binary", "squared"])
def test_relevance_finds_the_column_that_matters(kind: str) -> None:
    target: np.ndarray
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(500, 3)).astype(np.float32)
    matrix[:, 2] = 1.0
    if kind == "binary":
        goal, target = Goal("binary", 2, "log_loss", "log_loss"), (np.abs(matrix[:, 1]) > 0.7).astype(np.int32)
    else:
        goal, target = Goal("regression", 0, "squared", "rmse"), np.asarray(matrix[:, 1] ** 2)
    relevance = knn.column_relevance(matrix, target, goal)
    assert relevance[1] > 0.7
    assert relevance[0] < 0.25
    assert relevance[2] == pytest.approx(0.05)


def test_stored_rows_are_bounded_and_the_draw_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "MAX_STORED_ROWS", 60)
    problem = make_problem("squared")
    params = KNN().defaults(problem.facts)[0]
    first, second = (KNN().fit_fold(problem.task(params)) for _ in range(2))
    assert first.facts["n_stored_rows"] == 60
    assert first.facts["n_train_rows"] == 200
    np.testing.assert_array_equal(first.predict(problem.table), second.predict(problem.table))
    other = KNN().fit_fold(dataclasses.replace(problem.task(params), seed=8))
    assert not np.array_equal(first.predict(problem.table), other.predict(problem.table))


def test_a_wide_matrix_is_projected_and_keeps_its_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that repeat three others: three components hold every distance."""
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(300, 3)) @ rng.normal(size=(3, 60))).astype(np.float32)
    found = matrix @ knn._components(matrix, 3, seed=0)
    before = np.linalg.norm(matrix[:1] - matrix, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found[:1] - found, axis=1), before, rtol=1e-3, atol=1e-3)


def test_components_are_used_where_they_save_time() -> None:
    problem = make_problem("multiclass", n_rows=600)
    params = KNN().defaults(problem.facts)[1]
    wide = KNN().fit_fold(problem.task(params))
    assert isinstance(wide, knn.FittedKNN)
    assert wide._rows.projection.shape[0] > knn.WIDE_COLUMNS and wide._rows.matrix.shape == (400, knn.N_COMPONENTS)
    narrow = make_problem("multiclass", kinds=("numeric",))
    fitted = KNN().fit_fold(narrow.task(params))
    assert isinstance(fitted, knn.FittedKNN)
    assert np.count_nonzero(fitted._rows.projection) == fitted._rows.projection.shape[0]


def test_city_block_distance_is_searched_on_small_tables_only() -> None:
    facts = make_problem().facts
    small, large = (KNN().space(dataclasses.replace(facts, n_rows=n)).params["p"] for n in (1000, 100_000))
    assert (small, large) == (Choice((1, 2)), Choice((2,)))
    assert [point["p"] for point in KNN().defaults(facts)] == [1, 2, 2]
    assert [point["p"] for point in KNN().defaults(dataclasses.replace(facts, n_rows=100_000))] == [2, 2]


def test_wide_tables_store_fewer_rows_so_that_predictions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem("squared")
    monkeypatch.setattr(knn, "BUDGET", 2.0 * knn.N_COMPONENTS * 2 * len(problem.valid_rows) * 150)  # for 150 rows
    monkeypatch.setattr(knn, "MIN_STORED_ROWS", 10)
    point, cache = KNN().defaults(problem.facts)[0], FoldCache()
    stored = {}
    for p in (2, 1):  # one after the other in one worker
        task = dataclasses.replace(problem.task({**point, "p": p}), cache=cache)
        stored[p] = KNN().fit_fold(task).facts["n_stored_rows"]
    assert 10 <= stored[1] < stored[2] < 200
    narrow = make_problem("squared", kinds=("numeric",))
    assert KNN().fit_fold(narrow.task(KNN().defaults(narrow.facts)[0])).facts["n_stored_rows"] == 200
