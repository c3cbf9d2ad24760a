"""Every method keeps what it declares."""

from typing import ClassVar

import numpy as np
import pytest

from foldsmith.ensembling.auto import fit_auto
from foldsmith.ensembling.calibration import Calibrated
from foldsmith.ensembling.convex import Convex, least_squares_weights, mixture_weights
from foldsmith.ensembling.greedy import FoldGreedy, Greedy, QuickGreedy
from foldsmith.ensembling.hill import SignedHill
from foldsmith.ensembling.method import fit_method
from foldsmith.ensembling.methods import METHODS, ensemble
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.simple import BestSingle, TopMean
from foldsmith.ensembling.stacks import BoostedStack, LinearStack
from foldsmith.ensembling.task import BlendTask, EnsembleResult
from foldsmith.ensembling.testing import (
    Case,
    Members,
    MethodSuite,
    every_case,
    labels_of,
    members_of,
    problem,
    task_of,
)
from foldsmith.problem.errors import InputError, UnknownNameError


class TestBestSingle(MethodSuite):
    method = BestSingle()


class TestTopMean(MethodSuite):
    method = TopMean(3)


class TestGreedy(MethodSuite):
    method = Greedy()


class TestBaggedGreedy(MethodSuite):
    method = Greedy(bags=3, share_of_members=1.0, share_of_rows=0.7)


class TestQuickGreedy(MethodSuite):
    method = QuickGreedy()


class TestFoldGreedy(MethodSuite):
    method = FoldGreedy()


class TestConvex(MethodSuite):
    method = Convex()
    tolerance = 1e-3


class TestSignedHill(MethodSuite):
    method = SignedHill()


class TestLinearStack(MethodSuite):
    method = LinearStack()
    tolerance = 1e-3


class TestBoostedStack(MethodSuite):
    method = BoostedStack()


class TestCalibrated(MethodSuite):
    method = Calibrated()


class TestAuto(MethodSuite):
    class _Auto:
        name: ClassVar[str] = "auto"
        declares: ClassVar[frozenset[str]] = frozenset({"weights"})

    method = _Auto()  # type: ignore[assignment]

    def fit(self, members: Members, task: BlendTask) -> EnsembleResult:
        return fit_auto(members, task)


def test_every_method_has_a_suite() -> None:
    suites = [kind for name, kind in globals().items() if name.startswith("Test")]
    assert {suite.method.name for suite in suites} == {*METHODS, "auto"}


@pytest.mark.parametrize("seed", range(3))
def test_convex_weights_are_the_best_on_the_simplex(seed: int) -> None:
    """No step towards any member lowers the loss."""
    y = labels_of(0, 300, seed)
    members = members_of(y, 0, 1, seed)
    errors = np.stack([member[:, 0] - y for member in members.values()])
    gram = errors @ errors.T / len(y)
    weights = least_squares_weights(gram)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert (gram @ weights).min() >= weights @ gram @ weights - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_mixture_weights_have_no_better_neighbour(seed: int) -> None:
    y = labels_of(2, 300, seed)
    members = members_of(y, 2, 1, seed)
    chances = np.stack([np.where(y == 1, member[:, 0], 1 - member[:, 0]) for member in members.values()])
    weights = mixture_weights(chances.astype(np.float32), np.empty(0))
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    gradient = -(chances / (weights @ chances)).mean(axis=1)  # of -mean ln(w A), which is -1 where w is positive
    assert gradient.min() >= -1 - 1e-6 and gradient @ weights == pytest.approx(-1)


@pytest.mark.parametrize("case", [("rmse", 0, 1), ("mae", 0, 1), ("log_loss", 2, 1), ("log_loss", 3, 3)])
def test_convex_is_no_worse_than_greedy_where_it_was_fitted(case: Case) -> None:
    task, members = problem(case, n_rows=400)
    convex, greedy = (ensemble(name, members, task).in_sample for name in ("convex", "greedy"))
    assert convex <= greedy * (1 + 1e-4)


@pytest.mark.parametrize("case", [("auc", 2, 1), ("accuracy", 2, 1), ("mae", 0, 1), ("rmse", 0, 1)])
def test_quick_selection_looks_at_some_rows_and_loses_little(case: Case) -> None:
    task, members = problem(case, n_rows=3000)
    whole = fit_method(Greedy(), Pool(members, task))
    quick = fit_method(QuickGreedy(max_rows=1000), Pool(members, task))
    assert ("of 3,000 rows" in quick.reason) == (case[0] != "rmse"), "squared losses are quick on all rows"
    assert ("by a smooth loss" in quick.reason) == (not quick.trace) == (case[0] == "accuracy")
    assert quick.nested.value == pytest.approx(whole.nested.value, rel=0.03)
    again = fit_method(QuickGreedy(max_rows=1000), Pool(members, task))
    assert again.weights == quick.weights


def test_shy_chances_are_calibrated_and_little_data_is_left_alone() -> None:
    y = labels_of(3, 1500, 0)
    flat = {name: np.sqrt(np.sqrt(member)) for name, member in members_of(y, 3, 3, 0).items()}
    shy = {name: member / member.sum(axis=1, keepdims=True) for name, member in flat.items()}
    task = task_of("log_loss", y, 3)
    plain, calibrated = (ensemble(name, shy, task) for name in ("greedy", "calibrated"))
    assert calibrated.nested.value < plain.nested.value * 0.97
    assert calibrated.fitted.to_json()["temperature"] > 1.5
    with pytest.raises(InputError, match="calibrated should not be used here: 90 rows, fewer than 900"):
        little, few = problem(("log_loss", 3, 3))
        ensemble("calibrated", few, little)


@every_case
def test_auto_averages_what_it_cannot_tell_apart(case: Case) -> None:
    task, members = problem(case, n_rows=2100)
    result = ensemble("auto", members, task)
    assert set(result.by_method) >= {"greedy", "fold_greedy", "convex", "best_single", "linear_stack"}
    little, few = problem(case, n_rows=700)
    fewer = ensemble("auto", few, little)
    assert set(fewer.by_method) == {"greedy", "fold_greedy", "convex", "best_single"}
    assert all(name in result.by_method for name in result.reason.split(": ")[-1].split(" + ")) or "alone" in (
        result.reason
    )
    better = max if task.judge.metric.greater_is_better else min
    worst = (min if better is max else max)(result.by_method.values())
    assert better(result.nested.value, worst) == result.nested.value


def test_auto_chooses_nothing_on_few_rows() -> None:
    task, members = problem(("rmse", 0, 1))
    result = ensemble("auto", members, task)
    assert set(result.by_method) == {"fold_greedy", "convex", "best_single"}
    assert "few rows" in result.reason or "best single" in result.reason


def test_auto_falls_back_to_the_best_single() -> None:
    """Where ensembles are worse in each fold: here by a method that takes the mean of all, good or bad."""
    y = labels_of(0, 700, 0)
    members = members_of(y, 0, 1, 0, (0.1, np.inf, np.inf, np.inf))
    task = task_of("rmse", y, 0)
    result = fit_auto(members, task, (TopMean(4),))
    assert result.weights == {"m00": 1.0} and "no ensemble is better" in result.reason
    assert result.nested == ensemble("best_single", members, task).nested
    assert ensemble("auto", members, task).weights["m00"] > 0.98


def test_stackers_refuse_members_of_other_folds() -> None:
    task, members = problem(("log_loss", 2, 1), n_rows=2100)
    foreign = BlendTask(task.judge, foreign=frozenset({"m02"}))
    with pytest.raises(InputError, match=r"fitted on members of other or unknown folds \(m02\)"):
        ensemble("linear_stack", members, foreign)
    assert ensemble("linear_stack", members, foreign, insist=True).method == "linear_stack"
    assert "linear_stack" in ensemble("auto", members, task).by_method
    assert "linear_stack" not in ensemble("auto", members, foreign).by_method
    assert ensemble("greedy", members, foreign).method == "greedy"


@pytest.mark.parametrize(("metric", "space"), [("auc", "rank"), ("log_loss", "logit"), ("log_loss", "power")])
def test_spaces_wrap_any_method(metric: str, space: str) -> None:
    task, members = problem((metric, 2, 1), n_rows=300)
    for method in ("greedy", "top_mean", "signed_hill"):
        result = ensemble(method, members, BlendTask(task.judge, 8, space), insist=True)
        assert np.isfinite(result.nested.value) and 0 <= result.nested_oof.min() <= result.nested_oof.max() <= 1


@pytest.mark.parametrize(
    ("method", "space", "message"),
    [
        ("stack", "", "unknown blend method 'stack'"),
        ("greedy", "cubes", "unknown blend space 'cubes'"),
        ("greedy", "logit", "blend space 'logit' is for chances, but rmse needs values"),
    ],
)
def test_unknown_names(method: str, space: str, message: str) -> None:
    task, members = problem(("rmse", 0, 1))
    with pytest.raises((UnknownNameError, InputError), match=message):
        ensemble(method, members, BlendTask(task.judge, space=space))
