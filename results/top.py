"""The table of members, read from stored records alone."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foldsmith.results.external import foreign_folds
from foldsmith.results.members import Member, MemberStore


@dataclass(frozen=True)
class TopRow:
    """One line of ``foldsmith top``.

    Args:
        value, sem: cross-validated score (nested for a blend) and its standard error over folds.
        marks: ``n`` nested score; ``e`` rounds chosen by the fold that is scored; ``!`` made under other or unknown
            folds, or a blend of such members.
        reason: class of a failure, such as ``oom``; ``error`` says it in words; ``tail`` is the end of its log.
    """

    member: str
    family: str
    state: str
    value: float | None
    sem: float | None
    folds: tuple[float, ...]
    pooled: float | None
    policy: str
    seconds: float
    marks: str = ""
    reason: str = ""
    error: str = ""
    tail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def top_rows(
    members: MemberStore, contract: str | None, *, greater_is_better: bool, failed: bool = False
) -> list[TopRow]:
    """Complete members of a contract, best first; or the failed ones, oldest first.

    Args:
        contract: None for all contracts.
    """
    if failed:
        return [_row(member) for member in members.all(contract=contract, states=["failed"])]
    complete = members.all(contract=contract, states=["complete"])
    return [_row(member) for member in ranked(complete, greater_is_better=greater_is_better)]


def ranked(members: Sequence[Member], *, greater_is_better: bool) -> list[Member]:
    """Members with a score, best first, nan last; equal ones by id."""
    sign = -1.0 if greater_is_better else 1.0

    def place(member: Member) -> tuple[bool, float, str]:
        value = math.nan if member.scores is None else member.scores.value
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value, member.id

    return sorted((member for member in members if member.scores is not None), key=place)


def _row(member: Member) -> TopRow:
    scores = member.scores
    error = member.error or {}
    return TopRow(
        member.id,
        f"blend {member.family}" if member.kind == "blend" else member.family,
        member.state,
        None if scores is None else scores.value,
        None if scores is None else scores.sem,
        () if scores is None else scores.per_fold,
        None if scores is None else scores.pooled,
        member.policy,
        member.seconds,
        ("n" if member.kind == "blend" else "")
        + ("e" if member.policy == "scored" and member.kind == "trial" else "")
        + ("!" if foreign_folds(member) else ""),
        error.get("reason", ""),
        error.get("message", ""),
        error.get("tail", ""),
    )
