"""An object's attributes as files without pickle: JSON, one npz for arrays, one parquet file per pandas object."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

STATE, ARRAYS = "state.json", "state.npz"


def save_state(attributes: Mapping[str, Any], folder: Path) -> None:
    """Write ``state.json``, and ``state.npz`` and ``state-<n>.parquet`` where they are needed.

    Kept are None, booleans, numbers, strings, lists, tuples, sets, dicts with any of these as keys, NumPy arrays and
    pandas Series, frames, indexes and timestamps.

    Raises:
        TypeError: an attribute is something else; names it.
    """
    writer = _Writer(folder)
    record = {}
    for name, value in attributes.items():
        try:
            record[name] = writer.encode(value)
        except TypeError as error:
            raise TypeError(f"attribute {name!r} {error}") from None
    (folder / STATE).write_text(json.dumps({"format": 1, "attributes": record}))
    if writer.arrays:
        arrays: dict[str, Any] = writer.arrays
        np.savez(folder / ARRAYS, **arrays)


def load_state(folder: Path) -> dict[str, Any]:
    """What :func:`save_state` wrote; the types are the same."""
    record = json.loads((folder / STATE).read_text())["attributes"]
    arrays: dict[str, NDArray[Any]] = {}
    if (folder / ARRAYS).exists():
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    return {name: _decode(value, arrays, folder) for name, value in record.items()}


class _Writer:
    """Turns values into JSON; what is too large for it goes into arrays and files beside."""

    def __init__(self, folder: Path) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._folder = folder
        self._n_frames = 0

    def encode(self, value: Any) -> Any:
        """JSON of a value; everything but the types of JSON is ``{type: content}``."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):
            return {"dict": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if type(value) in (tuple, set, frozenset):
            return {type(value).__name__: [self.encode(item) for item in value]}
        if isinstance(value, pd.Timestamp | pd.Timedelta):
            return {type(value).__name__: value.isoformat()}
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value)
        if isinstance(value, pd.Index) and not isinstance(value, pd.MultiIndex):
            return {"index": [self._frame(pd.DataFrame({"value": value})), value.name]}
        if isinstance(value, pd.Series):
            return {"series": [self._frame(value.to_frame("value")), self.encode(value.name)]}
        if isinstance(value, pd.DataFrame):
            return {"frame": self._frame(value)}
        raise TypeError(
            f"is of the type {type(value).__module__}.{type(value).__qualname__}, which is not kept by itself; keep "
            "arrays, numbers, strings, dicts or pandas objects, or write save and load"
        )

    def _array(self, value: NDArray[Any] | np.generic) -> Any:
        if value.dtype.hasobject:
            return {"objects": [self.encode(np.asarray(value).ravel().tolist()), list(value.shape)]}
        name = f"array_{len(self.arrays)}"
        self.arrays[name] = np.asarray(value)
        return {"scalar" if isinstance(value, np.generic) else "array": name}

    def _frame(self, frame: pd.DataFrame) -> str:
        name = f"state-{self._n_frames}.parquet"
        self._n_frames += 1
        try:
            pq.write_table(pa.Table.from_pandas(frame), self._folder / name)
            same = _read_frame(self._folder / name).equals(frame)
        except (pa.ArrowException, TypeError, ValueError):
            same = False
        if not same:
            raise TypeError("is a pandas object that parquet does not give back as it was; make its dtypes simpler")
        return name


def _read_frame(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(path).to_pandas()
    return frame


def _decode(value: Any, arrays: Mapping[str, NDArray[Any]], folder: Path) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays, folder) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_decode(key, arrays, folder): _decode(item, arrays, folder) for key, item in content}
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](_decode(content, arrays, folder))
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "objects":
        objects = np.empty(len(content[0]), object)
        objects[:] = _decode(content[0], arrays, folder)
        return objects.reshape(content[1])
    return _decode_pandas(kind, content, arrays, folder)


_COLLECTIONS: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def _decode_pandas(kind: str, content: Any, arrays: Mapping[str, NDArray[Any]], folder: Path) -> Any:
    if kind == "Timestamp":
        return pd.Timestamp(content)
    if kind == "Timedelta":
        return pd.Timedelta(content)
    if kind == "frame":
        return _read_frame(folder / content)
    name, of = content
    series = _read_frame(folder / name)["value"]
    if kind == "index":
        return pd.Index(series, name=of)
    return series.rename(_decode(of, arrays, folder))
