"""People's own ranges: the tables ``[spaces.<family>]`` of ``foldsmith.toml``, laid over a family's space.

::

    [spaces.lightgbm]
    num_leaves = [8, 64]                                     # a range; a parameter's log scale stays
    learning_rate = 0.05                                     # a fixed value
    extra_trees = [true]                                     # choices
    lambda_l2 = { low = 0.01, high = 10.0, log = true }      # any of them; the others stay
    path_smooth = [0.0, 10.0]                                # not in our space, but the library knows it
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.files import digest
from foldsmith.spaces.family import Facts, Family
from foldsmith.spaces.libraries import library_names, reserved_names
from foldsmith.spaces.registry import known_families
from foldsmith.spaces.space import Choice, Float, Int, Param, Space

KEYS = ("low", "high", "log", "choices")


def family_space(name: str, family: Family, facts: Facts, tables: Mapping[str, Mapping[str, Any]]) -> Space:
    """What is searched for a family: its space, with the table that has its name laid over it.

    Args:
        name: as people write it: ``lightgbm``, or ``module:Class`` of a family of their own.
    """
    space, table = family.space(facts), tables.get(name, {})
    if not table:
        return space
    return apply_overrides(space, table, library_names(name), reserved_names(name), where=f"[spaces.{name}]")


def check_tables(tables: Collection[str], names: Collection[str] = ()) -> None:
    """Raise when a table belongs to no family; a user's own ``module:Class`` may have one.

    Args:
        tables: names of the tables under ``[spaces]``.
        names: of the families that take part.
    """
    known = [*known_families(), *names]
    for table in tables:
        if table not in known and ":" not in table:
            raise UnknownNameError("family in [spaces]", table, known)


def apply_overrides(
    space: Space,
    table: Mapping[str, Any],
    library_names: Mapping[str, str],
    reserved: Collection[str] = (),
    *,
    where: str = "[spaces]",
) -> Space:
    """Lay people's own ranges over a space.

    Args:
        table: parameter -> fixed value, range, choices, or a table of ``low``, ``high``, ``log``, ``choices``.
        library_names: names that the library knows -> their main name; parameters that ``space`` lacks may have these.
        reserved: main names that foldsmith sets itself.
        where: names the table in messages.

    Returns:
        A space whose version tells the changes: trials of it do not mix with those of ``space``.

    Raises:
        UnknownNameError: neither the space nor the library has the parameter; names the nearest.
        InputError: a parameter that is not for people to set, or a value that cannot be searched.
    """
    params = dict(space.params)
    given: dict[str, str] = {}
    for key, value in table.items():
        name = _main_name(space, key, library_names, reserved, where)
        if name in given:
            raise InputError(f"{where} sets {given[name]!r} and {key!r}, which are the same parameter; keep one")
        given[name] = key
        params[name] = _Reader(f"{where} {key} = {_shown(value)}", space.params.get(name)).read(value)
    changed = {name: param for name, param in params.items() if param != space.params.get(name)}
    if not changed:
        return space
    mark = digest({name: [type(param).__name__, asdict(param)] for name, param in changed.items()})
    return Space(f"{space.version}+{mark[:6]}", params)


def _main_name(space: Space, key: str, library_names: Mapping[str, str], reserved: Collection[str], where: str) -> str:
    """The name under which the space has, or gets, a parameter."""
    if key in space.params:
        return key
    main = library_names.get(key)
    same = [name for name in space.params if main is not None and library_names.get(name) == main]
    if same:
        return same[0]
    if main in reserved:
        raise InputError(f"{where} {key}: foldsmith sets this parameter itself, the same for all trials; remove it")
    if main is None:
        usable = {name for name, main in library_names.items() if main not in reserved}
        raise UnknownNameError(f"parameter in {where}", key, usable | set(space.params))
    return main


def _shown(value: Any) -> str:
    text = repr(value).replace("True", "true").replace("False", "false")
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Reader:
    """Reads one parameter.

    Args:
        where: what messages begin with.
        old: the parameter as the space has it; None for one of the library's.
    """

    def __init__(self, where: str, old: Param | None) -> None:
        self._where = where
        self._old = old
        self._when = None if old is None else old.when

    def read(self, value: Any) -> Param:
        """The parameter that ``value`` asks for."""
        if isinstance(value, Mapping):
            return self._table(value)
        if not isinstance(value, list):
            return self._choices([value])
        if len(value) == 2 and all(map(_is_number, value)) and not isinstance(self._old, Choice):
            return self._range(*value)
        return self._choices(value)

    def _table(self, table: Mapping[str, Any]) -> Param:
        for key in table:
            if key not in KEYS:
                raise UnknownNameError(f"key in {self._where}", key, KEYS)
        if "choices" in table:
            if len(table) > 1 or not isinstance(table["choices"], list):
                raise InputError(f"{self._where}: choices are a list and stand alone; remove the other keys")
            return self._choices(table["choices"])
        if isinstance(self._old, Choice):
            raise InputError(f"{self._where}: it has choices, no range; give some of {list(self._old.choices)}")
        old = self._old
        low, high = (table.get(key, None if old is None else getattr(old, key)) for key in ("low", "high"))
        if low is None or high is None:
            raise InputError(f"{self._where}: a parameter that our space lacks needs low and high; give both")
        log = table.get("log")
        if not isinstance(log, bool | None):
            raise InputError(f"{self._where}: log is {log!r}; give true or false")
        return self._range(low, high, log)

    def _range(self, low: Any, high: Any, log: bool | None = None) -> Float | Int:
        old = self._old
        is_whole = isinstance(old, Int) or (old is None and isinstance(low, int) and isinstance(high, int))
        for end in (low, high):
            self._check_number(end, is_whole)
        if low >= high:
            raise InputError(f"{self._where}: low {low} is not below high {high}; swap them, or give one fixed value")
        if log is None:
            log = isinstance(old, Float | Int) and old.log
        if log and low <= 0:
            raise InputError(
                f"{self._where}: low {low} must be above 0 on a log scale; raise it, or write "
                f"{{ low = {low}, high = {high}, log = false }}"
            )
        return Int(low, high, log, self._when) if is_whole else Float(float(low), float(high), log, self._when)

    def _check_number(self, value: Any, is_whole: bool) -> None:
        if not _is_number(value) or not math.isfinite(value):
            raise InputError(f"{self._where}: {value!r} is not a number; give one")
        if is_whole and not isinstance(value, int):
            raise InputError(f"{self._where}: {value!r} is not a whole number, which this parameter needs; round it")

    def _choices(self, values: list[Any]) -> Choice:
        if not values:
            raise InputError(f"{self._where}: there is nothing to choose from; give at least one value")
        found = [self._choice(value) for value in values]
        if len({(type(value), value) for value in found}) < len(found):
            raise InputError(f"{self._where}: a choice stands there twice; remove one")
        return Choice(tuple(found), self._when)

    def _choice(self, value: Any) -> str | int | float | bool:
        old = self._old
        if isinstance(old, Choice):
            if not any(value == one and type(value) is type(one) for one in old.choices):
                raise InputError(f"{self._where}: {value!r} is not one of {list(old.choices)}; choose among these")
        elif old is not None:
            self._check_number(value, isinstance(old, Int))
            return float(value) if isinstance(old, Float) else int(value)
        elif not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"{self._where}: {value!r} is no number, text, true or false; give one of these")
        return value  # type: ignore[no-any-return]  # one of these, as checked
