"""Forests of deep trees: extremely randomised (Geurts et al. 2006) and random forests (Breiman 2001)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.forest_columns import ForestEncoder, forest_matrix
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Float, Int, Param, Params, Space

N_TREES = 300
MANY_ROWS = 2500  # from here on fewer trees: each is stronger, and takes longer
BATCH = 25  # trees between two looks at the clock


def n_trees(n_train: float) -> int:
    """Trees for ``n_train`` rows, falling with their root to a third, in whole batches.

    The last two thirds are worth less than 0.001 AUC on 26,000 rows and 0.5 % of an RMSE on 32,000, and take two thirds
    of the time.

    >>> [n_trees(n) for n in (100, 2500, 10_000, 25_000, 1_000_000)]
    [300, 300, 150, 100, 100]
    """
    share = float(np.clip(np.sqrt(MANY_ROWS / max(1.0, n_train)), 1 / 3, 1))
    return max(1, round(N_TREES * share / BATCH)) * BATCH


@dataclass(frozen=True)
class CompactTrees:
    """The trees of a forest as flat arrays: about 11 bytes a node, written without pickle.

    scikit-learn numbers nodes depth first, so a left child always follows its parent and is not stored. Thresholds
    are rounded down to float32, which changes no decision: features are float32 and a node asks ``x <= threshold``.

    Args:
        starts: ``(n_trees + 1,)`` first node of each tree.
        right: ``(n_nodes,)`` right child within the tree, or ``-1 - leaf`` for a leaf.
        feature: ``(n_nodes,)`` column asked.
        threshold: ``(n_nodes,)`` float32.
        missing_left: ``(n_nodes,)`` whether a missing value goes left.
        values: ``(n_leaves, n_outputs)`` float32 chances or values.
    """

    starts: NDArray[np.int64]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    missing_left: NDArray[np.bool_]
    values: NDArray[np.float32]

    @classmethod
    def from_sklearn(cls, trees: list[Any], columns: NDArray[np.int64], n_outputs: int) -> "CompactTrees":
        """Flatten fitted ``sklearn.tree`` trees.

        Args:
            trees: the ``tree_`` of each estimator.
            columns: output column of each class known to the trees, ``(n_classes_seen,)``; -1 for a class whose
                chance is not an output (class 0 of two); ``[0]`` for regression.
            n_outputs: columns of ``values``.
        """
        parts: list[tuple[NDArray[Any], ...]] = []
        leaves, n_leaves = [], 0
        for tree in trees:
            left, right = tree.children_left, tree.children_right
            is_leaf = left < 0
            inner = np.flatnonzero(~is_leaf)
            assert (left[inner] == inner + 1).all(), "scikit-learn numbers nodes depth first"
            child = right.astype(np.int32)
            child[is_leaf] = -1 - (n_leaves + np.arange(is_leaf.sum()))
            n_leaves += int(is_leaf.sum())
            missing = tree.missing_go_to_left.astype(bool)
            parts.append((child, np.maximum(tree.feature, 0), _float32_below(tree.threshold), missing))
            leaves.append(_leaf_values(tree.value[is_leaf, 0, :], columns, n_outputs))
        right, feature, threshold, missing = (np.concatenate(part) for part in zip(*parts, strict=True))
        starts = np.cumsum([0] + [tree.node_count for tree in trees]).astype(np.int64)
        return cls(starts, right, feature.astype(np.int32), threshold, missing, np.concatenate(leaves))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def predict(self, matrix: Matrix) -> NDArray[np.float32]:
        """Mean over trees, ``(n_rows, n_outputs)``; one tree at a time is rebuilt, so memory stays small."""
        total = np.zeros((len(matrix), self.values.shape[1]), np.float64)
        matrix = np.ascontiguousarray(matrix)
        for number in range(len(self)):
            total += self.values[self._leaves(number, matrix)]
        return (total / len(self)).astype(np.float32)

    def _leaves(self, number: int, matrix: Matrix) -> NDArray[np.int64]:
        """Leaf of each row in one tree, ``(n_rows,)``, found by scikit-learn's own compiled walk."""
        from sklearn.tree._tree import NODE_DTYPE, Tree

        span = slice(self.starts[number], self.starts[number + 1])
        right = self.right[span]
        is_leaf = right < 0
        nodes = np.zeros(len(right), NODE_DTYPE)
        nodes["left_child"] = np.where(is_leaf, -1, np.arange(1, len(right) + 1))
        nodes["right_child"] = np.where(is_leaf, -1, right)
        nodes["feature"] = np.where(is_leaf, -2, self.feature[span])
        nodes["threshold"] = self.threshold[span]
        nodes["missing_go_to_left"] = self.missing_left[span]
        tree = Tree(matrix.shape[1], np.ones(1, np.intp), 1)
        tree.__setstate__(
            {"max_depth": 0, "node_count": len(nodes), "nodes": nodes, "values": np.zeros((len(nodes), 1, 1))}
        )
        return np.asarray(-1 - right[tree.apply(matrix)], np.int64)


def _float32_below(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each value."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)


def _leaf_values(values: NDArray[np.float64], columns: NDArray[np.int64], n_outputs: int) -> NDArray[np.float32]:
    """``(n_leaves, n_classes_seen)`` to ``(n_leaves, n_outputs)``: absent classes get a chance of zero."""
    placed = np.zeros((len(values), n_outputs), np.float32)
    kept = columns >= 0
    placed[:, columns[kept]] = values[:, kept]
    return placed


class FittedForest:
    """Compact trees and their encoder."""

    curve = None

    def __init__(self, trees: CompactTrees, encoder: ForestEncoder) -> None:
        self.facts: dict[str, Any] = {"device": "cpu", "n_trees": len(trees)}
        self._trees = trees
        self._encoder = encoder

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        return self._trees.predict(self._encoder.transform(table))

    def save(self, folder: Path) -> None:
        """Write ``trees.npz`` and the encoder."""
        np.savez(folder / "trees.npz", **vars(self._trees))
        self._encoder.save(folder)


class _Forest(Family):
    """What the two forests share: trees on the encoded matrix, codes as numbers and target means, NaN for missing."""

    stopping = "fixed"
    nodes_per_row = 1.0  # as a share of those of a tree on all rows

    def space(self, facts: Facts) -> Space:
        """Ranges after TabArena and pytabkit; the number of trees is fixed, more is never worse."""
        params: dict[str, Param] = {
            "max_features": Float(0.1, 1.0),
            "min_samples_leaf": Int(1, max(2, min(50, facts.n_rows // 10)), log=True),
        }
        if facts.goal.is_classification:
            params["criterion"] = Choice(("gini", "entropy"))
        return Space(f"{self.name}@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """Leaves of a few rows: chances of 0 and 1, which a leaf of one row gives, are costly in log loss.

        For values the best threshold of a random few columns is a poor one: forests of all or most columns.
        """
        if not facts.goal.is_classification:
            return [{"max_features": 0.7, "min_samples_leaf": 1}, {"max_features": 1.0, "min_samples_leaf": 2}]
        return [
            {"max_features": 0.7, "min_samples_leaf": 2 if facts.n_rows < 200 else 4, "criterion": "entropy"},
            {"max_features": 1.0, "min_samples_leaf": 2 if facts.n_rows < 1000 else 10, "criterion": "gini"},
        ]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The matrices and all trees, which exist twice for a moment: scikit-learn's and the compact ones."""
        n_rows = estimates.FIT_SHARE * facts.n_rows
        nodes = (
            n_rows * self.nodes_per_row * min(1.5 / cast(int, params["min_samples_leaf"]), _nodes_of_pure_leaves(facts))
        )
        node_bytes = 64 + 8 * max(1, facts.goal.n_classes) + 20 + 4 * facts.goal.n_outputs
        matrices = 7 * estimates.matrix_bytes(facts, estimates.n_tree_columns(facts))
        ram_bytes = (
            estimates.WORKER_BYTES
            + matrices
            + estimates.output_bytes(facts)
            + int(n_trees(n_rows) * nodes * node_bytes)
        )
        return Resources(ram_bytes=ram_bytes)

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Grow trees in batches until all are there or the deadline has passed; at least one batch."""
        encoder, matrix = forest_matrix(task)
        target = task.y[task.train_rows]
        wanted = n_trees(len(target))
        forest = self._estimator(task)
        stopped_by = "rounds"
        for n_grown in range(BATCH, wanted + 1, BATCH):
            forest.set_params(n_estimators=n_grown)
            forest.fit(matrix, target)
            if task.is_late and n_grown < wanted:
                stopped_by = "deadline"
                break
        columns = _class_columns(task.goal, getattr(forest, "classes_", np.zeros(1, np.int64)))
        trees = CompactTrees.from_sklearn([tree.tree_ for tree in forest.estimators_], columns, task.goal.n_outputs)
        fitted = FittedForest(trees, encoder)
        fitted.facts["stopped_by"] = stopped_by
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the trees and the encoder."""
        with np.load(folder / "trees.npz", allow_pickle=False) as stored:
            trees = CompactTrees(**{name: stored[name] for name in stored.files})
        return FittedForest(trees, ForestEncoder.load(folder))

    def _estimator(self, task: FoldTask) -> Any:
        """The scikit-learn forest, not fitted."""
        raise NotImplementedError


class ExtraTrees(_Forest):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006): random thresholds, every tree sees all rows."""

    name = "extra_trees"
    prefix = "xt"

    def _estimator(self, task: FoldTask) -> Any:
        from sklearn import ensemble

        kind = ensemble.ExtraTreesClassifier if task.goal.is_classification else ensemble.ExtraTreesRegressor
        return kind(**task.params, warm_start=True, n_jobs=task.threads, random_state=task.seed % 2**32)


class RandomForest(_Forest):
    """Random forest (Breiman 2001): best thresholds among some columns, every tree on a bootstrap sample."""

    name = "random_forest"
    prefix = "rf"
    nodes_per_row = 0.65  # a bootstrap sample has 63 % of the rows

    def space(self, facts: Facts) -> Space:
        """The shared ranges and the share of rows that a tree draws."""
        return Space("random_forest@1", {**super().space(facts).params, "max_samples": Float(0.5, 1.0)})

    def defaults(self, facts: Facts) -> list[Params]:
        """Full bootstrap samples and, for classes, few columns a split; then half samples of more columns, quicker."""
        if not facts.goal.is_classification:
            return [
                {"max_features": 0.7, "min_samples_leaf": 2, "max_samples": 1.0},
                {"max_features": 1.0, "min_samples_leaf": 1, "max_samples": 0.5},
            ]
        first, second = super().defaults(facts)
        return [
            {**first, "max_features": _square_root_share(facts), "max_samples": 1.0},
            {**second, "max_features": 0.4, "max_samples": 0.5, "criterion": "entropy"},
        ]

    def _estimator(self, task: FoldTask) -> Any:
        from sklearn import ensemble

        kind = ensemble.RandomForestClassifier if task.goal.is_classification else ensemble.RandomForestRegressor
        return kind(**task.params, bootstrap=True, warm_start=True, n_jobs=task.threads, random_state=task.seed % 2**32)


def _nodes_of_pure_leaves(facts: Facts) -> float:
    """Nodes per row of a tree grown to the end: the fewer values a target has, the sooner a leaf has only one."""
    return {"binary": 0.75, "multiclass": 1.2, "regression": 2.0}[facts.goal.kind]


def _class_columns(goal: Goal, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Output column per class that the trees know; binary outputs the chance of class 1 only."""
    codes = np.asarray(classes, np.int64)
    return codes - 1 if goal.kind == "binary" else codes


def _square_root_share(facts: Facts) -> float:
    """The square root of the number of columns, Breiman's choice for classes, as a share; at least a fifth."""
    return float(np.clip(1 / np.sqrt(max(1, estimates.n_tree_columns(facts))), 0.2, 1.0))
