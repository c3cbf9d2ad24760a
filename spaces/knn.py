"""Nearest neighbours (Fix & Hodges 1951; Cover & Hart 1967): weak alone, but unlike every other family in a blend."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import dense_matrices, encoded_blocks
from foldsmith.spaces.scaling import Matrix, Scaling
from foldsmith.spaces.space import Choice, Int, Params, Space

MAX_STORED_ROWS = 50_000
MIN_STORED_ROWS = 2000
BUDGET = 2e12  # operations of a fold's predictions: a minute on one core
COMPARISON = {1: 32, 2: 2}  # operations per column of a city-block distance, or of a Euclidean one by a matrix product
N_BINS = 16
BLOCK = 4096  # rows predicted at a time
NEIGHBOUR_BYTES = 48  # of a neighbour while it votes: distance, row, label, weight and what is made of them
TREE_COLUMNS = 12  # a k-d tree pays up to about here
WIDE_COLUMNS = 48  # a wider matrix is projected on its
N_COMPONENTS = 32  # principal components: most of what distances are made of, at half to a tenth of the time
PCA_ROWS = 8000  # that they are found on
CITY_BLOCK_STEPS = 1e10  # differences of two numbers, some seconds; no matrix product finds these distances


@dataclass(frozen=True)
class Vote:
    """How neighbours become a prediction.

    Args:
        n_classes: of the target; 0 for values.
        n_outputs: columns of a prediction.
        median: values only: the weighted median instead of the mean, for absolute loss.
        k: neighbours asked.
        by_distance: nearer neighbours weigh more, by the inverse of their distance.
        p: 1 for city-block distance, 2 for Euclidean.
    """

    n_classes: int
    n_outputs: int
    median: bool
    k: int
    by_distance: bool
    p: int

    def weights(self, distances: Matrix) -> Matrix:
        """``(n_rows, k)``, mean one in each row; rows at distance zero take everything, as in scikit-learn."""
        if not self.by_distance:
            return np.ones_like(distances)
        zero = distances <= 1e-7
        inverse = np.where(zero.any(axis=1, keepdims=True), zero, 1 / np.maximum(distances, 1e-7))
        return np.asarray(inverse / inverse.mean(axis=1, keepdims=True), np.float32)

    def chances(self, labels: NDArray[Any], weights: Matrix, prior: Matrix) -> Matrix:
        """``(n_rows, n_outputs)`` weighted shares of the classes.

        The class shares of the train rows count as one more neighbour, so that no chance is zero (log loss).
        """
        votes = np.stack([(weights * (labels == code)).sum(axis=1) for code in range(self.n_classes)], axis=1)
        shares = (votes + prior) / (weights.sum(axis=1, keepdims=True) + 1)
        return np.asarray(shares[:, 1:] if self.n_outputs == 1 else shares, np.float32)

    def values(self, labels: NDArray[Any], weights: Matrix) -> Matrix:
        """``(n_rows, 1)`` weighted means or medians."""
        if not self.median:
            return np.asarray(
                (weights * labels).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True), np.float32
            )
        order = np.argsort(labels, axis=1, kind="stable")
        reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        middle = (reached >= reached[:, -1:] / 2).argmax(axis=1)
        ranked = np.take_along_axis(labels, order, axis=1)
        return np.take_along_axis(ranked, middle[:, None], axis=1)


@dataclass(frozen=True)
class Neighbourhood:
    """The stored train rows.

    Args:
        matrix: ``(n_stored, n_kept)`` encoded rows, projected.
        labels: ``(n_stored,)`` class codes or values.
        projection: ``(n_columns, n_kept)``: column weights on the diagonal, or times the principal components.
        prior: ``(n_classes,)`` class shares; empty for values.
    """

    matrix: Matrix
    labels: NDArray[Any]
    projection: Matrix
    prior: Matrix


class FittedKNN:
    """The stored train rows and how their labels vote."""

    curve = None

    def __init__(self, rows: Neighbourhood, vote: Vote, encoder: DenseEncoder, threads: int = 1) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.facts: dict[str, Any] = {"device": "cpu", "n_stored_rows": len(rows.labels), "k": vote.k}
        self._rows, self._vote, self._encoder, self._threads = rows, vote, encoder, threads
        algorithm = "kd_tree" if rows.matrix.shape[1] <= TREE_COLUMNS else "brute"
        self._index = NearestNeighbors(n_neighbors=vote.k, p=vote.p, algorithm=algorithm).fit(rows.matrix)

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        out = np.zeros((table.n_rows, self._vote.n_outputs), np.float32)
        for rows, encoded in encoded_blocks(self._encoder, table):
            matrix = encoded @ self._rows.projection
            for start in range(0, len(matrix), BLOCK):
                with threadpool_limits(self._threads):  # scikit-learn would take every core here
                    distances, neighbours = self._index.kneighbors(matrix[start : start + BLOCK])
                first = rows.start + start
                out[first : first + len(neighbours)] = self._ask(distances, neighbours)
        return out

    def _ask(self, distances: Matrix, neighbours: NDArray[np.int64]) -> Matrix:
        """``(n_rows, n_outputs)``: what the neighbours of some rows vote."""
        weights, labels = self._vote.weights(distances), self._rows.labels[neighbours]
        if self._vote.n_classes:
            return self._vote.chances(labels, weights, self._rows.prior)
        return self._vote.values(labels, weights)

    def save(self, folder: Path) -> None:
        """Write ``rows.npz`` and the encoder."""
        vote: dict[str, Any] = {f"vote_{name}": np.array(value) for name, value in vars(self._vote).items()}
        np.savez(folder / "rows.npz", **vars(self._rows), **vote)
        self._encoder.save(folder)


class KNN(Family):
    """k nearest neighbours on scaled columns; ranges after TabArena and mljar."""

    name = "knn"
    prefix = "knn"
    is_seeded = False

    def space(self, facts: Facts) -> Space:
        """At most 500 neighbours, and never more than a third of the rows; city-block distance on small tables only."""
        return Space(
            "knn@2",
            {
                "k": Int(1, _most_neighbours(facts), log=True),
                "weights": Choice(("uniform", "distance")),
                "p": Choice((1, 2) if _is_small(facts) else (2,)),
                "numeric": Choice(("standard", "quantile")),
                "columns": Choice(("equal", "relevance")),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """City-block distance where it is quick, then Euclidean, of columns that matter and of plain ones.

        Chances want more neighbours than values, and the more the more rows.
        """
        k = int(np.clip(np.sqrt(facts.n_rows) / 2, 20, 100)) if facts.goal.is_classification else 7
        first: Params = {"k": min(k, _most_neighbours(facts)), "weights": "distance", "p": 2}
        weighted: Params = {**first, "numeric": "quantile", "columns": "relevance"}
        plain: Params = {**first, "numeric": "standard", "columns": "equal"}
        return [{**weighted, "p": 1}, weighted, plain] if _is_small(facts) else [weighted, plain]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The matrices, and the neighbours of one block of rows."""
        scaling: Any = params["numeric"]
        stored = replace(facts, n_rows=min(facts.n_rows, MAX_STORED_ROWS))
        matrices = 7 * estimates.matrix_bytes(stored, estimates.n_dense_columns(facts, scaling))
        votes = BLOCK * cast(int, params["k"]) * NEIGHBOUR_BYTES
        return Resources(ram_bytes=estimates.WORKER_BYTES + matrices + votes + estimates.output_bytes(facts))

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Store the train rows, or a drawn part of them when there are more than fit."""
        scaling: Any = task.params["numeric"]
        n_train_rows = len(task.train_rows)
        n_stored = _n_bearable(task, scaling)
        if n_train_rows > n_stored:
            drawn = np.sort(np.random.default_rng(task.seed).permutation(n_train_rows)[:n_stored])
            key = f"{task.fold_key}/{n_stored} drawn by {task.seed}"
            task = replace(task, train_rows=task.train_rows[drawn], fold_key=key)
        fold = dense_matrices(task, scaling)
        target = task.y[task.train_rows]
        rows = _neighbourhood(fold.train, target, task)
        fitted = FittedKNN(rows, _vote(task, len(target)), fold.encoder, task.threads)
        fitted.facts["n_train_rows"] = n_train_rows
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the stored rows and the encoder."""
        with np.load(folder / "rows.npz", allow_pickle=False) as stored:
            vote = Vote(**{name[5:]: stored[name].item() for name in stored.files if name.startswith("vote_")})
            rows = Neighbourhood(**{name: stored[name] for name in stored.files if not name.startswith("vote_")})
        return FittedKNN(rows, vote, DenseEncoder.load(folder))


def _is_small(facts: Facts) -> bool:
    return float(facts.n_rows) ** 2 * estimates.n_dense_columns(facts, "standard") <= CITY_BLOCK_STEPS


def _most_neighbours(facts: Facts) -> int:
    return max(1, min(500, facts.n_rows // 3))


def _components(matrix: Matrix, n_kept: int, seed: int) -> Matrix:
    """``(n_columns, n_kept)`` leading principal components of some rows: distances along them are most of the whole."""
    from scipy.linalg import eigh

    rows = np.random.default_rng(seed).permutation(len(matrix))[:PCA_ROWS]
    some = matrix[np.sort(rows)].astype(np.float64)
    covariance = np.cov(some, rowvar=False)
    n_columns = len(covariance)
    _, vectors = eigh(covariance, subset_by_index=[n_columns - n_kept, n_columns - 1])
    return np.asarray(vectors, np.float32)


def _n_bearable(task: FoldTask, scaling: Scaling) -> int:
    """Rows to store, at most: every row predicted is compared with all of them, in all columns or components.

    As many test rows as validation rows are expected.
    """
    n_columns = estimates.n_dense_columns(Facts(task.goal, task.table.schema, task.table.n_rows), scaling)
    if task.params["p"] == 2 and n_columns > WIDE_COLUMNS:
        n_columns = N_COMPONENTS
    if n_columns <= TREE_COLUMNS:
        return MAX_STORED_ROWS
    per_stored_row = COMPARISON[cast(int, task.params["p"])] * n_columns * 2 * max(1, len(task.valid_rows))
    return int(np.clip(BUDGET / per_stored_row, MIN_STORED_ROWS, MAX_STORED_ROWS))


def column_relevance(matrix: Matrix, target: NDArray[Any], goal: Goal) -> Matrix:
    """Square root of each column's correlation ratio with the target, ``(n_columns,)``, at least 0.05.

    The correlation ratio (Pearson 1905) is the share of the target's variance that lies between the column's quantile
    bins; the share that bins of noise would have is taken off.
    """
    wanted = np.eye(goal.n_classes)[target] if goal.is_classification else target[:, None]
    wanted = wanted - wanted.mean(axis=0)
    total = max(float((wanted**2).sum()), 1e-12)
    ratios = np.zeros(matrix.shape[1])
    for number, column in enumerate(matrix.T):
        edges = np.unique(np.quantile(column, np.linspace(0, 1, N_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, column)
        counts = np.maximum(np.bincount(bins, minlength=len(edges) + 1), 1)
        sums = np.stack([np.bincount(bins, part, len(edges) + 1) for part in wanted.T])
        ratios[number] = (sums**2 / counts).sum() / total - len(edges) / len(column)
    return np.sqrt(np.maximum(ratios, 0.05**2)).astype(np.float32)


def _neighbourhood(matrix: Matrix, target: NDArray[Any], task: FoldTask) -> Neighbourhood:
    goal = task.goal
    weights = np.ones(matrix.shape[1], np.float32)
    if task.params["columns"] == "relevance":
        weights = column_relevance(matrix, target, goal)
    prior = np.bincount(target, minlength=goal.n_classes) / len(target) if goal.is_classification else np.zeros(0)
    projection = np.diag(weights)
    if len(weights) > WIDE_COLUMNS and task.params["p"] == 2:
        projection = weights[:, None] * _components(matrix * weights, N_COMPONENTS, task.seed)
    return Neighbourhood(matrix @ projection, target, projection, prior.astype(np.float32))


def _vote(task: FoldTask, n_stored: int) -> Vote:
    goal: Goal = task.goal
    k, p = task.params["k"], task.params["p"]
    assert isinstance(k, int) and isinstance(p, int), "the space says so"
    return Vote(
        n_classes=goal.n_classes if goal.is_classification else 0,
        n_outputs=goal.n_outputs,
        median=goal.loss == "absolute",
        k=min(k, max(1, n_stored)),
        by_distance=task.params["weights"] == "distance",
        p=p,
    )
