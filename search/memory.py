"""Memory of folds: what each may take, what it took, and telling when a GPU's memory was too small."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from foldsmith.problem.errors import InputError

if TYPE_CHECKING:
    import psutil

MARGIN = 1.2  # what a fold may need beyond the largest recent peak of its family
OVER_LIMIT = 1.5  # what the peak of a fold counts that was ended at its limit, its real peak is not known
RECENT = 20  # peaks remembered per family
SAMPLE_SECONDS = 0.05
CHILDREN_SECONDS = 1.0  # between looks for children, which read the machine's whole table of processes

UNITS = {"": 1, "B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", 1)
    for ending, base in (("", 1024), ("IB", 1024), ("B", 1000))
}


def parse_bytes(text: str, *, of: int) -> int:
    """Bytes of a size that a person wrote: ``12G`` and ``12GiB`` (1024s), ``12GB`` (1000s), ``80%``, or plain bytes.

    >>> parse_bytes("1.5K", of=0), parse_bytes("80%", of=1000)
    (1536, 800)

    Args:
        text: what was written; upper and lower case are the same.
        of: the bytes that a percentage is taken of.

    Raises:
        InputError: it is no size, or nothing would be left of it.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(%|[KMGT]?(?:IB|B)?)", text.strip().upper())
    advice = "write a size like 12G, 800M or 80%"
    if found is None or found[2] not in {*UNITS, "%"}:
        raise InputError(f"{text!r} is no amount of memory; {advice}")
    number = float(found[1])
    if found[2] == "%" and number > 100:
        raise InputError(f"{text!r} is more than there is; {advice}")
    n_bytes = int(number * of / 100 if found[2] == "%" else number * UNITS[found[2]])
    if n_bytes < 1:
        raise InputError(f"{text!r} leaves no memory at all; {advice}")
    return n_bytes


@dataclass
class _Slot:
    """A worker: what it holds when idle, and the limit of the fold it runs, None when it runs none."""

    held_bytes: int = 0
    limit_bytes: int | None = None

    @property
    def claim_bytes(self) -> int:
        return self.held_bytes if self.limit_bytes is None else max(self.limit_bytes, self.held_bytes)


class MemoryBook:
    """Who holds how much of a node's memory, and whether one more fold fits; owned by one thread of the driver.

    A fold is planned with what it needs and runs under a limit of its own, which is a little more. The limits of the
    running folds never sum above ``limit_bytes``, so that they cannot bring the machine down together.

    Args:
        limit_bytes: what all workers of the node may take together.
        n_slots: workers of the node; their numbers may be any, they are the executor's own.
    """

    def __init__(self, limit_bytes: int, n_slots: int) -> None:
        self._limit_bytes = limit_bytes
        self._n_slots = n_slots
        self._slots: dict[int, _Slot] = {}
        self._peaks: dict[str, deque[int]] = {}
        self._needs: dict[str, int] = {}

    def need(self, family: str, declared_bytes: int) -> int:
        """What the next fold of a family should be given: as declared until folds of it were seen, then as seen."""
        peaks = self._peaks.get(family)
        self._needs[family] = int(MARGIN * max(peaks)) if peaks else declared_bytes
        return self._needs[family]

    def admits(self, slot: int, need_bytes: int) -> bool:
        """Whether a fold may begin in an idle slot: it fits beside the others, or no other fold runs."""
        return not self._runs_beside(slot) or self._left(slot, need_bytes) >= 0

    def reserve(self, slot: int, need_bytes: int) -> int:
        """Note that a fold begins and give it its limit.

        That is the need and a share, one in ``n_slots``, of what is left when as many folds of the same size as fit
        have begun in the other idle slots: a limit must not take the room of a fold that could have run beside it.
        Alone on the node, and with no room for a fold of any family known so far, it gets everything.
        """
        left = self._left(slot, need_bytes)
        if not self._runs_beside(slot) and left < min([need_bytes, *self._needs.values()]):
            limit = self._limit_bytes
        else:
            limit = self._own(slot, need_bytes) + self._spare(slot, need_bytes, left) // self._n_slots
        self._slots[slot] = _Slot(self._held(slot), limit)
        return limit

    def release(self, slot: int, family: str, *, peak_bytes: int, held_bytes: int, over_limit: bool = False) -> None:
        """Note that a slot's fold has ended.

        Args:
            slot: becomes idle.
            family: of the fold.
            peak_bytes: the most that the worker took; 0 for a fold whose peak says nothing, as it failed early.
            held_bytes: what the worker still holds.
            over_limit: the fold was ended at its limit.
        """
        self._slots[slot] = _Slot(held_bytes)
        if peak_bytes > 0:
            counted = int(peak_bytes * OVER_LIMIT) if over_limit else peak_bytes
            self._peaks.setdefault(family, deque(maxlen=RECENT)).append(counted)

    def forget(self, slot: int) -> None:
        """Note that a slot's worker died."""
        self._slots.pop(slot, None)

    def forget_all(self) -> None:
        """Note that all workers died; what their folds took is still known."""
        self._slots.clear()

    def _held(self, slot: int) -> int:
        return self._slots[slot].held_bytes if slot in self._slots else 0

    def _others(self, slot: int) -> list[_Slot]:
        """The other workers; those that never ran anything hold nothing."""
        known = [other for number, other in self._slots.items() if number != slot]
        return known + [_Slot()] * (self._n_slots - 1 - len(known))

    def _runs_beside(self, slot: int) -> bool:
        return any(other.limit_bytes is not None for other in self._others(slot))

    def _own(self, slot: int, need_bytes: int) -> int:
        """A worker does not give back what it holds, so a fold in it takes that much at least."""
        return max(need_bytes, self._held(slot))

    def _left(self, slot: int, need_bytes: int) -> int:
        """What is left when the fold has begun; negative when it does not fit."""
        return self._limit_bytes - sum(other.claim_bytes for other in self._others(slot)) - self._own(slot, need_bytes)

    def _spare(self, slot: int, need_bytes: int, left: int) -> int:
        """What is left when the idle slots have begun folds of the same size, as many as fit; never negative."""
        more = [max(0, need_bytes - other.held_bytes) for other in self._others(slot) if other.limit_bytes is None]
        for extra in sorted(more):
            if extra > left:
                break
            left -= extra
        return max(0, left)


class PeakWatch:
    """Watches this process's own memory while entered, from a daemon thread that looks every 50 ms.

    Args:
        limit_bytes: the limit of the fold; None for none.
        on_over: called with the bytes found, once, from the thread, when they are more than the limit.

    Attributes:
        peak_bytes: the most that was seen.
        held_bytes: what was left at the end.
    """

    def __init__(self, limit_bytes: int | None, on_over: Callable[[int], None]) -> None:
        self.peak_bytes = 0
        self.held_bytes = 0
        self._limit_bytes = limit_bytes
        self._on_over = on_over
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self.peak_bytes = _here.own_and_theirs()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.held_bytes = _here.own_and_theirs(is_end=True)
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def _watch(self) -> None:
        called = False
        for now in self._samples():
            self.peak_bytes = max(self.peak_bytes, now)
            if self._limit_bytes is not None and now > self._limit_bytes and not called:
                called = True
                self._on_over(now)

    def _samples(self) -> Iterator[int]:
        while not self._ended.wait(SAMPLE_SECONDS):
            yield _here.own_and_theirs()


class _Tree:
    """This process and its children, which are looked for now and then only; threads take turns with it."""

    def __init__(self) -> None:
        self._pid = 0
        self._looked_at = 0.0
        self._of_children = 0
        self._lock = threading.Lock()

    def own_and_theirs(self, *, is_end: bool = False) -> int:
        """Private bytes of the process and, as of a second ago at most, of its children.

        Args:
            is_end: children that were seen may be gone by now; look again if there were any.
        """
        import psutil

        own = psutil.Process()
        with self._lock:
            now = time.monotonic()
            is_old = now - self._looked_at >= CHILDREN_SECONDS
            if is_old or self._pid != own.pid or (is_end and self._of_children):
                self._pid, self._of_children = own.pid, _children_bytes(own)
                self._looked_at = time.monotonic()
            return _private(own) + self._of_children


_here = _Tree()


def private_bytes(pid: int | None = None) -> int:
    """Resident memory of a process and its children that no file or shared segment backs.

    Memory-mapped tables and Ray's object store do not count: all workers share them, and the kernel can drop them.

    Args:
        pid: None for this process.

    Returns:
        Bytes; 0 for a process that is gone.
    """
    import psutil

    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return 0
    return _private(process) + _children_bytes(process)


def _private(process: "psutil.Process") -> int:
    import psutil

    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))  # macOS does not tell what is shared


def _children_bytes(process: "psutil.Process") -> int:
    import psutil

    try:
        return sum(_private(child) for child in process.children(recursive=True))
    except psutil.Error:
        return 0


# Of PyTorch, XGBoost ("bad_alloc: cudaErrorMemoryAllocation: out of memory"), LightGBM ("[CUDA] out of memory") and
# CUDA's libraries. The words stand near each other: a message may hold a traceback that speaks of devices elsewhere.
_GPU_ERRORS = re.compile(
    r"cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CU(BLAS|DNN|SPARSE|SOLVER)_STATUS_ALLOC_FAILED"
    r"|\b(cuda\w*|gpu|device|nccl)\b[^\n]{0,60}\bout of memory|\bout of memory[^\n]{0,40}\b(cuda|gpu)",
    re.IGNORECASE,
)


def is_gpu_oom(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that a GPU's memory was too small; no library is imported for it.

    PyTorch has a class for it; XGBoost and LightGBM raise their one class with CUDA's words. Errors of the machine's
    own memory (``MemoryError``, Ray's ``OutOfMemoryError``) are not meant.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kind = type(current)
        if kind.__name__ == "OutOfMemoryError" and kind.__module__.split(".")[0] == "torch":
            return True
        if not isinstance(current, MemoryError) and _GPU_ERRORS.search(str(current)):
            return True
        current = current.__cause__ or current.__context__
    return False
