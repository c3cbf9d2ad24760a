"""The target: which task it is, its classes, and its values as numbers or class codes."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.fit_units import refuse_unfit
from foldsmith.problem.goal import Task

LabelDtype = Literal["int", "float", "str", "bool"]

_TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
# Whole numbers are classes up to this many distinct values, if each has enough rows on average.
_MOST_INTEGER_CLASSES = 20
_LEAST_ROWS_PER_CLASS = 5


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Args:
        name: the column.
        task: binary, multiclass or regression.
        classes: labels as strings, in the order of their codes; empty for regression.
        label_dtype: the type that labels have in the file, so that a submission can be written in it.
        positive: the label with code 1, for binary; else None.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    label_dtype: LabelDtype
    positive: str | None

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The target of a record made by :meth:`to_json`; other keys are ignored."""
        names = ("name", "task", "label_dtype", "positive")
        return cls(classes=tuple(record["classes"]), **{name: record[name] for name in names})

    def labels(self, codes: NDArray[Any]) -> NDArray[Any]:
        """The labels of class codes ``(n,)`` in the file's own type: int64, float64, bool or str objects."""
        types: dict[LabelDtype, Any] = {"int": np.int64, "float": np.float64, "bool": np.bool_, "str": object}
        values = [_restore(label, self.label_dtype) for label in self.classes]
        labels: NDArray[Any] = np.array(values, dtype=types[self.label_dtype])
        return np.asarray(labels[codes])


def _restore(label: str, kind: LabelDtype) -> int | float | bool | str:
    if kind == "bool":
        return label == "True"
    if kind == "str":
        return label
    return int(label) if kind == "int" else float(label)


def prefix_length(header: Sequence[str], classes: set[str]) -> int:
    """How much must be cut from ``Status_C, Status_D`` to get the classes ``C, D``; 0 when nothing does it."""
    longest = len(os.path.commonprefix(header))
    return next((n for n in range(longest + 1) if {name[n:] for name in header} == classes), 0)


def type_target(
    series: pd.Series, *, name: str, task: Task | None = None, positive: str | None = None
) -> tuple[Target, NDArray[Any], str]:
    """Infer the task of a target and turn it into numbers.

    Without a task: strings and booleans are classes, numbers with fractions regression. Whole numbers are classes if
    there are two, or up to 20 with at least 5 rows each on average; else regression. Strings that are all plain
    numbers count as numbers.

    Args:
        series: the target of train, ``(n,)``.
        name: its column.
        task: set by the user; None infers it.
        positive: the label that gets code 1; only for binary. None takes the second in order.

    Returns:
        The target; float64 ``(n,)`` values for regression or int32 ``(n,)`` class codes; why this task, in words.
        Classes are in numeric order for numbers and in code point order for strings.

    Raises:
        InputError: values are missing, infinite, all the same, not numbers in a regression, or do not fit the task, or
            ``positive`` is not a label.
    """
    if task is not None and task not in _TASKS:
        raise UnknownNameError("task", task, _TASKS)
    _refuse_missing(series, name)
    values, kind = _plain_values(series)
    if kind in ("int", "float") and not np.isfinite(values.astype(np.float64)).all():
        count = int(np.count_nonzero(~np.isfinite(values.astype(np.float64))))
        raise InputError(f"target {name!r} has {count} infinite values; remove or repair those rows")
    distinct, codes = _ordered(values)
    if len(distinct) < 2:
        raise InputError(f"target {name!r} has the same value {_label(distinct[0])!r} in every row; nothing to learn")
    inferred, reason = _infer_task(distinct, len(values), kind)
    if task is not None:
        reason = "set by you"
    if (task or inferred) == "regression":
        if positive is not None:
            raise InputError(f"positive={positive!r} but target {name!r} is a regression; drop it or set task='binary'")
        return *_regression(values, kind, name), reason
    classes = tuple(_label(value) for value in distinct)
    return *_classification(classes, codes, kind, name, task or inferred, positive), reason


def encode_target(target: Target, series: pd.Series, where: str) -> NDArray[Any]:
    """Labels of further rows as a known target has them: float64 values, or int32 class codes.

    Raises:
        InputError: missing values, labels that the target does not have, or values that are no numbers.
    """
    _refuse_missing(series, target.name)
    values, kind = _plain_values(series)
    if target.task == "regression":
        if kind not in ("int", "float") or not np.isfinite(values.astype(np.float64)).all():
            raise InputError(f"target {target.name!r} of {where} holds values that are no finite numbers; correct them")
        return values.astype(np.float64)
    codes = {label: code for code, label in enumerate(target.classes)}
    labels = [_label(value) for value in values]
    unknown = sorted({label for label in labels if label not in codes})
    if unknown:
        raise InputError(
            f"target {target.name!r} of {where} has the label {unknown[0]!r}, which train lacks; train has "
            f"{', '.join(target.classes[:5])}"
        )
    return np.array([codes[label] for label in labels], np.int32)


def _refuse_missing(series: pd.Series, name: str) -> None:
    missing = cells.strings(series).isna().to_numpy()
    if missing.any():
        raise InputError(
            f"target {name!r} has {np.count_nonzero(missing)} missing values, the first in row "
            f"{int(np.flatnonzero(missing)[0]) + 1} (the header not counted); remove those rows or fill them in"
        )


def _plain_values(series: pd.Series) -> tuple[NDArray[Any], LabelDtype]:
    """The values as int64, float64, bool or objects of str; strings that spell numbers plainly become numbers."""
    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return series.to_numpy(dtype=np.bool_), "bool"
    if pd.api.types.is_integer_dtype(dtype):
        return series.to_numpy(), "int"
    if pd.api.types.is_float_dtype(dtype):
        return series.to_numpy(dtype=np.float64), "float"
    texts = cells.strings(series)
    numbers, n_words = cells.numbers(texts)
    if n_words == 0 and not np.isnan(numbers).any():
        # "01" and "1.50" are labels: written back as numbers they would change.
        if all(_is_plain_integer(text) for text in texts.unique()):
            return texts.map(int).to_numpy(dtype=np.int64), "int"
        if (numbers != np.trunc(numbers)).any():
            return numbers, "float"
    return texts.to_numpy(dtype=object), "str"


def _is_plain_integer(text: str) -> bool:
    return len(text) < 18 and text.lstrip("-").isdecimal() and str(int(text)) == text


def _ordered(values: NDArray[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """Distinct values in order, and each row's position among them."""
    if values.dtype == object:
        texts, places = np.unique(values.astype(str), return_inverse=True)
        return texts.tolist(), places
    distinct, codes = np.unique(values, return_inverse=True)
    return list(distinct), codes


def _label(value: Any) -> str:
    return str(value.item() if isinstance(value, np.generic) else value)


def _infer_task(distinct: list[Any], n_rows: int, kind: LabelDtype) -> tuple[Task, str]:
    count = len(distinct)
    classes: Task = "binary" if count == 2 else "multiclass"
    if kind in ("str", "bool"):
        return classes, f"{count} distinct {'strings' if kind == 'str' else 'truth values'}"
    if any(value != int(value) for value in distinct):
        return "regression", f"numbers with fractions, {count} distinct"
    if count == 2:
        return "binary", "2 whole numbers"
    if count <= _MOST_INTEGER_CLASSES and n_rows >= _LEAST_ROWS_PER_CLASS * count:
        return "multiclass", f"{count} whole numbers, {n_rows / count:.0f} rows each on average"
    return "regression", f"{count} distinct whole numbers in {n_rows} rows"


def _regression(values: NDArray[Any], kind: LabelDtype, name: str) -> tuple[Target, NDArray[Any]]:
    if kind == "str":
        values, n_words = cells.numbers(pd.Series(values, dtype=object))
        if n_words or not np.isfinite(values).all():
            count = max(n_words, int(np.count_nonzero(~np.isfinite(values))))
            raise InputError(
                f"target {name!r} has {count} values that are not numbers; repair them or set another task"
            )
        kind = "float"
    refuse_unfit(name, values)
    return Target(name, "regression", (), kind, None), values.astype(np.float64)


def _classification(
    classes: tuple[str, ...],
    codes: NDArray[np.int64],
    kind: LabelDtype,
    name: str,
    task: Task,
    positive: str | None,
) -> tuple[Target, NDArray[Any]]:
    if (task == "binary") != (len(classes) == 2):
        fitting = "binary" if len(classes) == 2 else "multiclass"
        raise InputError(f"task={task!r} but target {name!r} has {len(classes)} distinct values; set task={fitting!r}")
    if task == "binary":
        index = 1 if positive is None else _position(positive, classes, kind, name)
        if index == 0:
            classes, codes = classes[::-1], 1 - codes
    elif positive is not None:
        raise InputError(f"positive={positive!r} but target {name!r} has {len(classes)} classes; drop it")
    chosen = classes[1] if task == "binary" else None
    return Target(name, task, classes, kind, chosen), codes.astype(np.int32)


def _position(positive: str, classes: tuple[str, ...], kind: LabelDtype, name: str) -> int:
    """Where the positive label stands; ``1`` finds ``1.0`` and ``true`` finds ``True``."""
    wanted = str(positive)
    for i, label in enumerate(classes):
        if label == wanted or (kind == "bool" and label.casefold() == wanted.casefold()):
            return i
        if kind == "float" and cells.numbers(pd.Series([wanted]))[0][0] == float(label):
            return i
    known = ", ".join(repr(label) for label in classes)
    raise InputError(f"positive={wanted!r} is not a label of target {name!r}; choose one of {known}")
