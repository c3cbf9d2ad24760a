"""Metrics against values worked out by hand, against scikit-learn, and at their undefined edges."""

import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.goal import Goal
from foldsmith.problem.metrics import get_metric, known_metrics

Y2, P2, W2 = [0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.4], [1, 2, 1, 3, 1]
Y3 = [0, 1, 2, 2]
P3 = [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.1, 0.6, 0.3]]
TRUE, GUESS, W3 = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], [1, 2, 1, 1, 3, 1]

KNOWN_ANSWERS: list[tuple[str, Any, Any, Any, float]] = [
    # of 6 pairs: 4 right, 1 tied, 1 wrong
    ("auc", Y2, P2, None, 4.5 / 6),
    ("auc", Y2, P2, W2, 0.8),  # of 3 x 5: 5 below everything; 2 x (3 + 1/2)
    ("auc", [0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], None, 0.5),
    ("auc", [1, 1, 0], [0.1, 0.2, 0.9], None, 0.0),
    ("auc_ovr", Y3, P3, None, 0.8472222222222223),  # scikit-learn; classes: 1, 2/3, 7/8
    ("auc_ovr", Y3, np.eye(3)[Y3], None, 1.0),
    ("auc_ovr", [0, 1, 0, 1], np.column_stack([P2[:4], P2[:4], [1] * 4]), None, 0.5),  # class 2 is skipped
    ("average_precision", Y2, P2, None, 0.8055555555555556),  # 1/3 x 1 + 1/3 x 2/3 + 1/3 x 3/4
    ("average_precision", Y2, P2, W2, 0.8761904761904762),  # scikit-learn
    ("average_precision", [0, 1], [0.5, 0.5], None, 0.5),
    ("average_precision", [0, 1], [0.1, 0.5], None, 1.0),
    ("log_loss", [1, 0], [0.5, 0.5], None, math.log(2)),
    ("log_loss", Y2, P2, None, 0.5610885094221719),  # scikit-learn
    ("log_loss", Y2, P2, W2, 0.47031940918815873),  # scikit-learn
    ("log_loss", [1], [0.0], None, -math.log(1e-15)),
    ("log_loss", Y3, P3, None, -(math.log(0.7) + math.log(0.5) + math.log(0.4) + math.log(0.3)) / 4),
    ("log_loss", [0, 1], [[2, 1, 1], [0, 3, 1]], None, -(math.log(0.5) + math.log(0.75)) / 2),  # rows renormalised
    ("log_loss", [2], [[0.0, 0.0, 0.0]], None, -math.log(1e-15)),
    ("brier", [1, 0], [0.8, 0.4], None, (0.04 + 0.16) / 2),
    ("brier", [1, 0], [0.8, 0.4], [3, 1], (0.12 + 0.16) / 4),
    ("brier", [1, 0], [1.0, 0.0], None, 0.0),
    ("rmse", [1, 2, 3], [1, 2, 6], None, math.sqrt(3)),
    ("rmse", [1, 2, 3], [1, 2, 6], [1, 1, 0], 0.0),
    ("rmse", [0, 0], [3, 4], [3, 1], math.sqrt(43 / 4)),
    ("rmsle", [math.e - 1, 0], [0, 0], None, math.sqrt(0.5)),
    ("rmsle", [0, 0], [-5, -1], None, 0.0),  # clipped at 0
    ("rmsle", [0, 3], [1, 3], [1, 3], math.log(2) / 2),
    ("mae", [1, 2, 3], [1, 3, 5], None, 1.0),
    ("mae", [1, 2, 3], [1, 3, 5], [2, 1, 1], 0.75),
    ("mae", [-1.0], [-1.0], None, 0.0),
    ("r2", [1, 2, 3], [1, 2, 4], None, 0.5),
    ("r2", [1, 2, 3], [2, 2, 2], None, 0.0),
    ("r2", [1, 2, 3], [1, 2, 4], [1, 1, 2], 1 - 2 / 2.75),
    ("accuracy", TRUE, GUESS, None, 4 / 6),
    ("accuracy", TRUE, GUESS, W3, 6 / 9),
    ("accuracy", [0, 1], [1, 0], None, 0.0),
    ("balanced_accuracy", TRUE, GUESS, None, (1 / 2 + 1 + 1 / 2) / 3),
    ("balanced_accuracy", TRUE, GUESS, W3, (1 / 3 + 1 + 3 / 4) / 3),
    ("balanced_accuracy", [0, 0, 1, 1], [0, 2, 1, 1], None, 0.75),  # class 2 is not in y
    ("f1", [1, 1, 0, 0], [1, 0, 1, 0], None, 0.5),
    ("f1", [1, 1, 0, 0], [1, 0, 1, 0], [2, 1, 1, 5], 4 / 6),
    ("f1", [0, 0], [0, 0], None, 0.0),  # denominator 0
    ("macro_f1", TRUE, GUESS, None, (1 / 2 + 4 / 5 + 2 / 3) / 3),
    ("macro_f1", TRUE, GUESS, W3, 0.6412698412698412),  # scikit-learn
    ("macro_f1", [0, 0, 3], [0, 0, 3], None, 1.0),  # classes 1 and 2 do not occur
    ("mcc", [1, 1, 0, 0], [1, 0, 0, 0], None, 2 / math.sqrt(1 * 2 * 2 * 3)),
    ("mcc", TRUE, GUESS, None, 0.5222329678670935),  # scikit-learn
    ("mcc", TRUE, GUESS, W3, 0.5384615384615384),  # scikit-learn
    ("mcc", [0, 1, 0], [1, 1, 1], [0.1, 0.2, 0.7], 0.0),  # denominator 0
    ("qwk", TRUE, GUESS, None, 1 - 5 / 7),
    ("qwk", TRUE, GUESS, W3, 0.49056603773584906),  # scikit-learn
    ("qwk", [0, 1, 2], [2, 1, 0], None, -1.0),
    ("qwk", [1, 1], [1, 1], None, 0.0),  # denominator 0
]


@pytest.mark.parametrize(("name", "y", "prediction", "weight", "expected"), KNOWN_ANSWERS)
def test_known_answers(name: str, y: Any, prediction: Any, weight: Any, expected: float) -> None:
    assert get_metric(name).score(y, prediction, weight) == pytest.approx(expected, abs=1e-14)


def test_every_metric_has_three_known_answers() -> None:
    names = [row[0] for row in KNOWN_ANSWERS]
    assert all(names.count(name) >= 3 for name in known_metrics())


# ---- against scikit-learn ----

SEEDS = st.integers(0, 2**32 - 1)
Reference = Callable[..., float]
OF_CHANCES: dict[str, Reference] = {
    "auc": reference.roc_auc_score,
    "average_precision": reference.average_precision_score,
    "log_loss": reference.log_loss,
    "brier": reference.brier_score_loss,
}
OF_VALUES: dict[str, Reference] = {
    "rmse": reference.root_mean_squared_error,
    "rmsle": reference.root_mean_squared_log_error,
    "mae": reference.mean_absolute_error,
    "r2": reference.r2_score,
}
OF_LABELS: dict[str, Reference] = {
    "accuracy": reference.accuracy_score,
    "balanced_accuracy": reference.balanced_accuracy_score,
    "macro_f1": lambda y, p, **k: reference.f1_score(y, p, average="macro", zero_division=0, **k),
    "mcc": reference.matthews_corrcoef,
    "qwk": lambda y, p, **k: reference.cohen_kappa_score(y, p, weights="quadratic", labels=range(4), **k),
}


def draw_weights(rng: np.random.Generator, n_rows: int) -> Any:
    """Nothing, whole numbers or fractions."""
    choices = (None, rng.integers(1, 4, n_rows), rng.uniform(0.1, 3, n_rows))
    return choices[rng.integers(3)]


@pytest.mark.parametrize("name", sorted(OF_CHANCES))
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(2, 40), digits=st.sampled_from([1, 6]))
def test_chances_of_two_classes_agree_with_scikit_learn(name: str, seed: int, n_rows: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(0, 2, n_rows - 2)])
    # one digit makes ties; at 0 and 1 scikit-learn clips a log loss at another place
    chance, weight = rng.uniform(size=n_rows).round(digits).clip(1e-6, 1 - 1e-6), draw_weights(rng, n_rows)
    expected = OF_CHANCES[name](y, chance, sample_weight=weight)
    assert get_metric(name).score(y, chance[:, None], weight) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(3, 40))
def test_chances_of_three_classes_agree_with_scikit_learn(seed: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1, 2], rng.integers(0, 3, n_rows - 3)])
    chances, weight = rng.dirichlet(np.ones(3), n_rows), draw_weights(rng, n_rows)
    log_loss = reference.log_loss(y, chances, sample_weight=weight)
    auc = reference.roc_auc_score(y, chances, multi_class="ovr", sample_weight=weight)
    assert get_metric("log_loss").score(y, chances * 2, weight) == pytest.approx(log_loss, abs=1e-12)
    assert get_metric("auc_ovr").score(y, chances, weight) == pytest.approx(auc, abs=1e-12)


@pytest.mark.parametrize("name", sorted(OF_VALUES))
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(2, 40))
def test_values_agree_with_scikit_learn(name: str, seed: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    y, value, weight = rng.gamma(2, size=n_rows), rng.gamma(2, size=n_rows), draw_weights(rng, n_rows)
    expected = OF_VALUES[name](y, value, sample_weight=weight)
    assert get_metric(name).score(y, value[:, None], weight) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", sorted(OF_LABELS))
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(2, 40), n_classes=st.integers(2, 4))
def test_labels_agree_with_scikit_learn(name: str, seed: int, n_rows: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(0, n_classes, n_rows - 2)])
    codes, weight = rng.integers(0, n_classes, n_rows), draw_weights(rng, n_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "y_pred contains classes not in y_true"
        expected = OF_LABELS[name](y, codes, sample_weight=weight)
    assert get_metric(name).score(y, codes, weight) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(1, 20))
def test_f1_agrees_with_scikit_learn(seed: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    y, codes, weight = rng.integers(0, 2, n_rows), rng.integers(0, 2, n_rows), draw_weights(rng, n_rows)
    expected = reference.f1_score(y, codes, sample_weight=weight, zero_division=0)
    assert get_metric("f1").score(y, codes, weight) == pytest.approx(expected, abs=1e-12)


# ---- properties of all ----


def perfect(name: str) -> tuple[Any, Any]:
    metric = get_metric(name)
    y = np.array([0, 1, 1, 0])
    return (y, np.eye(2)[y]) if metric.tasks == {"multiclass"} else (y, y.astype(float))


@pytest.mark.parametrize("name", known_metrics())
def test_perfect_predictions_reach_the_best_value_and_others_do_not(name: str) -> None:
    metric = get_metric(name)
    y, prediction = perfect(name)
    assert metric.best is not None
    assert metric.score(y, prediction) == pytest.approx(metric.best, abs=1e-14)
    assert metric.better(metric.score(y, prediction), metric.score(y, np.ones_like(prediction)))


@pytest.mark.parametrize("name", known_metrics())
def test_weights_of_two_count_a_row_twice_and_of_zero_not_at_all(name: str) -> None:
    metric = get_metric(name)
    y, prediction = perfect(name)
    wrong = prediction.copy()
    wrong[1] = prediction[0]
    twice = metric.score(np.append(y, y[1]), np.append(wrong, wrong[1:2], axis=0))
    assert metric.score(y, wrong, [1, 2, 1, 1]) == pytest.approx(twice, abs=1e-14)
    assert metric.score(y, wrong, [1, 0, 1, 1]) == pytest.approx(metric.best, abs=1e-14)


@pytest.mark.parametrize("name", known_metrics())
def test_what_is_undefined_is_nan_not_an_exception(name: str) -> None:
    metric = get_metric(name)
    y, prediction = perfect(name)
    assert math.isnan(metric.score(y[:0], prediction[:0]))
    assert math.isnan(metric.score(y, prediction, [0, 0, 0, 0]))
    for broken in (math.nan, math.inf):
        assert math.isnan(metric.score(y, np.where(np.arange(4)[:, None] == 2, broken, prediction.reshape(4, -1))))


@pytest.mark.parametrize(
    ("name", "y", "prediction"),
    [
        ("auc", [1, 1], [0.2, 0.3]),
        ("auc_ovr", [1, 1], [[0.2, 0.8], [0.3, 0.7]]),
        ("average_precision", [0, 0], [0.2, 0.3]),
        ("r2", [0.1, 0.1, 0.1], [0.2, 0.3, 0.4]),
        ("rmsle", [-0.5, 1], [0, 1]),
    ],
)
def test_undefined_labels_give_nan(name: str, y: Any, prediction: Any) -> None:
    assert math.isnan(get_metric(name).score(y, prediction))


def test_float32_chances_of_zero_and_one_give_a_finite_log_loss() -> None:
    sure = np.array([1, 0, 1 - 1e-9], np.float32)
    assert get_metric("log_loss").score([0, 1, 0], sure) == pytest.approx(-math.log(1e-15))
    assert math.isfinite(get_metric("log_loss").score([0, 1], np.eye(3, dtype=np.float32)[[1, 2]]))


def test_better_knows_the_direction_and_nan() -> None:
    auc, rmse = get_metric("auc"), get_metric("rmse")
    assert auc.better(0.9, 0.8) and not auc.better(0.8, 0.9) and not auc.better(0.8, 0.8)
    assert rmse.better(0.8, 0.9) and not rmse.better(0.9, 0.8)
    assert not auc.better(math.nan, 0.1) and not auc.better(math.nan, math.nan) and rmse.better(9.0, math.nan)
    assert auc.better(0.0, auc.worst) and rmse.better(1e300, rmse.worst)


@pytest.mark.parametrize("name", known_metrics())
def test_metrics_pickle(name: str) -> None:
    copy = pickle.loads(pickle.dumps(get_metric(name)))
    y, prediction = perfect(name)
    assert copy == get_metric(name) and copy.score(y, prediction) == pytest.approx(copy.best, abs=1e-14)


def test_importing_metrics_loads_no_heavy_library() -> None:
    code = "import sys, foldsmith.problem.metrics; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- the registry ----


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        *((name, name) for name in known_metrics()),
        ("roc_auc", "auc"),
        ("ROC-AUC", "auc"),
        ("rocauc", "auc"),
        ("roc auc ovr", "auc_ovr"),
        ("macro_auc", "auc_ovr"),
        ("LogLoss", "log_loss"),
        ("binary_logloss", "log_loss"),
        ("multi_logloss", "log_loss"),
        ("mlogloss", "log_loss"),
        ("cross-entropy", "log_loss"),
        ("acc", "accuracy"),
        ("bacc", "balanced_accuracy"),
        ("f1_macro", "macro_f1"),
        ("Quadratic Weighted Kappa", "qwk"),
        ("kappa", "qwk"),
        ("ap", "average_precision"),
        ("PR-AUC", "average_precision"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert get_metric(alias).name == name


def test_an_unknown_name_lists_the_nearest_and_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown metric 'rmsel'; did you mean 'rmse.*known: accuracy, auc"):
        get_metric("rmsel")


@pytest.mark.parametrize(
    ("name", "kind", "classes", "pooled"),
    [
        ("auc", "none", "none", False),
        ("auc_ovr", "none", "none", False),
        ("average_precision", "none", "none", False),
        ("log_loss", "none", "none", True),
        ("f1", "threshold", "threshold", True),
        ("accuracy", "threshold", "argmax", True),
        ("macro_f1", "threshold", "multipliers", True),
        ("qwk", "cuts", "cuts", True),
    ],
)
def test_decisions_and_aggregates(name: str, kind: str, classes: str, pooled: bool) -> None:
    metric = get_metric(name)
    assert (metric.decision_for("binary"), metric.decision_for("multiclass")) == (kind, classes)
    assert metric.aggregate == ("pooled" if pooled else "mean_of_folds")


def test_goals() -> None:
    assert get_metric("auc").goal("binary", 2) == Goal("binary", 2, "log_loss", "auc")
    assert get_metric("f1").goal("binary", 2) == Goal("binary", 2, "log_loss", "log_loss")
    assert get_metric("auc_ovr").goal("multiclass", 4) == Goal("multiclass", 4, "log_loss", "log_loss")
    assert get_metric("qwk").goal("multiclass", 6) == Goal("regression", 0, "squared", "rmse")
    assert get_metric("r2").goal("regression", 0) == Goal("regression", 0, "squared", "rmse")
    assert get_metric("mae").goal("regression", 0) == Goal("regression", 0, "absolute", "mae")
    assert get_metric("rmsle").goal("regression", 0) == Goal("regression", 0, "squared", "rmse", log1p=True)
    assert get_metric("rmsle").blend_space == "log1p" and get_metric("rmse").blend_space == "identity"


@pytest.mark.parametrize(
    ("name", "task", "n_classes", "y", "message"),
    [
        ("auc", "multiclass", 3, [0, 1, 2], r"'auc' fits binary, but the target is multiclass with 3 classes.*auc_ovr"),
        ("auc_ovr", "binary", 2, [0, 1], r"use auc or log_loss"),
        ("rmse", "multiclass", 3, [0, 1, 2], r"'rmse' fits regression.*3 classes; use log_loss.*really a number"),
        ("accuracy", "regression", 0, [0.1, 0.2, 0.2], r"fits binary or multiclass.*2 distinct numbers; use rmse"),
        ("f1", "multiclass", 3, [0, 1, 2], r"use macro_f1"),
        ("log_loss", "multiclass", 1, [0, 0], r"needs two classes or more, but the target has 1"),
        ("rmsle", "regression", 0, [1.0, -2.5, -1.0], r"2 of 3 are negative, the smallest -2.5; use rmse"),
    ],
)
def test_check_fits_says_what_to_do(name: str, task: Any, n_classes: int, y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_metric(name).check_fits(task, n_classes, np.array(y))


def test_check_fits_accepts_what_fits() -> None:
    get_metric("auc").check_fits("binary", 2, np.array([0, 1]))
    get_metric("qwk").check_fits("multiclass", 3, np.array([0, 1, 2]))
    get_metric("rmsle").check_fits("regression", 0, np.array([0.0, 3.0]))


# ---- metrics of the user ----

SOURCE = """
import numpy as np

def worst_miss(y, prediction):
    return np.abs(y - prediction).max()
worst_miss.greater_is_better = False

def hits(y, prediction, sample_weight=None):
    return np.average(y == prediction, weights=sample_weight)
hits.greater_is_better, hits.needs, hits.aggregate = True, "label", "mean_of_folds"

def gini(y, chance):
    return 0.0
gini.greater_is_better, gini.tasks = True, "binary"

def silent(y, prediction):
    return 0.0

def bad_needs(y, prediction):
    return 0.0
bad_needs.greater_is_better, bad_needs.needs = True, "quantiles"

def bad_tasks(y, prediction):
    return 0.0
bad_tasks.greater_is_better, bad_tasks.needs, bad_tasks.tasks = True, "label", ["binary", "regression"]

def one(y):
    return 0.0
number = 3
"""


@pytest.fixture
def code_folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path


def test_a_user_metric_with_defaults(code_folder: Path) -> None:
    metric = get_metric("mine:worst_miss", code_folder)
    assert metric.name == "mine:worst_miss" and metric.needs == "value" and metric.tasks == {"regression"}
    assert (metric.greater_is_better, metric.aggregate, metric.best) == (False, "pooled", None)
    assert metric.score([1, 2], [[1.5], [2.0]]) == 0.5
    assert metric.goal("regression", 0) == Goal("regression", 0, "squared", "rmse")
    assert pickle.loads(pickle.dumps(metric)).score([1, 2], [4, 2]) == 3
    with pytest.raises(InputError, match="two arguments, but the rows have weights"):
        metric.score([1, 2], [1, 2], [1, 1])


def test_a_user_metric_with_declarations(code_folder: Path) -> None:
    metric = get_metric("mine:hits", code_folder)
    assert metric.needs == "label" and metric.tasks == {"binary", "multiclass"} and metric.aggregate == "mean_of_folds"
    assert (metric.decision_for("binary"), metric.decision_for("multiclass")) == ("threshold", "argmax")
    assert metric.score([0, 1], [0, 0], [3, 1]) == 0.75
    assert get_metric("mine:gini", code_folder).needs == "proba"
    assert get_metric("mine:gini", code_folder).tasks == {"binary"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:silent", r"greater_is_better is None\); write silent.greater_is_better = True or False"),
        ("mine:bad_needs", "declares needs 'quantiles'; use 'proba' or 'label' or 'value'"),
        ("mine:bad_tasks", "needs 'label' but names the task 'regression'"),
        ("mine:one", r"has 1 arguments; write it as \(y, prediction\)"),
        ("mine:number", "is a int; name a function"),
        ("mine:worst_mis", "did you mean 'worst_miss'"),
        ("yours:worst_miss", "there is no file"),
    ],
)
def test_errors_of_user_metrics(code_folder: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_metric(name, code_folder)


def test_a_user_metric_needs_a_folder() -> None:
    with pytest.raises(InputError, match="no folder of code is known; set one, or use one of accuracy"):
        get_metric("mine:f")
