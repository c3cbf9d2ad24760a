"""What follows from measured times, on a clock that only the test moves."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from foldsmith.search import pace
from foldsmith.search.pace import HANGS_AFTER, LEAST_PATIENCE_SECONDS, LEAST_TRY_SECONDS, UNTIMED_SECONDS, Clock, Pace


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time."""
    now = SimpleNamespace(value=0.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(time=lambda: now.value))
    return lambda moment: setattr(now, "value", moment)


def timed(clock: Clock, n_slots: int = 1, n_folds: int = 4, fold: float = 10.0, finish: float | None = 1.0) -> Pace:
    """The pace of a family ``a`` whose folds take ``fold`` seconds."""
    made = Pace(clock, lambda family: n_slots, n_folds)
    made.note("a", fold, is_finish=False)
    if finish is not None:
        made.note("a", finish, is_finish=True)
    return made


def test_time_left_is_what_the_reserve_leaves(at: Callable[[float], None]) -> None:
    clock = Clock(100.0, lambda: 7.0)
    at(30.0)
    assert clock.left() == 63.0
    assert math.isinf(Clock().left())


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize(("n_slots", "n_folds", "expected"), [(1, 4, 41.0), (2, 4, 21.0), (2, 3, 21.0), (8, 4, 11.0)])
def test_remaining_counts_waves_of_folds(n_slots: int, n_folds: int, expected: float) -> None:
    assert timed(Clock(), n_slots).remaining("a", n_folds) == expected


@pytest.mark.usefixtures("at")
def test_a_finish_that_was_never_timed_is_half_a_fold() -> None:
    assert timed(Clock(), finish=None).remaining("a", 4) == 45.0
    assert timed(Clock(), finish=None).remaining("a", 0) == 5.0


def test_a_trial_fits_until_its_expected_end_passes_the_deadline(at: Callable[[float], None]) -> None:
    found = timed(Clock(100.0))
    at(59.0)
    assert found.fits("a")
    at(59.1)
    assert not found.fits("a")
    assert found.fits("a", 3)
    assert timed(Clock()).fits("a")


def test_before_anything_finished_every_family_is_tried(at: Callable[[float], None]) -> None:
    found = Pace(Clock(5.0), lambda family: 1, 3)
    assert found.fits("a")
    assert found.spent("a") == 0  # asking changes nothing
    found.remaining("a", 3)
    assert found.fits("b")
    at(5.0)
    assert not found.fits("b")


def test_once_something_finished_an_untimed_family_needs_time_for_its_imports(at: Callable[[float], None]) -> None:
    found = timed(Clock(100.0))
    at(100 - LEAST_TRY_SECONDS - 0.1)
    assert found.fits("b")
    at(100 - LEAST_TRY_SECONDS)
    assert not found.fits("b")


@pytest.mark.usefixtures("at")
def test_typical_times_are_recent_medians() -> None:
    found = Pace(Clock(), lambda family: 1, 3)
    assert found.fold_seconds("a") is None
    for seconds in [100.0] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 90.0]:
        found.note("a", seconds, is_finish=False)
    assert found.fold_seconds("a") == 5.5
    found.note("a", 4.0, is_finish=True)
    assert found.spent("a") == 500 + 45 + 90 + 4


def test_an_untimed_family_may_use_half_of_what_is_left(at: Callable[[float], None]) -> None:
    at(20.0)
    assert Pace(Clock(100.0), lambda family: 1, 3).trial_deadline("a") == 60.0
    assert timed(Clock(100.0)).trial_deadline("a") == 92.0
    assert timed(Clock()).trial_deadline("a") is None


def test_a_point_far_dearer_than_usual_is_cut_at_a_tenth_of_what_is_left(at: Callable[[float], None]) -> None:
    at(20.0)
    assert timed(Clock(1020.0), fold=1.0).trial_deadline("a") == 120.0
    assert timed(Clock(1020.0), fold=25.0).trial_deadline("a") == 20.0 + 2 * (4 * 25.0 + 1.0)


def test_fold_deadlines_share_a_trials_time(at: Callable[[float], None]) -> None:
    found = timed(Clock(100.0), n_slots=2)
    at(10.0)
    assert found.fold_deadline("a", 50.0, 4) == 30.0  # two waves
    assert found.fold_deadline("a", 50.0, 2) == 50.0
    assert found.fold_deadline("a", 5.0, 2) == 10.0  # late: at once, never in the past
    assert found.fold_deadline("a", None, 2) is None
    assert found.fold_deadline("a", 50.0, 0) is None


@pytest.mark.usefixtures("at")
def test_a_fold_that_takes_far_longer_than_usual_hangs() -> None:
    found = Pace(Clock(), lambda family: 1, 3)
    assert found.patience("a") == UNTIMED_SECONDS
    found.note("a", 1.0, is_finish=False)
    assert found.patience("a") == LEAST_PATIENCE_SECONDS
    found.note("b", 100.0, is_finish=False)
    assert found.patience("b") == HANGS_AFTER * 100.0


class TestReckoned:
    """Seconds of families that were never timed, from the shape of the table."""

    @staticmethod
    def make(clock: Clock) -> Pace:
        return Pace(clock, lambda family: 1, 4, {"a": 5.0, "b": 2.0, "c": 50.0}.get)

    @pytest.mark.usefixtures("at")
    def test_measured_times_correct_it_and_go_before_it(self) -> None:
        found = self.make(Clock())
        assert found.expected_seconds("b") == 2.0
        found.note("a", 10.0, is_finish=False)  # twice as slow as was reckoned
        assert found.expected_seconds("b") == 4.0
        assert found.expected_seconds("a") == 10.0
        assert found.expected_seconds("unknown") is None
        assert found.remaining("b", 4) == 4 * 4.0 + 2.0

    @pytest.mark.usefixtures("at")
    def test_the_first_may_always_start_what_cannot_finish_later_may_not(self) -> None:
        found = self.make(Clock(100.0))
        assert found.fits("c")
        found.note("a", 5.0, is_finish=False)
        found.note("a", 1.0, is_finish=True)
        assert not found.fits("c")
        assert found.fits("b")

    def test_a_family_that_needs_more_than_half_of_what_is_left_may_have_it(self, at: Callable[[float], None]) -> None:
        found = self.make(Clock(100.0))
        at(40.0)
        assert found.trial_deadline("b") == 40.0 + 30.0  # 10 s are expected, half of 60 s is more
        found.note("a", 15.0, is_finish=False)  # three times as slow as was reckoned
        assert found.trial_deadline("b") == pytest.approx(40.0 + 1.5 * (4 * 6.0 + 3.0))
        assert found.trial_deadline("c") == pytest.approx(40.0 + 0.9 * 60.0)
