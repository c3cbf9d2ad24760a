"""Seconds of one update of the ensemble that runs beside a search, against a full greedy selection of the same members.

    python benchmarks/running_ensemble.py --rows 100000

Of 500 members that are stored, the 50 best by turns of their families are candidates; both selections score their
nested predictions, too. The first update may load compiled loops; the median of three further ones is shown.
"""

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

CASES = (
    ("log_loss", "binary"),
    ("auc", "binary"),
    ("f1", "binary"),
    ("accuracy", "multiclass"),
    ("rmse", "regression"),
    ("mae", "regression"),
)


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--members", type=int, default=50, help="candidates")
    parser.add_argument("--quick", action="store_true", help="3,000 rows, 20 members")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.members = 3_000, 20
    with threadpool_limits(1):
        records = [measure(metric, task, options.rows, options.members) for metric, task in CASES]
    if options.json:
        print(json.dumps(records))
        return
    print(f"{'metric':24}{'update s':>10}{'greedy s':>10}{'ratio':>8}{'nested, quick':>16}{'greedy':>10}")
    for one in records:
        print(
            f"{one['name']:24}{one['seconds']:>10.2f}{one['full_seconds']:>10.2f}{one['ratio']:>8.1f}"
            f"{one['nested']:>16.5f}{one['full_nested']:>10.5f}"
        )


def measure(metric_name: str, task: str, n_rows: int, n_members: int) -> dict[str, Any]:
    """Both selections on the same drawn members."""
    from foldsmith.ensembling.methods import ensemble
    from foldsmith.ensembling.task import BlendTask
    from foldsmith.problem.folds import FoldPlan
    from foldsmith.problem.metrics import get_metric
    from foldsmith.problem.scoring import Judge

    rng = np.random.default_rng(0)
    y, members = draw(task, n_rows, n_members, rng)
    folds = (rng.permutation(n_rows) % 5).astype(np.int16)
    n_classes = 0 if task == "regression" else int(y.max()) + 1
    plan = FoldPlan("plain", 5, 1, 0, folds[None])
    blend = BlendTask(Judge(get_metric(metric_name), task, n_classes, y, plan))  # type: ignore[arg-type]
    took: dict[str, list[float]] = {"quick_greedy": [], "greedy": []}
    nested: dict[str, float] = {}
    for method, repeats in (("quick_greedy", 4), ("greedy", 2)):
        for _ in range(repeats):
            began = time.perf_counter()
            nested[method] = ensemble(method, members, blend).nested.value
            took[method].append(time.perf_counter() - began)
    quick, full = statistics.median(took["quick_greedy"][1:]), min(took["greedy"])
    return {
        "name": f"{metric_name}, {task}",
        "rows": n_rows,
        "members": n_members,
        "seconds": round(quick, 3),
        "full_seconds": round(full, 3),
        "ratio": round(full / quick, 1),
        "nested": nested["quick_greedy"],
        "full_nested": nested["greedy"],
    }


def draw(task: str, n_rows: int, n_members: int, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Labels, and members that see them through noise."""
    noise = rng.uniform(0.5, 1.5, n_members)
    if task == "regression":
        y = rng.normal(size=n_rows)
        return y, {
            f"m{i}": (y + scale * rng.normal(size=n_rows)).astype(np.float32)[:, None] for i, scale in enumerate(noise)
        }
    n_classes = 2 if task == "binary" else 5
    logits = rng.normal(size=(n_rows, n_classes))
    raised = np.exp(logits)
    y = (raised.cumsum(axis=1) / raised.sum(axis=1, keepdims=True) < rng.random((n_rows, 1))).sum(axis=1)
    members = {}
    for i, scale in enumerate(noise):
        seen = np.exp(logits + scale * rng.normal(size=logits.shape))
        chances = (seen / seen.sum(axis=1, keepdims=True)).astype(np.float32)
        members[f"m{i}"] = chances[:, 1:] if n_classes == 2 else chances
    return y, members


if __name__ == "__main__":
    main()
