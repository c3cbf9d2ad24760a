"""Pools of many real members in little time: random configurations of seven kinds of models on plain columns."""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _pools import copy_set, make_set

N_FOLDS = 5
MAX_HELD_OUT = 6000
COUNTS = {"lightgbm": 18, "xgboost": 10, "extra_trees": 7, "random_forest": 4, "mlp": 7, "linear": 6, "knn": 4}


@dataclass(frozen=True)
class RandomPool:
    """A drawn data set with its members.

    Args:
        oofs: ``(n_members, n, n_outputs)`` float32.
        fold_tests: ``(n_members, n_folds, n_held_out, n_outputs)`` float32, by each fold's model.
        folds: ``(n_rows,)``.
    """

    name: str
    task: str
    n_classes: int
    y: np.ndarray
    truth: np.ndarray
    folds: np.ndarray
    oofs: np.ndarray
    fold_tests: np.ndarray

    @property
    def tests(self) -> np.ndarray:
        """``(n_members, n_held_out, n_outputs)`` float32, the mean of the folds' models."""
        return self.fold_tests.mean(axis=1, dtype=np.float64).astype(np.float32)


def random_pool(home: Path, source: str, n_rows: int, draw: int) -> RandomPool:
    """Draw train and held-out rows of a set (a name of the demo, or a folder), and fit all members; kept on disk.

    Args:
        n_rows: train rows, at most 70 % of all; up to 6,000 others are held out.
        draw: seed of rows, folds and configurations.
    """
    name = Path(source).name
    kept = home / f"{name}-{n_rows}-{draw}.npz"
    if not kept.exists():
        task, X, labels = encoded(home, source)
        rng = np.random.default_rng([draw, n_rows])
        order = rng.permutation(len(X))
        n_rows = min(n_rows, round(0.7 * len(X)))
        train, held_out = order[:n_rows], order[n_rows : n_rows + MAX_HELD_OUT]
        folds = stratified(labels[train], task, draw)
        points = list(configurations(task, rng))
        jobs = [(point, task, X[train], labels[train], folds, X[held_out]) for point in points]
        with ProcessPoolExecutor(2) as workers:
            fitted = [one for one in workers.map(fit_member, jobs) if one is not None]
        np.savez(
            kept,
            task=task,
            n_classes=0 if task == "regression" else len(np.unique(labels)),
            y=labels[train],
            truth=labels[held_out],
            folds=folds,
            oofs=np.stack([oof for oof, _ in fitted]),
            fold_tests=np.stack([test for _, test in fitted]),
        )
    with np.load(kept) as stored:
        return RandomPool(
            name,
            str(stored["task"]),
            int(stored["n_classes"]),
            *(stored[key] for key in ("y", "truth", "folds", "oofs", "fold_tests")),
        )


def encoded(home: Path, source: str) -> tuple[str, np.ndarray, np.ndarray]:
    """Task, numbers only ``(n, n_columns)`` float32, and labels, of all labelled rows; class codes by frequency."""
    if Path(source).exists():
        _, folder, target, _ = copy_set(Path(source))
        task = json.loads((folder / "meta.json").read_text())["task"]
    else:
        _, folder, target, metric = make_set(home, source)
        task = "regression" if metric == "rmse" else "classification"
    test = pd.read_csv(folder / "test.csv").merge(pd.read_csv(folder / "test_labels.csv")[["id", target]], on="id")
    frame = pd.concat([pd.read_csv(folder / "train.csv"), test], ignore_index=True).drop(columns="id")
    labels = frame.pop(target)
    columns = []
    for _, column in frame.items():
        if pd.api.types.is_numeric_dtype(column):
            columns.append(column.astype(np.float64).to_numpy())
        else:  # codes by frequency, and the length of what may be text
            columns.append(column.map(column.value_counts()).fillna(0).to_numpy(np.float64))
            columns.append(column.astype("category").cat.codes.to_numpy(np.float64))
            columns.append(column.astype(str).str.len().to_numpy(np.float64))
    X = np.stack(columns, axis=1)
    X = np.where(np.isfinite(X), X, np.nanmedian(np.where(np.isfinite(X), X, np.nan), axis=0))
    if task == "regression":
        return task, X.astype(np.float32), labels.to_numpy(np.float64)
    codes = labels.astype(str).map({label: code for code, label in enumerate(labels.astype(str).value_counts().index)})
    values = codes.to_numpy(np.int64)
    counts = np.bincount(values)
    common = counts[values] >= 40  # a class that no small draw would hold says nothing about ensembles
    values = np.unique(values[common], return_inverse=True)[1]
    return ("binary" if len(np.unique(values)) == 2 else "multiclass"), X[common].astype(np.float32), values


def stratified(labels: np.ndarray, task: str, seed: int) -> np.ndarray:
    """A fold per row."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = KFold if task == "regression" else StratifiedKFold
    folds = np.empty(len(labels), np.int64)
    for fold, (_, rows) in enumerate(kind(N_FOLDS, shuffle=True, random_state=seed).split(labels[:, None], labels)):
        folds[rows] = fold
    return folds


def configurations(task: str, rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Random points of every kind of model."""

    def log(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    for kind, count in COUNTS.items():
        for _ in range(count):
            seed = int(rng.integers(2**31))
            match kind:
                case "lightgbm":
                    point: dict[str, Any] = {
                        "n_estimators": int(log(40, 250)),
                        "learning_rate": log(0.02, 0.2),
                        "num_leaves": int(log(4, 64)),
                        "min_child_samples": int(log(3, 60)),
                        "colsample_bytree": rng.uniform(0.3, 1),
                        "reg_lambda": log(1e-3, 20),
                        "random_state": seed,
                    }
                case "xgboost":
                    point = {
                        "n_estimators": int(log(40, 200)),
                        "learning_rate": log(0.03, 0.3),
                        "max_depth": int(rng.integers(2, 8)),
                        "subsample": rng.uniform(0.5, 1),
                        "colsample_bytree": rng.uniform(0.3, 1),
                        "random_state": seed,
                    }
                case "extra_trees" | "random_forest":
                    point = {
                        "n_estimators": 150,
                        "min_samples_leaf": int(log(1, 12)),
                        "max_features": rng.uniform(0.2, 1),
                        "random_state": seed,
                    }
                case "mlp":
                    point = {
                        "hidden_layer_sizes": (int(log(16, 128)),),
                        "alpha": log(1e-5, 1),
                        "learning_rate_init": log(5e-4, 1e-2),
                        "max_iter": 80,
                        "random_state": seed,
                    }
                case "linear":
                    point = {"strength": log(1e-3, 1e3)}
                case _:
                    point = {"n_neighbors": int(log(3, 60)), "weights": "distance"}
            yield kind, point


def model_of(kind: str, point: dict[str, Any], task: str) -> Any:
    """A scikit-learn estimator."""
    import lightgbm
    import xgboost
    from sklearn import ensemble, linear_model, neighbors, neural_network
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    end = "Regressor" if task == "regression" else "Classifier"
    match kind:
        case "lightgbm":
            return getattr(lightgbm, f"LGBM{end}")(**point, n_jobs=1, verbosity=-1)
        case "xgboost":
            return getattr(xgboost, f"XGB{end}")(**point, n_jobs=1, verbosity=0)
        case "extra_trees":
            return getattr(ensemble, f"ExtraTrees{end}")(**point)
        case "random_forest":
            return getattr(ensemble, f"RandomForest{end}")(**point)
        case "mlp":
            inner = getattr(neural_network, f"MLP{end}")(**point)
        case "linear" if task == "regression":
            inner = linear_model.Ridge(alpha=point["strength"])
        case "linear":
            inner = linear_model.LogisticRegression(C=1 / point["strength"], max_iter=200)
        case _:
            inner = getattr(neighbors, f"KNeighbors{end}")(**point)
    return make_pipeline(QuantileTransformer(n_quantiles=100, output_distribution="normal"), inner)


def fit_member(job: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Out-of-fold prediction, and each fold's of the held-out rows; None where a fold cannot be fitted."""
    import warnings

    (kind, point), task, X, y, folds, X_test = job
    warnings.simplefilter("ignore")
    spread = (y.mean(), y.std()) if task == "regression" else (0.0, 1.0)
    goal = (y - spread[0]) / spread[1] if task == "regression" else y
    n_classes = 0 if task == "regression" else int(y.max()) + 1

    def predict(model: Any, rows: np.ndarray) -> np.ndarray:
        if task == "regression":
            return np.asarray(model.predict(rows) * spread[1] + spread[0], np.float32).reshape(-1, 1)
        chances = np.asarray(model.predict_proba(rows), np.float32)
        return chances[:, 1:] if n_classes == 2 else chances

    oof = np.zeros((len(y), 1 if n_classes <= 2 else n_classes), np.float32)
    tests = []
    for fold in range(N_FOLDS):
        model = model_of(kind, point, task).fit(X[folds != fold], goal[folds != fold])
        predicted = predict(model, X[folds == fold])
        if predicted.shape[1] != oof.shape[1]:
            return None
        oof[folds == fold] = predicted
        tests.append(predict(model, X_test))
    return oof, np.stack(tests)
