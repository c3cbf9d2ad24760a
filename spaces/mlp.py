"""A multilayer perceptron for tables, early stopped on an inner split of the train rows."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Task
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.space import Choice, Float, Int, Params, Space
from foldsmith.spaces.training import seeded, torch_threads, train

PREDICT_BLOCK = 8192
GPU_ROWS = 10_000  # from here on a GPU is worth its start


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
        with torch.inference_mode(), torch_threads(1):
            parts = [self._shape.link(self._net(part)) for part in torch.split(matrix, PREDICT_BLOCK)]
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, the shape as JSON, and the encoder."""
        from safetensors.torch import save_file

        save_file(self._net.state_dict(), folder / "weights.safetensors")
        (folder / "net.json").write_text(json.dumps({"format": 1, **asdict(self._shape)}))
        self._encoder.save(folder)


class MLP(Family):
    """Fully connected net; ranges after Gorishniy et al. (2021, arXiv:2106.11959 and 2022, arXiv:2203.05556)."""

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

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The dense matrix, on the GPU too, the net with its optimizer, and the activations of one block of rows."""
        scaling: Any = params["numeric"]
        n_inputs, width = estimates.n_dense_columns(facts, scaling), cast(int, params["width"])
        n_blocks = cast(int, params["n_blocks"])
        matrix, outputs = estimates.matrix_bytes(facts, n_inputs), estimates.output_bytes(facts)
        weights = width * (n_inputs + (n_blocks - 1) * width + facts.goal.n_outputs)
        # Weights, gradients, two moments and the best copy; a block passes each layer and its activation.
        net = 4 * (5 * weights + PREDICT_BLOCK * (n_inputs + 3 * n_blocks * width))
        return Resources(
            gpus=0.5 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + estimates.TORCH_BYTES + 3 * matrix + outputs + net,
            vram_bytes=estimates.CONTEXT_BYTES + matrix + outputs + net,
        )

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
        with seeded(task.seed, task.device), torch_threads(task.threads):
            net = shape.build().to(task.device)
            log = train(net, fold.train, _standardised(target, shape), task)
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
