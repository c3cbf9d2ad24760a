"""The tests that every way to combine members passes. One of your own inherits them:

from foldsmith.ensembling.testing import MethodSuite

class TestMine(MethodSuite):
    method = Mine()
"""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import fitted_from_json
from foldsmith.ensembling.method import Method, fit_method
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask, EnsembleResult
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge, score_values

Members = dict[str, NDArray[np.float32]]
Case = tuple[str, int, int]  # metric, number of classes (0 for regression), number of outputs
CASES: list[Case] = [
    ("rmse", 0, 1),
    ("mae", 0, 1),
    ("auc", 2, 1),
    ("log_loss", 2, 1),
    ("log_loss", 3, 3),
    ("balanced_accuracy", 3, 3),
]


def task_of(
    metric: str, y: NDArray[Any], n_classes: int, folds: NDArray[Any] | None = None, **options: Any
) -> BlendTask:
    """A task on three folds in turn, or on the given ones."""
    folds = np.arange(len(y)) % 3 if folds is None else folds
    plan = FoldPlan("imported", int(folds.max()) + 1, 1, 0, folds[None].astype(np.int16))
    kind: Task = "regression" if n_classes == 0 else "binary" if n_classes == 2 else "multiclass"
    return BlendTask(Judge(get_metric(metric), kind, n_classes, y, plan), **{"size": 12, **options})


def labels_of(n_classes: int, n_rows: int, seed: int) -> NDArray[Any]:
    """Values, or class codes that are equally frequent."""
    rng = np.random.default_rng(seed)
    if n_classes == 0:
        return rng.gamma(4, 1, n_rows)
    return rng.permutation(np.arange(n_rows) % n_classes).astype(np.int32)


def member_of(y: NDArray[Any], n_classes: int, n_outputs: int, rng: np.random.Generator, noise: float) -> Any:
    """A prediction with independent errors; ``noise`` infinite for one that knows nothing."""
    known = 0.0 if np.isinf(noise) else 1.0
    spread = 1.0 if np.isinf(noise) else noise
    if n_classes == 0 or n_classes > 2 and n_outputs == 1:
        middle = y.mean()
        # what is expected of y given a noisy look at it, so that no other member is wanted just to shrink it
        share = known * y.var() / (y.var() + spread**2)
        return (middle + share * (y - middle + spread * rng.normal(size=len(y))))[:, None].clip(0) + (1 - known) * (
            rng.normal(size=(len(y), 1))
        )
    logits = 2 * known * np.eye(n_classes)[y] + spread * rng.normal(size=(len(y), n_classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances[:, 1:] if n_classes == 2 else chances


def members_of(
    y: NDArray[Any],
    n_classes: int,
    n_outputs: int,
    seed: int,
    noises: tuple[float, ...] = (0.8, 1.0, 1.2, 1.5, 2.0, 3.0),
) -> Members:
    """Members by name, the best first."""
    rng = np.random.default_rng(seed + 100)
    return {
        f"m{number:02d}": np.asarray(member_of(y, n_classes, n_outputs, rng, noise), np.float32)
        for number, noise in enumerate(noises)
    }


def problem(case: Case, seed: int = 0, n_rows: int = 90) -> tuple[BlendTask, Members]:
    """A task and its members."""
    metric, n_classes, n_outputs = case
    y = labels_of(n_classes, n_rows, seed)
    return task_of(metric, y, n_classes), members_of(y, n_classes, n_outputs, seed)


def in_sample(task: BlendTask, prediction: NDArray[Any]) -> float:
    """The score of a prediction, labels decided on the same rows."""
    judge = task.judge
    values = judge.decide(task.rows, prediction).apply(prediction) if judge.needs_labels else prediction
    return score_values(judge, values).value


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")


class MethodSuite:
    """What the tool relies on. Subclasses set ``method``; pytest collects them when their name starts with Test."""

    method: Method
    tolerance = 1e-6  # of predictions, for methods that iterate

    def fit(self, members: Members, task: BlendTask) -> EnsembleResult:
        """Fit and score the method, also on few rows."""
        return fit_method(self.method, Pool(members, task))

    def need(self, invariant: str) -> None:
        """Skip the test if the method does not declare the invariant."""
        if invariant not in self.method.declares:
            pytest.skip(f"{self.method.name} does not declare {invariant}")

    @every_case
    def test_a_result_is_whole(self, case: Case) -> None:
        """Scores, decision and reason are there, and the stored form predicts the same."""
        task, members = problem(case)
        result = self.fit(members, task)
        blended = result.predict(members)
        assert blended.dtype == np.float32 and blended.shape == members["m00"].shape
        assert result.in_sample == pytest.approx(in_sample(task, blended), abs=1e-6)
        assert (result.decision is None) == (not task.judge.needs_labels)
        assert result.nested_oof.dtype == np.float32 and np.isfinite(result.nested_oof).all()
        assert set(result.weights) <= set(members) and result.reason
        record = json.loads(json.dumps(result.details()))
        np.testing.assert_allclose(fitted_from_json(record["model"]).predict(members), blended, atol=1e-6)

    @every_case
    def test_chances_are_chances(self, case: Case) -> None:
        """Whatever the weights: chances lie in [0, 1], and those of several classes sum to 1."""
        task, members = problem(case)
        if case[1] == 0 or case[0] == "auc":
            return
        blended = self.fit(members, task).predict(members)
        assert blended.min() >= 0 and blended.max() <= 1 + 1e-6
        if case[2] > 1:
            np.testing.assert_allclose(blended.sum(axis=1), 1, atol=1e-5)

    @every_case
    def test_a_row_is_predicted_alone(self, case: Case) -> None:
        """Test rows are combined as the out-of-fold rows are, each for itself."""
        task, members = problem(case)
        result = self.fit(members, task)
        few = {name: member[[5, 2, 50]] for name, member in members.items()}
        np.testing.assert_allclose(result.predict(few), result.predict(members)[[5, 2, 50]], atol=1e-6)

    @every_case
    def test_weights_sum_to_one(self, case: Case) -> None:
        """So a blend of predictions is one of their kind."""
        self.need("weights")
        task, members = problem(case)
        assert sum(self.fit(members, task).weights.values()) == pytest.approx(1)

    @every_case
    def test_the_order_of_members_does_not_matter(self, case: Case) -> None:
        """Only ties may be broken by it."""
        self.need("permutation")
        task, members = problem(case)
        result = self.fit(members, task)
        for seed in range(2):
            order = np.random.default_rng(seed).permutation(list(members))
            other = self.fit({name: members[name] for name in order}, task)
            np.testing.assert_allclose(other.predict(members), result.predict(members), atol=self.tolerance)
            np.testing.assert_allclose(other.nested_oof, result.nested_oof, atol=self.tolerance)

    @every_case
    def test_the_order_of_rows_does_not_matter(self, case: Case) -> None:
        """The same rows in another order, with their folds, give the same ensemble."""
        self.need("permutation")
        task, members = problem(case)
        order = np.random.default_rng(1).permutation(90)
        other_task = task_of(case[0], task.judge.y[order], case[1], task.fold_of_row[order])
        result = self.fit(members, task)
        other = self.fit({name: member[order] for name, member in members.items()}, other_task)
        np.testing.assert_allclose(other.predict(members), result.predict(members), atol=self.tolerance)

    @every_case
    def test_duplicates_change_nothing(self, case: Case) -> None:
        """A crowd of copies neither gains weight nor takes places."""
        self.need("duplicates")
        task, members = problem(case)
        result = self.fit(members, task)
        twins = {f"{name}-{copy}": members[name].copy() for copy in range(7) for name in list(members)[:3]}
        for crowd in ({**members, **twins}, {**twins, **members}):
            other = self.fit(crowd, task)
            np.testing.assert_allclose(other.predict(crowd), result.predict(members), atol=self.tolerance)
            np.testing.assert_allclose(other.nested_oof, result.nested_oof, atol=self.tolerance)

    @every_case
    def test_the_same_call_gives_the_same_result(self, case: Case) -> None:
        """Bit for bit."""
        task, members = problem(case)
        first, second = self.fit(members, task), self.fit(members, task)
        assert first.weights == second.weights and first.trace == second.trace
        np.testing.assert_array_equal(first.nested_oof, second.nested_oof)

    @every_case
    def test_a_folds_nested_prediction_does_not_know_its_labels(self, case: Case) -> None:
        """Other labels in fold 0 leave its nested prediction as it was."""
        task, members = problem(case)
        rows = task.fold_of_row == 0
        y = task.judge.y.copy()
        y[rows] = y[rows][::-1].copy() if case[1] == 0 else case[1] - 1 - y[rows]
        before, after = self.fit(members, task), self.fit(members, task_of(case[0], y, case[1]))
        np.testing.assert_array_equal(after.nested_oof[rows], before.nested_oof[rows])

    @pytest.mark.parametrize("case", CASES[:5], ids=lambda case: f"{case[0]}-{case[1]}")
    def test_fifty_that_know_nothing_get_next_to_no_weight(self, case: Case) -> None:
        """Beside three good members."""
        self.need("noise")
        metric, n_classes, n_outputs = case
        y = labels_of(n_classes, 1500, 0)
        members = members_of(y, n_classes, n_outputs, 0, (0.8, 0.8, 0.8, *([np.inf] * 50)))
        weights = self.fit(members, task_of(metric, y, n_classes)).weights
        assert sum(abs(weight) for name, weight in weights.items() if name not in ("m00", "m01", "m02")) < 0.02
