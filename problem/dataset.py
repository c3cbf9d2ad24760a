"""A competition's tables, opened: parsed once per content, memory-mapped ever after."""

import difflib
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

from foldsmith.problem.agreement import disagreeing, read_words
from foldsmith.problem.columns import infer_columns
from foldsmith.problem.config import Config
from foldsmith.problem.errors import InputError
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
from foldsmith.problem.headers import match_names
from foldsmith.problem.reading import read_frame, read_header
from foldsmith.problem.settings import words_of
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
from foldsmith.problem.typing_remarks import other_remarks, train_remarks
from foldsmith.problem.words import Source


@dataclass(frozen=True)
class Dataset:
    """Typed tables and labels.

    Args:
        y: ``(n_rows,)`` int32 class codes or float64 values.
        train_fingerprint: of the train file's content, the target and the column kinds.
        test_fingerprint: of the test file's content under that schema.
        remarks: how the cells of both files were understood where that is not plain, one sentence each.
    """

    train: Table
    test: Table
    target: Target
    y: NDArray[Any]
    train_fingerprint: str
    test_fingerprint: str
    paths: tuple[Path, Path]
    id_column: str | None
    remarks: tuple[str, ...] = ()

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
    header = read_header(path)
    stored = match_names([id_column], header, where=("train", path.name)).get(id_column, id_column)
    return [str(value) for value in read_frame(path, columns=[stored], as_text=[stored])[stored]]


def read_frames(train: Path, test: Path, *, target: str, id_column: str | None, as_text: Sequence[str] = ()) -> Frames:
    """Read both files and check names and ids; columns in which they disagree are words in both.

    Args:
        train, test: the files.
        target: the column to predict, in train.
        id_column: the declared id, in both.
        as_text: columns that are words in both, exactly as written.

    Raises:
        InputError: a missing file, target or id column, a target inside test, duplicated ids.
    """
    header = read_header(train)
    if target not in header:
        raise InputError(_unknown_column("target", target, train, header))
    test_header = read_header(test)
    shared = [name for name in header if name != target]
    stored = match_names(shared, test_header, where=(train.name, test.name))
    remarks = [f"{test.name}: column {other!r} is {name!r} of {train.name}" for name, other in stored.items()]
    if id_column is not None:
        for path, names in ((train, header), (test, [*test_header, *stored])):
            if id_column not in names:
                raise InputError(_unknown_column("id", id_column, path, names))
    texts = {name for name in (*as_text, id_column) if name is not None}
    is_csv = train.suffix.lower() != ".parquet"
    train_frame = read_frame(train, as_text=sorted(texts & set(header) | ({target} if is_csv else set())))
    if is_csv and target not in texts:
        train_frame[target] = _as_numbers(train_frame[target])
    test_texts = {stored.get(name, name) for name in texts}
    test_frame = read_frame(test, as_text=sorted(test_texts & set(test_header)))
    test_frame = test_frame.rename(columns={other: name for name, other in stored.items()})
    words = disagreeing(train_frame, test_frame, leave=[target, *texts])
    frames = Frames(
        read_words(train, train_frame, words, {}), read_words(test, test_frame, words, stored), tuple(remarks)
    )
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
        _store(
            folder,
            config,
            frames or _read(config, paths, train_folder),
            train_fingerprint,
            test_fingerprint,
            typed_test,
        )
    target = Target.from_json(read_json(folder.tables / f"{train_fingerprint}.target.json"))
    y = np.asarray(read_array(folder.tables / f"{train_fingerprint}.y.npy"))
    return Dataset(
        Table.open(train_folder),
        Table.open(test_folder),
        target,
        y,
        train_fingerprint,
        test_fingerprint,
        paths,
        data.id,
        (*_read_remarks(folder, train_fingerprint), *_read_remarks(folder, test_fingerprint)),
    )


def _read(config: Config, paths: tuple[Path, Path], train_folder: Path) -> Frames:
    """Both files as the config and a stored schema want them: what are words there are words here."""
    texts = set(words_of(config.columns))
    if train_folder.exists():
        texts |= set(Table.open(train_folder).schema.as_written)
    return read_frames(*paths, target=config.data.target[0], id_column=config.data.id, as_text=sorted(texts))


def _remarks_path(folder: Folder, name: str) -> Path:
    return folder.tables / f"{name}.remarks.json"


def _read_remarks(folder: Folder, name: str) -> tuple[str, ...]:
    path = _remarks_path(folder, name)
    return tuple(read_json(path)["remarks"]) if path.exists() else ()


def _store(
    folder: Folder, config: Config, frames: Frames, train_name: str, test_name: str, typed_test: Table | None
) -> None:
    """Type both tables; a table's folder appears last, so that it vouches for the labels beside it."""
    data = config.data
    paths = folder.resolve(data.train), folder.resolve(data.test)
    sources = Source.of(paths[0]), Source.of(paths[1])
    folder.tables.mkdir(parents=True, exist_ok=True)
    train_folder = folder.tables / train_name
    is_later = train_folder.exists()
    if is_later:
        schema = Table.open(train_folder).schema
    else:
        target, y, _ = type_target(
            frames.train[data.target[0]], name=data.target[0], task=config.problem.task, positive=data.positive
        )
        schema = _schema(frames, config, sources) if typed_test is None else typed_test.schema
    if typed_test is None or typed_test.schema != schema:
        typed_test = type_frame(frames.test, schema)
    test_remarks = other_remarks(frames.test, typed_test, sources[1], is_later=is_later)
    if not is_later:
        typed_train = type_frame(frames.train, schema)
        told = train_remarks(frames.train, typed_train, sources[0])
        write_array(folder.tables / f"{train_name}.y.npy", y)
        write_json(folder.tables / f"{train_name}.target.json", target.to_json())
        write_json(_remarks_path(folder, train_name), {"remarks": list(told)})
        _save_ids(folder, train_name, frames.train, data.id)
        save_table(typed_train, train_folder)
    _save_ids(folder, test_name, frames.test, data.id)
    write_json(_remarks_path(folder, test_name), {"remarks": [*frames.remarks, *test_remarks]})
    write_json(folder.tables / f"{test_name}.test.json", {"train": train_name})
    save_table(typed_test, folder.tables / test_name)


def _save_ids(folder: Folder, name: str, frame: pd.DataFrame, id_column: str | None) -> None:
    """Keep the ids of a version beside its table: rows are told apart by them when the file has changed."""
    if id_column is None:
        return
    ids = pa.table({"id": pa.array([str(value) for value in frame[id_column]], pa.large_string())})
    write_atomically(folder.tables / f"{name}.ids.parquet", lambda file: pq.write_table(ids, file))


def _schema(frames: Frames, config: Config, sources: tuple[Source, Source]) -> Schema:
    columns = infer_columns(
        frames.train,
        frames.test,
        target=config.data.target[0],
        id_column=config.data.id,
        overrides=config.columns,
        sources=sources,
    )
    return build_schema(frames.train, columns, test=frames.test)
