"""Comparisons are paired and know the luck of rows; diagnoses say what is there."""

import numpy as np
import pytest

from foldsmith.ensembling.comparison import RESAMPLES, compare
from foldsmith.ensembling.diagnosis import explain
from foldsmith.ensembling.methods import ensemble
from foldsmith.ensembling.testing import labels_of, members_of, problem, task_of
from foldsmith.problem.scoring import score_oof


def test_a_clear_difference_is_clear() -> None:
    task, members = problem(("log_loss", 2, 1), n_rows=600)
    found = compare(task.judge, members["m00"], members["m05"])
    scores = [score_oof(task.judge, members[name]).value for name in ("m00", "m05")]
    assert found.gain == pytest.approx(scores[1] - scores[0])
    assert found.probability == 1.0 and found.folds_won == 3 and found.folds_lost == 0
    assert found.n_resamples == RESAMPLES[1]
    turned = compare(task.judge, members["m05"], members["m00"])
    assert turned.gain == -found.gain and turned.probability == 0.0 and turned.sem == pytest.approx(found.sem)


@pytest.mark.parametrize("metric", ["rmse", "auc", "f1"])
def test_luck_is_called_luck(metric: str) -> None:
    """Two members of the same skill: a gain within three of its errors, and no certainty."""
    n_classes = 0 if metric == "rmse" else 2
    y = labels_of(n_classes, 400, 0)
    members = members_of(y, n_classes, 1, 3, (1.0, 1.0))
    found = compare(task_of(metric, y, n_classes).judge, members["m00"], members["m01"])
    assert abs(found.gain) < 3 * found.sem and 0.001 < found.probability < 0.999
    same = compare(task_of(metric, y, n_classes).judge, members["m00"], members["m00"])
    assert same.gain == 0 and same.sem == 0 and same.probability == 0.5


def test_the_error_is_that_of_new_rows() -> None:
    """The standard error of one draw is the spread of gains over many draws."""
    gains, errors = [], []
    for seed in range(40):
        y = labels_of(0, 300, seed)
        members = members_of(y, 0, 1, seed, (0.8, 0.9))
        found = compare(task_of("rmse", y, 0).judge, members["m00"], members["m01"])
        gains.append(found.gain)
        errors.append(found.sem)
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.5)


def test_an_explanation_knows_who_carries_and_who_would_add() -> None:
    y = labels_of(0, 500, 0)
    members = members_of(y, 0, 1, 0, (0.8, 0.9, 1.0, 3.0))
    task = task_of("rmse", y, 0)
    result = ensemble("greedy", {name: members[name] for name in ("m00", "m03")}, task)
    found = explain(result, members, task)
    assert found.score == pytest.approx(result.in_sample, rel=1e-5)
    assert set(found.without) == set(result.weights) if len(result.weights) > 1 else not found.without
    assert set(found.added) == set(members) - set(result.weights)
    assert found.added["m01"][0] < found.score  # an outside member with its own errors lowers the RMSE
    assert found.correlation.shape == (4, 4) and np.allclose(np.diag(found.correlation), 1)


def test_those_who_err_alike_are_one_cluster() -> None:
    y = labels_of(2, 500, 0)
    members = members_of(y, 2, 1, 0, (1.0, 1.2, 1.5))
    members["twin"] = np.clip(members["m00"] * np.float32(0.99), 0, 1)
    task = task_of("auc", y, 2)
    found = explain(ensemble("greedy", members, task), members, task)
    assert set(found.clusters[0]) == {"m00", "twin"}
    assert all(len(cluster) == 1 for cluster in found.clusters[1:])
