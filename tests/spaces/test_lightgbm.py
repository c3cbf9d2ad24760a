"""Whether LightGBM can use a GPU, and that it never pretends to."""

import subprocess
from collections.abc import Iterator
from typing import Any

import lightgbm as library
import pytest

from foldsmith.problem.errors import FoldsmithError
from foldsmith.spaces import lightgbm
from foldsmith.spaces.lightgbm import LightGBM, _cuda_checked, _device_used, can_use_cuda
from foldsmith.spaces.toy import make_problem


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """The probe's answer is remembered; every test asks anew, and none answers for later ones."""
    can_use_cuda.cache_clear()
    yield
    can_use_cuda.cache_clear()


def test_without_a_driver_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm, "_has_cuda_driver", lambda: False)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: pytest.fail("a process was started"))
    assert not can_use_cuda()


@pytest.mark.parametrize(
    ("probe", "expected"),
    [("", True), ("raise SystemExit(1)", False), ("import os; os.abort()", False)],
    ids=["works", "raises", "crashes"],
)
def test_the_probe_is_tried_once_in_its_own_process(
    monkeypatch: pytest.MonkeyPatch, probe: str, expected: bool
) -> None:
    monkeypatch.setattr(lightgbm, "_has_cuda_driver", lambda: True)
    monkeypatch.setattr(lightgbm, "_PROBE", probe)
    assert can_use_cuda() is expected
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: pytest.fail("asked twice"))
    assert can_use_cuda() is expected


def test_a_probe_that_hangs_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*args: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired(args, options["timeout"])

    monkeypatch.setattr(lightgbm, "_has_cuda_driver", lambda: True)
    monkeypatch.setattr(subprocess, "run", hang)
    assert not can_use_cuda()


def test_the_probe_itself_runs_where_the_device_works() -> None:
    """On the CPU, which every build can use: the program and what it reads back are right."""
    exec(lightgbm._PROBE.replace("cuda", "cpu"), {})


def test_the_device_really_used_is_read_back() -> None:
    problem = make_problem()
    fitted = LightGBM().fit_fold(problem.task(LightGBM().defaults(problem.facts)[0]))
    assert fitted.facts["device"] == "cpu"
    booster: Any = fitted._booster  # type: ignore[attr-defined]  # what was trained
    with pytest.raises(FoldsmithError, match="trained on 'cpu' though device 'cuda' was asked for"):
        _device_used(booster, "cuda")


def test_the_device_reaches_data_and_training(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem()
    asked: list[str] = []
    construct = library.Dataset.__init__

    def make(self: Any, *args: Any, **options: Any) -> None:
        asked.append(options["params"]["device_type"])
        options["params"] = {**options["params"], "device_type": "cpu"}
        construct(self, *args, **options)

    def train(params: dict[str, Any], *args: Any, **options: Any) -> Any:
        asked.append(params["device_type"])
        raise library.basic.LightGBMError("CUDA Tree Learner was not enabled in this build.\nPlease recompile")

    monkeypatch.setattr(library.Dataset, "__init__", make)
    monkeypatch.setattr(library, "train", train)
    with pytest.raises(FoldsmithError, match="'cuda' was asked for but this build of LightGBM cannot use it"):
        LightGBM().fit_fold(problem.task(LightGBM().defaults(problem.facts)[0], device="cuda"))
    assert asked == ["cuda"] * 3


def test_other_errors_of_the_library_stay_what_they_are() -> None:
    def fail() -> None:
        raise library.basic.LightGBMError("[CUDA] out of memory /src/cuda_column_data.cpp 23")

    with pytest.raises(library.basic.LightGBMError, match="out of memory"):
        _cuda_checked(fail)
