"""The ways to cut rows into folds: plain, stratified, grouped, by time."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Task

Scheme = Literal[
    "stratified", "plain", "group", "stratified_group", "leave_one_group_out", "time", "purged", "imported"
]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

MANY_ROWS, VERY_MANY_ROWS = 10_000, 250_000  # from here on five folds, and three


@dataclass(frozen=True)
class FoldRequest:
    """How the rows are to be cut; the section [split] of the config.

    Args:
        scheme: which of the schemes.
        n_folds: at least 2; not used by ``imported`` and ``leave_one_group_out``.
        n_repeats: independent partitions of the same rows; 1 for those two and for ``time`` and ``purged``.
        seed: 0..2**32-1; the first repeat uses it as scikit-learn's ``random_state``.
        group: the column whose rows stay together; its name, for messages and details.
        time: the column that orders the rows; its name.
        gap: for the schemes in time what lies between train and a later validation: a number of rows, or a duration
            such as "7d" or "12h" when the column holds dates; None is no gap. Where a label is only known some time
            after its row, this is what purges train rows whose labels reach into the validation.
        embargo: for ``purged`` what is left out of train after a validation; the gap by default.
        window: for ``time`` how much before the gap is trained on, rows or a duration; None is everything.
        stratify: further columns whose values are spread evenly over the folds, for the stratified schemes.
        holdout: share of the rows, up to a half, that no fold trains on or validates; 0 for none.
        file: where an imported assignment came from.
    """

    scheme: Scheme = "stratified"
    n_folds: int = 5
    n_repeats: int = 1
    seed: int = 42
    group: str | None = None
    time: str | None = None
    gap: str | int | None = None
    embargo: str | int | None = None
    window: str | int | None = None
    stratify: tuple[str, ...] = ()
    holdout: float = 0.0
    file: str | None = None


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of one repeat: the given one first, then unrelated ones.

    Adding the repeat to the seed would give the plans of seeds 42 and 43 a repeat in common.
    """
    return seed if repeat == 0 else int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # joint strata may be rare
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
