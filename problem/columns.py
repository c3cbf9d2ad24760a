"""What each column is: its kind, inferred from the values of train and test, with a reason a person can check."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.amount_columns import amount_reading
from foldsmith.problem.amounts import amount_values, parse_amount
from foldsmith.problem.date_columns import date_reading
from foldsmith.problem.decided import is_too_much
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.headers import near_name
from foldsmith.problem.levels import levels_of, match_levels, spelling_remarks
from foldsmith.problem.settings import KINDS, Kind, Setting, advice, parse_setting
from foldsmith.problem.texts import clean
from foldsmith.problem.words import Both, Source, Words, cell, short

__all__ = ["KINDS", "Column", "Kind", "infer_columns"]

_ID_NAME = re.compile(
    r"(?i:(row|.*[_\- .])?(id|uuid|guid|key|index)|unnamed: \d+)|.*[a-z0-9](Id|ID|Uuid|UUID|Guid|GUID|Key|Index)"
)
_IMAGE_PATH = r"(?i)\.(?:png|jpe?g|gif|bmp|tiff?|webp)$"
# Test numbers that are fifty times as large as train's, and hardly any of them within train's range, have another unit.
_OTHER_SCALE = 50.0
_OVERLAP = 0.05
_LEAST_TO_COMPARE = 20
_SAMPLE = 10_000
_FILES = (Source("train.csv"), Source("test.csv"))


@dataclass(frozen=True)
class Column:
    """A feature column.

    Args:
        name: as in the file's header.
        kind: how it is typed; ``id`` and ``constant`` columns are not used as features.
        reason: why, in words.
        reading: how its cells are read: the formats of dates, the marks and the unit of amounts; '' for plain ones.
        remarks: what is to be told of it, one sentence each; not stored.
    """

    name: str
    kind: Kind
    reason: str
    reading: str = ""
    remarks: tuple[str, ...] = field(default=(), compare=False)


def infer_columns(
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    target: str,
    id_column: str | None,
    overrides: Mapping[str, str],
    sources: tuple[Source, Source] = _FILES,
) -> tuple[Column, ...]:
    """The kind of every column of train but the target, in train's order; more columns in test are ignored.

    Kinds and readings are decided once, over the cells of both tables.

    Args:
        train: the training table with the target.
        test: the test table.
        target: the column to predict.
        id_column: the declared id; its kind is ``id``.
        overrides: kinds set by the user, by column name; see :mod:`foldsmith.problem.settings`.
        sources: the files, as messages call them.

    Raises:
        UnknownNameError: the target, the id or an overridden column is not in train, or a kind does not exist.
        InputError: test lacks a column of train, the tables disagree in what a column holds, or an override does not
            fit the values.
    """
    for column in (target, *([] if id_column is None else [id_column])):
        if column not in train.columns:
            raise UnknownNameError(f"column in {sources[0].name}", column, train.columns)
    features = [str(name) for name in train.columns if name != target]
    settings = _settings(overrides, features, id_column)
    _require_in_test(features, test, sources)
    return tuple(
        _column(name, train[name], test[name], is_id=name == id_column, setting=settings.get(name), sources=sources)
        for name in features
    )


def _settings(overrides: Mapping[str, str], features: list[str], id_column: str | None) -> dict[str, Setting]:
    settings = {}
    for name, text in overrides.items():
        if name not in features:
            raise UnknownNameError("column", name, features)
        settings[name] = parse_setting(name, text)
        kind = settings[name].kind
        if name == id_column and kind != "id":
            raise InputError(f"column {name!r} is the id and cannot be {kind}; name another id or drop the override")
    return settings


def _require_in_test(features: list[str], test: pd.DataFrame, sources: tuple[Source, Source]) -> None:
    lacking = [name for name in features if name not in test.columns]
    if lacking:
        train_name, test_name = sources[0].name, sources[1].name
        shown = ", ".join(repr(name) for name in lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else "")
        near = near_name(lacking[0], [str(name) for name in test.columns if name not in features])
        hint = f" ({test_name} has {near!r}: if that is {lacking[0]!r}, rename it)" if near else ""
        raise InputError(
            f"{test_name} lacks column{'s' if lacking[1:] else ''} {shown} of {train_name}{hint}; "
            f"add to {test_name} or remove from {train_name}"
        )


def _column(
    name: str,
    train: pd.Series,
    test: pd.Series,
    *,
    is_id: bool,
    setting: Setting | None,
    sources: tuple[Source, Source],
) -> Column:
    if is_id:
        return Column(name, "id", "the declared id")
    if setting is not None:
        return _set_column(name, setting, train, test, sources)
    empty = _empty_remarks(name, train, test, sources)
    n_present = int(train.notna().sum())
    if cells.is_time(train) and (cells.is_time(test) or test.isna().all()):
        found = _time_column(name, train, test, sources)
    elif _is_number(train) and (_is_number(test) or test.isna().all()):
        found = _number_column(name, train, test, sources)
    else:
        both = Both(name, Words.of(train), Words.of(test), sources)
        found, n_present = _word_column(both), both.train.n_present
    n_missing = len(train) - n_present
    reason = f"{found.reason}; {n_missing} missing" if n_missing and found.kind != "constant" else found.reason
    return Column(name, found.kind, reason, found.reading, (*empty, *found.remarks))


def _is_number(series: pd.Series) -> bool:
    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype))


def _empty_remarks(name: str, train: pd.Series, test: pd.Series, sources: tuple[Source, Source]) -> tuple[str, ...]:
    """A column that is empty in one file alone."""
    if len(train) == 0 or len(test) == 0 or train.isna().all() == test.isna().all():
        return ()
    empty, full = sources if train.isna().all() else sources[::-1]
    effect = "it is left out" if train.isna().all() else "models learn from what test does not have"
    return (f"column {name!r} is empty in every row of {empty.name}, but not in {full.name}: {effect}",)


def _constant_reason(series: pd.Series) -> str:
    """Why the column is constant, or ''; one value beside missing ones is not, it tells which rows lack it."""
    present = series.dropna()
    if len(present) == 0:
        return "all missing"
    if len(present) < len(series) or (present != present.iloc[0]).any():
        return ""
    return f"every value the same: {short(present.iloc[0])}"


def _time_column(name: str, train: pd.Series, test: pd.Series, sources: tuple[Source, Source]) -> Column:
    constant = _constant_reason(train)
    if constant:
        return Column(name, "constant", constant)
    zones = [str(getattr(series.dtype, "tz", None) or "none") for series in (train, test)]
    remark = f"column {name!r} has the time zone {zones[0]} in {sources[0].name} and {zones[1]} in {sources[1].name}"
    remarks = (f"{remark}; all are turned to UTC, those without one are UTC",) if zones[0] != zones[1] else ()
    return Column(name, "datetime", f"stored as dates: {train.dropna().iloc[0]}", cells.ISO, remarks)


def _number_column(name: str, train: pd.Series, test: pd.Series, sources: tuple[Source, Source]) -> Column:
    constant = _constant_reason(train)
    if constant:
        return Column(name, "constant", constant)
    values, _ = cells.numbers(train)
    present = values[~np.isnan(values)]
    if _is_truth(present) and present.min() < present.max():
        test_values, _ = cells.numbers(test)
        if _is_truth(test_values[~np.isnan(test_values)]):
            return Column(name, "boolean", "2 values: 0/1")
    if pd.api.types.is_integer_dtype(train.dtype) and _is_unnamed_id(name, train, test):
        return Column(name, "id", "a different number in each row of train and test, and named like an id")
    return Column(name, "numeric", _range(present), remarks=_other_scale(name, present, test, sources))


def _other_scale(
    name: str, train: NDArray[np.float64], test: pd.Series, sources: tuple[Source, Source]
) -> tuple[str, ...]:
    """Numbers of test that lie all elsewhere, by orders of magnitude: seconds and milliseconds, shares and per cent."""
    values = cells.numbers(test.iloc[:: max(1, len(test) // _SAMPLE)])[0]
    values = values[np.isfinite(values)]
    train = train[:: max(1, len(train) // _SAMPLE)]
    train = train[np.isfinite(train)]
    if len(values) < _LEAST_TO_COMPARE or len(train) < _LEAST_TO_COMPARE:
        return ()
    sizes = [float(np.median(np.abs(part))) for part in (train, values)]
    overlap = max(_share_within(values, train), _share_within(train, values))
    if min(sizes) <= 0 or max(sizes) < _OTHER_SCALE * min(sizes) or overlap > _OVERLAP:
        return ()
    told = [
        f"{part.min():.6g} to {part.max():.6g} in {file.name}"
        for part, file in zip((train, values), sources, strict=True)
    ]
    return (f"column {name!r} has numbers from {told[0]}, but from {told[1]}: check that both have one unit",)


def _share_within(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return float(np.mean((values >= others.min()) & (values <= others.max())))


def _is_truth(values: NDArray[np.float64]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _word_column(both: Both) -> Column:
    """The kind of a column given as words, at least in one of the files."""
    name, train = both.name, both.train
    if not train.distinct:
        return Column(name, "constant", "all missing")
    first = clean(train.distinct[0])
    if train.n_present == len(train.codes) and all(clean(text) == first for text in train.distinct):
        return Column(name, "constant", f"every value the same: {short(train.distinct[0])}")
    pair = cells.boolean_pair(train.distinct)
    if pair and all(cells.is_truth(text) for text in both.test.distinct):
        return Column(name, "boolean", f"2 values: {'/'.join(pair)}")
    if _is_word_id(both):
        return Column(name, "id", "a different value in each row of train and test, and named like an id")
    values = cells.parse_numbers(train.distinct)
    if not cells.no_numbers(train.distinct, values).any() and not np.isnan(values).all():
        return _number_words(both, values[~np.isnan(values)])
    amounts = amount_reading(both)
    if amounts.text is not None:
        return Column(name, "numeric", "amounts", amounts.text, amounts.remarks)
    dates = date_reading(both)
    if dates.text is not None:
        return Column(name, "datetime", f"parses as dates: {train.distinct[0]}", dates.text, dates.remarks)
    if pd.Series(train.distinct, dtype="str").str.contains(_IMAGE_PATH, regex=True).all():
        return Column(name, "image", f"paths of image files: {train.distinct[0]}")
    text = _text_reason(train)
    if text:
        return Column(name, "text", text, remarks=(*amounts.remarks, *dates.remarks))
    return _category(both, (*amounts.remarks, *dates.remarks))


def _number_words(both: Both, values: NDArray[np.float64]) -> Column:
    """A column whose train cells are all numbers, and one of the files was read as words."""
    name, train, test = both.name, both.train, both.test
    test_values = cells.parse_numbers(test.distinct)
    lost = cells.no_numbers(test.distinct, test_values)
    reason = f"strings that are all numbers, {_range(values)}"
    if not lost.any():
        amounts = amount_reading(both)
        return Column(name, "numeric", reason, amounts.text or "", amounts.remarks)
    if _is_truth(values) and all(cells.is_truth(text) for text in test.distinct):
        return Column(name, "boolean", "0/1 in one file, truth values in the other")
    dates = date_reading(both)
    if dates.text is not None:
        return Column(name, "datetime", f"points in time: {train.distinct[0]}", dates.text, dates.remarks)
    levels = levels_of(train)
    n_lost = int(test.counts[lost].sum())
    n_known = int(test.counts[match_levels(test.distinct, levels).positions < len(levels)].sum())
    are_amounts = all(parse_amount(test.distinct[row]) is not None for row in map(int, np.flatnonzero(lost)))
    is_mostly_known = is_too_much(n_lost, test.n_present) and n_known >= 0.5 * test.n_present
    if not are_amounts and (_has_leading_zeros(train.distinct) or is_mostly_known):
        return _category(both, ())
    amounts = amount_reading(both)
    if amounts.text is None and is_too_much(n_lost, test.n_present):
        row = int(np.flatnonzero(lost)[0])
        raise InputError(
            f"column {name!r} holds numbers in {both.sources[0].name}, but {n_lost} of {test.n_present} cells of "
            f"{both.sources[1].name} are none, such as {cell(test.distinct[row], both.sources[1].at(test.row(row)))}; "
            f"correct the file, or leave the column out with {advice(name, 'constant')}"
        )
    return Column(name, "numeric", reason, amounts.text or "", amounts.remarks)


def _has_leading_zeros(texts: Sequence[str]) -> bool:
    """Whether digits begin with a zero, as codes do and numbers do not."""
    return any(len(text) > 1 and text.startswith("0") and text.isdecimal() for text in texts)


def is_named_like_id(name: str) -> bool:
    """Whether a column's name says that it tells rows apart, such as ``id``, ``order_id`` and ``RowKey``."""
    return _ID_NAME.fullmatch(name.strip()) is not None


def _is_unnamed_id(name: str, train: pd.Series, test: pd.Series) -> bool:
    """Whether a column that nobody declared as id is one: named like it, never missing, never repeated."""
    if not is_named_like_id(name) or train.isna().any() or test.isna().any():
        return False
    return bool(pd.concat([train, test]).is_unique)


def _is_word_id(both: Both) -> bool:
    if not _ID_NAME.fullmatch(both.name):
        return False
    n_rows = len(both.train.codes) + len(both.test.codes)
    return len(both.train.distinct) + len(both.test.distinct) == n_rows == len(both.texts)


def _text_reason(words: Words) -> str:
    """Why a column holds texts, or ''."""
    if len(words.distinct) <= 0.5 * words.n_present:
        return ""
    lengths = np.array([(len(text.split()), len(text)) for text in words.distinct])
    n_words, length = (words.counts[:, None] * lengths).sum(axis=0) / words.n_present
    if n_words < 3 and length < 30:
        return ""
    n_distinct = len(words.distinct)
    return f"{n_words:.1f} words and {length:.0f} characters on average, {n_distinct} of {words.n_present} distinct"


def _category(both: Both, remarks: tuple[str, ...]) -> Column:
    levels = levels_of(both.train)
    counts = np.bincount(match_levels(both.train.distinct, levels).positions + 1, both.train.counts)[1:]
    n_once = int((counts == 1).sum())
    rare = f"{n_once} of them in one row only" if n_once else f"each {counts.min():.0f} rows or more"
    reason = f"{len(levels)} distinct string{'s' if len(levels) > 1 else ''}, {rare}"
    told = spelling_remarks(both.name, both.train, both.sources[0], levels)
    return Column(both.name, "categorical", reason, remarks=(*remarks, *_digits_in_one_file(both), *told))


def _digits_in_one_file(both: Both) -> tuple[str, ...]:
    """One file has words, the other numbers alone: told, for numbers would lose their zeros."""
    words = (both.train, both.test)
    numbers = [[clean(text).replace(".", "", 1).isdecimal() for text in file.distinct] for file in words]
    if not all(numbers) or all(numbers[0]) == all(numbers[1]):
        return ()
    digits = 0 if all(numbers[0]) else 1
    odd = numbers[1 - digits].index(False)
    source, other = both.sources[1 - digits], both.sources[digits]
    shown = cell(words[1 - digits].distinct[odd], source.at(words[1 - digits].row(odd)))
    number = cell(words[digits].distinct[0], other.at(words[digits].row(0)))
    return (
        f"column {both.name!r} has words in {source.name}, such as {shown}, and numbers alone in {other.name}, such as "
        f"{number}; both are read as words, zeros in front included",
    )


def _range(values: NDArray[np.float64]) -> str:
    what = "whole numbers" if np.equal(values, np.trunc(values)).all() else "numbers"
    return f"{what}, {values.min():.6g} to {values.max():.6g}"


def _set_column(
    name: str, setting: Setting, train: pd.Series, test: pd.Series, sources: tuple[Source, Source]
) -> Column:
    """A column whose kind the user has set; refuses one under which most values would silently become missing."""
    reading = ""
    remarks: tuple[str, ...] = ()
    is_time = cells.is_time(train) and cells.is_time(test)
    is_number = _is_number(train) and _is_number(test)
    if setting.kind == "numeric" and not is_number:
        found = amount_reading(Both(name, Words.of(train), Words.of(test), sources), setting.reading, is_set=True)
        reading, remarks = found.text or "", found.remarks
    elif setting.kind == "datetime" and is_time:
        reading = cells.ISO
    elif setting.kind == "datetime":
        found = date_reading(Both(name, Words.of(train), Words.of(test), sources), setting.reading, is_set=True)
        reading, remarks = found.text or "", found.remarks
    n_lost, what = _lost(setting.kind, train, reading)
    present = cells.strings(train).dropna() if n_lost else train
    if n_lost > 0.5 * len(present):
        raise InputError(
            f"column {name!r} cannot be {setting.kind}: {n_lost} of {len(present)} values are not {what}, "
            f"e.g. {short(present.iloc[0])}; choose another kind"
        )
    reason = "set by you" + (f"; {n_lost} values are not {what} and become missing" if n_lost else "")
    if setting.kind == "categorical":
        words = Words.of(train)
        remarks = spelling_remarks(name, words, sources[0], levels_of(words))
    return Column(name, setting.kind, reason, reading, remarks)


def _lost(kind: Kind, train: pd.Series, reading: str) -> tuple[int, str]:
    """How many train cells do not fit a kind, and what they should be."""
    if kind == "numeric":
        if _is_number(train):
            return 0, ""
        words = Words.of(train)
        values = amount_values(words.distinct, reading)
        lost = cells.no_numbers(words.distinct, values)
        return int(words.counts[lost].sum()), "numbers"
    if kind == "boolean":
        return cells.unknown_truth(train), "true/false, yes/no, y/n, t/f or 0/1"
    if kind == "datetime" and not reading:
        return int(cells.strings(train).notna().sum()), "dates in a known format"
    return 0, ""
