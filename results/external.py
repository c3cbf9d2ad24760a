"""What is remembered of members whose predictions were made elsewhere."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from foldsmith.results.members import Member

FoldMark = Literal["identical", "different", "unknown"]

FAMILY = "external"
PREFIX = "ext-"


def foreign_folds(member: Member) -> FoldMark | None:
    """``"different"`` or ``"unknown"`` when out-of-fold predictions were not made under the problem's folds, else None.

    They may be averaged. A second level that is fitted on them can learn the labels of its own validation rows: models
    that predicted its train rows may have seen them. A blend of such members is ``"unknown"``.
    """
    if member.kind == "blend":
        return "unknown" if member.details.get("foreign") else None
    folds: FoldMark = member.details["folds"] if member.kind == "imported" else "identical"
    return None if folds == "identical" else folds


@dataclass(frozen=True)
class ExternalRow:
    """One line of ``foldsmith oof list``.

    Args:
        score, sem: recomputed here.
        claimed: by whoever made it; None when nothing was said.
        mark: ``!`` for other or unknown folds.
        rows: predicted, of ``n_rows`` in train.
        matched: how rows were found, ``"id"`` or ``"order"``.
        test: ``"yes"``, ``"no"``, or ``"old"`` when it predicts another test file than the present one.
    """

    member: str
    metric: str
    score: float | None
    sem: float | None
    claimed: float | None
    difference: float | None
    folds: str
    mark: str
    rows: int
    n_rows: int
    matched: str
    test: str
    file: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def external_row(member: Member, test_fingerprint: str) -> ExternalRow:
    """The line of an imported member; ``test_fingerprint`` is of the problem's test file as it is now."""
    details = member.details
    value = None if member.scores is None else member.scores.value
    claimed = details.get("claimed")
    has_test = "yes" if member.test_fingerprint == test_fingerprint else "old"
    return ExternalRow(
        member.id,
        member.metric,
        value,
        None if member.scores is None else member.scores.sem,
        claimed,
        None if value is None or claimed is None else value - claimed,
        details["folds"],
        "" if foreign_folds(member) is None else "!",
        details["rows"],
        details["n_rows"],
        details["matched"],
        has_test if member.test_fingerprint else "no",
        details["source"]["oof"]["file"],
        tuple(details["warnings"]),
    )
