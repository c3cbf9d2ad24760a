"""Categories as CatBoost sees them, and what a GPU changes, tried on the CPU."""

import time
from dataclasses import replace
from typing import Any

import catboost as library
import numpy as np
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.tables import build_schema, type_frame
from foldsmith.spaces import catboost
from foldsmith.spaces.boosting import CurveWatch
from foldsmith.spaces.catboost import CatBoost, _device_used, _fit_on_gpu, _pools, _rounds_until_deadline
from foldsmith.spaces.family import FoldTask
from foldsmith.spaces.toy import make_problem


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catboost, "MAX_ROUNDS", 60)


def _task(goal: str = "binary", **changes: Any) -> FoldTask:
    problem = make_problem(goal)
    return problem.task(CatBoost().defaults(problem.facts)[0], **changes)


def test_a_row_is_predicted_alike_alone_and_among_others() -> None:
    """The levels of a table are read anew for each prediction; they must mean what they meant in the fit."""
    task = _task()
    fitted = CatBoost().fit_fold(task)
    among = fitted.predict(task.table)
    for row in (0, 7, 299):
        np.testing.assert_array_equal(fitted.predict(task.table.take(np.array([row]))), among[[row]])


def test_a_missing_level_is_a_level() -> None:
    problem = make_problem("squared")
    frame = problem.frame[["größe"]]
    table = type_frame(frame, build_schema(frame, [Column("größe", "categorical", "")]))
    y = frame["größe"].isna().to_numpy(np.float64)
    facts = replace(problem.facts, schema=table.schema)
    params: Any = {**CatBoost().defaults(facts)[0], "l2_leaf_reg": 0.1}
    predicted = CatBoost().fit_fold(problem.task(params, table=table, y=y)).predict(table)[:, 0]
    assert predicted[y == 1].min() > 0.9
    assert predicted[y == 0].max() < 0.1


def test_exact_medians_take_no_leaf_steps() -> None:
    assert "leaf_estimation_iterations" not in CatBoost().space(make_problem("absolute").facts).params
    assert "leaf_estimation_iterations" in CatBoost().space(make_problem("squared").facts).params


def test_the_device_really_used_is_read_back() -> None:
    task = _task()
    fitted = CatBoost().fit_fold(task)
    assert fitted.facts["device"] == "cpu"
    model: Any = fitted._model  # type: ignore[attr-defined]  # what was trained
    with pytest.raises(FoldsmithError, match="trained on 'cpu' though device 'cuda' was asked for"):
        _device_used(model, "cuda")


@pytest.mark.parametrize(
    "words", ["CUDA error 35: CUDA driver version is insufficient", "Environment for task type [GPU] not found"]
)
def test_a_gpu_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    asked: list[dict[str, Any]] = []

    class NoGpu:
        def __init__(self, params: dict[str, Any]) -> None:
            asked.append(params)

        def fit(self, *args: Any, **options: Any) -> None:
            raise library.CatBoostError(words)

    monkeypatch.setattr(library, "CatBoost", NoGpu)
    with pytest.raises(FoldsmithError, match="device 'cuda' was asked for but CatBoost cannot use it"):
        CatBoost().fit_fold(_task(device="cuda"))
    assert asked[0]["task_type"] == "GPU" and "colsample_bylevel" not in asked[0]


@pytest.fixture
def _gpu_is_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's way of fitting, on the CPU."""
    made = catboost._library_params

    def without_gpu(task: FoldTask) -> dict[str, Any]:
        params = made(task)
        return {name: value for name, value in params.items() if name not in ("task_type", "devices", "gpu_ram_part")}

    monkeypatch.setattr(catboost, "_library_params", without_gpu)


def _fit_as_on_gpu(task: FoldTask) -> tuple[Any, CurveWatch]:
    watch = CurveWatch(task.goal.monitor_greater_is_better, lambda: False)
    _, train, valid = _pools(task)
    return _fit_on_gpu(task, train, valid, watch), watch


@pytest.mark.usefixtures("_gpu_is_cpu")
@pytest.mark.parametrize("goal", ["auc", "multiclass", "squared"])
def test_on_a_gpu_the_librarys_own_detector_stops(goal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catboost, "GPU_PATIENCE", 5)
    monkeypatch.setattr(catboost, "MAX_ROUNDS", 1000)
    model, watch = _fit_as_on_gpu(_task(goal, device="cuda"))
    assert watch.stopped_by == "patience"
    assert len(watch.curve) == model.tree_count_ == watch.best_round + 5


@pytest.mark.usefixtures("_gpu_is_cpu")
def test_on_a_gpu_a_past_deadline_leaves_one_round() -> None:
    model, watch = _fit_as_on_gpu(_task(device="cuda", deadline=time.time() - 1))
    assert (model.tree_count_, len(watch.curve), watch.stopped_by) == (1, 1, "deadline")


def test_rounds_follow_from_the_speed_of_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(catboost, "PROBE_ROUNDS", 20)
    tried: list[int] = []

    def fit(rounds: int) -> None:
        nonlocal now
        tried.append(rounds)
        now += 2.0

    assert _rounds_until_deadline(_task(deadline=1006.0), fit) == 40  # four seconds are left, a round takes 0.1
    assert tried == [20]
    assert _rounds_until_deadline(_task(deadline=None), fit) == 60
    assert tried == [20]
