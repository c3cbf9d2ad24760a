"""In-context families: a stand-in estimator everywhere, tiny random nets where the real libraries are installed.

No pretrained weights are needed: a net of a few hundred random weights in the libraries' own file formats goes the way
of a real one (found, loaded, asked), only it knows nothing.
"""

import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.columns import Column, Kind
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Schema
from foldsmith.spaces import in_context, weights
from foldsmith.spaces.family import Facts, FittedFold
from foldsmith.spaces.in_context import InContext, Prompt
from foldsmith.spaces.space import Float, Params, Space
from foldsmith.spaces.tabicl import CLASSIFIER, TabICL
from foldsmith.spaces.tabpfn import TabPFN
from foldsmith.spaces.testing import FamilySuite
from foldsmith.spaces.toy import GOALS, Problem, make_problem
from foldsmith.spaces.weights import Weights, find_weights

STAND_IN = Weights("stand-in.bin", "nobody/nothing", max_rows=2000, max_columns=100, max_cpu_rows=1000)


class StandInEstimator:
    """A test double with the methods of the libraries' estimators: a linear model, no net."""

    def __init__(self, prompt: Prompt, path: Path) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        assert path.is_file()
        C: Any = prompt.params["C"]
        self._inner = Ridge(1 / C) if prompt.kind == "regression" else LogisticRegression(C=C, max_iter=200)

    @property
    def classes_(self) -> Any:
        return np.asarray(self._inner.classes_)

    def _seen(self, matrix: NDArray[Any]) -> NDArray[Any]:
        filled = np.where(np.isnan(matrix), self._means, matrix)
        seen: NDArray[Any] = np.clip((filled - self._means) / self._scales, -3, 3)
        return seen

    def fit(self, matrix: NDArray[Any], target: NDArray[Any]) -> "StandInEstimator":
        known = np.isfinite(matrix)
        self._means = np.where(known, matrix, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        self._scales = np.where(known, matrix - self._means, 0).std(axis=0) + 1e-6
        self._inner.fit(self._seen(matrix), target)
        return self

    def predict_proba(self, matrix: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._inner.predict_proba(self._seen(matrix)))

    def predict(self, matrix: NDArray[Any], output_type: str) -> NDArray[Any]:
        assert output_type in ("mean", "median")
        return np.asarray(self._inner.predict(self._seen(matrix)))


class StandIn(InContext):
    """A family around the test double."""

    name, prefix = "stand-in", "si"

    def weights(self, goal: Goal) -> Sequence[Weights]:
        return (STAND_IN,)

    def space(self, facts: Facts) -> Space:
        return Space("stand-in@1", {"C": Float(0.01, 1.0)})

    def defaults(self, facts: Facts) -> list[Params]:
        return [{"C": 0.1}]

    def estimator(self, prompt: Prompt, weights: Path) -> Any:
        return StandInEstimator(prompt, weights)


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where FOLDSMITH_WEIGHTS points; no other place is looked at, and there is no GPU."""
    folder = tmp_path_factory.mktemp("weights")
    monkeypatch.setenv("FOLDSMITH_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    monkeypatch.setenv("TABPFN_MODEL_CACHE_DIR", str(folder / "cache"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(in_context, "has_gpu", lambda: False)
    return folder


class TestStandIn(FamilySuite):
    family = StandIn()

    @pytest.fixture(autouse=True)
    def _weights(self, folder: Path) -> None:
        (folder / STAND_IN.name).touch()

    @pytest.mark.parametrize("goal", ["multiclass", "squared"])  # a fresh process cannot import this test
    def test_loads_in_a_fresh_process(self, goal: str, tmp_path: Path) -> None:
        super().test_loads_in_a_fresh_process(goal, tmp_path)


def tiny_tabicl(folder: Path) -> None:
    """Random nets in the format of TabICL's checkpoints."""
    import torch
    from tabicl._model.tabicl import TabICL as Net

    sizes = {"embed_dim": 16, "col_num_inds": 4, "row_num_cls": 2, "num_quantiles": 19, "zero_init": False}
    sizes |= {f"{part}_{what}": n for part in ("col", "row", "icl") for what, n in (("num_blocks", 1), ("nhead", 2))}
    for kind, n_classes in (("classifier", 10), ("regressor", 0)):
        torch.manual_seed(0)
        config = {"max_classes": n_classes, **sizes}
        torch.save(
            {"config": config, "state_dict": Net(**config).state_dict()}, folder / f"tabicl-{kind}-v2-20260212.ckpt"
        )


def tiny_tabpfn(folder: Path) -> None:
    """Random nets in the format of TabPFN's checkpoints of version 2, the only ones that may be used for anything."""
    import torch
    from tabpfn.architectures import tabpfn_v2
    from tabpfn.architectures.shared.bar_distribution import (
        FullSupportBarDistribution,
    )

    for name, sizes in (
        ("tabpfn-v2-classifier-finetuned-zk73skhh.ckpt", {"max_num_classes": 10}),
        ("tabpfn-v2-regressor.ckpt", {"max_num_classes": 0, "num_buckets": 50}),
    ):
        config = {"emsize": 16, "nlayers": 1, "nhead": 2, **sizes}
        torch.manual_seed(0)
        net = tabpfn_v2.get_architecture(tabpfn_v2.parse_config(config)[0])
        # The last layer of each block begins at zero, and a net of one block would say the same of every row.
        state = {key: value + 0.3 * torch.randn_like(value) for key, value in net.state_dict().items()}
        if "num_buckets" in sizes:
            bars = FullSupportBarDistribution(torch.linspace(-4, 4, sizes["num_buckets"] + 1))
            state |= {f"criterion.{key}": value for key, value in bars.state_dict().items()}
        torch.save({"config": config, "state_dict": state}, folder / name)


class _RandomNet(FamilySuite):
    """What a net that knows nothing can keep of the suite, and that it reads its context."""

    n_random_points = 1

    @pytest.mark.parametrize("goal", list(GOALS))
    def test_learns(self, goal: str) -> None:
        problem = self.problem(goal)
        fitted = self.fit(problem)
        assert fitted.facts["n_context"] == 200 and fitted.facts["device"] == "cpu"
        predicted = fitted.predict(problem.table.take(problem.valid_rows))
        self.check_prediction(problem, predicted, len(problem.valid_rows))
        assert np.ptp(predicted[:, 0]) > 0, "rows differ"
        if problem.goal.kind == "regression":
            target = problem.y[problem.train_rows]
            assert target.min() - 60 < predicted.min() and predicted.max() < target.max() + 60, "the target's own units"

    def test_a_class_without_train_rows_keeps_its_column(self) -> None:
        problem = self.problem("multiclass")
        rows = problem.train_rows[problem.y[problem.train_rows] != 1]
        predicted = self.fit(problem, train_rows=rows, fold_key="without 1").predict(problem.table)
        self.check_prediction(problem, predicted, problem.table.n_rows)
        assert (predicted[:, 1] == 0).all() and (predicted[:, [0, 2]] > 0).all()


if importlib.util.find_spec("tabicl") is not None:

    class TestTabICL(_RandomNet):
        family = TabICL()

        @pytest.fixture(autouse=True)
        def _weights(self, folder: Path) -> None:
            tiny_tabicl(folder)


if importlib.util.find_spec("tabpfn") is not None:

    class TestTabPFN(_RandomNet):
        family = TabPFN()

        @pytest.fixture(autouse=True)
        def _weights(self, folder: Path) -> None:
            tiny_tabpfn(folder)


@pytest.mark.parametrize("package", ["tabicl", "tabpfn"])
def test_the_real_library_is_here(package: str) -> None:
    """Says in one line that a whole suite was left out."""
    pytest.importorskip(package, reason=f"the package {package} is not installed: its suite is left out")


def facts(n_rows: int = 500, n_columns: int = 5, goal: str = "binary", kind: Kind = "numeric") -> Facts:
    columns = tuple(Column(f"x{number}", kind, "") for number in range(n_columns))
    return Facts(GOALS[goal], Schema(columns, {}), n_rows)


def test_without_weights_the_reason_names_file_variable_and_command(folder: Path) -> None:
    reason = TabICL().accepts(facts())
    assert reason is not None
    assert "put tabicl-classifier-v2-20260212.ckpt into the folder that FOLDSMITH_WEIGHTS names" in reason
    assert f"(now {str(folder)!r})" in reason
    assert "hf download jingang/TabICL tabicl-classifier-v2-20260212.ckpt" in reason
    assert "tabicl-regressor" in str(TabICL().accepts(facts(goal="squared")))


def test_weights_that_are_gone_fail_the_fold_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDSMITH_WEIGHTS")
    problem = make_problem()
    with pytest.raises(FoldsmithError, match=r"tabpfn: no pretrained weights .*FOLDSMITH_WEIGHTS names \(not set\)"):
        TabPFN().fit_fold(problem.task(TabPFN().defaults(problem.facts)[0]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n_rows": 2001}, "2,001 rows, but stand-in.bin is made for at most 2,000"),
        ({"n_columns": 101}, "101 columns, but stand-in.bin is made for at most 100"),
        ({"n_columns": 3, "kind": "text"}, " columns, but stand-in.bin is made for at most 100"),
        ({"n_rows": 1500}, "1,500 rows need a GPU: without one stand-in.bin is bearable up to 1,000"),
    ],
)
def test_sizes_beyond_the_weights_are_a_reason(folder: Path, change: dict[str, Any], reason: str) -> None:
    (folder / STAND_IN.name).touch()
    assert StandIn().accepts(facts()) is None
    assert reason in str(StandIn().accepts(facts(**change)))


def test_too_many_classes_are_a_reason(folder: Path) -> None:
    (folder / STAND_IN.name).touch()
    many = dataclasses.replace(facts(), goal=Goal("multiclass", 11, "log_loss", "log_loss"))
    assert StandIn().accepts(many) == "11 classes, but stand-in.bin is made for at most 10"


def test_a_gpu_makes_larger_tables_welcome(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / STAND_IN.name).touch()
    monkeypatch.setattr(in_context, "has_gpu", lambda: True)
    assert StandIn().accepts(facts(n_rows=1500)) is None
    assert StandIn().resources(facts(n_rows=1500), {}).gpus == 1.0
    monkeypatch.setattr(StandIn, "weights", lambda *_: (dataclasses.replace(STAND_IN, max_cpu_rows=100),))
    problem = make_problem()
    with pytest.raises(FoldsmithError, match="stand-in: 200 train rows on a CPU, .* bearable up to 100; give"):
        StandIn().fit_fold(problem.task({"C": 0.1}))


def test_newer_weights_are_preferred_and_the_given_folder_comes_first(folder: Path) -> None:
    new, old = (dataclasses.replace(STAND_IN, name=name) for name in ("new.bin", "old.bin"))
    cache = folder / "cache"
    snapshot = folder / "hub" / "hub" / "models--nobody--nothing" / "snapshots" / "abc"
    for place in (cache, snapshot):
        place.mkdir(parents=True)
    assert find_weights([new, old], [cache]) is None
    (snapshot / "old.bin").touch()
    assert find_weights([new, old], [cache]) == (old, snapshot / "old.bin")
    (cache / "new.bin").touch()
    assert find_weights([new, old], [cache]) == (new, cache / "new.bin")
    (folder / "old.bin").touch()
    assert find_weights([new, old], [cache]) == (old, folder / "old.bin")
    (folder / "new.bin").touch()
    assert find_weights([new, old], [cache]) == (new, folder / "new.bin")


def test_tabpfn_looks_into_its_own_cache(folder: Path) -> None:
    (folder / "cache").mkdir()
    (folder / "cache" / "tabpfn-v2-regressor.ckpt").touch()
    assert TabPFN().accepts(facts(goal="squared")) is None
    assert "at most 500" in str(TabPFN().accepts(facts(goal="squared", n_columns=501)))


@pytest.fixture
def saved(folder: Path, tmp_path: Path) -> tuple[Problem, FittedFold, Path]:
    """A fitted stand-in and the folder that it was written to."""
    (folder / STAND_IN.name).touch()
    problem = make_problem("multiclass")
    fitted = StandIn().fit_fold(problem.task({"C": 0.1}))
    fitted.save(tmp_path)
    return problem, fitted, tmp_path


def test_a_saved_model_is_its_context_and_finds_its_weights_again(
    saved: tuple[Problem, FittedFold, Path], folder: Path
) -> None:
    problem, fitted, path = saved
    assert {file.name for file in path.iterdir()} == {
        "context.npz",
        "prompt.json",
        "encoder.json",
        "text.json",
        "text.npz",
    }
    again = StandIn().load(path)
    np.testing.assert_array_equal(again.predict(problem.table), fitted.predict(problem.table))
    (folder / STAND_IN.name).unlink()
    with pytest.raises(FoldsmithError, match=r"stand-in: no pretrained weights on this machine; put stand-in.bin"):
        StandIn().load(path)


def test_a_model_of_a_gpu_is_asked_on_the_cpu_where_there_is_none(
    saved: tuple[Problem, FittedFold, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, fitted, path = saved
    record = json.loads((path / "prompt.json").read_text())
    (path / "prompt.json").write_text(json.dumps({**record, "device": "cuda"}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    again = StandIn().load(path)
    assert again.facts["device"] == "cpu"
    np.testing.assert_array_equal(again.predict(problem.table), fitted.predict(problem.table))


@pytest.mark.parametrize("only", [0, 1])
def test_train_rows_of_one_class_need_no_net(folder: Path, only: int) -> None:
    (folder / STAND_IN.name).touch()
    problem = make_problem()
    rows = problem.train_rows[problem.y[problem.train_rows] == only]
    predicted = StandIn().fit_fold(problem.task({"C": 0.1}, train_rows=rows)).predict(problem.table)
    np.testing.assert_array_equal(predicted, np.full((300, 1), only, np.float32))


def test_predictions_do_not_depend_on_the_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / STAND_IN.name).touch()
    problem = make_problem("squared")
    fitted = StandIn().fit_fold(problem.task({"C": 0.1}))
    at_once = fitted.predict(problem.table)
    monkeypatch.setattr(in_context, "PREDICT_BLOCK", 37)
    np.testing.assert_allclose(fitted.predict(problem.table), at_once, rtol=1e-6)


def test_limits_and_files_are_stated_for_every_goal() -> None:
    for family in (TabICL(), TabPFN()):
        for goal in GOALS.values():
            wanted = family.weights(goal)
            assert wanted and all(found.max_classes == 10 for found in wanted)
            assert all(10_000 <= found.max_rows <= 100_000 and found.max_columns in (500, 2000) for found in wanted)
    assert CLASSIFIER.fetch_command == f"hf download jingang/TabICL {CLASSIFIER.name}"
    assert weights.FOLDER_VARIABLE == "FOLDSMITH_WEIGHTS"
