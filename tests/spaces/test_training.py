from typing import Any

import numpy as np
import pytest

from foldsmith.problem.errors import FoldsmithError
from foldsmith.spaces.mlp import MLP
from foldsmith.spaces.toy import make_problem
from foldsmith.spaces.training import (
    END_SHARE,
    Data,
    Progress,
    Recipe,
    batch_size,
    inner_split,
    scale_rates,
    seeded,
    torch_threads,
    train,
)


def test_the_inner_split_covers_each_row_once_and_keeps_class_shares() -> None:
    target = np.random.default_rng(0).choice(3, 800, p=[0.1, 0.3, 0.6])
    train, inner = inner_split(target, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, inner])), np.arange(800))
    assert len(inner) == 100
    np.testing.assert_allclose(np.bincount(target[inner]) / 100, np.bincount(target) / 800, atol=0.02)


def test_the_inner_split_spreads_values_and_follows_the_seed() -> None:
    target = np.random.default_rng(0).normal(size=801)
    train, inner = inner_split(target, seed=1)
    np.testing.assert_allclose(np.quantile(target[inner], [0.25, 0.75]), np.quantile(target, [0.25, 0.75]), atol=0.05)
    assert len(train) + len(inner) == 801
    np.testing.assert_array_equal(inner, inner_split(target, seed=1)[1])
    assert not np.array_equal(inner, inner_split(target, seed=2)[1])


def test_very_few_rows_serve_both_purposes() -> None:
    train, inner = inner_split(np.arange(5.0), seed=0)
    np.testing.assert_array_equal(train, np.arange(5))
    np.testing.assert_array_equal(inner, train)


@pytest.mark.parametrize(("n_rows", "size"), [(1, 32), (1000, 32), (8000, 128), (26_000, 512), (10**6, 1024)])
def test_batches_grow_with_the_rows(n_rows: int, size: int) -> None:
    assert batch_size(n_rows) == size


def test_the_global_generator_and_threads_are_put_back() -> None:
    import torch

    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with seeded(1, "cpu"), torch_threads(1):
        torch.rand(3)
        assert torch.get_num_threads() == 1
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_values_stay_within_those_of_the_train_rows() -> None:
    problem = make_problem("squared", kinds=("numeric",))
    fitted = MLP().fit_fold(problem.task(MLP().defaults(problem.facts)[0]))
    predicted, y = fitted.predict(problem.table), problem.y[problem.train_rows]
    assert y.min() - 1e-3 <= predicted.min() and predicted.max() <= y.max() + 1e-3


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    problem = make_problem()
    with pytest.raises(FoldsmithError, match="PyTorch sees no GPU"):
        MLP().fit_fold(problem.task(MLP().defaults(problem.facts)[0], device="cuda"))


class _Clock:
    """A step takes ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 100.0, seconds

    def __call__(self) -> float:
        return self.now


def _run(n_steps: int, clock: _Clock, deadline: float | None) -> list[float]:
    """Progress after each step."""
    progress, made = Progress(n_steps, deadline, clock), []
    while not progress.is_over:
        clock.now += clock.seconds
        progress.advance()
        made.append(progress.value)
    return made


@pytest.mark.parametrize("deadline", [None, 100 + 60.0])
def test_progress_goes_in_equal_steps_where_there_is_time(deadline: float | None) -> None:
    clock = _Clock(0.5)
    np.testing.assert_allclose(_run(100, clock, deadline), np.arange(1, 101) / 100)


def test_progress_ends_before_a_deadline_in_longer_steps() -> None:
    clock = _Clock(0.5)
    made = _run(1000, clock, deadline=100 + 60.0)
    assert 100 + 0.9 * END_SHARE * 60 < clock.now <= 100 + 60
    assert made[-1] == 1.0
    strides = np.diff(made)
    assert (strides > 0).all() and strides[-20] == pytest.approx(strides[20], rel=0.2)


def test_steps_that_become_slower_still_end_in_time() -> None:
    clock = _Clock(0.05)
    progress = Progress(1000, 100 + 60.0, clock)
    while not progress.is_over:
        clock.now += 0.05 if progress.n_done < 500 else 0.5
        progress.advance()
    assert clock.now <= 160
    assert progress.is_cut


def test_what_comes_after_the_last_step_gets_its_time() -> None:
    clock = _Clock(0.5)
    progress = Progress(1000, 100 + 60.0, clock, n_after=40)
    while not progress.is_over:
        clock.now += clock.seconds
        progress.advance()
    assert 100 + 25 < clock.now + 40 * clock.seconds <= 100 + 60


def test_a_past_deadline_leaves_one_step() -> None:
    assert _run(50, _Clock(0.1), deadline=90.0) == [1.0]


def _train(**changes: Any) -> tuple[Any, Any, list[Any]]:
    """A linear net on two columns of which the first one is the target."""
    import torch

    X = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    task = make_problem("squared").task({})
    net: Any = torch.nn.Linear(2, 1)
    net.n_hidden = 2
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def loss(outputs: Any, y: Any) -> Any:
        return ((outputs[:, 0] - y) ** 2).mean()

    recipe = Recipe(**{"optimizer": optimizer, "loss": loss, "n_epochs": 8, "batch_size": 16, **changes})
    return net, *train(net, Data.on("cpu", (X,), X[:, 0].astype(np.float64)), task, recipe)


def test_all_rows_are_trained_on_and_snapshots_are_kept_at_their_progress() -> None:
    seen: list[float] = []
    net, log, kept = _train(snapshots=(0.25, 0.5, 1.0), schedule=seen.append)
    assert (log.n_epochs, log.n_steps, log.stopped_by, log.best_loss) == (8, 32, "rounds", None)
    np.testing.assert_allclose(seen, (np.arange(32) + 0.5) / 32)
    assert len(kept) == 3
    distances = [abs(float(weights["weight"][0, 0]) - 1) for weights in kept]
    assert distances[0] > distances[1] > distances[2]
    np.testing.assert_array_equal(kept[-1]["weight"], net.weight.detach())


def test_a_snapshot_is_what_a_shorter_run_would_have_ended_with() -> None:
    _, _, kept = _train(snapshots=(0.5, 1.0))
    _, _, half = _train(n_epochs=4)
    np.testing.assert_array_equal(kept[0]["weight"], half[0]["weight"])


def test_patience_keeps_the_weights_of_the_best_epoch() -> None:
    _, log, kept = _train(n_epochs=500, patience=5)
    assert log.stopped_by == "patience"
    assert log.n_epochs == log.best_epoch + 5
    assert log.best_loss is not None and log.best_loss < 0.05
    assert len(kept) == 1


def test_each_member_goes_through_all_rows_in_its_own_order() -> None:
    batches: list[Any] = []

    def loss(outputs: Any, y: Any) -> Any:
        batches.append(y)
        return (outputs[..., 0] ** 2).mean()

    _train(n_epochs=1, loss=loss, member_seeds=(1, 2))
    rows = np.concatenate([batch.numpy() for batch in batches], axis=1)
    assert rows.shape == (2, 64)
    np.testing.assert_array_equal(np.sort(rows[0]), np.sort(rows[1]))
    assert len(np.unique(rows[0])) == 64 and not np.array_equal(rows[0], rows[1])


def test_rates_are_multiples_of_each_groups_own() -> None:
    import torch

    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.4)]
    optimizer = torch.optim.SGD(groups)
    for factor in (0.5, 0.25):
        scale_rates(optimizer, {0.5: lambda _: 0.5, 0.25: lambda _: 0.25}[factor], 0.3)
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], [0.1 * factor, 0.4 * factor])
