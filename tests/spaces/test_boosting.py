import importlib
from dataclasses import replace

import numpy as np
import pytest

from foldsmith.spaces.boosting import FOLDS_PER_BUDGET, PATIENCE, USUAL_RATE, CurveWatch, as_columns, haste
from foldsmith.spaces.costs import fold_seconds
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.toy import make_problem


def _watch(greater_is_better: bool = False, late: bool = False) -> CurveWatch:
    return CurveWatch(greater_is_better, lambda: late)


def test_patience_runs_out_after_the_best_round_and_grows_with_it() -> None:
    watch = _watch()
    values = [1.0 - 0.001 * step for step in range(100)] + [1.0] * 1000
    stopped = next(number for number, value in enumerate(values, 1) if watch.add(value))
    assert watch.best_round == 100
    assert stopped == 100 + PATIENCE + 20
    assert watch.stopped_by == "patience"
    assert len(watch.curve) == stopped


def test_a_slower_learner_has_more_patience_a_quicker_one_no_less() -> None:
    n_rounds = {}
    for rate in (USUAL_RATE / 5, USUAL_RATE, 2 * USUAL_RATE):
        watch = CurveWatch(False, lambda: False, rate)
        n_rounds[rate] = next(number for number in range(1, 1000) if watch.add(float(number)))
    assert list(n_rounds.values()) == [2 + 5 * PATIENCE, 2 + PATIENCE, 2 + PATIENCE]


def test_haste_is_a_folds_time_beside_its_part_of_the_budget() -> None:
    facts = make_problem("binary").facts
    seconds = fold_seconds("lightgbm", facts)
    assert haste("lightgbm", facts) == 1
    for budget, expected in ((1e6, 1.0), (seconds * FOLDS_PER_BUDGET, 1.0), (seconds * FOLDS_PER_BUDGET / 4, 4.0)):
        assert haste("lightgbm", replace(facts, budget_seconds=budget)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "rate", "quickest"),
    [("lightgbm", "learning_rate", 0.1), ("xgboost", "eta", 0.1), ("catboost", "learning_rate", 0.15)],
)
@pytest.mark.parametrize("goal", ["binary", "absolute"])
def test_in_haste_a_quicker_default_stands_before_the_others(name: str, rate: str, quickest: float, goal: str) -> None:
    facts, family = make_problem(goal).facts, get_family(name)
    usual = family.defaults(facts)
    short = replace(facts, budget_seconds=fold_seconds(name, facts) * FOLDS_PER_BUDGET / 10)
    quick, *others = family.defaults(short)
    assert others == usual
    assert quick[rate] == quickest
    family.space(short).check(quick)
    assert family.defaults(replace(facts, budget_seconds=1e6)) == usual


def test_greater_can_be_better() -> None:
    watch = _watch(greater_is_better=True)
    for value in (0.6, 0.8, 0.7):
        watch.add(value)
    assert watch.best_round == 2


def test_a_tie_keeps_the_earlier_round() -> None:
    watch = _watch()
    for value in (0.5, 0.5, 0.5):
        watch.add(value)
    assert watch.best_round == 1


def test_a_curve_that_starts_as_nan_still_stops() -> None:
    watch = _watch()
    assert any(watch.add(float("nan")) for _ in range(PATIENCE + 5))


def test_lateness_stops_after_the_round() -> None:
    watch = _watch(late=True)
    assert watch.add(1.0)
    assert watch.stopped_by == "deadline"
    assert len(watch.curve) == 1


@pytest.mark.parametrize(("raw", "n_outputs"), [(np.arange(4.0), 1), (np.arange(6.0).reshape(2, 3), 3)])
def test_predictions_become_float32_columns(raw: np.ndarray, n_outputs: int) -> None:
    columns = as_columns(raw, n_outputs)
    assert columns.dtype == np.float32
    assert columns.shape == (raw.size // n_outputs, n_outputs)


def test_a_lucky_start_of_an_auc_ends_nothing_while_the_loss_still_falls() -> None:
    """Few trees rank well by chance: the best of the first rounds is not beaten for a hundred rounds."""
    aucs = [0.86] + [0.80 + 0.0007 * n for n in range(100)]  # passes 0.86 again at round 87
    alone, watched = _watch(True), _watch(True)
    assert next(n for n, auc in enumerate(aucs, 1) if alone.add(auc)) < 30
    assert not any(watched.add(auc, loss=0.69 - 0.002 * n) for n, auc in enumerate(aucs))
    assert watched.best_round == len(aucs)
    flat = [watched.add(0.8, loss=0.6) for _ in range(60)]
    assert any(flat) and watched.stopped_by == "patience"


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_auc_curves_are_aucs_though_the_loss_is_watched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.metrics import roc_auc_score

    family = get_family(name)
    module = importlib.import_module(type(family).__module__)
    monkeypatch.setattr(module, "MAX_ROUNDS", 30)
    problem = make_problem("binary")
    problem = replace(problem, goal=replace(problem.goal, monitor="auc"))
    fitted = family.fit_fold(problem.task(family.defaults(problem.facts)[0]))
    assert fitted.curve is not None
    predicted = fitted.predict(problem.table.take(problem.valid_rows))
    assert fitted.curve[-1] == pytest.approx(roc_auc_score(problem.y[problem.valid_rows], predicted[:, 0]), abs=1e-4)
