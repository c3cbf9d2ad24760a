"""How far outside of the train values a prediction may lie: errors under bounds of several widths, by family.

    python benchmarks/extrapolation.py --data ../bike-sharing ../auto-mpg --json

Each family is fitted once per fold with its first default; its predictions are then kept inside of the train values,
widened by a share of their range (of logarithms for RMSLE). Folds are random ("random"); or the fifth of the rows
that lies highest in the column that follows the target best ("beyond"): there a trend goes on outside of train,
and a bound can only cost; or random ones in which one of fifty validation rows has a cell ten standard deviations off
("far"), as broken sensors and lost decimal points make them. Errors are shown as ratios to those without a bound.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _measured
import numpy as np
import pandas as pd
from _measured import Set

from foldsmith.problem.fit_units import BAND, FitUnits
from foldsmith.problem.tables import Table
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.registry import get_family

BANDS = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
FAMILIES = ("linear", "knn", "mlp", "realmlp", "tabm", "svm", "lightgbm")
FOLD_SECONDS = 60.0
FOLDS = ("random", "beyond", "far")
FAR_SHARE, FAR = 0.02, 10.0  # of the validation rows, and standard deviations


def skewed(n_rows: int, *, noise: float) -> pd.DataFrame:
    """A table whose target is the exponential of a linear function: three decades between its quantiles."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 5))
    y = np.exp(2 + 1.8 * X[:, 0] + 0.5 * X[:, 1] + noise * rng.standard_t(3, size=n_rows))
    return pd.DataFrame(X).add_prefix("x").assign(target=y.round(2))


def trend(n_rows: int) -> pd.DataFrame:
    """A target that grows steadily with time."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 10, n_rows)
    return pd.DataFrame({"x0": time, "x1": rng.normal(size=n_rows)}).assign(
        target=10 + 3 * time + rng.normal(size=n_rows)
    )


_measured.SETS["trend"] = ("regression", lambda: trend(600))
_measured.SETS["skewed"] = ("regression", lambda: skewed(600, noise=0.3))
_measured.SETS["skewed, noisy"] = ("regression", lambda: skewed(600, noise=1.0))


def main() -> None:
    """Fit all families on all sets, print a table per metric and kind of fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="folders with train.csv and meta.json")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--quick", action="store_true", help="two sets, two families")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = ["diabetes", "friedman1", "friedman2", "trend", "skewed", "skewed, noisy", *options.data]
    if options.quick:
        names = ["diabetes", "skewed"]
        options.families = ["linear", "lightgbm"]
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for number, name in enumerate(names):
            which = _measured.open_set(name, Path(home) / str(number), n_rows=options.rows, n_folds=5)
            for family in options.families:
                rows += measure(which, family)
    table = pd.DataFrame(rows)
    if options.json:
        print(json.dumps(rows))
        return
    for (metric, folds), part in table.groupby(["metric", "folds"]):
        print(f"\n{metric}, {folds} folds: error over that without a bound, mean over sets and the worst set")
        print(summary(part).to_string(float_format=lambda value: f"{value:.4f}"))


def summary(part: pd.DataFrame) -> pd.DataFrame:
    """A line per family: the mean and the greatest ratio over sets for each width."""
    columns = [str(band) for band in BANDS]
    grouped = part.groupby("family", sort=False)[columns]
    return grouped.mean().join(grouped.max().add_prefix("max "))


def measure(which: Set, family: str) -> list[dict[str, Any]]:
    """Both metrics and both kinds of fold, as records with a ratio per width."""
    records = []
    y = np.asarray(which.problem.data.y, np.float64)
    for log1p in (False, True) if y.min() >= 0 else (False,):
        for folds in FOLDS:
            splits = [beyond_split(which, y)] if folds == "beyond" else random_splits(which)
            errors = bounded_errors(which, family, splits, log1p=log1p, is_far=folds == "far")
            unbounded = errors.pop("none")
            ratios = {band: error / unbounded for band, error in errors.items()}
            metric = "rmsle" if log1p else "rmse"
            records.append({"set": which.name, "family": family, "metric": metric, "folds": folds, **ratios})
    return records


def random_splits(which: Set) -> list[tuple[Any, Any]]:
    """The problem's own folds."""
    plan = which.problem.plan
    return [plan.split(0, fold) for fold in range(plan.n_folds)]


def beyond_split(which: Set, y: np.ndarray) -> tuple[Any, Any]:
    """Train on the lower four fifths of the column with the strongest rank correlation to the target."""
    numbers = pd.DataFrame(np.asarray(which.problem.data.train.numeric))
    strength = numbers.corrwith(pd.Series(y), method="spearman")
    best = int(strength.abs().to_numpy().argmax())
    order = np.argsort(numbers[best].fillna(numbers[best].median()).to_numpy(), kind="stable")
    cut = round(0.8 * len(order))
    return np.sort(order[:cut]), np.sort(order[cut:])


def with_far_cells(table: Table, seed: int) -> Table:
    """A copy in which some rows have one numeric cell far off."""
    rng = np.random.default_rng(seed)
    numeric = np.array(table.numeric)
    rows = rng.permutation(table.n_rows)[: max(1, round(FAR_SHARE * table.n_rows))]
    columns = rng.integers(0, numeric.shape[1], len(rows))
    signs = rng.choice([-FAR, FAR], len(rows))
    numeric[rows, columns] += signs * np.nanstd(numeric, axis=0)[columns]
    return replace(table, numeric=numeric)


def bounded_errors(
    which: Set, name: str, splits: Sequence[tuple[Any, Any]], *, log1p: bool, is_far: bool
) -> dict[str, float]:
    """The root mean squared error, of logarithms with ``log1p``, for each width of the band and without one."""
    problem = which.problem
    goal = replace(problem.goal, log1p=log1p)
    y = np.asarray(problem.data.y, np.float64)
    family = get_family(name, problem.folder.code)
    facts = replace(which.facts, goal=goal, budget_seconds=FOLD_SECONDS)
    squares: dict[str, list[float]] = {str(band): [] for band in (*BANDS, "none")}
    for fold, (train, valid) in enumerate(splits):
        units = FitUnits.of(y[train], log1p=log1p)
        params = family.defaults(facts)[0]
        key = f"{which.name}-{log1p}-{len(splits)}-{fold}"
        task = FoldTask(
            goal, problem.data.train, units.to_fit(y), train, valid, params, seed=fold, fold_key=key, cache=FoldCache()
        )
        fitted = family.fit_fold(task)
        best = None if fitted.curve is None else int(np.argmin(fitted.curve)) + 1
        table = problem.data.train.take(valid)
        if is_far:
            table = with_far_cells(table, fold)
        raw = np.asarray(fitted.predict(table, best), np.float64)[:, 0]
        for band in (*BANDS, "none"):
            predicted = banded(units, band).to_output(raw)
            squares[str(band)] += squared_errors(y[valid], predicted, log1p=log1p).tolist()
    return {band: float(np.sqrt(np.mean(values))) for band, values in squares.items()}


def banded(units: FitUnits, band: float | str) -> FitUnits:
    """The same units with another band around the train values."""
    margin = (units.high - units.low) / (1 + 2 * BAND)
    lowest = units.low + BAND * margin
    highest = units.high - BAND * margin
    if isinstance(band, str):
        return replace(units, low=-np.inf, high=np.inf)
    return replace(units, low=lowest - band * margin, high=highest + band * margin)


def squared_errors(y: np.ndarray, predicted: np.ndarray, *, log1p: bool) -> np.ndarray:
    """``(n,)`` of values, or of their logarithms."""
    if log1p:
        return np.asarray((np.log1p(y) - np.log1p(predicted)) ** 2)
    return np.asarray((y - predicted) ** 2)


if __name__ == "__main__":
    main()
