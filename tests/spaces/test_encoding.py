import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.errors import ContractError
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces import level_means
from foldsmith.spaces.encoding import DATE_PARTS, DenseEncoder, TreeEncoder, date_parts
from foldsmith.spaces.forest_columns import forest_matrix
from foldsmith.spaces.level_means import LevelMeans
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.scaling import Scaling
from foldsmith.spaces.target_encoding import inner_folds
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
    encoder, means = DenseEncoder.fit_with_target(
        problem.table, problem.train_rows, problem.y, problem.goal, seed=0, scaling=scaling
    )
    assert means.shape == (len(problem.train_rows), 2)
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


def _frame_table(**columns: list[Any]) -> Table:
    frame = pd.DataFrame(columns)
    return type_frame(frame, build_schema(frame, [Column(name, "numeric", "") for name in columns]))


def test_constant_and_repeated_columns_are_left_out_by_the_train_rows() -> None:
    x = [float(n) for n in range(20)]
    late = [1.0] * 10 + x[10:]  # constant on the rows that are fitted on
    table = _frame_table(x=x, same=x, constant=[4.0] * 20, late=late, y=x[::-1])
    rows = np.arange(10)
    np.testing.assert_array_equal(TreeEncoder.fit(table, rows, seed=0).numbers, [0, 4])
    assert DenseEncoder.fit(table, rows, seed=0).n_columns == 2
    assert TreeEncoder.fit(table, np.arange(20), seed=0).n_columns == 3


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_a_table_that_says_nothing_keeps_one_column(value: float) -> None:
    table = _frame_table(a=[value] * 9, b=[value] * 9)
    tree, dense = TreeEncoder.fit(table, np.arange(9), seed=0), DenseEncoder.fit(table, np.arange(9), seed=0)
    assert (tree.transform(table).shape, dense.transform(table).shape) == ((9, 1), (9, 1))
    assert not dense.transform(table).any()


def test_fillers_are_missing_for_dense_encoders_and_stay_for_trees() -> None:
    x = [*np.linspace(20, 60, 90).tolist(), *[-999.0] * 10]
    table = _frame_table(x=x)
    matrix = DenseEncoder.fit(table, np.arange(100), seed=0).transform(table)
    np.testing.assert_array_equal(matrix[:, 1], [0] * 90 + [1] * 10)
    assert matrix[:90, 0].std() > 0.9 and not matrix[90:, 0].any()
    np.testing.assert_array_equal(
        TreeEncoder.fit(table, np.arange(100), seed=0).transform(table)[:, 0], np.array(x, np.float32)
    )


def test_equal_indicators_stand_once() -> None:
    x = [np.nan if n % 4 == 0 else float(n) for n in range(40)]
    y = [value * value for value in x]
    encoder = DenseEncoder.fit(_frame_table(x=x, y=y), np.arange(40), seed=0)
    np.testing.assert_array_equal(encoder.indicators, [0])


def test_target_means_of_train_rows_are_cross_fitted() -> None:
    problem = make_problem("binary")
    task = problem.task({})
    fold = dense_matrices(task, "standard")
    where = fold.encoder.means_columns
    assert where.stop - where.start == 2  # of three and of forty levels
    plain = fold.encoder.transform(problem.table.take(problem.train_rows))
    same = (plain == fold.train).all(axis=0)
    assert not same[where].any() and same.sum() == len(same) - 2
    # A label of another inner fold moves a row's mean; the row's own label moves none of its own fold.
    row = 5
    y = problem.y.copy()
    y[problem.train_rows[row]] = 1 - y[problem.train_rows[row]]
    folds = inner_folds(problem.y[problem.train_rows], seed=0)
    codes, many = np.asarray(problem.table.codes[problem.train_rows]), np.array([0, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(level_means, "inner_folds", lambda *_: folds)
        first, second = (
            LevelMeans.fit_transform(codes, many, labels[problem.train_rows], problem.goal, 0)[1]
            for labels in (problem.y, y)
        )
    np.testing.assert_array_equal(first[folds == folds[row]], second[folds == folds[row]])
    assert (first[folds != folds[row]] != second[folds != folds[row]]).all()


def test_forests_see_codes_and_target_means() -> None:
    problem = make_problem("multiclass")
    encoder, matrix = forest_matrix(problem.task({}))
    assert matrix.shape == (len(problem.train_rows), encoder.base.n_columns + 2 * 3)
    assert np.isfinite(matrix[:, encoder.base.n_columns :]).all()
    largest = encoder.transform(problem.table)[:, -6:]
    assert largest.min() >= 0 and largest.max() <= 1


@pytest.mark.parametrize("kind", [TreeEncoder, DenseEncoder])
def test_another_format_is_refused(kind: Any, tmp_path: Path) -> None:
    problem = make_problem(kinds=("numeric",))
    kind.fit(problem.table, problem.train_rows, seed=0).save(tmp_path)
    if kind is TreeEncoder:
        record = json.loads((tmp_path / "encoder.json").read_text())
        (tmp_path / "encoder.json").write_text(json.dumps(record | {"format": 1}))
    else:
        with np.load(tmp_path / "encoder.npz") as stored:
            old = {name: stored[name] for name in stored.files if name != "format"}
        np.savez(tmp_path / "encoder.npz", **old)
    with pytest.raises(ContractError, match=r"has format 1, this foldsmith reads format 2; use the version that"):
        kind.load(tmp_path)
