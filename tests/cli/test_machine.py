"""The machine as it is: one line for what it refuses, and reading where nothing can be written."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.cli.machine import REMEDIES, machine_fault
from foldsmith.problem.files import write_bytes

Foldsmith = Callable[..., Any]
NOBODY = 65534


def run(
    *words: object, env: Mapping[str, str] | None = None, before: Sequence[str] = (), **options: Any
) -> "subprocess.CompletedProcess[bytes]":
    """A command line in a process of its own."""
    command = [os.fsencode(str(word)) for word in (*before, sys.executable, "-m", "foldsmith", *words)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        command, env={**clean, **(env or {})}, check=False, **options
    )
    return done


def one_error(done: "subprocess.CompletedProcess[bytes]", words: str) -> None:
    """Exit code 1 and one line."""
    said = done.stderr.decode(errors="replace")
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and "Traceback" not in said and "Exception ignored" not in said, said
    assert len(lines) == 1 and words in lines[0], said


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REMEDIES)
def test_what_a_machine_refuses_is_one_line(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(root: Path) -> None:
        raise OSError(code, os.strerror(code), str(root / "some.file"))

    monkeypatch.setattr("foldsmith.flow.status.status", refuse)
    outcome = foldsmith("-C", searched, "status")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"error: {searched / 'some.file'}: {os.strerror(code)}; {REMEDIES[code]}\n"


def test_a_fault_of_our_own_keeps_its_traceback(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: Path) -> None:
        raise KeyError("forgotten")

    monkeypatch.setattr("foldsmith.flow.status.status", fail)
    outcome = foldsmith("-C", searched, "status")
    assert outcome.code == 1 and "Traceback" in outcome.err


def test_other_errors_are_no_faults_of_the_machine() -> None:
    assert machine_fault(ValueError("no")) is None
    assert machine_fault(OSError("of a library")) is None
    assert machine_fault(MemoryError()) is not None


def test_a_file_that_cannot_be_written_is_named_as_people_know_it(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        write_bytes(tmp_path / "missing" / "file.txt", b"")
    assert caught.value.filename == str(tmp_path / "missing" / "file.txt")
    assert caught.value.errno == errno.ENOENT


def _mounted(place: Path, *words: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *words, str(place)], check=False).returncode == 0


@pytest.fixture
def read_only(searched: Path) -> Iterator[Path]:
    """The competition on a read-only file system."""
    if not _mounted(searched, "--bind", str(searched)):
        pytest.skip("only root may mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(searched)], check=True)
        yield searched
    finally:
        subprocess.run(["umount", "--lazy", str(searched)], check=True)


def test_reading_from_a_read_only_file_system(read_only: Path, foldsmith: Foldsmith, tmp_path: Path) -> None:
    for words in (
        ["status"],
        ["top"],
        ["show", "lin-0001"],
        ["report", "-o", tmp_path / "report.html"],
        ["check", "--deep"],
        ["compare", "lin-0001", "knn-0001"],
        ["oof", "export", tmp_path / "bank"],
        ["folds", "show"],
        ["lb", "show"],
        ["finals"],
        ["shake"],
        ["logs"],
    ):
        outcome = foldsmith("-C", read_only, *words)
        assert outcome.code == 0, (words, outcome.err)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    for words in (["report"], ["blend"], ["submit", "make", "b01"], ["resume"], ["repair"]):
        outcome = foldsmith("-C", read_only, *words)
        assert outcome.code == 1 and "Traceback" not in outcome.err, (words, outcome.err)
        assert "Read-only file system; it lies on a read-only file system; work on a copy" in outcome.err


@pytest.fixture
def of_another(searched: Path) -> Iterator[Path]:
    """The competition in a place that everybody can reach, owned by this user."""
    place = Path("/var/tmp") / f"foldsmith-test-{os.getpid()}"
    shutil.copytree(searched, place / "comp")
    for name in ("train.csv", "test.csv"):
        toml = (place / "comp" / "foldsmith.toml").read_text()
        [line] = [line for line in toml.splitlines() if line.startswith(f"{name.removesuffix('.csv')} =")]
        shutil.copy(line.split('"')[1], place / name)
        (place / "comp" / "foldsmith.toml").write_text(toml.replace(line.split('"')[1], str(place / name)))
    subprocess.run(["chmod", "-R", "go+rX", str(place)], check=True)
    yield place / "comp"
    shutil.rmtree(place)


def test_a_folder_of_another_user(of_another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user may read it, or not; it is one line that says so."""
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    can_be_nobody = subprocess.run(
        [*as_nobody, sys.executable, "-c", "import foldsmith"], capture_output=True, check=False
    )
    if can_be_nobody.returncode != 0:
        pytest.skip("this Python cannot be run by another user")
    env = {"HOME": "/tmp"}
    for words in (["status"], ["top"], ["show", "lin-0001"]):
        done = run("-C", of_another, *words, env=env, before=as_nobody)
        assert done.returncode == 0, done.stderr
    for words in (["blend"], ["submit", "make", "b01"], ["report"], ["resume"]):
        one_error(run("-C", of_another, *words, env=env, before=as_nobody), "Permission denied; its owner must let you")
    (of_another / ".foldsmith").chmod(0o700)
    for words in (["status"], ["top"], ["blend"]):
        one_error(run("-C", of_another, *words, env=env, before=as_nobody), "Permission denied; its owner must let you")


@pytest.fixture
def full_disk(searched: Path, tmp_path: Path) -> Iterator[Path]:
    """The competition on a disk without a free byte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _mounted(disk, "-t", "tmpfs", "-o", "size=12m", "tmpfs"):
        pytest.skip("only root may mount")
    try:
        shutil.copytree(searched, disk / "comp")
        for size in (1 << 16, 1 << 12, 1):
            try:
                with open(disk / f"fill-{size}", "wb", buffering=0) as file:
                    while file.write(b"x" * size):
                        pass
            except OSError:
                continue
        yield disk / "comp"
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(full_disk: Path, foldsmith: Foldsmith) -> None:
    def files() -> list[str]:
        return sorted(str(path) for path in full_disk.rglob("*"))

    before = files()
    for words in (
        ["blend"],
        ["report"],
        ["submit", "make", "b01"],
        ["lb", "log", "1", "--public", "0.5"],
        ["oof", "export", full_disk.parent / "bank"],
    ):
        outcome = foldsmith("-C", full_disk, *words)
        assert outcome.code == 1 and "Traceback" not in outcome.err, (words, outcome.err)
        assert outcome.err.count("error: ") == 1 and "No space left on device; make room" in outcome.err
        assert files() == before, "something half-written was left"
    for words in (["status"], ["top"], ["check"], ["compare", "lin-0001", "knn-0001"]):
        assert foldsmith("-C", full_disk, *words).code == 0


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["top"], ["top", "--json"], ["status"], ["show", "lin-0001"], ["--help"], ["logs"]])
def test_output_to_a_full_device(searched: Path, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        one_error(run("-C", searched, *words, stdout=full), "No space left on device")


@pytest.mark.parametrize("words", [["top"], ["top", "--json"], ["status"], ["folds", "show"], ["--help"], ["logs"]])
def test_output_to_a_pipe_that_nobody_reads(searched: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = run("-C", searched, *words, stdout=pipe)
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(searched: Path, closed: str) -> None:
    script = f'exec {closed}; exec "$@"'
    done = run("-C", searched, "status", before=["bash", "-c", script, "bash"], stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "C, and no UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii streams": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_paths_that_the_locale_cannot_spell(searched_once: Path, tmp_path: Path, locale: str) -> None:
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xc3\xbcber \xe6\x97\xa5"))
    os.mkdir(place)
    for file in ("train.csv", "test.csv"):
        shutil.copy(searched_once / file, os.path.join(place, file))
    comp, env = os.path.join(place, "comp"), LOCALES[locale]
    data = ["--train", f"{place}/train.csv", "--test", f"{place}/test.csv", "--target", "y", "--folds", 2]
    for words in (
        ["run", *data, "--families", "linear", "--trials", 1, "--executor", "inline", "--out", comp],
        ["-C", comp, "status"],
        ["-C", comp, "top", "--json"],
        ["-C", comp, "blend", "--json"],
        ["-C", comp, "report"],
        ["-C", comp, "service"],
    ):
        done = run(*words, env=env)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (words, done.stderr)
    done = run("-C", comp, "submit", "make", "lin-0001", env=env)
    if locale != "ascii streams":
        written = done.stdout.rstrip(b"\n")  # the path, byte for byte: for the next program
        assert os.path.exists(written), done
    done = run("-C", comp, os.fsdecode(b"nope\xff"), env=env)
    assert done.returncode == 2 and done.stderr.startswith(b"error: No such command")


@pytest.mark.parametrize("locale", LOCALES)
def test_a_path_that_is_no_text_is_refused_at_once(searched_once: Path, tmp_path: Path, locale: str) -> None:
    """Libraries cannot open files there: folds would fail one by one."""
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff\xfe no text"))
    os.mkdir(place)
    for file in ("train.csv", "test.csv"):
        shutil.copy(searched_once / file, os.path.join(place, file))
    data = ["--train", f"{place}/train.csv", "--test", f"{place}/test.csv", "--target", "y"]
    for out in (os.path.join(place, "comp"), tmp_path / "comp"):
        done = run("init", out, *data, env=LOCALES[locale])
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
        assert b"is not UTF-8" in done.stderr and b"rename it" in done.stderr
        assert not os.path.exists(out)


def test_a_competition_is_the_same_under_every_locale(searched_once: Path, tmp_path: Path) -> None:
    place = tmp_path / "größe"
    place.mkdir()
    train, test = searched_once / "train.csv", searched_once / "test.csv"
    for path in (train, test):
        shutil.copy(path, place)
    data = ["--train", place / "train.csv", "--test", place / "test.csv", "--target", "y", "--out", tmp_path / "comp"]
    search = ["--families", "linear", "--trials", 1, "--executor", "inline"]
    assert run("run", *data, *search, env=LOCALES["C, and no UTF-8 mode"]).returncode == 0
    for env in LOCALES.values():
        done = run("run", *data, *search, "--json", env=env)
        assert done.returncode == 0, done.stderr
    assert np.unique(
        [line.split(b",")[0] for line in (tmp_path / "comp/submissions/current.csv").read_bytes().split()]
    ).size
