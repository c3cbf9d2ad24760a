"""Whether the arrays of stored members are what their records promise, before anything is computed from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import DamagedFileError
from foldsmith.problem.files import read_array
from foldsmith.results.members import Member, MemberStore, left_out, stamp_of


def why_damaged(problem: Problem, members: MemberStore, member: Member) -> str | None:
    """What is wrong with a complete member's stored predictions, with the file's path; None when they are whole.

    The shape must be the problem's, the numbers finite on every row that the folds validate and on every test row.
    A file is read once as long as it does not change.

    Args:
        member: complete, of the problem's contract; its test prediction is looked at if it is of the present file.
    """
    path, n_outputs = members.path(member.id), problem.goal.n_outputs
    shape = (problem.data.train.n_rows, n_outputs)
    if reason := _why(members, path / "oof.npy", shape, problem.plan.coverage(0)):
        return reason
    if member.test_fingerprint != problem.data.test_fingerprint:
        return None
    return _why(members, path / "test.npy", (problem.data.test.n_rows, n_outputs), None)


def sound(problem: Problem, members: MemberStore, chosen: Sequence[Member]) -> list[Member]:
    """Those members whose predictions are whole; a warning names the damaged file of each other one."""
    kept = []
    for member in chosen:
        reason = why_damaged(problem, members, member)
        if reason is None:
            kept.append(member)
        else:
            left_out(member.id, reason)
    return kept


def _why(members: MemberStore, path: Path, shape: tuple[int, int], rows: NDArray[np.bool_] | None) -> str | None:
    try:
        stamp = stamp_of(path)
    except FileNotFoundError:
        return f"{path} is missing; restore the file"
    if path not in members.judged or members.judged[path][0] != stamp:
        members.judged[path] = (stamp, _judge(path, shape, rows))
    return members.judged[path][1]


def _judge(path: Path, shape: tuple[int, int], rows: NDArray[np.bool_] | None) -> str | None:
    try:
        array = read_array(path)
    except DamagedFileError as error:
        return str(error)
    if array.dtype.kind != "f" or array.shape != shape:
        return f"{path} holds {array.dtype} of shape {array.shape}, not numbers of shape {shape}; restore the file"
    is_whole = np.isfinite(array).all(axis=1)
    n_holes = int((~is_whole if rows is None else ~is_whole & rows).sum())
    if n_holes:
        return f"{path} has no finite prediction for {n_holes:,} of {len(array):,} rows; restore the file"
    return None
