import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.spaces.net_inputs import MIN_COUNT, NetInputs, NumberScaling, RobustScaler, net_fold, smooth_clip
from foldsmith.spaces.toy import Problem, make_problem


def _fit(problem: Problem, **options: Any) -> NetInputs:
    options = {"scaling": "robust", "max_levels": 100, "max_one_hot": 9, **options}
    return NetInputs.fit(problem.table, problem.train_rows, seed=0, **options)


def test_smooth_clip_is_the_identity_at_zero_and_three_far_away() -> None:
    x = np.array([0.0, 1e-3, 3.0, -3.0, 1e20])
    np.testing.assert_allclose(smooth_clip(x), [0, 1e-3, 3 / np.sqrt(2), -3 / np.sqrt(2), 3], rtol=1e-6)


def test_robust_scaling_divides_by_the_quartiles_or_half_the_range() -> None:
    numbers = np.stack([np.arange(9.0), [0.0] * 8 + [4.0], np.full(9, 7.0)], axis=1).astype(np.float32)
    scaler = RobustScaler.fit(numbers, np.median(numbers, axis=0))
    np.testing.assert_allclose(scaler.factor, [1 / 4, 1 / 2, 0])
    np.testing.assert_allclose(scaler.transform(numbers[-1:])[0], smooth_clip(np.array([1.0, 2.0, 0.0])), rtol=1e-6)


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
@pytest.mark.parametrize("max_one_hot", [0, 9])
def test_columns_are_as_declared_and_finite(scaling: NumberScaling, max_one_hot: int) -> None:
    problem = make_problem()
    inputs = _fit(problem, scaling=scaling, max_one_hot=max_one_hot)
    numeric = problem.table.numeric.copy()
    numeric[:5], numeric[5:10] = 3e38, -3e38
    for table in (problem.table, dataclasses.replace(problem.table, numeric=numeric)):
        matrix, codes = inputs.transform(table)
        assert matrix.shape == (table.n_rows, inputs.n_columns) and matrix.dtype == np.float32
        assert np.isfinite(matrix).all() and np.abs(matrix).max() <= 5
        assert codes.shape == (table.n_rows, len(inputs.cardinalities)) and codes.dtype == np.int64
        assert (codes >= 0).all() and (codes < inputs.cardinalities).all()
    assert 0 < inputs.n_numbers < inputs.n_scaled <= inputs.n_columns
    assert (inputs.n_columns == inputs.n_scaled) == (max_one_hot == 0)


def test_rare_unseen_and_missing_levels_share_code_zero() -> None:
    problem = make_problem(kinds=("categorical",))
    inputs = _fit(problem, max_one_hot=0)
    train = problem.table.take(problem.train_rows).codes[:, 1]
    counts = np.bincount(train, minlength=60)
    codes = inputs.transform(problem.table)[1][:, 1]
    raw = problem.table.codes[:, 1]
    frequent = counts[raw] >= MIN_COUNT
    assert frequent.any() and not frequent.all()
    np.testing.assert_array_equal(codes > 0, frequent)
    strange = dataclasses.replace(problem.table, codes=np.full_like(problem.table.codes, -1))
    assert not inputs.transform(strange)[1].any()
    # Equal table codes have equal codes, others have others.
    assert len(set(zip(raw[frequent], codes[frequent], strict=True))) == len(set(codes[frequent]))


def test_two_levels_are_one_column_and_a_missing_one_lies_between() -> None:
    problem = make_problem(kinds=("categorical",), n_rows=60)
    table_codes = np.tile([0, 1, 0, 1, -1, 0], 10).astype(np.int32)[:, None].repeat(2, axis=1)
    table = dataclasses.replace(problem.table, codes=table_codes)
    inputs = NetInputs.fit(table, problem.train_rows, seed=0, scaling="robust", max_levels=9, max_one_hot=9)
    matrix, codes = inputs.transform(table)
    assert matrix.shape == (60, 2) and codes.shape == (60, 0)
    first, second, missing = matrix[0, 0], matrix[1, 0], matrix[4, 0]
    assert first < missing < second


def test_absence_is_a_column_and_parts_of_one_date_are_absent_together() -> None:
    problem = make_problem(kinds=("datetime",))
    inputs = _fit(problem, max_one_hot=0)
    assert inputs.cardinalities == [3]
    missing = problem.table.datetimes[:, 0] == np.iinfo(np.int64).min
    np.testing.assert_array_equal(inputs.transform(problem.table)[1][:, 0], missing + 1)


def test_a_table_of_constants_still_gives_an_input() -> None:
    problem = make_problem(kinds=("numeric",))
    table = dataclasses.replace(problem.table, numeric=np.ones_like(problem.table.numeric))
    inputs = NetInputs.fit(table, problem.train_rows, seed=0, scaling="robust", max_levels=9, max_one_hot=0)
    matrix, codes = inputs.transform(table)
    assert matrix.shape[1] == 0 and codes.shape[1] == 1


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_a_round_trip_changes_nothing(scaling: NumberScaling, tmp_path: Path) -> None:
    problem = make_problem()
    inputs = _fit(problem, scaling=scaling)
    inputs.save(tmp_path)
    loaded = NetInputs.load(tmp_path)
    for before, after in zip(inputs.transform(problem.table), loaded.transform(problem.table), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_fold_is_encoded_once_a_worker() -> None:
    problem = make_problem()
    task = problem.task({})
    options: dict[str, Any] = {"scaling": "robust", "max_levels": 9, "max_one_hot": 9}
    assert net_fold(task, **options) is net_fold(task, **options)
    assert net_fold(task, **options) is not net_fold(task, **{**options, "max_one_hot": 0})
