"""What the columns of a foreign prediction mean here: which to take, in which order, and whether they are chances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.class_columns import match_classes
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.goal import Goal, Outputs, Task
from foldsmith.problem.target import Target

SUM_ERROR = 1e-3  # of a row of chances that were rounded on their way through a csv
RANGE_ERROR = 1e-6
MAX_NAMES = 8


@dataclass(frozen=True)
class Picked:
    """Columns of a file.

    Args:
        places: in the order of the outputs.
        by_name: the header, or the user, says which class each column is of; else they are taken in the order of the
            problem's classes.
    """

    places: tuple[int, ...]
    by_name: bool


@dataclass(frozen=True)
class OutputForm:
    """What one row of a prediction must be.

    Args:
        kind: chances of two or of several classes, or a value.
        classes: in the order of their codes; empty for a value.
        target: the column that is predicted; a file may hold it beside its predictions.
    """

    kind: Task
    classes: tuple[str, ...]
    target: str

    @classmethod
    def of(cls, goal: Goal, target: Target) -> "OutputForm":
        """Of a problem; a quadratic kappa wants a value, although its target has classes."""
        return cls(goal.kind, target.classes if goal.is_classification else (), target.name)

    @property
    def n_outputs(self) -> int:
        """Columns that are stored."""
        return len(self.classes) if self.kind == "multiclass" else 1

    def pick(self, header: Sequence[str], path: Path, *, is_named: bool, asked: Sequence[str] = ()) -> Picked:
        """Choose the columns to read.

        Args:
            header: the names that may be predictions.
            is_named: False when the names are only numbers of columns.
            asked: by the user, in the order of the classes.

        Raises:
            InputError: none or too many columns fit.
        """
        if asked:
            return self._asked(header, path, asked)
        others = [name for name in header if name != self.target]
        if is_named and (named := self._by_class(header, others)):
            return Picked(named, by_name=True)
        for names in (others, list(header)):  # a column named like the target holds labels, unless it is the only one
            if self._fits(len(names)):
                return Picked(tuple(header.index(name) for name in names), by_name=False)
        raise InputError(self._misfit(header, path))

    def _asked(self, header: Sequence[str], path: Path, asked: Sequence[str]) -> Picked:
        for name in asked:
            if name not in header:
                raise UnknownNameError(f"column in {path}", name, header)
        if not self._fits(len(asked)):
            raise InputError(f"--columns names {len(asked)} columns, but {self._wanted()}; name as many")
        return Picked(tuple(header.index(name) for name in asked), by_name=True)

    def _by_class(self, header: Sequence[str], others: Sequence[str]) -> tuple[int, ...] | None:
        """``calm, fair, wild`` in any order and between other columns; or ``p_calm, …``, ``calm_p, …``, ``p(Calm)``."""
        if len(self.classes) < 2:
            return None
        found = match_classes(others, self.classes)
        if len(found.by_class) < len(self.classes):
            return None
        return tuple(header.index(found.by_class[name]) for name in self.classes)

    def _fits(self, n_columns: int) -> bool:
        return n_columns in ((1, 2) if self.kind == "binary" else (self.n_outputs,))

    def _wanted(self) -> str:
        if self.kind == "regression":
            return "this problem wants one column of values"
        if self.kind == "binary":
            return f"this problem wants the chance of {self.classes[1]!r}, or the chances of both classes"
        return f"this problem wants one chance for each of its {len(self.classes)} classes ({_few(self.classes)})"

    def _misfit(self, header: Sequence[str], path: Path) -> str:
        found = f"{path} has {len(header)} columns of predictions ({_few(header)}), but {self._wanted()}"
        if self.kind == "multiclass" and len(header) == 1:
            return f"{found}; labels alone cannot be combined: export predict_proba"
        return f"{found}; name those to take with --columns"

    def outputs(self, columns: NDArray[Any], where: str, needed: NDArray[np.bool_] | None = None) -> Outputs:
        """Picked columns ``(n_rows, n_columns)`` as ``(n_rows, n_outputs)``, as members are stored.

        Args:
            where: what the numbers are, for messages.
            needed: rows that must hold numbers; all by default. The others become NaN.

        Raises:
            InputError: NaN or infinity, labels instead of chances, chances outside 0 to 1, rows that do not sum to 1.
        """
        values: Outputs
        if self.kind == "regression":
            values = np.array(columns, np.float64)
        else:
            with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
                values = np.array(columns, np.float32)
        if needed is not None:
            values[~needed] = np.nan
        checked = values if needed is None else values[needed]
        _check_finite(checked, where)
        if self.kind == "regression":
            return values
        self._check_chances(checked, where)
        values = np.clip(values, 0, 1)
        if values.shape[1] == 1:
            return values
        sums = values.sum(axis=1, dtype=np.float64, keepdims=True)
        _check_sums(sums if needed is None else sums[needed], where)
        shares: Outputs = (values / sums).astype(np.float32)
        return shares[:, 1:] if self.kind == "binary" else shares

    def _check_chances(self, values: Outputs, where: str) -> None:
        outside = (values < -RANGE_ERROR) | (values > 1 + RANGE_ERROR)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise InputError(
                f"{where}: {outside.sum():,} of {outside.size:,} chances lie outside 0 to 1, e.g. "
                f"{values[row, column]:g} in row {row + 1}; export predict_proba, not scores or ranks"
            )
        if ((values == 0) | (values == 1)).all():
            raise InputError(
                f"{where}: all {values.size:,} values are 0 or 1, these are labels; labels alone cannot be combined: "
                "export predict_proba"
            )


def _check_finite(values: Outputs, where: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        n_missing = int(np.isnan(values).sum())
        raise InputError(
            f"{where}: {n_missing:,} values are missing or nan and {int(bad.sum()) - n_missing:,} infinite, the first "
            f"in row {int(np.argwhere(bad)[0][0]) + 1} of those that are needed; every row needs a finite prediction"
        )


def _check_sums(sums: NDArray[np.float64], where: str) -> None:
    wrong = np.abs(sums - 1) > SUM_ERROR
    if wrong.any():
        first = int(np.argwhere(wrong)[0][0])
        raise InputError(
            f"{where}: the chances of {wrong.sum():,} of {len(sums):,} rows do not sum to 1, e.g. {sums[first, 0]:g} "
            f"in row {first + 1}; divide each row by its sum, or name the right columns with --columns"
        )


def _few(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > MAX_NAMES else ""
    return ", ".join(map(repr, names[:MAX_NAMES])) + more
