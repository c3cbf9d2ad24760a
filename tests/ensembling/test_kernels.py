"""Each kernel gives what the plain metric gives, for every candidate at every step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from foldsmith.ensembling.kernels import (
    AucKernel,
    BinnedAucKernel,
    MetricKernel,
    SeparableKernel,
    SquaredKernel,
    make_kernel,
)
from foldsmith.ensembling.task import BlendTask, mix, to_space
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge

Stack = NDArray[np.float64]
N_ROWS, N_MEMBERS = 120, 6


def task_of(metric: str, y: NDArray[Any], n_classes: int, task: Task, n_folds: int = 4) -> BlendTask:
    folds = np.arange(len(y)) % n_folds
    plan = FoldPlan("imported", n_folds, 1, 0, folds[None].astype(np.int16))
    return BlendTask(Judge(get_metric(metric), task, n_classes, y, plan), size=6)


def problem(metric: str, n_classes: int, n_outputs: int, seed: int) -> tuple[BlendTask, Stack]:
    """Labels, and members' predictions ``(n_members, n_rows, n_outputs)`` of different quality."""
    rng = np.random.default_rng(seed)
    noise = np.linspace(0.3, 2, N_MEMBERS)[:, None]
    if n_classes == 0:
        y = rng.gamma(2, 3, N_ROWS)
        return task_of(metric, y, 0, "regression"), (y + noise * rng.normal(size=(N_MEMBERS, N_ROWS)))[:, :, None]
    y = rng.permutation(np.arange(N_ROWS) % n_classes).astype(np.int32)
    kind: Task = "binary" if n_classes == 2 else "multiclass"
    if n_outputs == 1 and n_classes > 2:  # values on the scale of the codes
        return task_of(metric, y, n_classes, kind), (y + noise * rng.normal(size=(N_MEMBERS, N_ROWS)))[:, :, None]
    logits = 2 * np.eye(n_classes)[y] + noise[:, :, None] * rng.normal(size=(N_MEMBERS, N_ROWS, n_classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return task_of(metric, y, n_classes, kind), chances[:, :, 1:] if n_classes == 2 else chances


def metric_of(task: BlendTask) -> Callable[[Stack], float]:
    """The metric of a blended prediction as a loss in the kernel's own units."""
    judge = task.judge
    y, name = judge.y, judge.metric.name

    def mean_of_folds(blended: Stack) -> float:
        folds = [judge.plan.split(0, fold)[1] for fold in range(judge.plan.n_folds)]
        return float(1 - np.mean([roc_auc_score(y[rows], blended[rows, 0]) for rows in folds]))

    losses: dict[str, Callable[[Stack], float]] = {
        "rmse": lambda blended: judge.metric.score(y, blended) ** 2,
        "rmsle": lambda blended: judge.metric.score(y, np.expm1(blended)) ** 2,
        "r2": lambda blended: (1 - judge.metric.score(y, blended)) * float(np.var(y)),
        "auc": mean_of_folds,
    }
    return losses.get(name, lambda blended: judge.metric.score(y, blended))


CASES: list[tuple[str, int, int, type, float]] = [
    ("rmse", 0, 1, SquaredKernel, 1e-9),
    ("rmsle", 0, 1, SquaredKernel, 1e-9),
    ("r2", 0, 1, SquaredKernel, 1e-9),
    ("brier", 2, 1, SquaredKernel, 1e-9),
    ("mae", 0, 1, SeparableKernel, 1e-9),
    ("log_loss", 2, 1, SeparableKernel, 1e-9),
    ("log_loss", 3, 3, SeparableKernel, 1e-9),
    ("auc", 2, 1, AucKernel, 1e-9),
]


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs", "kind", "tolerance"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_a_kernel_is_its_metric(
    metric: str, n_classes: int, n_outputs: int, kind: type, tolerance: float, seed: int
) -> None:
    task, members = problem(metric, n_classes, n_outputs, seed)
    stack = to_space(members, task.judge.metric.blend_space)
    kernel = make_kernel(task, stack, task.rows)
    assert isinstance(kernel, kind)
    plain = metric_of(task)
    chosen: list[int] = []
    for member in (2, 0, 2, 5):
        expected = [plain(stack[[*chosen, candidate]].mean(axis=0)) for candidate in range(N_MEMBERS)]
        np.testing.assert_allclose(kernel.losses(), expected, atol=tolerance, rtol=tolerance)
        kernel.add(member)
        chosen.append(member)


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs", "kind", "tolerance"), CASES)
def test_a_kernel_looks_at_its_rows_only(
    metric: str, n_classes: int, n_outputs: int, kind: type, tolerance: float
) -> None:
    task, members = problem(metric, n_classes, n_outputs, 0)
    stack = to_space(members, task.judge.metric.blend_space)
    rows = np.flatnonzero(task.fold_of_row != 1)
    losses = make_kernel(task, stack[:, rows], rows).losses()
    y = task.judge.y.copy()
    y[task.fold_of_row == 1] = y[0]
    other = task_of(metric, y, n_classes, task.judge.task)
    np.testing.assert_array_equal(make_kernel(other, stack[:, rows], rows).losses(), losses)


def test_log_space_keeps_negative_predictions_at_zero() -> None:
    """RMSLE clips a prediction at 0, and so does the blend."""
    task, members = problem("rmsle", 0, 1, 0)
    members -= 4
    stack = to_space(members, "log1p")
    assert stack.min() == 0
    kernel = make_kernel(task, stack, task.rows)
    expected = [task.judge.metric.score(task.judge.y, member) ** 2 for member in members]
    np.testing.assert_allclose(kernel.losses(), expected)


every_auc = pytest.mark.parametrize("kind", [AucKernel, BinnedAucKernel])


@every_auc
@pytest.mark.parametrize("shift", [0.0, -3.0, -8.0, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_scikit_learns(kind: type[AucKernel], seed: int, shift: float) -> None:
    """Also where nearly all chances are tiny, as for a rare class, and whatever was added before."""
    rng = np.random.default_rng(seed)
    y = (rng.random(3000) < 0.1).astype(np.int32)
    logits = shift + 1.5 * y + rng.normal(size=(4, len(y))) * [[1.0], [1.5], [2.0], [3.0]]
    chances = 1 / (1 + np.exp(-logits))
    kernel = kind(chances, y == 1, np.zeros(len(y), np.int64))
    total = np.zeros(len(y))
    for member in (3, 1):
        expected = [1 - roc_auc_score(y, total + column) for column in chances]
        np.testing.assert_allclose(kernel.losses(), expected, atol=1e-4)
        kernel.add(member)
        total += chances[member]


@every_auc
def test_auc_of_ties_and_constants(kind: type[AucKernel]) -> None:
    y = np.array([0, 0, 1, 1, 1])
    members = np.array([[0.5] * 5, [0, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0.5, 0.5, 0.5, 1]])
    kernel = kind(members, y == 1, np.zeros(5, np.int64))
    np.testing.assert_allclose(kernel.losses(), [0.5, 0.0, 1.0, 1 - 5 / 6], atol=1e-12)
    np.testing.assert_allclose(kind(members[:1], y == 1, np.zeros(5, np.int64)).losses(), [0.5])


@every_auc
def test_auc_of_scores_that_are_no_chances(kind: type[AucKernel]) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    members = 1e3 * y - 1e4 + 2e3 * rng.normal(size=(3, 500))
    expected = [1 - roc_auc_score(y, member) for member in members]
    np.testing.assert_allclose(kind(members, y == 1, np.zeros(500, np.int64)).losses(), expected, atol=1e-4)


@every_auc
def test_auc_leaves_out_folds_with_one_class(kind: type[AucKernel]) -> None:
    y = np.array([0, 1, 0, 0, 1, 0])
    members = np.array([[0.1, 0.2, 0.9, 0.8, 0.1, 0.2]])
    kernel = kind(members, y == 1, np.array([0, 0, 1, 1, 2, 2]))
    assert kernel.losses()[0] == pytest.approx(1 - (1 + 0) / 2)
    assert np.isnan(kind(members, y == 2, np.zeros(6, np.int64)).losses()[0])


def test_many_rows_are_counted_in_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    task, stack = problem("auc", 2, 1, 0)
    exact = make_kernel(task, stack, task.rows)
    monkeypatch.setattr(AucKernel, "MOST_ROWS", N_ROWS - 1)
    binned = make_kernel(task, stack, task.rows)
    assert isinstance(exact, AucKernel) and isinstance(binned, BinnedAucKernel)
    np.testing.assert_allclose(binned.losses(), exact.losses(), atol=1e-4)


LABELS = [("accuracy", 2, 1), ("f1", 2, 1), ("mcc", 3, 3), ("macro_f1", 3, 3), ("qwk", 4, 1), ("auc_ovr", 3, 3)]


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), LABELS)
@pytest.mark.parametrize("seed", range(2))
def test_a_metric_without_structure_is_exact_among_the_screened(
    metric: str, n_classes: int, n_outputs: int, seed: int
) -> None:
    task, stack = problem(metric, n_classes, n_outputs, seed)
    judge = task.judge
    kernel = make_kernel(task, stack, task.rows)
    assert isinstance(kernel, MetricKernel)

    everything = np.arange(len(judge.y))
    shares_rule = judge.metric.decision_for(judge.task) == "multipliers"

    def plain(blended: Stack, favourite: Stack) -> float:
        if not judge.needs_labels:
            return -judge.metric.score(judge.y, blended)
        rule = judge.decide(everything, favourite if shares_rule else blended)
        return -judge.metric.score(judge.y, rule.apply(blended))

    for member in (1, 3):
        losses = kernel.losses()
        screened = np.flatnonzero(np.isfinite(losses))
        assert len(screened) == MetricKernel.N_EXACT
        chosen: list[int] = [] if member == 1 else [1]
        blends = {int(candidate): stack[[*chosen, int(candidate)]].mean(axis=0) for candidate in screened}
        favourite = blends[int(np.argmin(kernel._screen.losses()))]
        expected = [plain(blended, favourite) for blended in blends.values()]
        np.testing.assert_allclose(losses[screened], expected, atol=1e-8)
        kernel.add(member)


def test_the_smooth_loss_breaks_ties_of_a_metric() -> None:
    """Four members label all rows alike; the one with the best log loss must come first by more than a tie."""
    y = np.array([0, 1, 0, 1] * 10, np.int32)
    certain = [0.6, 0.9, 0.7, 0.8]
    stack = np.array([np.where(y == 1, chance, 1 - chance) for chance in certain])[:, :, None]
    kernel = make_kernel(task_of("accuracy", y, 2, "binary"), stack, np.arange(40))
    assert np.argsort(kernel.losses()).tolist() == [1, 3, 2, 0]


def test_blends_are_means_in_their_space() -> None:
    predictions: dict[str, NDArray[np.float32]] = {
        "a": np.array([[0.0], [3.0]], np.float32),
        "b": np.array([[8.0], [-2.0]], np.float32),
    }
    np.testing.assert_allclose(mix({"a": 0.25, "b": 0.75}, predictions, "identity"), [[6.0], [-0.75]])
    np.testing.assert_allclose(mix({"a": 0.5, "b": 0.5}, predictions, "log1p"), [[2.0], [1.0]], rtol=1e-6)
    assert mix({"a": 1.0}, predictions, "identity").dtype == np.float32
