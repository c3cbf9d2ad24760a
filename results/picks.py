"""Which two submissions to select for the private leaderboard: policies over candidates, as plain arithmetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Judge

Floats = NDArray[np.float64]
Policy = Literal["cv", "nested", "public", "both"]
Second = Literal["next", "different", "cv", "nested", "public", "both"]


@dataclass(frozen=True)
class Candidates:
    """Submissions that may be selected, best or not.

    Args:
        names: ``(n,)``.
        cv: ``(n,)`` score that the search shows: of a blend in-sample.
        nested: ``(n,)`` honest score: of a blend nested, of a single member the same as ``cv``.
        public: ``(n,)`` public leaderboard score, nan where there is none.
        alike: ``(n, n)`` correlations of the errors, 1 on the diagonal.
        n_rows, n_public: rows behind ``nested`` and behind ``public``.
        greater_is_better: direction of the scores.
    """

    names: tuple[str, ...]
    cv: Floats
    nested: Floats
    public: Floats
    alike: Floats
    n_rows: int
    n_public: int
    greater_is_better: bool

    def losses(self, scores: Floats) -> Floats:
        """``(n,)`` smaller is better; infinite where a score is missing."""
        signed = -scores if self.greater_is_better else scores
        return np.where(np.isfinite(signed), signed, np.inf)


def by_both(given: Candidates) -> Floats:
    """``(n,)`` losses by validation and public score together, each weighed by its number of rows.

    A public score is one more sample of rows. The constant by which both differ is taken out first. Without a public
    score a candidate keeps its place by validation.
    """
    nested, public = given.losses(given.nested), given.losses(given.public)
    known = np.isfinite(nested) & np.isfinite(public)
    if not known.any():
        return nested
    offset = float(np.median(public[known] - nested[known]))
    share = given.n_public / (given.n_public + given.n_rows)
    return np.where(known, (1 - share) * nested + share * (np.where(known, public, 0.0) - offset), nested)


LOSSES: dict[Policy, Callable[[Candidates], Floats]] = {
    "cv": lambda given: given.losses(given.cv),
    "nested": lambda given: given.losses(given.nested),
    "public": lambda given: given.losses(given.public),
    "both": by_both,
}


def ranking(given: Candidates, policy: Policy) -> NDArray[np.int64]:
    """Candidates by a policy, the best first; those without a score are left out."""
    losses = LOSSES[policy](given)
    order = np.argsort(losses, kind="stable")
    return np.asarray(order[np.isfinite(losses[order])], np.int64)


def diverse(given: Candidates, first: int, policy: Policy, share: float = 1 / 3) -> int | None:
    """Of the better ``share`` of the candidates by a policy the one whose errors are least like ``first``'s."""
    order = ranking(given, policy)
    good = [int(i) for i in order[: max(2, round(share * len(order)))] if i != first]
    return min(good, key=lambda i: (given.alike[first, i], good.index(i))) if good else None


def pick_two(given: Candidates, policy: Policy, second: Second = "next") -> list[int]:
    """The best by a policy, and a second one: the next best, a different one that is also good, or another policy's.

    Args:
        second: ``"next"``, ``"different"``, or the policy whose best is taken; the next best where that is the first.
    """
    order = [int(i) for i in ranking(given, policy)]
    if not order:
        return []
    other: int | None = None
    if second == "different":
        other = diverse(given, order[0], policy)
    elif second != "next":
        other = next(iter(ranking(given, second)), None)
    if other is None or other == order[0]:
        other = order[1] if len(order) > 1 else None
    return order[:1] if other is None else [order[0], int(other)]


def error_correlations(judge: Judge, oofs: Sequence[Outputs], max_rows: int = 20_000) -> Floats:
    """``(n, n)`` correlations of the candidates' errors (prediction less label) on rows that all of them cover.

    Args:
        judge: labels and folds.
        oofs: ``(n_rows, n_outputs)`` each.
        max_rows: that are looked at, evenly spread.
    """
    covered = judge.plan.coverage(0) & np.all([np.isfinite(oof).all(axis=1) for oof in oofs], axis=0)
    rows = np.flatnonzero(covered)
    rows = rows[:: max(1, -(-len(rows) // max_rows))]
    y = np.asarray(judge.y[rows])
    n_outputs = oofs[0].shape[1]
    truth = np.eye(judge.n_classes)[y] if n_outputs > 1 else y[:, None]
    errors = np.stack([(np.asarray(oof[rows], np.float64) - truth).ravel() for oof in oofs])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.atleast_2d(np.corrcoef(errors))
    return np.where(np.isfinite(found), found, 1.0)
