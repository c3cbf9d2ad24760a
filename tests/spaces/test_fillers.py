import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.shifts import Shift
from foldsmith.spaces.fillers import find_fillers, without_fillers

RNG = np.random.default_rng(0)


def _found(values: NDArray[np.float64]) -> list[float]:
    """The fillers of one column, low and high."""
    return [float(v) for v in find_fillers(values.astype(np.float32)[:, None])[:, 0] if not np.isnan(v)]


@pytest.mark.parametrize(
    ("values", "filler", "expected"),
    [
        (RNG.normal(50, 10, 500), -999.0, [-999]),
        (RNG.normal(0, 1e5, 500), -999999.0, [-999999]),
        (RNG.uniform(0, 100, 500), 9999.0, [9999]),
        (RNG.uniform(20_000, 21_000, 500), -1.0, [-1]),
        (RNG.integers(1, 4, 500).astype(float), 99.0, [99]),
        (RNG.integers(0, 90, 500).astype(float), 999_999_999.0, [1e9]),  # as float32 has it
        (np.full(500, 3.0), -99.0, [-99]),
    ],
    ids=["-999", "-999999", "9999", "-1 far away", "99 of a scale", "many nines", "one other value"],
)
def test_fillers_are_found(values: NDArray[np.float64], filler: float, expected: list[float]) -> None:
    assert _found(np.concatenate([values, np.full(20, filler)])) == expected


def test_both_ends_can_have_one() -> None:
    values = np.concatenate([RNG.uniform(0, 10, 200), np.full(10, -99.0), np.full(10, 999.0)])
    assert _found(values) == [-99, 999]


@pytest.mark.parametrize(
    "values",
    [
        np.concatenate([np.zeros(400), RNG.lognormal(8, 1, 100)]),
        np.minimum(RNG.normal(90, 20, 500), 99.0),
        np.minimum(RNG.lognormal(6, 1, 5000), 999.0),
        RNG.choice([-1.0, 0.0, 1.0], 500),
        RNG.choice([-1.0, 1.0], 500),
        np.concatenate([RNG.uniform(0, 100, 500), np.full(20, -1.0)]),
        np.concatenate([RNG.normal(50, 10, 2000), [-999.0]]),
        np.concatenate([RNG.uniform(-2000, 2000, 500), np.full(20, -999.0)]),
        np.concatenate([RNG.uniform(0, 10, 500), np.full(20, 5000.0)]),
        RNG.integers(0, 10, 500).astype(float),
        np.full(500, -999.0),
        np.full(500, np.nan),
        np.zeros(0),
    ],
    ids=[
        "zero-inflated",
        "capped at 99",
        "capped with a tail",
        "signs",
        "two signs",
        "-1 beside its neighbours",
        "a single wild value",
        "inside the range",
        "no such number",
        "digits up to 9",
        "nothing else",
        "all missing",
        "no rows",
    ],
)
def test_numbers_that_mean_themselves_stay(values: NDArray[np.float64]) -> None:
    assert _found(values) == []


def test_fillers_become_missing_in_their_own_column_only() -> None:
    numbers = np.array([[-999, 1], [5, -999], [np.nan, 2]], np.float32)
    fillers = np.array([[-999, np.nan], [np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(without_fillers(numbers, fillers), [[np.nan, 1], [5, -999], [np.nan, 2]])


def test_fillers_of_a_shifted_column_are_told_by_their_true_value() -> None:
    shift = Shift(offset=1.6e9)
    values = np.concatenate([1.6e9 + RNG.integers(0, 100, 500), np.full(20, -1.0)])
    stored = shift.reduce(values).astype(np.float32)[:, None]
    found = find_fillers(stored, [shift])
    assert found[0, 0] == stored[-1, 0]
    assert np.isnan(without_fillers(stored, found)).sum() == 20
