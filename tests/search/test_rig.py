"""The rig as this process may use it; the driver's library is replaced by a small fake."""

import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from foldsmith.search import rig
from foldsmith.search.cgroups import CgroupLimits
from foldsmith.search.rig import Gpu, Rig, detect_rig

GIB = 1 << 30


class NVMLError(Exception):
    """The library's error."""


class FakeNvml:
    """As much of ``pynvml`` as is used.

    Args:
        gpus: per GPU its name and memory in GiB.
        slices: memory in GiB of each slice, by the GPU's index.
        lost: indices of GPUs that no longer answer.
        init_error: what ``nvmlInit`` raises.
    """

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(
        self,
        *gpus: tuple[str, int],
        slices: dict[int, list[int]] | None = None,
        lost: tuple[int, ...] = (),
        init_error: Exception | None = None,
    ) -> None:
        self.gpus, self.slices, self.lost, self.init_error = gpus, slices or {}, lost, init_error
        self.n_open = 0

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise self.init_error
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        name, gib = self.gpus[index]
        return SimpleNamespace(index=index, name=name, gib=gib, uuid=f"GPU-{'abcdef'[index]}1234567")

    def nvmlDeviceGetMigMode(self, handle: Any) -> list[int]:
        if handle.name.startswith("NVIDIA GeForce"):
            raise NVMLError("Not Supported")
        return [int(handle.index in self.slices), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, number: int) -> Any:
        if number >= len(self.slices[handle.index]):
            raise NVMLError("Not Found")
        gib = self.slices[handle.index][number]
        return SimpleNamespace(index=handle.index, name=f"{handle.name} MIG", gib=gib, uuid=f"MIG-{number}9")

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        if handle.index in self.lost:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(total=handle.gib * GIB, free=handle.gib * GIB // 2)

    def nvmlDeviceGetUUID(self, handle: Any) -> bytes:
        return str(handle.uuid).encode()

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return str(handle.name)


RTX, OLD, A100 = ("NVIDIA GeForce RTX 3090", 24), ("NVIDIA GeForce RTX 2080 Ti", 11), ("NVIDIA A100-SXM4-80GB", 80)


def _ids(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml, visible: str | None = None) -> list[str]:
    """Ids of the GPUs found with this driver and environment."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [gpu.id for gpu in detect_rig().gpus]
    assert nvml.n_open == 0, "the library was closed"
    return found


def test_two_gpus_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ids(monkeypatch, FakeNvml(RTX, RTX)) == ["0", "1"]
    assert detect_rig().gpus[1] == Gpu("1", "NVIDIA GeForce RTX 3090", 24 * GIB, 12 * GIB)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("", []),
        ("-1", []),
        (" ", []),
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("0,0", ["0"]),
        ("0,-1,1", ["0"]),  # the list ends at the first that names no GPU
        ("7,0", []),
        ("NoDevFiles", []),
        ("GPU-b1234567", ["GPU-b1234567"]),
        ("GPU-c,GPU-a1", ["GPU-c1234567", "GPU-a1234567"]),
        ("GPU-", []),  # names more than one
        ("GPU-a,", ["GPU-a1234567"]),
    ],
)
def test_the_environment_chooses_as_in_cuda(monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]) -> None:
    assert _ids(monkeypatch, FakeNvml(RTX, OLD, RTX), visible) == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "MIG-09", "MIG-19"]),
        ("MIG-19", ["MIG-19"]),
        ("1", ["MIG-09"]),  # the index of a cut GPU names its first slice
        ("1,0", ["MIG-09", "0"]),
    ],
)
def test_slices_go_by_uuid(monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]) -> None:
    assert _ids(monkeypatch, FakeNvml(A100, A100, slices={1: [40, 20]}), visible) == expected
    assert "MIG" not in expected[-1] or detect_rig().gpus[-1].vram_bytes in (40 * GIB, 20 * GIB)


@pytest.mark.parametrize("error", [NVMLError("Driver Not Loaded"), OSError("libnvidia-ml.so.1"), RuntimeError("odd")])
def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert _ids(monkeypatch, FakeNvml(RTX, init_error=error)) == []


def test_no_library_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    assert detect_rig().gpus == ()


def test_a_lost_gpu_is_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert _ids(monkeypatch, FakeNvml(RTX, RTX, RTX, lost=(1,))) == ["0", "2"]
    assert "GPU 1 is left out: GPU is lost" in caplog.text


def test_an_error_in_the_middle_closes_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(RTX)
    monkeypatch.setattr(nvml, "nvmlDeviceGetCount", lambda: 1 / 0)
    assert _ids(monkeypatch, nvml) == []


def test_hidden_gpus_do_not_wake_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(RTX)
    opened: list[int] = []
    monkeypatch.setattr(nvml, "nvmlInit", lambda: opened.append(1))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect_rig().gpus == () and not opened


def test_this_machine() -> None:
    found = detect_rig()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < found.free_bytes <= found.ram_bytes <= psutil.virtual_memory().total


def test_looking_is_quick_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init_error=NVMLError("Driver Not Loaded")))
    detect_rig()  # imports
    times = []
    for _ in range(5):
        began = time.process_time()  # its own work, however busy the machine is
        detect_rig()
        times.append(time.process_time() - began)
    assert min(times) < 0.05


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, 8), (2.0, 2), (3.6, 4), (0.2, 1), (64.0, 8)], ids=["none", "2", "3.6", "0.2", "64"]
)
def test_a_processor_quota_is_rounded(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(rig, "_cores_by_affinity", lambda: 8)
    monkeypatch.setattr(rig, "cgroup_limits", lambda: CgroupLimits(cores=quota))
    assert detect_rig().cores == expected


def test_the_tighter_of_machine_and_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = psutil.virtual_memory()
    monkeypatch.setattr(rig, "cgroup_limits", lambda: CgroupLimits(ram_bytes=GIB, free_bytes=1000))
    assert (detect_rig().ram_bytes, detect_rig().free_bytes) == (GIB, 1000)
    monkeypatch.setattr(rig, "cgroup_limits", lambda: CgroupLimits(ram_bytes=1 << 50, free_bytes=1 << 50))
    assert detect_rig().ram_bytes == machine.total and detect_rig().free_bytes <= machine.total


def _gpus(*kinds: tuple[str, int]) -> tuple[Gpu, ...]:
    return tuple(Gpu(str(number), name, gib * GIB, gib * GIB) for number, (name, gib) in enumerate(kinds))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Rig(2, 24 * GIB, GIB), "2 cores · 24 GiB RAM · no GPU"),
        (Rig(1, 700 << 20, GIB, _gpus(A100)), "1 core · 700 MiB RAM · 1 GPU (A100-SXM4-80GB, 80 GiB)"),
        (Rig(8, 62 * GIB, GIB, _gpus(RTX, RTX)), "8 cores · 62 GiB RAM · 2 GPUs (RTX 3090, 24 GiB)"),
        (
            Rig(8, 62 * GIB, GIB, _gpus(RTX, OLD, RTX)),
            "8 cores · 62 GiB RAM · 3 GPUs (2 × RTX 3090, 24 GiB; RTX 2080 Ti, 11 GiB)",
        ),
    ],
)
def test_one_line_for_people(found: Rig, expected: str) -> None:
    assert found.describe() == expected


def test_a_rig_becomes_json() -> None:
    record = Rig(2, 3, 4, (Gpu("0", "X", 5, 6),)).to_json()
    assert json.loads(json.dumps(record)) == record
    assert record == {
        "cores": 2,
        "ram_bytes": 3,
        "free_bytes": 4,
        "gpus": [{"id": "0", "name": "X", "vram_bytes": 5, "free_bytes": 6}],
    }
