"""Submission files: the sample's ids, order, header and types; checked before they are written."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.decisions import Decision
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import folder_lock, write_bytes
from foldsmith.problem.floors import unseen_chance
from foldsmith.problem.metrics import Metric
from foldsmith.problem.reading import read_frame
from foldsmith.problem.target import Target
from foldsmith.results.sample_form import SampleForm, read_form, sample_spelling

MOST_PLAIN = 1e9  # scores of larger size are written with a power of ten


@dataclass(frozen=True)
class SubmissionForm:
    """What a submission of this competition looks like.

    Args:
        id_column: the id's name in the test file; None when it has no id.
        test_ids: as text, in the order of the test file.
        sample: the sample submission as text, None without one.
        n_train: rows of train, for the chance of a class that only the sample knows.
    """

    target: Target
    metric: Metric
    id_column: str | None
    test_ids: list[str]
    sample: pd.DataFrame | None = None
    n_train: int = 0

    def fill(self, predictions: NDArray[Any], decision: Decision | None) -> pd.DataFrame:
        """Predictions of the test rows ``(n_test, n_outputs)`` as a submission.

        Without a sample: the id column as given, then, for labels and values, one column named after the target; for
        the chances of two classes that column holds the chance of class 1; for several classes one column per class.
        A sample is the authority on the id's name, the order of rows, the columns and the spelling of labels.

        Raises:
            InputError: the sample's ids or columns do not fit.
        """
        if not np.isfinite(predictions).all():
            raise InputError("the predictions hold values that are not finite; no submission was written")
        if self.sample is None:
            frame = pd.DataFrame(self._columns(predictions, decision))
            if self.id_column is not None:
                frame.insert(0, self.id_column, np.array(self.test_ids, dtype=object))
            return frame
        return self._like_sample(predictions, decision, self.sample)

    def remarks(self, n_outputs: int, decision: Decision | None) -> tuple[str, ...]:
        """How the sample was understood where that is not plain from it; empty without one."""
        if self.sample is None:
            return ()
        form = self._form(n_outputs, decision, self.sample)
        if decision is None:
            return form.remarks
        (name,) = form.outputs
        return (*form.remarks, *sample_spelling(self.sample[name], self.target)[1])

    def _form(self, n_outputs: int, decision: Decision | None, sample: pd.DataFrame) -> SampleForm:
        several = decision is None and n_outputs > 1
        target = self.target
        if decision is None and n_outputs == 1 and self.metric.needs != "proba":
            target = replace(target, classes=())  # a value
        elif decision is not None:
            target = replace(target, classes=())  # labels stand in one column
        return read_form(sample, target, test_ids=self.test_ids, id_column=self.id_column, several=several)

    def _columns(self, predictions: NDArray[Any], decision: Decision | None) -> dict[str, NDArray[Any]]:
        """By target, or by class."""
        if decision is not None:
            return {self.target.name: self.target.labels(decision.apply(predictions))}
        if predictions.shape[1] == 1:
            return {self.target.name: without_noise(predictions[:, 0])}
        return {name: predictions[:, code] for code, name in enumerate(self.target.classes)}

    def _like_sample(self, predictions: NDArray[Any], decision: Decision | None, sample: pd.DataFrame) -> pd.DataFrame:
        form = self._form(predictions.shape[1], decision, sample)
        columns = self._columns(predictions, decision)
        if len(form.outputs) == 2 and predictions.shape[1] == 1:
            columns = dict(zip(self.target.classes, (1 - predictions[:, 0], predictions[:, 0]), strict=True))
        if form.flipped:
            columns = {self.target.name: 1 - predictions[:, 0]}
        if form.unknown:
            chance = unseen_chance(self.n_train, len(self.target.classes) + len(form.unknown))
            known = 1 - chance * len(form.unknown)
            columns = {name: values * known for name, values in columns.items()}
            columns |= {label: np.full(len(predictions), chance) for label in form.unknown.values()}
        if decision is not None:
            columns = {self.target.name: self._spelled(decision.apply(predictions), sample, form)}
        of_column = {**form.outputs, **form.unknown}
        frame = pd.DataFrame({name: columns[label][form.rows] for name, label in of_column.items()})
        if form.id_column:
            frame[form.id_column] = np.array(list(sample[form.id_column]), dtype=object)
        return frame[list(sample.columns)]

    def _spelled(self, codes: NDArray[Any], sample: pd.DataFrame, form: SampleForm) -> NDArray[Any]:
        """Labels as the sample spells them."""
        (name,) = form.outputs
        spelled, _ = sample_spelling(sample[name], self.target)
        if all(label == text for label, text in spelled.items()):
            return self.target.labels(codes)
        labels = np.array([spelled.get(label, label) for label in self.target.classes], dtype=object)
        return np.asarray(labels[codes])


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
    """The baseline before any model: class shares, or the median of the values, for ``n_rows`` rows.

    A class without a row gets the chance :func:`foldsmith.problem.floors.unseen_chance`.
    """
    if target.task == "regression":
        return np.full((n_rows, 1), np.median(y))
    if n_outputs == len(target.classes):
        counts = np.bincount(y, minlength=n_outputs)
        unseen = unseen_chance(len(y), n_outputs)
        shares = np.where(counts > 0, counts / len(y) * (1 - unseen * (counts == 0).sum()), unseen)
    else:  # the chance of class 1, or the middle of an ordinal scale
        shares = np.array([np.mean(y) if target.task == "binary" else np.median(y)])
    return np.tile(shares, (n_rows, 1))
