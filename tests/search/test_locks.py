"""One driver per folder, and no new one while workers of the old one live."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from foldsmith.problem.errors import ContractError
from foldsmith.problem.folder import Folder
from foldsmith.search.locks import FolderLock, claim_driver, lock_machine, lock_owner

HOLD = """
import sys
from pathlib import Path
from foldsmith.search.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]), shared=sys.argv[2] == "shared")
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """A driver's and its workers' lock."""
    return tmp_path / ".foldsmith/driver.lock", tmp_path / ".foldsmith/workers.lock"


@pytest.fixture
def holder(paths: tuple[Path, Path], request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the driver's lock, or shares the workers' one."""
    shares = getattr(request, "param", "exclusive") == "shared"
    words = [str(paths[shares]), "shared" if shares else "exclusive"]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert _of(process.stdout).readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def test_a_second_owner_is_refused_with_the_first_ones_process(
    paths: tuple[Path, Path], holder: "subprocess.Popen[str]"
) -> None:
    assert lock_owner(paths[0]) == holder.pid
    with pytest.raises(ContractError, match=f"is held by process {holder.pid}"), FolderLock(paths[0]):
        pass
    with pytest.raises(ContractError, match=rf"another foldsmith \(process {holder.pid}\) works in .*'foldsmith stop'"):
        claim_driver(Folder(paths[0].parents[1]))


def test_a_lock_ends_with_its_process(paths: tuple[Path, Path], holder: "subprocess.Popen[str]") -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert str(holder.pid) in paths[0].read_text()  # the name stays, the lock does not
    assert lock_owner(paths[0]) is None
    with claim_driver(Folder(paths[0].parents[1]))[0]:
        assert lock_owner(paths[0]) == os.getpid()
    assert lock_owner(paths[0]) is None


def test_no_lock_file_no_owner(paths: tuple[Path, Path]) -> None:
    assert lock_owner(paths[0]) is None
    assert not paths[0].exists()


def test_sharing_keeps_an_owner_out_until_all_have_let_go(paths: tuple[Path, Path]) -> None:
    first, second = FolderLock(paths[1], shared=True), FolderLock(paths[1], shared=True)
    assert first.acquire() and second.acquire()
    first.release()
    assert not FolderLock(paths[1]).acquire()
    second.release()
    owner = FolderLock(paths[1])
    assert owner.acquire()
    assert not first.acquire()
    owner.release()


@pytest.mark.parametrize("holder", ["shared"], indirect=True)
def test_a_driver_waits_for_the_workers_of_the_last_one(
    paths: tuple[Path, Path], holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        holder.kill()
        holder.wait()

    monkeypatch.setattr("foldsmith.search.locks.time.sleep", nap)
    with claim_driver(Folder(paths[0].parents[1]))[0]:
        assert naps, "it did not wait"
        assert FolderLock(paths[1], shared=True).acquire()  # new workers may come


@pytest.mark.parametrize("holder", ["shared"], indirect=True)
def test_workers_that_do_not_end(paths: tuple[Path, Path], holder: "subprocess.Popen[str]") -> None:
    said: list[str] = []
    process = rf"workers of an earlier run \(process {holder.pid}\)"
    advice = f"end them with 'kill -9 {holder.pid}'"
    with pytest.raises(ContractError, match=rf"{process} still run after 0.1 s .*; {advice}"):
        claim_driver(Folder(paths[0].parents[1]), wait_seconds=0.1, say=said.append)
    assert said == [f"waiting up to 0.1 s for workers of an earlier run (process {holder.pid}) to end"]
    assert lock_owner(paths[0]) is None  # what was claimed first is given back


def test_asking_for_the_owner_does_not_keep_a_driver_out(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = FolderLock(paths[0], shared=True)  # as lock_owner takes it for a moment
    assert probe.acquire()
    monkeypatch.setattr("foldsmith.search.locks.time.sleep", lambda seconds: probe.release())
    with claim_driver(Folder(paths[0].parents[1]))[0]:
        assert lock_owner(paths[0]) == os.getpid()


def test_drivers_of_a_shared_study_take_the_next_seat(
    paths: tuple[Path, Path], holder: "subprocess.Popen[str]"
) -> None:
    folder = Folder(paths[0].parents[1])
    lock, seated = claim_driver(folder, is_shared=True)
    with lock:
        assert seated.seat == 2
        assert lock_owner(seated.driver_lock) == os.getpid()
        assert lock_owner(folder.driver_lock) == holder.pid
        names = {seated.driver_lock.name, seated.driver.name, seated.launch.name}
        assert names == {"driver-2.lock", "driver-2.json", "launch-2.json"}
        assert seated.journal == folder.journal and seated.members == folder.members


def test_an_owner_on_another_machine_is_named(paths: tuple[Path, Path], holder: "subprocess.Popen[str]") -> None:
    assert lock_machine(paths[0]) is None
    paths[0].write_text(f"{holder.pid} rig-b\n")
    assert lock_machine(paths[0]) == "rig-b"
    with pytest.raises(ContractError, match=rf"\(process {holder.pid} on rig-b\)"):
        claim_driver(Folder(paths[0].parents[1]))


@pytest.mark.parametrize("holder", ["shared"], indirect=True)
def test_a_stopped_worker_is_called_so(paths: tuple[Path, Path], holder: "subprocess.Popen[str]") -> None:
    said: list[str] = []
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(ContractError, match=rf"\(process {holder.pid} \(stopped\)\) still run"):
        claim_driver(Folder(paths[0].parents[1]), wait_seconds=0.1, say=said.append)
    assert said == [f"waiting up to 0.1 s for workers of an earlier run (process {holder.pid} (stopped)) to end"]


def test_a_forked_child_holds_no_lock(tmp_path: Path) -> None:
    """What a family forks and leaves behind must not keep the next driver out."""
    lock = FolderLock(tmp_path / "driver.lock")
    assert lock.acquire()
    ready, say_ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(say_ready, b"!")
        signal.pause()
        os._exit(0)
    try:
        os.read(ready, 1)
        lock.release()
        assert FolderLock(tmp_path / "driver.lock").acquire()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
