"""Fold plans: which rows train and which validate, fixed once and kept in a file that proves itself by its hash."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.problem.files import FORMAT, digest, write_atomically
from foldsmith.problem.fold_import import read_assignment
from foldsmith.problem.fold_schemes import (
    SCHEMES,
    FoldRequest,
    Scheme,
    assign_folds,
    group_codes,
    repeat_seed,
)
from foldsmith.problem.fold_strata import joint_strata, require_rows_per_class, strata_of
from foldsmith.problem.fold_times import forward_folds, parse_span, purged_folds, time_values
from foldsmith.problem.goal import Task

__all__ = ["SCHEMES", "FoldPlan", "FoldRequest", "Scheme", "describe", "make_folds", "read_assignment"]

_METADATA_KEY = b"foldsmith"


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """A fixed assignment of rows to folds, over one or several repeats. Two plans are equal if they split alike.

    Args:
        scheme: how it was made.
        n_folds: folds per repeat.
        n_repeats: independent partitions.
        seed: what it was made with.
        valid_fold: int16 ``(n_repeats, n_rows)``, the fold that validates each row, -1 for never.
        train_masks: bool ``(n_folds, n_rows)`` for time plans, where a fold does not train on all other rows; else
            None, and a fold trains on every row that it does not validate.
        holdout: bool ``(n_rows,)``, rows that neither train nor validate; left out it is all False.
        details: names of columns and files, gap, bins; JSON values.
    """

    scheme: Scheme
    n_folds: int
    n_repeats: int
    seed: int
    valid_fold: NDArray[np.int16]
    train_masks: NDArray[np.bool_] | None = None
    holdout: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        valid_fold = _frozen(self.valid_fold, np.int16)
        n_rows = valid_fold.shape[-1]
        holdout = self.holdout if len(self.holdout) else np.zeros(n_rows, dtype=np.bool_)
        assert valid_fold.shape == (self.n_repeats, n_rows)
        assert valid_fold.size == 0 or (valid_fold.min() >= -1 and valid_fold.max() < self.n_folds)
        object.__setattr__(self, "valid_fold", valid_fold)
        object.__setattr__(self, "holdout", _frozen(holdout, np.bool_))
        assert self.holdout.shape == (n_rows,)
        if self.train_masks is not None:
            object.__setattr__(self, "train_masks", _frozen(self.train_masks, np.bool_))
            assert self.train_masks.shape == (self.n_folds, n_rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FoldPlan) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def is_forward(self) -> bool:
        """Whether folds are in the order of time, so that later ones know the future of earlier ones."""
        return self.scheme == "time"

    @property
    def n_rows(self) -> int:
        """Rows of the train table."""
        return int(self.valid_fold.shape[1])

    @property
    def hash(self) -> str:
        """12 hexadecimal digits of the splits themselves; scheme, seed and details do not count."""
        return digest(self.n_folds, self.valid_fold, self.train_masks, self.holdout)

    def split(self, repeat: int, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Train rows and validation rows of one fold: int64, sorted, disjoint, without holdout rows.

        Args:
            repeat: 0..n_repeats-1.
            fold: 0..n_folds-1.
        """
        assert 0 <= fold < self.n_folds
        valid = self.valid_fold[repeat] == fold
        train = ~valid if self.train_masks is None else self.train_masks[fold]
        return np.flatnonzero(train & ~self.holdout), np.flatnonzero(valid & ~self.holdout)

    def coverage(self, repeat: int) -> NDArray[np.bool_]:
        """Bool ``(n_rows,)``: the rows that some fold of this repeat validates."""
        covered: NDArray[np.bool_] = (self.valid_fold[repeat] >= 0) & ~self.holdout
        return covered

    def save(self, path: Path) -> None:
        """Write the plan as parquet, atomically: columns valid_0.., train_0.. for time plans, and holdout."""
        columns: dict[str, Any] = {f"valid_{i}": row for i, row in enumerate(self.valid_fold)}
        if self.train_masks is not None:
            columns |= {f"train_{i}": row for i, row in enumerate(self.train_masks)}
        columns["holdout"] = self.holdout
        record = {
            "format": FORMAT,
            "hash": self.hash,
            "scheme": self.scheme,
            "n_folds": self.n_folds,
            "n_repeats": self.n_repeats,
            "seed": self.seed,
            "is_masked": self.train_masks is not None,
            "details": self.details,
        }
        table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(record, ensure_ascii=False)})
        write_atomically(path, lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, path: Path) -> "FoldPlan":
        """Read a plan written by :meth:`save`.

        Raises:
            InputError: no such file.
            ContractError: it is no fold plan, was changed since it was written, or comes from a newer foldsmith.
        """
        if not path.is_file():
            raise InputError(f"no fold plan at {path}; make one with 'foldsmith folds make'")
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
            record = json.loads(table.schema.metadata[_METADATA_KEY])
            if record["format"] > FORMAT:
                raise ContractError(
                    f"{path} has format {record['format']}, this foldsmith reads up to {FORMAT}; upgrade foldsmith"
                )
            plan = cls._from_table(table, record)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise ContractError(f"{path} is no fold plan or is damaged ({error!r:.120}); restore the file") from None
        if plan.hash != record["hash"]:
            raise ContractError(
                f"{path} was changed: its folds hash to {plan.hash}, frozen was {record['hash']}; restore the file"
            )
        return plan

    @classmethod
    def _from_table(cls, table: pa.Table, record: dict[str, Any]) -> "FoldPlan":
        def stacked(prefix: str, count: int) -> NDArray[Any]:
            return np.stack([table.column(f"{prefix}_{i}").to_numpy() for i in range(count)])

        return cls(
            scheme=record["scheme"],
            n_folds=record["n_folds"],
            n_repeats=record["n_repeats"],
            seed=record["seed"],
            valid_fold=stacked("valid", record["n_repeats"]),
            train_masks=stacked("train", record["n_folds"]) if record["is_masked"] else None,
            holdout=table.column("holdout").to_numpy(),
            details=record["details"],
        )


def _frozen(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """A read-only copy: the hash must not change under anyone's hands."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True)
class FoldBasis:
    """What folds are made from, all of the same rows.

    Args:
        y: ``(n_rows,)`` class codes, or values of a regression (stratified by quantile bins).
        task: binary, multiclass or regression.
        groups: ``(n_rows,)`` of any type, for the group schemes.
        times: ``(n_rows,)`` datetime64, numbers or date strings, for the schemes in time.
        assignment: from :func:`read_assignment`, for ``imported``.
        further: columns ``(n_rows,)`` to stratify by besides y.
        classes: labels in code order, for messages.
    """

    y: NDArray[Any]
    task: Task
    groups: Any = None
    times: Any = None
    assignment: NDArray[np.int16] | None = None
    further: Sequence[Any] = ()
    classes: Sequence[str] = ()

    def rows(self, kept: NDArray[np.bool_]) -> "FoldBasis":
        """Some of the rows only."""

        def part(column: Any) -> Any:
            return None if column is None else np.asarray(column)[kept]

        further = tuple(part(column) for column in self.further)
        parts = part(self.groups), part(self.times), part(self.assignment)
        return FoldBasis(self.y[kept], self.task, *parts, further, self.classes)


def make_folds(request: FoldRequest, basis: FoldBasis) -> FoldPlan:
    """Make a fold plan; the same request on the same data gives the same plan.

    Args:
        request: what is wanted.
        basis: labels, and the columns that the scheme needs.

    Raises:
        UnknownNameError: no such scheme.
        InputError: the rows, classes, groups or times do not allow these folds.
    """
    if request.scheme not in SCHEMES:
        raise UnknownNameError("fold scheme", request.scheme, SCHEMES)
    _check_request(request, len(basis.y))
    if not request.holdout:
        return _make(request, basis)
    holdout = _choose_holdout(request, basis)
    plan = spread_plan(_make(request, basis.rows(~holdout)), holdout)
    return replace(plan, details={**plan.details, "holdout": request.holdout})


def spread_plan(inner: FoldPlan, holdout: NDArray[np.bool_]) -> FoldPlan:
    """A plan of the rows that are not held out, as one of all rows."""
    if not holdout.any():
        return inner
    valid_fold = np.full((inner.n_repeats, len(holdout)), -1, np.int16)
    valid_fold[:, ~holdout] = inner.valid_fold
    masks = None
    if inner.train_masks is not None:
        masks = np.zeros((inner.n_folds, len(holdout)), np.bool_)
        masks[:, ~holdout] = inner.train_masks
    return replace(inner, valid_fold=valid_fold, train_masks=masks, holdout=holdout)


def _make(request: FoldRequest, basis: FoldBasis) -> FoldPlan:
    names = _DETAILS.get(request.scheme, ())
    details = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.stratify:
        details["stratify"] = list(request.stratify)
    match request.scheme:
        case "imported":
            return _imported_plan(request, basis.assignment, len(basis.y), details)
        case "time" | "purged":
            return _time_plan(request, basis.times, len(basis.y), details)
        case "leave_one_group_out":
            return _one_group_out(request, basis.groups, details)
    return _shuffled_plan(request, basis, details)


_DETAILS: dict[Scheme, tuple[str, ...]] = {
    "group": ("group",),
    "stratified_group": ("group",),
    "leave_one_group_out": ("group",),
    "time": ("time", "gap", "window"),
    "purged": ("time", "gap", "embargo"),
    "imported": ("file",),
}
MAX_GROUPS_OUT = 200


def _check_request(request: FoldRequest, n_rows: int) -> None:
    if request.n_folds < 2:
        raise InputError(f"n_folds={request.n_folds} but a fold needs rows to train on; give at least 2")
    if request.n_folds > n_rows and request.scheme not in ("imported", "leave_one_group_out"):
        raise InputError(f"n_folds={request.n_folds} but train has {n_rows} rows; lower n_folds")
    if request.n_repeats < 1:
        raise InputError(f"n_repeats={request.n_repeats}; give at least 1")
    if not 0 <= request.seed < 2**32:
        raise InputError(f"seed={request.seed} is out of range; give a whole number from 0 to {2**32 - 1}")
    if not 0 <= request.holdout <= 0.5:
        raise InputError(f"holdout={request.holdout:g} is not a share from 0 to 0.5; give e.g. 0.1")
    if request.stratify and request.scheme not in ("stratified", "stratified_group"):
        raise InputError(f"stratify is for the schemes stratified and stratified_group, not for {request.scheme}")
    for name, schemes in _ONLY_FOR.items():
        if getattr(request, name) is not None and request.scheme not in schemes:
            raise InputError(f"{name} is for the scheme {' or '.join(schemes)}, not for {request.scheme}; leave it out")


_ONLY_FOR: dict[str, tuple[Scheme, ...]] = {"window": ("time",), "embargo": ("purged",)}


def _choose_holdout(request: FoldRequest, basis: FoldBasis) -> NDArray[np.bool_]:
    """``(n_rows,)`` about the wanted share of the rows: the last in time, whole groups, or spread over the strata."""
    if request.scheme in ("time", "purged"):
        values = time_values(_required(basis.times, request.scheme, "time"), request.time)
        return np.asarray(values >= np.sort(values)[int((1 - request.holdout) * len(values))])
    n_parts = max(2, round(1 / request.holdout))
    scheme: Scheme = "plain" if request.scheme == "imported" else request.scheme
    scheme = "group" if scheme == "leave_one_group_out" else scheme
    codes = None
    if scheme in ("group", "stratified_group"):
        codes = group_codes(_required(basis.groups, scheme, "group"), request.group, n_parts)
    seed = repeat_seed(request.seed, 1_000_000)  # of no repeat
    return np.asarray(assign_folds(scheme, _strata(request, basis, n_parts)[0], codes, n_parts, seed) == 0)


def _required(column: Any, scheme: str, name: str) -> Any:
    if column is None:
        what = "that orders the rows" if name == "time" else "whose rows stay together"
        raise InputError(f"scheme={scheme!r} needs a column {what}; set {name} in [split]")
    return column


def _imported_plan(
    request: FoldRequest, assignment: NDArray[np.int16] | None, n_rows: int, details: dict[str, Any]
) -> FoldPlan:
    if assignment is None:
        raise InputError("scheme='imported' needs a file with a fold per row; set file in [split]")
    if len(assignment) != n_rows:
        raise InputError(f"the imported folds have {len(assignment)} rows but train has {n_rows}; give one per row")
    n_folds = int(assignment.max()) + 1
    return FoldPlan("imported", n_folds, 1, request.seed, assignment[np.newaxis], details=details)


def _time_plan(request: FoldRequest, times: Any, n_rows: int, details: dict[str, Any]) -> FoldPlan:
    _required(times, request.scheme, "time")
    if request.n_repeats != 1:
        raise InputError(f"n_repeats={request.n_repeats} but time has one order only; set n_repeats to 1")
    values = time_values(times, request.time)
    assert len(values) == n_rows
    gap = parse_span("gap", request.gap, values)
    if request.scheme == "time":
        window = None if request.window is None else parse_span("window", request.window, values)
        valid_fold, masks = forward_folds(values, request.n_folds, gap, window)
    else:
        embargo = gap if request.embargo is None else parse_span("embargo", request.embargo, values)
        valid_fold, masks = purged_folds(values, request.n_folds, gap, embargo)
    return FoldPlan(request.scheme, request.n_folds, 1, request.seed, valid_fold[np.newaxis], masks, details=details)


def _one_group_out(request: FoldRequest, groups: Any, details: dict[str, Any]) -> FoldPlan:
    codes = group_codes(_required(groups, request.scheme, "group"), request.group, 2)
    n_folds = int(codes.max()) + 1
    if n_folds > MAX_GROUPS_OUT:
        raise InputError(
            f"group column {request.group!r} has {n_folds} groups, a fold for each of which is too many (up to "
            f"{MAX_GROUPS_OUT}); use the scheme group"
        )
    if request.n_repeats != 1:
        raise InputError(f"n_repeats={request.n_repeats} but every repeat would be the same; set n_repeats to 1")
    return FoldPlan(request.scheme, n_folds, 1, request.seed, codes.astype(np.int16)[np.newaxis], details=details)


def _shuffled_plan(request: FoldRequest, basis: FoldBasis, details: dict[str, Any]) -> FoldPlan:
    scheme, n_folds = request.scheme, request.n_folds
    codes = None
    if scheme in ("group", "stratified_group"):
        codes = group_codes(_required(basis.groups, scheme, "group"), request.group, n_folds)
        assert len(codes) == len(basis.y)
    if scheme in ("stratified", "stratified_group") and basis.task != "regression":
        require_rows_per_class(basis.y, n_folds, basis.classes)
    strata, n_bins = _strata(request, basis, n_folds)
    details = details if n_bins is None else {**details, "bins": n_bins}
    seeds = [repeat_seed(request.seed, repeat) for repeat in range(request.n_repeats)]
    valid_fold = np.stack([assign_folds(scheme, strata, codes, n_folds, seed) for seed in seeds])
    if codes is not None:
        for row in valid_fold:
            pairs = codes * n_folds + row
            assert len(np.unique(pairs)) == codes.max() + 1, "a group was split"
    return FoldPlan(scheme, n_folds, request.n_repeats, request.seed, valid_fold, details=details)


def _strata(request: FoldRequest, basis: FoldBasis, n_folds: int) -> tuple[NDArray[Any], int | None]:
    """What is spread evenly over the folds, and the number of bins of a regression."""
    if request.scheme not in ("stratified", "stratified_group"):
        return basis.y, None
    strata, n_bins = strata_of(basis.y, basis.task, n_folds)
    return (joint_strata(strata, basis.further, n_folds) if basis.further else strata), n_bins


def describe(plan: FoldPlan, y: NDArray[Any], task: Task, *, classes: Sequence[str] = ()) -> dict[str, Any]:
    """A plan in numbers, as JSON values: rows, and class shares or the target's mean, of each fold.

    Args:
        plan: the plan.
        y: ``(n_rows,)`` class codes or values.
        task: binary, multiclass or regression.
        classes: labels in code order; without them the codes are shown.
    """
    return {
        "hash": plan.hash,
        "scheme": plan.scheme,
        "n_rows": plan.n_rows,
        "n_folds": plan.n_folds,
        "n_repeats": plan.n_repeats,
        "seed": plan.seed,
        "details": plan.details,
        "holdout_rows": int(plan.holdout.sum()),
        "never_validated_rows": int((~plan.coverage(0) & ~plan.holdout).sum()),
        "folds": [
            {"repeat": repeat, "fold": fold, **_describe_fold(plan.split(repeat, fold), y, task, classes)}
            for repeat in range(plan.n_repeats)
            for fold in range(plan.n_folds)
        ],
    }


def _describe_fold(
    rows: tuple[NDArray[np.int64], NDArray[np.int64]], y: NDArray[Any], task: Task, classes: Sequence[str]
) -> dict[str, Any]:
    train, valid = rows
    record: dict[str, Any] = {"train_rows": len(train), "valid_rows": len(valid)}
    if task == "regression":
        return {**record, "target_mean": float(y[valid].mean()) if len(valid) else None}
    labels = classes or [str(code) for code in range(int(y.max()) + 1)]
    counts = np.bincount(y[valid].astype(np.int64), minlength=len(labels))
    shares = counts / max(1, len(valid))
    learned = np.bincount(y[train].astype(np.int64), minlength=len(labels))
    return {
        **record,
        "class_shares": {label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)},
        "classes_not_in_train": [label for label, count in zip(labels, learned, strict=True) if count == 0],
    }
