"""Which policy over the families makes the best ensemble in a given time.

    python benchmarks/policies.py --sets breast_cancer diabetes --data ../titanic ../adult

Real searches fill a pool of members per data set, the same for all policies: trials in the order in which each family's
study asks for them, with their measured seconds. Every policy is then replayed on that pool: it chooses a family, the
family's next member arrives when its seconds have passed, the ensemble is made anew, and so on until the budget is
over. Judged is the last ensemble's loss on held-out rows, as a share of the best policy's on the same pool and budget.

``--data`` takes folders with ``train.csv``, ``test.csv``, ``test_labels.csv``, and ``meta.json`` with ``target`` and
``metric``.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _pools import Pool, copy_set, fill, make_set

BASE = "round-robin"


def main() -> None:
    """Parse, fill the pools, replay, print."""
    from foldsmith.search.policies import POLICIES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=["breast_cancer", "diabetes", "digits", "wine"])
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    parser.add_argument("--families", nargs="*", default=[], help="all that are installed by default")
    parser.add_argument("--policies", nargs="+", default=sorted(POLICIES), choices=sorted(POLICIES))
    parser.add_argument("--trials", type=int, default=12, help="of each family, in a pool")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.2, 0.4], help="budgets, of a pool's seconds")
    parser.add_argument("--pools", type=Path, help="where pools are kept and found again; a temporary folder if not")
    parser.add_argument("--quick", action="store_true", help="two small sets, three cheap families, 4 trials of each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.families, options.trials = ["diabetes", "wine"], ["lightgbm", "linear", "knn"], 4
    with tempfile.TemporaryDirectory() as temporary:
        home = options.pools or Path(temporary)
        places = [make_set(home, name) for name in options.sets] + [copy_set(path) for path in options.data]
        pools = [fill(home, *place, options.families, options.trials) for place in places]
        runs = [
            replay(pool, policy, share)
            for pool in pools
            for share in options.shares
            for policy in dict.fromkeys([BASE, *options.policies])
        ]
    records = summary(runs)
    print(json.dumps(records)) if options.json else show(records)


def replay(pool: Pool, policy_name: str, share: float) -> dict[str, Any]:
    """One policy on one pool with a share of its seconds as the budget."""
    from foldsmith.search.policies import EnsembleGain, FamilyLoad, Opening, get_policy
    from foldsmith.search.view import lag_of

    policy = get_policy(policy_name)
    if policy_name != BASE:
        policy = Opening(tuple(pool.members), policy)
    left, spent = share * pool.seconds, dict.fromkeys(pool.members, 0.0)
    taken: dict[str, list[Any]] = {name: [] for name in pool.members}
    shares: dict[str, float] = {}
    while True:
        loads = [
            FamilyLoad(name, len(taken[name]), spent[name], shares.get(name), lag_of(taken, name, pool.problem.metric))
            for name, members in pool.members.items()
            if len(taken[name]) < len(members) and members[len(taken[name])].seconds <= left
        ]
        if not loads:
            break
        name = policy.choose(loads)
        member = pool.members[name][len(taken[name])]
        taken[name].append(member)
        spent[name] += member.seconds
        left -= member.seconds
        if isinstance(getattr(policy, "then", policy), EnsembleGain):
            shares = blend(pool, taken)[1]
    loss = held_out_loss(pool, blend(pool, taken)[0]) if any(taken.values()) else float("nan")
    n_members = sum(map(len, taken.values()))
    return {"set": pool.name, "share": share, "policy": policy_name, "loss": loss, "n_members": n_members}


def blend(pool: Pool, taken: dict[str, list[Any]]) -> tuple[Any, dict[str, float]]:
    """The ensemble of the members taken so far, and the families' shares of it."""
    from foldsmith.ensembling.greedy import max_members
    from foldsmith.ensembling.methods import ensemble
    from foldsmith.ensembling.task import BlendTask
    from foldsmith.flow.ensemble import family_shares, spread
    from foldsmith.results.top import ranked

    every = [member for members in taken.values() for member in members]
    best_first = ranked(every, greater_is_better=pool.problem.metric.greater_is_better)
    chosen = spread(best_first)[: max_members(len(pool.problem.judge.y))]
    oofs = {member.id: pool.oofs[member.id] for member in chosen}
    result = ensemble("greedy", oofs, BlendTask(pool.problem.judge))
    return result, family_shares(result, every)


def held_out_loss(pool: Pool, result: Any) -> float:
    """The metric on the held-out rows as a loss: 1 - score where greater is better."""
    metric = pool.problem.metric
    predicted = result.predict(pool.tests)
    values = predicted if result.decision is None else result.decision.apply(predicted)
    score = metric.score(pool.truth, values)
    return 1 - score if metric.greater_is_better else score


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per policy: loss over the best policy's on the same pool and budget, with its standard error over pools."""
    best: dict[tuple[str, float], float] = defaultdict(lambda: float("inf"))
    for run in runs:
        key = run["set"], run["share"]
        best[key] = min(best[key], run["loss"])
    records = []
    for policy in dict.fromkeys(run["policy"] for run in runs):
        mine = [run for run in runs if run["policy"] == policy]
        by_set: dict[str, list[float]] = defaultdict(list)
        for run in mine:
            by_set[run["set"]].append(100 * (run["loss"] / max(best[run["set"], run["share"]], 1e-12) - 1))
        means = [statistics.fmean(values) for values in by_set.values()]
        records.append(
            {
                "name": f"policy {policy}",
                "policy": policy,
                "excess_percent": round(statistics.fmean(means), 3),
                "se": round(statistics.stdev(means) / len(means) ** 0.5, 3) if len(means) > 1 else None,
                "wins": sum(run["loss"] <= best[run["set"], run["share"]] + 1e-12 for run in mine),
                "n_runs": len(mine),
                "n_members": round(statistics.fmean(run["n_members"] for run in mine), 1),
                "by_set": {name: round(statistics.fmean(values), 3) for name, values in by_set.items()},
            }
        )
    return records


def show(records: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    print("policy          excess loss over the best, %     wins    members   by set")
    for record in records:
        error = "" if record["se"] is None else f"+- {record['se']:.2f}"
        sets = ", ".join(f"{name} {value:+.2f}" for name, value in record["by_set"].items())
        wins = f"{record['wins']}/{record['n_runs']}"
        print(
            f"{record['policy']:<15} {record['excess_percent']:>8.2f} {error:<10} {wins:>14} "
            f"{record['n_members']:>9}   {sets}"
        )


if __name__ == "__main__":
    main()
