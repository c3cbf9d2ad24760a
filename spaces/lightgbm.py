"""LightGBM: leaf-wise gradient boosting with native categories (Ke et al. 2017, NeurIPS)."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.boosting import GPU_ROWS, HISTOGRAM_BYTES, MAX_ROUNDS, CurveWatch, as_columns, haste
from foldsmith.spaces.encoding import TreeColumns, TreeEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import tree_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Float, Int, Params, Space

OBJECTIVES = {
    ("binary", "log_loss"): "binary",
    ("multiclass", "log_loss"): "multiclass",
    ("regression", "squared"): "regression",
    ("regression", "absolute"): "regression_l1",
}
# The curve first; beside an AUC the loss that says whether boosting still gets on.
MONITORS = {"auc": ["auc", "binary_logloss"], "rmse": ["rmse"], "mae": ["l1"]}

# Binning does not depend on the searched parameters, so one binned data set serves every trial of a fold.
BINNING = {"max_bin": 255, "feature_pre_filter": False, "min_data_in_bin": 3, "verbosity": -1}

NO_CUDA = "this build of LightGBM cannot use it; install one built with CUDA, or choose the device 'cpu'"

_PROBE = """
import lightgbm, numpy
X = numpy.random.default_rng(0).normal(size=(200, 2))
params = {"device_type": "cuda", "objective": "binary", "verbosity": -1}
booster = lightgbm.train(params, lightgbm.Dataset(X, X[:, 0] > 0, params=params), 2)
assert "[device_type: cuda]" in booster.model_to_string()
"""


@functools.cache
def can_use_cuda() -> bool:
    """Whether this build trains with ``device_type="cuda"`` on this machine; most wheels are built without it.

    Tried once, in a process of its own: a build that does not fit the driver can crash.
    """
    if not _has_cuda_driver():
        return False
    try:
        return subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _has_cuda_driver() -> bool:
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


class FittedLightGBM:
    """A booster with every tree it grew (rounds are chosen at prediction time) and its encoder."""

    def __init__(self, booster: Any, encoder: TreeColumns, n_outputs: int, curve: NDArray[np.float64] | None) -> None:
        self.curve = curve
        self.facts: dict[str, Any] = {"device": "cpu"}
        self._booster = booster
        self._encoder = encoder
        self._n_outputs = n_outputs

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``."""
        raw = self._booster.predict(self._encoder.transform(table), num_iteration=round or -1, num_threads=1)
        return as_columns(raw, self._n_outputs)

    def save(self, folder: Path) -> None:
        """LightGBM's own text format."""
        (folder / "model.txt").write_text(self._booster.model_to_string(num_iteration=-1))
        self._encoder.save(folder)


class LightGBM(Family):
    """Gradient boosting with LightGBM; ranges after TabArena, pytabkit and published winners' parameters."""

    name = "lightgbm"
    prefix = "lgb"
    stopping = "cv-curve"

    def space(self, facts: Facts) -> Space:
        """Category parameters are searched only where there are categories."""
        params: dict[str, Float | Int | Choice] = {
            "learning_rate": Float(0.01, 0.1, log=True),
            "num_leaves": Int(4, 256, log=True),
            "min_data_in_leaf": Int(1, max(2, min(200, facts.n_rows // 10)), log=True),
            "feature_fraction": Float(0.2, 1.0),
            "bagging_fraction": Float(0.5, 1.0),
            "lambda_l1": Float(1e-4, 10.0, log=True),
            "lambda_l2": Float(1e-3, 100.0, log=True),
            "min_sum_hessian_in_leaf": Float(1e-3, 20.0, log=True),
            "extra_trees": Choice((False, True)),
        }
        if facts.schema.categorical:
            params |= {
                "cat_smooth": Float(1e-3, 100.0, log=True),
                "cat_l2": Float(5e-3, 10.0, log=True),
                "min_data_per_group": Int(2, 200, log=True),
                "max_cat_to_onehot": Int(4, 100, log=True),
            }
        return Space("lightgbm@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """A slow learner with column and row sampling, then the tuned default of pytabkit (Holzmueller et al. 2024).

        Where the slow one would take too much of the budget, a quicker one stands before it.
        """
        classification = facts.goal.is_classification
        most = self.space(facts).params["min_data_in_leaf"]
        assert isinstance(most, Int)
        slow: Params = {
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": min(10, most.high),
            "feature_fraction": 0.6,
            "bagging_fraction": 0.8,
            "lambda_l1": 1e-4,
            "lambda_l2": 1.0,
            "min_sum_hessian_in_leaf": 1e-3,
            "extra_trees": False,
        }
        tuned: Params = {
            **slow,
            "learning_rate": 0.04 if classification else 0.05,
            "num_leaves": 50 if classification else 100,
            "min_data_in_leaf": min(40 if classification else 3, most.high),
            "feature_fraction": 0.8,
            "bagging_fraction": 0.75 if classification else 0.7,
            "lambda_l2": 1e-3,
            "min_sum_hessian_in_leaf": 1e-3 if classification else 0.1,
        }
        if facts.schema.categorical:
            library = {"cat_smooth": 10.0, "cat_l2": 10.0, "min_data_per_group": 100, "max_cat_to_onehot": 4}
            slow, tuned = {**slow, **library}, {**tuned, **library}
        times = haste(self.name, facts)
        quick: list[Params] = [] if times == 1 else [{**slow, "learning_rate": min(0.1, 0.05 * times)}]
        return [*quick, slow, tuned]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The binned data and a histogram for each leaf; :func:`can_use_cuda` knows whether the build can use a GPU."""
        n_columns = self.n_columns(facts)
        leaves = cast(int, params["num_leaves"])
        matrix, outputs = estimates.matrix_bytes(facts, n_columns), estimates.output_bytes(facts)
        histograms = leaves * n_columns * HISTOGRAM_BYTES
        return Resources(
            gpus=0.5 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + 7 * matrix + outputs + histograms,
            vram_bytes=estimates.CONTEXT_BYTES + matrix + outputs + histograms,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Boost until the fold's curve has stopped improving for long, keeping every tree.

        Raises:
            FoldsmithError: a GPU was asked for and this build of LightGBM cannot use it.
        """
        import lightgbm

        encoder, train, valid = _cuda_checked(self._datasets, task)
        goal = task.goal
        rate = cast(float, task.params["learning_rate"])
        watch = CurveWatch(goal.monitor_greater_is_better, lambda: task.is_late, rate)
        params = {
            **task.params,
            **BINNING,
            "objective": OBJECTIVES[goal.kind, goal.loss],
            "metric": MONITORS.get(goal.monitor, ["multi_logloss" if goal.kind == "multiclass" else "binary_logloss"]),
            "bagging_freq": 1,
            "seed": task.seed % 2**31,
            "deterministic": True,
            "force_col_wise": task.device == "cpu",  # on a GPU the library forces rows
            "device_type": task.device,
            "num_threads": task.threads,
        }
        if goal.kind == "multiclass":
            params["num_class"] = goal.n_classes

        def record(env: Any) -> None:
            if watch.add(*(result[2] for result in env.evaluation_result_list)):
                raise lightgbm.callback.EarlyStopException(watch.best_round - 1, env.evaluation_result_list)

        # Without keep_training_booster, lightgbm.train would drop the trees after the fold's own best round.
        booster = _cuda_checked(
            lightgbm.train,
            params,
            train,
            MAX_ROUNDS,
            valid_sets=[valid],
            callbacks=[record],
            keep_training_booster=True,
        )
        fitted = FittedLightGBM(booster, encoder, goal.n_outputs, watch.curve)
        fitted.facts |= {
            "device": _device_used(booster, task.device),
            "stopped_by": watch.stopped_by,
            "own_best_round": watch.best_round,
        }
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the text model and the encoder."""
        import lightgbm

        booster = lightgbm.Booster(model_file=folder / "model.txt")
        n_outputs = booster.num_model_per_iteration()
        return FittedLightGBM(booster, self.load_encoder(folder), n_outputs, None)

    def n_columns(self, facts: Facts) -> int:
        """About how many columns :meth:`matrices` has."""
        return estimates.n_tree_columns(facts)

    def matrices(self, task: FoldTask) -> tuple[TreeColumns, Matrix, Matrix]:
        """The encoder, its train matrix and its validation matrix; they depend on the fold, not on the parameters.

        A family on other columns overrides this, :meth:`n_columns` and :meth:`load_encoder`.
        """
        fold = tree_matrices(task)
        return fold.encoder, fold.train, fold.valid

    def load_encoder(self, folder: Path) -> TreeColumns:
        """The encoder of :meth:`matrices`, as it was saved."""
        return TreeEncoder.load(folder)

    def _datasets(self, task: FoldTask) -> tuple[TreeColumns, Any, Any]:
        """The fold's binned data, made once per worker: binning costs as much as dozens of rounds."""
        import lightgbm

        def make() -> tuple[TreeColumns, Any, Any]:
            encoder, train_matrix, valid_matrix = self.matrices(task)
            # lightgbm.train refuses a validation set whose categories or parameters are not its reference's.
            shared: dict[str, Any] = {
                "categorical_feature": encoder.categorical,
                # The data lie where they were made: training elsewhere ends the process.
                "params": {**BINNING, "num_threads": task.threads, "device_type": task.device},
            }
            train = lightgbm.Dataset(train_matrix, task.y[task.train_rows], **shared).construct()
            valid_y = task.y[task.valid_rows]
            valid = lightgbm.Dataset(valid_matrix, valid_y, reference=train, **shared).construct()
            return encoder, train, valid

        found: tuple[TreeColumns, Any, Any] = task.cache.get(
            (f"{self.name} data", task.fold_key, task.goal, task.device),
            make,
            lambda made: made[0].n_columns * (len(task.train_rows) + len(task.valid_rows)) * 5,
        )
        return found


def _cuda_checked(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """``call``'s result; the library's words for a build without CUDA become ours."""
    import lightgbm

    try:
        return call(*args, **options)
    except lightgbm.basic.LightGBMError as error:
        if "CUDA" in str(error) and "not enabled in this build" in str(error):
            raise FoldsmithError(f"device 'cuda' was asked for but {NO_CUDA}") from error
        raise


def _device_used(booster: Any, asked: str) -> str:
    """The device that the booster's own parameters name after training."""
    stated = booster.model_to_string(num_iteration=1).partition("[device_type: ")[2].partition("]")[0]
    if stated != asked:
        raise FoldsmithError(f"LightGBM trained on {stated!r} though device {asked!r} was asked for; {NO_CUDA}")
    return str(stated)
