"""No family may know what it must not: labels of pure noise stay at chance, and rows outside train change nothing.

Every family of the registry that is installed is asked, so that a new one is covered when it is entered.
"""

import dataclasses
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.methods import ensemble
from foldsmith.ensembling.task import BlendTask
from foldsmith.problem.columns import Column
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.search.rounds import chosen_round
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask
from foldsmith.spaces.knn import KNN
from foldsmith.spaces.registry import available_families, get_family
from foldsmith.spaces.toy import GOALS, Problem, make_problem

FAMILIES = available_families(by_default=False)[0]
QUICK = {"MAX_ROUNDS": 60, "N_TREES": 50, "TUNING_ROWS": 100}
BUDGET_SECONDS = 30.0  # of a search; nets choose their size and epochs by it
FOLD_SECONDS = 1.0  # for a family that has other words for its rounds

N_ROWS, N_FOLDS = 600, 5
N_SE = 3.0  # standard errors that noise may stray; a family whose rounds follow the clock strays anew in each run


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in map(get_family, FAMILIES):
        for module in {kind.__module__ for kind in type(family).__mro__ if kind.__module__.startswith("foldsmith")}:
            _hurry(sys.modules[module], monkeypatch)


def _hurry(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="module")
def noise() -> tuple[Table, NDArray[np.int32], FoldPlan]:
    """Features of many kinds, among them a category of many levels and columns that almost name the row; coin flips."""
    rng = np.random.default_rng(20)
    frame = pd.DataFrame(rng.normal(size=(N_ROWS, 4)), columns=["a", "b", "c", "d"])
    frame.loc[rng.random(N_ROWS) < 0.1, "b"] = None
    frame["few"] = rng.choice(["x", "y", "z"], N_ROWS)
    frame["many"] = [f"level {level}" for level in rng.integers(120, size=N_ROWS)]
    frame["near id"] = [f"id {number}" for number in rng.permutation(N_ROWS) // 2]
    frame["number"] = np.arange(N_ROWS) + 0.25
    columns = [Column(str(name), "categorical" if frame[name].dtype == "str" else "numeric", "") for name in frame]
    table = type_frame(frame, build_schema(frame, columns))
    y = rng.permutation(np.arange(N_ROWS) % 2).astype(np.int32)
    # As many of both classes in each fold: else the share of the train rows alone would say something of the others.
    folds = np.zeros(N_ROWS, np.int16)
    for label in (0, 1):
        folds[y == label] = rng.permutation(np.arange((y == label).sum()) % N_FOLDS)
    return table, y, FoldPlan("stratified", N_FOLDS, 1, 0, folds[None])


def out_of_fold(
    family: Family, table: Table, y: NDArray[np.int32], plan: FoldPlan, *, sees_all: bool = False
) -> NDArray[np.float32]:
    """Each row predicted by a model without it, boosting rounds chosen by the other folds, as a search does it."""
    facts = Facts(GOALS["auc"], table.schema, table.n_rows, BUDGET_SECONDS)
    params = family.defaults(facts)[0]
    fitted: list[FittedFold] = []
    for fold in range(N_FOLDS):
        train, valid = plan.split(0, fold)
        train = np.arange(len(y)) if sees_all else train
        task = FoldTask(facts.goal, table, y, train, valid, params, seed=fold, fold_key=str(fold))
        fitted.append(family.fit_fold(dataclasses.replace(task, deadline=time.time() + FOLD_SECONDS)))
    curves = [one.curve for one in fitted if one.curve is not None]
    oof = np.full((len(y), 1), np.nan, np.float32)
    for fold, one in enumerate(fitted):
        valid = plan.split(0, fold)[1]
        round = chosen_round(curves, fold, greater_is_better=True) if curves else None
        oof[valid] = one.predict(table.take(valid), round)
    return oof


def standard_errors(oof: NDArray[np.float32], y: NDArray[np.int32], plan: FoldPlan) -> float:
    """How many standard errors the mean AUC of the folds lies above one half; ties count half.

    The variance of an AUC without any relation is ``(n0 + n1 + 1) / (12 n0 n1)`` (Mann & Whitney 1947). Folds are not
    independent: where a model weighs the labels of similar rows, fold a owes to fold b what b owes to a, and the mean
    has twice the variance that independent folds would give it.
    """
    from sklearn.metrics import roc_auc_score

    values, variances = [], []
    for fold in range(N_FOLDS):
        rows = plan.split(0, fold)[1]
        ones = int(y[rows].sum())
        values.append(roc_auc_score(y[rows], oof[rows, 0]))
        variances.append((len(rows) + 1) / (12 * ones * (len(rows) - ones)))
    return float((np.mean(values) - 0.5) / (np.sqrt(2 * np.sum(variances)) / N_FOLDS))


@pytest.fixture(scope="module")
def kept() -> dict[str, NDArray[np.float32]]:
    """Predictions of the families so far, for the blend."""
    return {}


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_of_noise_stay_at_chance(
    name: str, noise: tuple[Table, NDArray[np.int32], FoldPlan], kept: dict[str, NDArray[np.float32]]
) -> None:
    table, y, plan = noise
    family = get_family(name)
    if reason := family.accepts(Facts(GOALS["auc"], table.schema, table.n_rows)):
        pytest.skip(reason)
    oof = out_of_fold(family, table, y, plan)
    assert np.isfinite(oof).all()
    assert abs(standard_errors(oof, y, plan)) < N_SE
    kept[name] = oof


def test_a_blend_of_noise_is_at_chance_where_it_is_nested(
    noise: tuple[Table, NDArray[np.int32], FoldPlan], kept: dict[str, NDArray[np.float32]]
) -> None:
    table, y, plan = noise
    for name in ("knn", "linear", "extra_trees", "lightgbm"):  # when this test runs alone
        if name not in kept:
            kept[name] = out_of_fold(get_family(name), table, y, plan)
    # More members than families have: chance finds some that do well on all rows together.
    rng = np.random.default_rng(0)
    members = kept | {f"noise {n}": rng.random((N_ROWS, 1), np.float32) for n in range(20)}
    result = ensemble("greedy", members, BlendTask(Judge(get_metric("auc"), "binary", 2, y, plan)))
    assert abs(standard_errors(result.nested_oof, y, plan)) < N_SE
    flattering = (result.in_sample - 0.5) / np.sqrt((N_ROWS + 1) / (3 * N_ROWS**2))
    assert flattering > 2, "the blend's score on the rows that chose it is what the nested one is there to replace"


@pytest.mark.parametrize("name", ["knn", "extra_trees", "lightgbm"])
def test_a_leak_would_be_seen(name: str, noise: tuple[Table, NDArray[np.int32], FoldPlan]) -> None:
    """Fitted on the rows that it predicts, a family passes the bound by far: the test above can fail."""
    assert standard_errors(out_of_fold(get_family(name), *noise, sees_all=True), *noise[1:]) > 2 * N_SE


class Peeking(KNN):
    """A family with the usual mistake: missing values become the median of all rows."""

    def fit_fold(self, task: FoldTask) -> FittedFold:
        numeric = task.table.numeric.copy()
        for column in numeric.T:
            column[np.isnan(column)] = np.nanmedian(column)
        return super().fit_fold(dataclasses.replace(task, table=dataclasses.replace(task.table, numeric=numeric)))


def poisoned(problem: Problem, rows: NDArray[np.int64]) -> Table:
    """The table with absurd values in some rows: numbers a billion times too large or missing, other levels, words."""
    table, rng = problem.table, np.random.default_rng(4)
    numeric, codes, datetimes = table.numeric.copy(), table.codes.copy(), table.datetimes.copy()
    numeric[rows] = rng.choice([np.nan, 1e9, -1e9, 3e38], size=numeric[rows].shape)
    codes[rows] = rng.integers(-1, 3, size=codes[rows].shape)
    datetimes[rows] = rng.integers(-(2**60), 2**60, size=datetimes[rows].shape)
    texts = np.array(table.text(0), dtype=object)
    texts[rows] = "bear trap " * 7
    return dataclasses.replace(
        table, numeric=numeric, codes=codes, datetimes=datetimes, texts=(pa.array(texts.tolist()),)
    )


def spied(family: Family, problem: Problem) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predictions of the clean table by a model of the clean one, and by one of a table poisoned outside train.

    Labels outside train are absurd as well, except that a learning curve must be able to read those of the validation
    rows: there they are shuffled, and an early round is compared, before the curves can end differently.
    """
    outside = np.setdiff1d(np.arange(problem.table.n_rows), problem.train_rows)
    y = problem.y.copy()
    y[outside] = -(10**6) if problem.goal.is_classification else np.nan
    if family.stopping == "cv-curve":
        y[problem.valid_rows] = problem.y[problem.valid_rows][::-1]
    params = family.defaults(dataclasses.replace(problem.facts, budget_seconds=BUDGET_SECONDS))[0]
    clean = family.fit_fold(problem.task(params))
    spied_on = family.fit_fold(problem.task(params, y=y, table=poisoned(problem, outside)))
    curves = [fitted.curve for fitted in (clean, spied_on)]
    round = min((5, *(len(curve) for curve in curves if curve is not None))) if curves[0] is not None else None
    return clean.predict(problem.table, round), spied_on.predict(problem.table, round)


@pytest.mark.parametrize("goal", ["multiclass", "squared"])
@pytest.mark.parametrize("name", FAMILIES)
def test_rows_outside_train_are_never_fitted_on(name: str, goal: str) -> None:
    family, problem = get_family(name), make_problem(goal, n_rows=240)
    if reason := family.accepts(problem.facts):
        pytest.skip(reason)
    np.testing.assert_array_equal(*spied(family, problem))


def test_a_family_that_peeks_is_caught() -> None:
    clean, spied_on = spied(Peeking(), make_problem("squared", n_rows=240))
    assert not np.array_equal(clean, spied_on)
