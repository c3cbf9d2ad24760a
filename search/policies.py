"""Which family gets the next trial: a policy above the studies.

A search that ends at a time begins with an opening, the families' known good points in an order that leaves a diverse
pool at any cut; then it spends the next second where the ensemble is expected to gain most.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from foldsmith.problem.errors import UnknownNameError

FLOOR = 0.25  # of the time is for all families alike, so that none that may still improve is starved


@dataclass(frozen=True)
class FamilyLoad:
    """What a policy may look at.

    Args:
        n_trials: trials of the family that count, running ones included.
        slot_seconds: time that its folds took so far, summed over slots, failed ones included.
        share: of the cross-fitted ensemble's weights that its members have, 0..1; None before there is an ensemble.
        lag: how far the family's best member is behind the best of all, as a share of that one's loss; None before it
            has one.
    """

    name: str
    n_trials: int
    slot_seconds: float
    share: float | None = None
    lag: float | None = None


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
    """Every family once, then the one that has used the least time."""

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        return min(families, key=lambda family: (family.n_trials > 0, family.slot_seconds)).name


class BestSingle:
    """Time by how near a family's best member is to the best of all, as FLAML chooses its learners.

    A family that is behind by a tenth of the loss gets half the time of one that is level.
    """

    HALF_LAG = 0.1

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        worth = {f.name: 1.0 if f.lag is None else 0.5 ** (f.lag / self.HALF_LAG) for f in families}
        return _most_wanting(families, worth)


class EnsembleGain:
    """Time where the cross-fitted ensemble is expected to gain most from the next second.

    What a family with share ``s`` of the ensemble's weights adds to it grows with the logarithm of the time ``t`` that
    it was given (the best of ``n`` trials improves like ``log n``), so the next second is worth ``s / t``. The share
    is the observed gain, the time holds costs and failures; a quarter of the time is shared out alike.
    """

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        return _most_wanting(families, {f.name: 0.0 if f.share is None else f.share for f in families})


def _most_wanting(families: Sequence[FamilyLoad], worth: dict[str, float]) -> str:
    """Who has used the least time for what it is worth; one that was never tried goes first."""
    total = sum(worth.values()) or 1.0

    def spent(family: FamilyLoad) -> tuple[bool, float]:
        part = (1 - FLOOR) * worth[family.name] / total + FLOOR / len(families)
        return family.n_trials > 0, family.slot_seconds / part

    return min(families, key=spent).name


@dataclass(frozen=True)
class Opening:
    """Known good points first, in a given order; another policy from there on.

    A family that cannot start now is passed over, and has its turn as soon as it can.

    Args:
        order: names, repeated: the n-th time that a name stands there is for the family's n-th trial.
    """

    order: tuple[str, ...]
    then: FamilyPolicy

    def choose(self, families: Sequence[FamilyLoad]) -> str:
        """See :class:`FamilyPolicy`."""
        n_trials = {family.name: family.n_trials for family in families}
        wanted = Counter[str]()
        for name in self.order:
            wanted[name] += 1
            if n_trials.get(name, wanted[name]) < wanted[name]:
                return name
        return self.then.choose(families)


POLICIES: dict[str, type[FamilyPolicy]] = {
    "round-robin": RoundRobin,
    "equal-time": EqualTime,
    "best-single": BestSingle,
    "ensemble-gain": EnsembleGain,
}


def get_policy(name: str) -> FamilyPolicy:
    """The policy called ``name``.

    Raises:
        UnknownNameError: no such policy.
    """
    if name not in POLICIES:
        raise UnknownNameError("policy", name, POLICIES)
    return POLICIES[name]()
