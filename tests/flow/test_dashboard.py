"""The dashboard shows what a search writes, and changes nothing."""

import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from foldsmith.flow.dashboard import _Pictures, make_dashboard
from foldsmith.problem.errors import ContractError, InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.journal import open_journal
from foldsmith.search.notes import describe_trial


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of one study with two trials."""
    journal = tmp_path / ".foldsmith/study.journal"
    study = optuna.create_study(storage=open_journal(journal), study_name="c0ffee/linear", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("C", 0, 1), n_trials=2)
    return journal


@pytest.fixture
def address(journal: Path) -> Iterator[str]:
    """Where the dashboard answers."""
    with make_dashboard(journal, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, method: str = "GET", body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Status and body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def study_names(address: str) -> list[str]:
    """The studies that the dashboard lists."""
    code, body = ask(f"{address}/api/studies")
    assert code == 200
    return sorted(study["study_name"] for study in json.loads(body)["study_summaries"])


def n_trials(address: str) -> int:
    """Trials of the first study."""
    code, body = ask(f"{address}/api/studies/0?after=0")
    assert code == 200
    return len(json.loads(body)["trials"])


def test_it_serves_its_page(address: str) -> None:
    code, body = ask(f"{address}/dashboard/")
    assert code == 200
    assert b"<!DOCTYPE html>" in body or b"<!doctype html>" in body
    assert ask(f"{address}/dashboard/", "HEAD") == (200, b"")


def test_it_shows_what_a_writer_appends(journal: Path, address: str) -> None:
    assert study_names(address) == ["c0ffee/linear"]
    assert n_trials(address) == 2
    storage = open_journal(journal)
    study = optuna.load_study(study_name="c0ffee/linear", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("C", 0, 1), n_trials=3)
    optuna.create_study(storage=storage, study_name="c0ffee/knn")
    assert study_names(address) == ["c0ffee/knn", "c0ffee/linear"]
    give_up = time.monotonic() + 600
    while n_trials(address) == 2:  # it keeps trials for some seconds
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert n_trials(address) == 5


def test_a_line_that_is_half_written_waits_for_its_end(journal: Path, address: str) -> None:
    whole = journal.read_bytes()
    optuna.create_study(storage=open_journal(journal), study_name="c0ffee/knn")
    added = journal.read_bytes()
    journal.write_bytes(added[: len(whole) + 9])
    assert study_names(address) == ["c0ffee/linear"]
    journal.write_bytes(added)
    assert study_names(address) == ["c0ffee/knn", "c0ffee/linear"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/studies", {"study_name": "new", "directions": ["minimize"]}),
        ("POST", "/api/studies/0/rename", {"study_name": "new"}),
        ("PUT", "/api/studies/0/note", {"body": "hello", "version": 1}),
        ("PUT", "/api/studies/0/0/note", {"body": "hello", "version": 1}),
        ("DELETE", "/api/studies/0", None),
        ("PATCH", "/api/studies/0", {}),
        ("POST", "/api/artifacts/0/0", {"file": "data:text/plain;base64,aGVsbG8=", "filename": "new.txt"}),
        ("DELETE", "/api/artifacts/0/0/abc", None),
    ],
)
def test_it_refuses_every_change(journal: Path, address: str, method: str, path: str, body: dict[str, Any]) -> None:
    before = journal.read_bytes()
    code, answer = ask(address + path, method, body)
    assert code == 405
    assert b"this dashboard only reads" in answer
    assert journal.read_bytes() == before
    assert study_names(address) == ["c0ffee/linear"]


def test_it_shows_a_trials_note_and_its_picture(journal: Path, address: str) -> None:
    study = optuna.load_study(study_name="c0ffee/linear", storage=open_journal(journal))
    trial = study.ask()
    member = Member("lin-0001", "trial", "pruned", "c0ffee", "linear", "auc", params={"C": 0.5})
    store = MemberStore(Folder(journal.parents[1]))
    store.path(member.id).mkdir(parents=True)
    describe_trial(study, trial, member, store)
    study.tell(trial, 0.5)
    code, body = ask(f"{address}/api/studies/0?after=0")
    shown = json.loads(body)["trials"][2]
    assert code == 200 and shown["note"]["body"].startswith("**`lin-0001`** · `linear` · pruned")
    (artifact,) = shown["artifacts"]
    path = f"/artifacts/0/{trial._trial_id}/{artifact['artifact_id']}"
    assert f"![folds of lin-0001]({path})" in shown["note"]["body"]
    code, picture = ask(address + path)
    assert code == 200 and picture.startswith(b"<svg") and b"lin-0001" in picture
    (journal.parent / "artifacts" / artifact["artifact_id"]).unlink()
    assert ask(address + path)[0] == 200  # a lost picture is an empty one
    assert ask(f"{address}/artifacts/0/{trial._trial_id}/{'0' * 8}")[0] == 404


def test_pictures_cannot_be_changed(journal: Path) -> None:
    pictures = _Pictures(journal)
    with pytest.raises(ContractError, match="artifact abc is not written"):
        pictures.write("abc", io.BytesIO(b""))
    with pytest.raises(ContractError, match="artifact abc is not removed"):
        pictures.remove("abc")


def test_nothing_was_searched_yet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no study in {tmp_path} yet; start a search first"):
        make_dashboard(tmp_path / ".foldsmith/study.journal", 0)


def test_a_port_that_is_taken(journal: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} cannot be used \(.*\); choose another with --port"):
            make_dashboard(journal, port)
