"""What the control groups of Linux allow this process: memory and processor time, version 1 and version 2.

A group is bounded by every group above it, so each question looks at all of them and takes the tightest answer. Inside
a container the own group is usually the root of what is mounted; paths that do not exist there are skipped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")

UNLIMITED = 1 << 60  # version 1 writes a number near 2**63 for "no limit"


@dataclass(frozen=True)
class CgroupLimits:
    """What the groups allow; None where nothing is limited.

    Args:
        cores: processor time per time, e.g. 1.5.
        ram_bytes: the least memory limit.
        free_bytes: the least of limit minus use, where page cache that can be given back does not count as used.
    """

    cores: float | None = None
    ram_bytes: int | None = None
    free_bytes: int | None = None


def cgroup_limits(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> CgroupLimits:
    """Read the limits of this process; without control groups nothing is limited.

    Args:
        proc: the kernel's list of the groups of this process.
        mount: where control groups are mounted; a mix of both versions has version 2 in ``unified`` below.
    """
    groups = _own_groups(proc)
    cores = [*_each(_new_folders(mount, groups), _cores_v2), *_each(_old_folders(mount, groups, "cpu"), _cores_v1)]
    memory = [
        *_each(_new_folders(mount, groups), _memory_v2),
        *_each(_old_folders(mount, groups, "memory"), _memory_v1),
    ]
    return CgroupLimits(
        cores=min(cores, default=None),
        ram_bytes=min((limit for limit, _ in memory), default=None),
        free_bytes=min((max(0, limit - used) for limit, used in memory), default=None),
    )


def _own_groups(proc: Path) -> dict[str, str]:
    """Path by controller; version 2 stands under the empty name."""
    groups: dict[str, str] = {}
    for line in (_read(proc) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _new_folders(mount: Path, groups: dict[str, str]) -> Iterator[Path]:
    for root in (mount, mount / "unified"):
        if (root / "cgroup.controllers").exists():
            yield from _upwards(root, groups.get("", "/"))


def _old_folders(mount: Path, groups: dict[str, str], controller: str) -> Iterator[Path]:
    if (mount / controller).is_dir():
        yield from _upwards(mount / controller, groups.get(controller, "/"))


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it up to the root; ``..`` names groups outside the mounted part."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for length in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:length])


def _each(folders: Iterator[Path], read: Callable[[Path], Found | None]) -> list[Found]:
    return [found for folder in folders if (found := read(folder)) is not None]


def _cores_v2(folder: Path) -> float | None:
    words = (_read(folder / "cpu.max") or "max").split()
    return None if words[0] == "max" else int(words[0]) / int(words[1])


def _cores_v1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _memory_v2(folder: Path) -> tuple[int, int] | None:
    limit = _number(folder / "memory.max")
    if limit is None or limit >= UNLIMITED:
        return None
    given_back = _stat(folder / "memory.stat", ("inactive_file", "active_file", "slab_reclaimable"))
    return limit, max(0, (_number(folder / "memory.current") or 0) - given_back)


def _memory_v1(folder: Path) -> tuple[int, int] | None:
    limit = _number(folder / "memory.limit_in_bytes")
    if limit is None or limit >= UNLIMITED:
        return None
    given_back = _stat(folder / "memory.stat", ("total_inactive_file", "total_active_file"))
    return limit, max(0, (_number(folder / "memory.usage_in_bytes") or 0) - given_back)


def _stat(path: Path, names: tuple[str, ...]) -> int:
    """Sum of some lines ``name bytes`` of a file."""
    lines = dict(line.split(" ", 1) for line in (_read(path) or "").splitlines() if " " in line)
    return sum(int(lines.get(name, 0)) for name in names)


def _number(path: Path) -> int | None:
    """A file's number; None for no file and for the word ``max``."""
    text = (_read(path) or "").strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
