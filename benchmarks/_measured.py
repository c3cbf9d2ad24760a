"""Data sets of a benchmark as problems, and the cross-validated error of one point of a family on one of them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets as sk

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.scoring import score_oof
from foldsmith.search.jobs import model_outputs
from foldsmith.search.rounds import chosen_round
from foldsmith.search.sampling import fold_seed
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Facts, Family, FoldTask
from foldsmith.spaces.space import Params

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def _frame(X: Any, y: Any) -> pd.DataFrame:
    frame = pd.DataFrame(np.asarray(X)).add_prefix("x")
    return frame.assign(target=np.asarray(y))


# Name -> task and table with the column "target".
SETS: dict[str, tuple[str, Callable[[], pd.DataFrame]]] = {
    "breast_cancer": ("binary", lambda: _frame(*sk.load_breast_cancer(return_X_y=True))),
    "hastie": ("binary", lambda: _frame(*sk.make_hastie_10_2(1000, random_state=0))),
    "iris": ("multiclass", lambda: _frame(*sk.load_iris(return_X_y=True))),
    "wine": ("multiclass", lambda: _frame(*sk.load_wine(return_X_y=True))),
    "digits": ("multiclass", lambda: _frame(*sk.load_digits(return_X_y=True)).sample(600, random_state=0)),
    "diabetes": ("regression", lambda: _frame(*sk.load_diabetes(return_X_y=True))),
    "friedman1": ("regression", lambda: _frame(*sk.make_friedman1(600, 12, noise=1.0, random_state=0))),
    "friedman2": ("regression", lambda: _frame(*sk.make_friedman2(600, noise=100.0, random_state=0))),
    "friedman3": ("regression", lambda: _frame(*sk.make_friedman3(600, noise=0.1, random_state=0))),
}


@dataclass(frozen=True)
class Set:
    """A data set that was set up as a competition."""

    name: str
    problem: Problem

    @property
    def facts(self) -> Facts:
        """What families may know of it."""
        return Facts(self.problem.goal, self.problem.data.train.schema, self.problem.data.train.n_rows)


def open_set(name: str, folder: Path, *, n_rows: int, n_folds: int) -> Set:
    """Set up a data set by its name in ``SETS``, or by the path of a folder with train.csv and meta.json.

    Args:
        n_rows: rows to keep at most, drawn at random.
    """
    folder.mkdir(parents=True)
    if name in SETS:
        task, make = SETS[name]
        frame, target, meta = make(), "target", {}
    else:
        meta = json.loads((Path(name) / "meta.json").read_text())
        frame, task, target = pd.read_csv(Path(name) / "train.csv"), meta["task"], meta["target"]
    if len(frame) > n_rows:
        frame = frame.sample(n_rows, random_state=0).sort_index()
    if task != "regression":  # a class that no fold could hold says nothing about a point
        frame = frame[frame.groupby(target)[target].transform("size") >= 2 * n_folds]
    frame.to_csv(folder / "train.csv", index=False)
    frame.drop(columns=target)[:20].to_csv(folder / "test.csv", index=False)
    request = SetupRequest(
        folder / "train.csv",
        folder / "test.csv",
        target,
        id=meta.get("id"),
        metric=METRICS[task],
        task=task,  # type: ignore[arg-type]
        n_folds=n_folds,
        group=meta.get("group"),
    )
    init(folder / "comp", request)
    return Set(Path(name).name, open_problem(folder / "comp", freeze=True))


class Bench:
    """Measures points on one data set; encoded data stay between points."""

    def __init__(self, which: Set, *, fold_seconds: float) -> None:
        self._set = which
        self._fold_seconds = fold_seconds
        self._cache = FoldCache()

    def error(self, family: Family, params: Params) -> tuple[float, float]:
        """Cross-validated error (smaller is better) and seconds; infinite when a fold failed or took too long."""
        began = time.process_time()
        try:
            error = self._cross_validate(family, params)
        except Exception as failure:  # a point that cannot be fitted is the worst one
            print(f"  {family.name} failed: {type(failure).__name__}: {failure}")
            error = float("inf")
        return error, time.process_time() - began

    def _cross_validate(self, family: Family, params: Params) -> float:
        problem = self._set.problem
        tasks, fitted = [], []
        for fold in range(problem.plan.n_folds):
            tasks.append(self._task(params, fold))  # its time begins now
            fitted.append(family.fit_fold(tasks[-1]))
        curves = [one.curve for one in fitted]
        oof = np.full((problem.data.train.n_rows, problem.goal.n_outputs), np.nan, problem.goal.dtype)
        for fold, (one, task) in enumerate(zip(fitted, tasks, strict=True)):
            number = None
            if family.stopping == "cv-curve":
                known = [curve for curve in curves if curve is not None]
                number = chosen_round(known, fold, greater_is_better=problem.goal.monitor_greater_is_better)
            oof[task.valid_rows] = model_outputs(one, task.table.take(task.valid_rows), number, problem.units)
        value = score_oof(problem.judge, oof).value
        return float("inf") if not np.isfinite(value) else value

    def _task(self, params: Params, fold: int) -> FoldTask:
        problem = self._set.problem
        train, valid = problem.plan.split(0, fold)
        return FoldTask(
            problem.goal,
            problem.data.train,
            problem.fit_y,
            train,
            valid,
            params,
            seed=fold_seed(0, 0, fold),
            fold_key=f"{self._set.name}-{fold}",
            deadline=time.time() + self._fold_seconds,
            cache=self._cache,
        )
