"""The encoded matrices of one fold, made once per worker: they depend on the rows alone, not on the parameters."""

from dataclasses import dataclass

from foldsmith.spaces.encoding import DenseEncoder, TreeEncoder
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.scaling import Matrix, Scaling


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


def tree_matrices(task: FoldTask) -> TreeFold:
    """Numbers, date parts, text components and category codes; missing values are NaN."""

    def make() -> TreeFold:
        encoder = TreeEncoder.fit(task.table, task.train_rows, seed=0)
        train = encoder.transform(task.table.take(task.train_rows))
        return TreeFold(encoder, train, encoder.transform(task.table.take(task.valid_rows)))

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
        train = encoder.transform(task.table.take(task.train_rows))
        train[:, encoder.means_columns] = means  # where a row's own label stood in them
        return DenseFold(encoder, train)

    found: DenseFold = task.cache.get(
        ("dense matrices", scaling, task.fold_key, task.goal), make, lambda fold: fold.train.nbytes
    )
    return found
