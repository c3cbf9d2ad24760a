"""A typed table as a frame, and tables side by side."""

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.frames import as_frame
from foldsmith.problem.tables import Schema, Table, build_schema, type_frame

COLUMNS = [
    Column("size", "numeric", ""),
    Column("flag", "boolean", ""),
    Column("colour", "categorical", ""),
    Column("when", "datetime", ""),
    Column("note", "text", ""),
]


def a_table(frame: pd.DataFrame | None = None) -> Table:
    train = pd.DataFrame(
        {
            "size": [1.5, None, 3.0],
            "flag": ["yes", "no", None],
            "colour": ["red", None, "größe"],
            "when": ["2021-01-02 03:04:05", None, "1969-12-31"],
            "note": ["one two", None, "three"],
        }
    )
    return type_frame(train if frame is None else frame, build_schema(train, COLUMNS))


def test_a_table_as_a_frame() -> None:
    frame = as_frame(a_table())
    assert list(frame.columns) == ["size", "flag", "colour", "when", "note"]
    assert frame["size"].dtype == np.float32 and frame["flag"].dtype == np.float32
    assert frame["size"].isna().tolist() == [False, True, False]
    assert frame["flag"].dropna().tolist() == [1.0, 0.0]
    assert frame["colour"].dtype == "str" and frame["colour"].dropna().tolist() == ["red", "größe"]
    assert frame["when"][0] == pd.Timestamp("2021-01-02 03:04:05") and frame["when"].isna()[1]
    assert frame["note"].dropna().tolist() == ["one two", "three"] and frame["note"].dtype == "str"
    assert frame.index.equals(pd.RangeIndex(3))


def test_levels_that_train_lacks_are_missing_and_numbers_are_views() -> None:
    strange = pd.DataFrame({"size": [7], "flag": ["no"], "colour": ["blue"], "when": ["2021-05-05"], "note": [""]})
    table = a_table(strange)
    assert table.codes[0, 0] == 2
    frame = as_frame(table)
    assert frame["colour"].isna().all()
    assert np.shares_memory(frame["size"].to_numpy(), table.numeric)


def test_writing_to_a_shallow_copy_leaves_the_table_alone() -> None:
    table = a_table()
    frame = as_frame(table)
    given = frame.copy(deep=False)
    given.loc[0, "size"] = 99
    given["more"] = 1
    assert table.numeric[0, 0] == 1.5 and "more" not in frame


def test_tables_without_some_kinds() -> None:
    empty = type_frame(pd.DataFrame(index=range(4)), Schema((), {}))
    assert as_frame(empty).shape == (4, 0)
    words = type_frame(pd.DataFrame({"c": ["a", "b"]}), Schema((Column("c", "categorical", ""),), {"c": ("a", "b")}))
    assert as_frame(words)["c"].tolist() == ["a", "b"]
    none = type_frame(pd.DataFrame({"c": [None]}), Schema((Column("c", "categorical", ""),), {"c": ()}))
    assert as_frame(none)["c"].isna().all()


def test_tables_are_joined_side_by_side() -> None:
    left = a_table()
    frame = pd.DataFrame({"ratio": [1.0, 2.0, np.inf], "kind": ["x", "y", "x"]})
    more = Schema((Column("ratio", "numeric", ""), Column("kind", "categorical", "")), {"kind": ("x", "y")})
    joined = left.join(type_frame(frame, more))
    assert joined.schema.numeric == ("size", "flag", "ratio") and joined.schema.categorical == ("colour", "kind")
    np.testing.assert_array_equal(joined.numeric[:, 2], [1, 2, np.nan])
    np.testing.assert_array_equal(joined.codes[:, 1], [0, 1, 0])
    assert joined.datetimes is left.datetimes and joined.texts == left.texts
    assert joined.take(np.array([2, 0])).numeric[1, 0] == 1.5
    with pytest.raises(AssertionError, match="same rows"):
        left.join(type_frame(frame[:2], more))


def test_shifted_columns_come_back_in_their_own_units() -> None:
    seconds = 1.6e9 + np.arange(100.0)
    train = pd.DataFrame({"seconds": seconds})
    table = type_frame(train, build_schema(train, [Column("seconds", "numeric", "")]))
    assert table.numeric.max() < 100
    frame = as_frame(table)
    assert frame["seconds"].dtype == np.float64
    assert frame["seconds"].tolist() == seconds.tolist()
    assert table.numeric.max() < 100
