"""The round of a fold comes from the other folds' curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foldsmith.search.rounds import chosen_round, inner_split

curves = st.lists(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12).map(lambda values: np.array(values)),
    min_size=2,
    max_size=5,
)


def test_best_point_of_the_mean_of_the_others() -> None:
    a, b, own = np.array([4.0, 1.0, 2.0]), np.array([4.0, 3.0, 1.0]), np.array([0.0, 9.0, 9.0])
    # (a + b) / 2 = 4, 2, 1.5: the lowest is round 3, though a alone stops at 2 and the fold itself at 1
    assert chosen_round([a, b, own], 2, greater_is_better=False) == 3
    assert chosen_round([a, b, own], 2, greater_is_better=True) == 1


def test_first_of_equal_rounds() -> None:
    flat = np.ones(5)
    assert chosen_round([flat, flat], 0, greater_is_better=True) == 1


def test_a_short_curve_goes_on_at_its_last_value() -> None:
    short, long, own = np.array([5.0, 4.0]), np.array([1.0, 1.5, 3.0, 3.0]), np.zeros(4)
    # padded with 4: means 3, 2.75, 3.5, 3.5
    assert chosen_round([short, long, own], 2, greater_is_better=False) == 2


def test_capped_at_the_rounds_that_the_fold_has() -> None:
    assert chosen_round([np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0])], 1, greater_is_better=False) == 2


def test_nan_is_never_the_best() -> None:
    other, own = np.array([np.nan, 2.0, 1.0]), np.ones(3)
    assert chosen_round([other, own], 1, greater_is_better=False) == 3


def test_earlier_folds_only() -> None:
    early, late, own = np.array([1.0, 2.0, 3.0]), np.array([9.0, 0.0, 9.0]), np.ones(3)
    assert chosen_round([early, own, late], 1, greater_is_better=False, earlier_only=True) == 1
    assert chosen_round([early, own, late], 1, greater_is_better=False) == 2


@given(curves, st.data())
def test_own_curve_does_not_choose(found: list[NDArray[np.float64]], data: st.DataObject) -> None:
    fold = data.draw(st.integers(0, len(found) - 1))
    better = data.draw(st.booleans())
    length = len(found[fold])
    other = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=length, max_size=length)))
    round = chosen_round(found, fold, greater_is_better=better)
    assert 1 <= round <= length
    assert chosen_round([*found[:fold], other, *found[fold + 1 :]], fold, greater_is_better=better) == round


@given(curves, st.data())
def test_later_folds_do_not_choose_in_time_plans(found: list[NDArray[np.float64]], data: st.DataObject) -> None:
    fold = data.draw(st.integers(1, len(found) - 1))
    round = chosen_round(found, fold, greater_is_better=True, earlier_only=True)
    changed = [curve if n <= fold else 1 - curve for n, curve in enumerate(found)]
    assert chosen_round(changed, fold, greater_is_better=True, earlier_only=True) == round
    assert chosen_round(found[: fold + 1], fold, greater_is_better=True, earlier_only=True) == round


@pytest.mark.parametrize("n_rows", [2, 3, 40, 101])
def test_inner_split_parts_the_train_rows(n_rows: int) -> None:
    rows = np.arange(n_rows) * 3 + 7
    fit_rows, stop_rows = inner_split(rows, seed=4)
    assert sorted([*fit_rows, *stop_rows]) == rows.tolist()
    assert len(stop_rows) == max(1, round(0.15 * n_rows))
    assert (np.diff(fit_rows) > 0).all() and (np.diff(stop_rows) > 0).all()


def test_inner_split_follows_its_seed() -> None:
    rows = np.arange(50)
    assert inner_split(rows, 1)[1].tolist() == inner_split(rows, 1)[1].tolist()
    assert inner_split(rows, 1)[1].tolist() != inner_split(rows, 2)[1].tolist()
