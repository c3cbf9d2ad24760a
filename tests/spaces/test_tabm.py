import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from foldsmith.spaces.family import Facts
from foldsmith.spaces.nets import Target
from foldsmith.spaces.tabm import TabM, bin_edges
from foldsmith.spaces.tabm_net import TabMNet
from foldsmith.spaces.toy import GOALS, make_problem


def _net(n_logits: int, bins: int = 4) -> TabMNet:
    torch.manual_seed(0)
    edges = [list(np.linspace(-2, 2, bins + 1))] * 2
    return TabMNet(4, 2, 16, 0.0, 8, edges, [3], n_logits).train()


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(10, 2, generator=rng), torch.randint(0, 3, (10, 1), generator=rng)


@pytest.mark.parametrize(("goal", "n_logits"), [("multiclass", 3), ("squared", 1), ("absolute", 1)])
def test_the_loss_is_the_mean_of_the_submodels_own_losses(goal: str, n_logits: int) -> None:
    net, (matrix, codes) = _net(n_logits), _batch()
    y = torch.arange(10) % 3 if goal == "multiclass" else torch.linspace(-1, 1, 10)
    target = Target(GOALS[goal].kind, GOALS[goal].loss, n_logits)
    outputs = net(matrix, codes)
    assert outputs.shape == (4, 10, n_logits)
    own = torch.stack([target.training_loss(outputs[member], y) for member in range(4)])
    torch.testing.assert_close(target.training_loss(outputs, y), own.mean())


def test_a_submodels_gradient_is_a_kth_of_what_it_would_be_alone() -> None:
    net, (matrix, codes) = _net(3), _batch()
    target, y = Target("multiclass", "log_loss", 3), torch.arange(10) % 3
    outputs = net(matrix, codes)
    outputs.retain_grad()
    target.training_loss(outputs, y).backward()
    alone = outputs[2].detach().requires_grad_()
    target.training_loss(alone, y).backward()
    assert outputs.grad is not None and alone.grad is not None
    torch.testing.assert_close(outputs.grad[2], alone.grad / 4)


def test_submodels_share_their_hidden_layers_and_differ_all_the_same() -> None:
    net = _net(1)
    outputs = net(*_batch())
    assert not torch.allclose(outputs[0], outputs[1])
    sizes = {name: parameter.shape for name, parameter in net.named_parameters() if "backbone" in name}
    assert sizes["net.backbone.affine.weight"][0] == 4
    assert sizes["net.backbone.blocks.0.0.weight"] == (16, 2 * 8 + 3)


def test_bins_are_quantiles_and_at_least_one() -> None:
    column = np.arange(101, dtype=np.float32)
    assert bin_edges(column, 4) == [0, 25, 50, 75, 100]
    assert bin_edges(np.array([0] * 99 + [1], np.float32), 10) == [0, 1]
    assert len(bin_edges(np.zeros(5, np.float32), 10)) == 2


def test_a_table_without_numbers_and_one_without_levels_fit() -> None:
    for kinds in (("categorical",), ("boolean",)):
        problem = make_problem("squared", n_rows=60, kinds=kinds)
        fitted = TabM().fit_fold(problem.task({**TabM().defaults(problem.facts)[0], "k": 8, "width": 64, "epochs": 8}))
        assert np.isfinite(fitted.predict(problem.table)).all()


def test_values_stay_within_those_of_the_train_rows() -> None:
    problem = make_problem("squared", kinds=("numeric",))
    point = {**TabM().defaults(problem.facts)[0], "k": 8, "width": 64, "epochs": 8, "learning_rate": 5e-3}
    predicted, y = TabM().fit_fold(problem.task(point)).predict(problem.table), problem.y[problem.train_rows]
    assert y.min() - 1e-3 <= predicted.min() and predicted.max() <= y.max() + 1e-3


def test_the_default_is_smaller_where_time_is_short() -> None:
    facts = make_problem("binary", kinds=("numeric",)).facts

    def size(n_rows: int, seconds: float | None) -> tuple[Any, ...]:
        point = TabM().defaults(Facts(facts.goal, facts.schema, n_rows, seconds))[0]
        return point["k"], point["width"], point["epochs"]

    assert size(300, None) == (32, 512, 64)
    assert size(1_000_000, 60.0) == (8, 64, 8)
    cpu = dataclasses.replace(facts, n_rows=20_000)
    assert size(20_000, None)[1] < 512 and TabM().defaults(cpu)[0]["n_blocks"] == 2
