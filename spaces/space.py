"""Search spaces as data: named ranges and conditions, turned into Optuna calls by the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foldsmith.problem.errors import InputError, UnknownNameError

Value = str | int | float | bool | None
Params = dict[str, Value]


@dataclass(frozen=True)
class Condition:
    """The parameter exists only where the earlier parameter ``name`` has one of ``values``."""

    name: str
    values: tuple[Value, ...]

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Whether the parameters chosen so far switch the conditional one on."""
        return self.name in params and params[self.name] in self.values


@dataclass(frozen=True)
class Float:
    """A real parameter in ``[low, high]``, on a log scale if ``log``."""

    low: float
    high: float
    log: bool = False
    when: Condition | None = None

    def contains(self, value: Any) -> bool:
        """Whether ``value`` lies in the range (either end may be off by rounding)."""
        return isinstance(value, int | float) and self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)


@dataclass(frozen=True)
class Int:
    """A whole parameter in ``[low, high]``, on a log scale if ``log``."""

    low: int
    high: int
    log: bool = False
    when: Condition | None = None

    def contains(self, value: Any) -> bool:
        """Whether ``value`` is a whole number in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of ``choices``."""

    choices: tuple[Value, ...]
    when: Condition | None = None

    def contains(self, value: Any) -> bool:
        """Whether ``value`` is one of the choices."""
        return value in self.choices


Param = Float | Int | Choice


@dataclass(frozen=True)
class Space:
    """A family's search space; conditions may only name parameters that stand before them.

    Args:
        version: changes whenever a parameter changes its meaning, so that old trials are not taken for new ones.
        params: the named ranges, in the order in which they are suggested.

    >>> space = Space("demo@1", {"kind": Choice(("a", "b")), "depth": Int(1, 9, when=Condition("kind", ("b",)))})
    >>> space.active({"kind": "a"})
    ['kind']
    """

    version: str
    params: Mapping[str, Param]

    @property
    def is_conditional(self) -> bool:
        """Whether some parameters exist only for some values of others."""
        return any(param.when is not None for param in self.params.values())

    def active(self, params: Mapping[str, Value]) -> list[str]:
        """Names of the parameters that exist, given the values chosen."""
        return [name for name, param in self.params.items() if param.when is None or param.when.holds(params)]

    def check(self, params: Mapping[str, Value]) -> None:
        """Raise when ``params`` has an unknown or missing name, or a value out of its range.

        Raises:
            UnknownNameError: a name that the space does not have.
            InputError: a missing parameter or a value out of range.
        """
        for name in params:
            if name not in self.params:
                raise UnknownNameError(f"parameter of {self.version}", name, self.params)
        for name in self.active(params):
            if name not in params:
                raise InputError(f"{self.version} needs the parameter {name!r}; add it")
            if not self.params[name].contains(params[name]):
                raise InputError(
                    f"{self.version}: {name}={params[name]!r} is outside {self.params[name]}; choose another"
                )
