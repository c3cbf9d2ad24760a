"""How fast a greedy selection is, beside AutoGluon's, the hillclimbers package's and a loop over scikit-learn.

One thread, one run: 1,000 members x 100,000 rows x 50 steps per metric (ten classes where it says so). Ours is run in
full; a peer is run on fewer members, its time per candidate and step multiplied: their loops are linear in both. A peer
that is not installed is left out. --quick takes a fifth of the rows for the metrics of ten classes.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from foldsmith.ensembling.greedy import Greedy, best_prefix, path_weights, select
from foldsmith.ensembling.kernels import ConfusionKernel, Kernel, make_kernel, smooth_kernel
from foldsmith.ensembling.method import cross_fit
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask, Predictions, mix
from foldsmith.problem.decisions import default_decision
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scoring import Judge

STEPS = 50
N_MEMBERS = 1000
N_ROWS = 100_000
CLASSES = {"multiclass_log_loss": 10, "balanced_accuracy": 10, "rmse": 0, "mae": 0}
METRIC = {"multiclass_log_loss": "log_loss"}
AIMS = {"log_loss": 50, "auc": 50, "rmse": 20, "mae": 30, "accuracy": 100, "f1": 100}
NAMES = ("log_loss", "rmse", "mae", "auc", "accuracy", "f1", "multiclass_log_loss", "balanced_accuracy")


def made_up(name: str, n_members: int, n_rows: int, seed: int = 0) -> tuple[BlendTask, Predictions]:
    """Members that know the target more or less well, with errors that are partly alike."""
    rng = np.random.default_rng(seed)
    n_classes = CLASSES.get(name, 2)
    metric = get_metric(METRIC.get(name, name))
    plan = FoldPlan("imported", 1, 1, 0, np.zeros((1, n_rows), np.int16))  # one fold: the peers' AUC is one number
    task: Task = "regression" if n_classes == 0 else "binary" if n_classes == 2 else "multiclass"
    noise = rng.uniform(0.8, 2.5, n_members)
    if n_classes == 0:
        y: Any = rng.gamma(2, 3, n_rows)
        shared = rng.normal(size=n_rows)
        members = {
            f"m{n}": (y + noise[n] * (0.6 * shared + rng.normal(size=n_rows)))[:, None].astype(np.float32)
            for n in range(n_members)
        }
        return BlendTask(Judge(metric, task, 0, y, plan), STEPS), members
    y = rng.integers(0, n_classes, n_rows)
    members = {}
    if n_classes == 2:
        shared = rng.normal(size=n_rows)
        for n in range(n_members):
            logit = 1.2 * (2 * y - 1) + noise[n] * (0.6 * shared + rng.normal(size=n_rows))
            members[f"m{n}"] = (1 / (1 + np.exp(-logit)))[:, None].astype(np.float32)
    else:
        shared = rng.standard_normal((n_rows, n_classes), dtype=np.float32)
        for n in range(n_members):
            logit = np.float32(noise[n]) * (0.6 * shared + rng.standard_normal((n_rows, n_classes), dtype=np.float32))
            logit[np.arange(n_rows), y] += 2.0
            raised = np.exp(logit - logit.max(axis=1, keepdims=True))
            members[f"m{n}"] = raised / raised.sum(axis=1, keepdims=True)
    return BlendTask(Judge(metric, task, n_classes, y, plan), STEPS), members


def kernel_of(pool: Pool) -> Kernel:
    """The kernel of the metric itself; labels by the plain rule, as the peers decide them."""
    judge = pool.judge
    if judge.needs_labels:
        rule = default_decision(judge.metric, judge.task, judge.n_classes)
        return ConfusionKernel(pool, smooth_kernel(pool), rule)
    return make_kernel(pool)


def final_loss(task: BlendTask, members: Predictions, weights: dict[str, float]) -> float:
    """The plain metric of a blend, as a loss; labels by the plain rule."""
    judge = task.judge
    blended: Any = mix(weights, members, task.space)
    if judge.needs_labels:
        blended = default_decision(judge.metric, judge.task, judge.n_classes).apply(blended)
    value = judge.metric.score(judge.y, blended)
    return -value if judge.metric.greater_is_better else value


def seconds_of(work: Callable[[], Any]) -> float:
    """CPU seconds of a call in this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def ours(task: BlendTask, members: Predictions, steps: int = STEPS) -> tuple[float, dict[str, float]]:
    """Seconds of a selection on a pool that lies in memory, and its weights."""
    pool = Pool(members, task)
    kernel = kernel_of(pool)
    kernel.losses(1.0)  # columns are gathered once, whoever selects
    found: dict[str, float] = {}

    def work() -> None:
        path, losses = select(kernel_of(pool), steps)
        found.update(path_weights(path[: best_prefix(losses)], pool.names))

    return seconds_of(work), found


def autogluon(task: BlendTask, members: Predictions, steps: int) -> tuple[float, dict[str, float]] | None:
    """Seconds of AutoGluon's EnsembleSelection, and its weights."""
    try:
        from autogluon.core.metrics import get_metric as peer_metric
        from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
    except ImportError:
        return None
    judge = task.judge
    names = {"auc": "roc_auc", "rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}
    kind = judge.task
    metric = peer_metric(names.get(judge.metric.name, judge.metric.name), kind)
    selection = EnsembleSelection(
        ensemble_size=steps, problem_type=kind, metric=metric, random_state=np.random.RandomState(0)
    )
    given = [np.asarray(p[:, 0] if p.shape[1] == 1 else p) for p in members.values()]
    seconds = seconds_of(lambda: selection.fit(given, np.asarray(judge.y)))
    return seconds, {name: float(w) for name, w in zip(members, selection.weights_, strict=True) if w}


def hillclimbers(task: BlendTask, members: Predictions) -> float | None:
    """Seconds of one step of hillclimbers' loop per member: 50 weights, one metric call each; None where it is missing.

    The package prints and plots as it goes, so its inner loop is timed here as it stands there.
    """
    try:
        import hillclimbers  # noqa: F401
    except ImportError:
        return None
    score = sklearn_metric(task)
    if score is None or next(iter(members.values())).shape[1] > 1:
        return None
    one, two = list(members.values())[:2]
    a, b = one[:, 0].astype(np.float64), two[:, 0].astype(np.float64)

    def work() -> None:
        for weight in np.arange(0.01, 0.51, 0.01):
            score((1 - weight) * a + weight * b)

    return seconds_of(work)


def sklearn_metric(task: BlendTask) -> Callable[[Any], float] | None:
    """The metric as scikit-learn computes it."""
    from sklearn import metrics

    y, name = task.judge.y, task.judge.metric.name
    calls: dict[str, Callable[[Any], float]] = {
        "log_loss": lambda p: metrics.log_loss(y, p),
        "rmse": lambda p: metrics.root_mean_squared_error(y, p),
        "mae": lambda p: metrics.mean_absolute_error(y, p),
        "auc": lambda p: metrics.roc_auc_score(y, p),
        "accuracy": lambda p: metrics.accuracy_score(y, p >= 0.5),
        "f1": lambda p: metrics.f1_score(y, p >= 0.5),
        "balanced_accuracy": lambda p: metrics.balanced_accuracy_score(y, p.argmax(axis=1)),
    }
    return calls.get(name)


def scikit_loop(task: BlendTask, members: Predictions) -> float | None:
    """Seconds per candidate of the plain loop: the mean, then scikit-learn's metric."""
    score = sklearn_metric(task)
    if score is None:
        return None
    total = np.zeros(next(iter(members.values())).shape)
    few = list(members.values())[:3]

    def work() -> None:
        for member in few:
            blended = (total + member) / 2
            score(blended[:, 0] if blended.shape[1] == 1 else blended)

    return seconds_of(work) / len(few)


def pass_seconds(n_values: int) -> float:
    """Seconds to read so many float32 once, at the bandwidth of one thread."""
    block = np.ones(50_000_000, np.float32)
    np.dot(block, block)
    return min(seconds_of(lambda: np.dot(block, block)) for _ in range(3)) * n_values / len(block) / 1.0


def measure(name: str, n_members: int, n_rows: int) -> dict[str, Any]:
    """One line of the table."""
    warm = made_up(name, 20, 2000)
    ours(*warm, steps=2)  # compiled code is loaded, or made
    task, members = made_up(name, n_members, n_rows)
    seconds, _ = ours(task, members)
    n_outputs = next(iter(members.values())).shape[1]
    n_values = n_members * n_rows * (n_outputs if name == "balanced_accuracy" else 1)
    few = dict(list(members.items())[:4])
    scale = n_members * STEPS
    peer = autogluon(task, few, 2)
    climbed = hillclimbers(task, few)
    looped = scikit_loop(task, few)
    row: dict[str, Any] = {
        "name": name,
        "ours_seconds": round(seconds, 3),
        "n_members": n_members,
        "n_rows": n_rows,
        "steps": STEPS,
        "ratio_autogluon": None if peer is None else round(peer[0] / (len(few) * 2) * scale / seconds, 1),
        "ratio_hillclimbers": None if climbed is None else round(climbed * n_members / seconds, 1),
        "ratio_sklearn": None if looped is None else round(looped * scale / seconds, 1),
        "ratio_bandwidth": round(seconds / (STEPS * pass_seconds(n_values)), 2),
        "loss_excess": loss_excess(name),
        "aim": AIMS.get(name),
    }
    return row


def loss_excess(name: str) -> float | None:
    """Our final loss minus AutoGluon's, on 40 members x 5,000 rows x 25 steps; None where it is missing."""
    task, members = made_up(name, 40, 5000, seed=1)
    peer = autogluon(task, members, 25)
    if peer is None:
        return None
    return final_loss(task, members, ours(task, members, 25)[1]) - final_loss(task, members, peer[1])


def nested_milliseconds(n_members: int = 300, n_rows: int = N_ROWS) -> float:
    """A 5-fold nested greedy selection by RMSE once the Gram columns are there."""
    task, members = made_up("rmse", n_members, n_rows)
    folds = (np.arange(n_rows) % 5).astype(np.int16)[None]
    judge = task.judge
    task = BlendTask(Judge(judge.metric, judge.task, 0, judge.y, FoldPlan("imported", 5, 1, 0, folds)), 25)
    pool = Pool(members, task)
    method = Greedy()
    cross_fit(method, pool)
    return 1000 * seconds_of(lambda: [method.fit(pool.without(fold)) for fold in pool.folds])


def main() -> None:
    """Print the table, or its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within 5 minutes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--metrics", help="names separated by commas")
    options = parser.parse_args()
    threadpool_limits(1)
    rows = []
    for name in options.metrics.split(",") if options.metrics else NAMES:
        ten = CLASSES.get(name, 2) == 10
        n_rows = N_ROWS // 5 if options.quick and ten else N_ROWS
        n_members = N_MEMBERS // 4 if options.quick and ten else N_MEMBERS
        rows.append(measure(name, n_members, n_rows))
        if not options.json:
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    milliseconds = round(nested_milliseconds(), 2)
    rows.append({"name": "nested_rmse", "ours_seconds": milliseconds / 1000, "aim_milliseconds": 20})
    print(
        json.dumps(rows) if options.json else f"nested greedy by RMSE, 5 folds, after Gram columns: {milliseconds} ms"
    )


if __name__ == "__main__":
    main()
