"""Which family gets the next trial: a policy above the studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class FamilyLoad:
    """What a policy may look at.

    Args:
        n_trials: trials of the family that count, running ones included.
        slot_seconds: time that its folds took so far, summed over slots.
    """

    name: str
    n_trials: int
    slot_seconds: float


class FamilyPolicy(Protocol):
    """Chooses among the families that may start a trial now."""

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """The name of one of ``families`` (never empty, in starting order)."""
        ...


class RoundRobin:
    """The family with the fewest trials, the first of several: the same order on every machine."""

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        return min(families, key=lambda family: family.n_trials).name


class EqualTime:
    """Every family once, then the one that has used the least time: for searches that end at a time."""

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        return min(families, key=lambda family: (family.n_trials > 0, family.slot_seconds)).name
