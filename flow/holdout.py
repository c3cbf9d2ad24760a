"""The untouched holdout: rows that no search, blend or rule saw, and how often somebody looked at them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldsmith.flow.predicting import Predictor
from foldsmith.flow.submission import stored_decision, why_not_comparable
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import folder_lock, read_json, write_json
from foldsmith.results.members import MemberStore


@dataclass(frozen=True)
class HoldoutScore:
    """A member on the holdout.

    Args:
        score: of the mean of its fold models, labels by the rule that its submission uses.
        validation: the score that the search promised.
    """

    member: str
    score: float
    validation: float


@dataclass(frozen=True)
class HoldoutLook:
    """What was seen in one look.

    Args:
        n_rows: of the holdout.
        looks: members that were looked at so far, this time included: each one makes the holdout less untouched.
    """

    metric: str
    scores: tuple[HoldoutScore, ...]
    n_rows: int
    looks: int

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "scores": [vars(one) for one in self.scores]}


def look_at_holdout(problem: Problem, members: MemberStore, names: Sequence[str]) -> HoldoutLook:
    """Score members on the holdout by their stored models; the look is counted.

    Raises:
        InputError: the plan has no holdout, a member has other folds, or its models are not kept.
    """
    rows = np.flatnonzero(problem.plan.holdout)
    if not len(rows):
        raise InputError("the fold plan has no holdout; set holdout = 0.1 in [split] before the folds are frozen")
    chosen = [members.get(name) for name in dict.fromkeys(names)]
    predictor = Predictor(problem, members)
    for member in chosen:
        if reason := why_not_comparable(problem, member) or predictor.why_not(member):
            raise InputError(f"{member.id} cannot be scored on the holdout: {reason}")
    table = problem.data.train.take(rows)
    scores = []
    for member in chosen:
        predicted = predictor.predict(member, table)
        decision = stored_decision(problem, members, member)
        values = predicted if decision is None else decision.apply(predicted)
        assert member.scores is not None
        value = problem.metric.score(problem.judge.y[rows], values)
        scores.append(HoldoutScore(member.id, float(value), member.scores.value))
    return HoldoutLook(problem.metric.name, tuple(scores), len(rows), _count(problem, [one.id for one in chosen]))


def _count(problem: Problem, names: Sequence[str]) -> int:
    """Write the look down; returns how many there were under this contract."""
    path = problem.folder.state / "holdout.json"
    with folder_lock(problem.folder.state):
        looks = read_json(path)["looks"] if path.exists() else []
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        looks += [{"member": name, "contract": problem.contract, "utc": when} for name in names]
        write_json(path, {"looks": looks})
    return sum(look["contract"] == problem.contract for look in looks)
