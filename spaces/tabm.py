"""TabM: one net that stands for an ensemble of nets (Gorishniy, Kotelnikov & Babenko 2024, arXiv:2410.24210).

The authors' own packages ``tabm`` and ``rtdl_num_embeddings`` make the net: TabM-mini with piecewise-linear embeddings.
It is trained as published (AdamW, clipped gradients, the mean of the k losses, one batch for all submodels) but for the
end: there a constant rate stops when held-back rows say so; here RealMLP's cycles of the rate need no held-back rows.
"""

from pathlib import Path
from typing import Any

from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.net_inputs import NetInputs, net_fold
from foldsmith.spaces.nets import (
    GPU_ROWS,
    FittedNet,
    Target,
    first_fold_seconds,
    fit_net,
    fitting_epochs,
    load_net,
    most_epochs,
)
from foldsmith.spaces.scaling import Matrix, _quantiles
from foldsmith.spaces.schedules import CYCLE_ENDS, coslog4
from foldsmith.spaces.space import Choice, Float, Int, Params, Space
from foldsmith.spaces.training import Data, Recipe, batch_size, scale_rates

MAX_LEVELS = 100  # one-hot columns of a categorical column
EPOCHS = (8, 16, 32, 64, 128)
DEFAULT_EPOCHS = 64  # the other folds choose among rounds of 4, 13, 30 and 64
SIZES = (32, 512), (32, 256), (32, 128), (16, 128), (8, 64)  # k and width: the published one, and what a CPU can do
IMPORT_BYTES = 100 * estimates.MIB  # what the packages add to PyTorch
SECONDS_PER_WEIGHT = 1.6e-10  # of a submodel, for a row's forward, backward and step; measured on one core


class TabM(Family):
    """TabM-mini; ranges after the paper and TabArena (Erickson et al. 2025, arXiv:2506.16791)."""

    name = "tabm"
    prefix = "tabm"
    stopping = "cv-curve"

    def space(self, facts: Facts) -> Space:
        """The paper fixes ``k`` at 32; smaller ones and narrower blocks are here for CPUs."""
        return Space(
            "tabm@1",
            {
                "k": Choice((8, 16, 32)),
                "epochs": Choice(EPOCHS),
                "n_blocks": Int(1, 5),
                "width": Int(64, 1024, log=True),
                "dropout": Float(0.0, 0.5),
                "learning_rate": Float(1e-4, 5e-3, log=True),
                "weight_decay": Float(1e-5, 0.1, log=True),
                "embedding": Choice((8, 12, 16, 20, 24, 28, 32)),
                "n_bins": Int(2, 128),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """The published default as far as the time allows, and one of coarse bins with more noise."""
        first = _published(facts)
        return [first, {**first, "n_bins": 16, "embedding": 8, "dropout": 0.3, "weight_decay": 0.01}]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The encoded rows, on the GPU too, the weights with gradients and moments, and the activations of a batch."""
        values: Any = params
        matrix = estimates.matrix_bytes(facts, estimates.n_dense_columns(facts, "standard"))
        outputs = estimates.output_bytes(facts)
        n_numbers, n_levels = _n_inputs(facts)
        n_inputs = n_numbers * values["embedding"] + n_levels
        embeddings = n_numbers * values["n_bins"] * (values["embedding"] + 8 * batch_size(facts.n_rows))
        activations = (
            values["k"] * batch_size(facts.n_rows) * (16 * n_inputs + 5 * values["n_blocks"] * values["width"])
        )
        net = 4 * (9 * n_weights(n_inputs, params) + embeddings + activations)
        return Resources(
            gpus=0.5 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + estimates.TORCH_BYTES + IMPORT_BYTES + 4 * matrix + outputs + net,
            vram_bytes=estimates.CONTEXT_BYTES + 2 * matrix + outputs + net,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Train on all train rows through the whole schedule, which ends before the deadline.

        Raises:
            FoldsmithError: a GPU was asked for and PyTorch sees none.
        """
        fold = net_fold(task, scaling="quantile", max_levels=MAX_LEVELS, max_one_hot=0)
        record = _record(task, fold.inputs, fold.matrix)

        def build(record: dict[str, Any], target: Target, data: Data) -> Any:
            return _build(record).to(task.device)

        def recipe(net: Any, target: Target) -> Recipe:
            n_inputs = len(record["bins"]) * record["embedding"] + sum(record["cardinalities"])
            return _recipe(net, target, task, n_inputs)

        fitted = fit_net(task, fold.inputs, (fold.matrix, fold.codes), record, build, recipe)
        fitted.watch(task)
        return fitted

    def load(self, folder: Path) -> FittedNet:
        """Read the weights, the record and the encoder."""
        return load_net(folder, _build, NetInputs.load(folder))


def n_weights(n_inputs: int, params: Any) -> int:
    """Weights of the shared hidden layers, which every submodel passes."""
    return int(params["width"] * (n_inputs + (params["n_blocks"] - 1) * params["width"]))


def seconds_per_row(n_inputs: int, params: Any) -> float:
    """What one core takes to learn from a row once."""
    return float(params["k"] * n_weights(n_inputs, params) * SECONDS_PER_WEIGHT)


def _published(facts: Facts) -> Params:
    """The largest of ``SIZES`` that 32 epochs fit into the time with, and then as many epochs as fit."""
    point: Params = {
        "k": 8,
        "epochs": EPOCHS[0],
        "n_blocks": 2,
        "width": 64,
        "dropout": 0.1,
        "learning_rate": 2e-3,
        "weight_decay": 3e-4,
        "embedding": 16,
        "n_bins": 48,
    }
    n_numbers, n_levels = _n_inputs(facts)
    seconds, n_rows = first_fold_seconds(facts), estimates.FIT_SHARE * facts.n_rows
    for k, width in SIZES:
        point |= {"k": k, "width": width}
        n_epochs = fitting_epochs(seconds, n_rows, seconds_per_row(16 * n_numbers + n_levels, point))
        if n_epochs >= 32:
            break
    most = min(n_epochs, DEFAULT_EPOCHS)
    return {**point, "epochs": max((epochs for epochs in EPOCHS if epochs <= most), default=EPOCHS[0])}


def _n_inputs(facts: Facts) -> tuple[int, int]:
    """Numbers that are embedded and one-hot levels, or a few more."""
    levels = sum(min(MAX_LEVELS, len(facts.schema.categories[name])) + 1 for name in facts.schema.categorical)
    n_dense = estimates.n_dense_columns(facts, "standard")
    return n_dense - (levels - len(facts.schema.categorical)), levels


def _record(task: FoldTask, inputs: NetInputs, matrix: Matrix) -> dict[str, Any]:
    """What the net is rebuilt from: sizes, and the edges of each number's bins, quantiles of the train rows."""
    params: Any = task.params
    same = {name: params[name] for name in ("k", "n_blocks", "width", "dropout", "embedding")}
    edges = [bin_edges(matrix[:, column], params["n_bins"]) for column in range(matrix.shape[1])]
    return {**same, "bins": edges, "cardinalities": inputs.cardinalities, "n_logits": max(1, task.goal.n_classes)}


def bin_edges(column: Matrix, n_bins: int) -> list[float]:
    """Ascending quantiles, at least two and at most ``n_bins + 1``."""
    edges: list[float] = next(_quantiles(column[:, None], n_bins + 1))[0].tolist()
    return edges if len(edges) > 1 else [edges[0] - 1, edges[0] + 1]


def _build(record: dict[str, Any]) -> Any:
    from foldsmith.spaces.tabm_net import TabMNet

    return TabMNet(**record)


def _recipe(net: Any, target: Target, task: FoldTask, n_inputs: int) -> Recipe:
    """AdamW in RealMLP's four cycles, each submodel with its own loss."""
    import torch

    params: Any = task.params
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"], fused=True
    )
    n_rows = len(task.train_rows)
    return Recipe(
        optimizer,
        target.training_loss,
        min(params["epochs"], most_epochs(task.device, n_rows, seconds_per_row(n_inputs, params))),
        batch_size(n_rows),
        lambda progress: scale_rates(optimizer, coslog4, progress),
        snapshots=CYCLE_ENDS,
        clip_norm=1.0,
    )
