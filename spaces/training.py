"""Training a net on one fold: inner split, batches, AdamW, and early stopping on the goal's loss.

Nothing here knows the net: any ``torch.nn.Module`` from ``(n, n_columns)`` to ``(n, n_outputs)`` raw outputs will do.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.scaling import Matrix

INNER_SHARE = 8  # one row of eight is held back for early stopping
PATIENCE = 16  # epochs, as in TabR (Gorishniy et al. 2023, arXiv:2307.14338); more on small tables
ROW_BUDGET = 600_000  # rows seen in all; keeps a fold within seconds on one core
EPOCHS = (20, 200)
STEPS_BETWEEN_LOOKS = 20  # at the clock
BLOCK = 8192  # rows evaluated at a time


@dataclass
class TrainingLog:
    """What training came to; ``best_loss`` is the inner one, None when no epoch gave a finite loss."""

    device: str
    n_epochs: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    stopped_by: str = "rounds"


def train(net: Any, matrix: Matrix, target: NDArray[Any], task: FoldTask) -> TrainingLog:
    """Train ``net`` in place and leave it with the weights of the best epoch.

    Args:
        net: on ``task.device``; call this under :func:`seeded`, dropout draws from the global generator.
        matrix: ``(n_train, n_columns)`` float32.
        target: ``(n_train,)`` class codes or standardised values.
        task: gives ``learning_rate``, ``weight_decay``, the goal's loss, seed, device and deadline.
    """
    import torch

    fit_rows, inner_rows = inner_split(target, task.seed)
    data = _Data(torch.from_numpy(matrix).to(task.device), _as_target(target, task), _loss(task.goal))
    n_epochs = int(np.clip(ROW_BUDGET / len(fit_rows), *EPOCHS))
    batches = _Batches(fit_rows, task)
    stepper = _Stepper(net, data, task, n_steps=n_epochs * batches.n_steps)
    log = TrainingLog(next(net.parameters()).device.type)
    best = _copy(net)
    for epoch in range(1, n_epochs + 1):
        net.train()
        for rows in batches.epoch():
            stepper.step(rows)
        value = _evaluate(net, data, torch.from_numpy(inner_rows))
        log.n_epochs = epoch
        if value < (math.inf if log.best_loss is None else log.best_loss):
            log.best_loss, log.best_epoch, best = value, epoch, _copy(net)
        if task.is_late or epoch - log.best_epoch >= max(PATIENCE, n_epochs // 5):
            log.stopped_by = "deadline" if task.is_late else "patience"
            break
    net.load_state_dict(best)
    return log


def inner_split(target: NDArray[Any], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to stop by, both sorted: of eight neighbours in the target's order, one is held back.

    This stratifies classes and spreads values alike. Fewer than eight rows are used for both.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    n_groups = len(order) // INNER_SHARE
    if not n_groups:
        return np.sort(order), np.sort(order)
    held = order[np.arange(n_groups) * INNER_SHARE + rng.integers(INNER_SHARE, size=n_groups)]
    return np.setdiff1d(order, held), np.sort(held)


def batch_size(n_rows: int) -> int:
    """Between 32 and 1024: some dozens of steps an epoch on small tables, big matrix products on large ones."""
    return int(np.clip(2 ** round(math.log2(max(1, n_rows / 64))), 32, 1024))


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """PyTorch's global generators are seeded inside and put back afterwards."""
    import torch

    with torch.random.fork_rng([0] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """PyTorch's thread count is global; it is put back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Data:
    """All train rows on the device: ``X`` ``(n_train, n_columns)``, ``y`` as the loss wants it, and that loss."""

    X: Any
    y: Any
    loss: Any


class _Batches:
    """Shuffled batches of row numbers; an epoch ends early when the deadline has passed."""

    def __init__(self, rows: NDArray[np.int64], task: FoldTask) -> None:
        self._rng = np.random.default_rng(task.seed)
        self._rows, self._task = rows, task
        self._size = max(1, batch_size(len(rows)) // task.batch_divisor)
        self.n_steps = math.ceil(len(rows) / self._size)

    def epoch(self) -> Iterator[Any]:
        """Every row once."""
        import torch

        shuffled = torch.from_numpy(self._rng.permutation(self._rows))
        for step in range(self.n_steps):
            if step % STEPS_BETWEEN_LOOKS == 1 and self._task.is_late:
                return
            yield shuffled[step * self._size : (step + 1) * self._size]


class _Stepper:
    """AdamW (Loshchilov & Hutter 2019) with a short warm-up and a cosine to zero over ``n_steps``."""

    def __init__(self, net: Any, data: _Data, task: FoldTask, n_steps: int) -> None:
        import torch

        params: Any = task.params
        self._net, self._data = net, data
        self._optimizer = torch.optim.AdamW(
            net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"]
        )
        warm_up = max(1, n_steps // 50)

        def rate(step: int) -> float:
            return min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / n_steps)))

        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate)

    def step(self, rows: Any) -> None:
        """One step on a batch of row numbers."""
        import torch

        self._optimizer.zero_grad(set_to_none=True)
        self._data.loss(self._net(self._data.X[rows]), self._data.y[rows]).backward()
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()


def _evaluate(net: Any, data: _Data, rows: Any) -> float:
    """Mean loss on some rows."""
    import torch

    net.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            total += float(data.loss(net(data.X[part]), data.y[part])) * len(part)
    return total / len(rows)


def _copy(net: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _as_target(target: NDArray[Any], task: FoldTask) -> Any:
    """Class codes ``(n_rows,)`` for several classes, else a float column ``(n_rows, 1)``."""
    import torch

    if task.goal.kind == "multiclass":
        return torch.as_tensor(target.astype(np.int64), device=task.device)
    return torch.as_tensor(target.astype(np.float32)[:, None], device=task.device)


def _loss(goal: Goal) -> Any:
    from torch.nn import functional

    if goal.kind == "binary":
        return functional.binary_cross_entropy_with_logits
    if goal.kind == "multiclass":
        return functional.cross_entropy
    return functional.l1_loss if goal.loss == "absolute" else functional.mse_loss
