"""Linear models with an L2 penalty: logistic regression, ridge regression and least absolute deviations."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Task
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import dense_matrices, encoded_blocks
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Float, Params, Space

Weights = NDArray[np.float64]

MAX_ITERATIONS = 300  # of L-BFGS
REWEIGHTINGS = 30
BLOCK_CELLS = 1 << 18  # of the matrix turned into float64 at a time: 2 MB stay in the cache


@dataclass(frozen=True)
class LinearModel:
    """``matrix @ weights + intercept``, then the link of the kind.

    Args:
        kind: ``"binary"`` applies the logistic function, ``"multiclass"`` the softmax, ``"regression"`` nothing.
        weights: ``(n_columns, n_outputs)``.
        intercept: ``(n_outputs,)``; minus infinity for a class without train rows.
    """

    kind: Task
    weights: Weights
    intercept: Weights

    def predict(self, matrix: Matrix) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``."""
        from scipy.special import expit, softmax

        scores = matrix @ self.weights + self.intercept
        if self.kind == "binary":
            scores = expit(scores)
        elif self.kind == "multiclass":
            scores = softmax(scores, axis=1)
        return scores.astype(np.float32)


class FittedLinear:
    """A linear model and its encoder."""

    curve = None

    def __init__(self, model: LinearModel, encoder: DenseEncoder) -> None:
        self.facts: dict[str, Any] = {"device": "cpu", "n_columns": encoder.n_columns}
        self._model = model
        self._encoder = encoder

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        out = np.empty((table.n_rows, len(self._model.intercept)), np.float32)
        for block, matrix in encoded_blocks(self._encoder, table):
            out[block] = self._model.predict(matrix)
        return out

    def save(self, folder: Path) -> None:
        """Write ``linear.npz`` and the encoder."""
        model = self._model
        np.savez(folder / "linear.npz", kind=np.array(model.kind), weights=model.weights, intercept=model.intercept)
        self._encoder.save(folder)


class Linear(Family):
    """Regularised linear model; ranges of C after TabArena and pytabkit.

    ``numeric="pieces"`` makes it additive and piecewise linear in every numeric column: the strongest of the three
    on most tables, and still a model unlike boosted trees.
    """

    name = "linear"
    prefix = "lin"
    is_seeded = False

    def space(self, facts: Facts) -> Space:
        """``C`` is the inverse penalty, on standardised targets in regression."""
        return Space(
            "linear@1",
            {"C": Float(1e-4, 1e3, log=True), "numeric": Choice(("standard", "quantile", "pieces"))},
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """Pieces first, plain columns first for classes with few rows; then pieces with ten times the penalty."""
        few = facts.n_rows < 1000
        pieces: Params = {"C": 0.05 if few and not facts.goal.is_classification else 0.3, "numeric": "pieces"}
        smooth: Params = {"C": 0.01 if few and not facts.goal.is_classification else 0.03, "numeric": "pieces"}
        plain: Params = {"C": 1.0, "numeric": "standard"}
        return [plain, pieces, smooth] if few and facts.goal.is_classification else [pieces, plain, smooth]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The dense matrix, and what its encoder is fitted on; everything else is made of blocks."""
        scaling: Any = params["numeric"]
        matrices = estimates.matrix_bytes(facts, estimates.n_dense_columns(facts, scaling))
        matrices += 6 * estimates.matrix_bytes(facts, estimates.n_tree_columns(facts))
        return Resources(ram_bytes=estimates.WORKER_BYTES + matrices + estimates.output_bytes(facts))

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Solve for the weights on the train rows."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        scaling: Any = task.params["numeric"]
        fold = dense_matrices(task, scaling)
        target = task.y[task.train_rows]
        C = float(task.params["C"])  # type: ignore[arg-type]  # the space says so
        fit = fit_classes if task.goal.is_classification else _fit_values
        with threadpool_limits(task.threads):
            return FittedLinear(fit(fold.train, target, C, task), fold.encoder)

    def load(self, folder: Path) -> FittedFold:
        """Read the weights and the encoder."""
        with np.load(folder / "linear.npz", allow_pickle=False) as stored:
            kind: Any = str(stored["kind"])
            model = LinearModel(kind, stored["weights"], stored["intercept"])
        return FittedLinear(model, DenseEncoder.load(folder))


def fit_classes(matrix: Matrix, target: NDArray[Any], C: float, task: FoldTask) -> LinearModel:
    """Logistic or multinomial regression on the classes that the train rows have."""
    # The library's solver would copy the matrix to float64, and knows no deadline.
    classes, codes = np.unique(target, return_inverse=True)
    n_classes = task.goal.n_classes
    weights, intercept = np.zeros((matrix.shape[1], n_classes)), np.full(n_classes, -np.inf)
    if len(classes) == 1:
        intercept[classes] = 0.0
    else:
        weights[:, classes], intercept[classes] = _logistic(matrix, codes, len(classes), C, task)
    if task.goal.kind == "binary":
        return LinearModel("binary", weights[:, 1:] - weights[:, :1], intercept[1:] - intercept[:1])
    return LinearModel("multiclass", weights, intercept)


def _logistic(
    matrix: Matrix, codes: NDArray[np.int64], n_classes: int, C: float, task: FoldTask
) -> tuple[Weights, Weights]:
    """Minimise mean log loss and ``|weights|^2 / (2 C n_rows)`` by L-BFGS (Liu & Nocedal 1989), as scikit-learn does.

    Two classes have one column of weights, the log odds of the second; the first one then scores zero. A block of rows
    is cast to float64 and used for both products while it is in the processor's cache.

    Returns:
        Weights ``(n_columns, n_classes)`` and intercepts ``(n_classes,)``.
    """
    from scipy.optimize import minimize

    n_rows, n_columns = matrix.shape
    n_free = 1 if n_classes == 2 else n_classes
    alpha = 1 / (C * n_rows)

    def evaluate(flat: Any) -> tuple[float, Any]:
        found = flat.reshape(n_columns + 1, n_free)
        loss, slope = 0.0, np.zeros_like(found)
        for block, part in _exact_blocks(matrix):
            value, residual = _log_loss(part @ found[:-1] + found[-1], codes[block])
            loss += value
            slope[:-1] += part.T @ residual
            slope[-1] += residual.sum(axis=0)
        slope /= n_rows
        slope[:-1] += alpha * found[:-1]
        return loss / n_rows + alpha / 2 * float((found[:-1] ** 2).sum()), slope.ravel()

    def look_at_the_clock(flat: Any) -> None:
        if task.is_late:
            raise StopIteration

    options = {"maxiter": MAX_ITERATIONS, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    how: dict[str, Any] = {"jac": True, "method": "L-BFGS-B", "callback": look_at_the_clock, "options": options}
    solved = minimize(evaluate, np.zeros((n_columns + 1) * n_free), **how)
    found = solved.x.reshape(n_columns + 1, n_free)
    if n_free == 1:
        found = np.hstack([np.zeros_like(found), found])
    return found[:-1], found[-1]


def _exact_blocks(matrix: Matrix) -> Iterator[tuple[slice, Weights]]:
    """Rows in float64, some at a time: a product with the whole float32 matrix would copy it."""
    step = max(1, BLOCK_CELLS // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        block = slice(start, start + step)
        yield block, matrix[block].astype(np.float64)


def _scores(matrix: Matrix, weights: Weights) -> Weights:
    return np.concatenate([part @ weights for _, part in _exact_blocks(matrix)])


def _log_loss(scores: Weights, codes: NDArray[np.int64]) -> tuple[float, Weights]:
    """Sum of the log loss of scores ``(n_rows, n_free)`` and its derivative by each of them."""
    from scipy.special import expit, log_softmax

    if scores.shape[1] == 1:
        wanted = codes[:, None]
        return float((np.logaddexp(0, scores) - wanted * scores).sum()), expit(scores) - wanted
    logs = log_softmax(scores, axis=1)
    rows = np.arange(len(codes))
    residual = np.exp(logs)
    residual[rows, codes] -= 1
    return -float(logs[rows, codes].sum()), residual


def _fit_values(matrix: Matrix, target: NDArray[np.float64], C: float, task: FoldTask) -> LinearModel:
    """Ridge regression, or least absolute deviations by iteratively reweighted ridge regression.

    Source: Schlossmacher (1973), An iterative technique for absolute deviations curve fitting, JASA 68: the weight of
    a row is the inverse of its last absolute residual; we bound residuals below so that weights stay finite.
    """
    center, scale = target.mean(), target.std() or 1.0
    wanted = (target - center) / scale
    rows = np.ones(len(wanted))
    weights, intercept = _ridge(matrix, wanted, rows, 1 / C)
    for _ in range(REWEIGHTINGS if task.goal.loss == "absolute" else 0):
        if task.is_late:
            break
        fitted = _scores(matrix, weights) + intercept
        rows = 1 / np.maximum(np.abs(wanted - fitted), 1e-3)
        weights, intercept = _ridge(matrix, wanted, rows, 1 / C)
        if np.abs(_scores(matrix, weights) + intercept - fitted).max() < 1e-3:
            break
    return LinearModel("regression", weights[:, None] * scale, np.array([intercept * scale + center]))


def _ridge(
    matrix: Matrix, target: NDArray[np.float64], rows: NDArray[np.float64], alpha: float
) -> tuple[NDArray[np.float64], float]:
    """Weighted ridge regression with a free intercept, by the normal equations of centred columns.

    Args:
        matrix: ``(n_rows, n_columns)``.
        target: ``(n_rows,)``.
        rows: ``(n_rows,)`` positive row weights.
        alpha: the penalty, positive.

    Returns:
        Weights ``(n_columns,)`` and the intercept.
    """
    from scipy.linalg import solve

    total = rows.sum()
    means = sum((rows[block] @ part for block, part in _exact_blocks(matrix)), np.zeros(matrix.shape[1])) / total
    target_mean = float(rows @ target / total)
    gram, moment = np.zeros((matrix.shape[1],) * 2), np.zeros(matrix.shape[1])
    for block, part in _exact_blocks(matrix):
        part -= means
        weighted = part * rows[block, None]
        gram += part.T @ weighted
        moment += weighted.T @ (target[block] - target_mean)
    gram[np.diag_indices_from(gram)] += alpha
    weights = solve(gram, moment, assume_a="pos")
    return weights, target_mean - float(means @ weights)
