"""Scores worked out by hand, and labels that no fold helps to decide for itself."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.decisions import default_decision
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge, Scores, crossfitted_labels, score_oof, score_values


def plan_of(folds: Any) -> FoldPlan:
    """A plan from the fold of each row, -1 for a row that is never validated."""
    valid = np.atleast_2d(np.asarray(folds, np.int16))
    return FoldPlan("imported", int(valid.max()) + 1, len(valid), 0, valid)


def judge_of(metric: str, y: Any, folds: Any, task: Task | None = None) -> Judge:
    y = np.asarray(y)
    classes = 0 if y.dtype.kind == "f" else len(np.unique(y))
    task = task or ("regression" if classes == 0 else "binary" if classes == 2 else "multiclass")
    return Judge(get_metric(metric), task, classes, y, plan_of(folds))


def test_worked_by_hand_pooled() -> None:
    judge = judge_of("rmse", [0.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1, 2])
    scores = score_oof(judge, np.array([[1.0], [1.0], [2.0], [2.0], [6.0]]))
    assert scores.per_fold == (1.0, 2.0, 6.0)
    assert scores.mean == 3.0
    assert scores.sem == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))
    assert scores.value == scores.pooled == pytest.approx(math.sqrt((1 + 1 + 4 + 4 + 36) / 5))
    assert scores.untuned is None


def test_worked_by_hand_mean_of_folds() -> None:
    judge = judge_of("auc", [0, 1, 0, 1], [0, 0, 1, 1])
    scores = score_oof(judge, np.array([[0.1], [0.2], [0.9], [0.8]]))
    assert scores.per_fold == (1.0, 0.0)
    assert scores.value == scores.mean == 0.5
    assert scores.sem == pytest.approx(0.5)  # std of (1, 0) is sqrt(1/2), over sqrt(2)
    assert scores.pooled == 0.5  # (0.1, 0.2) and (0.1, 0.8) right, (0.9, 0.2) and (0.9, 0.8) wrong


def test_a_fold_without_a_score_is_left_out_of_the_mean() -> None:
    judge = judge_of("auc", [0, 1, 0, 0], [0, 0, 1, 1])
    scores = score_oof(judge, np.array([[0.1], [0.2], [0.9], [0.8]]))
    assert scores.per_fold[0] == 1.0 and math.isnan(scores.per_fold[1])
    assert scores.mean == 1.0 and math.isnan(scores.sem)


def test_no_fold_with_a_score_at_all() -> None:
    scores = score_oof(judge_of("auc", [0, 0, 1, 1], [0, 0, 1, 1]), np.array([[0.1], [0.2], [0.3], [0.4]]))
    assert math.isnan(scores.mean) and math.isnan(scores.value)
    assert scores.pooled == 1.0


def test_partial_coverage() -> None:
    """In a time plan the first block is never validated: its rows have no prediction and do not count."""
    judge = judge_of("mae", [100.0, 1.0, 2.0, 3.0], [-1, 0, 1, 1])
    oof = np.array([[np.nan], [2.0], [2.0], [7.0]])
    scores = score_oof(judge, oof)
    assert scores.per_fold == (1.0, 2.0)
    assert scores.value == scores.pooled == pytest.approx(5 / 3)


def test_partial_coverage_with_labels() -> None:
    y = [1, 1, 0, 0, 1, 0, 1]
    judge = judge_of("f1", y, [-1, 0, 0, 1, 1, 2, 2])
    oof = np.array([[np.nan], [0.9], [0.1], [0.2], [0.8], [0.1], [0.9]])
    labels = crossfitted_labels(judge, oof)
    assert labels.tolist() == [-1, 1, 0, 0, 1, 0, 1]
    scores = score_oof(judge, oof)
    assert scores.value == scores.untuned == 1.0
    oof[0] = 0.0  # a value on the uncovered row changes nothing
    assert score_oof(judge, oof) == scores


@pytest.mark.parametrize("repeat", [0, 1])
def test_repeats_are_scored_by_their_own_folds(repeat: int) -> None:
    judge = judge_of("mae", [0.0, 0.0, 0.0, 0.0], [[0, 0, 1, 1], [0, 1, 0, 1]])
    scores = score_oof(judge, np.array([[1.0], [2.0], [3.0], [4.0]]), repeat)
    assert scores.per_fold == ((1.5, 3.5), (2.0, 3.0))[repeat]


LABEL_METRICS: list[tuple[str, int, int]] = [
    ("accuracy", 2, 1),
    ("f1", 2, 1),
    ("mcc", 2, 1),
    ("balanced_accuracy", 3, 3),
    ("macro_f1", 3, 3),
    ("accuracy", 3, 3),
    ("qwk", 4, 1),
]


def noisy(metric: str, n_classes: int, n_outputs: int, seed: int) -> tuple[Judge, NDArray[np.float64]]:
    """60 rows in 3 folds with predictions that are shifted, so that the plain rule is not the best."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(60) % n_classes).astype(np.int32)
    if n_outputs == 1:
        spread = n_classes - 1
        oof = ((y / spread) * 0.25 + 0.1 * rng.normal(size=60)).clip(0, 1)[:, None] * (spread if metric == "qwk" else 1)
    else:
        oof = rng.dirichlet(np.ones(n_classes), 60) + 0.6 * np.eye(n_classes)[y] * [1.0, 0.4, 0.2]
        oof /= oof.sum(axis=1, keepdims=True)
    return judge_of(metric, y, np.arange(60) % 3), oof


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), LABEL_METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_the_scored_folds_labels_play_no_part(metric: str, n_classes: int, n_outputs: int, seed: int) -> None:
    judge, oof = noisy(metric, n_classes, n_outputs, seed)
    labels = crossfitted_labels(judge, oof)
    for fold in range(3):
        _, valid = judge.plan.split(0, fold)
        flipped = judge.y.copy()
        flipped[valid] = judge.n_classes - 1 - flipped[valid]
        other = Judge(judge.metric, judge.task, judge.n_classes, flipped, judge.plan)
        np.testing.assert_array_equal(crossfitted_labels(other, oof)[valid], labels[valid])
    assert labels.min() >= 0


@pytest.mark.parametrize(
    ("metric", "n_classes", "n_outputs"), [case for case in LABEL_METRICS if case[0] != "accuracy"]
)
def test_tuned_rules_help_where_the_plain_one_is_wrong(metric: str, n_classes: int, n_outputs: int) -> None:
    judge, oof = noisy(metric, n_classes, n_outputs, 0)
    scores = score_oof(judge, oof)
    plain = default_decision(judge.metric, judge.task, judge.n_classes).apply(oof)
    assert scores.untuned == score_values(judge, plain).value == judge.metric.score(judge.y, plain)
    assert scores.value > scores.untuned
    assert scores.value == scores.pooled == judge.metric.score(judge.y, crossfitted_labels(judge, oof))


def test_values_are_scored_as_they_are() -> None:
    judge = judge_of("accuracy", [0, 1, 1, 0], [0, 0, 1, 1])
    assert score_values(judge, np.array([0, 1, 0, 0])).per_fold == (1.0, 0.5)
    assert judge.needs_labels
    assert not judge_of("rmse", [0.0, 1.0], [0, 1]).needs_labels


def test_scores_go_through_json() -> None:
    scores = Scores(0.5, 0.5, math.nan, (0.5, math.nan), 0.4, 0.3)
    again = Scores.from_json(json.loads(json.dumps(scores.to_json())))
    assert (again.value, again.pooled, again.untuned) == (0.5, 0.4, 0.3)
    assert isinstance(again.per_fold, tuple) and math.isnan(again.per_fold[1]) and math.isnan(again.sem)
