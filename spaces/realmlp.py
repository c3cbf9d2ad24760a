"""RealMLP: a multilayer perceptron with tuned defaults (Holzmueller, Grinsztajn & Steinwart 2024, arXiv:2407.04491).

The published RealMLP-TD, with these differences: levels of fewer than three train rows share a code with missing and
unseen ones, an absent number is a categorical column beside the median, text components get no periodic embedding,
members may be trained side by side, labels are not smoothed (log loss and AUC want chances that are not pulled
together), and no rows are held back to choose the epoch: all are trained on through the whole schedule, the weights are
kept at the end of each of its four cycles, where the rate is zero, and the other folds' curves choose among them.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np

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
from foldsmith.spaces.schedules import CYCLE_ENDS, coslog4, flat_cos
from foldsmith.spaces.space import Choice, Float, Int, Param, Params, Space
from foldsmith.spaces.training import Data, Recipe, scale_rates

BATCH = 256
EPOCHS = (16, 32, 64, 128, 256)
SHORT_EPOCHS = 64  # fewer are too few steps on small tables
MAX_ONE_HOT = 9
MAX_LEVELS = 1000
BETAS = 0.9, 0.95
FACTORS = {"bias": 0.1, "slope": 0.1, "periodic": 0.1}  # of the learning rate; the others are parameters
SECONDS_PER_WEIGHT = 3e-10  # of a member, for a row's forward, backward and step; measured on one core


class RealMLP(Family):
    """Fully connected net with periodic embeddings; ranges after TabArena (Erickson et al. 2025, arXiv:2506.16791)."""

    name = "realmlp"
    prefix = "rmlp"
    stopping = "cv-curve"

    def space(self, facts: Facts) -> Space:
        """TabArena's ranges; epochs and members are searched because a search may be short."""
        smoothing: dict[str, Param] = {"label_smoothing": Choice((0.0, 0.02, 0.1))}
        return Space(
            "realmlp@1",
            {
                "n_members": Choice((1, 2, 4)),
                "epochs": Choice(EPOCHS),
                "n_layers": Int(2, 4),
                "width": Choice((128, 256, 384, 512)),
                "activation": Choice(("mish", "selu")),
                "dropout": Float(0.0, 0.5),
                "learning_rate": Float(0.02, 0.3, log=True),
                "weight_decay": Float(1e-3, 0.05, log=True),
                "sigma": Float(0.01, 50.0, log=True),
                "periodic_factor": Float(0.05, 0.3, log=True),
                "scale_factor": Float(2.0, 10.0, log=True),
                "first_factor": Float(0.3, 1.5, log=True),
                "embedding": Choice((4, 8, 16)),
                **(smoothing if facts.goal.is_classification else {}),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """The published default as far as the time allows, a shorter, wider and noisier net, and a shallow one."""
        first = published(facts)
        most = cast(int, first["epochs"])
        shorter = max(min(most, SHORT_EPOCHS), most // 4)
        wide: Params = {"epochs": shorter, "width": 384, "activation": "mish", "dropout": 0.3, "sigma": 1.0}
        shallow: Params = {"n_layers": 2, "activation": "mish", "dropout": 0.05, "sigma": 0.03, "learning_rate": 0.07}
        return [first, {**first, **wide}, {**first, **shallow}]

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The encoded rows, on the GPU too, the weights with gradients and moments, and the activations of a batch."""
        values: Any = params
        n_numbers = estimates.n_dense_columns(facts, "standard")
        matrix, outputs = estimates.matrix_bytes(facts, n_numbers), estimates.output_bytes(facts)
        width, n_layers = values["width"], values["n_layers"]
        n_inputs = 4 * n_numbers
        weights = width * (n_inputs + (n_layers - 1) * width + facts.goal.n_outputs)
        activations = BATCH * (40 * n_numbers + 2 * n_inputs + 5 * n_layers * width)
        net = 4 * values["n_members"] * (5 * weights + 8 * activations)
        return Resources(
            gpus=0.5 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + estimates.TORCH_BYTES + 4 * matrix + outputs + net,
            vram_bytes=estimates.CONTEXT_BYTES + 2 * matrix + outputs + net,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Train on all train rows through the whole schedule, which ends before the deadline.

        Raises:
            FoldsmithError: a GPU was asked for and PyTorch sees none.
        """
        fold = net_fold(task, scaling="robust", max_levels=MAX_LEVELS, max_one_hot=MAX_ONE_HOT)
        record = _shape(task, fold.inputs)
        seeds = _member_seeds(task)

        def build(record: dict[str, Any], target: Target, data: Data) -> Any:
            net = _build(record)
            net.initialise(*(x.cpu() for x in data.inputs), seeds)
            return net.to(task.device)

        def recipe(net: Any, target: Target) -> Recipe:
            return _recipe(net, target, task, seeds)

        fitted = fit_net(task, fold.inputs, (fold.matrix, fold.codes), record, build, recipe)
        fitted.watch(task)
        return fitted

    def load(self, folder: Path) -> FittedNet:
        """Read the weights, the shape and the encoder."""
        return load_net(folder, _build, NetInputs.load(folder))


def published(facts: Facts) -> Params:
    """RealMLP-TD; four members where the time allows, fewer epochs where it does not allow 256."""
    is_class = facts.goal.is_classification
    point: Params = {
        "n_members": 1,
        "epochs": EPOCHS[-1],
        "n_layers": 3,
        "width": 256,
        "activation": "selu" if is_class else "mish",
        "dropout": 0.15,
        "learning_rate": 0.04 if is_class else 0.2,
        "weight_decay": 0.02,
        "sigma": 0.1,
        "periodic_factor": 0.1,
        "scale_factor": 6.0,
        "first_factor": 1.0,
        "embedding": 8,
    }
    n_inputs = 4 * estimates.n_dense_columns(facts, "standard")
    n_rows, cost = estimates.FIT_SHARE * facts.n_rows, seconds_per_row(n_inputs, point)
    n_epochs = fitting_epochs(first_fold_seconds(facts), n_rows, cost)
    point["n_members"] = 4 if n_epochs >= 4 * EPOCHS[-1] else 1
    point["epochs"] = max((epochs for epochs in EPOCHS if epochs <= n_epochs), default=EPOCHS[0])
    return {**point, "label_smoothing": 0.0} if is_class else point


def seconds_per_row(n_inputs: int, params: Any) -> float:
    """What one core takes to learn from a row once."""
    n_weights = params["width"] * (n_inputs + (params["n_layers"] - 1) * params["width"])
    return float(params["n_members"] * n_weights * SECONDS_PER_WEIGHT)


def _shape(task: FoldTask, inputs: NetInputs) -> dict[str, Any]:
    """The fields of ``RealMLPShape``."""
    params = task.params
    same = {name: params[name] for name in ("n_members", "embedding", "width", "n_layers", "activation", "sigma")}
    return {
        **same,
        "n_numbers": inputs.n_numbers,
        "n_columns": inputs.n_columns,
        "cardinalities": inputs.cardinalities,
        "n_logits": max(1, task.goal.n_classes),
    }


def _build(record: dict[str, Any]) -> Any:
    from foldsmith.spaces.realmlp_net import RealMLPNet, RealMLPShape

    return RealMLPNet(RealMLPShape(**{**record, "cardinalities": tuple(record["cardinalities"])}))


def _member_seeds(task: FoldTask) -> tuple[int, ...]:
    n_members = cast(int, task.params["n_members"])
    return tuple(int(seed) for seed in np.random.SeedSequence(task.seed).generate_state(n_members))


def _recipe(net: Any, target: Target, task: FoldTask, seeds: tuple[int, ...]) -> Recipe:
    """Adam with decoupled weight decay, coslog4 rates, and dropout and decay that fade in the second half."""
    import torch

    params: Any = task.params
    factors = {**FACTORS, "periodic": params["periodic_factor"], "first": params["first_factor"]}
    groups = net.groups(params["learning_rate"], {**factors, "scale": params["scale_factor"]})
    optimizer = torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.0, fused=True)
    net.generators = [torch.Generator(task.device).manual_seed(seed) for seed in seeds]

    def schedule(progress: float) -> None:
        scale_rates(optimizer, coslog4, progress)
        net.dropout = params["dropout"] * flat_cos(progress)
        for group in optimizer.param_groups:
            group["weight_decay"] = params["weight_decay"] * flat_cos(progress) if group["decays"] else 0.0

    def loss(outputs: Any, y: Any) -> Any:
        # Times the members, so that each has the gradient that it would have alone.
        return len(seeds) * target.training_loss(outputs, y, params.get("label_smoothing", 0.0))

    cost = seconds_per_row(net.shape.n_inputs, params)
    n_epochs = min(params["epochs"], most_epochs(task.device, len(task.train_rows), cost))
    return Recipe(optimizer, loss, n_epochs, BATCH, schedule, snapshots=CYCLE_ENDS, member_seeds=seeds)
