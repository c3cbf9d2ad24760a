"""Parts of the generator with known answers, what it finds, and what it survives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.spaces import generated
from foldsmith.spaces.arithmetic import draw_formulas, evaluate
from foldsmith.spaces.crosses import Crosses, draw_crosses
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.generated import Generator, Sources, n_generated
from foldsmith.spaces.group_statistics import GroupStatistics
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.lightgbm_fe import LightGBMFE
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.selection import select, standard_ranks
from foldsmith.spaces.target_encoding import inner_folds, target_columns
from foldsmith.spaces.toy import GOALS, Problem, make_problem


def test_formulas_mean_what_they_say() -> None:
    numbers = np.array([[6, 3, 2], [1, 0, 4], [np.nan, 1, 1], [3e38, 3e38, 3e38]], np.float32)
    formulas = np.array([[0, 1, 1, -1, -1], [0, 3, 1, -1, -1], [0, 0, 1, 2, 2], [0, 2, 2, 3, 1]])
    expected = [[3, 2, 18, 4], [1, np.nan, 4, np.nan], [np.nan] * 4, [0, 1, np.nan, np.nan]]
    np.testing.assert_allclose(evaluate(formulas, numbers), np.array(expected, np.float32))


def test_drawn_formulas_are_distinct_and_in_range() -> None:
    for n_columns in (0, 1, 2, 3, 40):
        drawn = draw_formulas(n_columns, 50, seed=0)
        assert len(drawn) <= 50
        assert len(np.unique(drawn, axis=0)) == len(drawn)
        assert drawn.max(initial=-1) < max(4, n_columns)
    assert len(draw_formulas(2, 50, seed=0)) == 4


def test_group_means_ratios_and_ranks() -> None:
    levels = np.repeat(np.array([1, 2, 3], np.int32), [6, 5, 2])[:, None]
    numbers = np.array([1, 2, 3, 4, 5, 9, 10, 10, 10, 20, 50, 7, 7], np.float32)[:, None]
    specs = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2]])
    made = GroupStatistics.fit(specs, levels, numbers, seed=0).transform(levels, numbers)
    np.testing.assert_allclose(made[:6], [[4, x / 4, (n + 0.5) / 6] for n, x in enumerate([1, 2, 3, 4, 5, 9])])
    np.testing.assert_allclose(made[6:11, 1], [0.5, 0.5, 0.5, 1, 2.5])
    np.testing.assert_allclose(made[6:11, 2], [0.3, 0.3, 0.3, 0.7, 0.9])
    assert np.isnan(made[11:]).all()  # a group of two rows
    other = np.array([[0.0], [2.5], [100.0], [np.nan]], np.float32)
    seen = GroupStatistics.fit(specs, levels, numbers, seed=0).transform(np.full((4, 1), 1, np.int32), other)
    np.testing.assert_allclose(seen[:, 2], [0, 2 / 6, 1, np.nan])
    assert np.isnan(GroupStatistics.fit(specs, levels, numbers, seed=0).transform(levels[:1] + 9, numbers[:1])).all()


def test_crosses_count_combinations_and_encode_them() -> None:
    levels = np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 0]], np.int32)
    y = np.array([1.0, 1, 5, 3, 3, 3])
    specs = np.array([[0, 1, -1, -1], [0, 1, -1, 0]])
    folds = np.arange(6) % 2
    crosses, made = Crosses.fit_transform(specs, levels, target_columns(y, GOALS["squared"]), folds)
    np.testing.assert_allclose(made[:, 0], [2 / 6, 2 / 6, 0, 3 / 6, 3 / 6, 3 / 6])
    prior = y.mean()
    seen = crosses.transform(np.array([[0, 0], [0, 1], [1, 0], [7, 7]], np.int32))
    expected = [(2 + 10 * prior) / 12, prior, (9 + 10 * prior) / 13, prior]
    np.testing.assert_allclose(seen[:, 1], expected, rtol=1e-6)
    np.testing.assert_allclose(seen[:, 0], [2 / 6, 0, 3 / 6, 0])


def test_drawn_crosses_hold_singles_pairs_and_triples() -> None:
    specs = draw_crosses(np.full(6, 9), 40, 2, seed=0)
    orders = (specs[::3, :3] >= 0).sum(axis=1)
    np.testing.assert_array_equal(np.bincount(orders, minlength=4), [0, 6, 15, 19])
    assert len(np.unique(specs, axis=0)) == len(specs) == 40 * 3
    assert draw_crosses(np.zeros(0, np.int64), 40, 2, seed=0).shape == (0, 4)
    # Keys of three columns with two million levels each would overflow.
    assert (draw_crosses(np.full(3, 1 << 21), 40, 1, seed=0)[:, 2] == -1).all()


def test_ranks_make_spearmans_correlation() -> None:
    from scipy.stats import spearmanr

    matrix = np.random.default_rng(0).normal(size=(50, 4)).round(1).astype(np.float32)
    ranks = standard_ranks(matrix)
    np.testing.assert_allclose(ranks.T @ ranks, spearmanr(matrix).statistic, atol=1e-5)
    matrix[:, 0], matrix[0, 1], matrix[:, 2] = 3, np.nan, np.nan
    strange = standard_ranks(matrix)
    assert not strange[:, [0, 2]].any() and np.isfinite(strange).all()


def test_selection_drops_copies_constants_and_noise() -> None:
    rng = np.random.default_rng(0)
    given, useful = rng.normal(size=(2000, 1)), rng.normal(size=2000)
    y = useful + 0.1 * rng.normal(size=2000)
    candidates = np.stack([useful**3, useful, np.ones(2000), 5 - 2 * given[:, 0], rng.normal(size=2000)], axis=1)
    found = select(
        given.astype(np.float32), candidates.astype(np.float32), y, y[:, None], GOALS["squared"], limit=1, seed=0
    )
    assert found.tolist() in ([0], [1])
    more = select(
        given.astype(np.float32), candidates.astype(np.float32), y, y[:, None], GOALS["squared"], limit=9, seed=0
    )
    assert set(more) - {4} in ({0}, {1})


def _numbers(n_rows: int, n_columns: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n_rows, n_columns)).astype(np.float32)


def _generate(matrix: Matrix, y: NDArray[Any], goal: str, codes: list[int] | None = None) -> tuple[Generator, Matrix]:
    codes = codes or []
    return Generator.fit_transform(matrix, matrix.shape[1] - len(codes), codes, y, GOALS[goal], seed=0)


def test_a_product_is_found() -> None:
    matrix = _numbers(1500, 4)
    generator, made = _generate(matrix, matrix[:, 1] * matrix[:, 3], "squared")
    product = matrix[:, 1] * matrix[:, 3]
    assert max(abs(np.corrcoef(np.nan_to_num(column), product)[0, 1]) for column in made.T) > 0.99
    np.testing.assert_allclose(generator.transform(matrix), made)  # no label is in them


def test_a_product_helps_the_family() -> None:
    matrix = _numbers(900, 4, seed=3)
    y = matrix[:, 0].astype(np.float64) * matrix[:, 2]
    base = make_problem("squared", n_rows=900, kinds=("numeric",))
    problem = Problem(base.goal, base.frame, _with_numbers(base, matrix[:, :3]), y, np.arange(600), np.arange(600, 900))
    losses = []
    for family in (LightGBM(), LightGBMFE()):
        fitted = family.fit_fold(problem.task({**LightGBM().defaults(problem.facts)[0], "learning_rate": 0.1}))
        losses.append(problem.valid_loss(fitted.predict(problem.table.take(problem.valid_rows))))
    assert losses[1] < 0.6 * losses[0]


def _with_numbers(problem: Problem, numeric: Matrix) -> Any:
    import dataclasses

    return dataclasses.replace(problem.table, numeric=numeric)


@pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
def test_saved_generators_make_the_same(goal: str, tmp_path: Path) -> None:
    problem = make_problem(goal, n_rows=600)
    encoder = TreeEncoder.fit(problem.table, problem.train_rows, seed=0)
    train = encoder.transform(problem.table.take(problem.train_rows))
    y = problem.y[problem.train_rows]
    generator, made = Generator.fit_transform(train, encoder.n_numbers, encoder.categorical, y, problem.goal, seed=0)
    assert made.shape == (len(y), generator.n_columns)
    assert 0 < generator.n_columns <= n_generated(len(y))
    generator.save(tmp_path)
    full = encoder.transform(problem.table)
    np.testing.assert_array_equal(Generator.load(tmp_path).transform(full), generator.transform(full))


@pytest.mark.parametrize(
    "matrix",
    [
        _numbers(60, 1),
        np.full((60, 3), np.nan, np.float32),
        np.ones((60, 2), np.float32),
        np.zeros((60, 0), np.float32),
        np.where(_numbers(60, 3) > 0, np.nan, 1).astype(np.float32),
        np.full((60, 2), 3e38, np.float32),
        _numbers(1, 3),
    ],
    ids=["one column", "all missing", "constant", "no column", "only missingness", "huge", "one row"],
)
@pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
def test_strange_tables_give_something_finite_or_missing(matrix: Matrix, goal: str) -> None:
    y = np.arange(len(matrix)) % max(1, GOALS[goal].n_classes)
    generator, made = _generate(matrix, y.astype(np.float64) if goal == "squared" else y, goal)
    assert made.shape == (len(matrix), generator.n_columns)
    assert not np.isinf(generator.transform(matrix)).any()


def test_categories_alone_give_crosses() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(6, size=(2000, 3)).astype(np.float32)
    y = (codes[:, 0] == codes[:, 1]).astype(np.int32)
    generator, made = _generate(codes, y, "binary", codes=[0, 1, 2])
    assert not len(generator.formulas) and generator.crosses.specs.size
    best = max(abs(np.corrcoef(column, y)[0, 1]) for column in made.T)
    assert best > 0.95


def test_discrete_numbers_serve_as_categories() -> None:
    matrix = np.array([[1, 0.5], [2, 1.5], [np.nan, 2.5], [2, np.nan]], np.float32)
    sources = Sources.fit(matrix, 1, [1])
    np.testing.assert_array_equal(sources.levels(matrix), [[1, 1], [2, 2], [3, 0], [0, 2]])
    assert sources.levels(np.array([[9, 7]], np.float32)).tolist() == [[8, 0]]


def test_large_tables_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert n_generated(500_000) * 500_000 <= generated.MAX_CELLS
    seen: list[int] = []

    def first_three(given: Matrix, candidates: Matrix, *rest: Any) -> NDArray[np.int64]:
        seen.append(len(candidates))
        return np.arange(3)

    monkeypatch.setattr(generated, "SAMPLE_ROWS", 200)
    monkeypatch.setattr(generated, "select", first_three)
    _, made = _generate(_numbers(1000, 4), np.arange(1000.0), "squared")
    assert seen == [200] and made.shape == (1000, 3)


def test_labels_reach_a_row_only_through_other_rows() -> None:
    """Single columns and pairs of noise tell nothing of a target of noise; nothing is selected here."""
    rng = np.random.default_rng(5)
    codes = rng.integers(30, size=(3000, 2)).astype(np.float32)
    y = rng.integers(2, size=3000)
    specs = draw_crosses(np.full(2, 31), 3, 1, seed=0)
    levels = codes.astype(np.int32) + 1
    _, made = Crosses.fit_transform(specs, levels, target_columns(y, GOALS["binary"]), inner_folds(y, 0))
    from sklearn.metrics import roc_auc_score

    standard_error = np.sqrt(3001 / (12 * y.sum() * (3000 - y.sum())))
    for column, spec in zip(made.T, specs, strict=True):
        if spec[3] >= 0:
            assert abs(roc_auc_score(y, column) - 0.5) < 3 * standard_error
