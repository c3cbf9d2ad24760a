"""What racing over folds is worth: the best full cross-validation score by CPU second, with each racer.

    python benchmarks/racing.py --seeds 3 --trials 30

For each table, family and seed, ``none`` makes its trials first; the CPU seconds that it took are the budget of all the
others. Folds, sampler seeds and model seeds are the same for all; one process does everything, so that its CPU time is
the whole cost, driver included. Pruned trials and provisional scores count for nothing: only the value of a complete
member does.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SHARES = (0.25, 0.5, 1.0)
BASE = "none"


@dataclass(frozen=True)
class Race:
    """One search: the best value so far by CPU second, and what it cost.

    Args:
        curve: CPU seconds since the start and the best value, at each complete trial.
        counts: fitted folds, and trials by state.
    """

    curve: list[tuple[float, float]]
    seconds: float
    counts: dict[str, int]

    def best_at(self, seconds: float) -> float | None:
        """The best value by then, None before the first."""
        return next((value for at, value in reversed(self.curve) if at <= seconds), None)


def main() -> None:
    """Parse, run all searches, print a table per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["classes", "friedman"], choices=sorted(TABLES))
    parser.add_argument("--families", nargs="+", default=["lightgbm", "extra_trees"])
    parser.add_argument("--racers", nargs="+", default=["halving", "median", "hyperband", "wilcoxon"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=30, help="that the search without racing makes")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--quick", action="store_true", help="one table of 600 rows, one family, one seed, 10 trials")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.tables, options.families = options.tables[:1], options.families[:1]
        options.seeds, options.trials, options.rows = 1, 10, 600
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for table in options.tables:
            for family in options.families:
                records += compare(Path(folder), table, family, options)
    print(json.dumps(records)) if options.json else show(records)


def compare(folder: Path, table: str, family: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All racers on one table and family: a record each."""
    warm_up = prepare(folder / f"{table}-{family}-warm", table, options.rows, options.folds, seed=0)
    search(warm_up, family, BASE, seed=0, n_trials=1)  # imports and compiled code are nobody's cost
    races: dict[str, list[Race]] = {racer: [] for racer in [BASE, *options.racers]}
    for seed in range(options.seeds):
        budget = None
        for racer, done in races.items():
            root = prepare(folder / f"{table}-{family}-{seed}-{racer}", table, options.rows, options.folds, seed=seed)
            done.append(search(root, family, racer, seed=seed, n_trials=options.trials, cpu_seconds=budget))
            budget = races[BASE][-1].seconds
    greater_is_better = TABLES[table].greater_is_better
    return [
        {"name": f"racing, {table}, {family}, {racer}", "table": table, "family": family, "racer": racer}
        | summary(done, races[BASE], greater_is_better=greater_is_better)
        for racer, done in races.items()
    ]


def summary(races: list[Race], base: list[Race], *, greater_is_better: bool) -> dict[str, Any]:
    """Means over seeds; gains are against the search without racing at the end of the same budget.

    ``wins`` counts better ends, equal ends and seeds. ``match`` is the share of the budget after which the final value
    of the search without racing was reached, 1.0 for never.
    """
    sign = 1 if greater_is_better else -1
    record: dict[str, Any] = {}
    for share in SHARES:
        values = [race.best_at(share * other.seconds) for race, other in zip(races, base, strict=True)]
        known = [value for value in values if value is not None]
        record[f"best_at_{share:.0%}"] = round(statistics.fmean(known), 5) if len(known) == len(values) else None
    ends = [(race.best_at(other.seconds), other) for race, other in zip(races, base, strict=True)]
    gains = [sign * (value - other.curve[-1][1]) for value, other in ends if value is not None]
    record["gain"] = round(statistics.fmean(gains), 5)
    record["wins"] = f"{sum(gain > 0 for gain in gains)}/{sum(gain == 0 for gain in gains)}/{len(gains)}"
    shares = []
    for race, other in zip(races, base, strict=True):
        matched = (at for at, value in race.curve if sign * value >= sign * other.curve[-1][1])
        shares.append(min(1.0, next(matched, other.seconds) / other.seconds))
    record["match"] = round(statistics.fmean(shares), 2)
    record["cpu_seconds"] = round(statistics.fmean(race.seconds for race in races), 1)
    for name in ("folds", "complete", "pruned", "promoted"):
        record[name] = round(statistics.fmean(race.counts.get(name, 0) for race in races), 1)
    return record


def search(root: Path, family: str, racer: str, *, seed: int, n_trials: int, cpu_seconds: float | None = None) -> Race:
    """One search in this process: ``n_trials``, or as many as ``cpu_seconds`` allow."""
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.search.driver import Driver
    from foldsmith.search.executors.inline import InlineExecutor
    from foldsmith.search.options import SearchOptions
    from foldsmith.search.pace import Clock

    problem = open_problem(root, freeze=True)
    members = MemberStore(problem.folder)
    curve: list[tuple[float, float]] = []
    began = time.process_time()

    def on_member(member: str) -> None:
        scores = members.get(member).scores
        assert scores is not None
        if not curve or problem.metric.better(scores.value, curve[-1][1]):
            curve.append((time.process_time() - began, scores.value))

    def observe(snapshot: object) -> None:
        if cpu_seconds is not None and time.process_time() - began >= cpu_seconds:
            driver.request_stop()

    wanted = n_trials if cpu_seconds is None else None
    chosen = SearchOptions((family,), n_trials=wanted, model_seed=seed, sampler_seed=seed, racer=racer)
    driver = Driver(problem, chosen, InlineExecutor(root), Clock(), observe=observe, on_member=on_member)
    driver.run()
    seconds = time.process_time() - began
    fits = (problem.folder.logs / "fits.log").read_text().splitlines()
    return Race(curve, seconds, {"folds": len(fits), **count_trials(problem, family)})


def count_trials(problem: Any, family: str) -> dict[str, int]:
    """Trials by state; a promoted one is complete as well, if it came so far."""
    import optuna

    from foldsmith.search.journal import open_journal

    name = f"{problem.contract}/{family}"
    trials = optuna.load_study(study_name=name, storage=open_journal(problem.folder.journal)).trials
    states = Counter(trial.state.name.lower() for trial in trials)
    return {**states, "promoted": sum("promoted_from" in trial.user_attrs for trial in trials)}


# --- data --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Makes ``X`` of shape ``(n_rows, n_columns)`` and ``y`` of a seed, with the metric that fits."""

    make: Callable[[int, int], tuple[Any, Any]]
    metric: str
    greater_is_better: bool


def _classes(n_rows: int, seed: int) -> tuple[Any, Any]:
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_rows, 20, n_informative=8, n_redundant=4, flip_y=0.08, class_sep=0.7, random_state=seed
    )
    return X, y


def _friedman(n_rows: int, seed: int) -> tuple[Any, Any]:
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(n_rows, 12, noise=2.0, random_state=seed)
    return X, y


def _digits(n_rows: int, seed: int) -> tuple[Any, Any]:
    import numpy as np
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(y))[:n_rows]
    return X[rows], y[rows]


TABLES = {
    "classes": Table(_classes, "log_loss", greater_is_better=False),
    "friedman": Table(_friedman, "rmse", greater_is_better=False),
    "digits": Table(_digits, "log_loss", greater_is_better=False),
}


def prepare(root: Path, table: str, n_rows: int, n_folds: int, *, seed: int) -> Path:
    """A competition folder over a table; the same files for the same seed."""
    from foldsmith.flow.setup import SetupRequest, init

    root.mkdir(parents=True)
    X, y = TABLES[table].make(n_rows + 100, seed)
    frame = pd.DataFrame(X.round(4), columns=[f"x{number}" for number in range(X.shape[1])])
    frame.insert(0, "id", range(len(frame)))
    n_train = len(frame) - 100
    frame[:n_train].assign(y=y[:n_train]).to_csv(root / "train.csv", index=False)
    frame[n_train:].to_csv(root / "test.csv", index=False)
    files = SetupRequest(
        root / "train.csv",
        root / "test.csv",
        "y",
        id="id",
        metric=TABLES[table].metric,
        n_folds=n_folds,
        split_seed=seed,
    )
    init(root, files)
    return root


# --- output ------------------------------------------------------------------------------------------------------


def show(records: list[dict[str, Any]]) -> None:
    """A table per table and family."""
    columns = [name for name in records[0] if name not in ("name", "table", "family", "cpu_seconds")]
    for record in records:
        if record["racer"] == BASE:
            print(f"\n{record['table']}, {record['family']}, {record['cpu_seconds']} CPU seconds a search")
            print("  ".join(f"{column:>9}" for column in columns))
        cells = ("-" if record[column] is None else record[column] for column in columns)
        print("  ".join(f"{cell:>{max(9, len(column))}}" for cell, column in zip(cells, columns, strict=True)))


if __name__ == "__main__":
    main()
