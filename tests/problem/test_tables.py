"""Typed tables: values, missing ones, unseen categories, storage."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldsmith.problem import tables
from foldsmith.problem.cells import MISSING_TIME
from foldsmith.problem.columns import Kind, infer_columns
from foldsmith.problem.errors import ContractError, InputError
from foldsmith.problem.files import read_json, write_json
from foldsmith.problem.tables import Schema, Table, build_schema, check_ids, save_table, type_frame

TRAIN = pd.DataFrame(
    {
        "id": ["00", "01", "02"],
        "größe:x": [1.5, None, np.inf],
        "flag": ["yes", None, "no"],
        "colour": ["red", "blue", None],
        "when": ["2011-01-01 00:00:00", None, "1960-01-01 00:00:00.5"],
        "story": ["once upon a time there", None, "the end of the long story"],
        "void": [None, None, None],
        "y": [0, 1, 0],
    }
)
TEST = pd.DataFrame(
    {
        "id": ["03", "04"],
        "größe:x": ["2", "many"],
        "flag": ["YES", "no"],
        "colour": ["green", "blue"],
        "when": ["soon", "2011-01-02 00:00:00"],
        "story": [" ", "short"],
        "void": [None, None],
    }
)


def schema_of(train: pd.DataFrame, test: pd.DataFrame, **overrides: Kind) -> Schema:
    columns = infer_columns(train, test, target="y", id_column="id", overrides=overrides)
    return build_schema(train, columns)


@pytest.fixture
def schema() -> Schema:
    overrides: dict[str, Kind] = {"größe:x": "numeric"}
    return schema_of(TRAIN, TEST, **overrides)


def assert_same(one: Table, two: Table) -> None:
    assert one.schema == two.schema
    assert one.n_rows == two.n_rows
    for name in ("numeric", "codes", "datetimes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert getattr(one, name).dtype == getattr(two, name).dtype
    for i in range(len(one.schema.text)):
        assert one.text(i) == two.text(i)


def test_schema(schema: Schema) -> None:
    assert schema.numeric == ("größe:x", "flag")
    assert schema.boolean == ("flag",)
    assert schema.categorical == ("colour",)
    assert schema.datetime == ("when",)
    assert schema.text == ("story",)
    assert schema.categories == {"colour": ("blue", "red")}
    assert Schema.from_json(schema.to_json()) == schema


def test_train_values(schema: Schema) -> None:
    table = type_frame(TRAIN, schema)
    nan = np.nan
    assert table.n_rows == 3
    assert table.numeric.dtype == np.float32
    np.testing.assert_array_equal(table.numeric, np.array([[1.5, 1], [nan, nan], [nan, 0]], dtype=np.float32))
    assert table.codes.dtype == np.int32
    assert table.codes.tolist() == [[1], [0], [-1]]
    assert table.datetimes.dtype == np.int64
    assert table.datetimes[:, 0].tolist() == [1293840000000000, MISSING_TIME, -315619199500000]
    assert table.text(0) == ["once upon a time there", "", "the end of the long story"]
    assert table.text(0, np.array([2, 1])) == ["the end of the long story", ""]


def test_test_values(schema: Schema) -> None:
    table = type_frame(TEST, schema)
    np.testing.assert_array_equal(table.numeric, np.array([[2, 1], [np.nan, 0]], dtype=np.float32))
    assert table.codes.tolist() == [[2], [0]]  # 2 levels in train, so 2 is "unseen"
    assert table.datetimes[:, 0].tolist() == [MISSING_TIME, 1293926400000000]
    assert table.text(0) == ["", "short"]


def test_take_copies_rows(schema: Schema) -> None:
    part = type_frame(TRAIN, schema).take(np.array([2, 0]))
    assert part.n_rows == 2
    assert part.codes.tolist() == [[-1], [1]]
    assert part.text(0) == ["the end of the long story", "once upon a time there"]
    assert type_frame(TRAIN, schema).take(np.array([], dtype=np.int64)).text(0) == []


def test_a_number_is_the_same_category_with_and_without_holes() -> None:
    train = pd.DataFrame({"id": ["a", "b", "c"], "x": [1, 2, 10], "y": 0})
    test = pd.DataFrame({"id": ["d", "e", "f"], "x": [2.0, np.nan, 10.0]})
    schema = schema_of(train, test, x="categorical")
    assert schema.categories["x"] == ("1", "10", "2")
    assert type_frame(test, schema).codes[:, 0].tolist() == [2, -1, 1]


def test_finite_numbers_stay_finite() -> None:
    train = pd.DataFrame({"id": ["a", "b", "c"], "x": [1e300, -1e300, -np.inf], "y": 0})
    schema = schema_of(train, train)
    values = type_frame(train, schema).numeric[:, 0]
    np.testing.assert_allclose(schema.shift("x").restore(values[:2]), [1e300, -1e300])
    assert np.isnan(values[2])


def test_a_value_that_no_model_can_take_is_refused_by_name() -> None:
    train = pd.DataFrame({"id": range(9), "x": [1.0, 2, 3, 4, 5, 6, 7, 8, 1e300], "y": 0})
    with pytest.raises(InputError, match=r"column 'x' holds 1e\+300 in row 9 .* correct the value"):
        type_frame(train, schema_of(train, train))


@pytest.mark.parametrize(
    "values",
    [
        1.6e9 + np.arange(100),  # seconds since 1970
        48.137 + np.linspace(-0.01, 0.01, 100),  # a coordinate in one town
        1e12 + np.arange(100),
        np.r_[1.7e18 + 1e9 * np.arange(99), np.nan],  # nanoseconds since 1970
        10**18 + np.arange(100),  # ids of 19 digits, which float64 cannot tell apart
        1e35 * np.arange(1, 101),
        1e-40 * np.arange(1, 101),
    ],
)
def test_numbers_keep_their_digits(values: np.ndarray) -> None:
    train = pd.DataFrame({"id": range(len(values)), "x": values, "y": 0})
    schema = schema_of(train, train)
    typed = type_frame(train, schema)
    numeric = typed.numeric[:, 0]
    assert len(np.unique(numeric)) == len(np.unique(values))
    spread = float(np.nanmax(values) - np.nanmin(values))
    np.testing.assert_allclose(schema.shift("x").restore(numeric), values, rtol=1e-15, atol=1e-6 * spread)
    later = type_frame(train[::-1], Schema.from_json(schema.to_json()))
    np.testing.assert_array_equal(later.numeric[::-1], typed.numeric)


@pytest.mark.parametrize(
    "values", [np.arange(1950, 2050), np.linspace(0, 1, 100), 170 + np.linspace(-30, 30, 100).round(1), [5.0] * 100]
)
def test_ordinary_numbers_are_stored_as_they_are(values: np.ndarray) -> None:
    train = pd.DataFrame({"id": range(100), "x": values, "z": range(100), "y": 0})
    assert schema_of(train, train).shifts == {}


@pytest.mark.parametrize("n_far", [20, 500, 900])
def test_far_values_do_not_hide_that_a_column_needs_a_shift(n_far: int) -> None:
    values = np.r_[np.full(n_far, -1.0), 1.6e9 + np.arange(1000 - n_far) / 10]
    train = pd.DataFrame({"id": range(1000), "x": values, "y": 0})
    typed = type_frame(train, schema_of(train, train))
    assert len(np.unique(typed.numeric)) == 1001 - n_far


def test_no_usable_column(tmp_path: Path) -> None:
    train = pd.DataFrame({"id": ["a", "b"], "x": [1, 1], "y": [0, 1]})
    table = type_frame(train, schema_of(train, train))
    assert (table.numeric.shape, table.codes.shape, table.datetimes.shape) == ((2, 0), (2, 0), (2, 0))
    save_table(table, tmp_path / "t")
    assert_same(Table.open(tmp_path / "t"), table)
    assert Table.open(tmp_path / "t").take(np.array([1])).n_rows == 1


def test_dates_of_test_decide_day_or_month() -> None:
    train = pd.DataFrame({"id": ["a", "b"], "when": ["01/02/2011", "03/04/2011"], "y": 0})
    test = pd.DataFrame({"id": ["c"], "when": ["31/05/2011"]})
    columns = infer_columns(train, test, target="y", id_column="id", overrides={})
    assert build_schema(train, columns).time_formats == {"when": "%d/%m/%Y"}
    alone = infer_columns(train, train, target="y", id_column="id", overrides={})
    assert build_schema(train, alone).time_formats == {"when": "%m/%d/%Y"}


def test_integers_set_to_datetime() -> None:
    train = pd.DataFrame({"id": ["a", "b"], "when": [20110101, 20110203], "y": 0})
    table = type_frame(train, schema_of(train, train, when="datetime"))
    assert table.datetimes.view("datetime64[us]")[1, 0] == np.datetime64("2011-02-03")


def test_missing_column(schema: Schema) -> None:
    with pytest.raises(InputError, match=r"the table lacks column 'colour' \(1 missing in all\)"):
        type_frame(TRAIN.drop(columns="colour"), schema)


def test_save_and_open(tmp_path: Path, schema: Schema) -> None:
    table = type_frame(TRAIN, schema)
    save_table(table, tmp_path / "t")
    opened = Table.open(tmp_path / "t")
    assert_same(opened, table)
    assert isinstance(opened.numeric, np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert_same(opened.take(np.array([1])), table.take(np.array([1])))


def test_an_existing_table_is_kept(tmp_path: Path, schema: Schema) -> None:
    first = type_frame(TRAIN, schema)
    save_table(first, tmp_path / "t")
    save_table(type_frame(TEST, schema), tmp_path / "t")
    assert_same(Table.open(tmp_path / "t"), first)


def test_a_lost_race_keeps_the_winner(tmp_path: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = type_frame(TRAIN, schema)
    rename = os.rename

    def slow_rename(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        save_table(winner, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", slow_rename)
    save_table(type_frame(TEST, schema), tmp_path / "t")
    assert_same(Table.open(tmp_path / "t"), winner)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_nothing(
    tmp_path: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(tables, "write_json", fail)
    with pytest.raises(type(error)):
        save_table(type_frame(TRAIN, schema), tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_open_refuses(tmp_path: Path, schema: Schema) -> None:
    with pytest.raises(InputError, match="holds no table"):
        Table.open(tmp_path)
    save_table(type_frame(TRAIN, schema), tmp_path / "t")
    path = tmp_path / "t" / "schema.json"
    write_json(path, {**read_json(path), "format": 2})
    with pytest.raises(ContractError, match="has format 2"):
        Table.open(tmp_path / "t")


CELLS = st.one_of(st.none(), st.integers(-5, 5), st.floats(width=32), st.booleans(), st.text(max_size=5))


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=8), st.lists(CELLS, min_size=1, max_size=8), st.text(min_size=1))
def test_any_column_can_be_typed(train_values: list[Any], test_values: list[Any], name: str) -> None:
    if name in ("id", "y"):
        name += "_"
    train = pd.DataFrame({"id": range(len(train_values)), name: pd.Series(train_values, dtype=object), "y": 0})
    test = pd.DataFrame({"id": range(len(test_values)), name: pd.Series(test_values, dtype=object)})
    try:
        schema = schema_of(train, test)
    except InputError as error:
        assert f"column {name!r} holds numbers in train.csv" in str(error)
        return
    for frame in (train, test):
        table = type_frame(frame, schema)
        assert not np.isinf(table.numeric).any()
        for column, levels in zip(table.codes.T, schema.categories.values(), strict=True):
            assert column.min() >= -1
            assert column.max() <= len(levels) - (frame is train)


def test_check_ids() -> None:
    fine, twice = pd.Series(["1", "2"]), pd.Series(["7", "7", "8", "7"])
    check_ids(fine, fine, "id")
    with pytest.raises(InputError, match="id column 'id' of train has 2 repeated ids, e.g. '7'; remove"):
        check_ids(twice, fine, "id")
    with pytest.raises(InputError, match="id column 'key' of test has 2 repeated ids, e.g. '7'"):
        check_ids(fine, twice, "key")
    with pytest.raises(InputError, match="id column 'id' of test has 1 missing ids, the first in row 2"):
        check_ids(fine, pd.Series(["1", None]), "id")
