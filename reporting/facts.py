"""Everything that a report shows of a competition, read once from what is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.flow.competition import Competition
from foldsmith.flow.ensemble import best_blend
from foldsmith.flow.leaderboard import Standing, leaderboard
from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.contract import Problem
from foldsmith.problem.decisions import default_decision
from foldsmith.problem.errors import DamagedFileError, FoldsmithError
from foldsmith.problem.reading import read_frame
from foldsmith.problem.scoring import crossfitted_labels
from foldsmith.results.members import Member
from foldsmith.results.soundness import sound, why_damaged
from foldsmith.results.top import ranked

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """One member's out-of-fold predictions beside the labels, on the rows that the folds cover.

    Args:
        rows: ``(n,)`` row numbers of the train table.
        values: ``(n, n_outputs)`` as stored: chances, values or ratings.
        labels: ``(n,)`` class codes as decided for labels (cross-fitted rules, or the most likely class); empty for a
            regression.
        losses: ``(n,)`` what each row costs: minus the logarithm of its own class' chance, or the absolute error.
        right: ``(n,)`` whether the label is right; empty for a regression.
        confidence: ``(n,)`` the chance of the decided class; empty for values and ratings.
    """

    member: str
    rows: NDArray[np.int64]
    y: NDArray[Any]
    values: Floats
    labels: NDArray[np.int64]
    losses: Floats
    right: NDArray[np.bool_]
    confidence: Floats


@dataclass(frozen=True)
class Facts:
    """A competition as a report sees it.

    Args:
        competition: with frozen folds.
        chosen: the member whose predictions are looked at; the best blend, else the best member by default.
        findings: of the quick checks.
    """

    competition: Competition
    chosen: str = ""
    findings: tuple[Finding, ...] = field(default=())

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.competition.problem

    @cached_property
    def members(self) -> list[Member]:
        """Complete members of this contract, best first."""
        found = self.competition.members.all(contract=self.problem.contract, states=["complete"])
        whole = sound(self.problem, self.competition.members, found)
        return ranked(whole, greater_is_better=self.problem.metric.greater_is_better)

    @cached_property
    def others(self) -> list[Member]:
        """Failed and pruned members of this contract."""
        states = ("failed", "pruned")
        return [one for one in self.competition.members.all(contract=self.problem.contract) if one.state in states]

    @cached_property
    def blend(self) -> Member | None:
        """The blend with the best nested score."""
        return best_blend(self.problem, self.competition.members)

    @cached_property
    def best_single(self) -> Member | None:
        """The best member that is no blend."""
        return next((member for member in self.members if member.kind != "blend"), None)

    @cached_property
    def member(self) -> Member | None:
        """The member whose predictions are looked at."""
        if self.chosen:
            return self._whole(self.chosen)
        return self.blend or self.best_single

    def _whole(self, name: str) -> Member:
        """A member by its id; what is damaged of it is said before anything is drawn."""
        member = self.competition.members.get(name)
        is_drawn = member.state == "complete" and member.contract == self.problem.contract
        if is_drawn and (reason := why_damaged(self.problem, self.competition.members, member)):
            raise DamagedFileError(f"{name} cannot be reported: {reason}")
        return member

    @cached_property
    def standing(self) -> Standing | None:
        """The ledger; None where it cannot be read or is empty."""
        try:
            found = leaderboard(self.problem, self.competition.members)
        except FoldsmithError:
            return None
        return found if found.entries else None

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return self.problem.data.target.task != "regression"

    @property
    def classes(self) -> Sequence[str]:
        """Labels in code order."""
        return self.problem.data.target.classes

    @cached_property
    def exam(self) -> Exam:
        """The columns as numbers."""
        return Exam(self.problem)

    @cached_property
    def train(self) -> pd.DataFrame:
        """The train file as it is, for rows that are shown."""
        return read_frame(self.problem.data.paths[0], keep_na=self.problem.config.data.keep_na)

    @cached_property
    def predictions(self) -> Predictions | None:
        """Of the chosen member; None without one."""
        return None if self.member is None else self.predictions_of(self.member.id)

    def predictions_of(self, member: str) -> Predictions:
        """A member's out-of-fold predictions with labels, losses and confidence."""
        problem = self.problem
        oof = np.asarray(self.competition.members.oof(member), np.float64)
        rows = np.flatnonzero(problem.plan.coverage(0) & np.isfinite(oof).all(axis=1))
        y, values = np.asarray(problem.judge.y)[rows], oof[rows]
        none: Any = np.empty(0)
        if not self.is_classification:
            losses = np.abs(np.asarray(y, np.float64) - values[:, 0])
            return Predictions(member, rows, y, values, none.astype(np.int64), losses, none.astype(np.bool_), none)
        if problem.judge.needs_labels:
            labels = crossfitted_labels(problem.judge, oof)[rows]
        elif values.shape[1] == 1:
            labels = (values[:, 0] >= 0.5).astype(np.int64)
        else:
            labels = values.argmax(axis=1)
        right = labels == y
        if not problem.goal.is_classification:  # ratings
            losses = np.abs(np.asarray(y, np.float64) - values[:, 0])
            return Predictions(member, rows, y, values, labels, losses, right, none)
        chances = self.chances(values)
        own = chances[np.arange(len(y)), np.asarray(y, np.int64)]
        confidence = chances[np.arange(len(y)), labels]
        return Predictions(member, rows, y, values, labels, -np.log(own.clip(1e-15)), right, confidence)

    @staticmethod
    def chances(values: Floats) -> Floats:
        """``(n, n_classes)`` chances of all classes."""
        return np.hstack([1 - values, values]) if values.shape[1] == 1 else values

    def test_values(self, member: str) -> Floats | None:
        """``(n_test, n_outputs)`` of a member with a test prediction."""
        record = self.competition.members.get(member)
        if record.test_fingerprint != self.problem.data.test_fingerprint:
            return None
        return np.asarray(self.competition.members.test(member), np.float64)

    def plain_labels(self, values: Floats) -> NDArray[np.int64]:
        """Labels by the plain rule, for test rows whose rule is not stored."""
        target = self.problem.data.target
        return default_decision(self.problem.metric, target.task, len(target.classes)).apply(values)
