"""The order of rows in time, and folds that respect it: expanding and sliding windows, and purged blocks."""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError

Span = int | np.timedelta64

_MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 7 * 86_400_000_000,
}


def time_values(times: Any, name: str | None) -> NDArray[Any]:
    """Times ``(n,)`` as datetime64[us], or as numbers where the column holds plain numbers.

    Raises:
        InputError: a time is missing or cannot be read.
    """
    series = pd.Series(times)
    if pd.api.types.is_numeric_dtype(series.dtype):
        values = series.to_numpy()
        lost = np.isnan(values.astype(np.float64))
    else:
        texts = cells.strings(series)
        pattern = cells.ISO if cells.is_time(series) else cells.find_time_format(cells.distinct(texts))
        values = np.empty(len(series), dtype=np.float64)
        if pattern is not None:
            values = cells.times(series, pattern).view("datetime64[us]")
        elif cells.numbers(texts)[1] == 0:
            values = cells.numbers(texts)[0]
        else:
            raise InputError(
                f"time column {name!r} holds neither dates in a known format nor numbers, "
                f"e.g. {cells.distinct(texts)[0]!r}; convert it to YYYY-MM-DD HH:MM:SS"
            )
        lost = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    if lost.any():
        raise InputError(
            f"time column {name!r} has {np.count_nonzero(lost)} missing or unreadable values, the first in row "
            f"{int(np.flatnonzero(lost)[0]) + 1}; fill them in"
        )
    return np.asarray(values)


def parse_span(name: str, gap: str | int | None, times: NDArray[Any]) -> Span:
    """A gap, embargo or window as a number of rows or as a duration in microseconds.

    Raises:
        InputError: it is negative, no duration, or a duration beside times that are plain numbers.
    """
    if gap is None or isinstance(gap, int) or gap.strip().lstrip("-").isdecimal():
        rows = int(gap or 0)
        if rows < 0:
            raise InputError(f"{name}={gap} is negative; give a number of rows or a duration such as '7d'")
        return rows
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", gap.casefold())
    if match is None or match[2] not in _MICROSECONDS:
        raise InputError(f"{name}={gap!r} is no duration; give one such as '7d', '12h' or '30min', or a number of rows")
    if times.dtype.kind != "M":
        raise InputError(f"{name}={gap!r} is a duration but the time column holds plain numbers; give a number of rows")
    return np.timedelta64(round(float(match[1]) * _MICROSECONDS[match[2]]), "us")


def forward_folds(
    times: NDArray[Any], n_folds: int, gap: Span, window: Span | None = None
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Fold k validates block k+1 of n_folds+1 equal blocks in time, and trains on what comes before it.

    Rows of equal time are in one block, so blocks are only nearly equal. Block 0 is never validated.

    Args:
        times: ``(n,)`` numbers or datetime64, none missing.
        n_folds: number of folds.
        gap: a number of rows to leave out before each validation block; or a duration, then
            ``max(train time) + gap < min(validation time)``.
        window: how much before the gap is trained on, rows or a duration; None is everything, an expanding window.

    Returns:
        int16 ``(n,)`` the fold that validates each row, -1 for block 0; bool ``(n_folds, n)`` the train rows.

    Raises:
        InputError: too few distinct times, or a gap or window that leaves a fold without train rows.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    starts = [*_block_starts(ordered, n_folds), len(times)]
    valid_fold = np.full(len(times), -1, dtype=np.int16)
    train_masks = np.zeros((n_folds, len(times)), dtype=np.bool_)
    for fold in range(n_folds):
        valid_fold[order[starts[fold] : starts[fold + 1]]] = fold
        end = _before(ordered, starts[fold], gap)
        begin = 0 if window is None else _begin(ordered, end, starts[fold], gap, window)
        if begin >= end:
            what = (
                f"gap={_shown(gap)} leaves" if window is None else f"gap={_shown(gap)}, window={_shown(window)} leave"
            )
            raise InputError(f"{what} fold {fold} no rows to train on; change it, or lower n_folds")
        train_masks[fold, order[begin:end]] = True
    return valid_fold, train_masks


def purged_folds(
    times: NDArray[Any], n_folds: int, gap: Span, embargo: Span
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Fold k validates block k of n_folds equal blocks in time, and trains on all others but a strip on each side.

    Every row is validated, by models that know its past and its future: for tables whose rows are not predicted in
    order, but whose neighbours in time are alike. Source: Lopez de Prado 2018, Advances in financial machine learning,
    chapter 7 (purged k-fold with embargo).

    Args:
        gap: left out before the validation block, rows or a duration.
        embargo: left out after it.

    Raises:
        InputError: as :func:`forward_folds`.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    starts = [0, *_block_starts(ordered, n_folds - 1), len(times)]
    valid_fold = np.full(len(times), -1, dtype=np.int16)
    train_masks = np.zeros((n_folds, len(times)), dtype=np.bool_)
    for fold in range(n_folds):
        start, stop = starts[fold], starts[fold + 1]
        valid_fold[order[start:stop]] = fold
        train_masks[fold, order[: _before(ordered, start, gap)]] = True
        train_masks[fold, order[_after(ordered, stop, embargo) :]] = True
        if not train_masks[fold].any():
            raise InputError(
                f"gap={_shown(gap)} and embargo={_shown(embargo)} leave fold {fold} no rows to train on; lower them"
            )
    return valid_fold, train_masks


def _before(ordered: NDArray[Any], start: int, gap: Span) -> int:
    """Where the train rows before position ``start`` end."""
    if isinstance(gap, np.timedelta64):
        return int(np.searchsorted(ordered, ordered[start] - gap, side="left")) if start < len(ordered) else start
    return max(0, start - gap)


def _after(ordered: NDArray[Any], stop: int, embargo: Span) -> int:
    """Where the train rows after position ``stop`` begin."""
    if isinstance(embargo, np.timedelta64):
        return int(np.searchsorted(ordered, ordered[stop - 1] + embargo, side="right"))
    return min(len(ordered), stop + embargo)


def _begin(ordered: NDArray[Any], end: int, start: int, gap: Span, window: Span) -> int:
    """Where a window begins that ends at ``end``."""
    if isinstance(window, np.timedelta64):
        last = ordered[start] - gap if isinstance(gap, np.timedelta64) else ordered[max(end - 1, 0)]
        return int(np.searchsorted(ordered, last - window, side="left"))
    return max(0, end - window)


def _shown(span: Span) -> str:
    return f"{span} rows" if isinstance(span, int) else str(pd.Timedelta(span))


def _block_starts(ordered: NDArray[Any], n_folds: int) -> list[int]:
    """First positions of blocks 1..n_folds in sorted times; each is the first row of its time.

    Each start is the change of time nearest to the ideal position that still leaves one for every later block.
    """
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(changes) < n_folds:
        raise InputError(
            f"n_folds={n_folds} but the time column has {len(changes) + 1} distinct values and each block needs its "
            f"own; lower n_folds to {len(changes)}"
            if len(changes) > 1
            else f"the time column has {len(changes) + 1} distinct values; choose another column or scheme"
        )
    starts: list[int] = []
    lowest = 0
    for block in range(1, n_folds + 1):
        usable = changes[lowest : len(changes) - (n_folds - block)]
        ideal = block * len(ordered) / (n_folds + 1)
        chosen = int(np.abs(usable - ideal).argmin())
        starts.append(int(usable[chosen]))
        lowest += chosen + 1
    return starts
