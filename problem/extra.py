"""Rows that only train: tables from elsewhere, and pseudo labels of test rows, made per fold.

They stand behind the train table, so that a fold's train rows simply count further. No fold is ever scored on them, and
they are no part of the contract: members with and without them have the same folds and can be blended.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.audit.duplicates import row_hashes
from foldsmith.problem.contract import Problem
from foldsmith.problem.dataset import read_target_column
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import digest, file_digest, read_array, read_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.headers import match_names
from foldsmith.problem.holes import without_tokens
from foldsmith.problem.reading import read_header, read_words
from foldsmith.problem.tables import Schema, Table, Target, stacked, type_frame
from foldsmith.problem.target import encode_target
from foldsmith.problem.typing_remarks import other_remarks
from foldsmith.problem.words import Source


@dataclass(frozen=True)
class ExtraRows:
    """Rows that join the train side of folds.

    Args:
        table: of the rows.
        labels: ``(n_folds + 1, n)`` what each fold's model learns of them, -1 or NaN where it does not learn the row;
            the last line for a fit on all rows.
        name: digest of what they are.
        sources: for people.
        remarks: how cells of the tables were understood where that is not plain, one sentence each.
    """

    table: Table
    labels: NDArray[Any]
    name: str
    sources: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What the rows add to the version of every family's space: another study, another trial."""
        return f"+extra-{self.name}"

    def known(self, fold: int) -> NDArray[np.bool_]:
        """``(n,)`` the rows that have a label for a fold."""
        labels = self.labels[fold]
        return np.asarray(np.isfinite(labels) if labels.dtype.kind == "f" else labels >= 0)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """``(n,)`` of the rows' features."""
        return row_hashes(self.table)


def load_extra(problem: Problem) -> ExtraRows | None:
    """The rows that ``[data] extra`` and ``pseudo`` name; None where they name none.

    Raises:
        InputError: a file that lacks columns or has labels that train lacks, or pseudo labels of other folds or of
            another test file.
    """
    data = problem.config.data
    parts = [_from_file(problem, problem.folder.resolve(name)) for name in data.extra]
    if data.pseudo is not None:
        parts.append(_pseudo(problem, data.pseudo))
    if not parts:
        return None
    table = parts[0].table
    for part in parts[1:]:
        table = stacked(table, part.table)
    sources = tuple(source for part in parts for source in part.sources)
    labels = np.concatenate([part.labels for part in parts], axis=1)
    remarks = tuple(remark for part in parts for remark in part.remarks)
    return ExtraRows(table, labels, digest([part.name for part in parts]), sources, remarks)


def extra_suffix(problem: Problem) -> str:
    """The suffix of the rows that the config names, empty for none."""
    rows = load_extra(problem)
    return "" if rows is None else rows.suffix


def _from_file(problem: Problem, path: Path) -> ExtraRows:
    """A table with train's columns and target."""
    target = problem.data.target
    read = read_extra(path, problem.data.train.schema, target, keep_na=problem.config.data.keep_na)
    labels = np.tile(read.y, (problem.plan.n_folds + 1, 1))
    source = f"{path.name}: {read.table.n_rows:,} rows"
    return ExtraRows(read.table, labels, digest(file_digest(path)), (source,), read.remarks)


@dataclass(frozen=True)
class ExtraTable:
    """A table of more rows under train's schema.

    Args:
        table: the features.
        y: the labels, as :class:`foldsmith.problem.dataset.Dataset` has them.
        remarks: how its cells were understood where that is not plain, one sentence each.
    """

    table: Table
    y: NDArray[Any]
    remarks: tuple[str, ...]


def read_extra(path: Path, schema: Schema, target: Target, *, keep_na: Collection[str] = ()) -> ExtraTable:
    """Read a table with train's columns and target, in any order; more columns are ignored.

    Args:
        path: the file.
        schema: of train.
        target: of train.
        keep_na: columns in which ``NA`` and its like are words.

    Raises:
        InputError: a column is missing, a label is not one of train's, or cells do not fit their column.
    """
    header = read_header(path)
    used = [column.name for column in schema.columns if column.kind not in ("id", "constant")]
    stored = match_names([*used, target.name], header, where=("train", path.name))
    lacking = [name for name in (*used, target.name) if name not in header and name not in stored]
    if lacking:
        raise InputError(
            f"{path} lacks {len(lacking)} of train's columns, e.g. {lacking[0]!r}; extra rows have the same columns "
            "and the target"
        )
    # Words exactly as written: a code 007 stays one where this file has digits alone.
    words = [stored.get(name, name) for name in schema.as_written]
    frame = read_words(path, as_text=words).rename(columns={other: name for name, other in stored.items()})
    frame = without_tokens(frame, [name for name in frame.columns if name not in keep_na])
    labels = read_target_column(path, stored.get(target.name, target.name))
    y = encode_target(target, labels, path.name, keep_na=target.name in keep_na)
    table = type_frame(frame, schema)
    remarks = [f"{path.name}: column {other!r} is {name!r} of train" for name, other in stored.items()]
    remarks += other_remarks(frame, table, Source.of(path), is_later=True)
    return ExtraTable(table, y, tuple(remarks))


def pseudo_folder(folder: Folder, name: str) -> Path:
    """Where pseudo labels lie."""
    return folder.state / "pseudo" / name


def _pseudo(problem: Problem, name: str) -> ExtraRows:
    """Pseudo labels that :mod:`foldsmith.flow.pseudo` made."""
    place = pseudo_folder(problem.folder, name)
    if not (place / "meta.json").exists():
        raise InputError(f"no pseudo labels {name!r}; make some with 'foldsmith pseudo make MEMBER --name {name}'")
    meta = read_json(place / "meta.json")
    for key, now in (("folds", problem.plan.hash), ("test", problem.data.test_fingerprint)):
        if meta[key] != now:
            raise InputError(
                f"pseudo labels {name!r} were made for another {key} ({meta[key]}, now {now}); make new ones"
            )
    rows = np.asarray(read_array(place / "rows.npy"))
    labels = np.asarray(read_array(place / "labels.npy"))
    about = f"pseudo labels {name} of {meta['member']}, per fold: {len(rows):,} rows"
    return ExtraRows(problem.data.test.take(rows), labels, digest(name, rows, labels), (about,))
