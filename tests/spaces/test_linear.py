import dataclasses

import numpy as np
import pytest

from foldsmith.spaces import linear
from foldsmith.spaces.linear import _fit_values, _ridge, fit_classes
from foldsmith.spaces.toy import make_problem


def _matrix(n_rows: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_rows, 4)).astype(np.float32)


def test_ridge_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    matrix = _matrix()
    rng = np.random.default_rng(1)
    y, rows = matrix @ [1.0, -2.0, 0.0, 0.5] + 3 + rng.normal(size=200), rng.random(200) + 0.1
    weights, intercept = _ridge(matrix, y, rows, 2.5)
    reference = Ridge(2.5).fit(matrix.astype(np.float64), y, sample_weight=rows)
    np.testing.assert_allclose(weights, reference.coef_, rtol=1e-5, atol=1e-6)
    assert intercept == pytest.approx(reference.intercept_, rel=1e-5)


def test_more_columns_than_rows_can_be_solved() -> None:
    matrix = np.random.default_rng(0).normal(size=(10, 50)).astype(np.float32)
    weights, _ = _ridge(matrix, np.arange(10.0), np.ones(10), 1e-3)
    assert np.isfinite(weights).all()


def test_absolute_loss_ignores_wild_targets() -> None:
    matrix = _matrix()
    y = matrix @ [1.0, -2.0, 0.0, 0.5] + 3
    y[:20] += 1000
    model = _fit_values(matrix, y, 1e3, make_problem("absolute").task({}))
    np.testing.assert_allclose(model.weights[:, 0], [1, -2, 0, 0.5], atol=0.05)
    squared = _fit_values(matrix, y, 1e3, make_problem("squared").task({}))
    assert np.abs(squared.weights[:, 0] - [1, -2, 0, 0.5]).max() > 1


@pytest.mark.parametrize("seen", [[0], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_chances_of_seen_classes_agree_with_scikit_learn(seen: list[int]) -> None:
    from sklearn.linear_model import LogisticRegression

    matrix = _matrix()
    y = np.array(seen)[np.digitize(matrix[:, 0], np.linspace(-0.5, 0.5, len(seen) - 1))]
    model = fit_classes(matrix, y, 1.0, make_problem("multiclass").task({}))
    chances = model.predict(matrix)
    expected = np.zeros((200, 3))
    expected[:, seen] = 1.0 if len(seen) == 1 else LogisticRegression(C=1.0).fit(matrix, y).predict_proba(matrix)
    np.testing.assert_allclose(chances, expected, atol=2e-3)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_of_two_gives_its_chance(only: int) -> None:
    problem = make_problem("binary")
    model = fit_classes(_matrix(), np.full(200, only), 1.0, problem.task({}))
    np.testing.assert_array_equal(model.predict(_matrix()), np.full((200, 1), only, np.float32))


def test_a_constant_target_is_predicted() -> None:
    model = _fit_values(_matrix(), np.full(200, 5.0), 1.0, dataclasses.replace(make_problem("squared").task({})))
    np.testing.assert_allclose(model.predict(_matrix()), 5, rtol=1e-6)


def test_blocks_of_rows_give_what_the_whole_matrix_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, y = _matrix(), (_matrix()[:, 1] > 0.3).astype(np.int64)
    task = make_problem("binary").task({})
    whole = linear._logistic(matrix, y, 2, 1.0, task)[0]
    values = _fit_values(matrix, matrix[:, 0] * 2.0, 1.0, make_problem("absolute").task({}))
    monkeypatch.setattr(linear, "BLOCK_CELLS", 4 * 7)  # seven rows
    np.testing.assert_allclose(linear._logistic(matrix, y, 2, 1.0, task)[0], whole, rtol=1e-6)
    again = _fit_values(matrix, matrix[:, 0] * 2.0, 1.0, make_problem("absolute").task({}))
    np.testing.assert_allclose(again.weights, values.weights, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1e-3, 1e2])
def test_logistic_regression_is_that_of_scikit_learn(n_classes: int, C: float) -> None:
    from sklearn.linear_model import LogisticRegression

    matrix = _matrix(300)
    codes = np.digitize(matrix[:, 0] + 0.5 * matrix[:, 1] ** 2, np.linspace(-0.5, 0.8, n_classes - 1))
    weights, intercept = linear._logistic(matrix, codes, n_classes, C, make_problem("multiclass").task({}))
    expected = LogisticRegression(C=C, max_iter=300).fit(matrix.astype(np.float64), codes)
    if n_classes == 2:
        assert not weights[:, 0].any() and intercept[0] == 0
        weights, intercept = weights[:, 1:], intercept[1:]
    np.testing.assert_allclose(weights.T, expected.coef_, atol=1e-5)
    np.testing.assert_allclose(intercept, expected.intercept_, atol=1e-5)


def test_a_past_deadline_ends_after_a_step() -> None:
    matrix, codes = _matrix(), (_matrix()[:, 1] > 0.3).astype(np.int64)
    late = linear._logistic(matrix, codes, 2, 100.0, make_problem("binary").task({}, deadline=1.0))[0]
    full = linear._logistic(matrix, codes, 2, 100.0, make_problem("binary").task({}))[0]
    assert late[:, 1].any() and np.abs(late).max() < np.abs(full).max() / 2
