"""Columns, ids and row orders that know the target."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.audit.exam import Exam, ExamColumn, Floats, explained
from foldsmith.problem.audit.findings import Finding

COPY = 0.998  # explained share from which a column is the target itself: an AUC of 0.999
SUSPICIOUS = 0.97
COPY_OF_SEVERAL = 0.985
FEW = 10  # rows beside the most frequent class below which nothing is certain
BLOCKS = 50
SMOOTHINGS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 300.0)
MAX_MERGED = 60


def target_copies(exam: Exam) -> Iterator[Finding]:
    """Columns, their missingness and differences of dates that give the target away (L1, L13)."""
    n_others = len(exam.y) - int(np.bincount(exam.y).max()) if exam.is_classification else len(exam.y)
    # several classes: a tree errs on the rare ones though the column tells them
    sure = COPY if not exam.is_classification or len(exam.problem.data.target.classes) == 2 else COPY_OF_SEVERAL
    for name, values in _candidates(exam):
        share = _knows_target(exam, values)
        if share < SUSPICIOUS or n_others < FEW:
            continue
        is_copy = bool(share >= sure)
        yield Finding(
            "target_copy" if is_copy else "target_leak",
            "error" if is_copy else "warning",
            f"{name} alone explains {share:.1%} of the target" + (": it is the target in other clothes" * is_copy),
            "drop the column, unless it is really known for rows whose target is not",
            (name.split(" ")[0],),
            evidence={"explained": round(share, 5)},
        )


def _candidates(exam: Exam) -> Iterator[tuple[str, Floats]]:
    dates: list[ExamColumn] = []
    for column in exam.columns():
        yield column.name, column.train
        missing = np.isnan(column.train)
        if 0 < missing.mean() < 1:
            yield f"{column.name} (whether it is missing)", missing.astype(np.float64)
        if column.kind == "datetime":
            dates.append(column)
    for i, one in enumerate(dates):
        for other in dates[i + 1 :]:
            yield f"{one.name} less {other.name}", one.train - other.train


def _knows_target(exam: Exam, values: Floats) -> float:
    """Explained share by a tree out of fold, or by rank: a copy with a little noise is no step function."""
    rows = exam.sample
    x, y = values[rows], exam.y[rows]
    if not np.isfinite(x).any() or np.nanmin(x) == np.nanmax(x) and not np.isnan(x).any():
        return 0.0
    share = explained(x, y, is_classification=exam.is_classification)
    if exam.is_classification or np.isnan(x).any():
        return share
    from scipy.stats import pearsonr, spearmanr

    linear = max(abs(spearmanr(x, y).statistic), abs(pearsonr(x, y).statistic)) if len(np.unique(x)) > 2 else 0.0
    return max(share, float(linear) ** 2)


def target_encodings(exam: Exam) -> Iterator[Finding]:
    """Columns whose value is the mean target of all rows that share it: encoded outside the folds (L1).

    Smoothed means, ``(n mean + a prior) / (n + a)``, are recognised for usual values of ``a``.
    """
    goals = [np.asarray(exam.y, np.float64)]
    if exam.is_classification:
        goals += [(exam.y == code).astype(np.float64) for code in range(int(exam.y.max()) + 1)]
    for column in exam.columns():
        if column.kind != "numeric":
            continue
        for goal in goals:
            smoothing = _encodes(column.train, goal)
            if smoothing is None:
                continue
            levels = len(np.unique(column.train[np.isfinite(column.train)]))
            yield Finding(
                "target_encoded",
                "error",
                f"{column.name} holds the mean target of the {levels} groups of rows that share its value, each row's "
                "own label among them",
                "encode inside the folds (foldsmith does it for categories), and give the original column instead",
                (column.name,),
                evidence={"levels": levels, "smoothing": smoothing},
            )
            break


def _encodes(x: Floats, y: Floats) -> float | None:
    """The smoothing with which ``x`` is the mean of ``y`` by its own levels; None if it is no such mean."""
    known = np.isfinite(x)
    if known.mean() < 0.5:
        return None
    values, place, counts = np.unique(x[known], return_inverse=True, return_counts=True)
    if not 5 <= len(values) <= known.sum() / 2 or (counts > 1).mean() < 0.2:
        return None
    prior, scale = float(y[known].mean()), float(np.std(y))
    if values[0] < y[known].min() - scale or values[-1] > y[known].max() + scale:
        return None
    sums = np.asarray(np.bincount(place, weights=y[known]), np.float64)
    if np.std(sums / counts) < 0.2 * scale / np.sqrt(counts.mean()):
        return None
    merged = _merged_levels(sums, counts)
    for smoothing in SMOOTHINGS:
        expected = (sums / merged + smoothing * prior) / (counts / merged + smoothing)
        agrees = np.abs(expected - values) <= 2e-4 * scale + 2e-6 * np.abs(values)
        if np.average(agrees.any(axis=0), weights=counts) > 0.8:
            return smoothing
    return None


def _merged_levels(sums: Floats, counts: NDArray[Any]) -> Floats:
    """``(n_guesses, n_values)`` of how many levels with as many rows and hits each a value may consist.

    Levels with equal sums and counts are encoded alike, so they look like one. Their number divides both.
    """
    guesses = np.arange(1, MAX_MERGED + 1)[:, None]
    whole = (counts % guesses == 0) & (np.abs(sums / guesses - np.round(sums / guesses)) < 1e-9)
    return np.where(whole, guesses, 1).astype(np.float64)


def ids_and_order(exam: Exam) -> Iterator[Finding]:
    """Ids, or the place in the file, that predict the target (L12): harmless while they are no features."""
    rows, problem = exam.sample, exam.problem
    y, n = exam.y[rows], len(exam.y)
    floor = 4 / np.sqrt(len(rows))  # several standard errors of what nothing explains
    if problem.data.id_column is not None:
        numbers = id_numbers(problem.data.train_ids)
        if numbers is not None:
            picked = numbers[rows]
            share = explained(
                np.stack([picked, picked % 10, picked % 2], axis=1), y, is_classification=exam.is_classification
            )
            if share > max(0.1, floor):
                yield Finding(
                    "id_predicts_target",
                    "warning",
                    f"the id {problem.data.id_column} alone explains {share:.0%} of the target",
                    "it is no feature here, and nothing made of it should be, unless test ids continue the same way",
                    (problem.data.id_column,),
                    evidence={"explained": round(share, 4)},
                )
    share = explained(rows.astype(np.float64), y, is_classification=exam.is_classification, folds=_blocks(rows, n))
    near = explained(rows.astype(np.float64), y, is_classification=exam.is_classification)
    if max(share, near) > max(0.1, floor):
        yield Finding(
            "row_order",
            "warning",
            f"a row's place in the train file explains {max(share, near):.0%} of its target",
            "rows are sorted, by time or by a group perhaps: use the scheme time or group if test rows are others",
            evidence={"explained": round(near, 4), "explained_in_blocks": round(share, 4)},
        )


def _blocks(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Every third block of neighbouring rows is predicted from the others."""
    return rows * BLOCKS // n % 3


def id_numbers(ids: list[str]) -> Floats | None:
    """The last run of digits of each id, None where most have none.

    >>> id_numbers(["a-12", "b-3"]).tolist()
    [12.0, 3.0]
    """
    import pandas as pd

    found = pd.to_numeric(pd.Series(ids, dtype="str").str.extract(r"(\d{1,15})(?!.*\d)")[0], errors="coerce")
    values = found.to_numpy(np.float64)
    return None if np.isnan(values).mean() > 0.05 else np.nan_to_num(values, nan=-1.0)


def permuted_rows(exam: Exam) -> Iterator[Finding]:
    """Test rows whose features do not go with their ids, though they do in train (L18)."""
    data = exam.problem.data
    if data.id_column is None or data.test_id_column is None or exam.test.n_rows < 50:
        return
    ids = id_numbers(data.train_ids), id_numbers(data.test_ids)
    if ids[0] is None or ids[1] is None:
        return
    torn = []
    for column in exam.columns():
        if column.kind == "categorical":
            continue
        train, test = (_neighbours_alike(values, of) for values, of in ((column.train, ids[0]), (column.test, ids[1])))
        if train > 0.5 and abs(test) < max(0.1, 2 / np.sqrt(exam.test.n_rows)):
            torn.append((column.name, train, test))
    if torn:
        names = tuple(name for name, *_ in torn)
        yield Finding(
            "permuted_rows",
            "warning",
            f"neighbouring ids have like values of {', '.join(names[:3])} in train (correlation {torn[0][1]:.2f}) but "
            f"not in test ({torn[0][2]:+.2f}): test features may have lost their ids",
            "compare a few test rows with the original file before anything is submitted",
            names,
            evidence={name: [round(train, 3), round(test, 3)] for name, train, test in torn},
        )


def _neighbours_alike(values: Floats, ids: Floats) -> float:
    """Correlation of each value with the one of the next id."""
    ordered = values[np.argsort(ids, kind="stable")]
    before, after = ordered[:-1], ordered[1:]
    known = np.isfinite(before) & np.isfinite(after)
    if known.sum() < 30 or np.std(before[known]) == 0 or np.std(after[known]) == 0:
        return 0.0
    return float(np.corrcoef(before[known], after[known])[0, 1])
