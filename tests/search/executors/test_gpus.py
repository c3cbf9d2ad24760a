"""Whole searches on machines with GPUs that are there in name only: who sees which, who shares one, who waits.

The devices are logical: Ray hands out numbers, the local executor sets a variable. The families record what they see.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.driver import Driver
from foldsmith.search.executors.base import Executor
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout

# A family fits the points 1 to N_POINTS, then its space is dry: so many trials there are, whoever is faster.
FAMILY = '''
import os
import time
from pathlib import Path

import numpy as np

from foldsmith.spaces.family import Family, Resources
from foldsmith.spaces.space import Choice, Space

HERE = Path(__file__).parent
PATIENCE = 600.0


def wait_for(condition, what):
    give_up = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"no {what} came")
        time.sleep(0.005)


class OutOfMemoryError(RuntimeError):
    """PyTorch's class is known by its name and module."""


OutOfMemoryError.__module__ = "torch"


class Half:
    curve = None

    def __init__(self, facts):
        self.facts = facts

    def predict(self, table, round=None):
        return np.full((table.n_rows, 1), 0.5, np.float32)

    def save(self, folder):
        (folder / "model.txt").write_text("0.5")


class Recorder(Family):
    name = "NAME:Recorder"
    prefix = "NAME"

    def space(self, facts):
        return Space("recorder@1", {"point": Choice(tuple(range(1, N_POINTS + 1)))})

    def defaults(self, facts):
        return [{"point": point} for point in range(1, N_POINTS + 1)]

    def resources(self, facts, params):
        return Resources(gpus=SHARE)

    def fit_fold(self, task):
        began = time.time()
        self.log(task)
        self.meet()
        time.sleep(STAGGER * (1 + int(task.fold_key[-1])))
        device = "cpu" if FAIL == "on the CPU" else task.device
        if FAIL == "gpu_oom":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return Half({"device": device, "began": began, "ended": time.time(), "threads": task.threads, "share": SHARE,
                     "order": os.environ.get("CUDA_DEVICE_ORDER"), "visible": os.environ.get("CUDA_VISIBLE_DEVICES")})

    def log(self, task):
        with open(HERE / "NAME.log", "a") as file:
            file.write(f"{task.fold_key[-1]} {task.device} {task.batch_divisor}\\n")

    def meet(self):
        """Wait until all folds of this wave have begun: so every slot gets as many as the others."""
        mine = 0
        while True:
            try:
                (HERE / f"NAME-{mine}").touch(exist_ok=False)
                break
            except FileExistsError:
                mine += 1
        last = (mine // WAVE + 1) * WAVE - 1
        wait_for((HERE / f"NAME-{last}").exists, "other fold of the wave")
        if OTHER:
            wait_for((HERE / f"{OTHER}-0").exists, f"fold of {OTHER}")

    def load(self, folder):
        return Half({})
'''


@dataclass(frozen=True)
class Rig:
    """A started executor with GPUs, and a problem of its own."""

    problem: Problem
    executor: Any

    @property
    def layout(self) -> Layout:
        """Of the one machine."""
        layout: Layout = self.executor.layout
        return layout

    def family(
        self,
        name: str,
        share: float,
        n_points: int,
        wave: int = 1,
        *,
        other: str = "",
        fail: str = "",
        stagger: float = 0.0,
    ) -> str:
        """Writes a family of the user's own."""
        code = self.problem.folder.code
        code.mkdir(exist_ok=True)
        head = f"SHARE, N_POINTS, WAVE, OTHER, FAIL = {share!r}, {n_points}, {wave}, {other!r}, {fail!r}\n"
        head += f"STAGGER = {stagger}\n"
        (code / f"{name}.py").write_text(head + FAMILY.replace("NAME", name))
        return f"{name}:Recorder"

    def search(self, *families: str, n_trials: int = 99) -> None:
        """Search until the spaces are dry."""
        Driver(self.problem, SearchOptions(families, n_trials), self.executor, Clock()).run()

    def members(self, *families: str) -> list[Member]:
        """Of these families."""
        return [member for member in MemberStore(self.problem.folder).all() if member.family in families]

    def folds(self, family: str) -> list[dict[str, Any]]:
        """What the folds of a family recorded."""
        store = MemberStore(self.problem.folder)
        found = [store.fold(member.id, 0, fold) for member in self.members(family) for fold in range(3)]
        return [{**fold.fitted()["facts"], **fold.fitted()} for fold in found if fold.state() != "missing"]


@pytest.fixture(scope="module", params=["local", "ray"])
def rig(
    request: pytest.FixtureRequest, kept_executors: dict[str, Any], new_problem: Callable[[], Problem]
) -> Iterator[Rig]:
    """Two GPUs with two slots each behind spawned processes; four such GPUs behind Ray."""
    problem = new_problem()
    gpus = ("0", "1") if request.param == "local" else ("0", "1", "2", "3")
    kind = kept_executors[request.param]
    layout = Layout(1, gpus, per_gpu=2)
    executor = kind(problem.folder.root, layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
        yield Rig(problem, executor)
        executor.end()


def most_at_once(folds: list[dict[str, Any]]) -> float:
    """The greatest sum of shares at any moment."""
    changes = sorted([(fold["ended"], -fold["share"]) for fold in folds] + [(f["began"], f["share"]) for f in folds])
    load = highest = 0.0
    for _, change in changes:
        load += change
        highest = max(highest, load)
    return highest


def by_device(folds: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The folds of each device."""
    found = defaultdict(list)
    for fold in folds:
        found[fold["visible_gpus"]].append(fold)
    return dict(found)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_devices_get_equal_work_beside_the_cpu(rig: Rig, share: float) -> None:
    n_gpus = len(rig.layout.gpus)
    wave = int(n_gpus / share)
    name = "halves" if share < 1 else "wholes"
    on_gpu = rig.family(name, share, 2 * wave // 2, wave, other=f"cpu{name}")
    on_cpu = rig.family(f"cpu{name}", 0.0, 2, other=name)
    rig.search(on_gpu, on_cpu)
    assert {member.state for member in rig.members(on_gpu, on_cpu)} == {"complete"}
    devices = by_device(rig.folds(on_gpu))
    assert {device: len(folds) for device, folds in devices.items()} == dict.fromkeys(
        rig.layout.gpus, 3 * wave // n_gpus
    )
    for device, folds in devices.items():
        assert most_at_once(folds) == 1.0  # as many at once as the shares allow, never more
        assert {fold["visible"] for fold in folds} == {device}
        assert {(fold["device"], fold["order"]) for fold in folds} == {("cuda", "PCI_BUS_ID")}
        assert all(fold["slot"].startswith(f"gpu{device}") for fold in folds)
    of_cpu = rig.folds(on_cpu)
    assert len(of_cpu) == 6
    assert {(fold["device"], fold["visible_gpus"], fold["slot"]) for fold in of_cpu} == {("cpu", "", "cpu1")}
    # Each waited for the other's first fold: both kinds ran at the same time.
    assert min(fold["began"] for fold in of_cpu) < max(fold["ended"] for fold in rig.folds(on_gpu))


def test_small_and_large_shares_mix(rig: Rig) -> None:
    """The large ones get a device to themselves, though small ones are always ready to take a half that is free."""
    rig.search(rig.family("warm", 0.5, len(rig.layout.gpus)))  # a worker that still starts would hold its device
    families = [
        rig.family("small", 0.5, 4 * len(rig.layout.gpus), stagger=0.05),  # both halves are hardly ever free at once
        rig.family("large", 1.0, len(rig.layout.gpus)),
        rig.family("none", 0.0, 2),
    ]
    rig.search(*families)
    assert Counter(member.state for member in rig.members(*families)) == {"complete": 5 * len(rig.layout.gpus) + 2}
    small, large, none = map(rig.folds, families)
    for folds in by_device(small + large).values():
        assert most_at_once(folds) <= 1.0
    assert {fold["visible_gpus"] for fold in none} == {""}
    first = min(fold["began"] for fold in large)
    assert sum(fold["began"] < first for fold in small) < 0.8 * len(small), "the large ones had to wait for the end"


def test_a_gpu_fold_that_ran_on_the_cpu_fails(rig: Rig) -> None:
    family = rig.family("fallen", 1.0, 1, fail="on the CPU")
    rig.search(family)
    (member,) = rig.members(family)
    assert member.state == "failed" and member.error is not None
    assert member.error["reason"] == "error"
    assert "trained on the CPU though the GPU was asked for" in member.error["message"]
    assert "keep the family off the GPU with --per-gpu fallen:Recorder=0" in member.error["message"]


def test_a_gpu_that_is_too_small(rig: Rig) -> None:
    """Alone on the device at first, then with a quarter of the batch, then the trial fails; the others go on."""
    family, other = rig.family("greedy", 0.5, 1, fail="gpu_oom"), rig.family("modest", 0.5, 2)
    rig.search(family, other)
    assert {member.state for member in rig.members(other)} == {"complete"}
    (member,) = rig.members(family)
    assert member.error is not None
    assert (member.state, member.error["reason"]) == ("failed", "gpu_oom")
    assert "CUDA out of memory" in member.error["message"] and "OutOfMemoryError" in member.error["tail"]
    tries = defaultdict(list)
    log: Path = rig.problem.folder.code / "greedy.log"
    for line in log.read_text().splitlines():
        fold, device, divisor = line.split()
        tries[fold].append((device, int(divisor)))
    longest = max(tries.values(), key=len)
    # The last try is a smaller batch; the folds of a trial find that out for each other.
    assert len(longest) == 3 and longest[0] == ("cuda", 1) and longest[-1][1] >= 4
    assert {device for tried in tries.values() for device, _ in tried} == {"cuda"}
    assert all(len(tried) <= 3 for tried in tries.values())


def test_all_workers_are_gone(rig: Rig) -> None:
    executor: Executor = rig.executor
    assert executor.running() == {}
    assert len(executor.slots) == rig.layout.n_slots
    assert sorted(slot.gpu or "" for slot in executor.slots) == sorted(["", *rig.layout.gpus, *rig.layout.gpus])
