"""A changed test file: test predictions are stale, and made again from the stored models."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from foldsmith.flow.predicting import Predictor
from foldsmith.flow.submission import why_not_comparable
from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.jobs import mean_prediction


@dataclass(frozen=True)
class Refreshed:
    """What became of members whose test prediction was of another test file.

    Args:
        made: ids that predict the present file now.
        left_out: why others cannot, by id.
    """

    made: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def stale_members(problem: Problem, members: MemberStore) -> list[Member]:
    """Complete members of this contract whose test prediction is of another test file, blends last."""
    stale = [
        member
        for member in members.all()
        if why_not_comparable(problem, member) is None
        and member.test_fingerprint not in ("", problem.data.test_fingerprint)
    ]
    return sorted(stale, key=lambda member: member.kind == "blend")


def refresh_tests(problem: Problem, members: MemberStore, note: Callable[[str], None] = lambda line: None) -> Refreshed:
    """Predict the present test file with the stored models of every stale member; blends follow from their members.

    A member's record names the new file only when its prediction is written, so a killed call is simply made again.
    """
    stale = stale_members(problem, members)
    if not stale:
        return Refreshed()
    predictor = Predictor(problem, members)
    made: list[str] = []
    left_out: dict[str, str] = {}
    note(f"test changed: {len(stale)} test predictions are made again from the stored models")
    for member in stale:
        if reason := predictor.why_not(member):
            left_out[member.id] = reason
            continue
        _refresh(problem, members, predictor, member)
        made.append(member.id)
    for name, reason in list(left_out.items())[:3]:
        note(f"{name} takes no part any more: {reason}")
    if len(left_out) > 3:
        note(f"… and {len(left_out) - 3} more")
    return Refreshed(tuple(made), left_out)


def _refresh(problem: Problem, members: MemberStore, predictor: Predictor, member: Member) -> None:
    table = problem.data.test
    if member.kind == "blend":
        test = predictor.predict(member, table)
    else:
        tests = predictor.predict_folds(member, table)
        if len(tests) == problem.plan.n_folds:  # not a model of all rows
            for fold, of_fold in enumerate(tests):
                store = members.fold(member.id, 0, fold)
                store.save_done(np.asarray(store.valid()), of_fold, {"round": store.done().get("round")})
        test = mean_prediction(problem, tests)
    members.finish(
        replace(member, test_fingerprint=problem.data.test_fingerprint), np.asarray(members.oof(member.id)), test
    )
