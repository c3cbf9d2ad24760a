"""Portfolios on disk: tuned points by family, and the order in which families take their turns.

The shipped one is ``portfolios/<version>.json``. People have one of their own, which ``foldsmith portfolio learn``
writes, at ``$FOLDSMITH_PORTFOLIO`` or ``~/.config/foldsmith/portfolio.json`` (``$XDG_CONFIG_HOME`` is honoured).
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from foldsmith.problem.errors import InputError
from foldsmith.problem.files import read_json, write_json
from foldsmith.spaces.family import Facts

VERSION = "2026.11"

TaskClass = Literal["any", "classification", "regression"]
RowClass = Literal["any", "small", "medium", "large"]

# Below SMALL_ROWS strong regularisation wins more often; from LARGE_ROWS on points of small tables say little.
SMALL_ROWS = 2_000
LARGE_ROWS = 20_000


def task_class(facts: Facts) -> TaskClass:
    """What an entry's ``task`` is compared with."""
    return "classification" if facts.goal.is_classification else "regression"


def row_class(n_rows: int) -> RowClass:
    """What an entry's ``rows`` are compared with."""
    if n_rows < SMALL_ROWS:
        return "small"
    return "medium" if n_rows < LARGE_ROWS else "large"


@dataclass(frozen=True)
class Entry:
    """A tuned point.

    Args:
        params: need not be complete; what a problem lacks is left out there, what is missing comes from the defaults.
        task: the tasks that it is for.
        rows: the sizes of tables that it is for.
        source: where it is known from.
        space: version of the family's own space that it was measured in; "" when the names alone say what is meant.
        early: whether it goes before the family's own defaults.
    """

    params: Mapping[str, Any]
    task: TaskClass = "any"
    rows: RowClass = "any"
    source: str = ""
    space: str = ""
    early: bool = False

    def suits(self, facts: Facts) -> bool:
        """Whether it is meant for such a problem."""
        return self.task in ("any", task_class(facts)) and self.rows in ("any", row_class(facts.n_rows))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        known = {"params": dict(self.params), "task": self.task, "rows": self.rows, "source": self.source}
        return known | ({"space": self.space} if self.space else {}) | ({"early": True} if self.early else {})


@dataclass(frozen=True)
class Portfolio:
    """Entries by family, best first, and what is known of the families themselves.

    Args:
        first: families in the order of the first round.
        weights: how many further points of a family are worth one of a family of weight 1.
        evidence: what the points were learned from, by contract; see :mod:`foldsmith.spaces.learning`.
    """

    version: str
    first: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    points: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def suiting(self, family: str, facts: Facts) -> list[Entry]:
        """The family's entries for such a problem, in order; of those of one point the first."""
        found = [entry for entry in self.points.get(family, ()) if entry.suits(facts)]
        points = [entry.params for entry in found]
        return [entry for number, entry in enumerate(found) if entry.params not in points[:number]]


def read_portfolio(path: Path) -> Portfolio:
    """Read a portfolio's file.

    Raises:
        InputError: no such file, or not a portfolio; names what is wrong.
        ContractError: written by a newer foldsmith.
    """
    if not path.is_file():
        raise InputError(f"no portfolio at {path}; make one with 'foldsmith portfolio learn', or name another file")
    record = read_json(path)
    points = record.get("points", {})
    if not isinstance(points, dict) or not all(isinstance(entries, list) for entries in points.values()):
        raise InputError(f"{path} is not a portfolio: 'points' must hold a list of entries per family; correct it")
    return Portfolio(
        str(record.get("version", "")),
        tuple(record.get("first", ())),
        dict(record.get("weights", {})),
        {family: tuple(_entry(path, family, entry) for entry in entries) for family, entries in points.items()},
        dict(record.get("evidence", {})),
    )


def _entry(path: Path, family: str, record: Any) -> Entry:
    if not isinstance(record, dict) or not isinstance(record.get("params"), dict):
        raise InputError(f"{path}: an entry of {family!r} is {record!r}, not a table with 'params'; correct it")
    task, rows = record.get("task", "any"), record.get("rows", "any")
    for what, value, known in (("task", task, TaskClass), ("rows", rows, RowClass)):
        if value not in get_args(known):
            expected = ", ".join(get_args(known))
            raise InputError(f"{path}: {what} of an entry of {family!r} is {value!r}; choose one of {expected}")
    source, space = (str(record.get(key, "")) for key in ("source", "space"))
    return Entry(record["params"], task, rows, source, space, record.get("early") is True)


def write_portfolio(path: Path, portfolio: Portfolio) -> None:
    """Write a portfolio's file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "version": portfolio.version,
        "first": list(portfolio.first),
        "weights": dict(portfolio.weights),
        "points": {family: [entry.to_json() for entry in entries] for family, entries in portfolio.points.items()},
    }
    if portfolio.evidence:
        record["evidence"] = dict(portfolio.evidence)
    write_json(path, record)


@functools.cache
def shipped_portfolio() -> Portfolio:
    """The one that comes with this version of foldsmith."""
    return read_portfolio(Path(__file__).parent / "portfolios" / f"{VERSION}.json")


def own_path() -> Path:
    """Where the user's own portfolio lies, or would lie."""
    if given := os.environ.get("FOLDSMITH_PORTFOLIO"):
        return Path(given)
    # The XDG base directory specification: a relative path is to be ignored.
    config = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (config if config.is_absolute() else Path.home() / ".config") / "foldsmith" / "portfolio.json"
