"""Encoded matrices made block by block are those made at once."""

import numpy as np
import pytest

from foldsmith.spaces import matrices
from foldsmith.spaces.encoding import DenseEncoder, TreeEncoder
from foldsmith.spaces.matrices import dense_matrices, encoded, encoded_blocks, tree_matrices
from foldsmith.spaces.toy import make_problem


@pytest.mark.parametrize("kind", [TreeEncoder, DenseEncoder])
def test_blocks_put_together_are_the_whole(kind: type[TreeEncoder] | type[DenseEncoder]) -> None:
    problem = make_problem(n_rows=3000)
    encoder = kind.fit(problem.table, problem.train_rows, seed=0)
    whole = encoder.transform(problem.table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrices, "BLOCK_CELLS", 1)
        blocks = [block for block, _ in encoded_blocks(encoder, problem.table)]
        assert [block.stop - block.start for block in blocks] == [1024, 1024, 952]
        np.testing.assert_array_equal(encoded(encoder, problem.table), whole)
        rows = np.arange(1, 3000, 2)
        np.testing.assert_array_equal(encoded(encoder, problem.table, rows), whole[rows])
    assert encoded(encoder, problem.table, rows[:0]).shape == (0, encoder.n_columns)


def test_a_folds_matrices_are_those_of_its_rows() -> None:
    problem = make_problem()
    task = problem.task({})
    trees, dense = tree_matrices(task), dense_matrices(task, "standard")
    np.testing.assert_array_equal(trees.valid, trees.encoder.transform(problem.table.take(problem.valid_rows)))
    plain = np.delete(dense.encoder.transform(problem.table.take(problem.train_rows)), dense.encoder.means_columns, 1)
    np.testing.assert_array_equal(np.delete(dense.train, dense.encoder.means_columns, axis=1), plain)
    assert tree_matrices(task) is trees
