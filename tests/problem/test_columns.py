"""Column kinds and their reasons."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.columns import Column, Kind, infer_columns
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.words import Source


def infer(values: Any, *, test: Any = None, name: str = "x", kind: Kind | None = None) -> Column:
    """The column that is inferred for these train and test values."""
    train = pd.DataFrame({name: pd.Series(values), "y": 0})
    other = pd.DataFrame({name: pd.Series(values if test is None else test)})
    overrides: dict[str, Kind] = {} if kind is None else {name: kind}
    (column,) = infer_columns(train, other, target="y", id_column=None, overrides=overrides)
    assert column.name == name
    return column


SENTENCES = [f"this is sentence number {word}" for word in ("one", "two", "three", "four")]


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        ([1, 2, 3], "numeric", "whole numbers, 1 to 3"),
        ([0.5, 2, np.nan], "numeric", "numbers, 0.5 to 2; 1 missing"),
        (["1", "None", "3.5"], "numeric", "strings that are all numbers, numbers, 1 to 3.5"),
        (["1", 2, 3.5], "numeric", "strings that are all numbers, numbers, 1 to 3.5"),
        ([0, 1, 1], "boolean", "2 values: 0/1"),
        ([0.0, 1.0, np.nan], "boolean", "2 values: 0/1; 1 missing"),
        ([True, False, True], "boolean", "2 values: false/true"),
        ([True, False, None], "boolean", "2 values: false/true; 1 missing"),
        (["Yes", "no", "yes"], "boolean", "2 values: no/yes"),
        (["n", "Y"], "boolean", "2 values: n/y"),
        (["t", "f", None], "boolean", "2 values: f/t; 1 missing"),
        (["0", "1"], "boolean", "2 values: 0/1"),
        ([1, 2], "numeric", "whole numbers, 1 to 2"),
        (["male", "female"], "categorical", "2 distinct strings, 2 of them in one row only"),
        (["a", "b"] * 52, "categorical", "2 distinct strings, each 52 rows or more"),
        (["a", None, "b", "None"], "categorical", "3 distinct strings, 3 of them in one row only; 1 missing"),
        ([1, "a", 2.5, "a"], "categorical", "3 distinct strings, 2 of them in one row only"),
        (["x", "x"], "constant", "every value the same: 'x'"),
        ([7, 7], "constant", "every value the same: 7"),
        ([None, None], "constant", "all missing"),
        ([np.nan, np.nan], "constant", "all missing"),
        (["x", None], "categorical", "1 distinct string, 1 of them in one row only; 1 missing"),
        ([3.0, np.nan], "numeric", "whole numbers, 3 to 3; 1 missing"),
        (["2011-01-01 00:00:00", "2012-05-06 07:08:09"], "datetime", "parses as dates: 2011-01-01 00:00:00"),
        (["31.12.2011", "01.02.2012", None], "datetime", "parses as dates: 31.12.2011; 1 missing"),
        (pd.to_datetime(["2011-01-01", "2012-01-01"]), "datetime", "stored as dates: 2011-01-01 00:00:00"),
        (["2011", "2012"], "numeric", "strings that are all numbers, whole numbers, 2011 to 2012"),
        ([20110101, 20110102], "numeric", "whole numbers, 2.01101e+07 to 2.01101e+07"),
        (SENTENCES, "text", "5.0 words and 28 characters on average, 4 of 4 distinct"),
        (SENTENCES[:2] * 3, "categorical", "2 distinct strings, each 3 rows or more"),
        (["p" * 40, "q" * 40], "text", "1.0 words and 40 characters on average, 2 of 2 distinct"),
        (["A/5 21171", "PC 17599"], "categorical", "2 distinct strings, 2 of them in one row only"),
        (["a/1.png", "b/2.JPG"], "image", "paths of image files: a/1.png"),
    ],
)
def test_kinds_and_reasons(values: Any, kind: str, reason: str) -> None:
    column = infer(values)
    assert column.kind == kind, column
    assert column.reason.startswith(reason)


def test_dates_need_99_percent() -> None:
    days = [f"2011-01-{day:02d} {hour:02d}:00" for day in range(1, 31) for hour in range(10)]
    assert infer([*days, "unknown"]).kind == "datetime"
    assert infer([*days, *"abcdef"]).kind == "categorical"


@pytest.mark.parametrize("name", ["id", "ID", "user_id", "userId", "customerID", "uuid", "key", "index", "Unnamed: 0"])
def test_undeclared_ids(name: str) -> None:
    assert infer([1, 2, 3], test=[4, 5], name=name).kind == "id"
    assert infer(["a1", "a2", "a3"], test=["a4"], name=name).kind == "id"
    assert infer([1, 2, 3], test=[3, 4], name=name).kind == "numeric"
    assert infer([0.5, 1.5, 2.5], test=[3.5], name=name).kind == "numeric"


@pytest.mark.parametrize("name", ["grid", "paid", "income", "monkey", "valid"])
def test_other_names_are_no_ids(name: str) -> None:
    assert infer([1, 2, 3], test=[4, 5], name=name).kind == "numeric"


def test_the_test_table_has_a_say() -> None:
    assert infer([0, 1], test=[0, 2]).kind == "numeric"
    assert infer(["yes", "no"], test=["maybe"]).kind == "categorical"
    with pytest.raises(InputError, match=r"'x' holds numbers in train.csv, .* none, such as 'a' \(test.csv line 2\)"):
        infer([1, 2, 3], test=["a", "b"])
    assert infer(list(range(3)), test=["7"] * 20 + ["oops"]).kind == "numeric"


def test_order_id_target_and_extra_test_columns() -> None:
    train = pd.DataFrame({"b": [1.5, 2.5], "id": ["00", "01"], "y": [0, 1], "a": ["u", "v"]})
    test = pd.DataFrame({"extra": [1], "a": ["u"], "id": ["02"], "b": [0.5]})
    columns = infer_columns(train, test, target="y", id_column="id", overrides={})
    assert [(column.name, column.kind) for column in columns] == [("b", "numeric"), ("id", "id"), ("a", "categorical")]


@pytest.mark.parametrize("name", ["Jitter:RAP", 'a "b"', "  ", "größe", "名前", "{x}", "a,b", "x\ny"])
def test_names_with_any_characters(name: str) -> None:
    assert infer([1, 2, 3], name=name).kind == "numeric"


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        ([1, 2, 3], "categorical", "set by you"),
        (["a", "b"], "text", "set by you"),
        (["1", "2", "x"], "numeric", "set by you; 1 values are not numbers and become missing"),
        ([20110101, 20110102], "datetime", "set by you"),
        ([1, 2], "constant", "set by you"),
        ([1, 2], "id", "set by you"),
    ],
)
def test_overrides(values: Any, kind: Kind, reason: str) -> None:
    assert dataclasses.replace(infer(values, kind=kind), reading="") == Column("x", kind, reason)


@pytest.mark.parametrize(
    ("kind", "what"),
    [("numeric", "numbers, e.g. 'male'"), ("boolean", "true/false"), ("datetime", "dates in a known format")],
)
def test_overrides_that_lose_the_values(kind: Kind, what: str) -> None:
    with pytest.raises(InputError, match=f"column 'x' cannot be {kind}: 2 of 2 values are not {what}"):
        infer(["male", "female"], kind=kind)


def test_wrong_names() -> None:
    train, test = pd.DataFrame({"id": [1], "x": [1], "y": [0]}), pd.DataFrame({"id": [2], "x": [1]})

    def call(target: str = "y", id_column: str | None = "id", **overrides: Any) -> None:
        infer_columns(train, test, target=target, id_column=id_column, overrides=overrides)

    with pytest.raises(UnknownNameError, match=r"unknown column in train.csv 'z'; .*known: id, x, y"):
        call(target="z")
    with pytest.raises(UnknownNameError, match="unknown column in train.csv 'key'"):
        call(id_column="key")
    with pytest.raises(UnknownNameError, match="unknown column 'xx'; did you mean 'x'"):
        call(xx="numeric")
    with pytest.raises(UnknownNameError, match="unknown kind of column 'x': 'number'; did you mean 'numeric'"):
        call(x="number")
    with pytest.raises(InputError, match="column 'id' is the id and cannot be numeric"):
        call(id="numeric")


def test_test_lacks_columns() -> None:
    train = pd.DataFrame({"x": [1, 2], "z": [1, 2], "y": [0, 1]})
    with pytest.raises(InputError, match=r"test.csv lacks column 'z' of train.csv; add to test.csv or remove"):
        infer_columns(train, train[["x"]], target="y", id_column=None, overrides={})
    with pytest.raises(InputError, match=r"b.gz lacks columns 'x', 'z' of a.gz"):
        infer_columns(
            train, train[["y"]], target="y", id_column=None, overrides={}, sources=(Source("a.gz"), Source("b.gz"))
        )
