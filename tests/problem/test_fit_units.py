"""The units that families fit values in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldsmith.problem.errors import InputError
from foldsmith.problem.fit_units import BAND, FitUnits, refuse_unfit


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(0).normal(size=200) * 29.0


@given(offset=st.floats(-1e12, 1e12), factor=st.floats(1e-6, 1e6))
def test_a_prediction_in_float32_keeps_six_digits_of_the_spread(offset: float, factor: float) -> None:
    y = np.random.default_rng(0).normal(size=200) * factor + offset
    units = FitUnits.of(y, log1p=False)
    restored = units.to_output(units.to_fit(y).astype(np.float32))
    exact = np.spacing(np.abs(y).max())  # what float64 itself can tell apart
    assert np.abs(restored - y).max() <= 1e-6 * factor + 4 * exact


def test_epoch_seconds_stay_distinct(y: np.ndarray) -> None:
    seconds = 1.7e9 + y
    assert len(np.unique(seconds.astype(np.float32))) <= 3
    units = FitUnits.of(seconds, log1p=False)
    assert len(np.unique(units.to_output(units.to_fit(seconds).astype(np.float32)))) == 200


def test_huge_values_are_fitted_in_ordinary_units() -> None:
    y = np.array([-1e40, 0.0, 1e40, 5e39])
    units = FitUnits.of(y, log1p=False)
    assert np.abs(units.to_fit(y)).max() < 3
    np.testing.assert_allclose(units.to_output(units.to_fit(y)), y, atol=1e-6 * y.std())


def test_predictions_stay_in_the_band(y: np.ndarray) -> None:
    units = FitUnits.of(y, log1p=False)
    low, high = units.to_output(np.array([-1e9, 1e9]))
    margin = BAND * (y.max() - y.min())
    assert high == pytest.approx(y.max() + margin)
    assert low == pytest.approx(y.min() - margin)


def test_what_is_not_finite_is_not_hidden_by_the_band(y: np.ndarray) -> None:
    units = FitUnits.of(y, log1p=False)
    restored = units.to_output(np.array([np.nan, np.inf, -np.inf]))
    assert not np.isfinite(restored).any()


def test_logarithms_come_back_as_values_of_zero_or_more() -> None:
    y = np.array([0.0, 1.0, 10.0, 4614.0])
    units = FitUnits.of(y, log1p=True)
    np.testing.assert_allclose(units.to_output(units.to_fit(y)), y, rtol=1e-5, atol=1e-5)
    assert units.to_output(np.array([-100.0]))[0] == 0
    highest = units.to_output(np.array([100.0]))[0]
    assert np.log1p(highest) == pytest.approx((1 + BAND) * np.log1p(4614.0))


def test_equal_values_are_only_shifted() -> None:
    units = FitUnits.of([5.0, 5.0], log1p=False)
    assert units.to_fit([5.0]) == [0.0]
    assert units.to_output(np.array([0.0])) == [5.0]


def test_a_record_brings_the_units_back(y: np.ndarray) -> None:
    units = FitUnits.of(y, log1p=False)
    assert FitUnits.from_json(units.to_json()) == units
    assert FitUnits.from_json(FitUnits().to_json()) == FitUnits()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.0, -1e200, 5.0]), r"target 'y' holds -1e\+200 in row 2: its values are too large"),
        (np.array([1e-150, 2e-150, 3e-150]), r"target 'y' holds 3e-150 in row 3: its values are too little apart"),
        (1_700_000_000_000_000_000 + np.arange(9), r"such as 17000000000000000\d\d in row \d that differ behind"),
    ],
)
def test_values_that_no_family_can_fit_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        refuse_unfit("y", values)


def test_ordinary_and_large_values_are_taken() -> None:
    for values in (np.array([1e40, -1e40]), np.array([1e-40, 2e-40]), 1_700_000_000 + np.arange(9), np.array([5, 5])):
        refuse_unfit("y", values)
