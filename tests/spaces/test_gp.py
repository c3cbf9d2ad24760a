import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces import gp
from foldsmith.spaces.gp import GP, Kernel
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.toy import make_problem

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(120, 3)).astype(np.float32)
OTHER = RNG.normal(size=(40, 3)).astype(np.float32)
NAMES = ("rbf", "matern32", "matern52")


@pytest.mark.parametrize("name", NAMES)
def test_kernels_equal_those_of_scikit_learn(name: str) -> None:
    kernel = Kernel(name, 2.5, 1.7)
    np.testing.assert_allclose(kernel(MATRIX, OTHER), kernel.in_sklearn()(MATRIX, OTHER), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_those_of_scikit_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import WhiteKernel

    y = np.sin(MATRIX[:, 0]) + 0.1 * RNG.normal(size=120)
    first = Kernel(name, 1.0, 1.0)
    reference = GaussianProcessRegressor(first.in_sklearn() + WhiteKernel(0.1, (1e-4, 10.0)), alpha=gp.JITTER)
    monkeypatch.setattr(gp, "BLOCK", 17)
    process = gp._fit_values(MATRIX, y, first, np.arange(120))
    np.testing.assert_allclose(process.values(OTHER, MATRIX), reference.fit(MATRIX, y).predict(OTHER), atol=1e-3)


@pytest.mark.filterwarnings("ignore:The optimal value")
def test_chances_are_close_to_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.gaussian_process import GaussianProcessClassifier

    is_class = MATRIX[:, 0] + 0.5 * RNG.normal(size=120) > 0.3
    first = Kernel("matern32", 1.0, 1.0)
    monkeypatch.setattr(gp, "BLOCK", 17)
    process = gp._fit_class(MATRIX, is_class, first, np.arange(120))
    reference = GaussianProcessClassifier(first.in_sklearn()).fit(MATRIX, is_class)
    np.testing.assert_allclose(process.chances(OTHER, MATRIX), reference.predict_proba(OTHER)[:, 1], atol=0.01)


def test_the_kernel_is_chosen_on_some_rows_and_solved_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem("squared", n_rows=600, kinds=("numeric",))
    params = GP().defaults(problem.facts)[0]
    fits: list[int] = []
    asked = gp._quietly_fitted

    def noted(estimator: Any, rows: Matrix, wanted: NDArray[Any]) -> Any:
        fits.append(len(rows))
        return asked(estimator, rows, wanted)

    monkeypatch.setattr(gp, "_quietly_fitted", noted)
    monkeypatch.setattr(gp, "TUNING_ROWS", 100)
    fitted = GP().fit_fold(problem.task(params))
    assert fits == [100]
    assert len(fitted.facts["kernels"]) == 1
    error = fitted.predict(problem.table)[problem.valid_rows, 0] - problem.y[problem.valid_rows]
    assert np.abs(error).mean() < 0.8 * np.abs(problem.y - problem.y.mean()).mean()


@pytest.mark.parametrize("only", [0, 1])
def test_train_rows_of_one_class_give_it_every_chance(only: int) -> None:
    problem = make_problem("binary")
    rows = problem.train_rows[problem.y[problem.train_rows] == only]
    task = problem.task(GP().defaults(problem.facts)[0], train_rows=rows)
    np.testing.assert_array_equal(GP().fit_fold(task).predict(problem.table), np.full((300, 1), only, np.float32))


def test_large_problems_are_refused_with_a_reason() -> None:
    facts = make_problem().facts
    assert "2,001 rows" in str(GP().accepts(dataclasses.replace(facts, n_rows=2001)))
    many = dataclasses.replace(facts, goal=Goal("multiclass", 11, "log_loss", "log_loss"))
    assert "11 classes" in str(GP().accepts(many))
