"""What forests are grown on: the tree encoder's columns, codes as numbers, and target means of the levels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldsmith.problem.tables import Table
from foldsmith.spaces.encoding import MANY_LEVELS, TreeEncoder
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.level_means import LevelMeans
from foldsmith.spaces.matrices import tree_matrices
from foldsmith.spaces.scaling import Matrix


@dataclass(frozen=True)
class ForestEncoder:
    """The base encoder's columns, then target means: a tree that splits codes as numbers needs an order of levels.

    The codes stay: where names of levels sort in a meaningful order, or a level differs from both its neighbours in
    the target's mean, they tell more.
    """

    base: TreeEncoder
    means: LevelMeans

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.base.n_columns + self.means.n_outputs

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32, NaN for missing numbers and codes."""
        return np.hstack([self.base.transform(table), self.means.transform(table.codes)])

    def save(self, folder: Path) -> None:
        """Write both parts."""
        self.base.save(folder)
        np.savez(folder / "level_means.npz", **self.means.arrays())

    @classmethod
    def load(cls, folder: Path) -> "ForestEncoder":
        """Read what ``save`` wrote."""
        with np.load(folder / "level_means.npz", allow_pickle=False) as stored:
            return cls(TreeEncoder.load(folder), LevelMeans.from_arrays(stored))


def forest_matrix(task: FoldTask) -> tuple[ForestEncoder, Matrix]:
    """The encoder and the train rows' matrix ``(n_train, n_columns)``, their target means cross-fitted; read only."""

    def make() -> tuple[ForestEncoder, Matrix]:
        fold = tree_matrices(task)
        codes = np.asarray(task.table.codes[task.train_rows])
        many = [c for c in fold.encoder.codes if len(np.unique(codes[:, c])) > MANY_LEVELS]
        y = task.y[task.train_rows]
        means, crossed = LevelMeans.fit_transform(codes, np.array(many, np.int64), y, task.goal, seed=0)
        return ForestEncoder(fold.encoder, means), np.hstack([fold.train, crossed])

    found: tuple[ForestEncoder, Matrix] = task.cache.get(
        ("forest matrix", task.fold_key, task.goal), make, lambda made: made[1].nbytes
    )
    return found
