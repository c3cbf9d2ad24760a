"""What a greedy blend keeps whatever the metric: weights, honesty, and no interest in the order of its members."""

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.methods import ensemble
from foldsmith.ensembling.task import BlendTask, EnsembleResult, mix
from foldsmith.ensembling.testing import Members, in_sample, labels_of, member_of, members_of, task_of
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import score_values

METRICS: list[tuple[str, int, int]] = [
    ("rmse", 0, 1),
    ("rmsle", 0, 1),
    ("mae", 0, 1),
    ("r2", 0, 1),
    ("auc", 2, 1),
    ("log_loss", 2, 1),
    ("log_loss", 3, 3),
    ("brier", 2, 1),
    ("average_precision", 2, 1),
    ("f1", 2, 1),
    ("balanced_accuracy", 3, 3),
    ("qwk", 4, 1),
]
SMOOTH = METRICS[:8]
every_metric = pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), METRICS)
every_smooth_metric = pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), SMOOTH)


def problem(metric: str, n_classes: int, n_outputs: int, seed: int = 0) -> tuple[BlendTask, Members]:
    y = labels_of(n_classes, 90, seed)
    return task_of(metric, y, n_classes), members_of(y, n_classes, n_outputs, seed)


def blended(result: EnsembleResult, members: Members, task: BlendTask) -> NDArray[np.float32]:
    return mix(result.weights, members, task.judge.metric.blend_space)


def greedy(members: Members, task: BlendTask) -> EnsembleResult:
    return ensemble("greedy", members, task)


@every_metric
def test_weights_and_trace(metric: str, n_classes: int, n_outputs: int) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    result = greedy(members, task)
    assert sum(result.weights.values()) == pytest.approx(1)
    assert min(result.weights.values()) > 0
    assert set(result.weights) <= set(members)
    assert len(result.trace) == 12 and {step.member for step in result.trace} >= set(result.weights)
    assert list(result.weights.values()) == sorted(result.weights.values(), reverse=True)
    assert result.in_sample == pytest.approx(in_sample(task, blended(result, members, task)))
    if metric != "average_precision":  # chosen pooled, shown as a mean of folds
        best = (max if task.judge.metric.greater_is_better else min)(step.score for step in result.trace)
        assert result.in_sample == pytest.approx(best, abs=1e-4)
    assert (result.decision is None) == (not task.judge.needs_labels)


@every_smooth_metric
@pytest.mark.parametrize("seed", range(3))
def test_no_worse_than_its_best_member_where_it_was_fitted(
    metric: str, n_classes: int, n_outputs: int, seed: int
) -> None:
    task, members = problem(metric, n_classes, n_outputs, seed)
    result = greedy(members, task)
    singles = [in_sample(task, prediction) for prediction in members.values()]
    sign = 1 if task.judge.metric.greater_is_better else -1
    assert sign * result.in_sample >= max(sign * single for single in singles) - (1e-4 if metric == "auc" else 1e-6)


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), [case for case in METRICS if case[0] != "rmsle"])
def test_a_folds_nested_weights_do_not_know_its_predictions(metric: str, n_classes: int, n_outputs: int) -> None:
    """Another prediction of fold 0 comes out with the weight that the member had before, however good or bad it is."""
    task, members = problem(metric, n_classes, n_outputs)
    rows = task.fold_of_row == 0
    before = greedy(members, task).nested_oof[rows]
    for name in members:
        changed = members[name].copy()
        changed[rows] = members["m05"][rows][::-1] + 0.125
        difference = greedy({**members, name: changed}, task).nested_oof[rows] - before
        weights = difference / (changed[rows] - members[name][rows])
        assert weights.max() - weights.min() < 1e-3
        assert weights.min() > -1e-3 and weights.max() < 1 + 1e-3


@pytest.mark.parametrize(
    ("metric", "n_classes", "n_outputs"),
    [
        ("rmse", 0, 1),
        ("mae", 0, 1),
        ("r2", 0, 1),
        ("auc", 2, 1),
        ("log_loss", 2, 1),
        ("log_loss", 3, 3),
        ("brier", 2, 1),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_thirty_that_know_nothing_beside_three_good_ones(
    metric: str, n_classes: int, n_outputs: int, seed: int
) -> None:
    y = labels_of(n_classes, 1500, seed)
    noises = (0.8, 0.8, 0.8, *([np.inf] * 30))
    members = members_of(y, n_classes, n_outputs, seed, noises)
    result = greedy(members, task_of(metric, y, n_classes))
    good = list(members)[:3]
    assert sum(weight for name, weight in result.weights.items() if name not in good) < 0.02
    assert set(good) == set(result.weights)


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), [case for case in METRICS if case[0] != "rmsle"])
def test_on_noise_the_nested_score_does_not_flatter(metric: str, n_classes: int, n_outputs: int) -> None:
    """Members that know nothing: the in-sample score is better than chance, the nested one is not better than it."""
    gaps = []
    for seed in range(4):
        y = labels_of(n_classes, 90, seed)
        result = greedy(members_of(y, n_classes, n_outputs, seed, (np.inf,) * 20), task_of(metric, y, n_classes))
        sign = 1 if get_metric(metric).greater_is_better else -1
        gaps.append(sign * (result.in_sample - result.nested.value))
    assert np.mean(gaps) > 0
    assert min(gaps) > -0.02


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_the_units_of_the_target_do_not_matter(metric: str, scale: float) -> None:
    task, members = problem(metric, 0, 1)
    other = task_of(metric, task.judge.y * scale, 0)
    scaled = {name: np.asarray(member * scale, np.float32) for name, member in members.items()}
    assert greedy(scaled, other).weights == pytest.approx(greedy(members, task).weights)


def test_equal_members_share_no_weight_by_float_noise() -> None:
    """A member that is inside already goes before an equal one: the blend stays small."""
    y = labels_of(0, 90, 0)
    good = members_of(y, 0, 1, 0)["m00"]
    result = greedy({"a": good, "b": np.nextafter(good, np.float32(9))}, task_of("rmse", y, 0))
    assert result.weights in ({"a": 1.0}, {"b": 1.0})


def test_a_single_member() -> None:
    task, members = problem("f1", 2, 1)
    result = greedy({"only": members["m00"]}, task)
    assert result.weights == {"only": 1.0}
    np.testing.assert_array_equal(result.nested_oof, members["m00"])


def test_rows_that_no_fold_covers() -> None:
    y = labels_of(0, 90, 0)
    folds = np.where(np.arange(90) < 20, -1, np.arange(90) % 3)
    members = {name: member.copy() for name, member in members_of(y, 0, 1, 0).items()}
    for member in members.values():
        member[:20] = np.nan
    result = greedy(members, task_of("rmse", y, 0, folds))
    assert np.isnan(result.nested_oof[:20]).all() and np.isfinite(result.nested_oof[20:]).all()
    assert np.isfinite(result.nested.value) and np.isfinite(result.in_sample)
    y[:20] = 1e9
    assert greedy(members, task_of("rmse", y, 0, folds)).weights == result.weights


def test_nested_scores_are_of_the_nested_prediction() -> None:
    task, members = problem("rmse", 0, 1)
    result = greedy(members, task)
    assert result.nested == score_values(task.judge, result.nested_oof)
    assert result.nested_oof.dtype == np.float32 and result.nested_oof.shape == (90, 1)


def test_details_are_plain_values() -> None:
    import json

    task, members = problem("balanced_accuracy", 3, 3)
    result = greedy(members, task)
    record = json.loads(json.dumps(result.details()))
    assert record["in_sample"] == result.in_sample
    assert record["decision"]["kind"] == "multipliers"
    assert [step["member"] for step in record["trace"]] == [step.member for step in result.trace]
    assert "best prefix" in record["reason"]


@every_metric
def test_shares_are_mean_weights_of_the_cross_fitted_ensembles(metric: str, n_classes: int, n_outputs: int) -> None:
    y = labels_of(n_classes, 300, seed=1)
    rng = np.random.default_rng(2)
    members = {f"m{n}": member_of(y, n_classes, n_outputs, rng, 0.5 + 0.3 * n).astype(np.float32) for n in range(4)}
    members["blind"] = member_of(y, n_classes, n_outputs, rng, np.inf).astype(np.float32)
    shares = greedy(members, task_of(metric, y, n_classes)).shares
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert shares.get("blind", 0.0) < 0.1
