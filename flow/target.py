"""What the target of a new competition is: its metric decides with its values, and an order of words is asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.folder import Folder
from foldsmith.problem.goal import Task
from foldsmith.problem.labels import HOLES, blanks_remark
from foldsmith.problem.metrics import Metric, get_metric
from foldsmith.problem.positive import likely_positive
from foldsmith.problem.scales import needs_order, order_of, require_order
from foldsmith.problem.target import Target, TargetRequest, read_target

if TYPE_CHECKING:
    from foldsmith.flow.setup import SetupRequest

DEFAULT_METRICS: dict[Task, str] = {"binary": "auc", "multiclass": "log_loss", "regression": "rmse"}


@dataclass(frozen=True)
class InferredTarget:
    """A target, its metric and why.

    Args:
        y: ``(n,)`` values or class codes.
        classes: to be written down: those that were named, or ordered by their numbers; empty for none.
        reason: of the task.
        remarks: what is not plain from the file, one sentence each.
    """

    target: Target
    metric: Metric
    y: NDArray[Any]
    classes: tuple[str, ...]
    reason: str
    remarks: tuple[str, ...]


def infer_target(root: Path, request: "SetupRequest", column: pd.Series) -> InferredTarget:
    """Read train's target column as the metric needs it.

    Raises:
        InputError: the values do not fit the metric or the task, or the order of words is not known.
    """
    named = None if request.metric is None else get_metric(request.metric, Folder(root).code)
    wanted = TargetRequest(
        name=request.target,
        task=request.task,
        positive=request.positive,
        classes=tuple(request.classes),
        keep_na=request.target in request.keep_na,
        fits=None if named is None else named.tasks,
    )
    target, y, reason = read_target(column, wanted)
    metric = named or get_metric(DEFAULT_METRICS[target.task])
    remarks = _label_remarks(column, wanted, target, metric)
    classes = request.classes
    if needs_order(metric, target) and not classes:
        order = order_of(target.classes)
        if order is None or not order.is_plain:
            require_order(metric, target)
        else:
            classes = order.classes
            target, y, _ = read_target(column, replace(wanted, classes=classes))
            remarks.append(
                f"target {target.name!r}: the classes are ordered by their numbers, {' < '.join(classes)}; say "
                "--classes for another order"
            )
    return InferredTarget(target, metric, y, tuple(classes), reason, tuple(remarks))


def _label_remarks(column: pd.Series, request: TargetRequest, target: Target, metric: Metric) -> list[str]:
    """What happened to labels on their way to classes."""
    if target.task == "regression":
        return []
    name, remarks = target.name, []
    if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)):
        texts = cells.strings(column)
        remarks += [remark for remark in (blanks_remark(texts, name),) if remark]
        remarks += _joined_remarks(texts, request, target)
        odd = [label for label in target.classes if label in HOLES or label == "None"]
        remarks += [f"target {name!r}: the text {label!r} is a class" for label in odd]
    if target.task == "binary" and request.positive is None:
        looks_at_it = metric.needs == "proba" or metric.name == "f1"
        if looks_at_it and not likely_positive(target.classes)[1]:
            remarks.append(
                f"target {name!r}: the chance in a submission is that of {target.classes[1]!r}, not of "
                f"{target.classes[0]!r}; say --positive for the other"
            )
    return remarks


def _joined_remarks(texts: pd.Series, request: TargetRequest, target: Target) -> list[str]:
    """Labels in another case that the named classes took in, and named classes that no row has."""
    if not request.classes:
        return []
    counts = texts.value_counts()
    found = {str(label).strip(): int(count) for label, count in counts.items()}
    odd = [label for label in found if label not in target.classes]
    remarks = []
    near = [label for label in odd if label.casefold() in {name.casefold() for name in target.classes}]
    if near:
        rows = sum(found[label] for label in near)
        remarks.append(
            f"target {target.name!r}: {rows} labels stand in another case than the named classes, e.g. {near[0]!r}; "
            "they belong to them"
        )
    return remarks
