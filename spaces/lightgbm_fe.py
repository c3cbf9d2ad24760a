"""LightGBM on generated columns: arithmetic, group statistics and crossed categories beside the table's own."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import TreeColumns, TreeEncoder
from foldsmith.spaces.family import Facts, FoldTask, Resources
from foldsmith.spaces.generated import CANDIDATE_BYTES, Generator, n_generated
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Float, Int, Params, Space

SMALL_ROWS = 2500


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
    """Small trees on many columns.

    What is generated depends on the fold's train rows alone, so that all trials of a fold share one binned matrix.
    """

    name = "lightgbm_fe"
    prefix = "lgf"

    def space(self, facts: Facts) -> Space:
        """LightGBM's, with smaller trees and fewer columns per tree."""
        narrowed: dict[str, Any] = {
            "num_leaves": Int(4, 64, log=True),
            "feature_fraction": Float(0.1, 0.8),
        }
        return Space("lightgbm_fe@1", {**super().space(facts).params, **narrowed})

    def defaults(self, facts: Facts) -> list[Params]:
        """Small trees on few columns each: best thresholds first on small tables, random ones on larger.

        Chosen on six public tables, where neither was always better, nor always better than LightGBM's defaults.
        """
        base: Params = {**super().defaults(facts)[0], "learning_rate": 0.05}
        best: Params = {**base, "num_leaves": 16, "feature_fraction": 0.3, "extra_trees": False}
        random: Params = {**base, "num_leaves": 12, "feature_fraction": 0.4, "extra_trees": True}
        return [best, random] if facts.n_rows < SMALL_ROWS else [random, best]

    def n_columns(self, facts: Facts) -> int:
        """LightGBM's and the generated ones."""
        return super().n_columns(facts) + n_generated(int(estimates.FIT_SHARE * facts.n_rows))

    def resources(self, facts: Facts, params: Params) -> Resources:
        """LightGBM's, and the candidates while the best are chosen."""
        boosting = super().resources(facts, params)
        return replace(boosting, ram_bytes=boosting.ram_bytes + CANDIDATE_BYTES)

    def matrices(self, task: FoldTask) -> tuple[TreeColumns, Matrix, Matrix]:
        """The train rows' generated columns are cross-fitted: they are not ``transform`` of these rows."""
        base = TreeEncoder.fit(task.table, task.train_rows, seed=0)
        train = base.transform(task.table.take(task.train_rows))
        y = task.y[task.train_rows]
        generator, made = Generator.fit_transform(train, base.n_numbers, base.categorical, y, task.goal, seed=0)
        encoder = GeneratedEncoder(base, generator)
        return encoder, np.hstack([train, made]), encoder.transform(task.table.take(task.valid_rows))

    def load_encoder(self, folder: Path) -> TreeColumns:
        """The encoder of :meth:`matrices`, as it was saved."""
        return GeneratedEncoder.load(folder)
