"""Which way of combining members holds up on rows that nobody saw, and which reported score is true.

    python benchmarks/ensemble_quality.py --data ../adult ../titanic --rows 1200 --pools POOLS --out results.jsonl

Real searches fill a pool of members per data set (see _pools.py): tables of scikit-learn and folders in competition
form, each drawn anew with --rows train rows and up to 6,000 held-out ones. Every method combines the same pool for two
metrics. Judged is the held-out loss as a gain, in per cent, over greedy selection of 25 (AutoGluon's own method and
default size: the same weights in 23 of 28 runs, the rest ties), and the optimism: how much better the reported score
looks than the held-out one. Means are over data sets, each a mean of its metrics and draws.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _pools import Pool, copy_set, draw_set, fill, make_set
from threadpoolctl import threadpool_limits

SETS = ("breast_cancer", "diabetes", "digits", "wine")
METRICS = {
    "binary": ("log_loss", "auc"),
    "multiclass": ("log_loss", "balanced_accuracy"),
    "regression": ("rmse", "mae"),
}
BASE = "greedy"
METHODS = (
    "greedy",
    "auto",
    "best_single",
    "top_mean",
    "fold_greedy",
    "convex",
    "signed_hill",
    "linear_stack",
    "boosted_stack",
    "calibrated",
)


def main() -> None:
    """Parse, fill the pools, combine, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    parser.add_argument("--families", nargs="*", default=[], help="all that are installed by default")
    parser.add_argument("--rows", nargs="+", type=int, default=[1200])
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the search that fills a pool")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--pools", type=Path, help="where pools are kept and found again; a temporary folder if not")
    parser.add_argument("--fill-only", action="store_true", help="only make the pools")
    parser.add_argument("--quick", action="store_true", help="two small sets, three cheap families")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    families: list[str] = options.families
    if options.quick:
        options.sets, options.data, options.rows = ["diabetes", "breast_cancer"], [], [250]
        families, options.seconds = ["lightgbm", "linear", "knn"], 12.0
    with tempfile.TemporaryDirectory() as temporary:
        home = options.pools or Path(temporary)
        places = [smooth(make_set(home, name)) for name in options.sets]
        places += [smooth(copy_set(path)) for path in options.data]
        runs = []
        for n_rows in options.rows:
            for draw in range(options.draws):
                for place in places:
                    made = draw_set(home, place, n_rows, draw)
                    pool = fill(home, *made, families, 0, options.seconds)
                    if not options.fill_only:
                        runs += judge_pool(pool, place[0], n_rows, draw, options.methods)
    records = summary(runs)
    print(json.dumps(records)) if options.json else show(records)


def smooth(place: tuple[str, Path, str, str]) -> tuple[str, Path, str, str]:
    """The same set with a metric that makes every family give chances, or values."""
    name, source, target, metric = place
    return name, source, target, "rmse" if metric in ("rmse", "rmsle", "mae", "r2") else "log_loss"


def judge_pool(pool: Pool, name: str, n_rows: int, draw: int, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Every method on one pool, for each metric of its task that the members' predictions fit."""
    from foldsmith.ensembling.methods import ensemble
    from foldsmith.ensembling.task import BlendTask
    from foldsmith.problem.metrics import get_metric
    from foldsmith.problem.scoring import Judge, score_oof

    problem = pool.problem
    runs = []
    for metric_name in METRICS[problem.judge.task]:
        metric = get_metric(metric_name)
        if metric.goal(problem.judge.task, problem.judge.n_classes).kind != problem.goal.kind:
            continue  # ratings are values: no chances to judge
        judge = Judge(metric, problem.judge.task, problem.judge.n_classes, problem.judge.y, problem.plan)
        loss_of = {member: score_oof(judge, oof).value for member, oof in pool.oofs.items()}
        best_first = sorted(loss_of, key=lambda member: loss_of[member], reverse=metric.greater_is_better)
        oofs = {member: pool.oofs[member] for member in best_first}
        for method in methods:
            began = time.perf_counter()
            with threadpool_limits(1):
                result = ensemble(method, oofs, BlendTask(judge), insist=True)
            seconds = time.perf_counter() - began
            predicted = result.predict(pool.tests)
            values = predicted if result.decision is None else result.decision.apply(predicted)
            held_out = metric.score(pool.truth, values)
            runs.append(
                {
                    "set": name,
                    "rows": n_rows,
                    "draw": draw,
                    "metric": metric_name,
                    "method": method,
                    "n_members": len(oofs),
                    "loss": 1 - held_out if metric.greater_is_better else held_out,
                    "nested": 1 - result.nested.value if metric.greater_is_better else result.nested.value,
                    "in_sample": 1 - result.in_sample if metric.greater_is_better else result.in_sample,
                    "seconds": round(seconds, 3),
                    "reason": result.reason,
                }
            )
    return runs


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per method and number of rows: gain over greedy and optimism, in per cent, with standard errors over sets."""
    base = {_key(run): run for run in runs if run["method"] == BASE}
    records = []
    for n_rows in dict.fromkeys(run["rows"] for run in runs):
        for method in dict.fromkeys(run["method"] for run in runs):
            mine = [run for run in runs if run["method"] == method and run["rows"] == n_rows]
            gains = _by_set(mine, lambda run: 100 * (1 - run["loss"] / max(base[_key(run)]["loss"], 1e-9)))
            bias = _by_set(mine, lambda run: 100 * (1 - run["nested"] / max(run["loss"], 1e-9)))
            # what a method adds to the luck of the rows: its bias beside that of the best single member
            flattery = _by_set(mine, lambda run: 100 * (run["nested"] - run["in_sample"]) / max(run["loss"], 1e-9))
            records.append(
                {
                    "name": f"{method} at {n_rows} rows",
                    "method": method,
                    "rows": n_rows,
                    **_mean_se("gain_percent", gains),
                    "wins": sum(gain > 0 for gain in gains.values()),
                    "n_sets": len(gains),
                    "worst": round(min(gains.values()), 3),
                    "best": round(max(gains.values()), 3),
                    **_mean_se("nested_optimism_percent", bias),
                    **_mean_se("in_sample_flattery_percent", flattery),
                    "seconds": round(statistics.fmean(run["seconds"] for run in mine), 2),
                    "by_set": {name: round(gain, 3) for name, gain in gains.items()},
                }
            )
    return records


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["set"], run["rows"], run["draw"], run["metric"]


def _by_set(runs: Sequence[dict[str, Any]], value: Any) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        values[run["set"]].append(value(run))
    return {name: float(np.mean(of_set)) for name, of_set in values.items()}


def _mean_se(name: str, by_set: dict[str, float]) -> dict[str, Any]:
    values = list(by_set.values())
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {name: round(statistics.fmean(values), 3), f"{name}_se": None if error is None else round(error, 3)}


def show(records: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    print(f"{'method':24}{'gain %':>16}{'wins':>8}{'worst':>8}{'best':>8}{'nested optimism %':>22}{'s':>8}")
    for one in records:
        gain = f"{one['gain_percent']:+.2f} ± {one['gain_percent_se'] or 0:.2f}"
        bias = f"{one['nested_optimism_percent']:+.2f} ± {one['nested_optimism_percent_se'] or 0:.2f}"
        wins = f"{one['wins']}/{one['n_sets']}"
        print(
            f"{one['name']:24}{gain:>16}{wins:>8}{one['worst']:>8.2f}{one['best']:>8.2f}{bias:>22}{one['seconds']:>8.2f}"
        )


if __name__ == "__main__":
    main()
