"""GPU memory of this process, as the driver tells it; without a driver there is none."""

import os
import sys
from types import SimpleNamespace

import pytest

from foldsmith.search.vram import held_vram_bytes


def test_no_driver_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert held_vram_bytes() == 0


def test_what_this_process_holds_on_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = os.getpid(), os.getpid() + 1
    held: list[list[tuple[int, int | None]]] = [
        [(mine, 700), (other, 9000)],
        [(mine, None)],
        [(mine, 50)],
    ]  # the driver may not know how much
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(held),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetComputeRunningProcesses=lambda number: [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in held[number]
        ],
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert held_vram_bytes() == 750
