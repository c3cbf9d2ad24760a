"""What folds are expected to take: shapes, growth, GPU wishes, and two peaks measured in fresh processes."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.tables import Schema, Table, save_table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import DenseEncoder, TreeEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.registry import available_families, get_family
from foldsmith.spaces.scaling import Scaling
from foldsmith.spaces.space import Params, Space
from foldsmith.spaces.text import N_COMPONENTS
from foldsmith.spaces.toy import GOALS, make_problem

MIB, GIB = 1 << 20, 1 << 30
INSTALLED = available_families(by_default=False)[0]


def _facts(n_rows: int, n_columns: int, goal: str = "binary") -> Facts:
    columns = tuple(Column(f"x{number}", "numeric", "") for number in range(n_columns))
    return Facts(GOALS[goal], Schema(columns, {}), n_rows)


def _resources(name: str, n_rows: int = 5000, n_columns: int = 20, goal: str = "binary", **params: Any) -> Resources:
    family, facts = get_family(name), _facts(n_rows, n_columns, goal)
    return family.resources(facts, {**family.defaults(facts)[0], **params})


@pytest.mark.parametrize("name", INSTALLED)
def test_a_fold_takes_at_least_a_worker_and_grows_with_the_table(name: str) -> None:
    small, long, wide = _resources(name), _resources(name, n_rows=50_000), _resources(name, n_columns=200)
    assert 150 * MIB < small.ram_bytes < 500 * MIB
    assert long.ram_bytes > small.ram_bytes + 5 * MIB
    assert wide.ram_bytes > small.ram_bytes + 5 * MIB
    assert small.cpus == 1


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("goal", list(GOALS))
def test_every_goal_and_table_has_an_estimate(name: str, goal: str) -> None:
    problem, family = make_problem(goal), get_family(name)
    for n_rows in (10, 1_000_000):
        facts = dataclasses.replace(problem.facts, n_rows=n_rows)
        for params in family.defaults(facts):
            found = family.resources(facts, params)
            assert isinstance(found.ram_bytes, int) and isinstance(found.vram_bytes, int)
            assert found.ram_bytes > 0


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("lightgbm", {"num_leaves": 4}, {"num_leaves": 256}),
        ("xgboost", {"max_depth": 3}, {"max_depth": 12}),
        ("xgboost", {"grow_policy": "lossguide", "max_depth": 12, "max_leaves": 8}, {"max_depth": 12}),
        ("xgboost", {"max_depth": 12, "min_child_weight": 50.0}, {"max_depth": 12}),
        ("catboost", {"depth": 4}, {"depth": 10}),
        ("extra_trees", {"min_samples_leaf": 50}, {"min_samples_leaf": 1}),
        ("random_forest", {}, {"min_samples_leaf": 1}),
        ("knn", {"k": 1}, {"k": 500}),
        ("linear", {"numeric": "standard"}, {"numeric": "pieces"}),
        ("mlp", {"numeric": "standard"}, {"numeric": "pieces"}),
        ("mlp", {"width": 32}, {"width": 512}),
        ("realmlp", {"n_members": 1}, {"n_members": 4}),
        ("realmlp", {"width": 128}, {"width": 512}),
        ("tabm", {"k": 8, "width": 512}, {"k": 32, "width": 512}),
        ("tabm", {"width": 64}, {"width": 1024}),
    ],
)
def test_parameters_count(name: str, less: dict[str, Any], more: dict[str, Any]) -> None:
    assert _resources(name, **less).ram_bytes + 5 * MIB < _resources(name, **more).ram_bytes


def test_more_classes_take_more() -> None:
    for name in INSTALLED:
        assert _resources(name, goal="multiclass").ram_bytes > _resources(name).ram_bytes


@pytest.mark.parametrize("kinds", [(), ("numeric",), ("categorical",), ("datetime",), ("text",)])
def test_columns_are_counted_as_the_encoders_make_them(kinds: tuple[Any, ...]) -> None:
    problem = make_problem(n_rows=1500, kinds=kinds)
    made = TreeEncoder.fit(problem.table, problem.train_rows, seed=0).n_columns
    # Six words give at most five components; the estimate does not know the words.
    assert made <= estimates.n_tree_columns(problem.facts) <= made + N_COMPONENTS
    scalings: tuple[Scaling, ...] = ("standard", "quantile", "pieces")
    for scaling in scalings:
        dense = DenseEncoder.fit(problem.table, problem.train_rows, seed=0, scaling=scaling)
        columns = dense.n_columns - len(dense.indicators)
        assert columns <= estimates.n_dense_columns(problem.facts, scaling) <= 2 * columns + 70


def test_gpu_wishes_begin_where_a_gpu_pays() -> None:
    assert (_resources("xgboost", 49_999).gpus, _resources("xgboost", 50_000).gpus) == (0.0, 0.5)
    assert (_resources("mlp", 9_999).gpus, _resources("mlp", 10_000).gpus) == (0.0, 0.5)
    for name in ("linear", "extra_trees", "random_forest", "knn"):
        assert _resources(name, 1_000_000).gpus == 0.0
        assert _resources(name, 1_000_000).vram_bytes == 0


def test_lightgbm_wishes_for_a_gpu_on_large_data() -> None:
    """Whether its build can use one is asked where there is a GPU."""
    assert _resources("lightgbm", 100_000).gpus == 0.5
    assert _resources("lightgbm", 1000).gpus == 0.0


@pytest.mark.parametrize("name", ["xgboost", "mlp", "lightgbm", "catboost", "realmlp", "tabm"])
def test_gpu_memory_holds_the_context_and_the_data(name: str) -> None:
    small, large = _resources(name).vram_bytes, _resources(name, 10_000_000).vram_bytes
    assert GIB // 2 <= small < GIB
    assert large - small > 10_000_000 * 20  # a byte a cell


class _Plain(Family):
    """A user's family that says nothing of memory."""

    name, prefix = "plain:Plain", "pl"

    def space(self, facts: Facts) -> Space:
        return Space("plain@1", {})

    def defaults(self, facts: Facts) -> list[Params]:
        return [{}]

    def fit_fold(self, task: FoldTask) -> FittedFold:
        raise NotImplementedError

    def load(self, folder: Path) -> FittedFold:
        raise NotImplementedError


def test_a_family_that_says_nothing_gets_some_matrices() -> None:
    small, large = (_Plain().resources(_facts(n_rows, 30), {}) for n_rows in (1000, 100_000))
    assert 300 * MIB < small.ram_bytes < 400 * MIB
    assert large.ram_bytes - small.ram_bytes > 3 * 99_000 * 30 * 4
    assert (small.gpus, small.vram_bytes) == (0.0, 0)


_FIT_AND_MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
import foldsmith.search.jobs
from foldsmith.problem.tables import Table
from foldsmith.search.memory import PeakWatch
from foldsmith.spaces.family import Facts, FoldTask
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.toy import GOALS
folder, family, goal = Path(sys.argv[1]), get_family(sys.argv[2]), GOALS["binary"]
table, y = Table.open(folder / "table"), np.load(folder / "y.npy")
facts, rows = Facts(goal, table.schema, table.n_rows), np.arange(table.n_rows)
params = family.defaults(facts)[0]
with PeakWatch(None, lambda peak: None) as watch:
    train, valid = rows[rows % 5 > 0], rows[rows % 5 == 0]
    fitted = family.fit_fold(FoldTask(goal, table, y, train, valid, params, seed=0, fold_key="f"))
    fitted.predict(table)
print(json.dumps([watch.peak_bytes, family.resources(facts, params).ram_bytes]))
"""


@pytest.mark.parametrize(("name", "n_rows"), [("lightgbm", 5000), ("catboost", 5000), ("linear", 10_000)])
def test_a_fold_in_a_fresh_process_takes_what_was_reckoned(name: str, n_rows: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(n_rows, 20)).astype(np.float32)
    no_codes, no_dates = np.zeros((n_rows, 0), np.int32), np.zeros((n_rows, 0), np.int64)
    save_table(Table(_facts(n_rows, 20).schema, n_rows, numbers, no_codes, no_dates, ()), tmp_path / "table")
    np.save(tmp_path / "y.npy", (numbers[:, 0] + rng.normal(size=n_rows) > 0).astype(np.int32))
    command = [sys.executable, "-c", _FIT_AND_MEASURE, str(tmp_path), name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    peak, reckoned = json.loads(done.stdout)
    assert 0.8 * peak < reckoned < 2 * peak
