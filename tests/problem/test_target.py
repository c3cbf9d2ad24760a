"""The target: task, classes, codes, messages."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.target import Target, type_target


def typed(values: Any, **options: Any) -> tuple[Target, Any, str]:
    return type_target(pd.Series(values), name="y", **options)


@pytest.mark.parametrize(
    ("values", "task", "classes", "label_dtype", "reason"),
    [
        (["b", "a", "b"], "binary", ("a", "b"), "str", "2 distinct strings"),
        (["b", "a", "c"], "multiclass", ("a", "b", "c"), "str", "3 distinct strings"),
        ([True, False], "binary", ("False", "True"), "bool", "2 distinct truth values"),
        ([0, 1, 1], "binary", ("0", "1"), "int", "2 whole numbers"),
        (["0", "1", "1"], "binary", ("0", "1"), "int", "2 whole numbers"),
        (["00", "01", "01"], "binary", ("00", "01"), "str", "2 distinct strings"),
        ([1.0, 2.0], "binary", ("1.0", "2.0"), "float", "2 whole numbers"),
        ([10, 9, 11] * 5, "multiclass", ("9", "10", "11"), "int", "3 whole numbers, 5 rows each on average"),
        ([1, 2, 3], "regression", (), "int", "3 distinct whole numbers in 3 rows"),
        (list(range(21)) * 10, "regression", (), "int", "21 distinct whole numbers in 210 rows"),
        ([0.5, 1.5], "regression", (), "float", "numbers with fractions, 2 distinct"),
        (["0.5", "1"], "regression", (), "float", "numbers with fractions, 2 distinct"),
        ([1, "a"], "binary", ("1", "a"), "str", "2 distinct strings"),
        (pd.Categorical(["b", "a"], categories=["b", "a", "z"]), "binary", ("a", "b"), "str", "2 distinct strings"),
    ],
)
def test_inferred_task(values: Any, task: str, classes: tuple[str, ...], label_dtype: str, reason: str) -> None:
    target, y, why = typed(values)
    assert (target.task, target.classes, target.label_dtype, why) == (task, classes, label_dtype, reason)
    assert target.positive == (classes[1] if task == "binary" else None)
    assert Target.from_json({"format": 1, **target.to_json()}) == target
    if task == "regression":
        assert y.dtype == np.float64
        assert y.tolist() == [float(value) for value in values]
    else:
        assert y.dtype == np.int32
        assert y.shape == (len(values),)
        assert [str(label) for label in target.labels(y)] == [str(value) for value in values]


def test_labels_have_the_type_of_the_file() -> None:
    for values in ([3, 5, 5], [3.0, 5.0], [True, False], ["x", "y"]):
        target, y, _ = typed(values)
        assert target.labels(y).tolist() == values
        assert type(target.labels(y).tolist()[0]) is type(values[0])


@pytest.mark.parametrize(
    ("values", "positive"),
    [(["no", "yes"], "no"), ([0, 1], "0"), ([0.0, 1.0], "0"), ([False, True], "false"), ([False, True], "False")],
)
def test_the_positive_class_is_code_1(values: list[Any], positive: str) -> None:
    target, y, _ = typed(values, positive=positive)
    assert y.tolist() == [1, 0]
    assert target.classes[1] == target.positive == str(values[0])
    assert target.labels(y).tolist() == values


def test_the_given_task_wins() -> None:
    assert typed([1, 2, 3], task="multiclass")[0].classes == ("1", "2", "3")
    target, y, reason = typed([0, 1, 1], task="regression")
    assert (target.task, target.classes, y.tolist(), reason) == ("regression", (), [0, 1, 1], "set by you")
    assert typed(["00", "01"], task="regression")[1].tolist() == [0, 1]
    assert typed([0.5, 1.5], task="binary")[0].classes == ("0.5", "1.5")
    assert typed([True, False], task="regression")[1].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["a", None, None], {}, r"target 'y' has 2 missing values, the first in row 2 \(the header not counted\)"),
        ([0.5, np.nan], {}, "1 missing values, the first in row 2"),
        ([0.5, np.inf, -np.inf], {}, "2 infinite values; remove or repair"),
        (["a", "a"], {}, "the same value 'a' in every row"),
        ([3, 3], {"task": "regression"}, "the same value '3' in every row"),
        (["a", "1"], {"task": "regression"}, "1 values that are not numbers"),
        ([1, 2, 3], {"task": "binary"}, "task='binary' but target 'y' has 3 distinct values; set task='multiclass'"),
        ([1, 2], {"task": "multiclass"}, "task='multiclass' but target 'y' has 2 distinct values; set task='binary'"),
        (["a", "b"], {"positive": "c"}, "positive='c' is not a label of target 'y'; choose one of 'a', 'b'"),
        ([0.0, 1.0], {"positive": "x"}, "positive='x' is not a label"),
        (["a", "b", "c"], {"positive": "c"}, "positive='c' but target 'y' has 3 classes"),
        ([0.5, 1.5], {"positive": "0.5"}, "positive='0.5' but target 'y' is a regression"),
    ],
)
def test_errors(values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        typed(values, **options)


def test_unknown_task() -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'regresion'; did you mean 'regression'"):
        typed([0, 1], task="regresion")
