"""Control groups as files in a temporary folder, laid out as the kernel lays them out."""

from pathlib import Path

import pytest

from foldsmith.search.cgroups import CgroupLimits, cgroup_limits

GIB = 1 << 30


def _write(mount: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(f"{content}\n")


def _limits(tmp_path: Path, groups: str, files: dict[str, object]) -> CgroupLimits:
    (tmp_path / "own").write_text(groups)
    _write(tmp_path / "mount", files)
    return cgroup_limits(tmp_path / "own", tmp_path / "mount")


def test_version_2_takes_the_tightest_group_on_the_way_up(tmp_path: Path) -> None:
    found = _limits(
        tmp_path,
        "0::/user/search\n",
        {
            "cgroup.controllers": "cpu memory",
            "user/memory.max": 4 * GIB,
            "user/memory.current": 3 * GIB,
            "user/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file {GIB // 2}\nslab_reclaimable {GIB // 4}",
            "user/cpu.max": "150000 100000",
            "user/search/memory.max": "max",
            "user/search/cpu.max": "max 100000",
        },
    )
    assert found == CgroupLimits(cores=1.5, ram_bytes=4 * GIB, free_bytes=GIB + GIB * 7 // 4)


def test_version_2_in_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "memory", "memory.max": GIB, "memory.current": 2 * GIB, "cpu.max": "max 100000"}
    found = _limits(tmp_path, "0::/../../docker/abc\n", files)
    assert found == CgroupLimits(cores=None, ram_bytes=GIB, free_bytes=0)


def test_version_1(tmp_path: Path) -> None:
    found = _limits(
        tmp_path,
        "9:name=systemd:/\n4:memory:/jobs/a\n3:cpuset:/\n1:cpu,cpuacct:/jobs\n0::/\n",
        {
            "memory/memory.limit_in_bytes": 9223372036854771712,
            "memory/jobs/a/memory.limit_in_bytes": 2 * GIB,
            "memory/jobs/a/memory.usage_in_bytes": GIB,
            "memory/jobs/a/memory.stat": f"total_inactive_file {GIB // 4}\ntotal_active_file {GIB // 4}\ncache 7",
            "cpu/jobs/cpu.cfs_quota_us": 300000,
            "cpu/jobs/cpu.cfs_period_us": 100000,
            "cpu/cpu.cfs_quota_us": -1,
            "cpu/cpu.cfs_period_us": 100000,
        },
    )
    assert found == CgroupLimits(cores=3.0, ram_bytes=2 * GIB, free_bytes=GIB + GIB // 2)


@pytest.mark.parametrize("groups", ["", "0::/\n", "4:memory:/nowhere\n"])
def test_without_limits(tmp_path: Path, groups: str) -> None:
    files = {"memory/memory.limit_in_bytes": 9223372036854771712, "unified/cgroup.controllers": ""}
    assert _limits(tmp_path, groups, files) == CgroupLimits()


def test_without_control_groups(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path / "own", tmp_path / "mount") == CgroupLimits()
