"""Whether the metric and the submission are what they seem: direction, balance, form."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.ids import same_column
from foldsmith.problem.reading import read_frame

RARE = 0.05


def metric_mismatches(exam: Exam) -> Iterator[Finding]:
    """A metric whose direction is wrong (L19), or that does not look at what matters."""
    yield from _direction(exam)
    if exam.is_classification:
        shares = np.bincount(exam.y) / len(exam.y)
        if exam.problem.metric.name == "accuracy" and shares.max() > 1 - RARE:
            yield Finding(
                "metric_mismatch",
                "info",
                f"{shares.max():.1%} of the rows are of one class: accuracy hardly tells a model from a constant",
                "check that accuracy is the competition's metric; auc, f1 and balanced_accuracy look at the rare class",
                evidence={"majority": round(float(shares.max()), 4)},
            )


def _direction(exam: Exam) -> Iterator[Finding]:
    """Right predictions must beat shuffled ones."""
    metric, rows = exam.problem.metric, exam.sample
    y = exam.y[rows]
    if metric.needs == "proba":
        n_classes = len(exam.problem.data.target.classes)
        right = np.eye(n_classes)[y] * 0.98 + 0.02 / n_classes
        right = right[:, 1:] if n_classes == 2 else right
    else:
        right = y
    wrong = right[np.random.default_rng(0).permutation(len(right))]
    try:
        good, bad = metric.score(y, right), metric.score(y, wrong)
    except Exception as error:  # a user's function may do anything
        yield Finding(
            "metric_mismatch", "error", f"{metric.name} fails on right predictions: {error}", "correct the metric"
        )
        return
    if metric.better(good, bad):
        return
    says = "greater" if metric.greater_is_better else "smaller"
    yield Finding(
        "metric_mismatch",
        "error",
        f"{metric.name} gives right predictions {good:.6g} and shuffled ones {bad:.6g}, and says that {says} is better",
        "set greater_is_better of the metric the other way round"
        if good != bad
        else "it does not look at the predictions",
        evidence={"right": good, "shuffled": bad},
    )


def sample_submission(exam: Exam) -> Iterator[Finding]:
    """A sample of chances where labels are judged, or of labels where chances are (L18)."""
    name = exam.problem.config.data.sample
    if name is None:
        return
    path = exam.problem.folder.resolve(name)
    try:
        frame = read_frame(path)
    except FoldsmithError:
        return  # 'init' refuses what cannot be read
    id_column = exam.problem.data.test_id_column
    same = None if id_column is None else same_column(id_column, list(frame.columns))
    values = frame.drop(columns=[] if same is None else [same])
    if values.shape[1] != 1 or not exam.is_classification:
        return
    cells = values.iloc[:, 0]
    is_number = pd.api.types.is_numeric_dtype(cells.dtype)
    fractions = is_number and bool(((cells > 0) & (cells < 1)).any())
    metric = exam.problem.metric
    if metric.needs == "label" and fractions or metric.needs == "proba" and not is_number:
        kind = "chances" if fractions else "labels"
        yield Finding(
            "metric_mismatch",
            "warning",
            f"the sample submission holds {kind}, but {metric.name} judges {'labels' if fractions else 'chances'}",
            "check the metric with the competition's page",
            (str(values.columns[0]),),
        )
