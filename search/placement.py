"""Which job may run in which slot: shares of GPUs, memory, and threads."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from foldsmith.search.executors.base import Executor
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.memory import MemoryBook
from foldsmith.search.slots import Slot
from foldsmith.spaces.family import Resources

MAX_THREADS = 8  # a second thread gains 1.1-1.4 times at best in a boosting fold, the eighth hardly anything
EPSILON = 1e-6


@dataclass(frozen=True)
class Need:
    """What one fold takes.

    Args:
        gpu_share: of one device; 0 for a CPU fold.
        ram_bytes: private memory of its worker; ``vram_bytes``: of the device; 0 when unknown.
        refits: whether the finish of its trial is a fit too, and wants the same.
    """

    gpu_share: float = 0.0
    ram_bytes: int = 0
    vram_bytes: int = 0
    refits: bool = False


@dataclass(frozen=True)
class _Occupied:
    slot: Slot
    family: str
    gpu_share: float
    threads: int


class Placement:
    """Keeps the books of an executor's slots; one driver thread calls all methods.

    Args:
        shares: of a GPU that a fold takes, by family, where somebody chose; 0 keeps a family on the CPU.
    """

    def __init__(self, executor: Executor, shares: Mapping[str, float]) -> None:
        self._executor = executor
        self._shares = shares
        self._busy: dict[int, _Occupied] = {}
        self._folds_on: Counter[str] = Counter()  # by node, as the threads: nobody has time to count a thousand slots
        self._threads_on: Counter[str] = Counter()
        self._ram: dict[str, MemoryBook] = {}
        self._vram: dict[tuple[str, str], MemoryBook] = {}
        self._placed: dict[tuple[str, str], float] = defaultdict(float)  # shares of all folds so far
        self._kept_free: dict[str, tuple[str, str]] = {}
        self._waited_for: str | None = None
        self._has_told = False

    @property
    def has_free_slot(self) -> bool:
        """Whether any slot is free, whatever it is good for."""
        return any(slot.number not in self._busy for slot in self._executor.slots)

    def n_slots(self, need: Need) -> int:
        """How many such folds can run side by side, by their shares of GPUs or by CPU slots; at least 1."""
        slots = Counter(
            _device(slot) for slot in self._executor.slots if (slot.gpu is not None) == (need.gpu_share > 0)
        )
        if need.gpu_share == 0:
            return max(1, slots.total())
        return max(1, sum(min(n, int(1 / need.gpu_share + EPSILON)) for n in slots.values()))

    def take_notice(self) -> str | None:
        """A line for people when folds wait for memory, once."""
        if self._waited_for is None or self._has_told:
            return None
        self._has_told = True
        return (
            f"folds of {self._waited_for} wait for memory although a worker is free; "
            "raise --ram-limit, or lower --workers so that nothing is reserved in vain"
        )

    def need(self, family: str, wish: Resources) -> Need:
        """What a fold takes, from what its family wishes and what somebody chose."""
        if not any(layout.gpus for layout in self._executor.layouts.values()):
            return Need(0.0, wish.ram_bytes)
        return Need(self._shares.get(family, wish.gpus), wish.ram_bytes, wish.vram_bytes)

    def begin_choice(self) -> None:
        """A job is about to be chosen: who waits for a whole GPU has to say so again."""
        self._kept_free.clear()

    def keep_free(self, who: str, need: Need) -> None:
        """Let no new trial onto the GPU that has the least to do: ``need`` fits on none as they are.

        Folds that take a small share would otherwise follow each other for ever, and one that takes a large share
        would never find it free. Trials that have begun go on there: they end some time.

        Args:
            who: a member, or a family for its next one.
        """
        devices = [_device(slot) for slot in self._executor.slots if slot.gpu is not None]
        loads = {device: self._load(device) for device in devices if device not in self._kept_free.values()}
        if need.gpu_share > 0 and loads and who not in self._kept_free:
            self._kept_free[who] = min(loads, key=loads.__getitem__)

    def find(
        self, family: str, need: Need, *, member: str = "", is_finish: bool = False, is_new: bool = False
    ) -> Slot | None:
        """A free slot that may take the fold; of several GPUs the one with the least on it.

        A finish that only predicts may have any slot that sees the folder.

        Args:
            is_new: the fold would be the first of its trial, which keeps off GPUs that others wait for.
        """
        on_gpu, only_predicts = need.gpu_share > 0 and self._has_gpus(), is_finish and not need.refits
        found: Iterable[Slot] = (
            slot
            for slot in self._executor.slots
            if slot.number not in self._busy
            and (slot.sees_folder or not is_finish)
            and (only_predicts or (slot.gpu is not None) == on_gpu)
            and not (is_new and slot.gpu is not None and _device(slot) in self._kept_free.values())
            and self._executor.may_take(slot, member)
            and self._has_core(slot.node)
        )
        if on_gpu and not only_predicts:
            shared = [slot for slot in found if self._has_share(slot, family, need)]
            found = sorted(shared, key=lambda slot: (self._load(_device(slot)), self._placed[_device(slot)]))
        is_short = False
        for slot in found:
            if self._has_memory(slot, family, need):
                return slot
            is_short = True
        self._waited_for = family if is_short else self._waited_for
        return None

    def _has_gpus(self) -> bool:
        """Whether there are GPUs or some may be about to come; a node that left may have had the only ones."""
        return self._executor.is_warming or any(slot.gpu is not None for slot in self._executor.slots)

    def _has_memory(self, slot: Slot, family: str, need: Need) -> bool:
        ram = self._ram_book(slot)
        return ram is None or ram.admits(slot.number, ram.need(family, need.ram_bytes))

    def _has_share(self, slot: Slot, family: str, need: Need) -> bool:
        vram = self._vram_book(slot)
        fits = vram is None or vram.admits(slot.number, vram.need(family, need.vram_bytes))
        return fits and self._load(_device(slot)) + need.gpu_share <= 1 + EPSILON

    def _has_core(self, node: str) -> bool:
        """Whether a fold more still has a core of its own; slots beyond the cores were asked for by somebody."""
        threads = self._threads_on[node]
        return threads < self._cores(node) or threads == self._folds_on[node]

    def _cores(self, node: str) -> int:
        layout = self._executor.layouts[node]
        return layout.cores or layout.n_slots

    def _load(self, device: tuple[str, str]) -> float:
        return sum(other.gpu_share for other in self._busy.values() if _device(other.slot) == device)

    def occupy(self, job: Job, slot: Slot, need: Need, n_waiting: int | None = None) -> Job:
        """Put ``job`` into ``slot``: the job with its device, threads and memory limit.

        Args:
            n_waiting: jobs that could start now, this one included; None for more than there are slots.
        """
        is_gpu = slot.gpu is not None and (job.fold is not None or need.refits)
        ram, limit = self._ram_book(slot), None
        if ram is not None:
            limit = ram.reserve(slot.number, ram.need(job.family, need.ram_bytes))
        if is_gpu and (vram := self._vram_book(slot)) is not None:
            vram.reserve(slot.number, vram.need(job.family, need.vram_bytes))
        threads = self._threads(slot, n_waiting)
        self._busy[slot.number] = _Occupied(slot, job.family, need.gpu_share if is_gpu else 0.0, threads)
        self._folds_on[slot.node] += 1
        self._threads_on[slot.node] += threads
        if is_gpu:
            self._placed[_device(slot)] += need.gpu_share
        return replace(
            job,
            slot=slot.name,
            device="cuda" if is_gpu else "cpu",
            threads=threads,
            ram_limit_bytes=limit if self._executor.capabilities.isolates_faults else None,
        )

    def vacate(self, slot: Slot, result: JobResult) -> None:
        """Take the slot of ``result`` back, and learn what the fold really used."""
        number = slot.number
        place = self._busy.pop(number)
        self._folds_on[place.slot.node] -= 1
        self._threads_on[place.slot.node] -= place.threads
        over_limit = result.fault is not None and result.fault.reason == "oom"
        says_something = result.fault is None or over_limit  # a fold that failed early never came to its peak
        peak, vram_peak = (result.peak_bytes, result.vram_bytes) if says_something else (0, 0)
        if (ram := self._ram_book(place.slot)) is not None:
            held = result.held_bytes  # 0 of a worker that died
            ram.release(number, place.family, peak_bytes=peak, held_bytes=held, over_limit=over_limit)
        if place.gpu_share and (vram := self._vram_book(place.slot)) is not None:
            vram.release(number, place.family, peak_bytes=vram_peak, held_bytes=result.vram_bytes)

    def clear(self) -> None:
        """All workers are gone; what their folds took is still known."""
        for books in (self._busy, self._folds_on, self._threads_on):
            books.clear()
        for book in [*self._ram.values(), *self._vram.values()]:
            book.forget_all()

    def _threads(self, slot: Slot, n_waiting: int | None) -> int:
        """One each while there are as many folds as cores; more where cores would stand idle."""
        layout = self._executor.layouts[slot.node]
        cores = self._cores(slot.node)
        free_cores = cores - self._threads_on[slot.node]
        threads = cores // max(1, layout.n_slots)
        if n_waiting is not None:
            threads = max(threads, free_cores // max(1, n_waiting))
        return max(1, min(threads, free_cores, MAX_THREADS))

    def _ram_book(self, slot: Slot) -> MemoryBook | None:
        layout = self._executor.layouts[slot.node]
        if not layout.ram_bytes:
            return None
        if slot.node not in self._ram:
            self._ram[slot.node] = MemoryBook(layout.ram_bytes, layout.n_slots)
        return self._ram[slot.node]

    def _vram_book(self, slot: Slot) -> MemoryBook | None:
        layout = self._executor.layouts[slot.node]
        if not layout.vram_bytes:
            return None
        if _device(slot) not in self._vram:
            self._vram[_device(slot)] = MemoryBook(layout.vram_bytes, layout.per_gpu)
        return self._vram[_device(slot)]


def _device(slot: Slot) -> tuple[str, str]:
    return slot.node, slot.gpu or ""
