"""Generated columns: arithmetic on numbers, statistics inside groups, crossed categories; fitted on train rows only.

After the "prep" LightGBM of AutoGluon 1.5 as an idea: many random candidates, of which the best few stay. Here they
are drawn and judged on a sample of the train rows, and only what was chosen is made for all rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces.arithmetic import Formulas, draw_formulas, evaluate
from foldsmith.spaces.crosses import Crosses, draw_crosses
from foldsmith.spaces.group_statistics import GroupStatistics, draw_statistics
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.selection import select
from foldsmith.spaces.target_encoding import Levels, inner_folds, target_columns

N_FORMULAS = 300  # candidates of each kind
N_STATISTICS = 100
N_CROSSES = 60  # combinations of columns; each gives a column per target and one for the frequency
MOST_CROSSED = 300  # columns of combinations, so that many classes do not bring many more
SAMPLE_ROWS = 10_000  # that candidates are judged on
MAX_COLUMNS = 60
MAX_CELLS = 40_000_000  # of the generated matrix: 160 MB
CANDIDATE_BYTES = 120 << 20  # all candidates of the sample, their ranks, and the booster that judges them
MOST_VALUES = 50  # of a numeric column that can serve as a category too


def n_generated(n_rows: int) -> int:
    """How many generated columns a table of ``n_rows`` may get; the fewer rows, the less a choice among many is worth.

    >>> [n_generated(n) for n in (100, 1000, 10_000, 100_000, 1_000_000)]
    [10, 31, 60, 60, 40]
    """
    return int(min(MAX_COLUMNS, np.sqrt(n_rows), MAX_CELLS // max(1, n_rows)))


@dataclass(frozen=True)
class Sources:
    """Where an encoded matrix has its numbers and categories.

    Args:
        n_numbers: the first columns are numbers.
        codes: ``(n_codes,)`` positions of category codes, NaN for missing.
        discrete: ``(n_discrete,)`` positions of numbers with few distinct values, categories as well.
        values: for each of those its distinct values, ascending.
    """

    n_numbers: int
    codes: NDArray[np.int64]
    discrete: NDArray[np.int64]
    values: tuple[Matrix, ...]

    @classmethod
    def fit(cls, matrix: Matrix, n_numbers: int, codes: list[int]) -> "Sources":
        """Find the discrete columns among the numbers."""
        distinct = [_few_values(matrix[:, column]) for column in range(n_numbers)]
        discrete = np.array([column for column, values in enumerate(distinct) if values is not None], np.int64)
        values = tuple(found for found in distinct if found is not None)
        return cls(n_numbers, np.asarray(codes, np.int64), discrete, values)

    def numbers(self, matrix: Matrix) -> Matrix:
        """``(n_rows, n_numbers)``."""
        return matrix[:, : self.n_numbers]

    def levels(self, matrix: Matrix) -> Levels:
        """``(n_rows, n_codes + n_discrete)``: 0 for missing and for a number that train does not have."""
        out = np.zeros((len(matrix), len(self.codes) + len(self.discrete)), np.int32)
        out[:, : len(self.codes)] = np.nan_to_num(matrix[:, self.codes], nan=-1.0) + 1
        for place, (column, values) in enumerate(zip(self.discrete, self.values, strict=True), len(self.codes)):
            found = np.minimum(np.searchsorted(values, matrix[:, column]), len(values) - 1)
            out[:, place] = np.where(values[found] == matrix[:, column], found + 1, 0)
        return out

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        values = {f"values_{place:05d}": array for place, array in enumerate(self.values)}
        return {"n_numbers": self.n_numbers, "codes": self.codes, "discrete": self.discrete, **values}

    @classmethod
    def from_arrays(cls, stored: Any) -> "Sources":
        """Read what ``arrays`` named, from a mapping with more keys perhaps."""
        values = tuple(stored[f"values_{place:05d}"] for place in range(len(stored["discrete"])))
        return cls(int(stored["n_numbers"]), stored["codes"], stored["discrete"], values)


@dataclass(frozen=True)
class Generator:
    """Makes the chosen columns for any matrix of the same encoder; the parts stand side by side."""

    sources: Sources
    formulas: Formulas
    statistics: GroupStatistics
    crosses: Crosses

    @classmethod
    def fit_transform(
        cls, matrix: Matrix, n_numbers: int, codes: list[int], y: NDArray[Any], goal: Goal, seed: int
    ) -> tuple["Generator", Matrix]:
        """Choose columns and make them for the rows that they are fitted on.

        The matrix returned is not ``transform`` of the same rows: there, a row's own label is in its target encoding.

        Args:
            matrix: ``(n_train, n_columns)`` float32.
            n_numbers: the first columns are numbers.
            codes: positions of category codes.
            y: ``(n_train,)`` class codes or values.
            goal: what is fitted.
            seed: of the candidates, the sample and the inner folds.
        """
        sources = Sources.fit(matrix, n_numbers, codes)
        rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:SAMPLE_ROWS])
        plan = _Plan.draw(sources, sources.levels(matrix[rows]), y, goal, seed)
        _, candidates = plan.fit(sources, matrix[rows], y[rows], goal, seed)
        targets = target_columns(y[rows], goal)
        chosen = select(matrix[rows], candidates, y[rows], targets, goal, n_generated(len(y)), seed)
        return plan.take(chosen).fit(sources, matrix, y, goal, seed)

    @property
    def n_columns(self) -> int:
        """Columns that ``transform`` makes."""
        return len(self.formulas) + len(self.statistics.specs) + len(self.crosses.specs)

    def transform(self, matrix: Matrix) -> Matrix:
        """``(n_rows, n_columns)`` float32."""
        numbers, levels = self.sources.numbers(matrix), self.sources.levels(matrix)
        parts = evaluate(self.formulas, numbers), self.statistics.transform(levels, numbers)
        return np.hstack([*parts, self.crosses.transform(levels)])

    def save(self, folder: Path) -> None:
        """Write ``generator.npz``."""
        state = {"formulas": self.formulas, **self.sources.arrays(), **self.statistics.arrays()}
        np.savez(folder / "generator.npz", **state, **self.crosses.arrays())

    @classmethod
    def load(cls, folder: Path) -> "Generator":
        """Read what ``save`` wrote."""
        with np.load(folder / "generator.npz", allow_pickle=False) as file:
            stored = dict(file)
        parts = GroupStatistics.from_arrays(stored), Crosses.from_arrays(stored)
        return cls(Sources.from_arrays(stored), stored["formulas"], *parts)


@dataclass(frozen=True)
class _Plan:
    """Columns to make, as data: what each part calls its specs."""

    formulas: Formulas
    statistics: NDArray[np.int64]
    crosses: NDArray[np.int64]

    @classmethod
    def draw(cls, sources: Sources, levels: Levels, y: NDArray[Any], goal: Goal, seed: int) -> "_Plan":
        n_targets = target_columns(y[:1], goal).shape[1]
        sizes = levels.max(axis=0, initial=0).astype(np.int64) + 1
        return cls(
            draw_formulas(sources.n_numbers, N_FORMULAS, seed),
            draw_statistics(levels.shape[1], sources.n_numbers, N_STATISTICS, seed),
            draw_crosses(sizes, min(N_CROSSES, MOST_CROSSED // (n_targets + 1)), n_targets, seed),
        )

    def take(self, columns: NDArray[np.int64]) -> "_Plan":
        """The plan for some of the columns, ascending."""
        first = len(self.formulas)
        second = first + len(self.statistics)
        formulas, rest = columns[columns < first], columns[columns >= first]
        statistics, crosses = rest[rest < second] - first, rest[rest >= second] - second
        return _Plan(self.formulas[formulas], self.statistics[statistics], self.crosses[crosses])

    def fit(self, sources: Sources, matrix: Matrix, y: NDArray[Any], goal: Goal, seed: int) -> tuple[Generator, Matrix]:
        """The fitted generator and its columns for the rows of ``matrix``, cross-fitted."""
        numbers, levels = sources.numbers(matrix), sources.levels(matrix)
        statistics = GroupStatistics.fit(self.statistics, levels, numbers, seed)
        folds = inner_folds(y, seed)
        crosses, crossed = Crosses.fit_transform(self.crosses, levels, target_columns(y, goal), folds)
        columns = evaluate(self.formulas, numbers), statistics.transform(levels, numbers), crossed
        return Generator(sources, self.formulas, statistics, crosses), np.hstack(columns)


def _few_values(column: Matrix) -> Matrix | None:
    """The distinct values of a column with few; None for a column with many, or with one."""
    values = np.unique(column[:1000])
    if np.count_nonzero(~np.isnan(values)) > MOST_VALUES:
        return None
    values = np.unique(column)
    values = values[~np.isnan(values)]
    return values if 2 <= len(values) <= MOST_VALUES else None
