"""A competition's tables, opened: parsed once per content, memory-mapped ever after."""

import difflib
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foldsmith.problem.columns import infer_columns
from foldsmith.problem.config import Config
from foldsmith.problem.errors import DamagedFileError, FoldsmithWarning, InputError
from foldsmith.problem.files import (
    digest,
    file_digest,
    read_array,
    read_json,
    write_array,
    write_atomically,
    write_json,
)
from foldsmith.problem.folder import Folder
from foldsmith.problem.reading import read_frame, read_header
from foldsmith.problem.tables import (
    Schema,
    Table,
    Target,
    build_schema,
    check_ids,
    save_table,
    type_frame,
    type_target,
)


@dataclass(frozen=True)
class Dataset:
    """Typed tables and labels.

    Args:
        y: ``(n_rows,)`` int32 class codes or float64 values.
        train_fingerprint: of the train file's content, the target and the column kinds.
        test_fingerprint: of the test file's content under that schema.
    """

    train: Table
    test: Table
    target: Target
    y: NDArray[Any]
    train_fingerprint: str
    test_fingerprint: str
    paths: tuple[Path, Path]
    id_column: str | None

    @cached_property
    def train_ids(self) -> list[str]:
        """The id column of train as text; row numbers when there is no id."""
        return self._ids(self.paths[0], self.train.n_rows)

    @cached_property
    def test_ids(self) -> list[str]:
        """The id column of test as text; row numbers when there is no id."""
        return self._ids(self.paths[1], self.test.n_rows)

    def _ids(self, path: Path, n_rows: int) -> list[str]:
        return [str(number) for number in range(n_rows)] if self.id_column is None else read_ids(path, self.id_column)


@dataclass(frozen=True)
class Frames:
    """Both files as read, before typing.

    Args:
        train: the training table with the target.
        test: the test table.
        remarks: how the files were understood where that is not plain from the files, one sentence each.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    remarks: tuple[str, ...] = ()


def read_ids(path: Path, id_column: str) -> list[str]:
    """The id column as text, exactly as it stands in the file."""
    return [str(value) for value in read_frame(path, columns=[id_column], as_text=[id_column])[id_column]]


def read_frames(train: Path, test: Path, *, target: str, id_column: str | None, as_text: Sequence[str] = ()) -> Frames:
    """Read both files and check names and ids.

    Raises:
        InputError: a missing file, target or id column, a target inside test, duplicated ids.
    """
    header = read_header(train)
    if target not in header:
        raise InputError(_unknown_column("target", target, train, header))
    test_header = read_header(test)
    if id_column is not None:
        for path, names in ((train, header), (test, test_header)):
            if id_column not in names:
                raise InputError(_unknown_column("id", id_column, path, names))
    texts = {name for name in (*as_text, id_column) if name is not None}
    is_csv = train.suffix.lower() != ".parquet"
    train_frame = read_frame(train, as_text=sorted(texts & set(header) | ({target} if is_csv else set())))
    if is_csv and target not in texts:
        train_frame[target] = _as_numbers(train_frame[target])
    frames = Frames(train_frame, read_frame(test, as_text=sorted(texts & set(test_header))))
    if id_column is not None:
        check_ids(frames.train[id_column], frames.test[id_column], id_column)
    return frames


def _as_numbers(texts: pd.Series) -> pd.Series:
    """A target's cells as numbers, unless a label would come out otherwise: ``01`` and ``true`` stay text."""
    numbers = pd.to_numeric(texts, errors="coerce")
    if (numbers.isna() & texts.notna()).any():
        return texts
    keeps = pd.api.types.is_float_dtype(numbers.dtype) or (numbers.astype("str") == texts.str.strip()).all()
    return numbers if keeps else texts


def _unknown_column(what: str, name: str, path: Path, header: Sequence[str]) -> str:
    near = [known for known in header if known.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name, header, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"{what} {name!r} is not a column of {path.name};{hint} columns: {', '.join(header)}"


def open_dataset(
    folder: Folder, config: Config, frames: Frames | None = None, typed_test: Table | None = None
) -> Dataset:
    """Open the tables that the config names; parse and store them on the first call.

    Args:
        frames: the files' content, if it was read already.
        typed_test: the test table of these frames with the schema of the train table, if it was made already: columns
            are not inferred twice.

    Raises:
        InputError: whatever is wrong with the files.
    """
    paths = folder.resolve(config.data.train), folder.resolve(config.data.test)
    for path in paths:
        if not path.is_file():
            raise InputError(f"no such file: {path}; correct [data] in {folder.config.name}")
    data = config.data
    train_fingerprint = digest(
        file_digest(paths[0]), data.target, data.id, data.positive, config.problem.task, dict(config.columns)
    )
    test_fingerprint = digest(file_digest(paths[1]), train_fingerprint)
    train_folder, test_folder = folder.tables / train_fingerprint, folder.tables / test_fingerprint
    if not (train_folder.exists() and test_folder.exists()):
        _store(folder, config, frames or _read(config, paths), train_fingerprint, test_fingerprint, typed_test)
    try:
        return _stored(folder, config, train_fingerprint, test_fingerprint)
    except _UNREADABLE as error:
        warnings.warn(
            f"the stored copy of the tables is damaged and made anew from the files: {error!r:.300}",
            FoldsmithWarning,
            stacklevel=2,
        )
    for name in (train_fingerprint, test_fingerprint):
        shutil.rmtree(folder.tables / name, ignore_errors=True)
    _store(folder, config, frames or _read(config, paths), train_fingerprint, test_fingerprint, typed_test)
    return _stored(folder, config, train_fingerprint, test_fingerprint)


# What reading a damaged copy of a table may end with.
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, FileNotFoundError, pa.ArrowException)


def _stored(folder: Folder, config: Config, train_fingerprint: str, test_fingerprint: str) -> Dataset:
    """Open what :func:`_store` wrote.

    Raises:
        DamagedFileError: an array is not as its schema says; or one of ``_UNREADABLE``.
    """
    train_folder, test_folder = folder.tables / train_fingerprint, folder.tables / test_fingerprint
    target = Target.from_json(read_json(folder.tables / f"{train_fingerprint}.target.json"))
    y_path = folder.tables / f"{train_fingerprint}.y.npy"
    y = np.asarray(read_array(y_path))
    train, test = _checked(Table.open(train_folder), train_folder), _checked(Table.open(test_folder), test_folder)
    if y.shape != (train.n_rows,) or y.dtype.kind not in "if" or not np.isfinite(y).all():
        raise DamagedFileError(f"{y_path} holds {y.dtype} of shape {y.shape}, not the labels of {train.n_rows} rows")
    if target.task != "regression" and len(y) and not (y.min() >= 0 and y.max() < len(target.classes)):
        raise DamagedFileError(f"{y_path} holds codes of classes that there are not")
    paths = folder.resolve(config.data.train), folder.resolve(config.data.test)
    return Dataset(train, test, target, y, train_fingerprint, test_fingerprint, paths, config.data.id)


def _checked(table: Table, folder: Path) -> Table:
    """The table, if its arrays have the shape that its schema says."""
    schema = table.schema
    for name, columns in (
        ("numeric", schema.numeric),
        ("codes", schema.categorical),
        ("datetimes", schema.datetime),
    ):
        array = getattr(table, name)
        if array.shape != (table.n_rows, len(columns)) or array.dtype.kind not in "fiuM":
            raise DamagedFileError(f"{folder / name}.npy holds {array.dtype} of shape {array.shape}")
    if any(len(text) != table.n_rows for text in table.texts) or len(table.texts) != len(schema.text):
        raise DamagedFileError(f"{folder / 'text.arrow'} has not one text per row")
    return table


def _read(config: Config, paths: tuple[Path, Path]) -> Frames:
    return read_frames(*paths, target=config.data.target[0], id_column=config.data.id)


def _store(
    folder: Folder, config: Config, frames: Frames, train_name: str, test_name: str, typed_test: Table | None
) -> None:
    """Type both tables; a table's folder appears last, so that it vouches for the labels beside it."""
    data = config.data
    folder.tables.mkdir(parents=True, exist_ok=True)
    train_folder = folder.tables / train_name
    if train_folder.exists():
        schema = Table.open(train_folder).schema
    else:
        target, y, _ = type_target(
            frames.train[data.target[0]], name=data.target[0], task=config.problem.task, positive=data.positive
        )
        schema = _schema(frames, config) if typed_test is None else typed_test.schema
        write_array(folder.tables / f"{train_name}.y.npy", y)
        write_json(folder.tables / f"{train_name}.target.json", target.to_json())
        _save_ids(folder, train_name, frames.train, data.id)
        save_table(type_frame(frames.train, schema), train_folder)
    if typed_test is None or typed_test.schema != schema:
        typed_test = type_frame(frames.test, schema)
    _save_ids(folder, test_name, frames.test, data.id)
    write_json(folder.tables / f"{test_name}.test.json", {"train": train_name})
    save_table(typed_test, folder.tables / test_name)


def _save_ids(folder: Folder, name: str, frame: pd.DataFrame, id_column: str | None) -> None:
    """Keep the ids of a version beside its table: rows are told apart by them when the file has changed."""
    if id_column is None:
        return
    ids = pa.table({"id": pa.array([str(value) for value in frame[id_column]], pa.large_string())})
    write_atomically(folder.tables / f"{name}.ids.parquet", lambda file: pq.write_table(ids, file))


def _schema(frames: Frames, config: Config) -> Schema:
    target, id_column = config.data.target[0], config.data.id
    columns = infer_columns(frames.train, frames.test, target=target, id_column=id_column, overrides=config.columns)
    return build_schema(frames.train, columns, test=frames.test)
