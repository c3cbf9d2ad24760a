"""Versions of the train and test tables that a competition folder has seen, and how two of them differ."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.files import read_array, read_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.tables import Table, Target

MAX_EXAMPLES = 5
NOT_A_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Version:
    """A parsed table.

    Args:
        fingerprint: its name.
        kind: train or test.
        first_seen: when it was parsed, UTC.
        n_rows, n_columns: of it; ids and target do not count as columns.
    """

    fingerprint: str
    kind: Literal["train", "test"]
    first_seen: str
    n_rows: int
    n_columns: int


def known_versions(folder: Folder) -> list[Version]:
    """All parsed tables of a folder, the oldest first."""
    return sorted(_versions(folder), key=lambda version: version.first_seen)


def _versions(folder: Folder) -> Iterator[Version]:
    for path in folder.tables.glob("*/schema.json"):
        name = path.parent.name
        is_train = (folder.tables / f"{name}.target.json").exists()
        record = read_json(path)
        seen = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
        columns = [column for column in record["columns"] if column["kind"] != "id"]
        yield Version(name, "train" if is_train else "test", seen, record["n_rows"], len(columns))


@dataclass(frozen=True)
class Difference:
    """How one version differs from an earlier one.

    Args:
        matched: how rows were paired: by id, or by their order.
        rows_added, rows_removed: counts.
        columns_added, columns_removed: names; a column whose kind changed is in ``kinds_changed`` instead.
        cells: changed cells by column, the target's included, the most first.
        examples: by column up to five changes: id or row number, before, after.
    """

    old: str
    new: str
    matched: Literal["id", "order"]
    rows_added: int
    rows_removed: int
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    kinds_changed: tuple[str, ...] = ()
    cells: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[list[str]]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """In one line, as ``12 rows added · 340 cells of x changed``."""
        parts = [f"{self.rows_added:,} rows added"] if self.rows_added else []
        parts += [f"{self.rows_removed:,} rows removed"] if self.rows_removed else []
        for names, what in (
            (self.columns_added, "added"),
            (self.columns_removed, "removed"),
            (self.kinds_changed, "read as another kind"),
        ):
            if names:
                parts.append(f"column{'s' * (len(names) > 1)} {', '.join(names[:3])} {what}")
        parts += [f"{count:,} cells of {name} changed" for name, count in list(self.cells.items())[:3]]
        more = len(self.cells) - 3
        parts += [f"{more} more columns changed"] if more > 0 else []
        return " · ".join(parts) or "the same rows and cells"

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "summary": self.summary}


def find_version(folder: Folder, start: str) -> Version:
    """The version whose fingerprint begins so.

    Raises:
        UnknownNameError: there is none.
        InputError: there are several.
    """
    found = [version for version in known_versions(folder) if version.fingerprint.startswith(start)]
    if not found or not start:
        raise UnknownNameError("data version", start, [version.fingerprint for version in known_versions(folder)])
    if len(found) > 1:
        raise InputError(f"{start!r} begins {len(found)} fingerprints; give more digits")
    return found[0]


def compare_versions(folder: Folder, old: str, new: str) -> Difference:
    """Compare two parsed tables row by row, by id where both have ids.

    Args:
        old, new: fingerprints of two train tables, or of two test tables.
    """
    tables = [Table.open(folder.tables / name) for name in (old, new)]
    ids = [_ids(folder, name, table.n_rows) for name, table in zip((old, new), tables, strict=True)]
    by_id = ids[0] is not None and ids[1] is not None
    before, after, added, removed = _pair(ids[0], ids[1], tables[0].n_rows, tables[1].n_rows)
    kinds = [{column.name: column.kind for column in table.schema.columns} for table in tables]
    shared = [name for name in kinds[1] if name in kinds[0]]
    same = [name for name in shared if kinds[0][name] == kinds[1][name]]
    labels = [str(value) for value in (ids[1][after] if by_id and ids[1] is not None else after)]
    cells: dict[str, int] = {}
    examples: dict[str, list[list[str]]] = {}
    columns = [(name, _values(tables[0], name), _values(tables[1], name)) for name in same]
    targets = [_labels(folder, name) for name in (old, new)]
    if targets[0] is not None and targets[1] is not None:
        columns.append((targets[1][0], targets[0][1], targets[1][1]))
    for name, was, now in columns:
        if was is None or now is None:
            continue
        first, second = was[before], now[after]
        differ = np.flatnonzero(~_equal(first, second))
        if len(differ):
            cells[name] = len(differ)
            examples[name] = [[labels[i], _shown(first[i]), _shown(second[i])] for i in differ[:MAX_EXAMPLES]]
    return Difference(
        old,
        new,
        "id" if by_id else "order",
        added,
        removed,
        tuple(name for name in kinds[1] if name not in kinds[0]),
        tuple(name for name in kinds[0] if name not in kinds[1]),
        tuple(name for name in shared if name not in same),
        dict(sorted(cells.items(), key=lambda item: -item[1])),
        examples,
    )


def _ids(folder: Folder, name: str, n_rows: int) -> NDArray[Any] | None:
    path = folder.tables / f"{name}.ids.parquet"
    if not path.exists():
        return None
    ids = pq.read_table(path).column("id").to_numpy()
    return ids if len(ids) == n_rows else None


def _pair(
    old: NDArray[Any] | None, new: NDArray[Any] | None, n_old: int, n_new: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Rows of both versions that are the same one, and how many were added and removed."""
    import pandas as pd

    if old is None or new is None:
        n = min(n_old, n_new)
        rows = np.arange(n)
        return rows, rows, n_new - n, n_old - n
    place = pd.Index(old).get_indexer(pd.Index(new))
    after = np.flatnonzero(place >= 0)
    return place[after], after, n_new - len(after), n_old - len(after)


def _values(table: Table, name: str) -> NDArray[Any] | None:
    """A column as it compares: numbers, level names, times; None for ids and constants."""
    schema = table.schema
    if name in schema.numeric:
        return np.asarray(table.numeric[:, schema.numeric.index(name)], np.float64)
    if name in schema.categorical:
        levels = np.array([*schema.categories[name], "(a new level)", ""], dtype=object)
        codes = np.asarray(table.codes[:, schema.categorical.index(name)])
        return np.asarray(levels[np.where(codes < 0, len(levels) - 1, codes)])
    if name in schema.datetime:
        return np.asarray(table.datetimes[:, schema.datetime.index(name)])
    if name in schema.text:
        return np.array(table.text(schema.text.index(name)), dtype=object)
    return None


def _labels(folder: Folder, name: str) -> tuple[str, NDArray[Any]] | None:
    path = folder.tables / f"{name}.target.json"
    if not path.exists():
        return None
    target = Target.from_json(read_json(path))
    y = np.asarray(read_array(folder.tables / f"{name}.y.npy"))
    return target.name, y if target.task == "regression" else np.array(target.classes, dtype=object)[y]


def _equal(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    same = np.asarray(first == second, np.bool_)
    if first.dtype.kind == "f" and second.dtype.kind == "f":
        same |= np.isnan(first) & np.isnan(second)
    return same


def _shown(value: Any) -> str:
    if isinstance(value, np.integer) and abs(int(value)) > 10**12:  # microseconds
        return "" if int(value) == NOT_A_TIME else str(np.datetime64(int(value), "us"))
    return "" if isinstance(value, float) and np.isnan(value) else str(value)


def changed_train(folder: Folder, now: str) -> Sequence[str]:
    """Fingerprints of earlier train tables that have frozen folds, the newest first; empty if the present one has."""
    if (folder.folds / f"{now}.json").exists():
        return ()
    earlier = [version for version in known_versions(folder) if version.kind == "train" and version.fingerprint != now]
    frozen = [version.fingerprint for version in earlier if (folder.folds / f"{version.fingerprint}.json").exists()]
    return tuple(reversed(frozen))


def earlier_test(folder: Folder, now: str) -> str | None:
    """The test table that was seen last before the present one, None if there is no other."""
    tests = [one.fingerprint for one in known_versions(folder) if one.kind == "test" and one.fingerprint != now]
    return tests[-1] if tests else None
