"""Which way of combining members holds up on rows that nobody saw, and which reported score is true.

    python benchmarks/ensemble_quality.py --data ../adult ../titanic --rows 1200 --draws 2 --pools POOLS

Per data set 56 random configurations of seven kinds of models are fitted on five folds (see _random_members.py), on
--rows rows drawn anew; up to 6,000 others are held out. Every method combines the same pool for two metrics. Judged is
the held-out loss as a gain, in per cent, over greedy selection of 25 (AutoGluon's method and default size: the same
weights in 23 of 28 runs, ties in the rest), and the optimism: how much better a reported score looks than the held-out
one, for the nested score also with the gain that is expected of the mean of the folds' models. It holds the luck of the
rows, much the same for all methods: compare it with that of the others. The bag gain itself is shown as expected and as
it was on the held-out rows, both in per cent of the held-out loss. Means are over data sets, each a mean of its metrics
and draws.
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
from _random_members import RandomPool, random_pool
from threadpoolctl import threadpool_limits

SETS = ("breast_cancer", "diabetes", "digits", "wine")
METRICS = {
    "binary": ("log_loss", "auc"),
    "multiclass": ("log_loss", "accuracy"),
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
    parser.add_argument("--data", nargs="*", default=[], help="folders in competition form")
    parser.add_argument("--rows", nargs="+", type=int, default=[1200])
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--pools", type=Path, help="where pools are kept and found again; a temporary folder if not")
    parser.add_argument("--quick", action="store_true", help="two small sets")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.data, options.rows = ["diabetes", "breast_cancer"], [], [250]
    with tempfile.TemporaryDirectory() as temporary:
        home = options.pools or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        runs = [
            run
            for n_rows in options.rows
            for draw in range(options.draws)
            for source in [*options.sets, *options.data]
            for run in judge_pool(random_pool(home, source, n_rows, draw), n_rows, draw, options.methods)
        ]
    records = summary(runs)
    print(json.dumps(records)) if options.json else show(records)


def judge_pool(pool: RandomPool, n_rows: int, draw: int, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Every method on one pool, for both metrics of its task."""
    from foldsmith.ensembling.bag_gain import expected_bag_gain
    from foldsmith.ensembling.methods import ensemble
    from foldsmith.ensembling.task import BlendTask
    from foldsmith.problem.folds import FoldPlan
    from foldsmith.problem.metrics import get_metric
    from foldsmith.problem.scoring import Judge, score_oof

    plan = FoldPlan("imported", int(pool.folds.max()) + 1, 1, 0, pool.folds[None].astype(np.int16))
    members = {f"m{number:02d}": oof for number, oof in enumerate(pool.oofs)}
    tests = {f"m{number:02d}": test for number, test in enumerate(pool.tests)}
    of_fold = [
        {f"m{number:02d}": test for number, test in enumerate(pool.fold_tests[:, fold])}
        for fold in range(pool.fold_tests.shape[1])
    ]
    runs = []
    for metric_name in METRICS[pool.task]:
        metric = get_metric(metric_name)
        judge = Judge(metric, pool.task, pool.n_classes, pool.y, plan)  # type: ignore[arg-type]
        score_of = {member: score_oof(judge, oof).value for member, oof in members.items()}
        best_first = sorted(score_of, key=lambda member: score_of[member], reverse=metric.greater_is_better)
        oofs = {member: members[member] for member in best_first}
        for method in methods:
            began = time.perf_counter()
            with threadpool_limits(1):
                result = ensemble(method, oofs, BlendTask(judge), insist=True)
            seconds = time.perf_counter() - began
            predicted = result.predict(tests)
            alone = [result.predict(one) for one in of_fold]
            bag = expected_bag_gain(judge, predicted, alone, result.nested_oof, result.decision)

            def loss_of(values: np.ndarray, decision: Any = result.decision, metric: Any = metric) -> float:
                score = metric.score(pool.truth, values if decision is None else decision.apply(values))
                return float(1 - score if metric.greater_is_better else score)

            held_out, each = loss_of(predicted), [loss_of(one) for one in alone]
            nested, in_sample = (
                1 - score if metric.greater_is_better else score for score in (result.nested.value, result.in_sample)
            )
            run = {"set": pool.name, "rows": n_rows, "draw": draw, "metric": metric_name, "method": method}
            scores = {"loss": held_out, "nested": nested, "bagged": nested - bag.gain, "in_sample": in_sample}
            scores |= {"bag_gain": bag.gain, "true_bag_gain": float(np.mean(each)) - held_out}
            runs.append({**run, **scores, "seconds": round(seconds, 3), "reason": result.reason})
    return runs


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per method and number of rows: gain over greedy and optimism, in per cent, with standard errors over sets."""
    records = []
    for n_rows in dict.fromkeys(run["rows"] for run in runs):
        base = {_key(run): run["loss"] for run in runs if run["method"] == BASE and run["rows"] == n_rows}
        for method in dict.fromkeys(run["method"] for run in runs):
            mine = [run for run in runs if run["method"] == method and run["rows"] == n_rows]

            def percent(part: Any, mine: Any = mine, base: Any = base) -> dict[str, float]:
                return _percent_of(mine, base, part)

            gains = percent(lambda run, base=base: base[_key(run)] - run["loss"])
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
                    **_mean_se("nested_optimism_percent", percent(lambda run: run["loss"] - run["nested"])),
                    **_mean_se("bagged_optimism_percent", percent(lambda run: run["loss"] - run["bagged"])),
                    **_mean_se("in_sample_optimism_percent", percent(lambda run: run["loss"] - run["in_sample"])),
                    **_mean_se("bag_gain_percent", percent(lambda run: run["bag_gain"])),
                    **_mean_se("true_bag_gain_percent", percent(lambda run: run["true_bag_gain"])),
                    "seconds": round(statistics.fmean(run["seconds"] for run in mine), 2),
                    "by_set": {name: round(gain, 3) for name, gain in gains.items()},
                }
            )
    return records


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["set"], run["rows"], run["draw"], run["metric"]


def _percent_of(runs: Sequence[dict[str, Any]], base: dict[tuple[Any, ...], float], part: Any) -> dict[str, float]:
    """By data set: a part of each run's loss in per cent of the base's, both summed over draws, mean over metrics.

    A draw without any error, of a few dozen held-out rows, would else count without measure.
    """
    parts: dict[tuple[str, str], float] = defaultdict(float)
    wholes: dict[tuple[str, str], float] = defaultdict(float)
    for run in runs:
        place = run["set"], run["metric"]
        parts[place] += part(run)
        wholes[place] += base[_key(run)]
    shares: dict[str, list[float]] = defaultdict(list)
    for (name, metric), whole in wholes.items():
        if whole > 1e-6:
            shares[name].append(100 * parts[name, metric] / whole)
    return {name: float(np.mean(of_set)) for name, of_set in shares.items()}


def _mean_se(name: str, by_set: dict[str, float]) -> dict[str, Any]:
    values = list(by_set.values())
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {name: round(statistics.fmean(values), 3), f"{name}_se": None if error is None else round(error, 3)}


def show(records: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    keys = ("gain", "nested_optimism", "bagged_optimism", "in_sample_optimism", "bag_gain", "true_bag_gain")
    titles = ("gain %", "nested opt. %", "with bag gain", "in-sample", "bag gain %", "it was")
    print(
        f"{'method':26}" + "".join(f"{title:>17}" for title in titles) + f"{'wins':>8}{'worst':>8}{'best':>8}{'s':>7}"
    )
    for one in records:
        shown = [f"{one[f'{key}_percent']:+.2f} ± {one[f'{key}_percent_se'] or 0:.2f}" for key in keys]
        wins = f"{one['wins']}/{one['n_sets']}"
        print(
            f"{one['name']:26}" + "".join(f"{text:>17}" for text in shown) + f"{wins:>8}{one['worst']:>8.2f}"
            f"{one['best']:>8.2f}{one['seconds']:>7.2f}"
        )


if __name__ == "__main__":
    main()
