from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.spaces.scaling import CLIP, Scaler, Scaling


def _numbers() -> NDArray[np.float32]:
    """A skewed, a binary, a constant, a huge and a tied column."""
    rng = np.random.default_rng(0)
    columns = [
        np.exp(rng.normal(size=400) * 2),
        rng.integers(2, size=400),
        np.full(400, 7.5),
        rng.choice([-3e38, 3e38], 400),
        np.where(rng.random(400) < 0.9, 0.0, rng.random(400)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _fit(kind: Scaling, n_plain: int = 0) -> Scaler:
    numbers = _numbers()
    return Scaler.fit(numbers, np.median(numbers.astype(np.float64), axis=0).astype(np.float32), kind, n_plain=n_plain)


@pytest.mark.parametrize("kind", get_args(Scaling))
def test_outputs_are_finite_bounded_and_survive_a_round_trip(kind: Scaling) -> None:
    scaler = _fit(kind)
    strange = np.vstack([_numbers(), -_numbers(), np.zeros((1, 5), np.float32)])
    with np.errstate(all="raise", under="ignore"):
        out = scaler.transform(strange)
    assert out.shape == (len(strange), scaler.n_outputs)
    assert out.dtype == np.float32
    assert np.abs(out).max() <= CLIP
    np.testing.assert_array_equal(Scaler.from_arrays(scaler.arrays()).transform(strange), out)


@pytest.mark.parametrize("kind", get_args(Scaling))
def test_a_constant_column_becomes_zero(kind: Scaling) -> None:
    assert not _fit(kind).transform(_numbers())[:, 2].any()


def test_quantile_gives_normal_scores() -> None:
    out = _fit("quantile").transform(_numbers())
    assert abs(np.median(out[:, 0])) < 0.05
    assert out[:, 0].std() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(np.argsort(out[:, 0], kind="stable"), np.argsort(_numbers()[:, 0], kind="stable"))


def test_ramps_add_up_to_the_rank_of_the_bin() -> None:
    scaler = _fit("pieces")
    n_ramps = len(scaler.knots[0]) - 1
    ramps = scaler.transform(_numbers())[:, 5 : 5 + n_ramps]
    assert ramps.min() == 0 and ramps.max() == 1
    # Ramps fill one after the other, and each holds a sixteenth of the rows.
    assert (np.diff(ramps, axis=1) <= 0).all()
    np.testing.assert_allclose(np.bincount(np.ceil(ramps.sum(axis=1)).astype(int))[1:] / 400, 1 / 16, atol=0.01)


def test_plain_columns_get_no_ramps() -> None:
    assert _fit("pieces", n_plain=5).n_outputs == 5
    assert _fit("pieces", n_plain=4).n_outputs == 5 + 16
