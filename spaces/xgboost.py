"""XGBoost: depth-wise gradient boosting with native categories (Chen & Guestrin 2016, arXiv:1603.02754)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.boosting import GPU_ROWS, HISTOGRAM_BYTES, MAX_ROUNDS, CurveWatch, as_columns, haste
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import tree_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Condition, Float, Int, Param, Params, Space

OBJECTIVES = {
    ("binary", "log_loss"): "binary:logistic",
    ("multiclass", "log_loss"): "multi:softprob",
    ("regression", "squared"): "reg:squarederror",
    ("regression", "absolute"): "reg:absoluteerror",
}
MIN_LEVEL_ROWS = 5
MIN_NODE_ROWS = 4  # smaller nodes are rarely split
MAX_BIN = 256  # not searched, so that one binned data set serves every trial of a fold


@dataclass(frozen=True)
class FrequentCodes:
    """The codes of each categorical column that enough train rows have; every other code becomes a missing value.

    XGBoost splits categories by their gradients without the smoothing that LightGBM has, so levels of one row are
    learnt by heart. And it sends a code that it never saw to the left child, which says nothing about it, while a
    missing value goes where the loss was lower.
    """

    encoder: TreeEncoder
    frequent: tuple[NDArray[np.float32], ...]

    @classmethod
    def fit(cls, encoder: TreeEncoder, train: Matrix) -> "FrequentCodes":
        """Collect the codes of ``train``, ``(n_rows, n_columns)``."""
        return cls(encoder, tuple(_frequent(train[:, column]) for column in encoder.categorical))

    def mask(self, matrix: Matrix) -> Matrix:
        """A copy of ``matrix`` with rare and unseen codes missing."""
        masked = matrix.copy()
        for column, codes in zip(self.encoder.categorical, self.frequent, strict=True):
            masked[~np.isin(masked[:, column], codes), column] = np.nan
        return masked

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's type per column: ``"q"`` quantitative, ``"c"`` categorical."""
        return ["q"] * self.encoder.n_before_codes + ["c"] * self.encoder.n_codes

    def save(self, folder: Path) -> None:
        """Write ``frequent.npz`` and the encoder."""
        arrays: dict[str, Any] = {f"codes_{n:05d}": codes for n, codes in enumerate(self.frequent)}
        np.savez(folder / "frequent.npz", **arrays)
        self.encoder.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "FrequentCodes":
        """Read what ``save`` wrote."""
        with np.load(folder / "frequent.npz", allow_pickle=False) as stored:
            return cls(TreeEncoder.load(folder), tuple(stored[name] for name in sorted(stored.files)))


def _frequent(column: Matrix) -> NDArray[np.float32]:
    codes, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    return codes[counts >= MIN_LEVEL_ROWS]


class FittedXGBoost:
    """A booster with every tree it grew (rounds are chosen at prediction time) and its encoder."""

    def __init__(self, booster: Any, codes: FrequentCodes, n_outputs: int, curve: NDArray[np.float64] | None) -> None:
        self.curve = curve
        self.facts: dict[str, Any] = {}
        self._booster = booster
        self._codes = codes
        self._n_outputs = n_outputs

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``."""
        import xgboost

        matrix = self._codes.mask(self._codes.encoder.transform(table))
        data = xgboost.DMatrix(matrix, feature_types=self._codes.feature_types, enable_categorical=True, nthread=1)
        raw = self._booster.predict(data, iteration_range=(0, round or 0))
        return as_columns(raw, self._n_outputs)

    def save(self, folder: Path) -> None:
        """XGBoost's binary JSON."""
        self._booster.save_model(folder / "model.ubj")
        self._codes.save(folder)


class XGBoost(Family):
    """Gradient boosting with XGBoost; ranges after TabArena, pytabkit and published winners' parameters."""

    name = "xgboost"
    prefix = "xgb"
    stopping = "cv-curve"

    def space(self, facts: Facts) -> Space:
        """Leaf-wise growth brings its own bound on leaves; category splits only where there are categories."""
        params: dict[str, Param] = {
            "eta": Float(0.01, 0.1, log=True),
            "grow_policy": Choice(("depthwise", "lossguide")),
            "max_depth": Int(3, 12),
            "max_leaves": Int(8, 1024, log=True, when=Condition("grow_policy", ("lossguide",))),
            "min_child_weight": Float(1e-3, 50.0, log=True),
            "subsample": Float(0.5, 1.0),
            "colsample_bytree": Float(0.3, 1.0),
            "colsample_bylevel": Float(0.6, 1.0),
            "colsample_bynode": Float(0.5, 1.0),
            "reg_alpha": Float(1e-4, 10.0, log=True),
            "reg_lambda": Float(1e-3, 30.0, log=True),
            "gamma": Float(1e-4, 10.0, log=True),
        }
        if facts.schema.categorical:
            params["max_cat_to_onehot"] = Int(4, 100, log=True)
        return Space("xgboost@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """Column and row sampling at a slow rate, then the tuned default of pytabkit (Holzmueller et al. 2024).

        pytabkit's (arXiv:2407.04491) samples no columns and has no penalty, which cost accuracy on most tables that it
        was tried on. Its ``min_child_weight`` for classes, 5e-6, overfits small tables with many categories: 2 here, as
        for values. Where the first point would take too much of the budget, a quicker one stands before it.
        """
        classification = facts.goal.is_classification
        slow: Params = {
            "eta": 0.05,
            "grow_policy": "depthwise",
            "max_depth": 6,
            "min_child_weight": 2.0,
            "subsample": 0.8,
            "colsample_bytree": 0.6,
            "colsample_bylevel": 1.0,
            "colsample_bynode": 1.0,
            "reg_alpha": 1e-4,
            "reg_lambda": 1.0,
            "gamma": 1e-4,
        }
        tuned: Params = {
            **slow,
            "eta": 0.08 if classification else 0.05,
            "max_depth": 6 if classification else 9,
            "subsample": 0.65 if classification else 0.7,
            "colsample_bytree": 1.0,
            "colsample_bylevel": 0.9 if classification else 1.0,
            "reg_lambda": 1e-3,
        }
        times = haste(self.name, facts)
        points = [{**slow, "eta": min(0.1, 0.05 * times)}, slow, tuned] if times > 1 else [slow, tuned]
        if facts.schema.categorical:
            points = [{**point, "max_cat_to_onehot": 8} for point in points]
        return points

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The binned data and a histogram for each node of the widest level, which in deep trees is the larger part."""
        n_columns = estimates.n_tree_columns(facts)
        matrix, outputs = estimates.matrix_bytes(facts, n_columns), estimates.output_bytes(facts)
        histograms = _n_open_nodes(facts, params) * n_columns * HISTOGRAM_BYTES
        return Resources(
            gpus=0.5 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + 7 * matrix + outputs + histograms,
            vram_bytes=estimates.CONTEXT_BYTES + 2 * matrix + outputs + histograms,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Boost until the fold's curve has stopped improving for long, keeping every tree.

        Raises:
            FoldsmithError: a GPU was asked for and XGBoost fell back to the CPU.
        """
        import xgboost

        codes, train, valid = _matrices(task)
        watch = CurveWatch(task.goal.monitor_greater_is_better, lambda: task.is_late, cast(float, task.params["eta"]))

        class Record(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                return watch.add(*(float(values[-1]) for values in evals_log["valid"].values()))

        booster = xgboost.train(
            _library_params(task),
            train,
            MAX_ROUNDS,
            evals=[(valid, "valid")],
            callbacks=[Record()],
            verbose_eval=False,
        )
        fitted = FittedXGBoost(booster, codes, task.goal.n_outputs, watch.curve)
        fitted.facts |= {
            "device": _device_used(booster, task.device),
            "stopped_by": watch.stopped_by,
            "own_best_round": watch.best_round,
        }
        booster.set_param({"device": "cpu"})  # predictions of a kept model need no GPU
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the booster and the encoder."""
        import json

        import xgboost

        booster = xgboost.Booster(model_file=folder / "model.ubj")
        model = json.loads(booster.save_config())["learner"]["learner_model_param"]
        return FittedXGBoost(booster, FrequentCodes.load(folder), max(1, int(model["num_class"])), None)


def _n_open_nodes(facts: Facts, params: Params) -> int:
    """Nodes that have a histogram at once: half a full tree's, bounded by the leaves allowed and by rows per node."""
    nodes = 1 << (cast(int, params["max_depth"]) - 1)
    if params["grow_policy"] == "lossguide":
        nodes = min(nodes, cast(int, params["max_leaves"]))
    node_rows = max(MIN_NODE_ROWS, cast(float, params["min_child_weight"]))
    return min(nodes, int(estimates.FIT_SHARE * facts.n_rows / node_rows))


def _library_params(task: FoldTask) -> dict[str, Any]:
    goal = task.goal
    monitor = {"log_loss": "mlogloss" if goal.kind == "multiclass" else "logloss"}.get(goal.monitor, goal.monitor)
    params = {
        **task.params,
        "objective": OBJECTIVES[goal.kind, goal.loss],
        "eval_metric": [monitor, "logloss"] if monitor == "auc" else monitor,
        "tree_method": "hist",
        "max_bin": MAX_BIN,
        "device": task.device,
        "nthread": task.threads,
        "seed": task.seed % 2**31,
        "verbosity": 0,
    }
    return params | ({"num_class": goal.n_classes} if goal.kind == "multiclass" else {})


def _device_used(booster: Any, asked: str) -> str:
    """The device that the booster's own configuration names after training."""
    import json

    used = str(json.loads(booster.save_config())["learner"]["generic_param"]["device"]).split(":")[0]
    if used != asked:
        raise FoldsmithError(
            f"XGBoost trained on {used!r} though device {asked!r} was asked for; "
            "install an XGBoost build with CUDA and check the driver, or choose the device 'cpu'"
        )
    return used


def _matrices(task: FoldTask) -> tuple[FrequentCodes, Any, Any]:
    """The fold's binned data, made once per worker and device."""
    import xgboost

    def make() -> tuple[FrequentCodes, Any, Any]:
        fold = tree_matrices(task)
        codes = FrequentCodes.fit(fold.encoder, fold.train)
        shared: dict[str, Any] = {
            "feature_types": codes.feature_types,
            "enable_categorical": True,
            "max_bin": MAX_BIN,
            "nthread": task.threads,
        }
        train = xgboost.QuantileDMatrix(codes.mask(fold.train), task.y[task.train_rows], **shared)
        valid = xgboost.QuantileDMatrix(codes.mask(fold.valid), task.y[task.valid_rows], ref=train, **shared)
        return codes, train, valid

    found: tuple[FrequentCodes, Any, Any] = task.cache.get(
        ("xgboost data", task.fold_key, task.goal, task.device),
        make,
        lambda made: made[0].encoder.n_columns * (len(task.train_rows) + len(task.valid_rows)) * 5,
    )
    return found
