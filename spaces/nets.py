"""What all nets share: what they are trained on, their losses, and a fitted net with its encoder."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Goal, Loss, Task
from foldsmith.problem.tables import Table
from foldsmith.spaces.family import Facts, FoldTask
from foldsmith.spaces.training import Data, Recipe, Weights, rows_at_once, seeded, torch_threads, train

GPU_ROWS = 10_000  # from here on a GPU is worth its start
FIRST_FOLD_SECONDS = 120.0  # of one core, for the first fold of a family that nothing hurries
BUDGET_SHARE = 0.02  # of the whole search for that fold: five of them take a tenth
MOST_SECONDS = 600.0  # of one core for any fold; a GPU is some twenty times as fast
GPU_SPEED = 20.0


class Encoder(Protocol):
    """A fitted encoder of tables: one matrix, or a tuple of arrays with a row for each row of the table."""

    def transform(self, table: Table) -> Any: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Target:
    """What a net is trained on, and how its raw outputs are read.

    Nets have one logit a class, of two classes too, or one standardised value.

    Args:
        kind: of the goal.
        loss: of the goal.
        n_logits: columns of a net's raw output.
        center: of the regression target.
        scale: of the regression target.
        bounds: least and largest target of the train rows: values are clamped to it, as in RealMLP (Holzmueller et
            al. 2024, arXiv:2407.04491).
    """

    kind: Task
    loss: Loss
    n_logits: int
    center: float = 0.0
    scale: float = 1.0
    bounds: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def fit(cls, goal: Goal, y: NDArray[Any]) -> "Target":
        """Of the train rows' ``y``."""
        if goal.is_classification:
            return cls(goal.kind, goal.loss, goal.n_classes)
        bounds = float(y.min()), float(y.max())
        return cls(goal.kind, goal.loss, 1, float(y.mean()), float(y.std()) or 1.0, bounds)

    def standardised(self, y: NDArray[Any]) -> NDArray[Any]:
        """Class codes as they are, values with mean 0 and deviation 1."""
        return (y - self.center) / self.scale if self.kind == "regression" else y

    def training_loss(self, outputs: Any, y: Any, label_smoothing: float = 0.0) -> Any:
        """Mean loss of raw outputs ``(…, n, n_logits)`` for ``y`` ``(n,)`` or ``(…, n)``: each member's own loss."""
        from torch.nn import functional

        y = y.expand(outputs.shape[:-1])
        if self.kind != "regression":
            flat = outputs.reshape(-1, self.n_logits)
            return functional.cross_entropy(flat, y.reshape(-1), label_smoothing=label_smoothing)
        loss = functional.l1_loss if self.loss == "absolute" else functional.mse_loss
        return loss(outputs[..., 0], y)

    def predict(self, outputs: Any) -> Any:
        """The members' mean chances or values, ``(n, goal.n_outputs)``."""
        if self.kind == "regression":
            made = (outputs * self.scale + self.center).clamp(*self.bounds)
        else:
            made = outputs.softmax(dim=-1)
        mean = made.mean(dim=0) if made.ndim == 3 else made
        return mean[:, 1:] if self.kind == "binary" else mean


class FittedNet:
    """A trained net on the CPU, its encoder, and the record that rebuilds it.

    Args:
        net: of inputs to raw outputs, as :mod:`foldsmith.spaces.training` wants it.
        rounds: the weights to choose from, one for each point of the curve.
        target: reads the outputs.
        encoder: makes the inputs.
        record: JSON values that the family's ``build`` makes the net from.
    """

    def __init__(
        self, net: Any, rounds: list[Weights], target: Target, encoder: Encoder, record: dict[str, Any]
    ) -> None:
        self.facts: dict[str, Any] = {"device": "cpu"}
        self.curve: NDArray[np.float64] | None = None
        self._net, self._rounds = net.eval(), rounds
        self._target, self._encoder, self._record = target, encoder, record

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``, with the weights of a round; None for the last ones."""
        return self._predict(self._encoded(table), len(self._rounds) if round is None else round)

    def watch(self, task: FoldTask) -> None:
        """Set the curve: the goal's monitor on the validation rows for each of the rounds."""
        inputs, y = self._encoded(task.table.take(task.valid_rows)), task.y[task.valid_rows]
        rounds = range(1, len(self._rounds) + 1)
        self.curve = np.array([monitored(task.goal, y, self._predict(inputs, round)) for round in rounds])

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, the record as JSON, and the encoder."""
        from safetensors.torch import save_file

        for number, weights in enumerate(self._rounds):
            save_file(weights, folder / f"weights-{number:02d}.safetensors")
        record = {"format": 1, "target": asdict(self._target), "net": self._record}
        (folder / "net.json").write_text(json.dumps(record))
        self._encoder.save(folder)

    def _encoded(self, table: Table) -> list[Any]:
        import torch

        return [torch.from_numpy(x) for x in as_inputs(self._encoder.transform(table))]

    def _predict(self, inputs: list[Any], round: int) -> NDArray[np.float32]:
        import torch

        self._net.load_state_dict(self._rounds[round - 1])
        parts = zip(*(torch.split(x, rows_at_once(self._net)) for x in inputs), strict=True)
        with torch.inference_mode(), torch_threads(1):
            made = [self._target.predict(self._net(*part)) for part in parts]
        return np.asarray(torch.cat(made).numpy(), np.float32)


def monitored(goal: Goal, y: NDArray[Any], predicted: NDArray[np.float32]) -> float:
    """The goal's monitor: of class codes or values ``(n,)`` and predictions ``(n, goal.n_outputs)``.

    The worst there is for weights that have diverged: another round may be good.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    if not np.isfinite(predicted).all():
        return 0.0 if goal.monitor_greater_is_better else math.inf
    if goal.monitor == "rmse":
        return float(np.sqrt(np.mean((y - predicted[:, 0]) ** 2)))
    if goal.monitor == "mae":
        return float(np.mean(np.abs(y - predicted[:, 0])))
    if goal.monitor == "auc":
        return float(roc_auc_score(y, predicted[:, 0])) if len(np.unique(y)) > 1 else float("nan")
    return float(
        log_loss(y, predicted.squeeze(1) if goal.kind == "binary" else predicted, labels=range(goal.n_classes))
    )


def first_fold_seconds(facts: Facts) -> float:
    """Seconds of one core that a default point should not need more of for a fold."""
    if facts.budget_seconds is None:
        return FIRST_FOLD_SECONDS
    return min(FIRST_FOLD_SECONDS, BUDGET_SHARE * facts.budget_seconds)


def fitting_epochs(seconds: float, n_rows: float, seconds_per_row: float) -> float:
    """How many epochs fit into ``seconds``."""
    return seconds / (max(1.0, n_rows) * seconds_per_row)


def most_epochs(device: str, n_rows: int, seconds_per_row: float) -> int:
    """The most epochs of any fold, whatever its parameters ask for; at least one."""
    seconds = MOST_SECONDS * (GPU_SPEED if device == "cuda" else 1)
    return max(1, int(fitting_epochs(seconds, n_rows, seconds_per_row)))


def load_net(folder: Path, build: Callable[[dict[str, Any]], Any], encoder: Encoder) -> FittedNet:
    """Read what ``FittedNet.save`` wrote; ``build`` makes the net of its record."""
    from safetensors.torch import load_file

    stored = json.loads((folder / "net.json").read_text())
    target = Target(**{**stored["target"], "bounds": tuple(stored["target"]["bounds"])})
    rounds = [load_file(path) for path in sorted(folder.glob("weights-*.safetensors"))]
    return FittedNet(build(stored["net"]), rounds, target, encoder, stored["net"])


def fit_net(
    task: FoldTask,
    encoder: Encoder,
    inputs: tuple[NDArray[Any], ...],
    record: dict[str, Any],
    build: Callable[[dict[str, Any], Target, Data], Any],
    recipe: Callable[[Any, Target], Recipe],
) -> FittedNet:
    """Build a net, train it on the fold's train rows and wrap it up.

    Args:
        task: the fold.
        encoder: made ``inputs``.
        inputs: of the train rows.
        record: for :func:`load_net`.
        build: the fresh net on the task's device, given the record, the target and the train rows there.
        recipe: of the net.

    Raises:
        FoldsmithError: a GPU was asked for and PyTorch sees none.
    """
    import torch

    if task.device == "cuda" and not torch.cuda.is_available():
        raise FoldsmithError("device 'cuda' was asked for but PyTorch sees no GPU; choose the device 'cpu'")
    y = task.y[task.train_rows]
    target = Target.fit(task.goal, y)
    with seeded(task.seed, task.device), torch_threads(task.threads):
        data = Data.on(task.device, inputs, target.standardised(y))
        net = build(record, target, data)
        log, rounds = train(net, data, task, recipe(net, target))
    fitted = FittedNet(net.cpu(), rounds, target, encoder, record)
    fitted.facts |= asdict(log)
    return fitted


def as_inputs(encoded: Any) -> tuple[NDArray[Any], ...]:
    """A tuple of arrays, also of a single matrix."""
    return encoded if isinstance(encoded, tuple) else (encoded,)
