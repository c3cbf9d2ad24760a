"""Which job may run where: shares of GPUs, memory, threads; on an executor that only has slots."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.placement import MAX_THREADS, Need, Placement
from foldsmith.search.slots import HOME, Layout, Slot
from foldsmith.search.studies import Ask
from foldsmith.search.trials import ActiveTrial
from foldsmith.spaces.family import Resources


class OnPaper(Executor):
    """Slots on several nodes that run nothing."""

    name = "paper"
    capabilities = Capabilities(isolates_faults=True, can_kill=True, runs_beside=True)

    def __init__(self, *layouts: Layout) -> None:
        super().__init__(Path("nowhere"), layouts[0])
        self._layouts = {HOME: layouts[0], **{f"node{n}": layout for n, layout in enumerate(layouts[1:], 2)}}
        self._slots: list[Slot] = []
        for node, layout in self._layouts.items():
            self._slots += layout.slots(len(self._slots), node=node)

    @property
    def slots(self) -> list[Slot]:
        """Of all nodes."""
        return self._slots

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """By node."""
        return self._layouts

    def start(self) -> None:
        """Nothing to start."""

    def running(self) -> dict[int, Job]:
        """Nothing runs."""
        return {}

    def submit(self, job: Job, slot: int) -> None:
        """Nothing is run."""

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Nothing comes."""
        return []

    def kill(self, slot: int) -> None:
        """Nothing to end."""

    def shutdown(self) -> None:
        """Nothing to end."""


def fold(family: str, number: int = 0) -> Job:
    """A fold of a member of its own."""
    return Job(f"{family}-{number:04d}", family, {}, 0, 0)


class Desk:
    """A placement with the jobs that are in its slots, in virtual time."""

    def __init__(self, *layouts: Layout, **shares: float) -> None:
        self.placement = Placement(OnPaper(*layouts), shares)
        self.running: dict[int, tuple[Job, Slot, Need]] = {}
        self.n_begun = 0

    def begin(self, family: str, need: Need, *, n_waiting: int | None = None, is_new: bool = False) -> Job | None:
        """Place a fold if it may go somewhere."""
        slot = self.placement.find(family, need, is_new=is_new)
        if slot is None:
            return None
        self.n_begun += 1
        job = self.placement.occupy(fold(family, self.n_begun), slot, need, n_waiting)
        self.running[slot.number] = (job, slot, need)
        return job

    def end(self, job: Job, **facts: object) -> None:
        """Take it back."""
        number, (_, slot, _) = next(item for item in self.running.items() if item[1][0] is job)
        del self.running[number]
        self.placement.vacate(slot, replace(JobResult(job, 1.0), **facts))  # type: ignore[arg-type]


def test_a_gpu_too_small_is_given_to_the_fold_alone_and_then_a_quarter_of_the_batch() -> None:
    """A fold that had begun beside another and fails for the same cause asks for nothing new."""
    study: Any = SimpleNamespace(family="net")
    asked: Any = SimpleNamespace(number=0)
    trial = ActiveTrial(study, Ask(asked, {}), "net-0001", 0, [0, 1], need=Need(0.5))
    full = Fault("gpu_oom", "CUDA out of memory")
    first, second = trial.next_job(None), trial.next_job(None)
    assert trial.take(JobResult(first, 1.0, fault=full)) and trial.take(JobResult(second, 1.0, fault=full))
    assert (trial.need.gpu_share, trial.batch_divisor) == (1.0, 1)
    assert trial.take(JobResult(trial.next_job(None), 1.0, fault=full))
    assert (trial.need.gpu_share, trial.batch_divisor) == (1.0, 4)
    last = trial.next_job(None)
    assert last.batch_divisor == 4
    assert not trial.take(JobResult(last, 1.0, fault=full))


@pytest.mark.parametrize("n_kills", [1, 5])
def test_a_fold_that_was_given_back_keeps_its_second_try(n_kills: int) -> None:
    study: Any = SimpleNamespace(family="net")
    asked: Any = SimpleNamespace(number=0)
    trial = ActiveTrial(study, Ask(asked, {}), "net-0001", 0, [0])
    for reason in ["killed"] * n_kills + ["crashed"]:
        assert trial.take(JobResult(trial.next_job(None), 1.0, fault=Fault(reason, "for a test")))
    assert not trial.take(JobResult(trial.next_job(None), 1.0, fault=Fault("crashed", "again")))


HALF, WHOLE, CPU = Need(0.5), Need(1.0), Need()


class TestGpus:
    """Shares of devices."""

    def test_four_devices_get_equal_work_and_never_more_than_one_whole(self) -> None:
        """Folds of several lengths and shares in virtual time, small ones always waiting."""
        desk = Desk(Layout(2, tuple("0123"), per_gpu=2))
        now, n_folds, ends = 0.0, Counter[str](), list[tuple[float, int, Job]]()
        busy: dict[str, float] = defaultdict(float)
        lengths = {"half": 3.0, "whole": 2.0, "cpu": 1.0}
        needs = {"half": HALF, "whole": WHOLE, "cpu": CPU}
        left = Counter(half=80, whole=24, cpu=50)
        beside = 0
        while any(left.values()) or ends:
            desk.placement.begin_choice()
            if left["whole"] and desk.placement.find("whole", WHOLE, is_new=True) is None:
                desk.placement.keep_free("whole", WHOLE)
            for family in ("whole", "half", "cpu"):
                while left[family] and (job := desk.begin(family, needs[family], is_new=True)) is not None:
                    left[family] -= 1
                    heapq.heappush(ends, (now + lengths[family], desk.n_begun, job))
            loads: dict[str, list[float]] = defaultdict(list)
            for job, slot, need in desk.running.values():
                assert (slot.gpu is not None) == (need.gpu_share > 0) == (job.device == "cuda")
                loads[slot.gpu or ""].append(need.gpu_share)
            assert all(sum(load) <= 1 for load in loads.values())
            beside += bool(loads[""]) and len(loads) > 1
            now, _, job = heapq.heappop(ends)
            slot = next(slot for other, slot, _ in desk.running.values() if other is job)
            if slot.gpu is not None:
                n_folds[slot.gpu] += 1
                busy[slot.gpu] += lengths[job.family] * needs[job.family].gpu_share
            desk.end(job)
        assert sum(n_folds.values()) == 104
        assert max(busy.values()) - min(busy.values()) <= 3.0, busy  # one fold's worth of the device
        assert beside > 10

    @pytest.mark.parametrize(("need", "expected"), [(HALF, 25), (WHOLE, 25)])
    def test_folds_of_one_kind_are_dealt_out_one_by_one(self, need: Need, expected: int) -> None:
        desk = Desk(Layout(1, tuple("0123"), per_gpu=2))
        dealt: Counter[str | None] = Counter()
        for _ in range(4 * expected + 2):  # one after the other: all devices are free each time
            job = desk.begin("any", need)
            assert job is not None
            dealt[next(slot.gpu for other, slot, _ in desk.running.values() if other is job)] += 1
            desk.end(job)
            assert max(dealt.values()) - min(dealt[gpu] for gpu in "0123") <= 1

    def test_small_folds_do_not_starve_a_large_one(self) -> None:
        desk = Desk(Layout(1, ("0", "1"), per_gpu=2))
        jobs = [desk.begin("small", HALF, is_new=True) for _ in range(4)]
        assert all(jobs) and desk.begin("large", WHOLE, is_new=True) is None
        for job in jobs[:2]:  # one half of each device
            assert job is not None
            desk.end(job)
        desk.placement.begin_choice()
        desk.placement.keep_free("large", WHOLE)
        desk.placement.keep_free("large", WHOLE)  # one is enough, however often it asks
        first = desk.begin("small", HALF, is_new=True)
        assert first is not None and first.slot == "gpu1a"
        assert desk.begin("small", HALF, is_new=True) is None
        assert desk.placement.find("small", HALF) is not None  # of a trial that has begun: it must come to an end
        desk.placement.begin_choice()
        assert desk.placement.find("small", HALF, is_new=True) is not None  # nobody waits any more

    def test_a_finish_goes_anywhere_and_leaves_the_gpu_alone(self) -> None:
        desk = Desk(Layout(1, ("0",)))
        assert desk.begin("large", WHOLE) is not None and desk.begin("linear", CPU) is not None
        assert desk.placement.find("linear", CPU, is_finish=True) is None
        desk = Desk(Layout(1, ("0",)))
        assert desk.begin("linear", CPU) is not None
        slot = desk.placement.find("large", WHOLE, is_finish=True)
        assert slot is not None and slot.gpu == "0"
        job = desk.placement.occupy(replace(fold("large"), fold=None), slot, WHOLE)
        assert (job.device, job.slot) == ("cpu", "gpu0")

    def test_a_finish_that_fits_once_more_has_a_device(self) -> None:
        again = replace(WHOLE, refits=True)
        desk = Desk(Layout(1, ("0",)))
        slot = desk.placement.find("large", again, is_finish=True)
        assert slot is not None and slot.gpu == "0"
        assert desk.placement.occupy(replace(fold("large"), fold=None), slot, again).device == "cuda"
        assert desk.placement.find("large", again, is_finish=True) is None  # the CPU slot is free, and not for it
        assert desk.placement.find("large", WHOLE, is_finish=True) is not None

    def test_a_finish_needs_the_folder(self) -> None:
        executor = OnPaper(Layout(1))
        executor.slots[0] = replace(executor.slots[0], sees_folder=False)
        placement = Placement(executor, {})
        assert placement.find("linear", CPU) is not None
        assert placement.find("linear", CPU, is_finish=True) is None

    def test_devices_of_two_nodes_are_different_ones(self) -> None:
        desk = Desk(Layout(1, ("0",), per_gpu=2), Layout(1, ("0",), per_gpu=2))
        assert [desk.begin("large", WHOLE) is not None for _ in range(3)] == [True, True, False]
        assert {slot.node for _, slot, _ in desk.running.values()} == {HOME, "node2"}

    def test_the_memory_of_a_device_bounds_its_folds(self) -> None:
        desk = Desk(Layout(1, ("0", "1"), per_gpu=2, vram_bytes=1000))
        jobs = [desk.begin("net", Need(0.5, vram_bytes=600)) for _ in range(3)]
        assert [job is not None for job in jobs] == [True, True, False]
        assert {slot.gpu for _, slot, _ in desk.running.values()} == {"0", "1"}
        assert jobs[0] is not None
        desk.end(jobs[0], vram_bytes=300)  # of which 200 MB stay: the next one is planned with 360
        assert desk.begin("net", Need(0.5, vram_bytes=600)) is not None

    def test_who_takes_a_gpu(self) -> None:
        with_gpu, without = Desk(Layout(1, ("0",)), mlp=0.25, knn=0.0), Desk(Layout(1), mlp=0.25)
        wish = Resources(gpus=1.0, ram_bytes=5, vram_bytes=7)
        assert with_gpu.placement.need("mlp", wish) == Need(0.25, 5, 7)
        assert with_gpu.placement.need("knn", wish) == Need(0.0, 5, 7)
        assert with_gpu.placement.need("xgboost", wish) == Need(1.0, 5, 7)
        assert without.placement.need("mlp", wish) == Need(0.0, 5)

    def test_when_the_only_gpus_leave_the_cpu_takes_over(self) -> None:
        desk = Desk(Layout(1), Layout(0, ("0",)))
        executor = desk.placement._executor
        assert isinstance(executor, OnPaper)
        first = desk.begin("net", WHOLE)
        assert first is not None and first.device == "cuda"
        assert desk.begin("net", WHOLE) is None
        executor.slots.pop()
        again = desk.begin("net", WHOLE)
        assert again is not None and (again.device, again.slot) == ("cpu", "cpu1")

    def test_how_many_fit_side_by_side(self) -> None:
        placement = Desk(Layout(3, ("0", "1"), per_gpu=4), Layout(2)).placement
        sides = [placement.n_slots(need) for need in (CPU, Need(0.25), Need(1 / 3), HALF, WHOLE)]
        assert sides == [5, 8, 6, 4, 2]
        assert Desk(Layout(1)).placement.n_slots(WHOLE) == 1


class TestThreads:
    """As many as there are cores, never more."""

    def test_one_worker_on_many_cores_gets_them_all(self) -> None:
        job = Desk(Layout(1, cores=4)).begin("linear", CPU)
        assert job is not None and job.threads == 4
        job = Desk(Layout(1, cores=64)).begin("linear", CPU)
        assert job is not None and job.threads == MAX_THREADS

    def test_one_thread_each_while_there_are_enough_folds(self) -> None:
        desk = Desk(Layout(4, cores=4))
        jobs = [desk.begin("linear", CPU) for _ in range(4)]
        assert [job and job.threads for job in jobs] == [1, 1, 1, 1]

    def test_few_folds_share_all_cores(self) -> None:
        desk = Desk(Layout(8, cores=8))
        jobs = [desk.begin("linear", CPU, n_waiting=3 - begun) for begun in range(3)]
        assert [job.threads for job in jobs if job is not None] == [2, 3, 3]

    @pytest.mark.parametrize("waiting", [None, 1, 2, 5])
    @pytest.mark.parametrize(("n_cpu", "n_gpus", "cores"), [(2, 0, 4), (4, 0, 4), (2, 2, 4), (1, 1, 8), (3, 1, 4)])
    def test_never_more_than_cores(self, n_cpu: int, n_gpus: int, cores: int, waiting: int | None) -> None:
        desk = Desk(Layout(n_cpu, tuple(str(gpu) for gpu in range(n_gpus)), cores=cores))
        for number in range(40):
            need = WHOLE if n_gpus and number % 2 else CPU
            while desk.begin("any", need, n_waiting=waiting) is not None:
                assert sum(job.threads for job, _, _ in desk.running.values()) <= cores
            job = next(iter(desk.running.values()))[0]
            desk.end(job)

    def test_workers_beyond_the_cores_have_a_thread_each(self) -> None:
        desk = Desk(Layout(3, cores=2))
        assert [job and job.threads for job in (desk.begin("linear", CPU) for _ in range(3))] == [1, 1, 1]

    def test_each_node_has_cores_of_its_own(self) -> None:
        desk = Desk(Layout(1, cores=2), Layout(1, cores=4))
        assert [job and job.threads for job in (desk.begin("linear", CPU) for _ in range(2))] == [2, 4]


class TestMemory:
    """Folds that do not fit together run one after the other."""

    def test_one_after_the_other_and_one_notice(self) -> None:
        desk = Desk(Layout(2, ram_bytes=1000))
        first = desk.begin("big", Need(ram_bytes=600))
        assert first is not None and first.ram_limit_bytes == 1000  # a second one would not fit in any case
        assert desk.begin("big", Need(ram_bytes=600)) is None
        notice = desk.placement.take_notice()
        assert notice is not None and notice.startswith("folds of big wait for memory although a worker is free")
        assert desk.placement.take_notice() is None
        desk.end(first, peak_bytes=300, held_bytes=100)
        second, third = (
            desk.begin("big", Need(ram_bytes=600)) for _ in range(2)
        )  # now it is known that 360 are enough
        assert second is not None and third is not None
        assert (second.ram_limit_bytes or 0) + (third.ram_limit_bytes or 0) <= 1000
        assert desk.begin("big", Need(ram_bytes=600)) is None
        assert desk.placement.take_notice() is None

    def test_another_node_with_room_is_no_reason_for_a_notice(self) -> None:
        desk = Desk(Layout(2, ram_bytes=1000), Layout(1, ram_bytes=1000))
        assert desk.begin("big", Need(ram_bytes=600)) is not None
        second = desk.begin("big", Need(ram_bytes=600))
        assert second is not None and second.slot == "cpu1@node2"
        assert desk.placement.take_notice() is None

    def test_a_fold_over_its_limit_is_planned_with_more(self) -> None:
        desk = Desk(Layout(2, ram_bytes=1000))
        first = desk.begin("big", Need(ram_bytes=100))
        assert first is not None and first.ram_limit_bytes == 500
        fault = Fault("oom", "fold 1 used too much")
        desk.end(first, peak_bytes=520, fault=fault)
        again = desk.begin("big", Need(ram_bytes=100))
        assert again is not None and again.ram_limit_bytes is not None
        assert again.ram_limit_bytes >= int(1.2 * 1.5 * 520)

    def test_what_a_failed_fold_took_says_nothing(self) -> None:
        desk = Desk(Layout(2, ram_bytes=1000))
        first = desk.begin("big", Need(ram_bytes=400))
        assert first is not None
        desk.end(first, peak_bytes=10, fault=Fault("error", "at once"))
        assert desk.begin("big", Need(ram_bytes=400)) is not None
        assert desk.begin("big", Need(ram_bytes=900)) is None

    def test_after_a_restart_nothing_is_held_but_peaks_are_known(self) -> None:
        desk = Desk(Layout(1, ("0",), ram_bytes=1000, vram_bytes=1000))
        job = desk.begin("net", Need(1.0, ram_bytes=10, vram_bytes=10))
        assert job is not None
        desk.end(job, peak_bytes=500, held_bytes=400, vram_bytes=500)
        assert desk.begin("net", Need(1.0, ram_bytes=10, vram_bytes=10)) is not None
        desk.placement.clear()
        assert desk.placement.has_free_slot
        book = desk.placement._ram[HOME]
        assert book.need("net", 10) == 600
        assert book.admits(0, 600)
