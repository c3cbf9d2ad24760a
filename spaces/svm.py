"""Support vector machines with an RBF kernel (Cortes & Vapnik 1995); chances by Platt's scaling on held-back rows."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.linear import LinearModel, fit_classes
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Float, Param, Params, Space
from foldsmith.spaces.training import inner_split

Weights = NDArray[np.float64]

MAX_ROWS = 20_000  # the time grows with their square
MAX_CLASSES = 20  # one machine for each pair
MAX_STEPS = 1_000_000  # of the solver: some minutes
LATE_STEPS = 1000
CACHE_MB = 128  # of kernel values
BLOCK = 2048  # rows predicted at a time
CALIBRATION_C = 10.0  # a slight penalty keeps the slope finite where the held-back rows are separable


@dataclass(frozen=True)
class Machine:
    """Sums of kernel values ``exp(-gamma * |x - v|**2)`` over support vectors, one sum per pair of classes.

    Args:
        vectors: ``(n_vectors, n_columns)`` float32.
        weights: ``(n_vectors, n_sums)``.
        intercept: ``(n_sums,)``.
        gamma: of the kernel.
    """

    vectors: Matrix
    weights: Weights
    intercept: Weights
    gamma: float

    @classmethod
    def from_sklearn(cls, fitted: Any, gamma: float) -> "Machine":
        """The sums of a fitted ``SVR``, or of an ``SVC`` with ``decision_function_shape="ovo"`` and its signs.

        libsvm keeps, for each support vector, one coefficient per other class; the sum for classes ``a < b`` takes
        row ``b - 1`` of it for the vectors of ``a`` and row ``a`` for those of ``b``.
        """
        coefficients, intercept = np.asarray(fitted.dual_coef_), np.asarray(fitted.intercept_)
        if not hasattr(fitted, "n_support_") or len(coefficients) == 1:
            return cls(fitted.support_vectors_.astype(np.float32), coefficients.T, intercept, gamma)
        ends = np.cumsum(fitted.n_support_)
        parts = [slice(end - n, end) for end, n in zip(ends, fitted.n_support_, strict=True)]
        weights = np.zeros((len(fitted.support_vectors_), len(intercept)))
        for number, (a, b) in enumerate(combinations(range(len(parts)), 2)):
            weights[parts[a], number] = coefficients[b - 1, parts[a]]
            weights[parts[b], number] = coefficients[a, parts[b]]
        return cls(fitted.support_vectors_.astype(np.float32), weights, intercept, gamma)

    def sums(self, matrix: Matrix) -> Matrix:
        """``(n_rows, n_sums)``, in blocks, so that memory stays small."""
        from sklearn.metrics.pairwise import rbf_kernel

        out = np.zeros((len(matrix), len(self.intercept)))
        for start in range(0, len(matrix), BLOCK):
            kernel = rbf_kernel(matrix[start : start + BLOCK], self.vectors, gamma=self.gamma)
            out[start : start + BLOCK] = kernel @ self.weights + self.intercept
        return out.astype(np.float32)


class FittedSVM:
    """A machine, what makes predictions of its sums, and the encoder.

    Args:
        link: from sums to chances or values.
        prior: ``(n_outputs,)`` class shares that count as one of ``n_held`` rows, so that no chance is zero.
        n_held: rows that the link was fitted on; 0 for values.
    """

    curve = None

    def __init__(self, machine: Machine, link: LinearModel, prior: Weights, n_held: int, encoder: DenseEncoder) -> None:
        self.facts: dict[str, Any] = {"device": "cpu", "n_vectors": len(machine.vectors), "n_held": n_held}
        self._machine, self._link, self._prior, self._n_held, self._encoder = machine, link, prior, n_held, encoder

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1):
            linked = self._link.predict(self._machine.sums(self._encoder.transform(table)))
        if self._link.kind == "regression":
            return linked
        return ((self._n_held * linked + self._prior) / (self._n_held + 1)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``svm.npz`` and the encoder."""
        link: dict[str, Any] = {f"link_{name}": np.asarray(value) for name, value in vars(self._link).items()}
        machine: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self._machine).items()}
        np.savez(folder / "svm.npz", prior=self._prior, n_held=np.array(self._n_held), **machine, **link)
        self._encoder.save(folder)


class SVM(Family):
    """SVC and SVR; off by default, since they are slow and lie between nearest neighbours and a net in a blend."""

    name = "svm"
    prefix = "svm"

    def accepts(self, facts: Facts) -> str | None:
        """Few enough rows and classes."""
        if facts.n_rows > MAX_ROWS:
            return f"{facts.n_rows:,} rows; a support vector machine takes hours beyond {MAX_ROWS:,}"
        if facts.goal.n_classes > MAX_CLASSES:
            return f"{facts.goal.n_classes} classes; one machine for each pair of them is too many beyond {MAX_CLASSES}"
        return None

    def space(self, facts: Facts) -> Space:
        """``width`` is the kernel's, as a multiple of the usual distance between two rows."""
        params: dict[str, Param] = {
            "C": Float(0.03, 300.0, log=True),
            "width": Float(0.2, 5.0, log=True),
            "numeric": Choice(("standard", "quantile")),
        }
        if not facts.goal.is_classification:
            params["epsilon"] = Float(0.01, 0.5, log=True)
        return Space("svm@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """scikit-learn's point, then a narrower kernel on normal scores."""
        first: Params = {"C": 1.0, "width": 0.7, "numeric": "standard"}
        second: Params = {"C": 3.0, "width": 0.5, "numeric": "quantile"}
        more: Params = {} if facts.goal.is_classification else {"epsilon": 0.1}
        return [first | more, second | more]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The matrix in float64, kernel values in the solver and of a block of rows."""
        scaling: Any = params["numeric"]
        matrices = 6 * estimates.matrix_bytes(facts, estimates.n_dense_columns(facts, scaling))
        kernel = min(8 * facts.n_rows**2, CACHE_MB * estimates.MIB) + 12 * BLOCK * facts.n_rows
        return Resources(ram_bytes=estimates.WORKER_BYTES + matrices + estimates.output_bytes(facts) + kernel)

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Solve on all train rows; for classes also on most of them, to scale the sums of the rest to chances."""
        scaling: Any = task.params["numeric"]
        fold = dense_matrices(task, scaling)
        target = task.y[task.train_rows]
        if task.goal.is_classification:
            return _fit_classes(fold.train, target, fold.encoder, task)
        center, scale = target.mean(), target.std() or 1.0
        machine = _solve(fold.train, (target - center) / scale, task)
        link = LinearModel("regression", np.array([[scale]]), np.array([center]))
        return FittedSVM(machine, link, np.zeros(0), 0, fold.encoder)

    def load(self, folder: Path) -> FittedFold:
        """Read the machine, the link and the encoder."""
        with np.load(folder / "svm.npz", allow_pickle=False) as stored:
            machine = Machine(stored["vectors"], stored["weights"], stored["intercept"], float(stored["gamma"]))
            kind: Any = str(stored["link_kind"])
            link = LinearModel(kind, stored["link_weights"], stored["link_intercept"])
            return FittedSVM(machine, link, stored["prior"], int(stored["n_held"]), DenseEncoder.load(folder))


def _fit_classes(matrix: Matrix, target: NDArray[Any], encoder: DenseEncoder, task: FoldTask) -> FittedSVM:
    """Platt (1999), Probabilistic outputs for support vector machines, with one held-back part instead of three.

    The sums of rows that the machine has not seen are scaled by a logistic regression (multinomial for several
    classes); the machine that predicts is then fitted on all rows.
    """
    fit_rows, held = inner_split(target, task.seed)
    shares = np.bincount(target, minlength=task.goal.n_classes) / len(target)
    prior = shares[1:] if task.goal.kind == "binary" else shares
    if len(np.unique(target)) == 1 or not np.array_equal(np.unique(target[fit_rows]), np.unique(target)):
        held = held[:0]  # no machine to calibrate, or one for other pairs of classes: the shares are all we know
    if not len(held):
        nothing = Machine(matrix[:1], np.zeros((1, 1)), np.zeros(1), 1.0)
        link = fit_classes(np.zeros((len(target), 1), np.float32), target, 1.0, task)
        return FittedSVM(nothing, link, prior, 0, encoder)
    sums = _solve(matrix[fit_rows], target[fit_rows], task).sums(matrix[held])
    link = fit_classes(sums, target[held], CALIBRATION_C, task)
    return FittedSVM(_solve(matrix, target, task), link, prior, len(held), encoder)


def _solve(matrix: Matrix, target: NDArray[Any], task: FoldTask) -> Machine:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC, SVR

    params = cast(dict[str, float], task.params)
    usual = float(2 * matrix.var(axis=0, dtype=np.float64).sum()) or 1.0  # mean squared distance of two rows
    gamma = 1 / (usual * params["width"] ** 2)
    shared: dict[str, Any] = {"C": params["C"], "gamma": gamma, "cache_size": CACHE_MB, "tol": 1e-3}
    shared["max_iter"] = LATE_STEPS if task.is_late else MAX_STEPS
    machine = (
        SVC(decision_function_shape="ovo", **shared)
        if task.goal.is_classification
        else SVR(epsilon=params["epsilon"], **shared)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are bounded on purpose
        return Machine.from_sklearn(machine.fit(matrix, target), gamma)
