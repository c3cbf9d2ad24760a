"""Each kernel gives what the plain metric gives, for every candidate at every step, compiled or not."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from foldsmith.ensembling import compiled, kernels, loops, plain
from foldsmith.ensembling.kernels import (
    AbsoluteKernel,
    AucKernel,
    CallableKernel,
    ConfusionKernel,
    LogLossKernel,
    ScreenedKernel,
    SignedLogLossKernel,
    SquaredKernel,
    make_kernel,
    smooth_kernel,
)
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask, mix
from foldsmith.ensembling.testing import Members, members_of, task_of
from foldsmith.problem.decisions import ClassMultipliers, CutPoints, Decision, Threshold
from foldsmith.problem.scoring import Judge

Stack = NDArray[np.float64]
NOISES = (0.3, 0.6, 1.0, 1.3, 1.7, 2.0)
N_ROWS = 120


def problem(metric: str, n_classes: int, n_outputs: int, weighted: bool = False) -> tuple[BlendTask, Members]:
    rng = np.random.default_rng(0)
    y: NDArray[Any] = rng.gamma(2, 3, N_ROWS)
    if n_classes:
        y = rng.permutation(np.arange(N_ROWS) % n_classes).astype(np.int32)
    judge = task_of(metric, y, n_classes, np.arange(N_ROWS) % 4).judge
    if weighted:
        weight = rng.choice([0.5, 1.0, 3.0], N_ROWS)
        judge = Judge(judge.metric, judge.task, n_classes, y, judge.plan, weight)
    return BlendTask(judge, 6), members_of(y, n_classes, n_outputs, 0, NOISES)


def mean_of(names: list[str], members: Members, task: BlendTask) -> NDArray[np.float32]:
    return mix({name: names.count(name) / len(names) for name in names}, members, task.space)


def metric_of(task: BlendTask) -> Callable[[Stack], float]:
    """The metric of a blended prediction as a loss in the kernel's own units."""
    judge = task.judge
    everything, weight = np.arange(len(judge.y)), judge.weight

    def mean_of_folds(blended: Stack) -> float:
        folds = [judge.plan.split(0, fold)[1] for fold in range(judge.plan.n_folds)]
        weights = [None if weight is None else weight[rows] for rows in folds]
        parts = zip(folds, weights, strict=True)
        return float(1 - np.mean([roc_auc_score(judge.y[r], blended[r, 0], sample_weight=w) for r, w in parts]))

    y = np.asarray(judge.y, np.float64)
    variance = float(np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
    losses: dict[str, Callable[[Stack], float]] = {
        "rmse": lambda blended: judge.score(everything, blended) ** 2,
        "rmsle": lambda blended: judge.score(everything, blended) ** 2,
        "r2": lambda blended: (1 - judge.score(everything, blended)) * variance,
        "auc": mean_of_folds,
    }
    return losses.get(judge.metric.name, lambda blended: judge.score(everything, blended))


CASES: list[tuple[str, int, int, type]] = [
    ("rmse", 0, 1, SquaredKernel),
    ("rmsle", 0, 1, SquaredKernel),
    ("r2", 0, 1, SquaredKernel),
    ("brier", 2, 1, SquaredKernel),
    ("mae", 0, 1, AbsoluteKernel),
    ("log_loss", 2, 1, LogLossKernel),
    ("log_loss", 3, 3, LogLossKernel),
    ("auc", 2, 1, AucKernel),
]


@pytest.fixture(params=[compiled, plain], ids=["compiled", "plain"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The loops of numba, and those of NumPy."""
    module: ModuleType = request.param
    monkeypatch.setattr(Pool, "loops", module)
    return module


POWERS: dict[type, int] = {SquaredKernel: 2, AbsoluteKernel: 1}
"""The power of the pool's unit that makes a loss one in the metric's units."""


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("metric", "n_classes", "n_outputs", "kind"), CASES)
def test_a_kernel_is_its_metric(metric: str, n_classes: int, n_outputs: int, kind: type, weighted: bool) -> None:
    task, members = problem(metric, n_classes, n_outputs, weighted)
    pool = Pool(members, task)
    kernel = make_kernel(pool)
    assert isinstance(kernel, kind)
    unit = pool.scale.unit ** POWERS.get(kind, 0)
    loss, names = metric_of(task), list(members)
    chosen: list[str] = []
    for step, member in enumerate((2, 0, 2, 5)):
        expected = [loss(mean_of([*chosen, candidate], members, task).astype(np.float64)) for candidate in names]
        np.testing.assert_allclose(unit * kernel.losses(1 / (step + 1)), expected, atol=1e-6, rtol=1e-6)
        kernel.add(member, 1 / (step + 1))
        chosen.append(names[member])


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs", "kind"), CASES)
def test_a_kernel_looks_at_its_rows_only(metric: str, n_classes: int, n_outputs: int, kind: type) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    losses = make_kernel(Pool(members, task).without(1)).losses(1.0)
    y = task.judge.y.copy()
    y[task.fold_of_row == 1] = y[0]
    other = task_of(metric, y, n_classes, task.fold_of_row)
    np.testing.assert_array_equal(make_kernel(Pool(members, other).without(1)).losses(1.0), losses)


@pytest.mark.parametrize("n_rows", [1, 31, 511, 512, 513, 1024, 2000])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_products_of_chances_lose_nothing(n_rows: int, share: float) -> None:
    """Also of chances as small as they are clipped to, in any number of rows."""
    rng = np.random.default_rng(0)
    columns = np.exp(-rng.gamma(1, 8, (3, n_rows))).astype(np.float32)
    columns[0, : n_rows // 2] = 0.0
    blend, nothing = rng.random(n_rows), np.empty(0)
    expected = plain.log_loss(columns, blend, share, nothing)
    np.testing.assert_allclose(compiled.log_loss(columns, blend, share, nothing), expected, rtol=1e-12)


def test_log_space_keeps_negative_predictions_at_zero() -> None:
    """RMSLE clips a prediction at 0, and so does the blend."""
    task, members = problem("rmsle", 0, 1)
    members = {name: member - np.float32(4) for name, member in members.items()}
    expected = [task.judge.metric.score(task.judge.y, member) ** 2 for member in members.values()]
    pool = Pool(members, task)
    np.testing.assert_allclose(pool.scale.unit**2 * make_kernel(pool).losses(1.0), expected, rtol=1e-5)


def auc_kernel(columns: NDArray[Any], y: NDArray[Any], folds: NDArray[Any] | None = None) -> AucKernel:
    members = {f"m{n}": np.asarray(column, np.float32)[:, None] for n, column in enumerate(columns)}
    folds = np.zeros(len(y), np.int64) if folds is None else folds
    return AucKernel(Pool(members, task_of("auc", y, 2, folds)))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.0, -3.0), (1.0, -8.0), (1.0, 6.0), (1e4, 0.0)])
@pytest.mark.parametrize("screened", [False, True])
def test_auc_is_scikit_learns(screened: bool, scale: float, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nearly all chances are tiny, or none are chances, and whatever was added before."""
    rng = np.random.default_rng(1)
    y = (rng.random(3000) < 0.1).astype(np.int32)
    logits = shift + 1.5 * y + rng.normal(size=(30, len(y))) * np.linspace(1, 3, 30)[:, None]
    columns = (scale * logits if scale > 1 else 1 / (1 + np.exp(-logits))).astype(np.float32)
    monkeypatch.setattr(AucKernel, "FEW_ROWS", 0 if screened else 10_000)
    monkeypatch.setattr(AucKernel, "N_EXACT", 3 if screened else 100)
    kernel = auc_kernel(columns, y)
    total = np.zeros(len(y))
    for step, member in enumerate((3, 1)):
        expected = np.array([1 - roc_auc_score(y, total + column) for column in columns])
        losses = kernel.losses(1 / (step + 1))
        np.testing.assert_allclose(losses, expected, atol=1.5e-4)
        assert np.argmin(losses) == np.argmin(expected)
        assert losses.min() == pytest.approx(expected.min(), abs=1e-9)
        kernel.add(member, 1 / (step + 1))
        total += columns[member]


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_exact_with_ties_signs_and_crowds(either: ModuleType, seed: int) -> None:
    """Whatever the bins: they only help to sort."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 400).astype(np.int32)
    values = rng.normal(size=400).round(seed % 3) * 1e3
    values[:3] = -0.0, 0.0, -0.0
    values[50:150] = 7 + 1e-9 * rng.random(100)
    for bins in ((-5e3, 1e-4, 900_000_000, 23, 64), (-5e3, 1e-4, 0, 27, 16)):
        loss = either.exact_auc(values, y, np.array([0, 400]), *bins)
        assert 1 - loss == pytest.approx(roc_auc_score(y, values), abs=1e-12)
        assert np.isnan(either.exact_auc(values, np.ones(400, np.int32), np.array([0, 400]), *bins))


def test_auc_leaves_out_folds_with_one_class() -> None:
    y = np.array([0, 1, 0, 0, 1, 0])
    columns = np.array([[0.1, 0.2, 0.9, 0.8, 0.1, 0.2]])
    assert auc_kernel(columns, y, np.array([0, 0, 1, 1, 2, 2])).losses(1.0)[0] == pytest.approx(1 - (1 + 0) / 2)
    assert np.isnan(auc_kernel(columns, np.zeros(6, np.int64)).losses(1.0)[0])


RULES: list[tuple[str, int, int, Decision]] = [
    ("accuracy", 2, 1, Threshold(0.4)),
    ("f1", 2, 1, Threshold(0.6)),
    ("mcc", 3, 3, ClassMultipliers((1.0, 1.5, 0.7))),
    ("balanced_accuracy", 3, 3, ClassMultipliers((1.0, 1.0, 1.0))),
    ("qwk", 4, 1, CutPoints((0.6, 1.4, 2.6))),
]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("metric", "n_classes", "n_outputs", "rule"), RULES)
def test_labels_of_all_candidates_are_counted(
    metric: str, n_classes: int, n_outputs: int, rule: Decision, weighted: bool
) -> None:
    task, members = problem(metric, n_classes, n_outputs, weighted)
    made = Pool(members, task)
    kernel = ConfusionKernel(made, smooth_kernel(made), rule)
    chosen: list[str] = []
    for step, member in enumerate((1, 3)):
        blends = [mean_of([*chosen, name], members, task) for name in members]
        expected = [1 - task.judge.score(np.arange(N_ROWS), rule.apply(blended)) for blended in blends]
        np.testing.assert_allclose(kernel.losses(1 / (step + 1)), expected, atol=1e-8)
        kernel.add(member, 1 / (step + 1))
        chosen.append(list(members)[member])


def test_the_smooth_loss_breaks_ties_of_labels() -> None:
    """Four members label all rows alike; the one with the best log loss must come first by more than a tie."""
    y = np.array([0, 1, 0, 1] * 10, np.int32)
    chances = [0.6, 0.9, 0.7, 0.8]
    members = {f"m{n}": np.where(y == 1, c, 1 - c)[:, None].astype(np.float32) for n, c in enumerate(chances)}
    made = Pool(members, task_of("accuracy", y, 2))
    for kernel in (make_kernel(made), ConfusionKernel(made, smooth_kernel(made))):
        assert np.argsort(kernel.losses(1.0)).tolist() == [1, 3, 2, 0]


LABELS = [("accuracy", 2, 1), ("f1", 2, 1), ("mcc", 3, 3), ("macro_f1", 3, 3), ("qwk", 4, 1), ("auc_ovr", 3, 3)]


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), LABELS)
def test_a_metric_without_structure_is_exact_among_the_screened(metric: str, n_classes: int, n_outputs: int) -> None:
    task, members = problem(metric, n_classes, n_outputs)
    judge = task.judge
    kernel = make_kernel(Pool(members, task))
    assert isinstance(kernel, ScreenedKernel)
    everything = np.arange(len(judge.y))
    shares_rule = judge.metric.decision_for(judge.task) == "multipliers"

    def loss(blended: NDArray[Any], favourite: NDArray[Any]) -> float:
        if not judge.needs_labels:
            return -judge.metric.score(judge.y, blended)
        rule = judge.decide(everything, favourite if shares_rule else blended)
        return -judge.metric.score(judge.y, rule.apply(blended))

    names, chosen = list(members), list[str]()
    for step, member in enumerate((1, 3)):
        losses = kernel.losses(1 / (step + 1))
        screened = np.flatnonzero(np.isfinite(losses))
        assert len(screened) == ScreenedKernel.N_EXACT
        blends = {int(one): mean_of([*chosen, names[one]], members, task) for one in screened}
        favourite = blends[int(np.argmin(kernel._smooth.losses(1 / (step + 1))))]
        expected = [loss(blended, favourite) for blended in blends.values()]
        np.testing.assert_allclose(losses[screened], expected, atol=1e-6)
        kernel.add(member, 1 / (step + 1))
        chosen.append(names[member])


@pytest.mark.usefixtures("either")
def test_signed_blends_of_classes_are_divided_by_their_sums() -> None:
    """The true class's column alone would promise what clipping and dividing take back."""
    task, members = problem("log_loss", 3, 3)
    kernel = make_kernel(Pool(members, task), signed=True)
    assert isinstance(kernel, SignedLogLossKernel)
    kernel.add(0, 1.0)
    first = members["m00"].astype(np.float64)
    for share in (-0.4, 0.3):
        blends = [
            ((1 - share) * first + share * member.astype(np.float64)).clip(1e-15, 1) for member in members.values()
        ]
        scores = [task.judge.metric.score(task.judge.y, b / b.sum(axis=1, keepdims=True)) for b in blends]
        np.testing.assert_allclose(kernel.losses(share), scores, rtol=1e-6)


@pytest.mark.parametrize("space", ["logit", "power"])
def test_other_spaces_go_through_the_metric_itself(space: str) -> None:
    task, members = problem("log_loss", 3, 3)
    task = BlendTask(task.judge, 6, space)
    kernel = make_kernel(Pool(members, task))
    assert isinstance(kernel, CallableKernel)
    kernel.add(1, 1.0)
    expected = [task.judge.metric.score(task.judge.y, mean_of(["m01", name], members, task)) for name in members]
    np.testing.assert_allclose(kernel.losses(0.5), expected, rtol=1e-5)


def test_little_work_is_not_compiled_and_numpy_stands_in_for_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loops.loops_for(1000) is plain and loops.loops_for(10**6) is compiled
    monkeypatch.setitem(sys.modules, "foldsmith.ensembling.compiled", None)
    loops._module.cache_clear()
    try:
        assert loops.loops_for(10**6) is plain
    finally:
        loops._module.cache_clear()


@pytest.mark.parametrize(("metric", "n_classes", "n_outputs"), [("auc", 2, 1), ("rmse", 0, 1), ("mcc", 3, 3)])
def test_warming_up_uses_the_compiled_loops(
    metric: str, n_classes: int, n_outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where many rows will call for them."""
    task, _ = problem(metric, n_classes, n_outputs)
    monkeypatch.setattr(kernels, "compiled_loops", lambda: pytest.fail("not for so little work"))
    kernels.warm_up(task, 50)
    called: list[int] = []

    def loops_() -> ModuleType:
        called.append(1)
        return compiled

    monkeypatch.setattr(kernels, "compiled_loops", loops_)
    kernels.warm_up(task, 10_000)
    assert called == [1]


def test_gram_columns_are_shared_by_folds() -> None:
    task, members = problem("rmse", 0, 1)
    made = Pool(members, task)
    errors = made.columns.astype(np.float64) - made.target
    np.testing.assert_allclose(made.gram(), errors @ errors.T / N_ROWS)
    part = made.without(2)
    assert part._gram is made._gram
    errors = part.columns.astype(np.float64) - part.target
    np.testing.assert_allclose(part.gram(), errors @ errors.T / len(part.rows))
    np.testing.assert_allclose(np.diag(part.gram()), part.gram_diagonal())


def test_blends_are_means_in_their_space() -> None:
    predictions: dict[str, NDArray[np.float32]] = {
        "a": np.array([[0.0], [3.0]], np.float32),
        "b": np.array([[8.0], [-2.0]], np.float32),
    }
    np.testing.assert_allclose(mix({"a": 0.25, "b": 0.75}, predictions, "identity"), [[6.0], [-0.75]])
    np.testing.assert_allclose(mix({"a": 0.5, "b": 0.5}, predictions, "log1p"), [[2.0], [1.0]], rtol=1e-6)
    assert mix({"a": 1.0}, predictions, "identity").dtype == np.float32


@pytest.mark.parametrize("n_members", [1, 4, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_residuals_are_the_same_compiled(n_members: int, weighted: bool) -> None:
    """Products and squares by fold, also of numbers of members that are no multiple of four."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(n_members, 50)).astype(np.float32)
    y, other = rng.normal(size=50), rng.normal(size=50)
    weight = rng.random(50) if weighted else np.empty(0)
    bounds = np.array([0, 13, 30, 50])
    for name, given in (("products", (y, other, weight)), ("squares", (y, weight))):
        slow, fast = (getattr(module, name)(columns, *given, bounds) for module in (plain, compiled))
        np.testing.assert_allclose(fast, slow, rtol=1e-12)
        assert fast.shape == (3, n_members)
