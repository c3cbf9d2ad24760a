"""Slots: what one machine offers to folds, as places that take one job each."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from foldsmith.problem.errors import InputError

HOME = ""  # the node that the driver runs on


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time, held by one worker process.

    Args:
        number: unique among an executor's slots; also names the worker's log.
        name: for people: ``cpu1``, ``gpu0a``; on another node ``cpu3@node2``.
        gpu: the one device that its worker sees; None for a CPU slot, whose worker sees none.
        node: which machine; :data:`HOME` is the driver's.
        sees_folder: whether its worker reads and writes the competition folder itself.
    """

    number: int
    name: str
    gpu: str | None = None
    node: str = HOME
    sees_folder: bool = True


@dataclass(frozen=True)
class Layout:
    """How one machine is cut into slots.

    Args:
        n_cpu: slots for folds that need no GPU.
        gpus: devices, as ``CUDA_VISIBLE_DEVICES`` takes them.
        per_gpu: slots on each device; a fold that wants a larger share keeps the others empty.
        cores: that the folds may use together; ``n_cpu`` and one per GPU slot when 0.
        ram_bytes: that the folds may use together; 0 for no limit.
        vram_bytes: of each device; 0 when unknown.
    """

    n_cpu: int
    gpus: tuple[str, ...] = ()
    per_gpu: int = 1
    cores: int = 0
    ram_bytes: int = 0
    vram_bytes: int = 0

    @property
    def n_slots(self) -> int:
        """CPU and GPU slots."""
        return self.n_cpu + len(self.gpus) * self.per_gpu

    def slots(self, first: int = 0, *, node: str = HOME) -> list[Slot]:
        """The slots, numbered from ``first`` on, CPU slots first.

        >>> [slot.name for slot in Layout(2, ("0", "1"), per_gpu=2).slots()]
        ['cpu1', 'cpu2', 'gpu0a', 'gpu0b', 'gpu1a', 'gpu1b']
        """
        at = f"@{node}" if node != HOME else ""
        slots = [Slot(first + number, f"cpu{number + 1}{at}", None, node) for number in range(self.n_cpu)]
        for gpu in self.gpus:
            for place in range(self.per_gpu):
                slots.append(Slot(first + len(slots), self.gpu_name(gpu, place, node), gpu, node))
        return slots

    def gpu_name(self, gpu: str, place: int, node: str = HOME) -> str:
        """``gpu0``, or ``gpu0a``, ``gpu0b``, … where several folds share a device."""
        letter = "" if self.per_gpu == 1 else string.ascii_lowercase[place] if place < 26 else f"-{place + 1}"
        return f"gpu{gpu}{letter}{f'@{node}' if node != HOME else ''}"


def cut(
    *, cores: int, gpus: tuple[str, ...], n_workers: int, per_gpu: int, ram_bytes: int, vram_bytes: int = 0
) -> Layout:
    """Cut a machine into slots.

    Args:
        n_workers: CPU slots that were asked for; 0 for one per core that no GPU slot needs for its own thread.
        per_gpu: slots per device.
    """
    n_cpu = n_workers or max(1, cores - len(gpus) * per_gpu)
    return Layout(n_cpu, gpus, per_gpu, cores, ram_bytes, vram_bytes)


def parse_per_gpu(text: str) -> dict[str, int]:
    """``"xgboost=2,mlp=1"`` to folds per GPU by family; 0 keeps a family on the CPU.

    >>> parse_per_gpu("xgboost=2, mlp=1")
    {'xgboost': 2, 'mlp': 1}

    Raises:
        InputError: not of that form.
    """
    wanted = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        family, _, number = part.partition("=")
        if not family.strip() or not number.strip().isdigit():
            raise InputError(f"--per-gpu {part!r} is not FAMILY=NUMBER; write for example xgboost=2,mlp=1")
        wanted[family.strip()] = int(number)
    return wanted


def shares(per_gpu: Mapping[str, int]) -> dict[str, float]:
    """Folds per GPU to the share of a GPU that one fold takes; 0 for none.

    >>> shares({"xgboost": 2, "mlp": 1, "knn": 0})
    {'xgboost': 0.5, 'mlp': 1.0, 'knn': 0.0}
    """
    return {family: 1 / number if number else 0.0 for family, number in per_gpu.items()}
