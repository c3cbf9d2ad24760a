"""Each family alone beside its own library called by hand: same encoded data, parameters, folds, rounds, one thread.

    python benchmarks/families.py [--families lightgbm xgboost] [--rows 20000] [--folds 5] [--repeats 5]

Both sides begin at the encoded matrices, record a learning curve where there are rounds, and predict the validation
rows at the curve's best round. They take turns; a ratio is the median over the repeats of CPU time beside CPU time, so
that a busy machine disturbs it little. Two made-up tables, one of classes and one of values, each with categories.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.columns import Column
from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces import catboost, forests, lightgbm, xgboost
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Facts, Family, FoldTask
from foldsmith.spaces.matrices import dense_matrices, tree_matrices
from foldsmith.spaces.registry import FAMILIES, get_family

GOALS = {"classes": Goal("binary", 2, "log_loss", "log_loss"), "values": Goal("regression", 0, "squared", "rmse")}
N_COLUMNS, N_LEVELS = 12, 12

Prediction = NDArray[Any]
ByHand = Callable[[FoldTask, int], Prediction]


@dataclass(frozen=True)
class Run:
    """One fold fitted and predicted: ``predicted`` ``(n_valid,)``, how many rounds it had, CPU seconds."""

    predicted: Prediction
    n_rounds: int
    seconds: float


def main() -> None:
    """Parse, compare every family on every table, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=list(BY_HAND), choices=list(BY_HAND))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-rounds", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="2,000 rows, two folds, 100 rounds or trees")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.folds, options.max_rounds = 2000, 2, 100
        forests.N_TREES = 100
    for module in (lightgbm, xgboost, catboost):
        module.MAX_ROUNDS = options.max_rounds
    records = []
    for name in options.families:
        if (missing := FAMILIES[name].missing) is not None:
            records.append({"name": name, "skipped": missing})
            continue
        records += [compare(name, table, options.rows, options.folds, options.repeats) for table in GOALS]
        if not options.json:
            for record in records[-len(GOALS) :]:
                print("  ".join(f"{key} {value}" for key, value in record.items()), flush=True)
    if options.json:
        print(json.dumps(records))


def compare(name: str, table: str, n_rows: int, n_folds: int, n_repeats: int) -> dict[str, Any]:
    """One family on one table: mean scores of both sides, the largest difference of a prediction, the time ratio."""
    family, by_hand = get_family(name), BY_HAND[name]
    tasks = [_with_params(family, task) for task in make_folds(GOALS[table], n_rows, n_folds)]
    ours: list[Run] = []
    theirs: list[Run] = []
    ratios = []
    for repeat in range(n_repeats + 1):  # the first one imports the library and is not timed
        ours, theirs = [], []
        for task in tasks:
            first = _timed(lambda task=task: _fit_ours(family, task))
            ours.append(first)
            theirs.append(_timed(lambda task=task, n=first.n_rounds: (by_hand(task, n), n)))
        if repeat:
            ratios.append(sum(run.seconds for run in ours) / sum(run.seconds for run in theirs))
    return {
        "name": f"{name}, {table}",
        "score_ours": round(_mean_score(tasks, ours), 6),
        "score_reference": round(_mean_score(tasks, theirs), 6),
        "largest_difference": float(f"{_largest_difference(ours, theirs):.2g}"),
        "seconds_ours": round(sum(run.seconds for run in ours) / n_folds, 4),
        "ratio_seconds": round(float(np.median(ratios)), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def _timed(fit: Callable[[], tuple[Prediction, int]]) -> Run:
    began = time.process_time()
    predicted, n_rounds = fit()
    return Run(np.asarray(predicted).ravel(), n_rounds, time.process_time() - began)


def _fit_ours(family: Family, task: FoldTask) -> tuple[Prediction, int]:
    """As the search does it; the encoded matrices are in the cache, binned data are not."""
    fitted = family.fit_fold(replace(task, cache=_encoded(task)))
    valid = task.table.take(task.valid_rows)
    if fitted.curve is None:
        return fitted.predict(valid), 0
    return fitted.predict(valid, int(np.argmin(fitted.curve)) + 1), len(fitted.curve)


def _encoded(task: FoldTask) -> FoldCache:
    """A cache that holds the matrices and nothing else."""
    keys = ("tree matrices", "dense matrices")
    cache = FoldCache()
    cache._entries.update((key, entry) for key, entry in task.cache._entries.items() if key[0] in keys)  # type: ignore[index]
    return cache


def _with_params(family: Family, task: FoldTask) -> FoldTask:
    facts = Facts(task.goal, task.table.schema, task.table.n_rows)
    task = replace(task, params=family.defaults(facts)[0])
    if "numeric" in task.params:
        dense_matrices(task, task.params["numeric"])  # type: ignore[arg-type]  # a scaling
    else:
        tree_matrices(task)
    return task


def _mean_score(tasks: list[FoldTask], runs: list[Run]) -> float:
    """AUC or root mean squared error, mean over folds."""
    from sklearn.metrics import roc_auc_score, root_mean_squared_error

    score = roc_auc_score if tasks[0].goal.is_classification else root_mean_squared_error
    each = [score(task.y[task.valid_rows], run.predicted) for task, run in zip(tasks, runs, strict=True)]
    return float(np.mean(each))


def _largest_difference(ours: list[Run], theirs: list[Run]) -> float:
    return max(float(np.abs(a.predicted - b.predicted).max()) for a, b in zip(ours, theirs, strict=True))


def make_folds(goal: Goal, n_rows: int, n_folds: int) -> Iterator[FoldTask]:
    """Folds of a made-up table, without parameters."""
    table, y = _make_table(goal, n_rows)
    order = np.random.default_rng(1).permutation(n_rows)
    for fold in range(n_folds):
        valid = np.sort(order[fold::n_folds])
        train = np.setdiff1d(np.arange(n_rows), valid)
        yield FoldTask(goal, table, y, train, valid, {}, seed=fold, fold_key=f"fold {fold}")


def _make_table(goal: Goal, n_rows: int) -> tuple[Table, NDArray[Any]]:
    """Numbers, a tenth of one column missing, and three categorical columns, of which two matter."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(n_rows, N_COLUMNS))
    frame = pd.DataFrame(numbers, columns=[f"x{number}" for number in range(N_COLUMNS)])
    codes = rng.integers(N_LEVELS, size=(n_rows, 3))
    for number in range(3):
        frame[f"c{number}"] = [f"level {code}" for code in codes[:, number]]
    effects = rng.normal(size=(2, N_LEVELS))
    signal = numbers[:, 0] + np.sin(2 * numbers[:, 1]) + numbers[:, 2] * numbers[:, 3]
    values = signal + effects[0, codes[:, 0]] + effects[1, codes[:, 1]] + rng.normal(size=n_rows)
    frame.loc[rng.random(n_rows) < 0.1, "x0"] = None
    kinds: Any = ["numeric"] * N_COLUMNS + ["categorical"] * 3
    columns = [Column(name, kind, "") for name, kind in zip(frame.columns, kinds, strict=True)]
    y = np.asarray(values > 0, np.int32) if goal.is_classification else values
    return type_frame(frame, build_schema(frame, columns)), y


def lightgbm_by_hand(task: FoldTask, n_rounds: int) -> Prediction:
    """Datasets, training with a recorded curve, prediction."""
    import lightgbm as library

    fold = tree_matrices(task)
    binning = {"max_bin": 255, "feature_pre_filter": False, "min_data_in_bin": 3, "verbosity": -1, "num_threads": 1}
    shared: dict[str, Any] = {"categorical_feature": fold.encoder.categorical, "params": binning}
    train = library.Dataset(fold.train, task.y[task.train_rows], **shared)
    valid = library.Dataset(fold.valid, task.y[task.valid_rows], reference=train, **shared)
    params = {
        **task.params,
        **binning,
        "objective": lightgbm.OBJECTIVES[task.goal.kind, task.goal.loss],
        "metric": "binary_logloss" if task.goal.is_classification else "rmse",
        "bagging_freq": 1,
        "seed": task.seed,
        "deterministic": True,
        "force_col_wise": True,
    }
    curve: dict[str, Any] = {}
    record = [library.record_evaluation(curve)]
    model = library.train(params, train, n_rounds, [valid], callbacks=record, keep_training_booster=True)
    (values,) = curve["valid_0"].values()
    predicted: Prediction = model.predict(fold.valid, num_iteration=int(np.argmin(values)) + 1, num_threads=1)
    return predicted


def xgboost_by_hand(task: FoldTask, n_rounds: int) -> Prediction:
    """Quantile matrices, training with a recorded curve, prediction; rare levels are missing on both sides."""
    import xgboost as library

    fold = tree_matrices(task)
    codes = xgboost.FrequentCodes.fit(fold.encoder, fold.train)
    shared: dict[str, Any] = {"feature_types": codes.feature_types, "enable_categorical": True, "nthread": 1}
    masked = codes.mask(fold.valid)
    train = library.QuantileDMatrix(codes.mask(fold.train), task.y[task.train_rows], max_bin=256, **shared)
    valid = library.QuantileDMatrix(masked, task.y[task.valid_rows], ref=train, max_bin=256, **shared)
    params = {
        **task.params,
        "objective": xgboost.OBJECTIVES[task.goal.kind, task.goal.loss],
        "eval_metric": "logloss" if task.goal.is_classification else "rmse",
        "tree_method": "hist",
        "max_bin": 256,
        "nthread": 1,
        "seed": task.seed,
        "verbosity": 0,
    }
    curve: dict[str, Any] = {}
    model = library.train(params, train, n_rounds, evals=[(valid, "v")], evals_result=curve, verbose_eval=False)
    (values,) = curve["v"].values()
    rounds = (0, int(np.argmin(values)) + 1)
    predicted: Prediction = model.predict(library.DMatrix(masked, **shared), iteration_range=rounds)
    return predicted


def catboost_by_hand(task: FoldTask, n_rounds: int) -> Prediction:
    """Pools of a data frame with whole numbers as categories, training, prediction at the curve's best round."""
    import catboost as library

    fold = tree_matrices(task)
    train = library.Pool(_frame(fold.encoder, fold.train), task.y[task.train_rows], fold.encoder.categorical)
    valid = library.Pool(_frame(fold.encoder, fold.valid), task.y[task.valid_rows], fold.encoder.categorical)
    is_classes = task.goal.is_classification
    model = library.CatBoost(
        {
            **task.params,
            "iterations": n_rounds,
            "loss_function": catboost.OBJECTIVES[task.goal.kind, task.goal.loss],
            "boosting_type": "Plain",
            "bootstrap_type": "Bernoulli",
            "random_seed": task.seed,
            "thread_count": 1,
            "use_best_model": False,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    )
    model.fit(train, eval_set=valid)
    (values,) = model.get_evals_result()["validation"].values()
    kind = "Probability" if is_classes else "RawFormulaVal"
    raw = model.predict(valid, prediction_type=kind, ntree_end=int(np.argmin(values)) + 1, thread_count=1)
    return raw[:, 1] if is_classes else raw  # type: ignore[no-any-return]


def _frame(encoder: Any, matrix: NDArray[np.float32]) -> pd.DataFrame:
    frame = pd.DataFrame(matrix)
    return frame.astype({column: np.int32 for column in encoder.categorical})


def forest_by_hand(names: tuple[str, str]) -> ByHand:
    """The forest of scikit-learn called ``names[0]`` for classes, ``names[1]`` for values."""

    def fit(task: FoldTask, n_rounds: int) -> Prediction:
        from sklearn import ensemble

        fold, is_classes = tree_matrices(task), task.goal.is_classification
        kind = getattr(ensemble, names[not is_classes])
        model = kind(**_accepted(kind, task), n_estimators=forests.N_TREES, random_state=task.seed)
        return _predict(model.fit(fold.train, task.y[task.train_rows]), fold.valid)

    return fit


def linear_by_hand(task: FoldTask, n_rounds: int) -> Prediction:
    """Logistic regression, or ridge regression on the standardised target, on the same dense matrix."""
    from sklearn.linear_model import LogisticRegression, Ridge

    scaling: Any = task.params["numeric"]
    fold, C, y = dense_matrices(task, scaling), float(task.params["C"]), task.y[task.train_rows]  # type: ignore[arg-type]
    valid = fold.encoder.transform(task.table.take(task.valid_rows))
    if task.goal.is_classification:
        return _predict(LogisticRegression(C=C, max_iter=1000).fit(fold.train.astype(np.float64), y), valid)
    model = Ridge(alpha=1 / C).fit(fold.train, (y - y.mean()) / y.std())
    return model.predict(valid) * y.std() + y.mean()  # type: ignore[no-any-return]


def _accepted(kind: Any, task: FoldTask) -> dict[str, Any]:
    """Those of the point's parameters that the library's class has."""
    return {name: value for name, value in task.params.items() if name in kind().get_params()}


def _predict(model: Any, matrix: NDArray[Any]) -> Prediction:
    predicted: Prediction = (
        model.predict_proba(matrix)[:, 1] if hasattr(model, "predict_proba") else model.predict(matrix)
    )
    return predicted


BY_HAND: dict[str, ByHand] = {
    "lightgbm": lightgbm_by_hand,
    "xgboost": xgboost_by_hand,
    "catboost": catboost_by_hand,
    "extra_trees": forest_by_hand(("ExtraTreesClassifier", "ExtraTreesRegressor")),
    "random_forest": forest_by_hand(("RandomForestClassifier", "RandomForestRegressor")),
    "linear": linear_by_hand,
}


if __name__ == "__main__":
    main()
