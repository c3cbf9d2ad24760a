"""How a score came about: on which rows, from which folds, by which rounds; and which scores can stand in one order."""

from dataclasses import dataclass
from typing import Any, Literal

from foldsmith.problem.contract import Problem
from foldsmith.results.external import foreign_folds
from foldsmith.results.members import Member

Sample = Literal["out-of-fold", "nested", "recomputed"]


@dataclass(frozen=True)
class Obtained:
    """How a member's score was obtained.

    Args:
        sample: of rows: out of fold; nested, where weights were fitted on the other folds; recomputed from predictions
            that were made elsewhere.
        aggregate: one score of all rows (``pooled``), or the mean of the folds'.
        stopping: how boosting and nets chose their rounds (``scored``: by the fold that is scored, which flatters);
            empty for blends and imports.
        folds: hash of the plan whose rows are scored.
        n_folds, scheme: of it.
        labels: how labels were decided; empty where the metric needs none.
        foreign: ``different`` or ``unknown`` where predictions were not made under this plan.
    """

    sample: Sample
    aggregate: str
    stopping: str
    folds: str
    n_folds: int
    scheme: str
    labels: str = ""
    foreign: str = ""

    @property
    def marks(self) -> str:
        """``n`` nested, ``e`` rounds chosen by the fold that is scored, ``!`` other or unknown folds."""
        is_flattered = self.stopping == "scored"
        return ("n" if self.sample == "nested" else "") + "e" * is_flattered + "!" * bool(self.foreign)

    def is_comparable(self, other: "Obtained") -> bool:
        """Whether two scores may stand in one order: the same folds and aggregate, and neither flattered alone."""
        same = (self.folds, self.aggregate, self.foreign) == (other.folds, other.aggregate, other.foreign)
        return same and (self.stopping == "scored") == (other.stopping == "scored")

    @property
    def label(self) -> str:
        """In words."""
        sample = {
            "out-of-fold": "out of fold",
            "nested": "nested: weights fitted on the other folds",
            "recomputed": "recomputed from predictions made elsewhere",
        }[self.sample]
        words = [sample, f"{self.aggregate.replace('_', ' ')} over {self.n_folds} {self.scheme} folds ({self.folds})"]
        if self.stopping:
            flatters = ", which flatters" if self.stopping == "scored" else ""
            words.append(f"rounds by {self.stopping}{flatters}")
        if self.labels:
            words.append(self.labels)
        if self.foreign:
            words.append(f"made under {self.foreign} folds")
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "marks": self.marks}


def obtained(problem: Problem, member: Member) -> Obtained:
    """How a complete member's score was obtained."""
    samples: dict[str, Sample] = {"blend": "nested", "imported": "recomputed"}
    plan = problem.plan
    return Obtained(
        samples.get(member.kind, "out-of-fold"),
        problem.metric.aggregate,
        member.policy if member.kind == "trial" else "",
        plan.hash,
        plan.n_folds,
        plan.scheme,
        "labels by rules fitted on the other folds" if problem.judge.needs_labels else "",
        foreign_folds(member) or "",
    )
