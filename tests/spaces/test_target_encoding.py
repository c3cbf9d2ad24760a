import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from foldsmith.problem.goal import Goal
from foldsmith.spaces.target_encoding import MAX_CLASSES, TargetEncoding, cross_fitted, inner_folds, target_columns
from foldsmith.spaces.toy import GOALS


def test_means_are_smoothed_towards_the_prior() -> None:
    levels = np.array([0, 0, 1, 1, 1, -1], np.int32)
    targets = np.array([1, 0, 1, 1, 1, 0], np.float64)[:, None]
    encoding = TargetEncoding.fit(levels, targets, n_levels=3, smoothing=2.0)
    prior = 4 / 6
    expected = [(1 + 2 * prior) / 4, (3 + 2 * prior) / 5, prior]
    np.testing.assert_allclose(encoding.means[:, 0], expected, rtol=1e-6)
    seen = encoding.transform(np.array([1, 2, 3, -1], np.int32))[:, 0]
    np.testing.assert_allclose(seen, [expected[1], prior, prior, prior], rtol=1e-6)


def test_agrees_with_scikit_learn() -> None:
    from sklearn.preprocessing import TargetEncoder

    rng = np.random.default_rng(0)
    levels, y = rng.integers(8, size=200).astype(np.int32), rng.normal(size=200)
    library = TargetEncoder(target_type="continuous", smooth=10.0).fit(levels[:, None], y)
    own = TargetEncoding.fit(levels, y[:, None], n_levels=8, smoothing=10.0)
    np.testing.assert_allclose(own.transform(levels), library.transform(levels[:, None]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
def test_a_rows_encoding_never_contains_its_own_label(goal: str) -> None:
    rng = np.random.default_rng(1)
    levels = rng.integers(10, size=60).astype(np.int32)
    y = rng.normal(size=60) if goal == "squared" else rng.integers(GOALS[goal].n_classes, size=60)
    folds = inner_folds(y, seed=0)
    before = cross_fitted(levels, target_columns(y, GOALS[goal]), 10, folds)
    for row in range(0, 60, 7):
        other = y.copy()
        other[row] = y[row] + 100 if goal == "squared" else (y[row] + 1) % GOALS[goal].n_classes
        after = cross_fitted(levels, target_columns(other, GOALS[goal]), 10, folds)
        np.testing.assert_array_equal(after[folds == folds[row]], before[folds == folds[row]])
        if goal == "squared":
            assert (after[folds != folds[row]] != before[folds != folds[row]]).all()  # the others' prior has moved


@pytest.mark.parametrize("n_levels", [3, 40, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_target_of_noise_gives_no_signal(n_levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_rows = 4000
    levels, y = rng.integers(n_levels, size=n_rows).astype(np.int32), rng.integers(2, size=n_rows)
    encoded = cross_fitted(levels, target_columns(y, GOALS["binary"]), n_levels, inner_folds(y, seed))
    standard_error = np.sqrt((n_rows + 1) / (12 * y.sum() * (n_rows - y.sum())))
    assert abs(roc_auc_score(y, encoded[:, 0]) - 0.5) < 3 * standard_error
    if n_levels == 1000:  # what cross-fitting is for: encoded by themselves, rows give their label away
        own = TargetEncoding.fit(levels, target_columns(y, GOALS["binary"]), n_levels).transform(levels)
        assert roc_auc_score(y, own[:, 0]) > 0.6


def test_inner_folds_share_out_classes_and_rows() -> None:
    y = np.repeat([0, 1, 2], [50, 30, 7])
    folds = inner_folds(y, seed=3)
    for code in range(3):
        counts = np.bincount(folds[y == code], minlength=5)
        assert counts.max() - counts.min() <= 2
    np.testing.assert_array_equal(folds, inner_folds(y, seed=3))
    assert (folds != inner_folds(y, seed=4)).any()


def test_many_classes_get_the_most_frequent_columns() -> None:
    y = np.concatenate([np.arange(15), np.repeat(np.arange(3, 13), 5)])
    columns = target_columns(y, Goal("multiclass", 15, "log_loss", "log_loss"))
    assert columns.shape == (len(y), MAX_CLASSES)
    np.testing.assert_array_equal(columns.sum(axis=0), [6] * MAX_CLASSES)


def test_one_row_encodes_itself_rather_than_fail() -> None:
    y = np.array([1.0])
    encoded = cross_fitted(np.zeros(1, np.int32), target_columns(y, GOALS["squared"]), 1, inner_folds(y, seed=0))
    np.testing.assert_array_equal(encoded, [[1.0]])
