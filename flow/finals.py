"""The two submissions to select before the deadline, and afterwards what each way of selecting was worth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foldsmith.flow.submission import why_not_judged
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.ledger import Entry, read_ledger
from foldsmith.results.members import MemberStore
from foldsmith.results.picks import Candidates, Policy, Second, error_correlations, pick_two

# By benchmarks/final_picks.py: over 14 data sets the better of two picked so was .218 ± .052 of the median candidate's
# distance from the best, against .283 ± .059 by validation alone and .334 ± .089 by public score alone.
RECOMMENDED = "both"
WAYS: dict[str, tuple[str, Policy, Second]] = {
    "both": ("by validation and public score weighed by their rows, and the best by public score", "both", "public"),
    "cv": ("by validation", "nested", "next"),
    "diverse": ("by validation, the second for its different errors", "nested", "different"),
    "public": ("by public score, as the platform does when nothing is selected", "public", "next"),
}


@dataclass(frozen=True)
class Picks:
    """One way of selecting.

    Args:
        way: its short name; ``what`` says it in words.
        entries: the one or two selected, the first first.
        alike: correlation of their errors; nan for one.
        private: the better private score of the two, once it is known; ``rank`` its place among all, ``regret`` how
            much worse than the best of all it is, in the metric's units.
    """

    way: str
    what: str
    entries: tuple[Entry, ...]
    alike: float
    private: float | None = None
    rank: int | None = None
    regret: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "entries": [entry.file for entry in self.entries]}


@dataclass(frozen=True)
class Finals:
    """All ways of selecting, the recommended one first.

    Args:
        n_candidates: submissions in the ledger that could be judged; ``left_out`` says why others could not.
        n_public_scores: of them with a public score.
    """

    metric: str
    picks: tuple[Picks, ...]
    n_candidates: int
    n_public_scores: int
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def recommended(self) -> Picks:
        """The way that held up best where labels were known."""
        return self.picks[0]

    @property
    def is_over(self) -> bool:
        """Whether private scores are known."""
        return any(pick.private is not None for pick in self.picks)

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            **vars(self),
            "recommended": [entry.file for entry in self.recommended.entries],
            "picks": [pick.to_json() for pick in self.picks],
        }


def finals(problem: Problem, members: MemberStore, public_share: float | None = None) -> Finals:
    """Select two submissions of the ledger in every way.

    Args:
        public_share: of the test rows, for the weight of a public score; the config's by default.

    Raises:
        InputError: the ledger holds no submission of a member under this contract.
    """
    entries, left_out = _judged(problem, members)
    if not entries:
        more = "".join(f"; {file}: {reason}" for file, reason in list(left_out.items())[:3])
        raise InputError(f"no submission to select from: write some with 'foldsmith submit make ID'{more}")
    share = problem.config.leaderboard.public_share if public_share is None else public_share
    if not 0 < share < 1:
        raise InputError(f"public share {share:g} is not between 0 and 1; give e.g. 0.3")
    given = Candidates(
        tuple(entry.file for entry in entries),
        _column([entry.cv for entry in entries]),
        _column([entry.validation for entry in entries]),
        _column([entry.public for entry in entries]),
        error_correlations(problem.judge, [members.oof(entry.member) for entry in entries]),
        int(problem.plan.coverage(0).sum()),
        max(1, round(share * problem.data.test.n_rows)),
        problem.metric.greater_is_better,
    )
    ways = [RECOMMENDED, *(way for way in WAYS if way != RECOMMENDED)]
    picks = [_picks(way, given, entries) for way in ways]
    known = tuple(pick for pick in picks if pick.entries)
    n_public = sum(entry.public is not None for entry in entries)
    return Finals(problem.metric.name, known, len(entries), n_public, left_out)


def _judged(problem: Problem, members: MemberStore) -> tuple[list[Entry], dict[str, str]]:
    """Submissions that can be selected, one per member (the newest), and why others cannot."""
    newest: dict[str, Entry] = {}
    left_out: dict[str, str] = {}
    for entry in read_ledger(problem.folder).entries:
        if entry.state == "rejected":
            left_out[entry.file] = "it was rejected"
        elif not entry.member or (member := members.find(entry.member)) is None:
            left_out[entry.file] = "its member is not known"
        elif reason := why_not_judged(problem, members, member):
            left_out[entry.file] = reason
        elif entry.validation is None:
            left_out[entry.file] = "it has no validation score"
        else:
            before = newest.get(entry.member)
            if before is None or entry.public is not None or before.public is None:
                newest[entry.member] = entry
    return list(newest.values()), left_out


def _column(values: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _picks(way: str, given: Candidates, entries: Sequence[Entry]) -> Picks:
    what, policy, second = WAYS[way]
    chosen = pick_two(given, policy, second)
    alike = float(given.alike[chosen[0], chosen[1]]) if len(chosen) == 2 else float("nan")
    picked = Picks(way, what, tuple(entries[i] for i in chosen), alike)
    private = _column([entry.private for entry in entries])
    if not chosen or not np.isfinite(private[chosen]).any():
        return picked
    losses = given.losses(private)
    best = min(chosen, key=lambda i: float(losses[i]))
    rank = 1 + int((losses < losses[best]).sum())
    regret = float(losses[best] - losses.min())
    return Picks(way, what, picked.entries, alike, float(private[best]), rank, regret)
