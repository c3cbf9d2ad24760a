"""The audit of a competition: its data, and in a deep check its stored members."""

import re
from collections.abc import Iterator
from dataclasses import replace

from foldsmith.flow.submission import why_not_comparable
from foldsmith.problem.audit.audit import Audit, audit
from foldsmith.problem.audit.findings import Finding, by_severity
from foldsmith.problem.contract import Problem
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import why_damaged

CLAIMED = 1e-6  # relative difference of a recomputed score from the stored one
QUICK_SECONDS = 2.0


def check(problem: Problem, members: MemberStore, *, deep: bool = False, adversarial: bool = False) -> Audit:
    """Audit the data; a deep check also looks for near duplicates and at every stored member."""
    found = audit(problem, is_deep=deep, with_adversary=adversarial)
    if not deep:
        return found
    of_members = [finding for member in members.all() for finding in check_member(problem, members, member)]
    return replace(found, findings=tuple(by_severity([*found.findings, *of_members])))


def quick_check(problem: Problem) -> Audit:
    """What can be looked at before a search without keeping anybody waiting."""
    return audit(problem, budget_seconds=QUICK_SECONDS)


def check_member(problem: Problem, members: MemberStore, member: Member) -> Iterator[Finding]:
    """Whether a complete member's out-of-fold prediction is whole and has the score that its record says (L18)."""
    if member.scores is None or why_not_comparable(problem, member):
        return
    advice = "restore its folder from a copy, or delete it and let 'resume' fit it again"
    if reason := why_damaged(problem, members, member):
        holes = re.search(r"no finite prediction for ([\d,]+) ", reason)
        what = f"has no prediction for {holes[1]} rows that it needs" if holes else "is damaged"
        yield Finding("member_damaged", "error", f"{member.id} {what}: {reason}", advice)
        return
    for store in members.stored_folds(member.id):
        if store.state(verify=True) != "done":
            message = f"{store.path} of {member.id} is not what its records vouch for; its predictions are whole"
            yield Finding("fold_damaged", "warning", message, "its models predict no new rows; restore it from a copy")
    value = score_oof(problem.judge, members.oof(member.id)).value
    if abs(value - member.scores.value) > CLAIMED * max(1e-3, abs(member.scores.value)):
        yield Finding(
            "score_mismatch",
            "error",
            f"{member.id} says {member.scores.value:.6g}, but its stored predictions score {value:.6g}",
            advice,
            evidence={"stored": member.scores.value, "recomputed": value},
        )
