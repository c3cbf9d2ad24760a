"""The floor under chances of classes that no row has."""

import numpy as np
import pytest

from foldsmith.problem.floors import (
    ChanceFloor,
    classes_missing_in_folds,
    missing_class_remarks,
    unseen_chance,
)
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Goal
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.target import Target

THREE = Goal("multiclass", 3, "log_loss", "log_loss")
TWO = Goal("binary", 2, "log_loss", "log_loss")


def test_a_class_without_rows_gets_laplaces_chance() -> None:
    floor = ChanceFloor.of(get_metric("log_loss"), THREE, np.array([0, 1] * 50))
    assert floor == ChanceFloor((2,), 1 / 103)
    lifted = floor.lift(np.array([[0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(lifted.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(lifted[0], [0.6 * 102 / 103, 0.4 * 102 / 103, 1 / 103], rtol=1e-6)
    np.testing.assert_allclose(lifted[1], [0.5, 0.3, 0.2], rtol=1e-6), "what is above the floor stays"
    np.testing.assert_allclose(lifted[3], [51 / 103, 51 / 103, 1 / 103], rtol=1e-6)
    assert lifted.dtype == np.float32


@pytest.mark.parametrize(("y", "low", "high"), [([0] * 98, 0.01, 1.0), ([1] * 98, 0.0, 0.99)])
def test_two_classes(y: list[int], low: float, high: float) -> None:
    floor = ChanceFloor.of(get_metric("log_loss"), TWO, np.array(y))
    assert floor is not None
    lifted = floor.lift(np.array([[0.0], [0.5], [1.0]], np.float32))
    np.testing.assert_allclose(lifted[:, 0], [low, 0.5, high], rtol=1e-6)


@pytest.mark.parametrize("metric", ["auc_ovr", "accuracy", "macro_f1"])
def test_metrics_that_bear_certainty_need_none(metric: str) -> None:
    assert ChanceFloor.of(get_metric(metric), THREE, np.array([0, 1])) is None


def test_a_class_with_rows_needs_none() -> None:
    assert ChanceFloor.of(get_metric("log_loss"), THREE, np.array([0, 1, 2])) is None


def test_the_chance_falls_with_the_rows() -> None:
    assert [unseen_chance(n, 3) for n in (0, 97, 997)] == [1 / 3, 0.01, 0.001]


def test_folds_without_a_class_are_told() -> None:
    masks = np.zeros((2, 6), np.bool_)
    masks[0, :2] = masks[1, :4] = True
    plan = FoldPlan("time", 2, 1, 0, np.array([[-1, -1, 0, 0, 1, 1]], np.int16), masks)
    y = np.array([0, 1, 0, 2, 3, 0])
    assert classes_missing_in_folds(plan, y, 4) == {2: [0], 3: [0, 1]}
    target = Target("y", "multiclass", ("a", "b", "c", "d"), "str", None)
    (remark,) = missing_class_remarks(plan, y, target)
    assert "'c' (1 rows in all) in fold 1; 'd' (1 rows in all) in all folds" in remark
    assert missing_class_remarks(plan, y, Target("y", "regression", (), "float", None)) == ()
