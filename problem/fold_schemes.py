"""The ways to cut rows into folds: plain, stratified, grouped, by time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Task

Scheme = Literal["stratified", "plain", "group", "stratified_group", "time", "imported"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

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


MANY_ROWS, VERY_MANY_ROWS = 10_000, 250_000  # from here on five folds, and three


@dataclass(frozen=True)
class FoldRequest:
    """How the rows are to be cut; the section [split] of the config.

    Args:
        scheme: which of the schemes.
        n_folds: at least 2; not used by ``imported``.
        n_repeats: independent partitions of the same rows; 1 for ``time`` and ``imported``.
        seed: 0..2**32-1; the first repeat uses it as scikit-learn's ``random_state``.
        group: the column whose rows stay together; its name, for messages and details.
        time: the column that orders the rows; its name.
        gap: for ``time`` what lies between train and validation: a number of rows, or a duration such as "7d" or
            "12h" when the column holds dates; None is no gap.
        file: where an imported assignment came from.
    """

    scheme: Scheme = "stratified"
    n_folds: int = 5
    n_repeats: int = 1
    seed: int = 42
    group: str | None = None
    time: str | None = None
    gap: str | int | None = None
    file: str | None = None


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of one repeat: the given one first, then unrelated ones.

    Adding the repeat to the seed would give the plans of seeds 42 and 43 a repeat in common.
    """
    return seed if repeat == 0 else int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def regression_bins(y: NDArray[Any], n_folds: int) -> tuple[NDArray[np.int64], int]:
    """Bins of equal numbers of rows by the rank of y, for stratifying a regression.

    There are ``floor(1 + log2 n)`` bins (Sturges), fewer where a bin would have less than ``n_folds`` rows. Equal
    values may fall into neighbouring bins, which does no harm and keeps the bins equal.

    Args:
        y: ``(n,)`` values.
        n_folds: at most n.

    Returns:
        int64 ``(n,)`` bin of each row, and the number of bins.
    """
    n_rows = len(y)
    n_bins = max(1, min(int(1 + np.log2(n_rows)), n_rows // n_folds))
    ranks = np.empty(n_rows, dtype=np.int64)
    ranks[np.argsort(y, kind="stable")] = np.arange(n_rows)
    return ranks * n_bins // n_rows, n_bins


def assign_folds(
    scheme: Scheme, strata: NDArray[Any], groups: NDArray[np.int64] | None, n_folds: int, seed: int
) -> NDArray[np.int16]:
    """One partition of the rows by a scikit-learn splitter.

    Args:
        scheme: plain, stratified, group or stratified_group.
        strata: ``(n,)`` class codes or bins.
        groups: int ``(n,)`` group codes for the two group schemes.
        n_folds: number of folds.
        seed: 0..2**32-1.

    Returns:
        int16 ``(n,)``, 0..n_folds-1.

    Raises:
        InputError: a fold got no rows, which the group schemes cannot exclude.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    splitters = {
        "plain": KFold,
        "stratified": StratifiedKFold,
        "group": GroupKFold,
        "stratified_group": StratifiedGroupKFold,
    }
    splitter = splitters[scheme](n_splits=n_folds, shuffle=True, random_state=seed)
    folds = np.full(len(strata), -1, dtype=np.int16)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros((len(strata), 1)), strata, groups)):
        if len(rows) == 0:
            raise InputError(f"n_folds={n_folds} but the groups fill only some of them; lower n_folds")
        folds[rows] = fold
    return folds


def group_codes(groups: Any, name: str | None, n_folds: int) -> NDArray[np.int64]:
    """Groups ``(n,)`` of any type as codes.

    Raises:
        InputError: a group is missing, or there are fewer groups than folds.
    """
    codes, uniques = pd.factorize(cells.strings(pd.Series(groups)), use_na_sentinel=True)
    missing = int(np.count_nonzero(codes < 0))
    if missing:
        first = int(np.flatnonzero(codes < 0)[0]) + 1
        raise InputError(f"group column {name!r} has {missing} missing values, the first in row {first}; fill them in")
    if len(uniques) < n_folds:
        raise InputError(
            f"n_folds={n_folds} but group column {name!r} has {len(uniques)} groups; lower n_folds to {len(uniques)}"
            if len(uniques) > 1
            else f"group column {name!r} has the same value in every row; choose another column or scheme"
        )
    return np.asarray(codes, dtype=np.int64)


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


def parse_gap(gap: str | int | None, times: NDArray[Any]) -> int | np.timedelta64:
    """A gap as a number of rows or as a duration in microseconds.

    Raises:
        InputError: it is negative, no duration, or a duration beside times that are plain numbers.
    """
    if gap is None or isinstance(gap, int) or gap.strip().lstrip("-").isdecimal():
        rows = int(gap or 0)
        if rows < 0:
            raise InputError(f"gap={gap} is negative; give a number of rows or a duration such as '7d'")
        return rows
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", gap.casefold())
    if match is None or match[2] not in _MICROSECONDS:
        raise InputError(f"gap={gap!r} is no duration; give one such as '7d', '12h' or '30min', or a number of rows")
    if times.dtype.kind != "M":
        raise InputError(f"gap={gap!r} is a duration but the time column holds plain numbers; give a number of rows")
    return np.timedelta64(round(float(match[1]) * _MICROSECONDS[match[2]]), "us")


def expanding_window(
    times: NDArray[Any], n_folds: int, gap: int | np.timedelta64
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Fold k validates block k+1 of n_folds+1 equal blocks in time, and trains on everything before it.

    Rows of equal time are in one block, so blocks are only nearly equal. Block 0 is never validated.

    Args:
        times: ``(n,)`` numbers or datetime64, none missing.
        n_folds: number of folds.
        gap: a number of rows to leave out before each validation block; or a duration, then
            ``max(train time) + gap < min(validation time)``.

    Returns:
        int16 ``(n,)`` the fold that validates each row, -1 for block 0; bool ``(n_folds, n)`` the train rows.

    Raises:
        InputError: too few distinct times, or a gap that leaves a fold without train rows.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    starts = [*_block_starts(ordered, n_folds), len(times)]
    valid_fold = np.full(len(times), -1, dtype=np.int16)
    train_masks = np.zeros((n_folds, len(times)), dtype=np.bool_)
    for fold in range(n_folds):
        start = starts[fold]
        valid_fold[order[start : starts[fold + 1]]] = fold
        if isinstance(gap, np.timedelta64):
            end = int(np.searchsorted(ordered, ordered[start] - gap, side="left"))
        else:
            end = max(0, start - gap)
        if end == 0:
            shown = f"{gap} rows" if isinstance(gap, int) else str(pd.Timedelta(gap))
            raise InputError(f"gap={shown} leaves fold {fold} no rows to train on; lower the gap or n_folds")
        train_masks[fold, order[:end]] = True
    return valid_fold, train_masks


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


def propose_n_folds(y: NDArray[Any], task: Task, n_groups: int | None = None) -> int:
    """How many folds a plan should have when nobody said.

    With few rows a fold costs little, and each one more gives the models more rows to learn from and the test
    prediction one more of them: eight, as AutoGluon has. From ``MANY_ROWS`` on time is better spent on other
    configurations: five, and three from ``VERY_MANY_ROWS`` on. Never more than the rarest class has rows, or than
    there are groups.

    Args:
        y: ``(n_rows,)`` class codes or values.
        n_groups: of a grouped plan.
    """
    n_folds = 8 if len(y) < MANY_ROWS else 5 if len(y) < VERY_MANY_ROWS else 3
    counts = [] if task == "regression" else [int(count) for count in np.bincount(y) if count]
    if n_groups is not None:
        counts = [n_groups]
    return max(2, min([n_folds, len(y), *counts]))


def require_rows_per_class(codes: NDArray[Any], n_folds: int, classes: Sequence[str]) -> None:
    """Refuse a class that cannot be in every fold.

    Raises:
        InputError: a class has fewer rows than there are folds.
    """
    counts = np.bincount(codes.astype(np.int64), minlength=len(classes))
    rarest = int(np.where(counts == 0, np.iinfo(np.int64).max, counts).argmin())
    count = int(counts[rarest])
    if count < n_folds:
        label = classes[rarest] if rarest < len(classes) else str(rarest)
        raise InputError(
            f"n_folds={n_folds} but class {label!r} has {count} row{'s' if count > 1 else ''}; "
            + (f"lower n_folds to {count} or merge the class" if count > 1 else "merge the class or drop its row")
        )


def strata_of(y: NDArray[Any], task: Task, n_folds: int) -> tuple[NDArray[Any], int | None]:
    """Class codes, or the bins of a regression and their number."""
    return regression_bins(y, n_folds) if task == "regression" else (y, None)
