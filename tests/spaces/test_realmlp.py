"""The pieces of RealMLP against what the paper says, and members trained side by side against ones trained alone."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from foldsmith.spaces.family import Facts
from foldsmith.spaces.nets import Target
from foldsmith.spaces.realmlp import EPOCHS, RealMLP, _recipe, published
from foldsmith.spaces.realmlp_net import CodeEmbedding, NTKLinear, PeriodicEmbedding, RealMLPNet, RealMLPShape
from foldsmith.spaces.space import Params
from foldsmith.spaces.toy import Problem, make_problem
from foldsmith.spaces.training import Data, train

SHAPE = RealMLPShape(
    n_members=1,
    n_numbers=3,
    n_columns=5,
    cardinalities=(4, 12),
    embedding=8,
    n_logits=2,
    width=16,
    n_layers=2,
    activation="selu",
    sigma=0.1,
)


def _rows(n_rows: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(0, size, (n_rows,), generator=rng) for size in SHAPE.cardinalities], dim=1)
    return torch.randn(n_rows, SHAPE.n_columns, generator=rng), codes


def _net(seeds: tuple[int, ...] = (1,)) -> RealMLPNet:
    net = RealMLPNet(dataclasses.replace(SHAPE, n_members=len(seeds)))
    net.initialise(*_rows(), seeds)
    return net


def test_a_linear_layer_divides_by_the_root_of_its_inputs() -> None:
    layer = NTKLinear(2, 9, 4)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 7, 9)
    for member in range(2):
        expected = x[member] @ layer.weight[member] / 3 + layer.bias[member]
        torch.testing.assert_close(layer(x)[member], expected)


def test_first_outputs_have_deviation_one_and_biases_inside_the_data() -> None:
    layer = NTKLinear(1, 5, 32)
    x = torch.randn(1, 400, 5) * 7 + 3
    with torch.no_grad():
        made = layer.initialise(x, [torch.Generator().manual_seed(0)])
    torch.testing.assert_close(made.std(dim=1, correction=0), torch.ones(1, 32))
    assert (made.amin(dim=1) < 0).all() and (made.amax(dim=1) > 0).all()


def test_periodic_embeddings_are_a_linear_map_of_cosines() -> None:
    embed = PeriodicEmbedding(2, 3)
    with torch.no_grad():
        embed.initialise(0.5, [torch.Generator().manual_seed(seed) for seed in (0, 1)])
    x = torch.randn(2, 6, 3)
    member, row, column = 1, 4, 2
    waves = torch.cos(
        2 * math.pi * embed.frequency[member, column, 0] * x[member, row, column] + embed.phase[member, column, 0]
    )
    expected = waves @ embed.weight[member, column] + embed.offset[member, column, 0]
    torch.testing.assert_close(embed(x)[member, row, 3 * column : 3 * column + 3], expected)


def test_code_zero_adds_nothing_until_it_is_learnt() -> None:
    embed = CodeEmbedding(2, (3, 4), 8)
    with torch.no_grad():
        embed.initialise([torch.Generator().manual_seed(seed) for seed in (0, 1)])
    made = embed(torch.tensor([[0, 0], [2, 3]]).expand(2, 2, 2))
    assert not made[:, 0].any()
    torch.testing.assert_close(made[1, 1], torch.cat([embed.table[1, 2], embed.table[1, 3 + 3]]))


def test_activations_are_between_the_identity_and_selu() -> None:
    net = _net()
    x = torch.randn(1, 5, 16)
    torch.testing.assert_close(net._activate(x, torch.ones(1, 1, 16)), torch.selu(x))
    torch.testing.assert_close(net._activate(x, torch.zeros(1, 1, 16)), x)


def test_dropout_keeps_the_mean_and_is_off_when_predicting() -> None:
    net = _net()
    net.dropout, net.generators = 0.25, [torch.Generator().manual_seed(0)]
    made = net.train()._drop(torch.ones(1, 4000, 16))
    assert sorted(set(made.flatten().tolist())) == pytest.approx([0, 1 / 0.75])
    assert made.mean() == pytest.approx(1, abs=0.02)
    assert (net.eval()._drop(torch.ones(1, 10, 16)) == 1).all()


def test_groups_hold_each_parameter_once_with_its_factor() -> None:
    net = _net()
    groups = net.groups(0.2, {"bias": 0.1, "scale": 6.0, "slope": 0.1, "periodic": 0.1, "first": 0.5})
    assert {group["role"]: round(group["lr"], 6) for group in groups} == {
        "scale": 1.2,
        "bias": 0.02,
        "slope": 0.02,
        "periodic": 0.02,
        "first": 0.1,
        "weight": 0.2,
    }
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in net.parameters())
    assert [group["role"] for group in groups if not group["decays"]] == ["bias"]
    biases = next(group["params"] for group in groups if group["role"] == "bias")
    assert len(biases) == 3  # two hidden layers and the last one


def _point(problem: Problem, **changes: Any) -> Params:
    small: Params = {"n_members": 1, "epochs": 16, "n_layers": 2, "width": 32}
    return {**RealMLP().defaults(problem.facts)[0], **small, **changes}


def _train(seeds: tuple[int, ...], n_epochs: int) -> dict[str, torch.Tensor]:
    """The weights after some epochs of small batches with dropout."""
    problem = make_problem("binary")
    task = dataclasses.replace(problem.task(_point(problem)), train_rows=np.arange(200))
    matrix, codes = _rows()
    y = (matrix[:, 0] + matrix[:, 1] > 0).numpy().astype(np.int32)
    data = Data.on("cpu", (matrix.numpy(), codes.numpy()), y)
    net = _net(seeds)
    target = Target.fit(task.goal, y)
    recipe = dataclasses.replace(_recipe(net, target, task, seeds), n_epochs=n_epochs, batch_size=64)
    _, rounds = train(net, data, task, recipe)
    return rounds[-1]


def test_members_side_by_side_are_the_nets_that_they_would_be_alone() -> None:
    together = _train((5, 6, 7), n_epochs=4)
    for member, seed in enumerate((5, 6, 7)):
        alone = _train((seed,), n_epochs=4)
        for name, weights in alone.items():
            torch.testing.assert_close(together[name][member], weights[0], atol=2e-3, rtol=2e-3)
    assert not torch.allclose(together["last.weight"][0], together["last.weight"][1], atol=0.1)


def test_the_prediction_is_the_mean_of_the_members() -> None:
    problem = make_problem("multiclass")
    fitted = RealMLP().fit_fold(problem.task(_point(problem, n_members=2, epochs=16)))
    assert fitted.curve is not None and len(fitted.curve) == 4
    members = fitted._net(*fitted._encoded(problem.table)).softmax(dim=-1)  # type: ignore[attr-defined]
    assert members.shape == (2, problem.table.n_rows, 3)
    np.testing.assert_allclose(fitted.predict(problem.table), members.mean(dim=0).detach().numpy(), atol=1e-6)


def test_values_stay_within_those_of_the_train_rows() -> None:
    problem = make_problem("squared", kinds=("numeric",))
    predicted = RealMLP().fit_fold(problem.task(_point(problem))).predict(problem.table)
    y = problem.y[problem.train_rows]
    assert y.min() - 1e-3 <= predicted.min() and predicted.max() <= y.max() + 1e-3


def test_the_first_default_is_the_published_one_where_there_is_time() -> None:
    problem = make_problem("squared")
    point = published(problem.facts)
    assert (point["epochs"], point["width"], point["learning_rate"], point["activation"]) == (256, 256, 0.2, "mish")
    assert published(make_problem("binary").facts)["learning_rate"] == 0.04
    assert "label_smoothing" not in point


def test_a_short_search_of_many_rows_gets_fewer_epochs_and_one_member() -> None:
    facts = make_problem("binary", kinds=("numeric",)).facts

    def cost(n_rows: int, seconds: float | None) -> tuple[Any, Any]:
        point = published(Facts(facts.goal, facts.schema, n_rows, seconds))
        return point["n_members"], point["epochs"]

    assert cost(300, None) == (4, 256)
    assert cost(1_000_000, None) == (1, EPOCHS[0])
    assert cost(300, 60.0)[0] == 1
    assert cost(20_000, 600.0)[1] < cost(20_000, None)[1]
