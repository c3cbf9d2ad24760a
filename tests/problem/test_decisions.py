"""Thresholds against brute force, cut points and multipliers on planted examples, and round trips."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from foldsmith.problem.decisions import (
    ClassMultipliers,
    CutPoints,
    Decision,
    Threshold,
    decision_from_json,
    default_decision,
    fit_decision,
)
from foldsmith.problem.errors import UnknownNameError
from foldsmith.problem.metrics import get_metric

SEEDS = st.integers(0, 2**32 - 1)
COUNTED = ["balanced_accuracy", "f1", "macro_f1", "mcc"]


def test_rules_apply() -> None:
    chance = np.array([[0.2], [0.3], [0.30001]])
    assert Threshold(0.3).apply(chance).tolist() == [0, 1, 1]
    assert Threshold(0.3).apply(chance[:, 0].astype(np.float32)).dtype == np.int64
    chances = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    assert ClassMultipliers((1.0, 1.0, 1.0)).apply(chances).tolist() == [0, 0]
    assert ClassMultipliers((1.0, 1.5, 3.0)).apply(chances).tolist() == [2, 1]
    assert CutPoints((0.5, 1.5)).apply(np.array([[-1.0], [0.5], [1.49], [9.0]])).tolist() == [0, 1, 1, 2]
    assert CutPoints((1.0, 1.0)).apply(np.array([0.9, 1.0])).tolist() == [0, 2]  # class 1 is never called


@pytest.mark.parametrize("rule", [Threshold(0.1 + 0.2), ClassMultipliers((1.0, 2.5)), CutPoints((0.1, 1 / 3))])
def test_rules_survive_json(rule: Decision) -> None:
    assert decision_from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown decision 'cut'; did you mean 'cuts'"):
        decision_from_json({"kind": "cut"})


def test_default_rules() -> None:
    assert default_decision(get_metric("f1"), "binary", 2) == Threshold(0.5)
    assert default_decision(get_metric("macro_f1"), "multiclass", 3) == ClassMultipliers((1.0, 1.0, 1.0))
    assert default_decision(get_metric("qwk"), "multiclass", 4) == CutPoints((0.5, 1.5, 2.5))


# ---- two classes ----


def fitted_threshold(name: str, y: ArrayLike, chance: ArrayLike, weight: ArrayLike | None = None) -> float:
    rule = fit_decision(get_metric(name), "binary", 2, y, chance, weight)
    assert isinstance(rule, Threshold)
    return rule.value


@pytest.mark.parametrize("name", COUNTED)
@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(1, 25), weighted=st.booleans(), digits=st.sampled_from([1, 9]))
def test_the_threshold_is_the_best_of_all(name: str, seed: int, n_rows: int, weighted: bool, digits: int) -> None:
    rng = np.random.default_rng(seed)
    y, chance = rng.integers(0, 2, n_rows), rng.uniform(size=n_rows).round(digits)
    weight = rng.uniform(0.1, 2, n_rows) if weighted else None
    metric = get_metric(name)
    rule = fit_decision(metric, "binary", 2, y, chance[:, None], weight)
    all_rules = [Threshold(value) for value in [*chance, 2.0, 0.5]]
    best = max(metric.score(y, each.apply(chance), weight) for each in all_rules)
    assert metric.score(y, rule.apply(chance), weight) == pytest.approx(best, abs=1e-12)


def test_the_threshold_lies_midway() -> None:
    assert fitted_threshold("f1", [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(0.25)


def test_a_plateau_gives_its_middle() -> None:
    # weight 1e-30 rows change no score visibly: the gaps from 0.1 to 0.4 tie
    y, chance, weight = [0, 0, 1, 1], [0.1, 0.2, 0.4, 0.45], [1, 1e-30, 1, 1]
    assert fitted_threshold("f1", y, chance, weight) == pytest.approx(0.25)


def test_of_two_plateaus_the_one_nearer_to_a_half_wins() -> None:
    # balanced accuracy 3/4 between 0.1 and 0.2 and again between 0.3 and 0.4; 0.5 gives 1/2
    y, chance = [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]
    assert fitted_threshold("balanced_accuracy", y, chance) == pytest.approx(0.35)


def test_neighbouring_floats_are_separated() -> None:
    low, high = 0.1, np.nextafter(0.1, 1)
    rule = fit_decision(get_metric("f1"), "binary", 2, [0, 1, 0], [low, high, low])
    assert rule.apply(np.array([low, high])).tolist() == [0, 1]


def test_accuracy_leaves_a_half_only_for_a_sure_gain() -> None:
    y = np.array([0] * 50 + [1] * 50)
    chance = np.where(y == 1, 0.45, 0.2)  # a threshold of 0.5 misses every positive
    assert fitted_threshold("accuracy", y, chance) == pytest.approx(0.325)
    chance = np.where(y == 1, 0.9, 0.2)
    chance[50] = 0.45  # one row can be gained: 1/100, and the standard error is 1/100 too
    assert fitted_threshold("accuracy", y, chance) == 0.5
    chance[51] = 0.45  # two rows: 2/100, and the error is 1.4/100
    assert fitted_threshold("accuracy", y, chance) == pytest.approx(0.325)


def test_the_default_stays_where_nothing_can_be_learnt() -> None:
    f1 = get_metric("f1")
    assert fit_decision(f1, "binary", 2, [], np.empty((0, 1))) == Threshold(0.5)
    assert fit_decision(f1, "binary", 2, [0, 1], [np.nan, 0.3]) == Threshold(0.5)
    assert fit_decision(f1, "binary", 2, [0, 0], [0.1, 0.3]) == Threshold(0.5)
    assert fit_decision(f1, "binary", 2, [0, 1], [0.1, 0.3], [0, 0]) == Threshold(0.5)


def test_a_metric_without_labels_has_no_rule() -> None:
    with pytest.raises(AssertionError, match="auc needs no labels"):
        fit_decision(get_metric("auc"), "binary", 2, [0, 1], [0.1, 0.2])


def test_a_users_label_metric_gets_the_best_quantile(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def cost(y, codes):\n    return (5.0 * (codes < y) + (codes > y)).mean()\n"
        "cost.greater_is_better, cost.needs = False, 'label'\n"
    )
    metric = get_metric("mine:cost", tmp_path)
    chance = np.linspace(0, 1, 500)
    y = (np.random.default_rng(0).uniform(size=500) < chance).astype(int)
    rule = fit_decision(metric, "binary", 2, y, chance)
    assert isinstance(rule, Threshold) and 0.05 < rule.value < 0.3  # 1/6 in the limit
    assert fit_decision(metric, "multiclass", 2, y, np.eye(2)[y]) == ClassMultipliers((1.0, 1.0))


# ---- several classes ----


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1", "mcc", "qwk"])
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(1, 40), weighted=st.booleans())
def test_rules_are_never_worse_than_the_default_on_their_rows(
    name: str, seed: int, n_rows: int, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    y, weight = rng.integers(0, 4, n_rows), rng.uniform(0, 2, n_rows) if weighted else None
    scores = rng.normal(1.5, 1, (n_rows, 1)) if name == "qwk" else rng.dirichlet(np.ones(4), n_rows).round(2)
    metric = get_metric(name)
    plain, rule = default_decision(metric, "multiclass", 4), fit_decision(metric, "multiclass", 4, y, scores, weight)
    assert rule == fit_decision(metric, "multiclass", 4, y, scores, weight)
    assert not metric.better(metric.score(y, plain.apply(scores), weight), metric.score(y, rule.apply(scores), weight))


def planted_chances(n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Labels, their true chances, and chances distorted by class."""
    rng = np.random.default_rng(3)
    chances = rng.dirichlet([3.0, 1.0, 0.4], n_rows)
    y = np.array([rng.choice(3, p=row) for row in chances])
    distorted = chances * [1.0, 0.4, 0.1]
    return y, chances, distorted / distorted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "mcc"])
def test_multipliers_undo_a_planted_distortion(name: str) -> None:
    y, chances, distorted = planted_chances(3000)
    metric = get_metric(name)
    rule = fit_decision(metric, "multiclass", 3, y, distorted)
    tuned, plain = metric.score(y, rule.apply(distorted)), metric.score(y, distorted.argmax(axis=1))
    assert tuned > plain + 0.05
    assert tuned >= metric.score(y, chances.argmax(axis=1)) - 0.005


def test_multipliers_are_near_the_best_of_a_full_grid() -> None:
    y, _, distorted = planted_chances(300)
    metric = get_metric("macro_f1")
    rule = fit_decision(metric, "multiclass", 3, y, distorted)
    steps = np.exp(np.linspace(-3, 4, 36))
    best = max(
        metric.score(y, ClassMultipliers((1.0, a, b)).apply(distorted)) for a, b in itertools.product(steps, steps)
    )
    assert metric.score(y, rule.apply(distorted)) > best - 0.015


def test_many_rows_are_sampled_with_a_fixed_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldsmith.problem.decisions.ASCENT_ROWS", 500)
    y, _, distorted = planted_chances(2000)
    metric = get_metric("macro_f1")
    rule = fit_decision(metric, "multiclass", 3, y, distorted)
    assert rule == fit_decision(metric, "multiclass", 3, y, distorted)
    assert metric.score(y, rule.apply(distorted)) > metric.score(y, distorted.argmax(axis=1)) + 0.05


def test_a_class_without_rows_is_not_favoured() -> None:
    y, chances, _ = planted_chances(300)
    chances, y = chances[y < 2], y[y < 2]
    rule = fit_decision(get_metric("balanced_accuracy"), "multiclass", 3, y, chances)
    assert (rule.apply(chances) == 2).sum() <= (chances.argmax(axis=1) == 2).sum()


def test_accuracy_of_several_classes_keeps_the_arg_max() -> None:
    y, _, distorted = planted_chances(300)
    assert fit_decision(get_metric("accuracy"), "multiclass", 3, y, distorted) == ClassMultipliers((1.0, 1.0, 1.0))


# ---- ordered classes ----


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(2, 12), weighted=st.booleans())
def test_cut_points_are_the_best_of_all(seed: int, n_rows: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    y, values = rng.integers(0, 3, n_rows), rng.normal(1, 1, n_rows).round(1)
    weight = rng.uniform(0.1, 2, n_rows) if weighted else None
    qwk = get_metric("qwk")
    rule = fit_decision(qwk, "multiclass", 3, y, values, weight)
    places = [*np.unique(values), 9.0]
    all_rules = [CutPoints(cuts) for cuts in itertools.combinations_with_replacement(places, 2)]
    best = max(qwk.score(y, each.apply(values), weight) for each in all_rules)
    assert qwk.score(y, rule.apply(values), weight) == pytest.approx(best, abs=1e-9)


def test_cut_points_beat_rounding_on_other_rows() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=4000)
    y = np.searchsorted([-1.2, -0.3, 0.4, 1.5], signal + 0.4 * rng.normal(size=4000))
    values = y.mean() + 0.5 * signal  # shrunk towards the mean: rounding never calls the outer classes
    fitted, other = slice(0, 2000), slice(2000, 4000)
    qwk = get_metric("qwk")
    rule = fit_decision(qwk, "multiclass", 5, y[fitted], values[fitted, None])
    assert isinstance(rule, CutPoints)
    assert len(rule.cuts) == 4 and list(rule.cuts) == sorted(rule.cuts)
    rounded = default_decision(qwk, "multiclass", 5).apply(values[other])
    assert qwk.score(y[other], rule.apply(values[other])) > qwk.score(y[other], rounded) + 0.1
