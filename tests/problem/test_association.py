"""The association's z is what shuffling really gives."""

import numpy as np
import pytest

from foldsmith.problem.association import associate


@pytest.mark.parametrize("n_classes", [0, 3])
def test_z_of_shuffled_rows_has_mean_0_and_variance_1(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 80)
    predictions = rng.dirichlet([1, 2, 3], 80) if n_classes else rng.gamma(2, size=(80, 1))
    z = [associate(rng.permutation(predictions), y, n_classes).z for _ in range(2000)]
    assert abs(np.mean(z)) < 0.08 and 0.9 < np.std(z) < 1.1


def test_the_sign_and_the_order_of_classes() -> None:
    y = np.tile([0, 1, 2], 30)
    chances = np.eye(3)[y] * 0.6 + 0.1
    assert associate(chances, y, 3).z > 8 and associate(chances, y, 3).order == (0, 1, 2)
    assert associate(chances[:, [2, 0, 1]], y, 3).order == (1, 2, 0)
    assert associate(1 - y[:, None], y, 0).z < -5


def test_a_constant_has_none() -> None:
    y = np.arange(10) % 2
    assert associate(np.full((10, 1), 0.5), y, 0).z == 0
