"""What a person writes about a column in ``[columns]``: a kind, and after a colon how its cells are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.time_formats import EPOCHS

Kind = Literal["numeric", "categorical", "boolean", "datetime", "text", "image", "id", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NUMERIC = ("decimal-point", "decimal-comma")
_DATETIME = ("day-first", "month-first", *(name.replace(" ", "-") for name in EPOCHS))


@dataclass(frozen=True)
class Setting:
    """A column's kind as a person set it.

    Args:
        kind: one of ``KINDS``.
        reading: ``decimal-point`` or ``decimal-comma`` of a numeric column; ``day-first``, ``month-first``,
            ``epoch-seconds`` and the like, or a strftime pattern, of dates; '' for none.
    """

    kind: Kind
    reading: str = ""


def parse_setting(column: str, text: str) -> Setting:
    """Read ``"datetime:day-first"``.

    Raises:
        UnknownNameError: there is no such kind.
        InputError: the kind has no such reading.

    >>> parse_setting("when", "datetime:day-first")
    Setting(kind='datetime', reading='day-first')
    """
    kind, _, reading = text.partition(":")
    for known in KINDS:
        if known == kind:
            _check(column, known, reading)
            return Setting(known, reading)
    raise UnknownNameError(f"kind of column {column!r}:" if column else "kind", kind, KINDS)


def words_of(settings: Mapping[str, str]) -> list[str]:
    """The columns that are read exactly as written: those set to words, or to a reading of their own."""
    parsed = {name: parse_setting(name, text) for name, text in settings.items()}
    return [name for name, one in parsed.items() if one.kind in ("categorical", "text") or one.reading]


def _check(column: str, kind: Kind, reading: str) -> None:
    if not reading or (kind == "numeric" and reading in _NUMERIC):
        return
    if kind == "datetime" and (reading in _DATETIME or "%" in reading):
        return
    choices = {"numeric": _NUMERIC, "datetime": (*_DATETIME, "a pattern such as %d.%m.%Y")}.get(kind)
    hint = f"write one of {', '.join(choices)}" if choices else f"write {kind!r} alone"
    where = f"column {column!r} is set to " if column else ""
    raise InputError(f"{where}{kind}:{reading}, which is unknown; {hint}")


def advice(column: str, kind: str) -> str:
    """How to set a column to a kind: in the file, or with the option before there is one."""
    return f"--column '{column}={kind}' (in foldsmith.toml: [columns] {column} = \"{kind}\")"
