"""What is examined: the typed tables, labels and folds of a problem, column by column as numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.contract import Problem
from foldsmith.problem.tables import Table

MAX_ROWS = 20_000  # that models of single columns look at
NOT_A_TIME = np.iinfo(np.int64).min

Floats = NDArray[np.float64]
Kind = Literal["numeric", "categorical", "datetime"]


@dataclass(frozen=True)
class ExamColumn:
    """A column of train and test as float64, NaN where missing.

    Args:
        train, test: ``(n_rows,)``, ``(n_test,)``: values; codes of levels, with one code more for levels that train
            lacks; or seconds since 1970.
    """

    name: str
    kind: Kind
    train: Floats
    test: Floats


@dataclass(frozen=True)
class Exam:
    """A problem as the checks look at it.

    Args:
        problem: with its frozen or proposed fold plan.
        is_deep: also look for what takes long.
    """

    problem: Problem
    is_deep: bool = False

    @property
    def train(self) -> Table:
        """The train table."""
        return self.problem.data.train

    @property
    def test(self) -> Table:
        """The test table."""
        return self.problem.data.test

    @property
    def is_classification(self) -> bool:
        """Whether labels are classes."""
        return self.problem.data.target.task != "regression"

    @cached_property
    def y(self) -> NDArray[Any]:
        """``(n_rows,)`` class codes or values."""
        return np.asarray(self.problem.data.y)

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """Rows that models of single columns look at: all of them, or 20,000 at random, in the file's order."""
        n = len(self.y)
        if n <= MAX_ROWS:
            return np.arange(n)
        return np.sort(np.random.default_rng(0).permutation(n)[:MAX_ROWS])

    def columns(self) -> Iterator[ExamColumn]:
        """Every feature column but texts."""
        schema = self.train.schema
        for i, name in enumerate(schema.numeric):
            restore = schema.shift(name).restore
            yield ExamColumn(name, "numeric", restore(self.train.numeric[:, i]), restore(self.test.numeric[:, i]))
        for i, name in enumerate(schema.categorical):
            yield ExamColumn(name, "categorical", _codes(self.train.codes[:, i]), _codes(self.test.codes[:, i]))
        for i, name in enumerate(schema.datetime):
            yield ExamColumn(
                name, "datetime", _seconds(self.train.datetimes[:, i]), _seconds(self.test.datetimes[:, i])
            )


def _codes(codes: NDArray[np.int32]) -> Floats:
    values = np.asarray(codes, np.float64)
    values[values < 0] = np.nan
    return values


def _seconds(stamps: NDArray[np.int64]) -> Floats:
    return np.where(stamps == NOT_A_TIME, np.nan, stamps / 1e6)


def explained(x: Floats, y: NDArray[Any], *, is_classification: bool, folds: NDArray[Any] | None = None) -> float:
    """How much of the labels a tree of these columns explains out of fold: 0 nothing (or worse), 1 everything.

    Of classes the AUC of the two, stretched to 0..1, or, of several, the share of the errors of the most frequent class
    that are avoided; of values the R².

    Args:
        x: ``(n,)`` or ``(n, n_columns)``, NaN where missing.
        folds: ``(n,)`` what is predicted together; three random parts by default.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    x = x.reshape(len(x), -1)
    folds = np.random.default_rng(0).permutation(len(x)) % 3 if folds is None else folds
    predicted = np.zeros((len(x), int(y.max()) + 1 if is_classification else 1))
    for fold in np.unique(folds):
        inside = folds != fold
        if not inside.any() or (is_classification and len(np.unique(y[inside])) < 2):
            return 0.0
        options = {"max_leaf_nodes": 64, "min_samples_leaf": 3, "random_state": 0}
        model = DecisionTreeClassifier(**options) if is_classification else DecisionTreeRegressor(**options)
        model.fit(x[inside], y[inside])
        if is_classification:
            predicted[np.ix_(~inside, model.classes_)] = model.predict_proba(x[~inside])
        else:
            predicted[~inside, 0] = model.predict(x[~inside])
    return _share_explained(predicted, y, is_classification)


def explained_by_level(levels: NDArray[Any], y: NDArray[Any], *, is_classification: bool) -> float:
    """As :func:`explained`, by the mean label of the other rows with the same level, a little shrunk to that of all.

    Args:
        levels: ``(n,)`` codes from 0 on.
    """
    folds = np.random.default_rng(0).permutation(len(y)) % 5
    goal = np.eye(int(y.max()) + 1)[y] if is_classification else np.asarray(y, np.float64)[:, None]
    predicted = np.zeros_like(goal)
    for fold in range(5):
        inside = folds != fold
        counts = np.bincount(levels[inside], minlength=int(levels.max()) + 1)
        for output in range(goal.shape[1]):
            sums = np.bincount(levels[inside], weights=goal[inside, output], minlength=len(counts))
            means = (sums + 0.5 * goal[inside, output].mean()) / (counts + 0.5)
            predicted[~inside, output] = means[levels[~inside]]
    return _share_explained(predicted, y, is_classification)


def _share_explained(predicted: Floats, y: NDArray[Any], is_classification: bool) -> float:
    if not is_classification:
        spread = float(np.var(y))
        return max(0.0, 1 - float(np.mean((y - predicted[:, 0]) ** 2)) / spread) if spread > 0 else 0.0
    if predicted.shape[1] == 2:
        from foldsmith.problem.formulas import auc

        found = auc(np.asarray(y, np.int64), predicted[:, 1], None)
        return max(0.0, 2 * found - 1) if np.isfinite(found) else 0.0
    most = np.bincount(y).max() / len(y)
    right = float(np.mean(predicted.argmax(axis=1) == y))
    return max(0.0, (right - most) / (1 - most)) if most < 1 else 0.0
