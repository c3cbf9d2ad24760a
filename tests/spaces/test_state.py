"""Attributes come back from their files as they were, and what would need pickle is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.spaces.state import load_state, save_state

PLAIN = {
    "nothing": None,
    "flag": True,
    "count": 3,
    "share": float("inf"),
    "words": ["a", ["b", 2]],
    "pair": (1, "x"),
    "seen": {1, 2},
    "by number": {1: "a", (2, "b"): {"c": 0.5}, None: []},
    "when": pd.Timestamp("2021-03-04 05:06"),
    "span": pd.Timedelta("3h"),
}


def back(tmp_path: Path, **attributes: Any) -> dict[str, Any]:
    save_state(attributes, tmp_path)
    return load_state(tmp_path)


def test_plain_values(tmp_path: Path) -> None:
    found = back(tmp_path, **PLAIN)
    assert found == PLAIN
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in PLAIN.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_arrays(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "floats": np.arange(6.0).reshape(2, 3),
        "dates": np.array(["2021-01-01", "NaT"], "datetime64[us]"),
        "names": np.array(["a", "bc"]),
        "nested": {"a": np.float32(1.5), "b": np.array([True])},
    }
    found = back(tmp_path, **arrays)
    for name in ("floats", "dates", "names"):
        np.testing.assert_array_equal(found[name], arrays[name])
        assert found[name].dtype == arrays[name].dtype
    assert found["nested"]["a"] == np.float32(1.5) and found["nested"]["b"].tolist() == [True]
    objects = back(tmp_path, mixed=np.array([["a", 1], [None, 2.5]], dtype=object))["mixed"]
    assert objects.dtype == object and objects.tolist() == [["a", 1], [None, 2.5]]


def test_pandas_objects(tmp_path: Path) -> None:
    frame = pd.DataFrame({"k": ["a", "a", "b"], "n": [1, 2, 3], "x": [0.5, None, 2.0]})
    attributes = {
        "means": frame.groupby("k")["x"].mean(),
        "by two": frame.groupby(["k", "n"])["x"].sum(),
        "unnamed": pd.Series([1, 2]),
        "frame": frame,
        "columns": frame.columns,
        "level": frame["k"].astype("category"),
    }
    found = back(tmp_path, **attributes)
    for name, value in attributes.items():
        assert type(found[name]) is type(value)
        assert found[name].equals(value)
    assert found["means"].name == "x" and found["means"].index.name == "k" and found["unnamed"].name is None
    assert found["by two"].index.names == ["k", "n"]


@pytest.mark.parametrize("value", [object(), [lambda x: x], pd.Series([object()]), np.array([object()])])
def test_what_needs_pickle_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"attribute 'model_' is (of the type .* or write save and load|a pandas)"):
        save_state({"model_": value}, tmp_path)


def test_the_files_are_json_npz_and_parquet(tmp_path: Path) -> None:
    back(tmp_path, **PLAIN, array=np.arange(3), frame=pd.DataFrame({"a": ["x"]}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-0.parquet", "state.json", "state.npz"]
