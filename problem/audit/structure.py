"""What ties rows together: groups that share a label, and time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldsmith.problem.audit.exam import Exam, ExamColumn, Floats, explained, explained_by_level
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.floors import classes_missing_in_folds, missing_classes_sentence

GROUP_GAP = 0.1  # of the explained share, from which a column ties rows together
CERTAIN_GAP = 0.3
NEW_IN_TEST = 0.5  # share of test rows of new groups from which a random split lies


@dataclass(frozen=True)
class Grouping:
    """A column whose values tie rows together.

    Args:
        n_groups: distinct values.
        within: share of the target that the column explains when a value's other rows are known; ``across`` when they
            are not: what is left for rows of new groups.
        new_in_test: share of the test rows whose value train does not have.
    """

    name: str
    n_groups: int
    within: float
    across: float
    new_in_test: float

    @property
    def gap(self) -> float:
        """What a random split promises beyond what new groups give."""
        return self.within - self.across


def find_groups(exam: Exam) -> list[Grouping]:
    """Columns that explain the target by identity, not by value: known groups are predicted well, new ones are not.

    A value that repeats 2 to n/5 times is a candidate. Its rows are predicted twice, from rows of the same value and
    with all rows of the value held out; an ordinary feature, whose neighbouring values help, does well both times.
    """
    found = []
    rows = exam.sample
    y = exam.y[rows]
    for column in exam.columns():
        x = column.train[rows]
        if column.kind == "datetime" or np.isnan(x).any() or not _may_group(x):
            continue
        values, place = np.unique(x, return_inverse=True)
        within = explained_by_level(place, y, is_classification=exam.is_classification)
        if within < GROUP_GAP:
            continue
        held_out = np.random.default_rng(0).permutation(len(values))[place] % 3
        across = explained(x, y, is_classification=exam.is_classification, folds=held_out)
        new = float(np.mean(~np.isin(column.test, np.unique(column.train)))) if len(column.test) else 0.0
        grouping = Grouping(column.name, len(values), within, across, new)
        if grouping.gap >= GROUP_GAP:
            found.append(grouping)
    return sorted(found, key=lambda one: one.new_in_test * one.gap, reverse=True)


def _may_group(x: Floats) -> bool:
    """Whole numbers or codes, ten groups or more, most rows in groups of two or more, none with a fifth of the rows."""
    if (x != np.trunc(x)).any():
        return False
    counts = np.unique(x, return_counts=True)[1]
    return len(counts) >= 10 and counts[counts > 1].sum() >= 0.8 * len(x) and int(counts.max()) <= max(3, len(x) // 5)


def ignored_groups(exam: Exam) -> Iterator[Finding]:
    """Groups that the fold plan splits although test rows come from other groups (L10)."""
    for group in find_groups(exam):
        if _respects(exam, group):
            continue
        is_certain = group.gap >= CERTAIN_GAP and group.new_in_test >= NEW_IN_TEST
        severity = "error" if is_certain else "warning" if group.new_in_test >= 0.05 else "info"
        yield Finding(
            "ignored_group",
            severity,  # type: ignore[arg-type]
            f"{group.name} ties rows together: it explains {group.within:.0%} of the target for rows of known groups "
            f"and {group.across:.0%} for new ones; {group.new_in_test:.0%} of the test rows are of new groups",
            f'set scheme = "group" and group = "{group.name}" in [split], in a new folder if folds are frozen',
            (group.name,),
            evidence={**vars(group), "gap": round(group.gap, 4)},
        )


def _respects(exam: Exam, group: Grouping) -> bool:
    """Whether the plan's folds give the column no more than new groups would: it keeps its rows together."""
    rows = exam.sample
    values = next(column for column in exam.columns() if column.name == group.name).train[rows]
    folds = exam.problem.plan.valid_fold[0][rows]
    under_plan = explained(values, exam.y[rows], is_classification=exam.is_classification, folds=folds)
    return under_plan < group.across + GROUP_GAP


def missing_classes(exam: Exam) -> Iterator[Finding]:
    """Classes that the train rows of some fold lack, or that train lacks altogether."""
    if not exam.is_classification:
        return
    plan, target, y = exam.problem.plan, exam.problem.data.target, exam.problem.data.y
    missing = classes_missing_in_folds(plan, y, len(target.classes))
    if missing:
        yield Finding(
            "missing_class",
            "warning",
            missing_classes_sentence(missing, plan, y, target.classes),
            "take other folds in which every class has train rows (fewer blocks, another scheme), or merge the class",
            (target.name,),
            int(sum((y == code).sum() for code in missing)),
            {target.classes[code]: [fold + 1 for fold in folds] for code, folds in missing.items()},
        )


def time_leaks(exam: Exam) -> Iterator[Finding]:
    """Train rows that are later than test rows, and plans that predict the past from the future (L11)."""
    if exam.problem.plan.scheme == "time":
        return
    for column in exam.columns():
        if column.kind != "datetime" and not _is_named_like_time(column):
            continue
        train, test = column.train[np.isfinite(column.train)], column.test[np.isfinite(column.test)]
        if len(train) < 50 or len(test) < 10 or len(np.unique(train)) < 10:
            continue
        later_test = float(np.mean(test > np.quantile(train, 0.99)))
        future = float(np.mean(train >= np.quantile(test, 0.01)))
        facts: dict[str, Any] = {"test_after_train": round(later_test, 4), "train_after_test_began": round(future, 4)}
        advice = f'set scheme = "time" and time = "{column.name}" in [split], in a new folder if folds are frozen'
        if later_test > 0.9:
            yield Finding(
                "time_leak",
                "warning",
                f"{later_test:.0%} of the test rows are later than 99 % of the train rows by {column.name}, but folds "
                "are drawn at random: each is predicted with rows of its future",
                advice,
                (column.name,),
                evidence=facts,
            )
        elif 0.001 < future < 0.3 and float(np.mean(test > np.quantile(train, 0.5))) > 0.9:
            yield Finding(
                "time_leak",
                "warning",
                f"test rows are later than most train rows by {column.name}, but {future:.1%} of the train rows lie in "
                "the time of the test: what they know, other test rows' past did not",
                "leave rows of the test's time out of validation: " + advice,
                (column.name,),
                int(round(future * len(train))),
                facts,
            )


def _is_named_like_time(column: ExamColumn) -> bool:
    words = column.name.lower().replace("-", "_").split("_")
    return bool({"date", "time", "timestamp", "year", "datetime"} & set(words))
