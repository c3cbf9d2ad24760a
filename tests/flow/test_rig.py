"""How a machine is cut into slots: what is there, what the config says, what was asked for."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from foldsmith.flow import rig as rig_module
from foldsmith.flow.rig import RigPlan, RigRequest, plan_rig
from foldsmith.problem.config import RigSection
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.search.rig import Gpu, Rig

GIB = 1 << 30
TWO = tuple(Gpu(str(number), "NVIDIA GeForce RTX 3090", 24 * GIB, 20 * GIB) for number in range(2))
CPU_RIG, GPU_RIG = Rig(8, 64 * GIB, 50 * GIB), Rig(8, 64 * GIB, 50 * GIB, TWO)
FAMILIES = ("lightgbm", "xgboost", "mlp", "linear")


@pytest.fixture
def plan(make_problem: Callable[..., Problem]) -> Callable[..., RigPlan]:
    """Plans a machine; ``config`` are words of ``[rig]``, the others of the request."""

    problem = make_problem()

    def make(rig: Rig, config: dict[str, Any] | None = None, **words: Any) -> RigPlan:
        section = problem.config.model_copy(update={"rig": RigSection(**(config or {}))})
        return plan_rig(dataclasses.replace(problem, config=section), FAMILIES, RigRequest(**words), rig)

    return make


def test_workers_far_above_the_cores_are_told(plan: Callable[..., RigPlan]) -> None:
    notice = plan(Rig(2, 8 << 30, 8 << 30), workers=64).notice
    assert notice is not None and notice.startswith("--workers 64 are far more than the 2 cores here")
    assert "take about 10.6 GiB of 8.0 GiB" in notice and "leave --workers out" in notice
    assert plan(Rig(2, 8 << 30, 8 << 30), workers=4).notice is None
    assert plan(Rig(1, 8 << 30, 8 << 30), {"workers": 3}).notice is not None


def test_a_core_each_without_a_gpu(plan: Callable[..., RigPlan]) -> None:
    made = plan(CPU_RIG)
    assert (made.layout.n_cpu, made.layout.gpus, made.layout.ram_bytes) == (8, (), 40 * GIB)
    assert set(made.gpu_shares.values()) == {0.0}
    assert made.describe() == "8 cores · 64 GiB RAM · no GPU · 8 CPU slots"


def test_small_data_leaves_gpus_alone(plan: Callable[..., RigPlan]) -> None:
    """Nobody wishes for one, so no core is kept for GPU folds."""
    made = plan(GPU_RIG)
    assert (made.layout.n_cpu, made.layout.gpus) == (8, ())


def test_who_is_sent_there_goes_there(plan: Callable[..., RigPlan]) -> None:
    made = plan(GPU_RIG, per_gpu={"xgboost": 2, "mlp": 1})
    assert made.gpu_shares == {"lightgbm": 0.0, "xgboost": 0.5, "mlp": 1.0, "linear": 0.0}
    layout = made.layout
    assert (layout.gpus, layout.per_gpu, layout.n_cpu) == (("0", "1"), 2, 4)  # four cores feed the GPU folds
    assert layout.vram_bytes == pytest.approx(0.95 * 20 * GIB, rel=1e-6)
    assert made.describe().endswith("2 GPUs (RTX 3090, 24 GiB) · 4 CPU slots, 4 GPU slots")


def test_flags_go_before_the_config(plan: Callable[..., RigPlan]) -> None:
    config = {"workers": 3, "gpus": [0, 1], "per_gpu": {"xgboost": 4, "mlp": 2}, "ram_limit": "10G"}
    assert plan(GPU_RIG, config).layout.n_slots == 3 + 8
    made = plan(GPU_RIG, config, workers=5, gpus=("1",), per_gpu={"xgboost": 1}, ram_limit="50%")
    assert (made.layout.n_cpu, made.layout.gpus, made.layout.ram_bytes) == (5, ("1",), 25 * GIB)
    assert (made.gpu_shares["xgboost"], made.gpu_shares["mlp"]) == (1.0, 0.5)


def test_no_gpu_when_none_is_wanted(plan: Callable[..., RigPlan]) -> None:
    made = plan(GPU_RIG, gpus=(), per_gpu={"xgboost": 1})
    assert (made.layout.gpus, set(made.gpu_shares.values())) == ((), {0.0})


def test_gpus_of_other_machines(plan: Callable[..., RigPlan]) -> None:
    made = plan(CPU_RIG, per_gpu={"xgboost": 2}, joins_cluster=True)
    assert (made.gpu_shares["xgboost"], made.layout.gpus, made.layout.per_gpu) == (0.5, (), 2)


def test_a_lightgbm_that_cannot(plan: Callable[..., RigPlan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_module, "can_use_cuda", lambda: False)
    made = plan(GPU_RIG, per_gpu={"lightgbm": 1, "mlp": 1})
    assert made.notice == "lightgbm stays on the CPU: the installed build cannot train with CUDA"
    assert made.gpu_shares["lightgbm"] == 0.0
    monkeypatch.setattr(rig_module, "can_use_cuda", lambda: True)
    assert plan(GPU_RIG, per_gpu={"lightgbm": 1}).notice is None


def test_gpus_that_are_not_there(plan: Callable[..., RigPlan]) -> None:
    with pytest.raises(InputError, match="GPU '0' was asked for, but no GPU is visible here; check nvidia-smi"):
        plan(CPU_RIG, gpus=("0",))
    with pytest.raises(UnknownNameError, match="unknown GPU '7'.*known: 0, 1; see nvidia-smi"):
        plan(GPU_RIG, gpus=("7",))


def test_unknown_families_and_limits(plan: Callable[..., RigPlan]) -> None:
    with pytest.raises(UnknownNameError, match="'xgbost'.*did you mean 'xgboost'"):
        plan(GPU_RIG, per_gpu={"xgbost": 2})
    with pytest.raises(InputError, match="'lots' is no amount of memory"):
        plan(CPU_RIG, ram_limit="lots")
