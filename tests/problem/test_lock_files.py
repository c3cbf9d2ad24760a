"""Locks on file systems without flock: one holder at a time, dead ones are taken over, others are never robbed."""

import errno
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import ContractError, FoldsmithWarning
from foldsmith.problem.files import folder_lock
from foldsmith.problem.folder import Folder
from foldsmith.problem.lock_files import UNSUPPORTED, LockFile, own_claim
from foldsmith.search.locks import FolderLock, claim_driver, lock_machine, lock_owner

NO_FLOCK = """
import errno, fcntl, os, sys
from pathlib import Path

def refuse(*words):
    raise OSError(int(sys.argv[2]), os.strerror(int(sys.argv[2])))

fcntl.flock = refuse
from foldsmith.search.locks import FolderLock

lock = FolderLock(Path(sys.argv[1]), shared=sys.argv[3] == "shared")
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=sorted(UNSUPPORTED), ids=lambda code: errno.errorcode[code])
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """What flock answers here."""

    def refuse(*words: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return int(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a driver's lock."""
    return Folder(tmp_path).driver_lock


@pytest.fixture
def other(path: Path, code: int, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock, on the same file system."""
    shared = getattr(request, "param", "exclusive")
    path.parent.mkdir(parents=True)
    words = [sys.executable, "-c", NO_FLOCK, str(path), str(code), shared]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("code")
def test_a_driver_gets_its_folder_and_is_told_of_the_limit(path: Path) -> None:
    with (
        pytest.warns(FoldsmithWarning, match=r"has no locks \(flock fails\): a lock file that names this process"),
        claim_driver(Folder(path.parents[1]))[0],
    ):
        assert lock_owner(path) == os.getpid()
        assert not FolderLock(path).acquire()
    assert lock_owner(path) is None


def test_another_driver_is_named(path: Path, other: "subprocess.Popen[str]") -> None:
    assert lock_owner(path) == other.pid
    with pytest.raises(ContractError, match=rf"another foldsmith \(process {other.pid}\) works in"):
        claim_driver(Folder(path.parents[1]))


def test_a_dead_owner_is_taken_over(path: Path, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait()
    assert lock_owner(path) is None
    lock = FolderLock(path)
    assert lock.acquire()
    assert lock_owner(path) == os.getpid()
    lock.release()


@pytest.mark.parametrize("other", ["shared"], indirect=True)
def test_sharers_keep_an_owner_out(path: Path, other: "subprocess.Popen[str]") -> None:
    mine = FolderLock(path, shared=True)
    assert mine.acquire()
    assert not FolderLock(path).acquire()
    mine.release()
    assert not FolderLock(path).acquire(), "the other one shares it still"
    other.kill()
    other.wait()
    owner = FolderLock(path)
    assert owner.acquire()
    assert not mine.acquire()
    owner.release()


@pytest.mark.parametrize(
    ("change", "is_held"),
    [
        ({"machine": "rig-b pid:[1]"}, True),
        ({"boot": "of yesterday"}, False),
        ({"start": "7"}, False),  # the number was given to another process since
        ({"pid": 2**22 + 5}, False),
    ],
)
@pytest.mark.parametrize("code", [errno.ENOLCK], indirect=True)
def test_whose_claim_counts(path: Path, code: int, change: dict[str, Any], is_held: bool) -> None:
    claims = LockFile(path)
    claims.owner_path.parent.mkdir(parents=True)
    path.touch()
    claims.owner_path.write_text(json.dumps({**vars(own_claim()), **change}))
    assert (lock_owner(path) is not None) == is_held
    assert FolderLock(path).acquire() != is_held


@pytest.mark.parametrize("code", [errno.ENOLCK], indirect=True)
def test_an_owner_on_another_machine_is_left_to_people(path: Path, code: int) -> None:
    claims = LockFile(path)
    claims.owner_path.parent.mkdir(parents=True)
    path.write_text("12 rig-b\n")
    claims.owner_path.write_text(json.dumps({**vars(own_claim()), "machine": "rig-b pid:[1]", "pid": 12}))
    assert lock_machine(path) == "rig-b"
    with pytest.raises(ContractError, match=r"process 12 on rig-b\) works in .* or died there.* delete .*claims/owner"):
        claim_driver(Folder(path.parents[1]))


@pytest.mark.parametrize("code", [errno.ENOLCK], indirect=True)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 90, b'{"pid": 1}'])
def test_a_claim_that_cannot_be_read_counts_no_more(path: Path, code: int, content: bytes) -> None:
    claims = LockFile(path)
    claims.owner_path.parent.mkdir(parents=True)
    claims.owner_path.write_bytes(content)
    assert FolderLock(path).acquire()


@pytest.mark.usefixtures("code")
def test_a_lock_that_fails_otherwise_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*words: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", break_down)
    with pytest.raises(OSError, match="Input/output error"):
        claim_driver(Folder(path.parents[1]))


def _count(folder: Path, rounds: int) -> None:
    def refuse(*words: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = refuse
    for _ in range(rounds):
        with folder_lock(folder):
            number = int((folder / "number").read_text())
            (folder / "number").write_text(str(number + 1))


def test_nothing_is_lost_between_processes(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        processes = [context.Process(target=_count, args=(tmp_path, 40)) for _ in range(4)]
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "number").read_text() == "160"


@pytest.mark.parametrize("code", [errno.ENOTSUP], indirect=True)
def test_a_whole_competition_on_such_a_file_system(
    code: int, make_problem: Callable[..., Problem], foldsmith: Callable[..., Any]
) -> None:
    root = make_problem().folder.root
    words = ["run", "--families", "linear,knn", "--trials", 2, "--executor", "inline"]
    outcome = foldsmith("-C", root, *words)
    assert outcome.code == 0, outcome.err
    assert "has no locks (flock fails)" in outcome.err and "another foldsmith" not in outcome.err
    assert foldsmith("-C", root, "lb", "log", "1", "--public", 0.5).code == 0
    assert foldsmith("-C", root, "status").code == 0
    assert foldsmith("-C", root, *words).code == 0
