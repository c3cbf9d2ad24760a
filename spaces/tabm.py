"""TabM: one net that stands for an ensemble of nets (Gorishniy, Kotelnikov & Babenko 2024, arXiv:2410.24210).

The authors' own packages ``tabm`` and ``rtdl_num_embeddings`` make the net: TabM-mini with piecewise-linear embeddings.
"""

from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.net_inputs import NetInputs, net_fold
from foldsmith.spaces.nets import GPU_ROWS, FittedNet, Target, fit_net, load_net
from foldsmith.spaces.scaling import Matrix, _quantiles
from foldsmith.spaces.space import Choice, Float, Int, Params, Space
from foldsmith.spaces.training import Data, Recipe

MAX_LEVELS = 100  # one-hot columns of a categorical column
PATIENCE = 16
MAX_EPOCHS = 100
STEPS = 4000  # at most


class TabM(Family):
    """TabM-mini; ranges after the paper and TabArena (Erickson et al. 2025, arXiv:2506.16791)."""

    name = "tabm"
    prefix = "tabm"
    stopping = "inner"

    def space(self, facts: Facts) -> Space:
        """The paper fixes ``k`` at 32; smaller ones and narrower blocks are here for CPUs."""
        return Space(
            "tabm@1",
            {
                "k": Choice((8, 16, 32)),
                "n_blocks": Int(1, 4),
                "width": Int(64, 1024, log=True),
                "dropout": Float(0.0, 0.5),
                "learning_rate": Float(1e-4, 5e-3, log=True),
                "weight_decay": Float(1e-5, 0.1, log=True),
                "embedding": Choice((8, 12, 16, 20, 24, 28, 32)),
                "n_bins": Int(2, 128),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        return [{"k": 16, "n_blocks": 2, "width": 128, "dropout": 0.1, "learning_rate": 2e-3, "weight_decay": 3e-4, "embedding": 16, "n_bins": 48}]

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Train until the inner loss has not fallen for 16 epochs, or all epochs or the deadline have passed.

        Raises:
            FoldsmithError: a GPU was asked for and PyTorch sees none.
        """
        fold = net_fold(task, scaling="quantile", max_levels=MAX_LEVELS, max_one_hot=0)
        record = _record(task, fold.inputs, fold.matrix)

        def build(record: dict[str, Any], target: Target, data: Data) -> Any:
            return _build(record).to(task.device)

        def recipe(net: Any, target: Target) -> Recipe:
            return _recipe(net, target, task)

        return fit_net(task, fold.inputs, (fold.matrix, fold.codes), record, build, recipe)

    def load(self, folder: Path) -> FittedNet:
        """Read the weights, the record and the encoder."""
        return load_net(folder, _build, NetInputs.load(folder))


def _record(task: FoldTask, inputs: NetInputs, matrix: Matrix) -> dict[str, Any]:
    """What the net is rebuilt from: sizes, and the edges of each number's bins, quantiles of the train rows."""
    params: Any = task.params
    same = {name: params[name] for name in ("k", "n_blocks", "width", "dropout", "embedding")}
    edges = [_edges(matrix[:, column], params["n_bins"]) for column in range(matrix.shape[1])]
    n_logits = max(1, task.goal.n_classes)
    return {**same, "bins": edges, "cardinalities": inputs.cardinalities, "n_logits": n_logits}


def _edges(column: Matrix, n_bins: int) -> list[float]:
    """At least two ascending edges."""
    edges = _quantiles(column, n_bins + 1)[0].tolist()
    return edges if len(edges) > 1 else [edges[0] - 1, edges[0] + 1]


def _build(record: dict[str, Any]) -> Any:
    from foldsmith.spaces.tabm_net import TabMNet

    return TabMNet(**record)


def _recipe(net: Any, target: Target, task: FoldTask) -> Recipe:
    """AdamW at a constant rate."""
    import torch

    params: Any = task.params
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"], fused=True
    )
    return Recipe(
        optimizer, target.training_loss, MAX_EPOCHS, 256, patience=PATIENCE, score=target.score, clip_norm=1.0
    )
