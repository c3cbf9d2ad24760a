"""Memory: sizes that people write, the book of a node, the watch of a worker, and errors of a GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldsmith.problem.errors import InputError
from foldsmith.search.memory import MemoryBook, PeakWatch, is_gpu_oom, parse_bytes, private_bytes

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12G", 12 * GIB),
        ("12GiB", 12 * GIB),
        (" 12 gib ", 12 * GIB),
        ("12GB", 12 * 10**9),
        ("800M", 800 * MIB),
        ("1.5k", 1536),
        ("2T", 2048 * GIB),
        ("123456", 123456),
        ("7B", 7),
        ("80%", 800),
        ("12.5 %", 125),
        ("100%", 1000),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_bytes(text, of=1000) == expected


@pytest.mark.parametrize("text", ["", "G", "12X", "-1G", "1e9", "12 G B", "nan", "inf", "1,5G", "iB", "5iB", "%", "٣G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="is no amount of memory; write a size like 12G, 800M or 80%"):
        parse_bytes(text, of=1000)


@pytest.mark.parametrize(("text", "message"), [("101%", "is more than there is"), ("0", "no memory"), ("0%", "no mem")])
def test_sizes_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_bytes(text, of=1000)


def _book(limit: int = 1000, n_slots: int = 2, need: int = 0) -> MemoryBook:
    """A book that knows a family of this need."""
    book = MemoryBook(limit, n_slots)
    book.need("small", need)
    return book


def test_a_family_needs_what_it_declares_until_it_was_seen() -> None:
    book = MemoryBook(1000, 2)
    assert book.need("a", 500) == 500
    book.release(0, "a", peak_bytes=100, held_bytes=50)
    assert book.need("a", 500) == 120
    assert book.need("b", 500) == 500


def test_a_need_is_the_largest_of_the_recent_peaks() -> None:
    book = MemoryBook(1000, 2)
    for peak in (300, 100):
        book.release(0, "a", peak_bytes=peak, held_bytes=0)
    assert book.need("a", 0) == 360
    for _ in range(20):
        book.release(0, "a", peak_bytes=100, held_bytes=0)
    assert book.need("a", 0) == 120


def test_a_fold_ended_at_its_limit_counts_more() -> None:
    book = MemoryBook(1000, 2)
    book.release(0, "a", peak_bytes=200, held_bytes=0, over_limit=True)
    assert book.need("a", 0) == 360  # 1.2 times 1.5 times


def test_a_peak_of_zero_says_nothing() -> None:
    book = MemoryBook(1000, 2)
    book.release(0, "a", peak_bytes=0, held_bytes=0)
    assert book.need("a", 700) == 700


def test_two_folds_fit_side_by_side_and_share_what_is_left() -> None:
    book = _book()
    assert book.admits(0, 400)
    assert book.reserve(0, 400) == 500  # 200 are left when both slots run one
    assert book.admits(1, 400)
    assert book.reserve(1, 400) == 450
    book.release(0, "a", peak_bytes=300, held_bytes=0)
    assert not book.admits(0, 600)
    assert book.admits(0, 550)


def test_a_fold_that_nothing_fits_beside_leaves_room_for_smaller_ones() -> None:
    book = _book(need=100)
    assert book.reserve(0, 700) == 850
    assert book.admits(1, 150) and not book.admits(1, 151)


def test_alone_a_fold_is_always_admitted_and_gets_everything() -> None:
    book = _book(need=100)
    assert book.admits(0, 5000)
    assert book.reserve(0, 5000) == 1000
    assert not book.admits(1, 1)
    book.forget(0)
    assert book.reserve(0, 950) == 1000


def test_idle_workers_hold_what_they_were_last_seen_with() -> None:
    book = _book(n_slots=3)
    book.reserve(0, 100)
    book.release(1, "a", peak_bytes=500, held_bytes=300)
    assert not book.admits(2, 601)
    book.forget(1)
    assert book.admits(2, 601)


def test_a_fold_takes_at_least_what_its_worker_holds() -> None:
    book = _book()
    book.release(0, "a", peak_bytes=600, held_bytes=600)
    book.reserve(1, 300)
    assert not book.admits(0, 100) or book.reserve(0, 100) >= 600
    assert book.admits(0, 100) == book.admits(0, 600)


def test_any_numbers_name_slots() -> None:
    """The slots of a second node, or of a second device, do not begin at 0."""
    low, high = MemoryBook(1000, 2), MemoryBook(1000, 2)
    for book, slots in ((low, (0, 1)), (high, (17, 90))):
        assert book.reserve(slots[0], 400) == 500
        assert book.admits(slots[1], 400) and not book.admits(slots[1], 501)
        book.release(slots[0], "a", peak_bytes=450, held_bytes=300)
        assert book.reserve(slots[1], 701) == 1000  # alone, and too large beside what the idle one holds
    assert low.need("a", 0) == high.need("a", 0) == 540


def test_when_all_workers_died_what_their_folds_took_is_still_known() -> None:
    book = _book()
    book.release(0, "a", peak_bytes=500, held_bytes=400)
    book.reserve(1, 100)
    book.forget_all()
    assert book.need("a", 0) == 600
    assert book.admits(0, 500) and book.reserve(0, 500) == 500
    assert book.admits(1, 500)


def test_any_numbers_name_the_slots() -> None:
    """A node's slots, and those of one GPU, are numbered among all slots of all nodes."""
    book = _book(n_slots=2)
    assert book.reserve(7, 400) == 500
    assert not book.admits(9, 501)
    assert book.reserve(9, 400) == 450
    book.forget(7)
    assert book.admits(7, 550)


def test_when_all_workers_died_their_peaks_are_still_known() -> None:
    book = _book()
    book.release(0, "a", peak_bytes=500, held_bytes=500)
    book.reserve(1, 100)
    book.forget_all()
    assert book.admits(1, 1000)
    assert book.need("a", 0) == 600


def test_one_slot_gives_everything() -> None:
    assert _book(n_slots=1).reserve(0, 10) == 1000


@given(st.integers(1, 6), st.integers(1, 1000))
def test_folds_of_one_size_that_fit_are_all_admitted(n_slots: int, need: int) -> None:
    """The limits leave room for each other, whatever the workers held before."""
    book = MemoryBook(1000, n_slots)
    admitted = 0
    for slot in range(n_slots):
        if book.admits(slot, need):
            book.reserve(slot, need)
            admitted += 1
    assert admitted == max(1, min(n_slots, 1000 // need))


ACTIONS = st.tuples(st.sampled_from(["begin", "end", "die"]), st.integers(0, 3), st.integers(0, 1500), st.booleans())


@given(st.integers(1, 4), st.lists(ACTIONS, max_size=60))
def test_limits_never_sum_above_the_limit(n_slots: int, actions: list[tuple[str, int, int, bool]]) -> None:
    book = MemoryBook(1000, n_slots)
    limits: dict[int, int] = {}
    held = dict.fromkeys(range(n_slots), 0)
    for action, slot, size, over in actions:
        slot %= n_slots
        if action == "begin" and slot not in limits:
            need = book.need(f"family {size % 3}", size)
            assert limits or book.admits(slot, need)
            if not book.admits(slot, need):
                continue
            limit = book.reserve(slot, need)
            others = sum(limits.values())
            assert limit >= min(1000, need)
            limits[slot] = limit
            assert sum(limits.values()) <= 1000
            if others:
                idle = sum(bytes_ for other, bytes_ in held.items() if other not in limits)
                assert sum(limits.values()) + idle <= 1000
        elif action == "end" and slot in limits:
            peak = min(size, limits.pop(slot))
            held[slot] = peak // 2
            book.release(slot, f"family {size % 3}", peak_bytes=peak, held_bytes=held[slot], over_limit=over)
        elif action == "die":
            limits.pop(slot, None)
            held[slot] = 0
            book.forget(slot)


def _child(code: str, *words: object) -> str:
    """What a fresh interpreter prints; it has no memory of other tests."""
    head = "import sys, time, os; from foldsmith.search.memory import PeakWatch, private_bytes; MIB = 1 << 20\n"
    command = [sys.executable, "-c", head + code, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout.strip()


def test_the_watch_calls_once_and_soon() -> None:
    code = """
calls = []
with PeakWatch(private_bytes() + 100 * MIB, lambda peak: calls.append((time.perf_counter(), peak))) as watch:
    time.sleep(0.12)
    assert not calls, "nothing was taken yet"
    began = time.perf_counter()
    block = bytearray(150 * MIB)
    while not calls and time.perf_counter() - began < 100:
        time.sleep(0.01)
    time.sleep(0.15)
    del block
(moment, peak), = calls
assert moment > began
assert peak <= watch.peak_bytes
print((watch.peak_bytes - watch.held_bytes) // MIB)
"""
    assert 140 <= int(_child(code)) <= 160


def test_the_watch_may_end_the_process() -> None:
    code = """
with PeakWatch(private_bytes() + 50 * MIB, lambda peak: os._exit(7)):
    block = bytearray(100 * MIB)
    time.sleep(600)
"""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _child(code)
    assert caught.value.returncode == 7


def test_memory_mapped_files_do_not_count(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.ones(120 * MIB // 8))
    code = """
import numpy as np
before = private_bytes()
with PeakWatch(before + 60 * MIB, lambda peak: os._exit(7)) as watch:
    total = np.load(sys.argv[1], mmap_mode="r").sum()
    time.sleep(0.15)
print(int(total) * 8 // MIB, (watch.peak_bytes - before) // MIB)
"""
    read, grown = map(int, _child(code, tmp_path / "table.npy").split())
    assert read == 120
    assert grown < 30


def test_shared_memory_does_not_count() -> None:
    code = """
from multiprocessing.shared_memory import SharedMemory
before = private_bytes()
shared = SharedMemory(create=True, size=100 * MIB)
shared.buf[:] = bytes(1) * len(shared.buf)
grown = private_bytes() - before
shared.unlink()
print(grown // MIB)
"""
    assert int(_child(code)) < 130 - 100 + 1


def test_children_count() -> None:
    code = """
import subprocess
before = private_bytes()
program = "block = bytearray(100 << 20); print('ready', flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print((private_bytes() - before) // MIB)
child.communicate(b"go on")
"""
    assert int(_child(code)) >= 100


def test_without_a_limit_nobody_is_called() -> None:
    calls: list[int] = []
    with PeakWatch(None, calls.append) as watch:
        pass
    assert not calls
    assert watch.peak_bytes >= watch.held_bytes > 0


def test_a_process_that_is_gone_holds_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert private_bytes(gone.pid) == 0


class _TorchError(RuntimeError):
    """PyTorch's class is known by its name and module."""


_TorchError.__name__ = "OutOfMemoryError"
_TorchError.__module__ = "torch"


class _RayError(RuntimeError):
    """Ray's class for the machine's memory has the same name."""


_RayError.__name__ = "OutOfMemoryError"
_RayError.__module__ = "ray.exceptions"

XGBOOST = """[11:17:11] /workspace/src/common/device_vector.cu:23: Memory allocation error on worker 0: \
std::bad_alloc: cudaErrorMemoryAllocation: out of memory
- Free memory: 53.1098GB
- Requested memory: 64GB"""


@pytest.mark.parametrize(
    "error",
    [
        _TorchError("whatever"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        ValueError(XGBOOST),
        ValueError("[CUDA] out of memory /src/io/cuda/cuda_column_data.cpp 23"),
        RuntimeError("cudaMalloc failed: out of memory"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_a_gpu_out_of_memory(error: BaseException) -> None:
    assert is_gpu_oom(error)
    wrapped = RuntimeError("the fold failed")
    wrapped.__cause__ = error
    assert is_gpu_oom(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 4.00 GiB for an array"),
        _RayError("Task was killed due to the node running low on memory"),
        RuntimeError("std::bad_alloc"),
        ValueError("[CUDA] an illegal memory access was encountered /src/io/cuda/cuda_column_data.cpp 67"),
        RuntimeError("device 'cuda' was asked for but PyTorch sees no GPU"),
        RuntimeError("worker ran out of memory\nTraceback: booster.set_param({'device': 'cpu'})"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_is_another_fault(error: BaseException) -> None:
    assert not is_gpu_oom(error)


def test_errors_that_caused_each_other_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_gpu_oom(first)
