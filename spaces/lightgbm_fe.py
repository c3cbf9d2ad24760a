"""LightGBM on generated columns: arithmetic, group statistics and crossed categories beside the table's own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldsmith.problem.tables import Table
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.generated import Generator
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.matrices import TreeFold
from foldsmith.spaces.scaling import Matrix


@dataclass(frozen=True)
class GeneratedEncoder:
    """The tree encoder's columns, then the generated ones."""

    base: TreeEncoder
    generator: Generator

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical columns."""
        return self.base.categorical

    @property
    def n_columns(self) -> int:
        """Columns of the encoded matrix."""
        return self.base.n_columns + self.generator.n_columns

    def transform(self, table: Table) -> Matrix:
        """``(n_rows, n_columns)`` float32."""
        matrix = self.base.transform(table)
        return np.hstack([matrix, self.generator.transform(matrix)])

    def save(self, folder: Path) -> None:
        """Write both parts."""
        self.base.save(folder)
        self.generator.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "GeneratedEncoder":
        """Read what ``save`` wrote."""
        return cls(TreeEncoder.load(folder), Generator.load(folder))


class LightGBMFE(LightGBM):
    """LightGBM with a generator before it."""

    name = "lightgbm_fe"
    prefix = "lgf"

    def matrices(self, task: FoldTask) -> TreeFold:
        base = TreeEncoder.fit(task.table, task.train_rows, seed=0)
        train = base.transform(task.table.take(task.train_rows))
        n_numbers = base.n_before_codes - base.text.n_outputs
        y = task.y[task.train_rows]
        generator, made = Generator.fit_transform(train, n_numbers, base.categorical, y, task.goal, seed=0)
        encoder = GeneratedEncoder(base, generator)
        return TreeFold(encoder, np.hstack([train, made]), encoder.transform(task.table.take(task.valid_rows)))

    def load_encoder(self, folder: Path) -> GeneratedEncoder:
        return GeneratedEncoder.load(folder)
