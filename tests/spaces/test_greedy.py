"""The greedy rule of portfolios, by hand-made tables with known answers."""

import numpy as np
import pytest

from foldsmith.spaces.greedy import greedy_list, greedy_order, scaled_ranks


def test_ranks_run_from_the_best_to_the_worst() -> None:
    ranks = scaled_ranks(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 1.0]]))
    np.testing.assert_allclose(ranks, [[1.0, 0.0, 0.5], [0.75, 0.75, 0.0]])


def test_failures_are_worst_and_the_unknown_is_neither() -> None:
    np.testing.assert_allclose(scaled_ranks(np.array([[np.inf, 1.0, np.nan, 2.0]])), [[1.0, 0.0, 0.5, 0.5]])
    np.testing.assert_allclose(scaled_ranks(np.array([[np.nan, 7.0]])), [[0.5, 0.5]])


def test_the_list_complements_itself() -> None:
    """The second one is best where the first is not, though the third has the better mean."""
    ranks = np.array([[0.0, 1.0, 0.3], [0.1, 1.0, 0.2], [0.8, 0.0, 0.6]])
    assert greedy_order(ranks, [1, 1, 1]) == [0, 1]


def test_it_stops_when_nothing_is_gained() -> None:
    assert greedy_order(np.array([[0.0, 0.5], [0.0, 0.5]]), [1, 1]) == [0]


def test_of_equals_the_quickest_is_taken() -> None:
    ranks = np.array([[0.2, 0.2, 0.2], [0.2, 0.204, 0.9]])
    assert greedy_order(ranks, [9.0, 1.0, 0.1])[0] == 1


def test_the_longer_list_goes_on_with_what_is_left() -> None:
    ranks = np.array([[0.0, 0.25, 1.0, 0.75], [0.0, 0.25, 1.0, 0.75]])
    assert greedy_list(ranks, [1, 1, 1, 1], 10) == [0, 1, 3, 2]
    assert greedy_list(ranks, [1, 1, 1, 1], 2) == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_each_prefix_is_no_worse_than_any_single_swap_of_its_last(seed: int) -> None:
    """What makes the rule greedy: no other candidate, taken last, would be better by more than the tolerance."""
    ranks = np.random.default_rng(seed).random((6, 12))
    order = greedy_order(ranks, [1.0] * 12)
    assert len(set(order)) == len(order)
    for length in range(1, len(order) + 1):
        reached = ranks[:, order[:length]].min(axis=1).mean()
        others = [ranks[:, [*order[: length - 1], other]].min(axis=1).mean() for other in range(12)]
        assert reached <= min(others) + 0.005
