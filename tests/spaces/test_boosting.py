import numpy as np
import pytest

from foldsmith.spaces.boosting import PATIENCE, CurveWatch, as_columns


def _watch(greater_is_better: bool = False, late: bool = False) -> CurveWatch:
    return CurveWatch(greater_is_better, lambda: late)


def test_patience_runs_out_after_the_best_round_and_grows_with_it() -> None:
    watch = _watch()
    values = [1.0 - 0.001 * step for step in range(100)] + [1.0] * 1000
    stopped = next(number for number, value in enumerate(values, 1) if watch.add(value))
    assert watch.best_round == 100
    assert stopped == 100 + PATIENCE + 30
    assert watch.stopped_by == "patience"
    assert len(watch.curve) == stopped


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
