"""A mirror gives back what it was given, and never half of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.errors import ContractError
from foldsmith.problem.files import file_digest
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.mirror import MANIFESTS, Mirror, PullReport, PushReport
from foldsmith.results.remote import Remote


def add_member(
    folder: Folder, prefix: str = "lgb", *, n_done: int = 2, state: str = "complete", **facts: Any
) -> Member:
    """A member with two fitted folds, ``n_done`` of them done; complete with arrays unless ``state`` differs."""
    store = MemberStore(folder)
    identity = store.reserve(prefix)
    for fold in range(2):
        add_fold(folder, identity, fold, is_done=fold < n_done)
    scores = Scores(0.5, 0.5, 0.1, (0.4, 0.6), 0.5)
    created = facts.pop("created", f"2026-01-01T00:00:0{len(store.all())}")
    values = {"params": {"x": 1}, "created": created, **facts}
    member = Member(identity, "trial", state, "c0ffee", "lightgbm", "auc", **values)  # type: ignore[arg-type]
    if state == "complete":
        store.finish(replace(member, scores=scores), np.ones((6, 1), np.float32), np.ones((3, 1), np.float32))
    else:
        store.write(member)
    return store.get(identity)


def add_fold(folder: Folder, member: str, fold: int, *, is_done: bool = True) -> None:
    store = MemberStore(folder).fold(member, 0, fold)

    def save(path: Path) -> None:
        (path / "model.txt").write_text(f"model {fold} of {member}\n" * 50)

    store.save_fitted(save, np.arange(5.0), {"provisional": 0.5, "seconds": 1.0, "facts": {}})
    if is_done:
        store.save_done(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), {"round": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A competition folder with a journal, folds, code and two members."""
    folder = Folder(tmp_path / "here")
    folder.folds.mkdir(parents=True)
    (folder.folds / "abc.parquet").write_bytes(b"folds")
    (folder.code / "deep").mkdir(parents=True)
    (folder.code / "deep" / "mine.py").write_text("x = 1\n")
    folder.config.write_text("# config\n")
    folder.journal.write_bytes(b'{"op": 1}\n{"op": 2}\n')
    (folder.state / "artifacts").mkdir()
    (folder.state / "artifacts" / "0123").write_text("<svg/>")
    add_member(folder)
    add_member(folder, "xgb")
    return folder


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/there" if request.param == "file" else f"memory://{uuid.uuid4().hex}/there"


def push(folder: Folder, url: str) -> PushReport:
    mirror, report = Mirror(folder, Remote(url)), PushReport()
    for member in mirror.local_ids():
        mirror.push_member(member, report)
    mirror.push_shared(report)
    mirror.push_journal(report)
    return report


def pull(folder: Folder, url: str) -> PullReport:
    return Mirror(folder, Remote(url)).pull()


def contents(folder: Folder) -> dict[str, bytes]:
    """Every file, by name."""
    files = (path for path in sorted(folder.root.rglob("*")) if path.is_file())
    return {path.relative_to(folder.root).as_posix(): path.read_bytes() for path in files}


def assert_whole(folder: Folder, member: str) -> None:
    store = MemberStore(folder)
    assert store.get(member).id == member and store.oof(member).shape == (6, 1) and store.test(member).shape == (3, 1)
    assert [store.fold(member, 0, fold).state(verify=True) for fold in range(2)] == ["done", "done"]


def test_a_new_folder_gets_everything(folder: Folder, url: str, tmp_path: Path) -> None:
    report = push(folder, url)
    assert report.members == ["lgb-0001", "xgb-0001"]
    new = Folder(tmp_path / "new")
    pulled = pull(new, url)
    assert (pulled.fetched, pulled.torn, pulled.journal) == (["lgb-0001", "xgb-0001"], [], "fetched")
    assert contents(new) == contents(folder)
    again = pull(new, url)
    assert (again.fetched, again.kept, again.journal) == ([], ["lgb-0001", "xgb-0001"], "kept")


def test_only_what_changed_is_uploaded(folder: Folder, url: str) -> None:
    assert push(folder, url).n_files == len(contents(folder))
    assert push(folder, url) == PushReport()
    store = MemberStore(folder)
    store.write(replace(store.get("lgb-0001"), seconds=9.0))
    folder.journal.write_bytes(folder.journal.read_bytes() + b'{"op": 3}\n{"torn')
    report = push(folder, url)
    assert (report.members, report.n_files) == (["lgb-0001"], 2)  # its meta.json, and the journal
    assert Remote(url).read(".foldsmith/study.journal") == b'{"op": 1}\n{"op": 2}\n{"op": 3}\n'


def test_records_follow_what_they_vouch_for(folder: Folder, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    appear = Remote._appear

    def note(remote: Remote, name: str, write: Callable[[str], None]) -> None:
        order.append(name)
        appear(remote, name, write)

    monkeypatch.setattr(Remote, "_appear", note)
    Mirror(folder, Remote(url)).push_member("lgb-0001", PushReport())
    short = [name.removeprefix(".foldsmith/members/lgb-0001/") for name in order]
    for fold in ("folds/0-0", "folds/0-1"):
        at = {name.rsplit("/", 1)[1]: place for place, name in enumerate(short) if name.startswith(f"{fold}/")}
        assert max(at["model.txt"], at["curve.npy"]) < at["fitted.json"] < at["valid.npy"]
        assert max(at["valid.npy"], at["test.npy"]) < at["done.json"]
    assert short[-4:] == ["oof.npy", "test.npy", "meta.json", f"{MANIFESTS}/lgb-0001.json"]


def test_models_that_are_dropped_leave_the_mirror(folder: Folder, url: str, tmp_path: Path) -> None:
    push(folder, url)
    MemberStore(folder).fold("lgb-0001", 0, 0).drop_model()
    push(folder, url)
    remote = Remote(url)
    assert remote.read(".foldsmith/members/lgb-0001/folds/0-0/model.txt") is None
    assert remote.read(".foldsmith/members/lgb-0001/folds/0-1/model.txt") is not None
    new = Folder(tmp_path / "new")
    pull(new, url)
    assert contents(new) == contents(folder)


class Cut(Exception):
    """The network ends here."""


def cut_after(monkeypatch: pytest.MonkeyPatch, n_changes: int) -> None:
    """Let so many files change, then leave half of the next one under its name."""
    left = [n_changes]

    def appear(self: Remote, name: str, write: Callable[[str], None]) -> None:
        left[0] -= 1
        target = self._path(name)
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        write(target)
        if left[0] < 0:
            data = self._fs.cat_file(target)
            self._fs.pipe_file(target, data[: len(data) // 2])
            raise Cut

    monkeypatch.setattr(Remote, "_appear", appear)


@pytest.mark.parametrize("n_changes", range(16))
def test_a_torn_first_upload_is_never_taken_for_whole(
    folder: Folder, url: str, n_changes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut_after(patch, n_changes)
        with pytest.raises(Cut):
            push(folder, url)
    new = Folder(tmp_path / "new")
    pulled = pull(new, url)
    assert pulled.fetched == [] and pulled.torn == ["lgb-0001"]
    assert MemberStore(new).all() == []
    push(folder, url)  # goes on
    assert pull(new, url).fetched == ["lgb-0001", "xgb-0001"]
    assert contents(new) == contents(folder)


@pytest.mark.parametrize("n_changes", range(4))
def test_a_torn_second_upload_is_never_taken_for_whole(
    folder: Folder, url: str, n_changes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some files are of the first upload, some of the second."""
    push(folder, url)
    store = MemberStore(folder)
    changed = replace(store.get("lgb-0001"), test_fingerprint="new")
    store.finish(changed, np.zeros((6, 1), np.float32), np.zeros((3, 1), np.float32))
    with monkeypatch.context() as patch:
        cut_after(patch, n_changes)
        with pytest.raises(Cut):
            push(folder, url)
    new = Folder(tmp_path / "new")
    assert (pull(new, url).fetched, pull(new, url).torn) == (["xgb-0001"], ["lgb-0001"])
    push(folder, url)
    pull(new, url)
    assert contents(new) == contents(folder)


def test_a_killed_upload(folder: Folder, tmp_path: Path) -> None:
    """A process that is really killed, in the middle of a file."""
    url = f"file://{tmp_path}/there"
    code = """
import os, signal, sys
from pathlib import Path
from foldsmith.problem.files import file_digest
from foldsmith.problem.folder import Folder
from foldsmith.results.mirror import Mirror, PushReport
from foldsmith.results.remote import Remote
remote = Remote(sys.argv[2])
n_left = 7
def put_file(source, target):
    global n_left
    n_left -= 1
    data = Path(source).read_bytes()
    Path(target).write_bytes(data if n_left else data[: len(data) // 2])
    if not n_left:
        os.kill(os.getpid(), signal.SIGKILL)
remote._fs.put_file = put_file
Mirror(Folder(Path(sys.argv[1])), remote).push_member("lgb-0001", PushReport())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(folder.root), url]
    assert subprocess.run(command, env=environment, check=False, timeout=900).returncode == -signal.SIGKILL
    new = Folder(tmp_path / "new")
    assert pull(new, url).torn == ["lgb-0001"] and MemberStore(new).all() == []
    push(folder, url)
    assert pull(new, url).fetched == ["lgb-0001", "xgb-0001"]
    assert contents(new) == contents(folder)


@pytest.mark.parametrize("name", ["oof.npy", "meta.json", "folds/0-1/model.txt", "folds/0-0/done.json"])
def test_a_harmed_file_on_the_mirror_is_seen(folder: Folder, url: str, name: str, tmp_path: Path) -> None:
    push(folder, url)
    remote, path = Remote(url), f".foldsmith/members/lgb-0001/{name}"
    data = remote.read(path) or b""
    remote.put_bytes(data[:-1] + bytes([data[-1] ^ 1]), path)
    new = Folder(tmp_path / "new")
    pulled = pull(new, url)
    assert (pulled.torn, pulled.fetched) == (["lgb-0001"], ["xgb-0001"])
    assert not MemberStore(new).path("lgb-0001").exists()
    assert not list(new.state.glob("*.tmp"))


def test_a_fold_that_is_whole_here_stays(folder: Folder, url: str, tmp_path: Path) -> None:
    """The mirror has the member as it was with one fold done; here both are."""
    running = add_member(folder, "mlp", state="running", n_done=1)
    push(folder, url)
    new = Folder(tmp_path / "new")
    shutil.copytree(folder.root, new.root)
    MemberStore(new).fold(running.id, 0, 1).save_done(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32), {})
    before = contents(new)
    assert running.id in pull(new, url).kept
    assert contents(new) == before


def test_a_running_member_is_completed(folder: Folder, url: str, tmp_path: Path) -> None:
    running = add_member(folder, "mlp", state="running", n_done=0)
    new = Folder(tmp_path / "new")
    shutil.copytree(folder.root, new.root)
    shutil.rmtree(MemberStore(new).fold(running.id, 0, 1).path)
    whole = MemberStore(new).fold(running.id, 0, 0).path / "model.txt"
    inode = whole.stat().st_ino
    ones = np.ones((3, 1), np.float32)
    for fold in range(2):
        MemberStore(folder).fold(running.id, 0, fold).save_done(ones, ones, {"round": 2})
    scores = Scores(0.5, 0.5, 0.1, (0.4, 0.6), 0.5)
    MemberStore(folder).finish(replace(running, scores=scores), np.ones((6, 1), np.float32), ones)
    push(folder, url)
    assert pull(new, url).fetched == [running.id]
    assert_whole(new, running.id)
    assert MemberStore(new).get(running.id).state == "complete"
    assert whole.stat().st_ino != inode  # the fold of the later stage came as a whole
    assert contents(new) == contents(folder)


def test_a_harmed_fold_here_is_healed(folder: Folder, url: str) -> None:
    push(folder, url)
    before = contents(folder)
    store = MemberStore(folder)
    (store.fold("lgb-0001", 0, 1).path / "model.txt").write_text("harmed")
    (store.path("xgb-0001") / "test.npy").unlink()
    assert pull(folder, url).fetched == ["lgb-0001", "xgb-0001"]
    assert contents(folder) == before


def test_predictions_of_another_test_file_stay(folder: Folder, url: str) -> None:
    push(folder, url)
    store = MemberStore(folder)
    store.write(replace(store.get("lgb-0001"), test_fingerprint="new"))
    store.fold("lgb-0001", 0, 0).forget_predictions()
    assert "lgb-0001" in pull(folder, url).kept
    assert store.fold("lgb-0001", 0, 0).state() == "fitted"


def test_two_members_with_one_id(folder: Folder, url: str, tmp_path: Path) -> None:
    push(folder, url)
    other = Folder(tmp_path / "other")
    add_member(other, params={"x": 2}, created="2026-02-02")
    before = contents(other)
    assert pull(other, url).conflicts == ["lgb-0001"]
    assert all(contents(other)[name] == data for name, data in before.items())
    with pytest.raises(ContractError, match="holds another member lgb-0001: two searches write to it"):
        Mirror(other, Remote(url)).push_member("lgb-0001", PushReport())


def test_the_journal_of_another_search_is_not_replaced(folder: Folder, url: str, tmp_path: Path) -> None:
    push(folder, url)
    other = Folder(tmp_path / "other")
    other.state.mkdir(parents=True)
    other.journal.write_bytes(b'{"op": 7}\n{"op": 8}\n{"op": 9}\n')
    with pytest.raises(ContractError, match="holds the journal of another search"):
        Mirror(other, Remote(url)).push_journal(PushReport())
    assert pull(other, url).journal == "diverged"
    assert other.journal.read_bytes().startswith(b'{"op": 7}')


def test_the_journal_only_grows(folder: Folder, url: str, tmp_path: Path) -> None:
    new = Folder(tmp_path / "new")
    push(folder, url)
    pull(new, url)
    new.journal.write_bytes(new.journal.read_bytes() + b'{"op": 3}\n')
    assert pull(new, url).journal == "kept"
    push(new, url)
    assert pull(folder, url).journal == "fetched"
    assert folder.journal.read_bytes() == new.journal.read_bytes()
    # cut off between the journal and its manifest: what the manifest vouches for is still there
    Remote(url).put_bytes(new.journal.read_bytes() + b'{"op": 4}\n{"op', ".foldsmith/study.journal")
    assert pull(new, url).journal == "kept" and pull(folder, url).journal == "kept"


def test_files_that_are_here_are_not_replaced(folder: Folder, url: str, tmp_path: Path) -> None:
    push(folder, url)
    new = Folder(tmp_path / "new")
    new.root.mkdir()
    new.config.write_text("# mine\n")
    pull(new, url)
    assert new.config.read_text() == "# mine\n"
    assert (new.code / "deep" / "mine.py").read_text() == "x = 1\n"
    assert not new.store.exists()


@pytest.mark.parametrize("name", ["../../evil", ".foldsmith/members/lgb-0001/../../evil", "/etc/evil", "a//b"])
def test_names_cannot_leave_the_folder(folder: Folder, url: str, name: str, tmp_path: Path) -> None:
    push(folder, url)
    remote = Remote(url)
    for manifest in (f"{MANIFESTS}/lgb-0001.json", ".foldsmith/mirror/shared.json"):
        record = json.loads(remote.read(manifest) or b"")
        record["files"][name] = {"bytes": 1, "blake2b": "0"}
        remote.put_bytes(json.dumps(record).encode(), manifest)
    new = Folder(tmp_path / "new")
    assert pull(new, url).torn == ["lgb-0001"]
    assert not new.config.exists()
    assert not list(tmp_path.rglob("evil"))


def test_status_counts_both_sides(folder: Folder, url: str, tmp_path: Path) -> None:
    new = Folder(tmp_path / "new")
    shutil.copytree(folder.root, new.root)
    shutil.rmtree(MemberStore(new).path("lgb-0001"))
    add_member(new, "mlp")
    push(folder, url)
    Remote(url).remove(f"{MANIFESTS}/xgb-0001.json")
    new.journal.write_bytes(new.journal.read_bytes() + b'{"op": 3}\n')
    found = Mirror(new, Remote(url)).status()
    assert (found.same, found.behind, found.only_there) == ([], ["mlp-0001", "xgb-0001"], ["lgb-0001"])
    assert (found.torn, found.journal_behind_bytes) == (["xgb-0001"], 10)
    push(new, url)
    assert Mirror(new, Remote(url)).status().same == ["mlp-0001", "xgb-0001"]


def test_arrays_are_not_read_again_while_their_record_is_the_same(
    folder: Folder, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(folder, url)
    read: list[str] = []

    def note(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr("foldsmith.results.mirror.file_digest", note)
    assert push(folder, url) == PushReport()
    assert "meta.json" in read and "oof.npy" not in read and "model.txt" not in read
    store = MemberStore(folder)
    store.finish(replace(store.get("lgb-0001"), seconds=3.0), np.zeros((6, 1), np.float32), np.ones((3, 1), np.float32))
    assert push(folder, url).n_files == 2  # oof.npy and meta.json
    assert "oof.npy" in read
