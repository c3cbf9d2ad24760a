"""The machine a search may use: cores, memory and GPUs, as far as this process is allowed to see them."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from foldsmith.search.cgroups import cgroup_limits

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice of a GPU.

    Args:
        id: what ``CUDA_VISIBLE_DEVICES`` of a worker takes: the index on the machine, in the order of PCI addresses (a
            worker sets ``CUDA_DEVICE_ORDER=PCI_BUS_ID``, CUDA's own default is another order); or the UUID, for MIG
            slices and where the environment's own ``CUDA_VISIBLE_DEVICES`` names UUIDs.
        name: e.g. ``"NVIDIA GeForce RTX 3090"``.
        vram_bytes: its memory.
        free_bytes: what nobody uses now.
    """

    id: str
    name: str
    vram_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Rig:
    """What this process may use.

    Args:
        cores: by affinity and processor quota, at least 1.
        ram_bytes: of the machine or of the control group, whichever is less.
        free_bytes: what is available of that now; page cache counts as available.
        gpus: those that ``CUDA_VISIBLE_DEVICES`` leaves visible, in its order.
    """

    cores: int
    ram_bytes: int
    free_bytes: int
    gpus: tuple[Gpu, ...] = ()

    def describe(self) -> str:
        """One line for people.

        >>> Rig(8, 62 << 30, 60 << 30).describe()
        '8 cores · 62 GiB RAM · no GPU'
        >>> Rig(1, 8 << 30, 0, (Gpu("0", "NVIDIA GeForce RTX 3090", 24 << 30, 0),) * 2).describe()
        '1 core · 8 GiB RAM · 2 GPUs (RTX 3090, 24 GiB)'
        """
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return f"{cores} · {_size(self.ram_bytes)} RAM · {_describe_gpus(self.gpus)}"

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values."""
        return {**asdict(self), "gpus": [asdict(gpu) for gpu in self.gpus]}


def detect_rig() -> Rig:
    """Look at the machine. GPUs need NVIDIA's driver; without it, or when it answers with an error, there are none."""
    import psutil

    memory, limits = psutil.virtual_memory(), cgroup_limits()
    cores = _cores_by_affinity()
    return Rig(
        cores=max(1, min(cores, round(cores if limits.cores is None else limits.cores))),
        ram_bytes=memory.total if limits.ram_bytes is None else min(memory.total, limits.ram_bytes),
        free_bytes=memory.available if limits.free_bytes is None else min(memory.available, limits.free_bytes),
        gpus=_detect_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")),
    )


def _cores_by_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


@dataclass(frozen=True)
class _Device:
    """What NVML says of a GPU or MIG slice; ``index`` is the GPU's, ``is_slice`` tells which of the two it is."""

    index: int
    uuid: str
    name: str
    vram_bytes: int
    free_bytes: int
    is_slice: bool = False

    def as_gpu(self, *, by_uuid: bool) -> Gpu:
        # An index names a GPU's first slice only, so slices always go by UUID.
        known_as = self.uuid if by_uuid or self.is_slice else str(self.index)
        return Gpu(known_as, self.name, self.vram_bytes, self.free_bytes)


def _detect_gpus(visible: str | None) -> tuple[Gpu, ...]:
    """The visible GPUs; ``visible`` is ``CUDA_VISIBLE_DEVICES``, None when it is not set."""
    if visible is not None and visible.strip() in ("", "-1"):
        return ()
    try:
        with nvml() as pynvml:
            devices = [device for index in range(pynvml.nvmlDeviceGetCount()) for device in _devices(pynvml, index)]
    except Exception as error:  # no driver, no library, a driver of another version: a search goes on without GPUs
        _log.debug("no GPUs: %s: %s", type(error).__name__, error)
        return ()
    if visible is None:
        return tuple(device.as_gpu(by_uuid=False) for device in devices)
    return _chosen(devices, visible)


@contextmanager
def nvml() -> Iterator[Any]:
    """NVIDIA's management library, opened; raises ``pynvml.NVMLError`` without a driver."""
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _devices(pynvml: Any, index: int) -> list[_Device]:
    """The GPU with this index, or its slices if it is cut into some; none when it does not answer."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        slices = _slice_handles(pynvml, handle)
        return [_ask(pynvml, index, part, is_slice=bool(slices)) for part in slices or [handle]]
    except pynvml.NVMLError as error:  # e.g. "GPU is lost": the others still work
        _log.warning("GPU %d is left out: %s", index, error)
        return []


def _slice_handles(pynvml: Any, handle: Any) -> list[Any]:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
        most = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle) if current == pynvml.NVML_DEVICE_MIG_ENABLE else 0
    except pynvml.NVMLError:  # a GPU that knows no slices
        return []
    slices = []
    for number in range(most):
        try:
            slices.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
        except pynvml.NVMLError:  # places may be empty
            continue
    return slices


def _ask(pynvml: Any, index: int, handle: Any, *, is_slice: bool) -> _Device:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    uuid, name = _text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle))
    return _Device(index, uuid, name, int(memory.total), int(memory.free), is_slice)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # releases of the binding differ


def _chosen(devices: Sequence[_Device], visible: str) -> tuple[Gpu, ...]:
    """The devices that a list of indices or UUIDs names; as in CUDA, the list ends at the first that names none."""
    chosen: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        if word.isdigit():
            found = [device for device in devices if device.index == int(word)][:1]
        else:  # the beginning of a UUID is enough where it is the only one
            found = [device for device in devices if word and device.uuid.startswith(word)]
        if len(found) != 1:
            break
        gpu = found[0].as_gpu(by_uuid=not word.isdigit())
        if gpu not in chosen:
            chosen.append(gpu)
    return tuple(chosen)


def _describe_gpus(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "no GPU"
    kinds = Counter(f"{_short(gpu.name)}, {_size(gpu.vram_bytes)}" for gpu in gpus)
    mixed = len(kinds) > 1
    listed = "; ".join(f"{count} × {kind}" if mixed and count > 1 else kind for kind, count in kinds.items())
    return f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({listed})"


def _short(name: str) -> str:
    return name.removeprefix("NVIDIA ").removeprefix("GeForce ")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.0f} GiB" if n_bytes >= 1 << 30 else f"{n_bytes / (1 << 20):.0f} MiB"
