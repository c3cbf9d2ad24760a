import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces.encoding import DATE_PARTS, DenseEncoder, TreeEncoder, date_parts
from foldsmith.spaces.scaling import Scaling
from foldsmith.spaces.toy import make_problem


def _dates(*values: str | None) -> Table:
    frame = pd.DataFrame({"when": pd.Series(values, dtype="object")})
    return type_frame(frame, build_schema(frame, [Column("when", "datetime", "")]))


def test_date_parts_agree_with_pandas() -> None:
    values = ["2024-02-29 23:59:59", "1969-12-31 00:00:00", "2000-01-01 12:30:00", "2023-12-31 06:05:04"]
    parts = date_parts(_dates(*values, None))
    stamps = pd.DatetimeIndex(values)
    expected = {
        "year": stamps.year,
        "month": stamps.month,
        "day": stamps.day,
        "weekday": stamps.day_of_week,
        "hour": stamps.hour,
        "minute": stamps.minute,
        "yearday": stamps.day_of_year,
    }
    for name, column in expected.items():
        np.testing.assert_array_equal(parts[:4, DATE_PARTS.index(name)], column, err_msg=name)
    np.testing.assert_allclose(parts[:4, 0], (stamps - pd.Timestamp(0)) / pd.Timedelta(days=1), rtol=1e-6)
    assert np.isnan(parts[4]).all()


def test_tree_columns_stand_in_the_documented_order() -> None:
    problem = make_problem()
    encoder = TreeEncoder.fit(problem.table, problem.train_rows, seed=0)
    matrix = encoder.transform(problem.table)
    assert matrix.shape == (problem.table.n_rows, encoder.n_columns)
    n_numeric = problem.table.numeric.shape[1]
    np.testing.assert_array_equal(matrix[:, :n_numeric], problem.table.numeric)
    np.testing.assert_array_equal(matrix[:, n_numeric : n_numeric + len(DATE_PARTS)], date_parts(problem.table))
    codes = matrix[:, encoder.categorical]
    np.testing.assert_array_equal(np.isnan(codes), problem.table.codes < 0)
    np.testing.assert_array_equal(np.nan_to_num(codes, nan=-1), problem.table.codes)


@pytest.mark.parametrize("scaling", get_args(Scaling))
def test_dense_columns_are_finite_and_standardised(scaling: Scaling) -> None:
    problem = make_problem()
    encoder = DenseEncoder.fit(problem.table, problem.train_rows, seed=0, scaling=scaling)
    matrix = encoder.transform(problem.table)
    assert matrix.shape == (problem.table.n_rows, encoder.n_columns)
    assert np.isfinite(matrix).all()
    assert np.abs(matrix).max() <= 5
    assert matrix[problem.train_rows, 0].std() == pytest.approx(1, abs=0.1)
    rest = matrix[:, encoder.n_numbers :]
    assert set(np.unique(rest)) == {0.0, 1.0}


def test_rare_unseen_and_missing_levels_share_the_zero_code() -> None:
    frame = pd.DataFrame({"c": ["a"] * 10 + ["b"] * 8 + ["rare"] * 2 + [None]})
    schema = build_schema(frame, [Column("c", "categorical", "")])
    encoder = DenseEncoder.fit(type_frame(frame, schema), np.arange(21), seed=0)
    seen = encoder.transform(type_frame(pd.DataFrame({"c": ["a", "b", "rare", None, "new"]}), schema))
    np.testing.assert_array_equal(seen, [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
    capped = DenseEncoder.fit(type_frame(frame, schema), np.arange(21), seed=0, max_levels=1)
    assert capped.n_columns == 1


def test_indicators_mark_columns_that_are_sometimes_missing() -> None:
    problem = make_problem(kinds=("numeric",))
    encoder = DenseEncoder.fit(problem.table, problem.train_rows, seed=0)
    np.testing.assert_array_equal(encoder.indicators, [1])
    marks = encoder.transform(problem.table)[:, encoder.n_numbers]
    np.testing.assert_array_equal(marks, np.isnan(problem.table.numeric[:, 1]))


def test_rows_outside_the_fit_change_nothing() -> None:
    problem = make_problem()
    numeric, codes = problem.table.numeric.copy(), problem.table.codes.copy()
    outside = np.setdiff1d(np.arange(problem.table.n_rows), problem.train_rows)
    numeric[outside] *= 1e6
    codes[outside] = 0
    changed = dataclasses.replace(problem.table, numeric=numeric, codes=codes)
    first = DenseEncoder.fit(problem.table, problem.train_rows, seed=0)
    second = DenseEncoder.fit(changed, problem.train_rows, seed=0)
    np.testing.assert_array_equal(first.transform(problem.table), second.transform(problem.table))


@pytest.mark.parametrize("scaling", get_args(Scaling))
def test_saved_dense_encoders_transform_alike(scaling: Scaling, tmp_path: Path) -> None:
    problem = make_problem()
    encoder = DenseEncoder.fit(problem.table, problem.train_rows, seed=0, scaling=scaling)
    encoder.save(tmp_path)
    again = DenseEncoder.load(tmp_path)
    np.testing.assert_array_equal(again.transform(problem.table), encoder.transform(problem.table))


def test_saved_tree_encoders_transform_alike(tmp_path: Path) -> None:
    problem = make_problem()
    encoder = TreeEncoder.fit(problem.table, problem.train_rows, seed=0)
    encoder.save(tmp_path)
    again = TreeEncoder.load(tmp_path)
    assert again.categorical == encoder.categorical
    np.testing.assert_array_equal(again.transform(problem.table), encoder.transform(problem.table))
