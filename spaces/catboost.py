"""CatBoost: boosted symmetric trees with ordered target statistics of categories (Prokhorenkova et al. 2018, NeurIPS).

An optional package. On a GPU the library takes no callbacks, so that there the library's own detector, with a constant
patience, stops the fold, and the deadline is kept by a number of rounds reckoned from the speed of a few.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Task
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.boosting import GPU_ROWS, MAX_ROUNDS, CurveWatch, as_columns, haste
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import tree_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Choice, Condition, Float, Int, Param, Params, Space

OBJECTIVES = {
    ("binary", "log_loss"): "Logloss",
    ("multiclass", "log_loss"): "MultiClass",
    ("regression", "squared"): "RMSE",
    ("regression", "absolute"): "MAE",
}
MONITORS = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE"}
BIG_ROWS = 20_000  # from here on a tree of more than 2 ** 8 leaves costs more than it gives
GPU_SHARE = 0.5  # of a GPU; the library takes a share of its memory when it starts
GPU_PATIENCE = 200
PROBE_ROUNDS = 20


class FittedCatBoost:
    """A model with every tree it grew (rounds are chosen at prediction time) and its encoder."""

    def __init__(self, model: Any, encoder: TreeEncoder, kind: Task, curve: NDArray[np.float64] | None) -> None:
        self.curve = curve
        self.facts: dict[str, Any] = {"device": "cpu"}
        self._model = model
        self._encoder = encoder
        self._kind = kind

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``."""
        raw = self._model.predict(
            _pool(self._encoder, self._encoder.transform(table), None, threads=1),
            prediction_type="RawFormulaVal" if self._kind == "regression" else "Probability",
            ntree_end=round or 0,
            thread_count=1,
        )
        if self._kind == "binary":
            return as_columns(raw[:, 1], 1)
        return as_columns(raw, raw.shape[1] if raw.ndim == 2 else 1)

    def save(self, folder: Path) -> None:
        """CatBoost's own binary format, with its target statistics."""
        self._model.save_model(str(folder / "model.cbm"))
        (folder / "catboost.json").write_text(json.dumps({"format": 1, "kind": self._kind}))
        self._encoder.save(folder)


class CatBoost(Family):
    """Gradient boosting with CatBoost; ranges after TabArena, pytabkit and published winners' parameters.

    Ordered boosting is not searched: it costs several times a plain fit, and neither TabArena (Erickson et al. 2025,
    arXiv:2506.16791) nor pytabkit uses it.
    """

    name = "catboost"
    prefix = "cat"
    stopping = "cv-curve"

    def space(self, facts: Facts) -> Space:
        """Trees that are not symmetric bring their own bound on rows; category parameters only with categories."""
        params: dict[str, Param] = {
            "learning_rate": Float(0.01, 0.15, log=True),
            "grow_policy": Choice(("SymmetricTree", "Depthwise")),
            "depth": Int(4, 10 if facts.n_rows < BIG_ROWS else 8),
            "min_data_in_leaf": Int(1, 100, log=True, when=Condition("grow_policy", ("Depthwise",))),
            "l2_leaf_reg": Float(1e-3, 30.0, log=True),
            "random_strength": Float(0.01, 10.0, log=True),
            "subsample": Float(0.6, 1.0),
            "colsample_bylevel": Float(0.5, 1.0),
        }
        if facts.goal.loss != "absolute":  # where the library takes exact medians in one step
            params["leaf_estimation_iterations"] = Int(1, 20, log=True)
        if facts.schema.categorical:
            params |= {
                "one_hot_max_size": Int(2, 100, log=True),
                "max_ctr_complexity": Int(1, 4),
                "model_size_reg": Float(0.1, 1.5, log=True),
            }
        return Space("catboost@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """The library's own shape at a quicker rate, then the tuned default of pytabkit (Holzmueller et al. 2024).

        The first one splits levels by target statistics only in columns of many levels, and of one column at a time:
        on adult that took less than half the time of the library's choice, for the same score.
        pytabkit's depth of 9 for values and its 20 leaf steps cost ten times the first point's time; here depth 8.
        Where the first one would take too much of the budget, a quicker one stands before it.
        """
        classification = facts.goal.is_classification
        first: Params = {
            "learning_rate": 0.08,
            "grow_policy": "SymmetricTree",
            "depth": 6,
            "l2_leaf_reg": 3.0,
            "random_strength": 1.0,
            "subsample": 0.8,
            "colsample_bylevel": 1.0,
            "leaf_estimation_iterations": 1,
            "one_hot_max_size": 25,
            "max_ctr_complexity": 1,
            "model_size_reg": 0.5,
        }
        tuned: Params = {
            **first,
            "learning_rate": 0.08 if classification else 0.09,
            "depth": 7 if classification else 8,
            "l2_leaf_reg": 1e-3,
            "random_strength": 0.8 if classification else 0.01,
            "subsample": 0.9,
            "one_hot_max_size": 15 if classification else 20,
            "max_ctr_complexity": 4,
        }
        points = [first, tuned]
        if (times := haste(self.name, facts)) > 1:
            points.insert(0, {**first, "learning_rate": min(0.15, 0.08 * times)})
        known = self.space(facts).params
        return [{name: value for name, value in point.items() if name in known} for point in points]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The data as numbers and as bins, and statistics of every leaf and bin."""
        n_columns = estimates.n_tree_columns(facts)
        matrix, outputs = estimates.matrix_bytes(facts, n_columns), estimates.output_bytes(facts)
        histograms = 2 ** cast(int, params["depth"]) * n_columns * 256 * 24 * facts.goal.n_outputs
        return Resources(
            gpus=GPU_SHARE if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + 6 * matrix + outputs + histograms,
            vram_bytes=estimates.CONTEXT_BYTES + 2 * matrix + outputs + histograms,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Boost until the fold's curve has stopped improving for long, keeping every tree.

        Raises:
            FoldsmithError: a GPU was asked for and CatBoost cannot use it.
        """
        encoder, train, valid = _pools(task)
        rate = cast(float, task.params["learning_rate"])
        watch = CurveWatch(task.goal.monitor_greater_is_better, lambda: task.is_late, rate)
        if task.device == "cpu":
            model = _fit(task, train, valid, MAX_ROUNDS, callbacks=[_Record(watch, _monitor(task))])
        else:
            model = _fit_on_gpu(task, train, valid, watch)
        fitted = FittedCatBoost(model, encoder, task.goal.kind, watch.curve)
        fitted.facts |= {
            "device": _device_used(model, task.device),
            "stopped_by": watch.stopped_by,
            "own_best_round": watch.best_round,
        }
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the model and the encoder."""
        import catboost

        kind = json.loads((folder / "catboost.json").read_text())["kind"]
        model = catboost.CatBoost().load_model(str(folder / "model.cbm"))
        return FittedCatBoost(model, TreeEncoder.load(folder), kind, None)


class _Record:
    """The library's callback: hands each round's value to the watch."""

    def __init__(self, watch: CurveWatch, monitor: str) -> None:
        self._watch = watch
        self._monitor = monitor

    def after_iteration(self, info: Any) -> bool:
        """Whether to go on."""
        values = info.metrics["validation"]
        loss = values["Logloss"][-1] if self._monitor == "AUC" else None
        return not self._watch.add(values[self._monitor][-1], loss)


def _fit(task: FoldTask, train: Any, valid: Any, rounds: int, **options: Any) -> Any:
    import catboost

    model = catboost.CatBoost({**_library_params(task), "iterations": rounds})
    return model.fit(train, eval_set=valid, **options)


def _fit_on_gpu(task: FoldTask, train: Any, valid: Any, watch: CurveWatch) -> Any:
    """Fit without callbacks; the watch gets the curve afterwards."""
    rounds = _rounds_until_deadline(task, lambda n: _fit_checked(task, train, valid, n))
    model = _fit_checked(task, train, valid, rounds)
    curve = model.get_evals_result()["validation"][_monitor(task)]
    for value in curve:
        watch.add(value)
    watch.stopped_by = "patience" if len(curve) < rounds else "deadline" if rounds < MAX_ROUNDS else "rounds"
    return model


def _fit_checked(task: FoldTask, train: Any, valid: Any, rounds: int) -> Any:
    import catboost

    try:
        return _fit(task, train, valid, rounds)
    except catboost.CatBoostError as error:
        if "CUDA" in str(error) and "memory" not in str(error) or "task type [GPU]" in str(error):
            raise FoldsmithError(
                "device 'cuda' was asked for but CatBoost cannot use it; check the driver, or choose the device 'cpu'"
            ) from error
        raise


def _rounds_until_deadline(task: FoldTask, fit: Callable[[int], Any]) -> int:
    """How many rounds end before the deadline, from the time of a few, the start included."""
    if task.deadline is None:
        return MAX_ROUNDS
    began = time.time()
    if began >= task.deadline:
        return 1
    fit(PROBE_ROUNDS)
    now = time.time()
    return int(np.clip((task.deadline - now) / (now - began) * PROBE_ROUNDS, 1, MAX_ROUNDS))


def _library_params(task: FoldTask) -> dict[str, Any]:
    """The trial's point in the library's words, with all that is not searched."""
    goal = task.goal
    params: dict[str, Any] = {
        **task.params,
        "loss_function": OBJECTIVES[goal.kind, goal.loss],
        "eval_metric": _monitor(task),
        "boosting_type": "Plain",
        "bootstrap_type": "Bernoulli",
        "border_count": n_borders(len(task.train_rows)),
        "use_best_model": False,
        "allow_const_label": True,
        "random_seed": task.seed % 2**31,
        "thread_count": task.threads,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
    if goal.kind == "multiclass":
        params["class_names"] = list(range(goal.n_classes))  # some may be absent from the train rows
    if task.device == "cuda":
        del params["colsample_bylevel"]  # the GPU trainer samples no columns
        params |= {"task_type": "GPU", "devices": "0", "gpu_ram_part": 0.9 * GPU_SHARE}
        params |= {"od_type": "Iter", "od_wait": GPU_PATIENCE}
    return params


def n_borders(n_rows: int) -> int:
    """Bins of a column: the library's 254, fewer where a bin would have less than eight of the train rows.

    On few rows scoring the bins is nearly all that a round costs.
    """
    return int(np.clip(n_rows // 8, 32, 254))


def _monitor(task: FoldTask) -> str:
    """The curve's name in the library's words."""
    by_default = "MultiClass" if task.goal.kind == "multiclass" else "Logloss"
    return MONITORS.get(task.goal.monitor, by_default)


def _device_used(model: Any, asked: str) -> str:
    """The device that the model's own parameters name after training."""
    used = {"CPU": "cpu", "GPU": "cuda"}[model.get_all_params()["task_type"]]
    if used != asked:
        raise FoldsmithError(
            f"CatBoost trained on {used!r} though device {asked!r} was asked for; "
            "check the driver, or choose the device 'cpu'"
        )
    return used


def _pool(encoder: TreeEncoder, matrix: Matrix, y: NDArray[Any] | None, *, threads: int) -> Any:
    """The library's data of an encoded ``matrix``, ``(n_rows, n_columns)``.

    Codes become categories, of which the library reads each level once; a missing value is a level of its own.
    """
    import catboost

    columns: dict[str, Any] = {str(n): matrix[:, n] for n in range(encoder.n_before_codes)}
    for n in encoder.categorical:
        codes = np.nan_to_num(matrix[:, n], nan=-1).astype(np.int32)
        levels = pd.Index(np.arange(-1, codes.max(initial=-1) + 1))
        columns[str(n)] = pd.Categorical.from_codes(codes + 1, categories=levels)
    frame = pd.DataFrame(columns, copy=False)
    return catboost.Pool(frame, y, cat_features=encoder.categorical, thread_count=threads)


def _pools(task: FoldTask) -> tuple[TreeEncoder, Any, Any]:
    """The fold's data in the library's form, made once per worker."""

    def make() -> tuple[TreeEncoder, Any, Any]:
        fold = tree_matrices(task)
        train = _pool(fold.encoder, fold.train, task.y[task.train_rows], threads=task.threads)
        return fold.encoder, train, _pool(fold.encoder, fold.valid, task.y[task.valid_rows], threads=task.threads)

    found: tuple[TreeEncoder, Any, Any] = task.cache.get(
        ("catboost data", task.fold_key, task.goal),
        make,
        lambda made: made[0].n_columns * (len(task.train_rows) + len(task.valid_rows)) * 4,
    )
    return found
