"""The target: which task it is, its classes, and its values as numbers or class codes."""

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
from foldsmith.problem.labels import (
    Spellings,
    clean_labels,
    refuse_twins,
    resolve_holes,
    without_blanks,
)
from foldsmith.problem.positive import likely_positive

LabelDtype = Literal["int", "float", "str", "bool"]

_ONLY_VALUES: frozenset[Task] = frozenset({"regression"})
_TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
# Whole numbers are classes up to this many distinct values, if each has enough rows on average.
_MOST_INTEGER_CLASSES = 20
_LEAST_ROWS_PER_CLASS = 5
_LEAST_ROWS_PER_LABEL = 2  # where the metric says that whole numbers are labels


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


@dataclass(frozen=True)
class TargetRequest:
    """What is known of a target before its values are looked at.

    Args:
        name: its column.
        task: set by the user; None infers it.
        positive: the label that gets code 1; only for two classes. None takes the one that says yes (``yes``,
            ``True``, ``churn`` beside ``no churn``), else the second in order.
        classes: all labels in their order, from the lowest to the highest where they are steps; a label that differs
            from one of them in blanks or case belongs to it, and one that no row has is a class all the same. Empty
            takes the labels that there are.
        keep_na: texts such as ``NA`` are a class.
        fits: the tasks that the metric knows, which decide where the values alone would not; None for all.
    """

    name: str
    task: Task | None = None
    positive: str | None = None
    classes: tuple[str, ...] = ()
    keep_na: bool = False
    fits: frozenset[Task] | None = None


def type_target(
    series: pd.Series,
    *,
    name: str,
    task: Task | None = None,
    positive: str | None = None,
    classes: Sequence[str] = (),
    keep_na: bool = False,
    fits: frozenset[Task] | None = None,
) -> tuple[Target, NDArray[Any], str]:
    """Infer the task of a target and turn it into numbers.

    Without a task: strings and booleans are classes, numbers with fractions regression. Whole numbers are classes if
    there are two, or up to 20 with at least 5 rows each on average; else regression. Strings that are all plain
    numbers count as numbers. A metric that only classes or only numbers have goes before all this.

    Args:
        series: the target of train, ``(n,)``.
        name, task, positive, classes, keep_na, fits: see :class:`TargetRequest`.

    Returns:
        The target; float64 ``(n,)`` values for regression or int32 ``(n,)`` class codes; why this task, in words.
        Classes are in the given order, else in numeric order for numbers and in code point order for strings.

    Raises:
        InputError: values are missing, infinite, all the same, not numbers in a regression, or do not fit the task;
            labels differ in case only; ``positive`` is not a label, or a label is not among ``classes``.
    """
    request = TargetRequest(name, task, positive, tuple(classes), keep_na, fits)
    return read_target(series, request)


def read_target(series: pd.Series, request: TargetRequest) -> tuple[Target, NDArray[Any], str]:
    """As :func:`type_target`."""
    name, task = request.name, request.task
    if task is not None and task not in _TASKS:
        raise UnknownNameError("task", task, _TASKS)
    values, kind = _known_values(series, name, classes=request.classes, keep_na=request.keep_na)
    if kind in ("int", "float") and not np.isfinite(values.astype(np.float64)).all():
        count = int(np.count_nonzero(~np.isfinite(values.astype(np.float64))))
        raise InputError(f"target {name!r} has {count} infinite values; remove or repair those rows")
    distinct, codes = _ordered(values)
    if len(distinct) < 2:
        raise InputError(f"target {name!r} has the same value {_label(distinct[0])!r} in every row; nothing to learn")
    if request.classes:
        return _declared(request, distinct, codes, kind)
    inferred, reason = _infer_task(distinct, len(values), kind, request)
    if task is not None:
        reason = "set by you"
    if (task or inferred) == "regression":
        if request.positive is not None:
            raise InputError(
                f"positive={request.positive!r} but target {name!r} is a regression; drop it or set task='binary'"
            )
        return *_regression(values, kind, name), reason
    classes = tuple(_label(value) for value in distinct)
    if kind == "str":
        refuse_twins(dict(zip(classes, np.bincount(codes).tolist(), strict=True)), name)
    return *_classification(classes, codes, kind, name, task or inferred, request.positive), reason


def encode_target(target: Target, series: pd.Series, where: str, *, keep_na: bool = False) -> NDArray[Any]:
    """Labels of further rows as a known target has them: float64 values, or int32 class codes.

    Labels may differ from train's in stray blanks, and numbers in how they are written (``1`` and ``1.0``).

    Raises:
        InputError: missing values, labels that the target does not have, or values that are no numbers.
    """
    values, kind = _known_values(series, target.name, classes=target.classes, keep_na=keep_na)
    if target.task == "regression":
        if kind == "str" or not np.isfinite(values.astype(np.float64)).all():
            raise InputError(f"target {target.name!r} of {where} holds values that are no finite numbers; correct them")
        return values.astype(np.float64)
    is_number = target.label_dtype in ("int", "float")
    spellings = Spellings(target.classes, ("exact", "blanks", "number") if is_number else ("exact", "blanks"))
    distinct, places = _ordered(values)
    labels = [_label(value) for value in distinct]
    found = [spellings.find(label) for label in labels]
    unknown = [label for label, place in zip(labels, found, strict=True) if place is None]
    if unknown:
        near = Spellings(target.classes).find(unknown[0])
        hint = "" if near is None else f"; write it as {target.classes[near[0]]!r} if it means that"
        raise InputError(
            f"target {target.name!r} of {where} has the label {unknown[0]!r}, which train lacks; train has "
            f"{', '.join(target.classes[:5])}{hint}"
        )
    return np.array([place[0] for place in found if place is not None], np.int32)[places]


def _known_values(
    series: pd.Series, name: str, *, classes: Sequence[str], keep_na: bool
) -> tuple[NDArray[Any], LabelDtype]:
    """The values of a column without holes, labels without stray blanks."""
    if _is_typed(series):
        _refuse_missing(series, name)
        return _plain_values(series)
    texts = resolve_holes(cells.strings(series), name, classes=classes, keep_na=keep_na)
    _refuse_missing(texts, name, cells.strings(series))
    return _plain_values(clean_labels(texts))


def _is_typed(series: pd.Series) -> bool:
    """Whether the column holds numbers or truth values, not texts."""
    return bool(pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype))


def _refuse_missing(series: pd.Series, name: str, written: pd.Series | None = None) -> None:
    missing = series.isna().to_numpy()
    if not missing.any():
        return
    first = int(np.flatnonzero(missing)[0])
    text = None if written is None else written.iloc[first]
    spelled = "" if text is None else f" as {text!r}"
    ways_out = "remove those rows or fill them in"
    if text is not None:
        ways_out += ", or name all classes with --classes if it is one"
    raise InputError(
        f"target {name!r} has {np.count_nonzero(missing)} missing values, the first{spelled} in row {first + 1} "
        f"(the header not counted); {ways_out}"
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


def _infer_task(distinct: list[Any], n_rows: int, kind: LabelDtype, request: TargetRequest) -> tuple[Task, str]:
    count = len(distinct)
    classes: Task = "binary" if count == 2 else "multiclass"
    if request.fits is not None and "regression" not in request.fits:
        _refuse_measurements(distinct, n_rows, kind, request)
        return classes, f"the metric is one of classes, {count} distinct labels"
    if request.fits == _ONLY_VALUES:
        return "regression", "the metric is one of numbers"
    if kind in ("str", "bool"):
        return classes, f"{count} distinct {'strings' if kind == 'str' else 'truth values'}"
    if any(value != int(value) for value in distinct):
        return "regression", f"numbers with fractions, {count} distinct"
    if count == 2:
        return "binary", "2 whole numbers"
    if count <= _MOST_INTEGER_CLASSES and n_rows >= _LEAST_ROWS_PER_CLASS * count:
        return "multiclass", f"{count} whole numbers, {n_rows / count:.0f} rows each on average"
    return "regression", f"{count} distinct whole numbers in {n_rows} rows"


def _refuse_measurements(distinct: list[Any], n_rows: int, kind: LabelDtype, request: TargetRequest) -> None:
    """A metric of classes on numbers that hardly ever repeat: most probably the wrong metric."""
    if kind in ("str", "bool") or request.task is not None:
        return
    count = len(distinct)
    is_whole = all(value == int(value) for value in distinct)
    if n_rows >= (_LEAST_ROWS_PER_LABEL if is_whole else _LEAST_ROWS_PER_CLASS) * count:
        return
    numbers = "whole numbers" if is_whole else "numbers with fractions"
    raise InputError(
        f"the metric is one of classes, but target {request.name!r} has {count} distinct {numbers} in {n_rows} rows; "
        "use a metric of numbers such as rmse or mae, or say --task multiclass if they are labels"
    )


def _declared(
    request: TargetRequest, distinct: list[Any], places: NDArray[np.int64], kind: LabelDtype
) -> tuple[Target, NDArray[Any], str]:
    """The target as the user's list of classes has it."""
    name = request.name
    classes = tuple(without_blanks(label) for label in request.classes)
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise InputError(f"classes={list(classes)} of target {name!r}; name two or more, each once")
    if request.task == "regression" or request.fits == _ONLY_VALUES:
        raise InputError(f"classes={list(classes)} but target {name!r} is a regression; drop them or set another task")
    spellings = Spellings(classes, ("exact", "blanks", "number", "case"))
    labels = [_label(value) for value in distinct]
    found = [spellings.find(label) for label in labels]
    unknown = [label for label, place in zip(labels, found, strict=True) if place is None]
    if unknown:
        raise InputError(
            f"target {name!r} has the label {unknown[0]!r} ({len(unknown)} such labels), which is not among the "
            f"classes {', '.join(classes)}; add it to the classes, or remove its rows"
        )
    codes = np.array([place[0] for place in found if place is not None], np.int64)[places]
    if len(np.unique(codes)) < 2:
        raise InputError(f"target {name!r} has the same class {classes[codes[0]]!r} in every row; nothing to learn")
    if kind in ("int", "float"):  # 1 may stand for 1.0 in the list
        spelled = {place[0]: label for place, label in zip(found, labels, strict=True) if place is not None}
        classes = tuple(spelled.get(code, label) for code, label in enumerate(classes))
        kind = kind if all(_is_number(label, kind) for label in classes) else "str"
    elif kind == "bool" and set(classes) != {"False", "True"}:
        kind = "str"
    task: Task = request.task or ("binary" if len(classes) == 2 else "multiclass")
    positive = request.positive
    if positive is None and task == "binary":
        likely, is_obvious = likely_positive(classes)
        positive = classes[likely] if is_obvious else classes[1]
    target, y = _classification(classes, codes, kind, name, task, positive)
    return target, y, f"the {len(classes)} classes that you named"


def _is_number(label: str, kind: LabelDtype) -> bool:
    return _is_plain_integer(label) if kind == "int" else Spellings([label], ["number"]).find(label) is not None


def _regression(values: NDArray[Any], kind: LabelDtype, name: str) -> tuple[Target, NDArray[Any]]:
    if kind == "str":
        words = values
        values, n_words = cells.numbers(pd.Series(values, dtype=object))
        if n_words or not np.isfinite(values).all():
            count = max(n_words, int(np.count_nonzero(~np.isfinite(values))))
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"target {name!r} has {count} values that are not numbers in {len(values)} rows, the first "
                f"{words[first]!r} in row {first + 1}; a regression needs numbers: repair them, or use a metric of "
                "classes such as log_loss or accuracy if they are labels"
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
        index = likely_positive(classes)[0] if positive is None else _position(positive, classes, name)
        if index == 0:
            classes, codes = classes[::-1], 1 - codes
    elif positive is not None:
        raise InputError(f"positive={positive!r} but target {name!r} has {len(classes)} classes; drop it")
    chosen = classes[1] if task == "binary" else None
    return Target(name, task, classes, kind, chosen), codes.astype(np.int32)


def _position(positive: str, classes: tuple[str, ...], name: str) -> int:
    """Where the positive label stands; ``1`` finds ``1.0`` and ``true`` finds ``True``."""
    wanted = str(positive)
    found = Spellings(classes, ("exact", "blanks", "number", "case")).find(wanted)
    if found is not None:
        return found[0]
    known = ", ".join(repr(label) for label in classes)
    raise InputError(f"positive={wanted!r} is not a label of target {name!r}; choose one of {known}")
