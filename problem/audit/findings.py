"""A finding: what was noticed, how bad it is, the evidence, and what to do."""

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that a check noticed.

    Args:
        code: short and stable, such as ``target_copy``.
        severity: ``error``: the validation is practically certain to lie; ``warning``: it may; ``info``: worth knowing.
        message: what is the matter, in one sentence.
        advice: what to do.
        columns: that are concerned.
        rows: how many rows are concerned, None where that has no meaning.
        evidence: the numbers behind it.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    columns: tuple[str, ...] = ()
    rows: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "columns": list(self.columns)}


def by_severity(findings: list[Finding]) -> list[Finding]:
    """Errors first, then warnings, each in the order found."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
