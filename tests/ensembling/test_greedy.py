"""What a greedy blend keeps whatever the metric: weights, honesty, and no interest in the order of its members."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.greedy import MAX_MEMBERS, greedy
from foldsmith.ensembling.task import BlendTask, EnsembleResult, mix
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge, score_values

Members = dict[str, NDArray[np.float32]]
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


def task_of(metric: str, y: NDArray[Any], n_classes: int, folds: NDArray[Any] | None = None) -> BlendTask:
    folds = np.arange(len(y)) % 3 if folds is None else folds
    plan = FoldPlan("imported", int(folds.max()) + 1, 1, 0, folds[None].astype(np.int16))
    kind: Task = "regression" if n_classes == 0 else "binary" if n_classes == 2 else "multiclass"
    return BlendTask(Judge(get_metric(metric), kind, n_classes, y, plan), size=12)


def labels_of(n_classes: int, n_rows: int, seed: int) -> NDArray[Any]:
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
    rng = np.random.default_rng(seed + 100)
    return {
        f"m{number:02d}": np.asarray(member_of(y, n_classes, n_outputs, rng, noise), np.float32)
        for number, noise in enumerate(noises)
    }


def problem(metric: str, n_classes: int, n_outputs: int, seed: int = 0) -> tuple[BlendTask, Members]:
    y = labels_of(n_classes, 90, seed)
    return task_of(metric, y, n_classes), members_of(y, n_classes, n_outputs, seed)


def blended(result: EnsembleResult, members: Members, task: BlendTask) -> NDArray[np.float32]:
    return mix(result.weights, members, task.judge.metric.blend_space)


def in_sample(task: BlendTask, prediction: NDArray[Any]) -> float:
    judge = task.judge
    values = judge.decide(task.rows, prediction).apply(prediction) if judge.needs_labels else prediction
    return score_values(judge, values).value


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


@every_metric
def test_the_order_of_members_does_not_matter(metric: str, n_classes: int, n_outputs: int) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    result = greedy(members, task)
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(list(members))
        other = greedy({name: members[name] for name in order}, task)
        assert other.weights == pytest.approx(result.weights)
        np.testing.assert_allclose(other.nested_oof, result.nested_oof, rtol=1e-6)


@every_metric
def test_duplicates_change_nothing(metric: str, n_classes: int, n_outputs: int) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    result = greedy(members, task)
    names = list(members)
    twins = {f"{name}-{copy}": members[name].copy() for copy in range(7) for name in names[:3]}
    for crowd in ({**members, **twins}, {**twins, **members}):
        other = greedy(crowd, task)
        np.testing.assert_allclose(blended(other, crowd, task), blended(result, members, task), rtol=1e-6)
        np.testing.assert_allclose(other.nested_oof, result.nested_oof, rtol=1e-6)
        assert other.nested.value == pytest.approx(result.nested.value)


def test_duplicates_take_no_candidates_place() -> None:
    task, members = problem("rmse", 0, 1)
    worst = members.pop("m05")
    crowd = {**{f"copy{n}": worst for n in range(MAX_MEMBERS + 5)}, **members}
    assert greedy(crowd, task).weights == greedy(members, task).weights


@every_metric
def test_deterministic(metric: str, n_classes: int, n_outputs: int) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    first, second = greedy(members, task), greedy(members, task)
    assert first.weights == second.weights and first.trace == second.trace
    np.testing.assert_array_equal(first.nested_oof, second.nested_oof)


@every_metric
@pytest.mark.parametrize("fold", [0, 2])
def test_a_folds_nested_prediction_does_not_know_its_labels(
    metric: str, n_classes: int, n_outputs: int, fold: int
) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    rows = task.fold_of_row == fold
    y = task.judge.y.copy()
    y[rows] = y[rows][::-1].copy() if n_classes == 0 else n_classes - 1 - y[rows]
    assert (y != task.judge.y).any()
    before, after = greedy(members, task), greedy(members, task_of(metric, y, n_classes))
    np.testing.assert_array_equal(after.nested_oof[rows], before.nested_oof[rows])
    if not task.judge.needs_labels:
        assert after.nested.per_fold[fold] != before.nested.per_fold[fold]


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
