"""Gaussian processes (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning) for small tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal, Task
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.knn import column_relevance
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Params, Space

Values = NDArray[np.float64]

MAX_ROWS = 2000  # the time grows with their cube, the memory with their square
MAX_CLASSES = 10  # one process each
TUNING_ROWS = 400  # that the likelihood of a kernel's numbers is maximised on
JITTER = 1e-6
BLOCK = 2048  # rows predicted at a time


@dataclass(frozen=True)
class Kernel:
    """Covariance of two rows, a function of their distance.

    Args:
        name: ``"rbf"``, ``"matern32"`` or ``"matern52"`` (Rasmussen & Williams, eq. 4.9 and 4.17).
        variance: at distance zero.
        length: over which it falls.
    """

    name: str
    variance: float
    length: float

    def __call__(self, left: Matrix, right: Matrix) -> Values:
        """``(n_left, n_right)``."""
        from sklearn.metrics.pairwise import euclidean_distances

        distance = np.asarray(euclidean_distances(left, right), np.float64) / self.length
        if self.name == "rbf":
            return self.variance * np.exp(-0.5 * distance**2)
        root = np.sqrt(3.0 if self.name == "matern32" else 5.0) * distance
        polynomial = 1 + root if self.name == "matern32" else 1 + root + root**2 / 3
        return np.asarray(self.variance * polynomial * np.exp(-root), np.float64)

    def in_sklearn(self) -> Any:
        """The same as a scikit-learn kernel, with bounds for the likelihood's maximum."""
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

        bounds = (0.02 * self.length, 50 * self.length)
        shape = {
            "rbf": lambda: RBF(self.length, bounds),
            "matern32": lambda: Matern(self.length, bounds, nu=1.5),
            "matern52": lambda: Matern(self.length, bounds, nu=2.5),
        }[self.name]()
        return ConstantKernel(self.variance, (1e-2, 1e3)) * shape

    def tuned(self, found: Any) -> "Kernel":
        """With the numbers of the scikit-learn kernel that ``in_sklearn`` became."""
        return Kernel(self.name, float(found.k1.constant_value), float(found.k2.length_scale))


@dataclass(frozen=True)
class Process:
    """One latent function: ``kernel(x, rows) @ weights``, and for a class how uncertain it is.

    Args:
        weights: ``(n_train,)``; for a class the gradient of the log likelihood at the mode (eq. 3.21).
        roots: ``(n_train,)`` square roots of its second derivatives; empty for values.
    """

    kernel: Kernel
    weights: Values
    roots: Values

    def chances(self, matrix: Matrix, rows: Matrix) -> Values:
        """``(n_rows,)`` of the class: the logistic function averaged over the latent one, by MacKay's rule.

        Source: MacKay (1992), The evidence framework applied to classification networks, eq. 10. scikit-learn
        averages more closely, which the third digit shows.
        """
        from scipy.linalg import cholesky, solve_triangular
        from scipy.special import expit

        inner = self.kernel(rows, rows) * np.outer(self.roots, self.roots)
        lower = cholesky(np.eye(len(rows)) + inner, lower=True)
        out = np.zeros(len(matrix))
        for start in range(0, len(matrix), BLOCK):
            cross = self.kernel(matrix[start : start + BLOCK], rows)
            solved = solve_triangular(lower, self.roots[:, None] * cross.T, lower=True)
            variance = np.maximum(self.kernel.variance - (solved**2).sum(axis=0), 0)
            out[start : start + BLOCK] = expit(cross @ self.weights / np.sqrt(1 + np.pi * variance / 8))
        return out

    def values(self, matrix: Matrix, rows: Matrix) -> Values:
        """``(n_rows,)`` means."""
        blocks = range(0, len(matrix), BLOCK)
        parts = [self.kernel(matrix[start : start + BLOCK], rows) @ self.weights for start in blocks]
        return np.concatenate([np.zeros(0), *parts])


@dataclass(frozen=True)
class Processes:
    """All that predicts an encoded matrix.

    Args:
        rows: ``(n_train, n_columns)`` encoded train rows times the column weights.
        column_weights: ``(n_columns,)``.
        each: one process for values or two classes; one per class seen, against the rest, for several.
        classes: ``(n_seen,)`` codes of the classes in the train rows; empty for values.
        center: of the values; 0 for classes.
        scale: of the values; 1 for classes.
    """

    kind: Task
    n_outputs: int
    rows: Matrix
    column_weights: Matrix
    each: tuple[Process, ...]
    classes: NDArray[np.int64]
    center: float = 0.0
    scale: float = 1.0

    def predict(self, encoded: Matrix) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``."""
        matrix = encoded * self.column_weights
        if self.kind == "regression":
            return (self.each[0].values(matrix, self.rows)[:, None] * self.scale + self.center).astype(np.float32)
        chances = np.zeros((len(matrix), max(2, self.n_outputs)))
        if not self.each:
            chances[:, self.classes] = 1.0
        elif len(self.each) == 1:
            found = self.each[0].chances(matrix, self.rows)
            chances[:, self.classes] = np.stack([1 - found, found], axis=1)
        else:
            found = np.stack([process.chances(matrix, self.rows) for process in self.each], axis=1)
            chances[:, self.classes] = found / found.sum(axis=1, keepdims=True)
        return (chances[:, 1:] if self.n_outputs == 1 else chances).astype(np.float32)

    def arrays(self) -> dict[str, Any]:
        """Named arrays for an npz file."""
        plain = {name: np.asarray(value) for name, value in vars(self).items() if name != "each"}
        kernels = np.array([[process.kernel.variance, process.kernel.length] for process in self.each])
        names = np.array([process.kernel.name for process in self.each], dtype="U16")
        parts = {f"weights_{n:03d}": process.weights for n, process in enumerate(self.each)}
        parts |= {f"roots_{n:03d}": process.roots for n, process in enumerate(self.each)}
        return {**plain, "kernels": kernels.reshape(-1, 2), "kernel_names": names, **parts}

    @classmethod
    def from_arrays(cls, stored: Any) -> "Processes":
        """Read what ``arrays`` named."""
        kernels = zip(stored["kernel_names"], stored["kernels"], strict=True)
        each = tuple(
            Process(Kernel(str(name), *map(float, numbers)), stored[f"weights_{n:03d}"], stored[f"roots_{n:03d}"])
            for n, (name, numbers) in enumerate(kernels)
        )
        kind: Any = str(stored["kind"])
        numbers: dict[str, Any] = {name: stored[name].item() for name in ("n_outputs", "center", "scale")}
        arrays = {name: stored[name] for name in ("rows", "column_weights", "classes")}
        return cls(kind=kind, each=each, **numbers, **arrays)


class FittedGP:
    """Processes and their encoder."""

    curve = None

    def __init__(self, processes: Processes, encoder: DenseEncoder) -> None:
        kernels = [[process.kernel.variance, process.kernel.length] for process in processes.each]
        self.facts: dict[str, Any] = {"device": "cpu", "kernels": kernels}
        self._processes, self._encoder = processes, encoder

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1):
            return self._processes.predict(self._encoder.transform(table))

    def save(self, folder: Path) -> None:
        """Write ``gp.npz`` and the encoder."""
        np.savez(folder / "gp.npz", **self._processes.arrays())
        self._encoder.save(folder)


class GP(Family):
    """Gaussian process regression, and classification by Laplace's approximation; off by default."""

    name = "gp"
    prefix = "gp"
    is_seeded = False

    def accepts(self, facts: Facts) -> str | None:
        """Few enough rows and classes."""
        if facts.n_rows > MAX_ROWS:
            return f"{facts.n_rows:,} rows; a Gaussian process solves for all of them at once, at most {MAX_ROWS:,}"
        if facts.goal.n_classes > MAX_CLASSES:
            return f"{facts.goal.n_classes} classes; one Gaussian process each is too many beyond {MAX_CLASSES}"
        return None

    def space(self, facts: Facts) -> Space:
        """The kernel's numbers are not searched: the likelihood of the train rows chooses them."""
        return Space(
            "gp@1",
            {
                "kernel": Choice(("matern32", "matern52", "rbf")),
                "numeric": Choice(("standard", "quantile")),
                "columns": Choice(("equal", "relevance")),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """Rough functions of the columns that matter, then smooth ones of all."""
        return [
            {"kernel": "matern32", "numeric": "quantile", "columns": "relevance"},
            {"kernel": "rbf", "numeric": "standard", "columns": "equal"},
        ]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """Some square matrices over the rows, and a block of rows against all."""
        scaling: Any = params["numeric"]
        matrices = 6 * estimates.matrix_bytes(facts, estimates.n_dense_columns(facts, scaling))
        n_rows = min(facts.n_rows, MAX_ROWS)
        kernels = 8 * (6 * n_rows**2 + 3 * BLOCK * n_rows)
        return Resources(ram_bytes=estimates.WORKER_BYTES + matrices + estimates.output_bytes(facts) + kernels)

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Choose the kernel's numbers on some train rows, then solve for all of them."""
        from threadpoolctl import threadpool_limits

        scaling: Any = task.params["numeric"]
        fold = dense_matrices(task, scaling)
        target = task.y[task.train_rows]
        weights = np.ones(fold.train.shape[1], np.float32)
        if task.params["columns"] == "relevance":
            weights = column_relevance(fold.train, target, task.goal)
        rows = fold.train * weights
        with threadpool_limits(task.threads):
            return FittedGP(_solve(rows, weights, target, task), fold.encoder)

    def load(self, folder: Path) -> FittedFold:
        """Read the processes and the encoder."""
        with np.load(folder / "gp.npz", allow_pickle=False) as stored:
            return FittedGP(Processes.from_arrays(stored), DenseEncoder.load(folder))


def _solve(rows: Matrix, weights: Matrix, target: NDArray[Any], task: FoldTask) -> Processes:
    goal: Goal = task.goal
    shared: dict[str, Any] = {"kind": goal.kind, "n_outputs": goal.n_outputs, "rows": rows, "column_weights": weights}
    usual = float(np.sqrt(2 * rows.var(axis=0, dtype=np.float64).sum())) or 1.0  # distance of two rows
    first = Kernel(str(task.params["kernel"]), 1.0, 0.5 * usual)
    drawn = _some_rows(target, task) if not task.is_late else None
    if goal.kind == "regression":
        center, scale = float(target.mean()), float(target.std()) or 1.0
        process = _fit_values(rows, (target - center) / scale, first, drawn)
        return Processes(**shared, each=(process,), classes=np.zeros(0, np.int64), center=center, scale=scale)
    classes = np.unique(target).astype(np.int64)
    # Two classes are one question, the chance of the second; of several each is asked against the rest.
    asked = classes[1:] if len(classes) <= 2 else classes
    each = tuple(_fit_class(rows, target == code, first, drawn) for code in asked)
    return Processes(**shared, each=each, classes=classes)


def _some_rows(target: NDArray[Any], task: FoldTask) -> NDArray[np.int64]:
    """At most 400 train rows, evenly spread in the target's order, so that every class and value is among them."""
    rng = np.random.default_rng(task.seed)
    order = rng.permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    n_drawn = min(TUNING_ROWS, len(order))
    return np.sort(order[np.linspace(0, len(order) - 1, n_drawn).astype(np.int64)])


def _fit_values(rows: Matrix, wanted: Values, first: Kernel, drawn: NDArray[np.int64] | None) -> Process:
    """Algorithm 2.1 of Rasmussen & Williams; the noise is chosen with the kernel's numbers."""
    from scipy.linalg import cho_factor, cho_solve
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import WhiteKernel

    kernel, noise = first, 0.1
    if drawn is not None:
        asked = GaussianProcessRegressor(first.in_sklearn() + WhiteKernel(0.1, (1e-4, 10.0)), alpha=JITTER)
        found = _quietly_fitted(asked, rows[drawn], wanted[drawn]).kernel_
        kernel, noise = first.tuned(found.k1), float(found.k2.noise_level)
    covariance = kernel(rows, rows)
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    return Process(kernel, cho_solve(cho_factor(covariance, lower=True), wanted), np.zeros(0))


def _fit_class(rows: Matrix, is_class: NDArray[np.bool_], first: Kernel, drawn: NDArray[np.int64] | None) -> Process:
    """Laplace's approximation, algorithm 3.1 of Rasmussen & Williams, as scikit-learn finds the mode."""
    from sklearn.gaussian_process import GaussianProcessClassifier

    kernel = first
    if drawn is not None and 0 < is_class[drawn].sum() < len(drawn):
        asked = GaussianProcessClassifier(first.in_sklearn())
        kernel = first.tuned(_quietly_fitted(asked, rows[drawn], is_class[drawn]).kernel_)
    fitted = _quietly_fitted(GaussianProcessClassifier(kernel.in_sklearn(), optimizer=None), rows, is_class)
    mode = fitted.base_estimator_
    return Process(kernel, np.asarray(mode.y_train_ - mode.pi_, np.float64), np.asarray(mode.W_sr_, np.float64))


def _quietly_fitted(estimator: Any, rows: Matrix, wanted: NDArray[Any]) -> Any:
    """Fitted; that a number ended at its bound is no news to the person at the terminal."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(rows, wanted)
