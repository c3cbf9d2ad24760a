"""What people and other processes see of a running search."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_HISTORY = 24


@dataclass(frozen=True)
class SlotView:
    """A busy slot: what runs there since when, how long it usually takes (None when unknown), and the slot's name."""

    slot: int
    member: str
    label: str
    seconds: float
    expected_seconds: float | None
    name: str = ""


@dataclass(frozen=True)
class FamilyView:
    """A family so far: trials that count, the best score with its standard error, best-so-far history, thinned."""

    name: str
    n_trials: int
    best: float | None = None
    sem: float | None = None
    history: tuple[float, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """The state of a search at one moment.

    Args:
        phase: ``starting``, ``searching``, ``stopping``, ``blending``, ``interrupted`` or ``failed``.
        budget_seconds: None without a time budget.
        n_trials_wanted: None without a trial budget.
        ensemble: nested score of the running ensemble and its standard error.
        eta_seconds: expected time to the end, None when unknown.
        closed: families that the circuit breaker took out.
        rig: the machine and how it is cut into slots, for people.
    """

    phase: str
    elapsed_seconds: float
    budget_seconds: float | None = None
    n_trials_wanted: int | None = None
    n_complete: int = 0
    n_running: int = 0
    n_failed: int = 0
    n_pruned: int = 0
    families: tuple[FamilyView, ...] = ()
    slots: tuple[SlotView, ...] = ()
    eta_seconds: float | None = None
    ensemble: tuple[float, float] | None = None
    ensemble_size: int = 0
    closed: tuple[str, ...] = ()
    rig: str = ""
    messages: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def thinned(values: Sequence[float], most: int = MAX_HISTORY) -> tuple[float, ...]:
    """At most ``most`` values, evenly from the first to the last.

    >>> thinned([1, 2, 3, 4, 5], 3)
    (1, 3, 5)
    """
    if len(values) <= most:
        return tuple(values)
    step = (len(values) - 1) / max(1, most - 1)
    return tuple(values[round(place * step)] for place in range(most))
