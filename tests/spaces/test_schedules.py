import math

import pytest

from foldsmith.spaces.schedules import CYCLE_ENDS, coslog4, flat_cos, warm_cosine


def test_coslog4_has_four_cycles_of_doubling_length() -> None:
    # The k-th cycle spans log2(1 + 15 t) from k to k + 1: it peaks where that is k + 1/2.
    for cycle, end in enumerate(CYCLE_ENDS):
        assert coslog4(end) == pytest.approx(0, abs=1e-12)
        assert coslog4((2 ** (cycle + 0.5) - 1) / 15) == pytest.approx(1)
    assert coslog4(0) == 0
    assert coslog4((2**0.25 - 1) / 15) == pytest.approx(0.5)


def test_flat_cos_is_flat_and_then_a_cosine() -> None:
    assert [flat_cos(t) for t in (0.0, 0.3, 0.49)] == [1.0, 1.0, 1.0]
    assert flat_cos(0.75) == pytest.approx(0.5)
    assert flat_cos(5 / 6) == pytest.approx(0.5 * (1 + math.cos(2 * math.pi / 3)))
    assert flat_cos(1.0) == pytest.approx(0)


def test_warm_cosine_rises_within_two_hundredths() -> None:
    assert warm_cosine(0.01) == pytest.approx(0.5)
    assert warm_cosine(0.5) == pytest.approx(0.5)
    assert warm_cosine(1.0) == pytest.approx(0)
