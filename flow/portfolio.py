"""The user's own portfolio: learned from competitions that were searched before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.errors import InputError
from foldsmith.results.comparable import comparable, own_version
from foldsmith.results.members import MemberStore
from foldsmith.spaces.learning import MIN_TRIALS, Evidence, as_errors, learn_points, make_evidence
from foldsmith.spaces.portfolio_file import VERSION, Portfolio, TaskClass, own_path, read_portfolio, write_portfolio


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Args:
        path: of the portfolio.
        n_competitions: that its points rest on, those of earlier calls included.
        n_points: by family.
        left_out: folders that gave no evidence, with the reason.
    """

    path: Path
    n_competitions: int
    n_points: dict[str, int]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": str(self.path),
            "n_competitions": self.n_competitions,
            "n_points": self.n_points,
            "left_out": self.left_out,
        }


def learn(roots: Sequence[Path], out: Path | None = None) -> Learned:
    """Extend the user's portfolio by what some competitions found; a folder given again replaces what it said before.

    Args:
        roots: competition folders; the contract that each has now counts.
        out: the portfolio's file, ``$FOLDSMITH_PORTFOLIO`` or the one in the user's configuration by default.

    Raises:
        InputError: none of the folders has enough complete trials of a family.
    """
    path = out or own_path()
    before = read_portfolio(path) if path.is_file() else Portfolio(VERSION)
    evidence: dict[str, Any] = dict(before.evidence)
    left_out: dict[str, str] = {}
    for root in roots:
        problem = open_problem(root)
        families = competition_evidence(problem)
        if families:
            evidence.pop(problem.contract, None)  # the newest stands last
            evidence[problem.contract] = {
                "name": root.resolve().name,
                "families": {name: one.to_json() for name, one in families.items()},
            }
        else:
            left_out[str(root)] = f"no family has {MIN_TRIALS} complete trials of this contract"
    if len(left_out) == len(roots):
        reasons = "; ".join(f"{root}: {reason}" for root, reason in left_out.items())
        raise InputError(f"there is nothing to learn from ({reasons}); search there first")
    points = learned_entries(evidence)
    write_portfolio(path, Portfolio(VERSION, before.first, before.weights, {**before.points, **points}, evidence))
    return Learned(path, len(evidence), {name: len(entries) for name, entries in points.items()}, left_out)


def learned_entries(evidence: dict[str, Any]) -> dict[str, Any]:
    """The entries of each family that the competitions tell something of."""
    families: dict[str, list[Evidence]] = {}
    for competition in evidence.values():
        for name, record in competition["families"].items():
            families.setdefault(name, []).append(Evidence.from_json(record))
    return {name: learn_points(found) for name, found in families.items()}


def competition_evidence(problem: Problem) -> dict[str, Evidence]:
    """What a competition says of each family that comes with foldsmith; a user's own family is known there only."""
    task: TaskClass = "classification" if problem.goal.is_classification else "regression"
    complete = MemberStore(problem.folder).all(contract=problem.contract, states=["complete"])
    found = {}
    for name in sorted({member.family for member in complete if member.kind == "trial" and ":" not in member.family}):
        members = comparable(complete, name)
        values = [member.scores.value for member in members if member.scores is not None]
        errors = as_errors(values, greater_is_better=problem.metric.greater_is_better)
        rows = [(member.params, float(error), member.seconds) for member, error in zip(members, errors, strict=True)]
        version = own_version(members[-1].space_version) if members else ""
        if (evidence := make_evidence(task, problem.data.train.n_rows, version, rows)) is not None:
            found[name] = evidence
    return found
