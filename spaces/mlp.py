"""A multilayer perceptron for tables, early stopped on an inner split of the train rows."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Goal, Task
from foldsmith.problem.tables import Table
from foldsmith.spaces.encoding import DenseEncoder, Matrix
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.space import Choice, Float, Int, Params, Space

INNER_SHARE = 8  # one row of eight is held back for early stopping
PATIENCE = 16  # epochs, as in TabR (Gorishniy et al. 2023, arXiv:2307.14338)
ROW_BUDGET = 600_000  # rows seen in all; keeps a fold within seconds on one core
EPOCHS = (20, 200)
STEPS_BETWEEN_LOOKS = 20  # at the clock
PREDICT_BLOCK = 8192


@dataclass(frozen=True)
class NetShape:
    """What has to be known to rebuild the net and to read its outputs.

    Args:
        kind: of the goal; its link is applied to the outputs.
        n_inputs: columns of the encoded matrix.
        n_outputs: columns of a prediction.
        n_blocks: hidden layers.
        width: of each hidden layer.
        dropout: share of hidden units dropped in training.
        center: of the regression target; 0 for classes.
        scale: of the regression target; 1 for classes.
        bounds: least and largest target of the train rows: values are clamped to it, as in RealMLP (Holzmueller et
            al. 2024, arXiv:2407.04491).
    """

    kind: Task
    n_inputs: int
    n_outputs: int
    n_blocks: int
    width: int
    dropout: float
    center: float = 0.0
    scale: float = 1.0
    bounds: tuple[float, float] = (0.0, 1.0)

    def build(self) -> Any:
        """The net with fresh weights, as a ``torch.nn.Sequential``."""
        from torch import nn

        layers: list[Any] = []
        size = self.n_inputs
        for _ in range(self.n_blocks):
            layers += [nn.Linear(size, self.width), nn.SiLU(), nn.Dropout(self.dropout)]
            size = self.width
        return nn.Sequential(*layers, nn.Linear(size, self.n_outputs))

    def link(self, outputs: Any) -> Any:
        """Chances or values of the raw outputs."""
        if self.kind == "binary":
            return outputs.sigmoid()
        if self.kind == "multiclass":
            return outputs.softmax(dim=1)
        return (outputs * self.scale + self.center).clamp(*self.bounds)


class FittedMLP:
    """A trained net on the CPU and its encoder."""

    curve = None

    def __init__(self, net: Any, shape: NetShape, encoder: DenseEncoder) -> None:
        self.facts: dict[str, Any] = {"device": "cpu"}
        self._net = net.eval()
        self._shape = shape
        self._encoder = encoder

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        import torch

        matrix = torch.from_numpy(self._encoder.transform(table))
        with torch.inference_mode(), _torch_threads(1):
            parts = [self._shape.link(self._net(part)) for part in matrix.split(PREDICT_BLOCK)]
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, the shape as JSON, and the encoder."""
        from safetensors.torch import save_file

        save_file(self._net.state_dict(), folder / "weights.safetensors")
        (folder / "net.json").write_text(json.dumps({"format": 1, **asdict(self._shape)}))
        self._encoder.save(folder)


class MLP(Family):
    """Fully connected net with AdamW; ranges after Gorishniy et al. (2021, arXiv:2106.11959; 2022, arXiv:2203.05556)."""

    name = "mlp"
    prefix = "mlp"
    stopping = "inner"

    def space(self, facts: Facts) -> Space:
        """The batch size is not searched: it follows from the number of rows."""
        return Space(
            "mlp@1",
            {
                "numeric": Choice(("standard", "quantile", "pieces")),
                "n_blocks": Int(1, 5),
                "width": Int(32, 512, log=True),
                "dropout": Float(0.0, 0.5),
                "learning_rate": Float(1e-4, 1e-2, log=True),
                "weight_decay": Float(1e-6, 0.1, log=True),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """Wide enough for most tables, quick on one core; small tables get a smaller net and more noise."""
        small = facts.n_rows < 2000
        return [
            {
                "numeric": "pieces",
                "n_blocks": 2,
                "width": 128 if small else 256,
                "dropout": 0.3 if small else 0.15,
                "learning_rate": 1e-3 if small else 2e-3,
                "weight_decay": 1e-2,
            }
        ]

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Train until the inner loss has not fallen for some epochs, or all epochs or the deadline have passed.

        Raises:
            FoldsmithError: a GPU was asked for and PyTorch sees none.
        """
        import torch

        if task.device == "cuda" and not torch.cuda.is_available():
            raise FoldsmithError("device 'cuda' was asked for but PyTorch sees no GPU; choose the device 'cpu'")
        scaling: Any = task.params["numeric"]
        fold = dense_matrices(task, scaling)
        target = task.y[task.train_rows]
        shape = _shape(task, fold.encoder.n_columns, target)
        gpus = [torch.device("cuda")] if task.device == "cuda" else []
        with torch.random.fork_rng(gpus), _torch_threads(task.threads):
            torch.manual_seed(task.seed)
            net = shape.build().to(task.device)
            log = _train(net, fold.train, _standardised(target, shape), task)
        fitted = FittedMLP(net.cpu(), shape, fold.encoder)
        fitted.facts |= asdict(log)
        return fitted

    def load(self, folder: Path) -> FittedFold:
        """Read the weights, the shape and the encoder."""
        from safetensors.torch import load_file

        record = json.loads((folder / "net.json").read_text())
        record.pop("format")
        shape = NetShape(**{**record, "bounds": tuple(record["bounds"])})
        net = shape.build()
        net.load_state_dict(load_file(folder / "weights.safetensors"))
        return FittedMLP(net, shape, DenseEncoder.load(folder))


@dataclass
class TrainingLog:
    """What training came to; becomes facts of the fitted fold."""

    device: str
    n_epochs: int = 0
    best_epoch: int = 0
    stopped_by: str = "rounds"
    best_loss: float = field(default=math.inf)


def _shape(task: FoldTask, n_inputs: int, target: NDArray[Any]) -> NetShape:
    params: Any = task.params
    goal = task.goal
    shape = NetShape(goal.kind, n_inputs, goal.n_outputs, params["n_blocks"], params["width"], params["dropout"])
    if goal.is_classification:
        return shape
    scale = float(target.std()) or 1.0
    bounds = float(target.min()), float(target.max())
    return NetShape(**{**asdict(shape), "center": float(target.mean()), "scale": scale, "bounds": bounds})


def _standardised(target: NDArray[Any], shape: NetShape) -> NDArray[Any]:
    return target if shape.kind != "regression" else (target - shape.center) / shape.scale


def _inner_split(target: NDArray[Any], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to stop by: of every eight neighbours in the target's order, one is held back.

    This stratifies classes and spreads values alike. Fewer than eight rows are used for both.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    n_groups = len(order) // INNER_SHARE
    if not n_groups:
        return order, order
    held = order[np.arange(n_groups) * INNER_SHARE + rng.integers(INNER_SHARE, size=n_groups)]
    return np.setdiff1d(order, held), np.sort(held)


def _batch_size(n_rows: int) -> int:
    """Between 32 and 1024: some dozens of steps an epoch on small tables, big matrix products on large ones."""
    return int(np.clip(2 ** round(math.log2(max(1, n_rows / 64))), 32, 1024))


def _train(net: Any, matrix: Matrix, target: NDArray[Any], task: FoldTask) -> TrainingLog:
    """Train ``net`` in place and leave it with the weights of the best epoch."""
    import torch

    train, inner = _inner_split(target, task.seed)
    data = _Data(torch.from_numpy(matrix).to(task.device), _as_target(target, task), _loss(task.goal))
    n_epochs = int(np.clip(ROW_BUDGET / len(train), *EPOCHS))
    size = _batch_size(len(train))
    stepper = _Stepper(net, data, task, n_steps=n_epochs * math.ceil(len(train) / size))
    log = TrainingLog(next(net.parameters()).device.type)
    best = _copy(net)
    generator = torch.Generator().manual_seed(task.seed)
    for epoch in range(1, n_epochs + 1):
        net.train()
        for number, rows in enumerate(
            torch.from_numpy(train)[torch.randperm(len(train), generator=generator)].split(size)
        ):
            stepper.step(rows)
            if number % STEPS_BETWEEN_LOOKS == 0 and task.is_late:
                break
        value = _evaluate(net, data, torch.from_numpy(inner))
        log.n_epochs = epoch
        if value < log.best_loss:
            log.best_loss, log.best_epoch, best = value, epoch, _copy(net)
        if task.is_late or epoch - log.best_epoch >= max(PATIENCE, n_epochs // 5):
            log.stopped_by = "deadline" if task.is_late else "patience"
            break
    net.load_state_dict(best)
    return log


@dataclass(frozen=True)
class _Data:
    """All train rows on the device: ``X`` ``(n_train, n_columns)``, ``y`` as the loss wants it, and that loss."""

    X: Any
    y: Any
    loss: Any


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
    with torch.inference_mode():
        losses = [float(data.loss(net(data.X[part]), data.y[part])) * len(part) for part in rows.split(PREDICT_BLOCK)]
    return sum(losses) / len(rows)


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


@contextmanager
def _torch_threads(n_threads: int) -> Iterator[None]:
    """PyTorch's thread count is global; it is put back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
