"""Ensembles that were fitted on rows that lack a class give it the chance that those rows justify."""

import numpy as np
import pytest

from foldsmith.ensembling.fitted import Floored, fitted_from_json
from foldsmith.ensembling.methods import ensemble, known_methods
from foldsmith.ensembling.task import BlendTask
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge

N = 90


def task_of(codes: list[int]) -> BlendTask:
    """Three folds of 30 rows; ``codes`` are the classes that occur in each."""
    fold = np.repeat([0, 1, 2], N // 3)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N)
    for number, code in enumerate(codes):
        y[number * 30 : number * 30 + 10] = code
    plan = FoldPlan("imported", 3, 1, 0, fold[None].astype(np.int16))
    return BlendTask(Judge(get_metric("log_loss"), "multiclass", 3, y, plan))


def members_of(task: BlendTask) -> dict[str, np.ndarray]:
    """Three members that know two of the classes and give the third nothing."""
    rng = np.random.default_rng(1)
    made = {}
    for name in ("a", "b", "c"):
        chance = np.where(task.judge.y == 1, 0.7, 0.3) + 0.1 * rng.normal(size=N)
        chance = chance.clip(0.01, 0.99)
        made[name] = np.stack([1 - chance, chance, np.zeros(N)], axis=1).astype(np.float32)
    return made


@pytest.mark.parametrize("method", [name for name in known_methods() if name not in ("boosted_stack",)])
def test_a_class_that_the_other_folds_lack(method: str) -> None:
    task = task_of([0, 1, 2])  # class 2 in the last fold only
    result = ensemble(method, members_of(task), task, insist=True)
    last = result.nested_oof[60:]
    np.testing.assert_allclose(last.sum(axis=1), 1, rtol=1e-5)
    assert last[:, 2].min() >= 1 / 63 - 1e-6, "60 rows of the other folds and three classes"
    assert np.isfinite(result.nested.value) and result.nested.value < 10


def test_a_class_that_no_row_has_and_the_record() -> None:
    task = task_of([0, 1, 0])
    members = members_of(task)
    result = ensemble("greedy", members, task)
    assert isinstance(result.fitted, Floored)
    chances = result.predict(members)
    assert chances[:, 2].min() >= 1 / 93 - 1e-6
    restored = fitted_from_json(result.details()["model"])
    np.testing.assert_array_equal(restored.predict(members), chances)
    assert restored.weights == result.weights


def test_without_a_missing_class_nothing_changes() -> None:
    task = task_of([2, 2, 2])
    assert not isinstance(ensemble("greedy", members_of(task), task).fitted, Floored)
