import dataclasses

import numpy as np
import pytest

from foldsmith.problem.goal import Goal
from foldsmith.spaces import svm
from foldsmith.spaces.space import Params
from foldsmith.spaces.svm import SVM, Machine
from foldsmith.spaces.toy import make_problem

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(200, 4)).astype(np.float32)
OTHER = RNG.normal(size=(50, 4)).astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_sums_are_scikit_learns_decisions(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.svm import SVC

    y = np.digitize(MATRIX[:, 0] + 0.5 * MATRIX[:, 1], np.linspace(-1, 1, n_classes + 1)[1:-1])
    fitted = SVC(gamma=0.2, decision_function_shape="ovo").fit(MATRIX, y)
    expected = fitted.decision_function(OTHER).reshape(50, -1)
    monkeypatch.setattr(svm, "BLOCK", 17)
    np.testing.assert_allclose(Machine.from_sklearn(fitted, 0.2).sums(OTHER), expected, atol=1e-4)


def test_sums_of_values_are_scikit_learns_predictions() -> None:
    from sklearn.svm import SVR

    fitted = SVR(gamma=0.2, epsilon=0.01).fit(MATRIX, np.sin(MATRIX[:, 0]))
    np.testing.assert_allclose(Machine.from_sklearn(fitted, 0.2).sums(OTHER)[:, 0], fitted.predict(OTHER), atol=1e-5)


def test_chances_are_calibrated_on_rows_that_the_machine_has_not_seen() -> None:
    """On train rows a machine with a large C is sure of random labels; its chances must not be."""
    problem = make_problem("binary", n_rows=600, kinds=("numeric",))
    y = np.random.default_rng(1).integers(0, 2, 600).astype(np.int32)
    params: Params = {"C": 100.0, "width": 0.3, "numeric": "standard"}
    predicted = SVM().fit_fold(problem.task(params, y=y)).predict(problem.table)
    assert predicted.min() > 0.2 and predicted.max() < 0.8


def test_train_rows_of_one_class_give_its_share() -> None:
    problem = make_problem("binary")
    params = SVM().defaults(problem.facts)[0]
    for only in (0, 1):
        rows = problem.train_rows[problem.y[problem.train_rows] == only]
        predicted = SVM().fit_fold(problem.task(params, train_rows=rows)).predict(problem.table)
        np.testing.assert_allclose(predicted, only, atol=1e-6)


def test_a_class_with_one_row_keeps_a_chance() -> None:
    """It is in none or one of the two parts, and no machine can be scaled for it."""
    problem = make_problem("multiclass")
    rows = problem.train_rows
    lone = rows[problem.y[rows] == 2][:1]
    rows = np.sort(np.concatenate([rows[problem.y[rows] != 2], lone]))
    for seed in range(6):
        task = dataclasses.replace(problem.task(SVM().defaults(problem.facts)[0], train_rows=rows), seed=seed)
        predicted = SVM().fit_fold(task).predict(problem.table)
        assert (predicted > 0).all()
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)


def test_large_problems_are_refused_with_a_reason() -> None:
    facts = make_problem().facts
    assert "20,001 rows" in str(SVM().accepts(dataclasses.replace(facts, n_rows=20_001)))
    many = dataclasses.replace(facts, goal=Goal("multiclass", 21, "log_loss", "log_loss"))
    assert "21 classes" in str(SVM().accepts(many))
