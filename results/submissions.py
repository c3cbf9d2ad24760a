"""Submission files: the sample's ids, order, header and types; checked before they are written."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.decisions import Decision
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import folder_lock, write_bytes
from foldsmith.problem.metrics import Metric
from foldsmith.problem.reading import read_frame
from foldsmith.problem.target import Target, prefix_length

MOST_PLAIN = 1e9  # scores of larger size are written with a power of ten


@dataclass(frozen=True)
class SubmissionForm:
    """What a submission of this competition looks like.

    Args:
        id_column: None when the test file has no id.
        test_ids: as text, in the order of the test file.
        sample: the sample submission as text, None without one.
    """

    target: Target
    metric: Metric
    id_column: str | None
    test_ids: list[str]
    sample: pd.DataFrame | None = None

    def fill(self, predictions: NDArray[Any], decision: Decision | None) -> pd.DataFrame:
        """Predictions of the test rows ``(n_test, n_outputs)`` as a submission.

        Without a sample: the id column as given, then, for labels and values, one column named after the target; for
        the chances of two classes that column holds the chance of class 1; for several classes one column per class.

        Raises:
            InputError: the sample's ids or columns do not fit.
        """
        columns = self._columns(predictions, decision)
        if self.sample is None:
            frame = pd.DataFrame(columns)
            if self.id_column is not None:
                frame.insert(0, self.id_column, np.array(self.test_ids, dtype=object))
            return frame
        return self._like_sample(columns, self.sample)

    def _columns(self, predictions: NDArray[Any], decision: Decision | None) -> dict[str, NDArray[Any]]:
        if not np.isfinite(predictions).all():
            raise InputError("the predictions hold values that are not finite; no submission was written")
        if decision is not None:
            return {self.target.name: self.target.labels(decision.apply(predictions))}
        if predictions.shape[1] == 1 and len(self.target.classes) == 2 and self._wants_both_classes():
            return dict(zip(self.target.classes, (1 - predictions[:, 0], predictions[:, 0]), strict=True))
        if predictions.shape[1] == 1:
            return {self.target.name: without_noise(predictions[:, 0])}
        return {name: predictions[:, code] for code, name in enumerate(self.target.classes)}

    def _wants_both_classes(self) -> bool:
        """Whether the sample has a column for each of the two classes."""
        header = [] if self.sample is None else [name for name in self.sample.columns if name != self.id_column]
        classes = set(self.target.classes)
        return set(header) == classes or bool(prefix_length(header, classes))

    def _like_sample(self, columns: dict[str, NDArray[Any]], sample: pd.DataFrame) -> pd.DataFrame:
        header = list(sample.columns)
        id_column = self.id_column if self.id_column in header else None
        wanted = [name for name in header if name != id_column]
        if len(wanted) == 1 and len(columns) == 1:
            columns = {wanted[0]: next(iter(columns.values()))}
        elif n := prefix_length(wanted, set(columns)):
            columns = {name: columns[name[n:]] for name in wanted}
        self._check_columns(wanted, list(columns))
        rows = self._rows_of(list(sample[id_column])) if id_column else self._rows_in_order(len(sample))
        frame = pd.DataFrame({name: columns[name][rows] for name in wanted})
        if id_column:
            frame[id_column] = np.array(list(sample[id_column]), dtype=object)
        return frame[header]

    def _check_columns(self, wanted: list[str], columns: list[str]) -> None:
        unknown = [name for name in wanted if name not in columns]
        if unknown:
            raise InputError(
                f"the sample submission has a column {unknown[0]!r}, but the predictions are for "
                f"{', '.join(columns)}; rename it in the sample"
            )
        lacking = [name for name in columns if name not in wanted]
        if lacking:
            raise InputError(
                f"the sample submission has no column for {lacking[0]!r}, but {', '.join(wanted) or 'none at all'}; "
                "add it to the sample"
            )

    def _rows_of(self, sample_ids: list[str]) -> NDArray[np.int64]:
        place = {name: row for row, name in enumerate(self.test_ids)}
        unknown = [name for name in sample_ids if name not in place]
        if unknown or len(sample_ids) != len(place):
            example = f", e.g. {unknown[0]!r}" if unknown else ""
            raise InputError(
                f"the sample submission has {len(sample_ids)} ids, {len(unknown)} of them not in test{example}; "
                f"test has {len(place)}; give the files of one competition"
            )
        if len(set(sample_ids)) < len(sample_ids):
            twice = next(name for name, count in Counter(sample_ids).items() if count > 1)
            raise InputError(f"the sample submission has the id {twice!r} more than once; keep one row per id")
        return np.array([place[name] for name in sample_ids], np.int64)

    def _rows_in_order(self, n_rows: int) -> NDArray[np.int64]:
        if n_rows != len(self.test_ids):
            raise InputError(
                f"the sample submission has {n_rows} rows and no id column, but test has {len(self.test_ids)} rows; "
                "give the files of one competition"
            )
        return np.arange(n_rows)


def without_noise(values: NDArray[Any]) -> NDArray[Any]:
    """Values ``(n,)`` rounded to nine significant digits of their own spread: no model knows the digits behind.

    >>> without_noise(np.array([1700000010.123456789, 1700000040.0])).tolist()
    [1700000010.1234567, 1700000040.0]
    """
    spread = float(np.std(np.asarray(values, np.float64)))
    if spread == 0 or not np.isfinite(spread):
        return values
    decimals = 8 - math.floor(math.log10(spread))
    return np.round(values, int(np.clip(decimals, -300, 300)))


def read_sample(path: Path) -> pd.DataFrame:
    """The sample submission with every cell as text, so that ids come out as they went in."""
    from foldsmith.problem.reading import read_header

    return read_frame(path, as_text=read_header(path)).astype(object)


def write_submission(path: Path, frame: pd.DataFrame) -> None:
    """Write a csv atomically, whatever stood there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, frame.to_csv(index=False).encode())


def write_numbered(folder: Path, frame: pd.DataFrame, member: str, score: float) -> Path:
    """Write ``0001_b01_cv0.84312.csv`` under the next free number; two processes never take the same one."""
    with folder_lock(folder):
        numbers = [int(match[1]) for path in folder.glob("*_*.csv") if (match := re.match(r"(\d{4,})_", path.name))]
        shown = f"{score:.5f}" if abs(score) < MOST_PLAIN else f"{score:.5e}"
        path = folder / f"{max(numbers, default=0) + 1:04d}_{member}_cv{shown}.csv"
        write_submission(path, frame)
    return path


def numbered_path(folder: Path, member: str) -> Path | None:
    """The newest numbered submission of a member, None when there is none."""
    written = sorted(path for path in folder.glob(f"*_{member}_cv*.csv") if re.match(r"\d{4,}_", path.name))
    return written[-1] if written else None


def constant_prediction(target: Target, y: NDArray[Any], n_rows: int, n_outputs: int) -> NDArray[np.float64]:
    """The baseline before any model: class shares, or the median of the values, for ``n_rows`` rows."""
    if target.task == "regression":
        return np.full((n_rows, 1), np.median(y))
    if n_outputs == len(target.classes):
        shares = np.bincount(y, minlength=n_outputs) / len(y)
    else:  # the chance of class 1, or the middle of an ordinal scale
        shares = np.array([np.mean(y) if target.task == "binary" else np.median(y)])
    return np.tile(shares, (n_rows, 1))
