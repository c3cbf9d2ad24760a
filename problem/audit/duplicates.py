"""Rows that occur more than once: across folds, across train and test, and with other labels."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.tables import Table

MANY = 0.01  # share of rows from which repetitions are worth a warning
COPIES = 0.25  # from which, with like labels, validation is certain to flatter
ROUND = 20  # a near duplicate differs by less than about this part of a standard deviation


def repeated_rows(exam: Exam) -> Iterator[Finding]:
    """Exact and, in a deep check, near duplicates (L9), and labels that contradict each other."""
    train, test = row_hashes(exam.train), row_hashes(exam.test)
    yield from _in_train(exam, train, "duplicate_rows", "the same features")
    yield from _in_test(train, test)
    if exam.is_deep:
        scale = np.nanstd(exam.train.numeric, axis=0)
        near = row_hashes(exam.train, scale)
        if len(np.unique(near)) < len(np.unique(train)) and exam.train.numeric.shape[1] >= 5:
            yield from _in_train(exam, near, "near_duplicate_rows", "nearly the same features")


def row_hashes(table: Table, scale: NDArray[np.float32] | None = None) -> NDArray[np.uint64]:
    """``(n_rows,)`` a hash of each row's features; ids are none.

    Args:
        scale: ``(n_numeric,)`` standard deviations; numbers are rounded to a twentieth of them.
    """
    numeric = np.asarray(table.numeric)
    if scale is not None:
        numeric = np.round(numeric / np.where(scale > 0, scale, 1) * ROUND)
    columns: dict[str, object] = {f"n{i}": numeric[:, i] for i in range(numeric.shape[1])}
    columns |= {f"c{i}": table.codes[:, i] for i in range(table.codes.shape[1])}
    columns |= {f"d{i}": table.datetimes[:, i] for i in range(table.datetimes.shape[1])}
    columns |= {f"t{i}": table.text(i) for i in range(len(table.schema.text))}
    if not columns:
        return np.arange(table.n_rows, dtype=np.uint64)
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy(), np.uint64)


def _in_train(exam: Exam, hashes: NDArray[np.uint64], code: str, what: str) -> Iterator[Finding]:
    groups, sizes = np.unique(hashes, return_inverse=True, return_counts=True)[1:]
    repeated = sizes[groups] > 1
    n_repeated, n = int(repeated.sum()), len(hashes)
    if not n_repeated:
        return
    over_folds = int(repeated[_split_over_folds(exam, groups)].sum()) if exam.problem.plan.n_repeats else 0
    agree = _labels_agree(exam, groups, repeated)
    share = n_repeated / n
    is_copy = share >= COPIES and agree > 0.98 and over_folds > 0.5 * n_repeated
    severity = "error" if is_copy else "warning" if share >= MANY and over_folds else "info"
    yield Finding(
        code,
        severity,  # type: ignore[arg-type]
        f"{n_repeated} of {n} rows ({share:.1%}) share {what} with another; {over_folds} of them have their twin in "
        "another fold",
        "drop the copies, or keep them together: a column that numbers them and the scheme group",
        rows=n_repeated,
        evidence={
            "rows": n_repeated,
            "share": round(share, 4),
            "over_folds": over_folds,
            "labels_agree": round(agree, 4),
        },
    )
    if code == "duplicate_rows" and exam.is_classification and agree < 1:
        n_conflicts = int(round((1 - agree) * n_repeated))
        yield Finding(
            "label_conflict",
            "warning" if n_conflicts >= MANY * n else "info",
            f"{n_conflicts} rows have the same features as another row, and another label",
            "no model can tell them apart: labels are noisy, or a column is missing",
            rows=n_conflicts,
            evidence={"rows": n_conflicts},
        )


def _split_over_folds(exam: Exam, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``(n_rows,)`` whether a row's group is validated by more than one fold."""
    folds = exam.problem.plan.valid_fold[0].astype(np.int64)
    least = np.full(groups.max() + 1, np.iinfo(np.int64).max)
    most = np.full(groups.max() + 1, -1)
    np.minimum.at(least, groups, folds)
    np.maximum.at(most, groups, folds)
    return np.asarray((least != most)[groups])


def _labels_agree(exam: Exam, groups: NDArray[np.int64], repeated: NDArray[np.bool_]) -> float:
    """Share of the repeated rows whose label is the first one of their group, give or take a little for values."""
    first = np.zeros(groups.max() + 1, dtype=exam.y.dtype)
    first[groups[::-1]] = exam.y[::-1]
    if exam.is_classification:
        return float(np.mean(first[groups[repeated]] == exam.y[repeated]))
    return float(np.mean(np.abs(first[groups[repeated]] - exam.y[repeated]) <= 0.02 * np.std(exam.y)))


def _in_test(train: NDArray[np.uint64], test: NDArray[np.uint64]) -> Iterator[Finding]:
    seen = int(np.isin(test, train).sum())
    if not seen:
        return
    share = seen / len(test)
    yield Finding(
        "test_rows_in_train",
        "warning" if share >= MANY else "info",
        f"{seen} of {len(test)} test rows ({share:.1%}) have the same features as a train row",
        "their labels are as good as known: keep like rows in one fold, or the validation is too low for them",
        rows=seen,
        evidence={"rows": seen, "share": round(share, 4)},
    )
