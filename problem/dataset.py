"""A competition's tables, opened: parsed once per content, memory-mapped ever after."""

import difflib
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foldsmith.problem.agreement import disagreeing, words_again
from foldsmith.problem.columns import infer_columns
from foldsmith.problem.config import Config, DataSection
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
from foldsmith.problem.headers import match_names
from foldsmith.problem.holes import settle_holes, word_columns
from foldsmith.problem.reading import (
    MISSING_TOKENS,
    decimal_mark,
    has_decimal_comma,
    index_columns,
    is_csv,
    number_holes,
    read_frame,
    read_header,
    read_words,
    remarks,
)
from foldsmith.problem.settings import words_of
from foldsmith.problem.tables import (
    Schema,
    Table,
    Target,
    build_schema,
    check_ids,
    save_table,
    type_frame,
)
from foldsmith.problem.target import TargetRequest, read_target
from foldsmith.problem.typing_remarks import other_remarks, train_remarks
from foldsmith.problem.words import Source


@dataclass(frozen=True)
class Dataset:
    """Typed tables and labels.

    Args:
        y: ``(n_rows,)`` int32 class codes or float64 values.
        id_column, test_id_column: names of the id in each file; None where a file has none.
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
    test_id_column: str | None
    remarks: tuple[str, ...] = ()

    @cached_property
    def train_ids(self) -> list[str]:
        """The id column of train as text; row numbers when there is no id."""
        return _read_ids(self.paths[0], self.id_column, self.train.n_rows)

    @cached_property
    def test_ids(self) -> list[str]:
        """The id column of test as text; row numbers when there is no id."""
        return _read_ids(self.paths[1], self.test_id_column, self.test.n_rows)


@dataclass(frozen=True)
class Frames:
    """Both files as read, before typing.

    Args:
        train: the training table with the target.
        test: the test table.
        remarks: how the files were understood where that is not plain from the files, one sentence each.
        keep_na: the columns in which ``NA`` and its like are words.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    remarks: tuple[str, ...] = ()
    keep_na: tuple[str, ...] = ()


def read_ids(path: Path, id_column: str) -> list[str]:
    """The id column as text, exactly as it stands in the file."""
    header = read_header(path)
    stored = match_names([id_column], header, where=("train", path.name)).get(id_column, id_column)
    return [str(value) for value in read_frame(path, columns=[stored], as_text=[stored])[stored]]


def _read_ids(path: Path, id_column: str | None, n_rows: int) -> list[str]:
    return _row_numbers(n_rows) if id_column is None else read_ids(path, id_column)


def _row_numbers(n_rows: int) -> list[str]:
    return [str(number) for number in range(n_rows)]


def test_id_of(data: DataSection) -> str | None:
    """The name of the id in the test file, None where it has none."""
    return data.id if data.test_id is None else data.test_id or None


def target_request(config: Config) -> TargetRequest:
    """What the config says of the target."""
    data, problem = config.data, config.problem
    name = data.target[0]
    return TargetRequest(
        name=name,
        task=problem.task,
        positive=data.positive,
        classes=problem.classes or (),
        keep_na=name in data.keep_na,
    )


def read_target_column(path: Path, name: str) -> pd.Series:
    """A file's target as :func:`read_frames` gives it."""
    if not is_csv(path):
        return read_frame(path, columns=[name])[name]
    return _as_numbers(read_frame(path, columns=[name], as_text=[name])[name], decimal_mark(path))


@dataclass(frozen=True)
class _Names:
    """What the columns of both files are called.

    Args:
        id_column: the id's name in train, None where train has none.
        test_id: its name in test, None where test has none.
        stored: names of test that train writes otherwise, by train's name.
        remarks: one sentence for each of those.
    """

    headers: tuple[list[str], list[str]]
    id_column: str | None
    test_id: str | None
    stored: dict[str, str]
    remarks: tuple[str, ...]

    @property
    def in_train(self) -> dict[str, str]:
        """Train's names of the columns that test writes otherwise."""
        return {other: name for name, other in self.stored.items()}

    @classmethod
    def of(cls, train: Path, test: Path, target: str, id_column: str | None, test_id: str | None) -> Self:
        """Read both headers and match them.

        Raises:
            InputError: the target or an id is not there, or two names are alike.
        """
        header = read_header(train)
        if target not in header:
            raise InputError(unknown_column("target", target, train, header))
        test_header = read_header(test)
        id_in_test = id_column if test_id is None else test_id or None
        for name, path, names in ((id_column, train, header), (id_in_test, test, test_header)):
            if name is not None and name not in [*names, *index_columns(path)]:
                raise InputError(unknown_column("id", name, path, names))
        shared = [name for name in header if name not in (target, id_column)]
        spare = [name for name in test_header if name not in (id_column, id_in_test)]
        stored = match_names(shared, spare, where=(train.name, test.name))
        told = tuple(f"{test.name}: column {other!r} is {name!r} of {train.name}" for name, other in stored.items())
        return cls((header, test_header), id_column, id_in_test, stored, told)


def read_frames(
    train: Path,
    test: Path,
    *,
    target: str,
    id_column: str | None,
    test_id: str | None = None,
    as_text: Sequence[str] = (),
    keep_na: Sequence[str] = (),
    decide_na: bool = True,
) -> Frames:
    """Read both files, check names and ids, and decide over both what are words and which cells are holes.

    Columns in which the files disagree are words in both.

    Args:
        train, test: the files.
        target: the column to predict, in train.
        id_column: the id's name in train.
        test_id: its name in test where that is another one, "" for a test file without ids; without ``id_column`` train
            has none. The test frame gets the ids under train's name, row numbers where the file has none.
        as_text: columns that are words in both, exactly as written.
        keep_na: columns in which ``NA`` and its like are words.
        decide_na: whether there may be more of them, see :mod:`foldsmith.problem.holes`.

    Raises:
        InputError: a missing file, target or id column, a target inside test, duplicated ids.
    """
    names = _Names.of(train, test, target, id_column, test_id)
    ids = {name for name in (names.id_column, names.test_id) if name is not None}
    texts = ids | set(as_text) | set(keep_na) | ({target} if is_csv(train) else set())
    train_frame, test_frame = _read_both(train, test, names, texts)
    test_frame = test_frame.rename(columns=names.in_train)
    words = disagreeing(train_frame, test_frame, leave=[target, *texts])
    train_frame = words_again(train, train_frame, words, {})
    test_frame = words_again(test, test_frame, words, names.stored)
    _lost_words_again(train, train_frame, test_frame, {})
    _lost_words_again(test, test_frame, train_frame, names.stored)
    # Only now it is known which columns are numbers: one that holds nothing but NA in test may be words in train.
    spelled = number_holes(test, test_frame.rename(columns=names.stored))
    spelled = number_holes(train, train_frame) | {
        names.in_train.get(name, name): cell for name, cell in spelled.items()
    }
    holes = settle_holes(
        train_frame, test_frame, number_holes=spelled, keep=keep_na, decide=decide_na, as_text={*ids, target}
    )
    if is_csv(train) and target not in ids:
        train_frame[target] = _as_numbers(train_frame[target], decimal_mark(train))
    _join_ids(train_frame, test_frame, names)
    told = (*remarks(train), *remarks(test), *names.remarks, *holes.remarks)
    return Frames(train_frame, test_frame, told, holes.kept)


def _read_both(train: Path, test: Path, names: _Names, texts: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both files as read, the second time with a decimal comma where the other file tells that there is one."""
    test_texts = {names.stored.get(name, name) for name in texts}
    train_columns = _with_id(names.headers[0], names.id_column)
    test_columns = _with_id(names.headers[1], names.test_id)
    train_frame = read_words(train, columns=train_columns, as_text=texts)
    test_frame = read_words(test, columns=test_columns, as_text=test_texts)
    marks = decimal_mark(train), decimal_mark(test)
    if marks == (",", ".") and has_decimal_comma(test, test_frame, test_texts):
        test_frame = read_words(test, columns=test_columns, as_text=test_texts)
    elif marks == (".", ",") and has_decimal_comma(train, train_frame, texts):
        train_frame = read_words(train, columns=train_columns, as_text=texts)
    return train_frame, test_frame


def _join_ids(train: pd.DataFrame, test: pd.DataFrame, names: _Names) -> None:
    """Give test its ids under train's name, and refuse ids that do not name rows."""
    if names.id_column is None:
        if names.test_id is not None:
            check_ids(None, test[names.test_id], names.test_id)
        return
    if names.test_id is None:
        test[names.id_column] = _row_numbers(len(test))
    elif names.test_id != names.id_column:
        test[names.id_column] = test[names.test_id]
    check_ids(train[names.id_column], test[names.id_column], names.id_column)


def _with_id(header: list[str], id_column: str | None) -> list[str] | None:
    """What to read: all columns, or also the index that pandas writes where it is the id."""
    return None if not id_column or id_column in header else [id_column, *header]


def _lost_words_again(path: Path, frame: pd.DataFrame, other: pd.DataFrame, stored: Mapping[str, str]) -> None:
    """Columns that hold words in the other file: a cell ``NA`` was lost where this one has numbers or nothing else."""
    here = set(word_columns(frame))
    names = [name for name in word_columns(other) if name in frame and name not in here and frame[name].isna().any()]
    if names and is_csv(path):
        in_file = [stored.get(name, name) for name in names]
        again = read_words(path, columns=in_file, as_text=in_file)
        for name, written in zip(names, in_file, strict=True):
            frame[name] = again[written]


def _as_numbers(texts: pd.Series, decimal: str) -> pd.Series:
    """A target's cells as numbers, unless a label would come out otherwise: ``01`` and ``true`` stay text."""
    written = texts.str.replace(",", ".", regex=False) if decimal == "," else texts
    numbers = pd.to_numeric(written, errors="coerce")
    is_word = numbers.isna() & texts.notna()
    if (is_word & ~texts.isin(MISSING_TOKENS)).any() or is_word.all():
        return texts
    if is_word.any():
        return written.where(~is_word, texts)  # NA among numbers: what it means is decided with the labels
    is_float = pd.api.types.is_float_dtype(numbers.dtype)
    keeps = is_float or (numbers.astype("str") == texts.str.strip()).all()
    if is_float and _mostly_whole(texts, numbers):
        return numbers.astype("int64")
    return numbers if keeps else texts


def _mostly_whole(texts: pd.Series, numbers: pd.Series) -> bool:
    """Whether labels such as 0 and 1 are only here and there written 1.0."""
    if numbers.isna().any() or (numbers != numbers.round()).any() or numbers.abs().max() >= 2**53:
        return False
    return bool(texts.iloc[:10_000].str.strip().str.fullmatch(r"-?\d+").mean() > 0.5)


def unknown_column(what: str, name: str, path: Path, header: Sequence[str]) -> str:
    """What to say of a column that a file does not have."""
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
    # What was added later counts only where it is used: folders from before keep their names.
    later: list[Any] = [part for part in (config.problem.classes, data.test_id) if part is not None]
    if data.keep_na:
        later.append(list(data.keep_na))
    train_fingerprint = digest(
        file_digest(paths[0]), data.target, data.id, data.positive, config.problem.task, dict(config.columns), *later
    )
    test_fingerprint = digest(file_digest(paths[1]), train_fingerprint)
    train_folder, test_folder = folder.tables / train_fingerprint, folder.tables / test_fingerprint
    if not (train_folder.exists() and test_folder.exists()):
        read = frames or _read(config, paths, train_folder)
        _store(folder, config, read, train_fingerprint, test_fingerprint, typed_test)
    try:
        return _stored(folder, config, train_fingerprint, test_fingerprint)
    except _UNREADABLE as error:
        warnings.warn(
            f"the stored copy of the tables is damaged and made anew from the files: {error!r:.300}",
            FoldsmithWarning,
            stacklevel=2,
        )
    _store_anew(folder, config, train_fingerprint, test_fingerprint)
    return _stored(folder, config, train_fingerprint, test_fingerprint)


# What reading a damaged copy of a table may end with.
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, FileNotFoundError, pa.ArrowException)


def _store_anew(folder: Folder, config: Config, train_name: str, test_name: str) -> None:
    """Type both files again, by the schema that either stored table still tells: members were made under it."""
    paths = folder.resolve(config.data.train), folder.resolve(config.data.test)
    schema: Schema | None = None
    for name in (test_name, train_name):
        with suppress(*_UNREADABLE):
            schema = Schema.from_json(read_json(folder.tables / name / "schema.json"))
    for name in (train_name, test_name):
        shutil.rmtree(folder.tables / name, ignore_errors=True)
    frames = _read(config, paths, folder.tables / train_name, schema)
    typed_test = None if schema is None else type_frame(frames.test, schema)
    _store(folder, config, frames, train_name, test_name, typed_test)


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
    return Dataset(
        train,
        test,
        target,
        y,
        train_fingerprint,
        test_fingerprint,
        (folder.resolve(config.data.train), folder.resolve(config.data.test)),
        config.data.id,
        test_id_of(config.data),
        (*_read_remarks(folder, train_fingerprint), *_read_remarks(folder, test_fingerprint)),
    )


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


def _read(config: Config, paths: tuple[Path, Path], train_folder: Path, schema: Schema | None = None) -> Frames:
    """Both files as the config and a stored schema want them: what are words there are words here."""
    data = config.data
    texts = set(words_of(config.columns))
    if schema is None and train_folder.exists():
        schema = Table.open(train_folder).schema
    if schema is not None:
        texts |= set(schema.as_written)
    return read_frames(
        *paths,
        target=data.target[0],
        id_column=data.id,
        test_id=data.test_id,
        as_text=sorted(texts),
        keep_na=data.keep_na,
        decide_na=False,
    )


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
        target, y, _ = read_target(frames.train[data.target[0]], target_request(config))
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
    _save_ids(folder, test_name, frames.test, test_id_of(data))
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
