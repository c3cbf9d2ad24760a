"""Training a net on one fold: batches, the loop, early stopping on an inner split, and ending with the deadline.

Nothing here knows the net, its optimizer or its loss: a :class:`Recipe` names them. Nets take a batch of each input,
give raw outputs ``(n, n_logits)``, or ``(n_members, n, n_logits)`` when they are ensembles, and say in ``n_hidden`` how
many values a row has in their widest layer.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.schedules import Schedule

Weights = dict[str, Any]  # a net's state, tensors by name

INNER_SHARE = 8  # one row of eight is held back for early stopping
WARM_UP_STEPS = 10  # not taken for the speed that the deadline is reckoned with
FORWARD_ROWS = 3  # rows predicted in the time that one is learnt from
END_SHARE = 0.95  # of the time until the deadline: the schedule's end; encoding and predicting take the rest
EVALUATED_VALUES = 1 << 21  # of a layer at a time, where nothing is learnt


@dataclass(frozen=True)
class Recipe:
    """How a net is trained.

    Args:
        optimizer: a ``torch.optim.Optimizer`` on the net's parameters.
        loss: of outputs and targets of a batch, to a scalar.
        n_epochs: at most.
        batch_size: divided by ``FoldTask.batch_divisor``.
        schedule: called before each step with the progress, 0 to 1; sets rates, dropout and the like.
        patience: epochs without a smaller loss on inner rows after which training ends, with the best epoch's
            weights. None: all rows are trained on and nothing is scored.
        snapshots: without patience: the ascending progresses at which weights are kept; the last ones by default.
        clip_norm: longest gradient.
        member_seeds: a batched ensemble: each member goes through the rows in its own order, and batches of inputs
            have the shape ``(n_members, n, n_columns)``.
    """

    optimizer: Any
    loss: Callable[[Any, Any], Any]
    n_epochs: int
    batch_size: int
    schedule: Callable[[float], None] | None = None
    patience: int | None = None
    snapshots: tuple[float, ...] = (1.0,)
    clip_norm: float | None = None
    member_seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Data:
    """All train rows on the device: each of ``inputs`` ``(n_train, …)``, ``y`` ``(n_train,)`` codes or values."""

    inputs: tuple[Any, ...]
    y: Any

    @classmethod
    def on(cls, device: str, inputs: tuple[NDArray[Any], ...], target: NDArray[Any]) -> "Data":
        """Move arrays to the device; integer targets are class codes."""
        import torch

        kind = torch.int64 if np.issubdtype(target.dtype, np.integer) else torch.float32
        return cls(tuple(torch.from_numpy(x).to(device) for x in inputs), torch.as_tensor(target).to(device, kind))


@dataclass
class TrainingLog:
    """What training came to; ``best_loss`` is the inner one, None without an inner split or a finite loss."""

    device: str
    n_epochs: int = 0
    n_steps: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    stopped_by: str = "rounds"


def train(net: Any, data: Data, task: FoldTask, recipe: Recipe) -> tuple[TrainingLog, list[Weights]]:
    """Train ``net`` in place; call this under :func:`seeded`, dropout may draw from the global generator.

    Args:
        net: on ``task.device``.
        data: all train rows.
        task: gives seed, device, deadline and the batch's divisor.
        recipe: everything else.

    Returns:
        What happened, and the kept weights: of the best epoch, or one for each of ``recipe.snapshots``.
    """
    rows = np.arange(len(data.y))
    fit_rows, inner_rows = (rows, rows[:0]) if recipe.patience is None else inner_split(data.y.cpu().numpy(), task.seed)
    batches = _Batches(fit_rows, task, recipe)
    n_scored = len(recipe.snapshots) * len(task.valid_rows) if recipe.patience is None else 0
    n_after = n_scored / FORWARD_ROWS * batches.n_steps / len(fit_rows)
    progress = Progress(recipe.n_epochs * batches.n_steps, task.deadline, n_after=n_after)
    log = TrainingLog(next(net.parameters()).device.type)
    keeper = _Snapshots(net, recipe) if recipe.patience is None else _BestEpoch(net, data, inner_rows, recipe, log)
    while not progress.is_over:
        net.train()
        for batch in batches.epoch():
            _step(net, data, recipe, batch, progress)
            keeper.after_step(progress)
            if progress.is_over:
                break
        log.n_epochs += 1
        if keeper.is_done_after_epoch():
            log.stopped_by = "patience"
            break
    if progress.is_cut and log.stopped_by == "rounds":
        log.stopped_by = "deadline"
    log.n_steps = progress.n_done
    return log, keeper.kept


class Progress:
    """How far training has come: 0 to 1 in equal steps, or in longer ones so that 1 is reached before the deadline.

    The clock decides only where the planned steps would not fit; elsewhere the values depend on their number alone.
    """

    def __init__(
        self, n_steps: int, deadline: float | None, clock: Callable[[], float] = time.time, *, n_after: float = 0.0
    ) -> None:
        self.value = 0.0
        self.n_done = 0
        self.is_cut = False
        self._planned = self._stride = 1 / n_steps
        self._n_after = n_after  # what comes after the last step and before the deadline takes the time of so many
        self._clock = clock
        self._start = clock()
        self._end = None if deadline is None else self._start + END_SHARE * (deadline - self._start)

    @property
    def middle(self) -> float:
        """Progress in the middle of the step to come."""
        return min(1.0, self.value + self._stride / 2)

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        return self.has_reached(1.0)

    def has_reached(self, value: float) -> bool:
        """Whether ``value`` is nearer to the progress made than half a planned step, or behind it."""
        return self.value > value - self._planned / 2

    def advance(self) -> None:
        """A step was taken."""
        self.n_done += 1
        self.value = min(1.0, self.value + self._stride)
        if self.n_done == 1:
            self._first = self._clock()  # the first step loads what is loaded lazily
        if self._end is not None:
            self._look(self._end)

    def _look(self, end: float) -> None:
        """Stretch the steps when those left would end after ``end``."""
        now = self._clock()
        if now >= end:
            self.value, self.is_cut = 1.0, True
        elif self.n_done > WARM_UP_STEPS or (self.n_done > 1 and now - self._start > (end - self._start) / 10):
            n_affordable = (end - now) * (self.n_done - 1) / max(1e-9, now - self._first) - self._n_after
            self._stride = max(self._planned, (1 - self.value) / max(1.0, n_affordable))
            self.is_cut |= self._stride > self._planned


class _Batches:
    """Shuffled batches of row numbers of even sizes: ``(n,)``, or ``(n_members, n)`` for an ensemble."""

    def __init__(self, rows: NDArray[np.int64], task: FoldTask, recipe: Recipe) -> None:
        self._rngs = [np.random.default_rng(seed) for seed in recipe.member_seeds or (task.seed,)]
        self._is_ensemble = bool(recipe.member_seeds)
        self._rows, self._device = rows, task.device
        self.n_steps = max(1, round(len(rows) / max(1, recipe.batch_size // task.batch_divisor)))

    def epoch(self) -> Iterator[Any]:
        """Every row once."""
        import torch

        orders = np.stack([rng.permutation(self._rows) for rng in self._rngs])
        shuffled = torch.from_numpy(orders if self._is_ensemble else orders[0]).to(self._device)
        yield from torch.tensor_split(shuffled, self.n_steps, dim=-1)


def _step(net: Any, data: Data, recipe: Recipe, rows: Any, progress: Progress) -> None:
    import torch

    if recipe.schedule is not None:
        recipe.schedule(progress.middle)
    recipe.optimizer.zero_grad(set_to_none=True)
    recipe.loss(net(*(x[rows] for x in data.inputs)), data.y[rows]).backward()
    if recipe.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
    recipe.optimizer.step()
    progress.advance()


class _Snapshots:
    """Keeps the weights at given progresses; several that one long step passes share its weights."""

    def __init__(self, net: Any, recipe: Recipe) -> None:
        self.kept: list[Weights] = []
        self._net, self._wanted = net, recipe.snapshots

    def after_step(self, progress: Progress) -> None:
        """Keep what is due."""
        while len(self.kept) < len(self._wanted) and progress.has_reached(self._wanted[len(self.kept)]):
            self.kept.append(_copy(self._net))

    def is_done_after_epoch(self) -> bool:
        """Never: the schedule is followed to its end."""
        return False


class _BestEpoch:
    """Scores the inner rows after each epoch and keeps the weights of the best one."""

    def __init__(self, net: Any, data: Data, rows: NDArray[np.int64], recipe: Recipe, log: TrainingLog) -> None:
        import torch

        self.kept = [_copy(net)]
        self._net, self._data, self._recipe, self._log = net, data, recipe, log
        self._rows = torch.from_numpy(rows).to(data.y.device)

    def after_step(self, progress: Progress) -> None:
        """Only whole epochs count."""

    def is_done_after_epoch(self) -> bool:
        """Score this epoch; whether none of the last ones was better than the best before them."""
        value, log = self._score(), self._log
        if value < (math.inf if log.best_loss is None else log.best_loss):
            log.best_loss, log.best_epoch, self.kept = value, log.n_epochs, [_copy(self._net)]
        assert self._recipe.patience is not None
        return log.n_epochs - log.best_epoch >= self._recipe.patience

    def _score(self) -> float:
        """Mean loss of the inner rows."""
        import torch

        loss = self._recipe.loss
        self._net.eval()
        total = 0.0
        with torch.inference_mode():
            for part in torch.split(self._rows, rows_at_once(self._net)):
                total += float(loss(self._net(*(x[part] for x in self._data.inputs)), self._data.y[part])) * len(part)
        return total / len(self._rows)


def _copy(net: Any) -> Weights:
    """The weights as they are now, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in net.state_dict().items()}


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


def rows_at_once(net: Any) -> int:
    """Rows that a net is given at a time for prediction; ``net.n_hidden`` values a row are held in its widest layer."""
    return max(64, EVALUATED_VALUES // int(net.n_hidden))


def scale_rates(optimizer: Any, schedule: Schedule, progress: float) -> None:
    """Multiply each group's own rate, kept as ``base_lr``, by the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("base_lr", group["lr"]) * schedule(progress)


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
