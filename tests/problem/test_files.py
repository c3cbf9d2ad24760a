"""Durable files: whole or not at all, and never read when they come from a newer version."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from foldsmith.problem.errors import ContractError, InputError
from foldsmith.problem.files import (
    digest,
    file_digest,
    read_array,
    read_json,
    write_array,
    write_atomically,
    write_bytes,
    write_json,
)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "scores.json"
    write_bytes(path, b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half of the new")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_rename_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EXDEV, "no rename")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no rename"):
        write_bytes(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(name: str) -> None:
        real = getattr(os, name)

        def noted(*arguments: Any) -> Any:
            seen.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)

    spy("fsync")
    spy("replace")
    write_bytes(tmp_path / "x", b"1")
    assert seen == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name


def test_json_round_trip(tmp_path: Path) -> None:
    record = {"größe": [1, 2.5, None], "nested": {"x": "ä"}}
    write_json(tmp_path / "r.json", record)
    assert read_json(tmp_path / "r.json") == {"format": 1, **record}
    assert "größe" in (tmp_path / "r.json").read_text(encoding="utf-8")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_json(path, {"format": 2})
    with pytest.raises(ContractError, match=r"r\.json has format 2, this foldsmith reads up to 1; upgrade") as caught:
        read_json(path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("text", ["", '{"format": 1, "x', "\x00\x00", "[1]", "null", '{"format": "new"}'])
def test_what_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=r"r\.json is not (valid JSON|a record)"):
        read_json(tmp_path / "r.json")


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_array(tmp_path / "a.npy", array[:, ::-1])
    mapped = read_array(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, array[:, ::-1])
    write_array(tmp_path / "none.npy", array[:0])
    assert read_array(tmp_path / "none.npy").shape == (0, 2)


def test_no_object_array_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="[Oo]bject"):
        write_array(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_digests_are_stable() -> None:
    """They name folders that other processes and later versions must find again."""
    assert digest("auc", [1, 2]) == "99bbb995710b"
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    code = "from foldsmith.problem.files import digest; print(digest('auc', [1, 2]))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == digest("auc", [1, 2])


def test_digests_tell_apart() -> None:
    zeros = np.zeros(4)
    parts: list[tuple[Any, ...]] = [
        ("a", "b"),
        ("ab",),
        (["a", "b"],),
        ("a", None),
        ("a",),
        (zeros,),
        (zeros.reshape(2, 2),),
        (zeros.astype(np.float32),),
        (zeros.astype(np.int64),),
        (1,),
        ("1",),
    ]
    assert len({digest(*part) for part in parts}) == len(parts)
    strided = np.arange(8)[::2]
    assert digest(strided) == digest(strided.copy())


def test_file_digest_is_of_the_bytes(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")
    assert len(file_digest(tmp_path / "a")) == 32


def test_json_keeps_numbers_that_are_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"sem": float("nan")})
    assert np.isnan(read_json(tmp_path / "r.json")["sem"])
    assert json.loads((tmp_path / "r.json").read_text())["format"] == 1
