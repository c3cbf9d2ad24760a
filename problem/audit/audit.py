"""All checks of a problem, quick ones first."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from foldsmith.problem.audit.cells import constant_columns, odd_categories, tokens_read_as_missing
from foldsmith.problem.audit.drift import adversarial, drifted_columns
from foldsmith.problem.audit.duplicates import repeated_rows
from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.findings import Finding, by_severity
from foldsmith.problem.audit.judge import metric_mismatches, sample_submission
from foldsmith.problem.audit.leaks import ids_and_order, permuted_rows, target_copies, target_encodings
from foldsmith.problem.audit.structure import ignored_groups, missing_classes, time_leaks
from foldsmith.problem.contract import Problem

Check = Callable[[Exam], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    metric_mismatches,
    sample_submission,
    missing_classes,
    constant_columns,
    time_leaks,
    repeated_rows,
    target_encodings,
    target_copies,
    ids_and_order,
    ignored_groups,
    permuted_rows,
    drifted_columns,
    odd_categories,
    tokens_read_as_missing,
)


@dataclass(frozen=True)
class Audit:
    """What the checks found.

    Args:
        findings: errors first.
        seconds: by check.
        left_out: checks for which there was no time.
    """

    findings: tuple[Finding, ...]
    seconds: dict[str, float]
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """One object for programs."""
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": self.seconds,
            "left_out": list(self.left_out),
        }


def audit(
    problem: Problem, *, is_deep: bool = False, with_adversary: bool = False, budget_seconds: float | None = None
) -> Audit:
    """Run the checks on a problem.

    Args:
        is_deep: also look for near duplicates.
        with_adversary: also fit a model that tells test rows from train rows.
        budget_seconds: no further check is begun after so long.
    """
    exam = Exam(problem, is_deep)
    chosen: Sequence[Check] = (*CHECKS, adversarial) if with_adversary else CHECKS
    began = time.perf_counter()
    findings: list[Finding] = []
    seconds: dict[str, float] = {}
    left_out: list[str] = []
    for check in chosen:
        start = time.perf_counter()
        if budget_seconds is not None and start - began > budget_seconds:
            left_out.append(check.__name__)
            continue
        findings += check(exam)
        seconds[check.__name__] = round(time.perf_counter() - start, 3)
    return Audit(tuple(by_severity(findings)), seconds, tuple(left_out))
