"""The encoded matrices of one fold, made once per worker: they depend on the rows alone, not on the parameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces.encoding import DenseEncoder, TreeEncoder
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.scaling import Matrix, Scaling

BLOCK_CELLS = 1 << 24  # of an encoded matrix, made at a time: what encoders need beside it stays small


class _Encoder(Protocol):
    @property
    def n_columns(self) -> int: ...

    def transform(self, table: Table) -> Matrix: ...


@dataclass(frozen=True)
class TreeFold:
    """Matrices for trees: ``train`` ``(n_train, n_columns)``, ``valid`` ``(n_valid, n_columns)``; read only."""

    encoder: TreeEncoder
    train: Matrix
    valid: Matrix


@dataclass(frozen=True)
class DenseFold:
    """The matrix for linear models, distances and nets: ``train`` ``(n_train, n_columns)``; read only."""

    encoder: DenseEncoder
    train: Matrix


def encoded(encoder: _Encoder, table: Table, rows: NDArray[np.int64] | None = None) -> Matrix:
    """``(n_rows, n_columns)`` of these rows, all of them by default; only some blocks exist twice."""
    n_rows = table.n_rows if rows is None else len(rows)
    out = np.empty((n_rows, encoder.n_columns), np.float32)
    for block, matrix in encoded_blocks(encoder, table, rows):
        out[block] = matrix
    return out


def encoded_blocks(
    encoder: _Encoder, table: Table, rows: NDArray[np.int64] | None = None
) -> Iterator[tuple[slice, Matrix]]:
    """The encoded rows in blocks, each with its place; for what needs no whole matrix."""
    n_rows = table.n_rows if rows is None else len(rows)
    step = max(1024, BLOCK_CELLS // max(1, encoder.n_columns))
    if rows is None and n_rows <= step:
        yield slice(0, n_rows), encoder.transform(table)
        return
    for start in range(0, n_rows, step):
        block = slice(start, min(start + step, n_rows))
        part = np.arange(block.start, block.stop) if rows is None else rows[block]
        yield block, encoder.transform(table.take(part))


def tree_matrices(task: FoldTask) -> TreeFold:
    """Numbers, date parts, text components and category codes; missing values are NaN."""

    def make() -> TreeFold:
        encoder = TreeEncoder.fit(task.table, task.train_rows, seed=0)
        train = encoded(encoder, task.table, task.train_rows)
        return TreeFold(encoder, train, encoded(encoder, task.table, task.valid_rows))

    found: TreeFold = task.cache.get(
        ("tree matrices", task.fold_key), make, lambda fold: fold.train.nbytes + fold.valid.nbytes
    )
    return found


def dense_matrices(task: FoldTask, scaling: Scaling) -> DenseFold:
    """Scaled numbers, cross-fitted target means, missing indicators and one-hot levels; no missing values."""

    def make() -> DenseFold:
        encoder, means = DenseEncoder.fit_with_target(
            task.table, task.train_rows, task.y, task.goal, seed=0, scaling=scaling
        )
        train = encoded(encoder, task.table, task.train_rows)
        train[:, encoder.means_columns] = means  # where a row's own label stood in them
        return DenseFold(encoder, train)

    found: DenseFold = task.cache.get(
        ("dense matrices", scaling, task.fold_key, task.goal), make, lambda fold: fold.train.nbytes
    )
    return found
