"""The gain of a mean over fold models, told without labels, against what the labels say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.bag_gain import BagGain, expected_bag_gain
from foldsmith.problem.decisions import Decision, default_decision
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge

N, N_MODELS = 20_000, 5
Floats = NDArray[np.float64]


def judge_of(metric: str, task: Task, y: NDArray[np.float64] | NDArray[np.int64]) -> Judge:
    n_classes = 0 if task == "regression" else int(y.max()) + 1
    plan = FoldPlan("plain", N_MODELS, 1, 0, (np.arange(len(y)) % N_MODELS)[None].astype(np.int16))
    return Judge(get_metric(metric), task, n_classes, y, plan)


def chances(logits: Floats) -> NDArray[np.float32]:
    """Of one class of two, or of all."""
    if logits.shape[1] == 1:
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def drawn(rng: np.random.Generator, p: NDArray[np.float32]) -> NDArray[np.int64]:
    if p.shape[1] == 1:
        return (rng.random(len(p)) < p[:, 0]).astype(np.int64)
    return np.asarray((p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=p.shape[1] - 1))


def expected_and_true(metric: str, n_outputs: int) -> tuple[BagGain, float]:
    """Fold models that err independently by a little: the gain that is expected, and the one that the labels show."""
    rng = np.random.default_rng(3)
    truth = 1.5 * rng.normal(size=(2 * N, n_outputs))
    y = drawn(rng, chances(truth))
    judge = judge_of(metric, "binary" if n_outputs == 1 else "multiclass", y[:N])
    oof = chances(truth + 0.7 * rng.normal(size=truth.shape))[:N]
    alone = [chances(truth + 0.7 * rng.normal(size=truth.shape))[N:] for _ in range(N_MODELS)]
    bagged = np.mean(alone, axis=0)
    decision: Decision | None = None
    if judge.needs_labels:
        decision = default_decision(judge.metric, judge.task, judge.n_classes)

    def score(values: NDArray[np.float32]) -> float:
        return judge.metric.score(y[N:], values if decision is None else decision.apply(values))

    sign = 1 if judge.metric.greater_is_better else -1
    true = sign * (score(bagged) - float(np.mean([score(one) for one in alone])))
    return expected_bag_gain(judge, bagged, alone, oof, decision), true


@pytest.mark.parametrize(
    ("metric", "n_outputs"),
    [("log_loss", 1), ("auc", 1), ("accuracy", 1), ("brier", 1), ("log_loss", 3), ("accuracy", 3)],
)
def test_the_gain_is_known_before_the_labels_are(metric: str, n_outputs: int) -> None:
    found, true = expected_and_true(metric, n_outputs)
    assert true > 0 and found.n_models == N_MODELS
    assert abs(found.gain - true) < max(3 * found.sd, 0.15 * true), (found, true)


def test_a_squared_gain_is_the_spread_of_the_models() -> None:
    """Two models that stray by .6 to either side of their mean, residuals of 1: sqrt(1) - sqrt(1 - .36) = .2."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=N)
    bagged = rng.normal(size=(N, 1)).astype(np.float32)
    stray = np.float32(0.6)
    residuals = np.where(np.arange(N) % 2, 1.0, -1.0)
    oof = (y - residuals)[:, None].astype(np.float32)
    found = expected_bag_gain(judge_of("rmse", "regression", y), bagged, [bagged - stray, bagged + stray], oof, None)
    assert found.gain == pytest.approx(0.2, rel=0.02) and 0 < found.sd < 0.02


def test_models_that_agree_gain_nothing() -> None:
    y = np.random.default_rng(0).gamma(2.0, size=500)
    bagged = np.ones((200, 1), np.float32)
    oof = (y * 1.1)[:, None].astype(np.float32)
    found = expected_bag_gain(judge_of("rmsle", "regression", y), bagged, [bagged] * 3, oof, None, without=["ext-a"])
    assert found.gain == pytest.approx(0, abs=1e-12) and found.sd == pytest.approx(0, abs=1e-12)
    assert found.to_json() == {"gain": found.gain, "sd": found.sd, "n_models": 3, "without": ["ext-a"]}


def test_ratings_are_drawn_as_classes() -> None:
    """QWK predicts values and is scored on classes."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 5, 3000)
    judge = judge_of("qwk", "multiclass", y)
    oof = (y + rng.normal(size=3000))[:, None].astype(np.float32)
    alone = [(y + rng.normal(size=3000))[:, None].astype(np.float32) for _ in range(3)]
    decision = judge.decide(np.arange(3000), oof)
    found = expected_bag_gain(judge, np.mean(alone, axis=0), alone, oof, decision)
    assert found.gain > 3 * found.sd > 0


def test_a_metric_that_is_not_defined_on_the_draws_has_no_gain() -> None:
    """One test row has no AUC."""
    y = np.arange(40) % 2
    oof = (y * 0.2 + 0.4)[:, None].astype(np.float32)
    one = np.full((1, 1), 0.5, np.float32)
    found = expected_bag_gain(judge_of("auc", "binary", y), one, [one, one], oof, None)
    assert np.isnan(found.gain) and np.isnan(found.sd)
