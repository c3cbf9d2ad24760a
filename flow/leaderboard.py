"""The competition's memory of its submissions: what was sent, what the leaderboard said, what is left of the day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.flow.shake import draw_scores, groups_of
from foldsmith.flow.submission import why_not_judged
from foldsmith.problem.config import LeaderboardSection
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.folder import Folder
from foldsmith.results.leaderboard import Budget, Line, Point, judge_points, near_ties, robust_line, scored
from foldsmith.results.leaderboard import submission_budget as budget_of
from foldsmith.results.ledger import (
    Entry,
    Ledger,
    format_utc,
    new_entry,
    parse_utc,
    read_ledger,
    update_ledger,
    utc_now,
)
from foldsmith.results.members import MemberStore


def log_score(
    folder: Folder,
    which: str,
    *,
    public: float | None = None,
    private: float | None = None,
    cv: float | None = None,
    note: str | None = None,
    rejected: bool = False,
    submitted: bool = False,
    at: str | None = None,
) -> Entry:
    """Write down what the leaderboard said of a submission; what is not given stays.

    Args:
        which: file name or path, number, or a member whose newest submission is meant. A file that is not in the
            ledger yet, made elsewhere, is added.
        cv: of such a file, if something is known.
        rejected: by the server, which takes no slot of the day; ``submitted``: without a score yet.
        at: when it was submitted, ISO 8601; now by default, unless a time of submission is known.

    Raises:
        InputError: no such submission, or a time that is none.
    """
    for name, value in (("public", public), ("private", private), ("cv", cv)):
        if value is not None and not np.isfinite(value):
            raise InputError(f"{name}={value} is not finite; write the score as the leaderboard shows it")
    try:
        moment = utc_now() if at is None else parse_utc(at)
    except ValueError:
        raise InputError(f"at={at!r} is no time; write e.g. 2026-11-26T14:05:00Z") from None

    def change(ledger: Ledger) -> Entry:
        entry = ledger.find(which) or _unknown_file(folder, ledger, which)
        is_sent = rejected or submitted or public is not None or private is not None
        first = is_sent and entry.state == "made"
        state = "rejected" if rejected else "submitted" if is_sent else entry.state
        given = {"public": public, "private": private, "cv": cv, "note": note}
        changed = {name: value for name, value in given.items() if value is not None}
        utc = format_utc(moment) if first or at is not None or not entry.utc else entry.utc
        return replace(entry, state=state, utc=utc, **changed)  # type: ignore[arg-type]

    return update_ledger(folder, change)


def _unknown_file(folder: Folder, ledger: Ledger, which: str) -> Entry:
    for path in (Path(which), folder.submissions / which):
        if path.is_file():
            return new_entry(path)
    raise UnknownNameError("submission", which, [entry.file for entry in ledger.entries])


@dataclass(frozen=True)
class Standing:
    """The ledger with what can be learned from it.

    Args:
        entries: in the file's order.
        line: through validation and public scores; None with fewer than three.
        points: the scored entries against it.
        noise: typical standard deviation of a public score from the luck of its rows; nan if unknown.
        near_ties: submissions within that noise of another's public score.
        budget: of today.
    """

    metric: str
    greater_is_better: bool
    entries: tuple[Entry, ...]
    line: Line | None
    points: tuple[Point, ...]
    noise: float
    near_ties: int
    budget: Budget

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        points = {point.entry.file: point for point in self.points}
        return {
            "metric": self.metric,
            "entries": [
                {
                    **entry.to_json(),
                    **(
                        {"residual": point.residual, "sigmas": point.sigmas, "flag": point.flag}
                        if (point := points.get(entry.file))
                        else {}
                    ),
                }
                for entry in self.entries
            ],
            "line": None if self.line is None else vars(self.line),
            "noise": self.noise,
            "near_ties": self.near_ties,
            "budget": {"per_day": self.budget.per_day, "used": self.budget.used, "left": self.budget.left},
        }


def leaderboard(problem: Problem, members: MemberStore, public_share: float | None = None) -> Standing:
    """Read the ledger, lay the line, and hold every point against the luck of the public rows."""
    settings = problem.config.leaderboard
    entries = read_ledger(problem.folder).entries
    sent = scored(entries)
    noise_of = public_noise(problem, members, sent, public_share or settings.public_share)
    line = robust_line([one.validation for one in sent if one.validation is not None], _publics(sent))
    points = [] if line is None else judge_points(sent, line, noise_of)
    noise = float(np.median(list(noise_of.values()))) if noise_of else float("nan")
    ties = near_ties(entries, noise) if noise_of else 0
    greater = problem.metric.greater_is_better
    budget = submission_budget(problem.folder, settings)
    return Standing(problem.metric.name, greater, entries, line, tuple(points), noise, ties, budget)


def _publics(entries: Sequence[Entry]) -> list[float]:
    return [one.public for one in entries if one.public is not None]


def public_noise(
    problem: Problem, members: MemberStore, entries: Sequence[Entry], public_share: float
) -> dict[str, float]:
    """Standard deviation of the public score by file, from draws of its member's out-of-fold rows.

    Entries whose member is gone, or was made under another contract, are left out.
    """
    size = max(1, round(public_share * problem.data.test.n_rows))
    of_member: dict[str, float] = {}
    groups = groups_of(problem) if entries else None
    for name in dict.fromkeys(entry.member for entry in entries):
        member = members.find(name) if name else None
        if member is not None and why_not_judged(problem, members, member) is None:
            (scores,) = draw_scores(problem.judge, [members.oof(name)], [size], groups=groups).by_size
            of_member[name] = float(np.nanstd(scores[:, 0], ddof=1))
    return {entry.file: of_member[entry.member] for entry in entries if entry.member in of_member}


def submission_budget(folder: Folder, settings: LeaderboardSection, per_day: int | None = None) -> Budget:
    """Submissions that are left today, by UTC, and until the deadline."""
    deadline = None if settings.deadline is None else parse_utc(settings.deadline)
    return budget_of(read_ledger(folder).entries, per_day or settings.per_day, utc_now(), deadline)
