"""Submission files of a problem: the constant baseline, the running best, and numbered ones on request."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.contract import Problem
from foldsmith.problem.decisions import ClassMultipliers, Decision, decision_from_json
from foldsmith.problem.errors import DamagedFileError, FoldsmithWarning, InputError
from foldsmith.results.ledger import format_utc, new_entry, update_ledger, utc_now
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import why_damaged
from foldsmith.results.submissions import (
    SubmissionForm,
    constant_prediction,
    read_sample,
    write_numbered,
    write_submission,
)


def submission_form(problem: Problem) -> SubmissionForm:
    """How this competition wants its submissions."""
    sample = problem.config.data.sample
    return SubmissionForm(
        problem.data.target,
        problem.metric,
        problem.data.test_id_column,
        problem.data.test_ids,
        None if sample is None else read_sample(problem.folder.resolve(sample)),
        n_train=len(problem.data.y),
    )


def current_path(problem: Problem) -> Path:
    """``submissions/current.csv``."""
    return problem.folder.submissions / "current.csv"


def write_current(problem: Problem, test: NDArray[Any], decision: Decision | None) -> None:
    """Replace ``current.csv`` by this prediction of the test rows."""
    write_submission(current_path(problem), submission_form(problem).fill(test, decision))


def write_baseline(problem: Problem) -> None:
    """The first valid submission: class shares, the most frequent label, or the median."""
    data = problem.data
    if not problem.judge.needs_labels:
        test = constant_prediction(data.target, data.y, data.test.n_rows, problem.goal.n_outputs)
        write_current(problem, test, None)
        return
    shares = np.bincount(data.y, minlength=len(data.target.classes)) / len(data.y)
    most_frequent = ClassMultipliers(tuple(1.0 for _ in data.target.classes))
    write_current(problem, np.tile(shares, (data.test.n_rows, 1)), most_frequent)


def make_submission(problem: Problem, member_id: str) -> Path:
    """Write a numbered submission of a member or blend.

    Labels are decided by the rule that the blend stored, or, for a single member, by one fitted on all its
    out-of-fold predictions.

    Raises:
        UnknownNameError: no such member.
        InputError: the member is not complete, or was made for another test file or contract.
    """
    members = MemberStore(problem.folder)
    member = members.get(member_id)
    if reason := why_not_current(problem, member):
        raise InputError(f"{member.id} cannot be submitted: {reason}; see 'foldsmith top' for those that can")
    if reason := why_damaged(problem, members, member):
        raise DamagedFileError(f"{member.id} cannot be submitted: {reason}")
    assert member.scores is not None
    decision = stored_decision(problem, members, member)
    form = submission_form(problem)
    frame = form.fill(members.test(member_id), decision)
    for remark in form.remarks(problem.goal.n_outputs, decision):
        if remark.startswith("warning: "):
            warnings.warn(remark.removeprefix("warning: "), stacklevel=2)
    path = write_numbered(problem.folder.submissions, frame, member_id, member.scores.value)
    _note(problem, member, path)
    return path


def _note(problem: Problem, member: Member, path: Path) -> None:
    """Write a numbered submission into the ledger; a ledger that cannot be read must not cost the file."""
    assert member.scores is not None
    scores: dict[str, float | None] = {"cv": member.scores.value}
    if member.kind == "blend":
        scores = {"cv": member.details.get("in_sample"), "nested_cv": member.scores.value}
    entry = new_entry(path, member=member.id, utc=format_utc(utc_now()), **scores)
    try:
        update_ledger(problem.folder, lambda ledger: entry)
    except (InputError, OSError) as error:
        warnings.warn(f"{path.name} is written but not in the ledger: {error}", FoldsmithWarning, stacklevel=2)


def why_not_current(problem: Problem, member: Member) -> str | None:
    """Why a member's predictions are not of this problem's folds and test rows; None when they are."""
    if reason := why_not_comparable(problem, member):
        return reason
    if not member.test_fingerprint:
        return "it has no test prediction"
    if member.test_fingerprint != problem.data.test_fingerprint:
        return "it predicts another test file"
    return None


def why_not_comparable(problem: Problem, member: Member) -> str | None:
    """Why a member's out-of-fold predictions are not of this problem's folds; None when they are."""
    if member.state != "complete":
        return f"it is {member.state}"
    if member.contract != problem.contract:
        return "it was made for another train file, metric or fold plan"
    return None


def why_not_judged(problem: Problem, members: MemberStore, member: Member) -> str | None:
    """Why a member's out-of-fold predictions cannot be looked at: of other folds, or damaged; None when they can."""
    return why_not_comparable(problem, member) or why_damaged(problem, members, member)


def stored_decision(problem: Problem, members: MemberStore, member: Member) -> Decision | None:
    """The rule that turns a member's predictions into labels; None where the metric needs none."""
    if not problem.judge.needs_labels:
        return None
    stored = member.details.get("decision")
    if stored is not None:
        return decision_from_json(stored)
    return problem.judge.decide(np.flatnonzero(problem.plan.coverage(0)), members.oof(member.id))
