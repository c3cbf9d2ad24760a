"""Greedy selection with replacement.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes (2004), Ensemble selection from libraries of models, ICML. Starting
from nothing, the member that helps most is added, again and again; the best prefix of that path is kept.
"""

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.kernels import TIE, Kernel, magnitude, make_kernel
from foldsmith.ensembling.task import BlendTask, EnsembleResult, Predictions, Step, mix, to_space
from foldsmith.problem.decisions import Decision
from foldsmith.problem.files import digest
from foldsmith.problem.scoring import score_oof, score_values

MAX_MEMBERS = 50
MAX_STACK_BYTES = 1 << 30


def greedy(predictions: Predictions, task: BlendTask) -> EnsembleResult:
    """Select members on all covered rows, and once more per fold without its rows for the nested score.

    Args:
        predictions: out-of-fold predictions ``(n_rows, n_outputs)`` by member, best member first; the first 50 that
            differ, or fewer where their values would not fit into 1 GiB, are candidates.
        task: metric, labels, folds, and how many steps.

    Returns:
        Weights, trace, and in-sample and nested scores.
    """
    names = _distinct(predictions)[: _n_candidates(predictions)]
    space = task.judge.metric.blend_space
    stack = np.stack([to_space(predictions[name][task.rows], space) for name in names])
    path, losses = _select(make_kernel(task, stack, task.rows), task.size)
    best = _best_prefix(losses)
    weights = _weights(path[:best], names)
    nested_oof, shares = _cross_fitted({name: predictions[name] for name in names}, stack, names, task)
    decision, in_sample = _judge_in_sample(task, mix(weights, predictions, space))
    sign = -1.0 if task.judge.metric.greater_is_better else 1.0
    steps = tuple(Step(names[member], _shown(task, sign * loss)) for member, loss in zip(path, losses, strict=True))
    return EnsembleResult(
        "greedy",
        weights,
        steps,
        in_sample,
        score_oof(task.judge, nested_oof),
        nested_oof,
        decision,
        f"best prefix: {best} of {len(path)} steps over {len(names)} candidates",
        shares,
    )


def max_members(n_rows: int) -> int:
    """How many members may be candidates: with few rows the best of many are only lucky.

    On pools of 56-60 members preselecting the 10-20 best helped at 300 rows and cost a little at 1,000; AutoGluon caps
    its models likewise (8 at 500 rows, 40 at 10,000).

    >>> [max_members(n) for n in (100, 300, 1000, 3000, 10_000)]
    [13, 17, 25, 35, 50]
    """
    return int(np.clip(round(25 * (max(1, n_rows) / 1000) ** 0.3), 8, MAX_MEMBERS))


def _n_candidates(predictions: Predictions) -> int:
    one = next(iter(predictions.values()))
    return max(1, min(MAX_MEMBERS, MAX_STACK_BYTES // (8 * one.size)))


def _distinct(predictions: Predictions) -> list[str]:
    """Names without those that repeat an earlier prediction, which would only crowd out other candidates."""
    first_of: dict[str, str] = {}
    for name, prediction in predictions.items():
        first_of.setdefault(digest(np.asarray(prediction)), name)
    return list(first_of.values())


def _select(kernel: Kernel, size: int) -> tuple[list[int], list[float]]:
    """The path of added members and the loss after each step; ties prefer a member that is already inside."""
    path: list[int] = []
    losses: list[float] = []
    for _ in range(size):
        losses_now = kernel.losses()
        candidates = np.where(np.isnan(losses_now), np.inf, losses_now)
        least = candidates.min()
        tied = np.flatnonzero(candidates <= least + TIE * magnitude(candidates))
        inside = [member for member in tied if member in path]
        chosen = int(inside[0] if inside else tied[0])
        kernel.add(chosen)
        path.append(chosen)
        losses.append(float(least))
    return path, losses


def _best_prefix(losses: list[float]) -> int:
    """Length of the shortest prefix with the least loss."""
    # ten ties: a kernel may set the members that tie apart by a few
    enough = min(losses) + 10 * TIE * magnitude(np.array(losses))
    return next(n for n, loss in enumerate(losses, start=1) if loss <= enough)


def _weights(path: list[int], names: list[str]) -> dict[str, float]:
    counts = np.bincount(path, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[member]: float(counts[member] / len(path)) for member in order if counts[member]}


def _cross_fitted(
    predictions: Predictions, stack: NDArray[np.float64], names: list[str], task: BlendTask
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Each fold's rows, blended with weights that were selected without them; and those weights' mean."""
    folds = task.fold_of_row[task.rows]
    first = next(iter(predictions.values()))
    nested = np.full((len(task.judge.y), first.shape[1]), np.nan, np.float32)
    shares: dict[str, float] = {}
    for fold in range(task.judge.plan.n_folds):
        others = np.flatnonzero(folds != fold)
        path, losses = _select(make_kernel(task, stack[:, others], task.rows[others]), task.size)
        weights = _weights(path[: _best_prefix(losses)], names)
        rows = task.rows[folds == fold]
        space = task.judge.metric.blend_space
        nested[rows] = mix(weights, {name: predictions[name][rows] for name in weights}, space)
        for name, weight in weights.items():
            shares[name] = shares.get(name, 0.0) + weight / task.judge.plan.n_folds
    return nested, shares


def _judge_in_sample(task: BlendTask, blended: NDArray[np.float32]) -> tuple[Decision | None, float]:
    """The decision rule fitted on all rows (None without labels) and the score on those same rows."""
    judge = task.judge
    if not judge.needs_labels:
        return None, score_values(judge, blended).value
    decision = judge.decide(task.rows, blended)
    labels = np.full(len(judge.y), -1, np.int64)
    labels[task.rows] = decision.apply(blended[task.rows])
    return decision, score_values(judge, labels).value


def _shown(task: BlendTask, value: float) -> float:
    """A kernel's loss in the metric's own units: the squared kernels work on mean squared errors."""
    name = task.judge.metric.name
    if name in ("rmse", "rmsle"):
        return float(np.sqrt(max(value, 0.0)))
    if name == "auc":
        return 1.0 + value
    if name == "r2":
        y = np.asarray(task.judge.y[task.rows], np.float64)
        return float(1 + value / y.var())
    return value
