"""How labels are decided from a member's predictions, and what tuning that rule is worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from foldsmith.flow.submission import stored_decision, why_not_judged
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.scoring import score_oof, score_values
from foldsmith.results.members import MemberStore


@dataclass(frozen=True)
class Posthoc:
    """A rule of decision and its three scores, in the metric's units.

    Args:
        default: with the plain rule: 0.5, the arg max, or rounding.
        nested: each fold decided by a rule fitted on the other folds; what to expect on new rows.
        in_sample: the rule fitted on all rows, scored on the same rows; flatters.
        rule: what ``submit make`` uses, as stored.
    """

    member: str
    metric: str
    default: float
    nested: float
    in_sample: float
    rule: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self).copy()


def posthoc(problem: Problem, member_id: str) -> Posthoc:
    """Judge the rule of a member or blend.

    Raises:
        UnknownNameError: no such member.
        InputError: the member is not complete or of other folds, or the metric needs no labels.
    """
    if not problem.judge.needs_labels:
        raise InputError(f"metric {problem.metric.name} needs no labels, so there is no threshold or cut point to fit")
    members = MemberStore(problem.folder)
    member = members.get(member_id)
    if reason := why_not_judged(problem, members, member):
        raise InputError(f"{member_id} cannot be judged: {reason}")
    oof = members.oof(member_id)
    scores = score_oof(problem.judge, oof)
    rule = stored_decision(problem, members, member)
    assert rule is not None and scores.untuned is not None
    covered = problem.plan.coverage(0)
    labels = np.full(len(oof), -1, np.int64)
    labels[covered] = rule.apply(oof[covered])
    in_sample = score_values(problem.judge, labels).value
    return Posthoc(member_id, problem.metric.name, scores.untuned, scores.value, in_sample, rule.to_json())
