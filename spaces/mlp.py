"""A multilayer perceptron for tables, early stopped on an inner split of the train rows."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import dense_matrices
from foldsmith.spaces.nets import GPU_ROWS, Target, fit_net, load_net
from foldsmith.spaces.schedules import warm_cosine
from foldsmith.spaces.space import Choice, Float, Int, Params, Space
from foldsmith.spaces.training import Data, Recipe, batch_size, scale_rates

BLOCK = 8192  # rows whose activations are held at a time when the inner rows are scored
ROW_BUDGET = 600_000  # rows seen in all; keeps a fold within seconds on one core
EPOCHS = (20, 200)
PATIENCE = 16  # epochs, as in TabR (Gorishniy et al. 2023, arXiv:2307.14338); more on small tables


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
        net = 4 * (5 * weights + BLOCK * (n_inputs + 3 * n_blocks * width))
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
        scaling: Any = task.params["numeric"]
        fold = dense_matrices(task, scaling)
        record = _record(task, fold.encoder.n_columns)

        def build(record: dict[str, Any], target: Target, data: Data) -> Any:
            return _build(record).to(task.device)

        def recipe(net: Any, target: Target) -> Recipe:
            return _recipe(net, target, task)

        return fit_net(task, fold.encoder, (fold.train,), record, build, recipe)

    def load(self, folder: Path) -> FittedFold:
        """Read the weights, the shape and the encoder."""
        return load_net(folder, _build, DenseEncoder.load(folder))


def _record(task: FoldTask, n_inputs: int) -> dict[str, Any]:
    same = {name: task.params[name] for name in ("n_blocks", "width", "dropout")}
    return {**same, "n_inputs": n_inputs, "n_logits": max(1, task.goal.n_classes)}


def _build(record: dict[str, Any]) -> Any:
    """The net with fresh weights, as a ``torch.nn.Sequential``."""
    from torch import nn

    layers: list[Any] = []
    size = record["n_inputs"]
    for _ in range(record["n_blocks"]):
        layers += [nn.Linear(size, record["width"]), nn.SiLU(), nn.Dropout(record["dropout"])]
        size = record["width"]
    net: Any = nn.Sequential(*layers, nn.Linear(size, record["n_logits"]))
    net.n_hidden = max(record["width"], record["n_inputs"])
    return net


def _recipe(net: Any, target: Target, task: FoldTask) -> Recipe:
    """AdamW (Loshchilov & Hutter 2019) with a short warm-up and a cosine to zero."""
    import torch

    params: Any = task.params
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"], fused=True
    )
    n_rows = len(task.train_rows)
    n_epochs = int(np.clip(ROW_BUDGET / n_rows, *EPOCHS))
    return Recipe(
        optimizer,
        target.training_loss,
        n_epochs,
        batch_size(n_rows),
        lambda progress: scale_rates(optimizer, warm_cosine, progress),
        patience=max(PATIENCE, n_epochs // 5),
        clip_norm=1.0,
    )
