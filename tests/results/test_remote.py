"""Files behind a URL: whole or not at all, and what is missing is named."""

import sys
import uuid
from pathlib import Path

import pytest

from foldsmith.problem.errors import InputError, MissingPackageError
from foldsmith.problem.files import file_digest
from foldsmith.results.remote import ChangedError, Remote


@pytest.fixture(params=["file", "memory"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    return Remote(f"file://{tmp_path}/there" if request.param == "file" else f"memory://{uuid.uuid4().hex}/there")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "here.bin"
    path.write_bytes(b"some bytes")
    return path


def test_a_file_goes_there_and_comes_back(remote: Remote, path: Path, tmp_path: Path) -> None:
    assert remote.put(path, "a/b/c.bin") == {"bytes": 10, "blake2b": file_digest(path)}
    assert remote.read("a/b/c.bin") == b"some bytes"
    remote.fetch("a/b/c.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"some bytes"
    assert (remote.names("a"), remote.names("a/b"), remote.names("nowhere")) == (["b"], ["c.bin"], [])
    remote.put_bytes(b"other", "a/b/c.bin")
    assert remote.read("a/b/c.bin") == b"other"


def test_what_is_not_there(remote: Remote, tmp_path: Path) -> None:
    remote.put_bytes(b"1", "one")
    assert remote.read("two") is None
    assert remote.read_all(["one", "two"]) == {"one": b"1"} and remote.read_all([]) == {}
    remote.remove("two")
    remote.remove("one")
    assert remote.names("") == []
    with pytest.raises(FileNotFoundError):
        remote.fetch("two", tmp_path / "two")


def test_a_name_appears_when_its_file_is_whole(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk shows a file while it grows; the old one stays until then."""
    remote = Remote(f"file://{tmp_path}/there")
    remote.put_bytes(b"old", "name")

    def break_off(source: str, target: str) -> None:
        Path(target).write_bytes(b"so")
        raise ConnectionError("cut")

    monkeypatch.setattr(remote._fs, "put_file", break_off)
    with pytest.raises(ConnectionError):
        remote.put(path, "name")
    assert remote.read("name") == b"old" and remote.names("") == ["name"]


def test_a_file_that_is_replaced_meanwhile(remote: Remote, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = remote._fs.put_file

    def replace(source: str, target: str) -> None:
        upload(source, target)
        other = path.with_name("other")
        other.write_bytes(b"more bytes")
        other.replace(path)

    monkeypatch.setattr(remote._fs, "put_file", replace)
    with pytest.raises(ChangedError, match="here.bin was replaced while it was uploaded"):
        remote.put(path, "name")


@pytest.mark.parametrize("url", ["plain/path", "s3://", "memory:///"])
def test_no_url(url: str) -> None:
    with pytest.raises(InputError, match="is no URL with a path; write e.g. s3://bucket/path"):
        Remote(url)


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises(InputError, match="mirror 'nfsx://ann:[*]+@rig/x' cannot be used .*Protocol not known: nfsx"):
        Remote("nfsx://ann:secret@rig/x")


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [("s3://bucket/x", "s3fs", "s3fs"), ("gs://bucket/x", "gcsfs", "gcsfs"), ("abfs://box/x", "adlfs", "adlfs")],
)
def test_a_missing_package_is_named(url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(MissingPackageError, match=f"needs the package {package}; install it: pip install {package}"):
        Remote(url)
