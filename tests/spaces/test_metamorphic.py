"""Units, offsets, names and orders say nothing about the data: from the csv file to the score, they change nothing.

Every family that takes part by default is asked, with few rounds or epochs.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.scoring import score_oof
from foldsmith.search.jobs import model_outputs
from foldsmith.search.rounds import chosen_round
from foldsmith.spaces.family import Facts, FoldTask
from foldsmith.spaces.registry import available_families, get_family

FAMILIES = available_families()[0]
QUICK = {"MAX_ROUNDS": 60, "N_TREES": 50, "TUNING_ROWS": 100, "ROW_BUDGET": 1}
EPOCHS = {"realmlp": 16, "tabm": 8}
N_ROWS, N_FOLDS = 150, 3
BUDGET_SECONDS = 5.0
TOLERANCE = {"lightgbm_fe": 0.12}
"""Generated columns are sums, products and ratios of columns in their own units, as people write them: other units are
other candidates, of which a fold chooses. All other families keep to one per cent."""

NUMBERS = settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
offsets = st.floats(-1e12, 1e12)
factors = st.floats(-6, 6).map(lambda power: 10.0**power)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in map(get_family, FAMILIES):
        for module in {kind.__module__ for kind in type(family).__mro__ if kind.__module__.startswith("foldsmith")}:
            for name, value in QUICK.items():
                if hasattr(sys.modules[module], name):
                    monkeypatch.setattr(sys.modules[module], name, value)


@cache
def usual() -> pd.DataFrame:
    """A table with a normal, an even and a counted column, a category, and a target that depends on all of them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.arange(N_ROWS),
            "a": rng.normal(size=N_ROWS),
            "b": rng.uniform(0, 1, N_ROWS),
            "c": rng.integers(0, 9, N_ROWS),
            "k": rng.choice(list("xyz"), N_ROWS),
        }
    )
    signal = 3 * frame["a"] + 2 * np.sin(5 * frame["b"]) + 0.5 * frame["c"] + (frame["k"] == "x")
    return frame.assign(y=signal + 0.5 * rng.normal(size=N_ROWS))


@pytest.fixture
def problem_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[pd.DataFrame], Problem]:
    """Sets up a train file, with its first rows as the test file."""

    def make(train: pd.DataFrame) -> Problem:
        home = tmp_path_factory.mktemp("units")
        train.to_csv(home / "train.csv", index=False)
        test = train.drop(columns="y")[:20].assign(id=lambda frame: frame["id"] + 1000)
        test.to_csv(home / "test.csv", index=False)
        init(home / "comp", request(home))
        return open_problem(home / "comp", freeze=True)

    def request(home: Path) -> SetupRequest:
        return SetupRequest(
            home / "train.csv", home / "test.csv", "y", n_folds=N_FOLDS, metric="rmse", task="regression"
        )

    return make


ProblemOf = Callable[[pd.DataFrame], Problem]


def oof_error(problem: Problem, name: str, seed: int = 0, order: NDArray[np.int64] | None = None) -> float:
    """The out-of-fold RMSE of a family's first default.

    Args:
        order: the rows of the table are given to the family in this order; the folds stay those of the plan.
    """
    family = get_family(name, problem.folder.code)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows, BUDGET_SECONDS)
    params = dict(family.defaults(facts)[0])
    if name in EPOCHS:
        params["epochs"] = EPOCHS[name]
    order = np.arange(N_ROWS) if order is None else order
    place = np.argsort(order)
    table, y = problem.data.train.take(order), problem.fit_y[order]
    fitted = []
    for fold in range(N_FOLDS):
        train, valid = (np.sort(place[rows]) for rows in problem.plan.split(0, fold))
        task = FoldTask(
            problem.goal, table, y, train, valid, params, seed=seed + fold, fold_key=f"{problem.contract}{fold}"
        )
        fitted.append(family.fit_fold(task))
    curves = [one.curve for one in fitted if one.curve is not None]
    oof = np.full((N_ROWS, 1), np.nan)
    for fold, one in enumerate(fitted):
        valid = problem.plan.split(0, fold)[1]
        number = chosen_round(curves, fold, greater_is_better=False) if curves else None
        oof[valid] = model_outputs(one, problem.data.train.take(valid), number, problem.units)
    return score_oof(problem.judge, oof).value


@cache
def known_error(name: str) -> dict[int, float]:
    """Errors by seed on the usual table, filled by :func:`usual_error`."""
    return {}


def usual_error(problem_of: ProblemOf, name: str, seed: int = 0) -> float:
    """The error on the usual table."""
    known = known_error(name)
    if seed not in known:
        known[seed] = oof_error(problem_of(usual()), name, seed)
    return known[seed]


def check(problem_of: ProblemOf, name: str, frame: pd.DataFrame, factor: float = 1.0) -> None:
    """The error on ``frame``, divided by ``factor``, is the usual one."""
    expected = usual_error(problem_of, name)
    found = oof_error(problem_of(frame), name) / factor
    assert found == pytest.approx(expected, rel=TOLERANCE.get(name, 0.01))


@pytest.mark.parametrize("name", FAMILIES)
@NUMBERS
@given(offset=offsets, factor=factors)
@example(offset=1e12, factor=1.0)
@example(offset=0.0, factor=1e-6)
@example(offset=0.0, factor=1e6)
def test_the_targets_unit_does_not_matter(problem_of: ProblemOf, name: str, offset: float, factor: float) -> None:
    frame = usual()
    spread = max(factor, 1e-9 * abs(offset))  # float64 itself has no digits for less
    check(problem_of, name, frame.assign(y=frame["y"] * spread + offset), spread)


@pytest.mark.parametrize("name", FAMILIES)
@NUMBERS
@given(column=st.sampled_from(["a", "b", "c"]), offset=offsets, factor=factors)
@example(column="c", offset=1.6e9, factor=1.0)
@example(column="a", offset=1e12, factor=1.0)
@example(column="b", offset=0.0, factor=1e-6)
def test_a_columns_unit_does_not_matter(
    problem_of: ProblemOf, name: str, column: str, offset: float, factor: float
) -> None:
    frame = usual()
    spread = max(factor, 1e-9 * abs(offset))
    check(problem_of, name, frame.assign(**{column: frame[column] * spread + offset}))


@pytest.mark.parametrize("name", FAMILIES)
def test_names_of_columns_do_not_matter(problem_of: ProblemOf, name: str) -> None:
    renamed = usual().rename(columns={"a": "größe, in m", "b": "a", "k": "{k}"})
    assert oof_error(problem_of(renamed), name) == pytest.approx(usual_error(problem_of, name), rel=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_orders_of_columns_and_rows_matter_no_more_than_seeds(problem_of: ProblemOf, name: str) -> None:
    """A family without randomness gives the same error; one with it strays no further than by other seeds."""
    by_seed = [usual_error(problem_of, name, seed) for seed in (0, 10, 20, 30)]
    margin = 5 * float(np.std(by_seed)) + 1e-4
    order = np.random.default_rng(1).permutation(N_ROWS)
    reordered = usual()[["k", "id", "c", "b", "a", "y"]]
    for error in (
        oof_error(problem_of(usual()), name, order=order),
        oof_error(problem_of(reordered), name),
    ):
        assert error == pytest.approx(np.mean(by_seed), abs=margin)
