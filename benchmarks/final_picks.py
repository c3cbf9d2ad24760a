"""Which submissions to select: regret on private rows of picks by validation, by public score, and by both.

    python benchmarks/final_picks.py --data ../adult ../titanic --rows 1200 --pools POOLS

Per data set 30 candidates are made of the members of _random_members.py: the 20 that are best by turns of their kinds,
and ten blends. Their held-out rows are split into a public and a private part again and again, 30 to 70 as usual.
Regret is how much worse than the best of all 30 on the private rows the pick is (of two picks the better one), in parts
of how much worse the median candidate is: 0 is the best, 1 the median one. The rank goes from 0, the best, to 1. Means
are over data sets, each a mean of its metrics and draws, with standard errors over them.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _random_members import COUNTS, RandomPool, random_pool
from ensemble_quality import METRICS, SETS

SPLITS = 200
PUBLIC_SHARE = 0.3
N_SINGLES = 20
BLENDS = (
    "greedy",
    "quick_greedy",
    "fold_greedy",
    "convex",
    "top_mean",
    "signed_hill",
    "linear_stack",
    "best_single",
    "calibrated",
    "auto",
)
WAYS = {
    "cv": ("cv", "next"),
    "nested": ("nested", "next"),
    "public": ("public", "next"),
    "both": ("both", "next"),
    "nested, different": ("nested", "different"),
    "both, different": ("both", "different"),
    "nested, public": ("nested", "public"),
    "nested, both": ("nested", "both"),
    "both, public": ("both", "public"),
}


def main() -> None:
    """Parse, fill the pools, pick, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--data", nargs="*", default=[], help="folders in competition form")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--pools", type=Path, help="where pools are kept and found again; a temporary folder if not")
    parser.add_argument("--quick", action="store_true", help="two small sets, fewer splits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n_splits = SPLITS
    if options.quick:
        options.sets, options.data, options.rows, n_splits = ["diabetes", "breast_cancer"], [], 250, 20
    with tempfile.TemporaryDirectory() as temporary:
        home = options.pools or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        runs = [
            run
            for draw in range(options.draws)
            for source in [*options.sets, *options.data]
            for run in judge_pool(random_pool(home, source, options.rows, draw), n_splits)
        ]
    records = summary(runs)
    print(json.dumps(records)) if options.json else show(records)


def judge_pool(pool: RandomPool, n_splits: int) -> list[dict[str, Any]]:
    """Mean regret of every policy on one pool, for both metrics of its task."""
    from foldsmith.problem.folds import FoldPlan
    from foldsmith.problem.metrics import get_metric
    from foldsmith.problem.scoring import Judge

    plan = FoldPlan("imported", int(pool.folds.max()) + 1, 1, 0, pool.folds[None].astype(np.int16))
    runs = []
    for name in METRICS[pool.task]:
        judge = Judge(get_metric(name), pool.task, pool.n_classes, pool.y, plan)  # type: ignore[arg-type]
        candidates = make_candidates(pool, judge)
        for policy, regret in regrets(pool, judge, candidates, n_splits).items():
            runs.append({"set": pool.name, "metric": name, "policy": policy, **regret})
    return runs


def make_candidates(pool: RandomPool, judge: Any) -> list[dict[str, Any]]:
    """Scores, out-of-fold predictions and held-out predictions (or labels) of 30 submissions."""
    from foldsmith.ensembling.methods import ensemble
    from foldsmith.ensembling.task import BlendTask
    from foldsmith.problem.scoring import score_oof

    oofs = {f"m{number:02d}": oof for number, oof in enumerate(pool.oofs)}
    tests = {f"m{number:02d}": test for number, test in enumerate(pool.tests)}
    score_of = {name: score_oof(judge, oof).value for name, oof in oofs.items()}
    best_first = sorted(oofs, key=lambda name: score_of[name], reverse=judge.metric.greater_is_better)
    made = []
    for name in by_turns(best_first, len(oofs))[:N_SINGLES]:
        rule = judge.decide(np.arange(len(pool.y)), oofs[name]) if judge.needs_labels else None
        values = tests[name] if rule is None else rule.apply(tests[name])
        scores = {"cv": score_of[name], "nested": score_of[name]}
        made.append({"name": name, **scores, "oof": oofs[name], "test": values})
    for method in BLENDS:
        result = ensemble(method, {name: oofs[name] for name in best_first}, BlendTask(judge), insist=True)
        predicted = result.predict(tests)
        values = predicted if result.decision is None else result.decision.apply(predicted)
        scores = {"cv": result.in_sample, "nested": result.nested.value}
        made.append({"name": method, **scores, "oof": result.nested_oof, "test": values})
    return made


def by_turns(best_first: Sequence[str], n_members: int) -> list[str]:
    """The best of every kind, then the second best of every kind, and so on; kinds stand one after another."""
    bounds = np.cumsum(list(COUNTS.values()))
    place: dict[int, int] = defaultdict(int)
    keyed = []
    for overall, name in enumerate(best_first):
        kind = int(np.searchsorted(bounds, int(name[1:]), side="right"))
        keyed.append((place[kind], overall, name))
        place[kind] += 1
    return [name for *_, name in sorted(keyed)]


def regrets(
    pool: RandomPool, judge: Any, candidates: Sequence[dict[str, Any]], n_splits: int
) -> dict[str, dict[str, float]]:
    """Mean regret in parts of the median candidate's, and mean private rank from 0 (best) to 1, of one pick and two."""
    from foldsmith.problem.resampled import resampled_scorer
    from foldsmith.results.picks import Candidates, error_correlations, pick_two

    rng = np.random.default_rng(0)
    n_test, sign = len(pool.truth), -1.0 if judge.metric.greater_is_better else 1.0
    public = rng.random((n_splits, n_test)).argsort(axis=1) < PUBLIC_SHARE * n_test
    scorers = [resampled_scorer(judge.metric, pool.truth, one["test"]) for one in candidates]
    of_public = np.stack([score(public) for score in scorers], axis=1)
    of_private = np.stack([score(~public) for score in scorers], axis=1)
    best = 1.0 if judge.metric.greater_is_better else 0.0
    losses = np.abs(best - of_private)
    cv, nested = (np.array([one[key] for one in candidates]) for key in ("cv", "nested"))
    names = tuple(one["name"] for one in candidates)
    alike = error_correlations(judge, [one["oof"] for one in candidates])
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for split in range(n_splits):
        loss = losses[split]
        if not (np.isfinite(loss).all() and np.isfinite(of_public[split]).all()):
            continue
        n_public = int(public[split].sum())
        given = Candidates(names, cv, nested, of_public[split], alike, len(pool.y), n_public, sign < 0)
        rank = (loss[:, None] > loss).mean(axis=1)
        picks = {name: pick_two(given, *way) for name, way in WAYS.items()}  # type: ignore[arg-type]
        picks["at random"] = [int(i) for i in rng.permutation(len(loss))[:2]]
        least = float(loss.min())
        if (unit := float(np.median(loss)) - least) < 1e-9:
            continue  # half of the candidates are the best: nothing to choose
        for policy, (first, second) in picks.items():
            two = min(loss[first], loss[second])
            found[policy].append(
                ((loss[first] - least) / unit, (two - least) / unit, rank[first], min(rank[first], rank[second]))
            )
    keys = ("one", "two", "rank_one", "rank_two")
    return {policy: dict(zip(keys, np.mean(rows, axis=0).tolist(), strict=True)) for policy, rows in found.items()}


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per policy the mean over data sets, with standard errors; and the difference to picking by public score."""
    records = []
    for policy in dict.fromkeys(run["policy"] for run in runs):
        record: dict[str, Any] = {"name": f"picked by {policy}", "policy": policy}
        for key in ("one", "two", "rank_one", "rank_two"):
            mine, base = (of_sets(runs, name, key) for name in (policy, "public"))
            values = list(mine.values())
            less = [base[name] - mine[name] for name in mine]
            record |= {key: statistics.fmean(values), f"{key}_se": standard_error(values)}
            record |= {f"{key}_below_public": statistics.fmean(less), f"{key}_below_public_se": standard_error(less)}
        records.append({**record, "n_sets": len(values)})
    return records


def of_sets(runs: Sequence[dict[str, Any]], policy: str, key: str) -> dict[str, float]:
    """The mean over metrics and draws by data set."""
    values: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run["policy"] == policy:
            values[run["set"]].append(run[key])
    return {name: statistics.fmean(of_set) for name, of_set in values.items()}


def standard_error(values: Sequence[float]) -> float | None:
    """Of a mean over data sets."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def show(records: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    titles = ("regret, one", "two", "rank, one", "two", "two below public")
    print(f"{'picked by':22}" + "".join(f"{title:>18}" for title in titles))
    for one in records:
        shown = [
            f"{one[key]:.3f} ± {one[f'{key}_se'] or 0:.3f}"
            for key in ("one", "two", "rank_one", "rank_two", "two_below_public")
        ]
        print(f"{one['policy']:22}" + "".join(f"{text:>18}" for text in shown))


if __name__ == "__main__":
    main()
