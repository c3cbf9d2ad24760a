"""The transformers that ``[features]`` names: loaded, tried on a sample, fitted on train rows, packed with a model."""

import inspect
import io
import json
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError
from foldsmith.problem.frames import as_frame
from foldsmith.problem.tables import Schema, Table, type_frame
from foldsmith.problem.usercode import load_object, sources_digest
from foldsmith.spaces.new_columns import new_columns, run_user, schema_of
from foldsmith.spaces.transformer import FunctionTransformer, Transformer, is_stateless

SAMPLE_ROWS = 5000
ALONE_ROWS = 16  # of the sample, that are transformed again without the others
_RECORD = "features.json"

Maker = Callable[[], Transformer]


@dataclass(frozen=True)
class FittedFeature:
    """One fitted transformer and the kinds of the columns that it makes."""

    reference: str
    transformer: Transformer
    schema: Schema

    def transform(self, frame: pd.DataFrame) -> Table:
        """The new columns of a frame's rows, typed.

        Raises:
            InputError: the transformer failed or returned other rows or columns.
        """
        if not len(frame):
            return Table(
                self.schema,
                0,
                np.zeros((0, len(self.schema.numeric)), np.float32),
                np.zeros((0, len(self.schema.categorical)), np.int32),
                np.zeros((0, len(self.schema.datetime)), np.int64),
                (),
            )
        given = frame.copy(deep=False)
        made = run_user(self.reference, "transform", frame, self.transformer.transform, given)
        return type_frame(new_columns(self.reference, made, frame, self.schema), self.schema)


class FittedFeatures:
    """Fitted transformers, in order.

    Args:
        before: stateless ones that stand before them, whose columns they may use.
        packed: all of them as a zip file.
    """

    def __init__(self, parts: Sequence[FittedFeature], before: "FittedFeatures | None", packed: bytes = b"") -> None:
        self._parts = tuple(parts)
        self._before = before
        self._packed = packed
        # The test table is the same object for all trials of a worker.
        self._known: weakref.WeakKeyDictionary[Table, Table] = weakref.WeakKeyDictionary()

    def columns(self, table: Table) -> Table:
        """The new columns of every row of ``table``, those of ``before`` included."""
        if table not in self._known:
            before = None if self._before is None else self._before.columns(table)
            self._known[table] = _chain(table, before, self._parts)
        return self._known[table]

    def remember(self, table: Table, columns: Table) -> None:
        """Note the new columns of a table that are known already."""
        self._known[table] = columns

    def parts(self) -> tuple[FittedFeature, ...]:
        """All transformers."""
        return self._parts if self._before is None else (*self._before.parts(), *self._parts)

    def save(self, path: Path) -> None:
        """Write the zip file."""
        path.write_bytes(self._packed)


@dataclass(frozen=True)
class Features:
    """The transformers of a competition.

    Args:
        references: as the config names them.
        makers: each makes a new transformer.
        digest: of the list and the source; 6 hexadecimal digits.
    """

    references: tuple[str, ...]
    makers: tuple[Maker, ...]
    digest: str
    _shared: weakref.WeakKeyDictionary[Table, FittedFeatures] = field(
        default_factory=weakref.WeakKeyDictionary, compare=False, repr=False
    )

    @property
    def suffix(self) -> str:
        """Stands behind the version of a space: trials with other features are not the same trials."""
        return f"+features-{self.digest}"

    @property
    def n_stateless(self) -> int:
        """How many of the first transformers learn nothing."""
        stateless = [is_stateless(make()) for make in self.makers]
        return stateless.index(False) if False in stateless else len(stateless)

    def fit(
        self, table: Table, y: NDArray[Any], train_rows: NDArray[np.int64], seed: int
    ) -> tuple[FittedFeatures, Table]:
        """Fit on the train rows of ``table``; also returns the new columns of all its rows.

        Raises:
            InputError: a transformer failed, or what it returned cannot be used.
        """
        shared = self._fit_stateless(table)
        cut = self.n_stateless
        rest_rows = np.setdiff1d(np.arange(table.n_rows), train_rows, assume_unique=True)
        made = shared.columns(table)
        train, rest = ([as_frame(part.take(rows)) for part in (table, made)] for rows in (train_rows, rest_rows))
        inner, outer = _beside(train), _beside(rest)
        parts = []
        labels = y[train_rows]
        for reference, make in zip(self.references[cut:], self.makers[cut:], strict=True):
            part, of_train = _fit_one(reference, make, inner, labels, seed)
            of_rest = part.transform(outer)
            inner, outer = _beside([inner, as_frame(of_train)]), _beside([outer, as_frame(of_rest)])
            made = made.join(_scatter(table.n_rows, (train_rows, of_train), (rest_rows, of_rest)))
            parts.append(part)
        every = (*shared.parts(), *parts)
        return FittedFeatures(parts, shared, _pack(self, every)), made

    def _fit_stateless(self, table: Table) -> FittedFeatures:
        """The first transformers that learn nothing, once for all folds of a table."""
        if table not in self._shared:
            frame = as_frame(table)
            made, parts = _no_columns(table.n_rows), []
            for reference, make in list(zip(self.references, self.makers, strict=True))[: self.n_stateless]:
                part, columns = _type_one(reference, make(), frame)
                made, frame = made.join(columns), _beside([frame, as_frame(columns)])
                parts.append(part)
            shared = FittedFeatures(parts, None, b"")
            shared.remember(table, made)
            self._shared[table] = shared
        return self._shared[table]

    def load(self, path: Path) -> FittedFeatures:
        """Read what :meth:`FittedFeatures.save` wrote.

        Raises:
            InputError: the code was changed since.
        """
        packed = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(packed)) as archive, tempfile.TemporaryDirectory() as place:
            record = json.loads(archive.read(_RECORD))
            if record["digest"] != self.digest:
                raise InputError(
                    f"the model was fitted with the features {record['digest']}, but [features] and code/ are now "
                    f"{self.digest}; put them back, or fit again"
                )
            archive.extractall(place)
            parts = []
            for number, (reference, make) in enumerate(zip(self.references, self.makers, strict=True)):
                transformer = make()
                run_user(reference, "load", None, transformer.load, Path(place) / str(number))
                parts.append(FittedFeature(reference, transformer, Schema.from_json(record["schemas"][number])))
        return FittedFeatures(parts, None, packed)


def load_features(references: Sequence[str], code_folder: Path) -> Features | None:
    """The transformers that ``[features]`` names; None when it names none.

    Raises:
        InputError: a file or name is missing, fails when imported, or is no transformer; one is named twice.
    """
    if not references:
        return None
    twice = [name for name in references if list(references).count(name) > 1]
    if twice:
        raise InputError(f"[features] use names {twice[0]!r} twice; name it once")
    makers = tuple(_maker(reference, load_object(reference, code_folder)) for reference in references)
    return Features(tuple(references), makers, sources_digest(references, code_folder)[:6])


def _maker(reference: str, loaded: Any) -> Maker:
    if inspect.isfunction(loaded):
        return lambda: FunctionTransformer(loaded)
    if not (inspect.isclass(loaded) and issubclass(loaded, Transformer)):
        raise InputError(
            f"{reference} is neither a function of a frame nor a class derived from "
            "foldsmith.spaces.transformer.Transformer; make it one of them"
        )
    if inspect.isabstract(loaded):
        raise InputError(
            f"{reference} has no transform; write transform(self, X), which returns a frame of new columns"
        )
    try:
        loaded()
    except Exception as error:
        raise InputError(
            f"{reference}() failed with {type(error).__name__}: {error}; it is made without arguments"
        ) from error
    return cast(Maker, loaded)


def try_features(features: Features, table: Table, y: NDArray[Any]) -> Schema:
    """Fit on a sample of at most 5,000 rows; the schema of the new columns.

    Raises:
        InputError: a transformer failed, or what a row gets depends on the other rows.
    """
    rows = np.arange(table.n_rows)
    if table.n_rows > SAMPLE_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(table.n_rows, SAMPLE_ROWS, replace=False))
    sample = table.take(rows)
    train_rows = np.flatnonzero(np.arange(len(rows)) % 5 != 4)
    fitted, made = features.fit(sample, y[rows], train_rows, seed=0)
    _check_rows_are_alone(sample, fitted)
    return made.schema


def _check_rows_are_alone(sample: Table, fitted: FittedFeatures) -> None:
    """Transform some rows with and without the others; only what a row holds itself may count."""
    few = np.unique(np.linspace(0, sample.n_rows - 1, ALONE_ROWS).astype(np.int64))
    together, alone = _beside([as_frame(sample)]), as_frame(sample.take(few))
    for part in fitted.parts():
        expected, found = part.transform(together), part.transform(alone)
        for name in (*part.schema.numeric, *part.schema.categorical, *part.schema.datetime):
            if not _same(as_frame(expected.take(few))[name], as_frame(found)[name]):
                raise InputError(
                    f"{part.reference}: column {name!r} of a row depends on the other rows that transform is given; "
                    "learn what is to be known of them in fit, and look it up in transform"
                )
        together, alone = _beside([together, as_frame(expected)]), _beside([alone, as_frame(found)])


def _same(expected: pd.Series, found: pd.Series) -> bool:
    if pd.api.types.is_float_dtype(expected.dtype):
        return np.allclose(expected.to_numpy(), found.to_numpy(), rtol=1e-4, atol=1e-6, equal_nan=True)
    return expected.equals(found)


def _fit_one(
    reference: str, make: Maker, frame: pd.DataFrame, labels: NDArray[Any], seed: int
) -> tuple[FittedFeature, Table]:
    """Fit one transformer; what it learned has gone through its files, as it will after a restart."""
    transformer = make()
    if is_stateless(transformer):
        return _type_one(reference, transformer, frame)
    transformer.seed = seed
    given = frame.copy(deep=False)
    made = run_user(reference, "fit", frame, transformer.fit_transform, given, labels.copy())
    schema = schema_of(reference, new_columns(reference, made, frame, None))
    again = make()
    with tempfile.TemporaryDirectory() as place:
        run_user(reference, "save", None, transformer.save, Path(place))
        run_user(reference, "load", None, again.load, Path(place))
    columns = type_frame(new_columns(reference, made, frame, schema), schema)
    return FittedFeature(reference, again, schema), columns


def _type_one(reference: str, transformer: Transformer, frame: pd.DataFrame) -> tuple[FittedFeature, Table]:
    given = frame.copy(deep=False)
    made = run_user(reference, "transform", frame, transformer.transform, given)
    made = new_columns(reference, made, frame, None)
    schema = schema_of(reference, made)
    return FittedFeature(reference, transformer, schema), type_frame(made, schema)


def _chain(table: Table, before: Table | None, parts: Sequence[FittedFeature]) -> Table:
    """The columns of ``before`` and those that ``parts`` make, one after the other."""
    made = _no_columns(table.n_rows) if before is None else before
    frame = _beside([as_frame(table), as_frame(made)])
    for part in parts:
        columns = part.transform(frame)
        made, frame = made.join(columns), _beside([frame, as_frame(columns)])
    return made


def _beside(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([frame for frame in frames if frame.shape[1]] or frames[:1], axis=1)


def _no_columns(n_rows: int) -> Table:
    return type_frame(pd.DataFrame(index=range(n_rows)), Schema((), {}))


def _scatter(n_rows: int, *pieces: tuple[NDArray[np.int64], Table]) -> Table:
    """Tables of some rows each, put where their rows are."""
    schema = pieces[0][1].schema

    def put(name: str) -> NDArray[Any]:
        first = getattr(pieces[0][1], name)
        whole = np.empty((n_rows, first.shape[1]), first.dtype)
        for rows, piece in pieces:
            whole[rows] = getattr(piece, name)
        return whole

    return Table(schema, n_rows, put("numeric"), put("codes"), put("datetimes"), ())


def _pack(features: Features, parts: Sequence[FittedFeature]) -> bytes:
    """Every transformer's files and the schemas, the same bytes for the same content."""
    record = {
        "format": 1,
        "digest": features.digest,
        "use": features.references,
        "schemas": [part.schema.to_json() for part in parts],
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, tempfile.TemporaryDirectory() as place:
        archive.writestr(zipfile.ZipInfo(_RECORD), json.dumps(record))
        for number, part in enumerate(parts):
            folder = Path(place) / str(number)
            folder.mkdir()
            run_user(part.reference, "save", None, part.transformer.save, folder)
            archive.writestr(zipfile.ZipInfo(f"{number}/"), b"")
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(place))), path.read_bytes())
    return packed.getvalue()
