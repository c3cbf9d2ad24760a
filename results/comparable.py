"""Which members of a family can be compared, and speak of the space that it has now."""

from collections.abc import Sequence

from foldsmith.results.members import Member


def own_version(space_version: str) -> str:
    """The version of a family's own space; what follows a ``+`` changes ranges, or how scores come about.

    >>> own_version("lightgbm@1+a1b2c3")
    'lightgbm@1'
    """
    return space_version.partition("+")[0]


def comparable(members: Sequence[Member], family: str, version: str | None = None) -> list[Member]:
    """Trials of a family that mean the same by their parameters and by their scores, each point once.

    Args:
        members: complete ones of one contract.
        version: of the family's own space; None for that of the newest trial.

    Returns:
        Those of the wanted version whose rounds were chosen as the newest one's were; of trials that differ in their
        seeds only, the oldest. Oldest first.
    """
    trials = [member for member in members if member.kind == "trial" and member.family == family and member.scores]
    trials.sort(key=lambda member: (member.created, member.id))
    if version is None and trials:
        version = own_version(trials[-1].space_version)
    trials = [member for member in trials if own_version(member.space_version) == version]
    kept: list[Member] = []
    for member in trials:
        if member.policy == trials[-1].policy and all(member.params != other.params for other in kept):
            kept.append(member)
    return kept
