"""What each column is: its kind, inferred from the values of train and test, with a reason a person can check."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError, UnknownNameError

Kind = Literal["numeric", "categorical", "boolean", "datetime", "text", "image", "id", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ID_NAME = re.compile(
    r"(?i:(row|.*[_\- .])?(id|uuid|guid|key|index)|unnamed: \d+)|.*[a-z0-9](Id|ID|Uuid|UUID|Guid|GUID|Key|Index)"
)
_IMAGE_PATH = r"(?i)\.(?:png|jpe?g|gif|bmp|tiff?|webp)$"
# Above this share of words among the test values, a column whose train values happen to be numbers is no number.
_MOST_WORDS_IN_TEST = 0.1


@dataclass(frozen=True)
class Column:
    """A feature column.

    Args:
        name: as in the file's header.
        kind: how it is typed; ``id`` and ``constant`` columns are not used as features.
        reason: why, in words.
    """

    name: str
    kind: Kind
    reason: str


def infer_columns(
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    target: str,
    id_column: str | None,
    overrides: Mapping[str, Kind],
    train_name: str = "train.csv",
    test_name: str = "test.csv",
) -> tuple[Column, ...]:
    """The kind of every column of train but the target, in train's order; more columns in test are ignored.

    Args:
        train: the training table with the target.
        test: the test table.
        target: the column to predict.
        id_column: the declared id; its kind is ``id``.
        overrides: kinds set by the user, by column name.
        train_name: how messages call the train table.
        test_name: how messages call the test table.

    Raises:
        UnknownNameError: the target, the id or an overridden column is not in train, or a kind does not exist.
        InputError: test lacks a column of train, or an override does not fit the values.
    """
    for column in (target, *([] if id_column is None else [id_column])):
        if column not in train.columns:
            raise UnknownNameError(f"column in {train_name}", column, train.columns)
    features = [str(name) for name in train.columns if name != target]
    _check_overrides(overrides, features, id_column)
    _require_in_test(features, test, train_name, test_name)
    return tuple(
        _column(name, train[name], test[name], is_id=name == id_column, override=overrides.get(name))
        for name in features
    )


def _check_overrides(overrides: Mapping[str, Kind], features: list[str], id_column: str | None) -> None:
    for name, kind in overrides.items():
        if name not in features:
            raise UnknownNameError("column", name, features)
        if kind not in KINDS:
            raise UnknownNameError(f"kind of column {name!r}:", kind, KINDS)
        if name == id_column and kind != "id":
            raise InputError(f"column {name!r} is the id and cannot be {kind}; name another id or drop the override")


def _require_in_test(features: list[str], test: pd.DataFrame, train_name: str, test_name: str) -> None:
    lacking = [name for name in features if name not in test.columns]
    if lacking:
        shown = ", ".join(repr(name) for name in lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else "")
        raise InputError(
            f"{test_name} lacks column{'s' if lacking[1:] else ''} {shown} of {train_name}; "
            f"add to {test_name} or remove from {train_name}"
        )


def _column(name: str, train: pd.Series, test: pd.Series, *, is_id: bool, override: Kind | None) -> Column:
    if is_id:
        return Column(name, "id", "the declared id")
    if override is not None:
        return Column(name, override, _override_reason(name, override, train))
    is_words = not _is_number(train) and not cells.is_time(train)
    values = cells.strings(train) if is_words else train
    constant = _constant_reason(values)
    if constant:
        return Column(name, "constant", constant)
    if is_words:
        kind, reason = _word_column(name, values, cells.strings(test))
    elif cells.is_time(train):
        kind, reason = "datetime", f"stored as dates: {train.dropna().iloc[0]}"
    else:
        kind, reason = _number_column(name, train, test)
    n_missing = int(values.isna().sum())
    return Column(name, kind, f"{reason}; {n_missing} missing" if n_missing else reason)


def _is_number(series: pd.Series) -> bool:
    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype))


def _constant_reason(series: pd.Series) -> str:
    """Why the column is constant, or ''; one value beside missing ones is not, it tells which rows lack it."""
    present = series.dropna()
    if len(present) == 0:
        return "all missing"
    if len(present) < len(series) or (present != present.iloc[0]).any():
        return ""
    return f"every value the same: {_short(present.iloc[0])}"


def _number_column(name: str, train: pd.Series, test: pd.Series) -> tuple[Kind, str]:
    values, _ = cells.numbers(train)
    present = values[~np.isnan(values)]
    test_values, n_words = cells.numbers(test)
    if n_words > _MOST_WORDS_IN_TEST * len(test):
        return _category(cells.strings(train), f"numbers in train, but {n_words} of {len(test)} test rows hold words; ")
    if (
        len(present)
        and _is_truth(present)
        and present.min() < present.max()
        and _is_truth(test_values[~np.isnan(test_values)])
    ):
        return "boolean", "2 values: 0/1"
    if pd.api.types.is_integer_dtype(train.dtype) and _is_unnamed_id(name, train, test):
        return "id", "a different number in each row of train and test, and named like an id"
    return "numeric", _range(present) + _words_in_test(n_words)


def _is_truth(values: NDArray[np.float64]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _word_column(name: str, train: pd.Series, test: pd.Series) -> tuple[Kind, str]:
    """The kind of a column given as strings, see :func:`foldsmith.problem.cells.strings`."""
    values = cells.distinct(train)
    pair = cells.boolean_pair(values)
    if pair and not cells.unknown_truth(test):
        return "boolean", f"2 values: {'/'.join(pair)}"
    if _is_unnamed_id(name, train, test):
        return "id", "a different value in each row of train and test, and named like an id"
    numbers, n_words = cells.numbers(train)
    if n_words == 0 and not np.isnan(numbers).all():
        n_words_test = cells.numbers(test)[1]
        if n_words_test <= _MOST_WORDS_IN_TEST * len(test):
            reason = f"strings that are all numbers, {_range(numbers[~np.isnan(numbers)])}"
            return "numeric", reason + _words_in_test(n_words_test)
    if cells.find_time_format(values):
        return "datetime", f"parses as dates: {values[0]}"
    if pd.Series(values, dtype="str").str.contains(_IMAGE_PATH, regex=True).all():
        return "image", f"paths of image files: {values[0]}"
    return _text(train, values) or _category(train)


def is_named_like_id(name: str) -> bool:
    """Whether a column's name says that it tells rows apart, such as ``id``, ``order_id`` and ``RowKey``."""
    return _ID_NAME.fullmatch(name.strip()) is not None


def _is_unnamed_id(name: str, train: pd.Series, test: pd.Series) -> bool:
    """Whether a column that nobody declared as id is one: named like it, never missing, never repeated."""
    if not is_named_like_id(name) or train.isna().any() or test.isna().any():
        return False
    return bool(pd.concat([train, test]).is_unique)


def _text(texts: pd.Series, values: list[str]) -> tuple[Kind, str] | None:
    present = texts.dropna().astype("str")
    if len(values) <= 0.5 * len(present):
        return None
    words, length = np.mean([len(text.split()) for text in present]), present.str.len().mean()
    if words < 3 and length < 30:
        return None
    return "text", f"{words:.1f} words and {length:.0f} characters on average, {len(values)} of {len(present)} distinct"


def _category(texts: pd.Series, prefix: str = "") -> tuple[Kind, str]:
    counts = texts.value_counts()
    n_once = int((counts == 1).sum())
    rare = f"{n_once} of them in one row only" if n_once else f"each {counts.min()} rows or more"
    return "categorical", f"{prefix}{len(counts)} distinct string{'s' if len(counts) > 1 else ''}, {rare}"


def _range(values: NDArray[np.float64]) -> str:
    what = "whole numbers" if np.equal(values, np.trunc(values)).all() else "numbers"
    return f"{what}, {values.min():.6g} to {values.max():.6g}"


def _words_in_test(count: int) -> str:
    return f"; {count} test values are not numbers and become missing" if count else ""


def _override_reason(name: str, kind: Kind, train: pd.Series) -> str:
    """A reason for a kind set by the user; refuses one under which most values would silently become missing."""
    present = cells.strings(train).dropna()
    n_lost, what = 0, ""
    if kind == "numeric":
        n_lost, what = cells.numbers(train)[1], "numbers"
    elif kind == "boolean":
        n_lost, what = cells.unknown_truth(train), "true/false, yes/no, y/n, t/f or 0/1"
    elif kind == "datetime" and not cells.is_time(train):
        known = cells.find_time_format(cells.distinct(present), share=0.5, integers=True)
        n_lost, what = 0 if known else len(present), "dates in a known format"
    if n_lost > 0.5 * len(present):
        example = _short(present.iloc[0])
        raise InputError(
            f"column {name!r} cannot be {kind}: {n_lost} of {len(present)} values are not {what}, "
            f"e.g. {example}; choose another kind"
        )
    return "set by you" + (f"; {n_lost} values are not {what} and become missing" if n_lost else "")


def _short(value: object) -> str:
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
