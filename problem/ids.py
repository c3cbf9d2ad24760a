"""Which column names the rows: of train, of test, and in the sample submission, whose word counts most."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from foldsmith.problem.columns import is_named_like_id
from foldsmith.problem.errors import InputError
from foldsmith.problem.labels import without_blanks
from foldsmith.problem.reading import read_frame, read_header

_PLAIN_NAMES = frozenset({"id", "rowid", "passengerid"})
_MOST_DIGITS = 40  # of an id that is a number; 1e999999 is none
_SIDES = ("train", "training", "test", "testing", "sample", "submission")


@dataclass(frozen=True)
class IdFiles:
    """The files that an id may stand in, and what is said of it.

    Args:
        id, test_id: names given by the user; None infers.
    """

    train: Path
    test: Path
    target: str
    sample: Path | None = None
    id: str | None = None
    test_id: str | None = None


@dataclass(frozen=True)
class IdNames:
    """The id's names.

    Args:
        train: in train; None where train has none, its rows are then known by their number.
        test: in test; None where test has none.
        reason: how it was found; empty without an id.
        remarks: what is not plain from the files, one sentence each.
    """

    train: str | None
    test: str | None
    reason: str
    remarks: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[str | None, str | None]:
        """``[data] id`` and ``test_id``: the latter only where the names differ, "" for a test file without ids."""
        if self.train is None or self.train == self.test:
            return self.train, None if self.train == self.test else self.test
        return self.train, self.test or ""


def plain_name(name: str) -> str:
    """A column's name without case, blanks, dashes and underscores.

    >>> plain_name(" Row_ID "), plain_name("row id")
    ('rowid', 'rowid')
    """
    return re.sub(r"[\s_.-]+", "", without_blanks(name).casefold())


def _core_name(name: str) -> str:
    """A plain name without the file that it speaks of: ``train_id`` and ``test_id`` are the same id."""
    plain = plain_name(name)
    for side in sorted(_SIDES, key=len, reverse=True):
        if plain.startswith(side) and len(plain) > len(side):
            return plain[len(side) :]
        if plain.endswith(side) and len(plain) > len(side):
            return plain[: -len(side)]
    return plain


def same_column(name: str, header: Sequence[str]) -> str | None:
    """The column of that name: exactly, or the only one that differs in case, blanks and dashes alone."""
    if name in header:
        return name
    near = [other for other in header if plain_name(other) == plain_name(name)]
    return near[0] if len(near) == 1 else None


def find_ids(files: IdFiles) -> IdNames:
    """Find the id by what the user says, by the sample submission, by its name.

    Raises:
        InputError: a file cannot be read, or the given name is in none of them.
    """
    train = [name for name in read_header(files.train) if name != files.target]
    test = [name for name in read_header(files.test) if name != files.target]
    if files.id is not None or files.test_id is not None:
        found = _given(files, train, test)
    else:
        found = _by_sample(files, train, test) or _by_name(files, train, test)
    remarks = [*_spelled(found), *_unused(found, train, test)]
    if files.target in read_header(files.test):
        remarks.append(f"the test file has the target {files.target!r} too; it is not looked at")
    return IdNames(found.train, found.test, found.reason, tuple(remarks))


def _given(files: IdFiles, train: Sequence[str], test: Sequence[str]) -> IdNames:
    name = files.id if files.id is not None else files.test_id
    assert name is not None
    in_test = same_column(files.test_id if files.test_id is not None else name, test)
    if files.test_id is not None and in_test is None:
        raise InputError(f"test_id {files.test_id!r} is not a column of {files.test.name}; columns: {', '.join(test)}")
    in_train = same_column(name, train) if files.id is not None else _partner(in_test, train)
    if in_train is None and in_test is None:
        return IdNames(name, name, "given")  # reading the files refuses it, with the nearest names
    if in_test is None and in_train is not None:
        in_test = _partner(in_train, test)
        if in_test is None:
            return IdNames(in_train, in_train, "given")  # refused, too
    if in_train is None and in_test is not None:
        in_train = _partner(in_test, train)
    return IdNames(in_train, in_test, "given")


def _partner(name: str | None, header: Sequence[str]) -> str | None:
    """The same id in the other file: the same name, or ``test_id`` for ``train_id``."""
    if name is None:
        return None
    same = same_column(name, header)
    if same is not None:
        return same
    near = [other for other in header if _tells_rows(other) and _core_name(other) == _core_name(name)]
    return near[0] if len(near) == 1 else None


def _by_sample(files: IdFiles, train: Sequence[str], test: Sequence[str]) -> IdNames | None:
    """The column of test that the sample names first; or whose values stand in its first column."""
    if files.sample is None:
        return None
    header = read_header(files.sample)
    first = same_column(header[0], test)
    if first is not None:
        return IdNames(_partner(first, train), first, "first column of the sample submission")
    likely = [name for name in header if _tells_rows(name)] or header[:1]
    for name in likely:
        found = same_column(name, test) or _partner(name, test) or _by_values(files, name, train, test)
        if found is not None:
            return IdNames(_partner(found, train), found, f"column {name!r} of the sample submission")
    return None


def _by_values(files: IdFiles, sample_name: str, train: Sequence[str], test: Sequence[str]) -> str | None:
    """The column of test that holds the ids of the sample; those that train lacks or that are named like ids only."""
    assert files.sample is not None
    likely = [name for name in test if name not in train or _tells_rows(name)]
    if not likely:
        return None
    wanted = _texts(files.sample, [sample_name])[sample_name]
    columns = _texts(files.test, likely)
    return next((name for name in likely if match_rows(wanted, columns[name]) is not None), None)


def match_rows(some: Sequence[str], others: Sequence[str]) -> tuple[list[int], str] | None:
    """For each id its place among the ``others``, and how they had to be read; None where they are not the same ids.

    They are the same by text, else ``"without blanks"``, else ``"as numbers"`` (``1.0`` and ``001``); each stands once.

    >>> match_rows(["02", "01"], ["1", "2"])
    ([1, 0], 'as numbers')
    """
    if len(some) != len(others):
        return None
    readings: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("", str),
        ("without blanks", without_blanks),
        ("as numbers", _number),
    )
    for how, key in readings:
        place = {key(name): row for row, name in enumerate(others)}
        found = [place.get(key(name), -1) for name in some]
        if len(place) == len(others) == len(set(found)) and min(found) >= 0:
            return found, how
    return None


def _number(text: str) -> object:
    """A whole number as such, whatever it is written like; any other text as it is."""
    try:
        value = Decimal(without_blanks(text))
    except InvalidOperation:
        return text
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS or value != value.to_integral_value():
        return text
    return int(value)


def _texts(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    frame = read_frame(path, columns=list(names), as_text=list(names))
    return {name: [str(value) for value in frame[name]] for name in names}


def _by_name(files: IdFiles, train: Sequence[str], test: Sequence[str]) -> IdNames:
    """A column called id in both files, ``train_id`` beside ``test_id``, or one that a single file has."""
    for name in train:
        other = same_column(name, test)
        if plain_name(name) in _PLAIN_NAMES and other is not None:
            return IdNames(name, other, "by its name")
    only_test = [name for name in test if same_column(name, train) is None and _tells_rows(name)]
    only_train = [name for name in train if same_column(name, test) is None and _tells_rows(name)]
    for name in only_test:
        partner = _partner(name, only_train)
        if partner is not None and _is_unique(files.test, name):
            return IdNames(partner, name, "by their names")
    unique = [name for name in only_test if _is_unique(files.test, name)]
    if unique:
        best = min(unique, key=lambda name: plain_name(name) not in _PLAIN_NAMES)
        return IdNames(None, best, "by its name; only test has it")
    for name in only_train:
        if _core_name(name) in _PLAIN_NAMES and _is_unique(files.train, name):
            return IdNames(name, None, "by its name; only train has it")
    return IdNames(None, None, "")


def _tells_rows(name: str) -> bool:
    """Named like an id, ``id_test`` too; a nameless index that a program wrote is none."""
    if name.startswith("Unnamed: "):
        return False
    return is_named_like_id(name) or is_named_like_id(_core_name(name))


def _is_unique(path: Path, name: str) -> bool:
    values = _texts(path, [name])[name]
    return len(set(values)) == len(values)


def _spelled(found: IdNames) -> list[str]:
    """How an id is read that does not stand under one name in both files."""
    if found.train == found.test:
        return []
    if found.train is None:
        return [f"the id is {found.test!r}, which only the test file has: rows of train are known by their number"]
    if found.test is None:
        return [f"the id is {found.train!r}, which only the train file has: rows of test are known by their order"]
    return [f"the id is {found.train!r} in the train file and {found.test!r} in the test file"]


def _unused(found: IdNames, train: Sequence[str], test: Sequence[str]) -> list[str]:
    """Columns that only test has, which no model can learn from."""
    more = [name for name in test if same_column(name, train) is None and name != found.test]
    if not more:
        return []
    shown = ", ".join(repr(name) for name in more[:5]) + (f" and {len(more) - 5} more" if more[5:] else "")
    return [f"column{'s' if more[1:] else ''} {shown} only the test file has; not used"]
