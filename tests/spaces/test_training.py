import numpy as np
import pytest

from foldsmith.problem.errors import FoldsmithError
from foldsmith.spaces.mlp import MLP
from foldsmith.spaces.toy import make_problem
from foldsmith.spaces.training import batch_size, inner_split, seeded, torch_threads


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
