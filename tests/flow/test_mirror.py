"""The mirror beside a search: it keeps up, it retries, and whatever it meets, the search never notices."""

import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.flow import mirror as mirror_module
from foldsmith.flow.mirror import SearchMirror, mirror_url, pull, push, status
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import ContractError, FoldsmithError, InputError, MissingPackageError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.remote import ChangedError, Remote
from foldsmith.search.locks import FolderLock

AddMember = Callable[..., Member]


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    """A problem with frozen folds and a journal."""
    problem = make_problem()
    problem.folder.journal.write_bytes(b'{"op": 1}\n')
    return problem


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"memory://{uuid.uuid4().hex}/titanic"


def add(add_member: AddMember, problem: Problem, prefix: str = "lin") -> str:
    return add_member(problem, np.linspace(0, 1, len(problem.data.y)), prefix=prefix).id


def there(url: str) -> list[str]:
    """Members with a manifest."""
    return [name.removesuffix(".json") for name in Remote(url).names(".foldsmith/mirror/members")]


def is_there(url: str, n_members: int) -> bool:
    return len(there(url)) == n_members


def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


class Network:
    """Fails while ``is_down``, waits while ``is_slow``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_down = False
        self.n_failed = 0
        self.open = threading.Event()
        self.open.set()
        appear = Remote._appear

        def upload(remote: Remote, name: str, write: Any) -> None:
            self.open.wait(30)
            if self.is_down:
                self.n_failed += 1
                raise ConnectionError("no route")
            appear(remote, name, write)

        monkeypatch.setattr(Remote, "_appear", upload)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def test_members_go_there_while_the_search_runs(problem: Problem, add_member: AddMember, url: str) -> None:
    mirror = SearchMirror(problem.folder, url)
    mirror.start()
    first = add(add_member, problem)
    mirror.notice(first)
    until(lambda: there(url) == [first] and Remote(url).read(".foldsmith/study.journal"))
    second = add(add_member, problem, "knn")
    problem.folder.journal.write_bytes(b'{"op": 1}\n{"op": 2}\n')
    mirror.finish(30)  # finds what nobody spoke of
    assert mirror.warning is None
    assert there(url) == [second, first]
    assert Remote(url).read(".foldsmith/study.journal") == b'{"op": 1}\n{"op": 2}\n'
    assert Remote(url).read("foldsmith.toml") == problem.folder.config.read_bytes()


def test_the_journal_goes_there_now_and_then(problem: Problem, add_member: AddMember, url: str) -> None:
    mirror = SearchMirror(problem.folder, url, journal_seconds=1000)
    mirror.start()
    member = add(add_member, problem)
    mirror.notice(member)
    until(lambda: Remote(url).read(".foldsmith/mirror/journal.json"))
    problem.folder.journal.write_bytes(b'{"op": 1}\n{"op": 2}\n')
    for n_there, prefix in ((2, "knn"), (3, "mlp")):
        mirror.notice(add(add_member, problem, prefix))
        until(partial(is_there, url, n_there))
    assert Remote(url).read(".foldsmith/study.journal") == b'{"op": 1}\n'  # a minute has not gone by
    mirror.finish(30)
    assert Remote(url).read(".foldsmith/study.journal") == b'{"op": 1}\n{"op": 2}\n'


def test_a_failure_that_passes_is_no_warning(
    problem: Problem, add_member: AddMember, url: str, network: Network
) -> None:
    network.is_down = True
    mirror = SearchMirror(problem.folder, url, waits=(0.01,) * 3)
    mirror.start()
    member = add(add_member, problem)
    mirror.notice(member)
    until(lambda: network.n_failed >= 4)
    network.is_down = False
    mirror.finish(30)
    assert mirror.warning is None and there(url) == [member]


def test_a_failure_that_stays_is_one_warning(
    problem: Problem, add_member: AddMember, url: str, network: Network, capfd: pytest.CaptureFixture[str]
) -> None:
    network.is_down = True
    mirror = SearchMirror(problem.folder, url, waits=(0.01,))
    mirror.start()
    for _ in range(3):
        mirror.notice(add(add_member, problem))
    mirror.finish(30)
    assert mirror.warning is not None
    assert mirror.warning.startswith("the mirror is behind: 5 uploads failed (lin-0001, lin-0002, lin-0003)")
    assert mirror.warning.endswith("ConnectionError: no route; run 'foldsmith mirror push'")
    assert capfd.readouterr().err == ""
    network.is_down = False
    assert push(problem.folder, url).members == ["lin-0001", "lin-0002", "lin-0003"]


def test_finish_waits_no_longer_than_it_may(
    problem: Problem, add_member: AddMember, url: str, network: Network
) -> None:
    network.open.clear()
    mirror = SearchMirror(problem.folder, url)
    mirror.start()
    mirror.notice(add(add_member, problem))
    mirror.finish(0.2)  # the network does not answer: to wait for it would be to wait for ever
    assert mirror.warning == (
        "the mirror is behind: not everything was uploaded within 0.2 s; run 'foldsmith mirror push'"
    )
    network.open.set()


def test_notice_never_waits(
    problem: Problem, add_member: AddMember, url: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue is caught up with at the end."""
    monkeypatch.setattr(mirror_module, "MAX_WAITING", 2)
    network.open.clear()
    mirror = SearchMirror(problem.folder, url)
    mirror.start()
    members = [add(add_member, problem) for _ in range(6)]
    for member in members:
        mirror.notice(member)  # the network does not answer: to wait for it would be to wait for ever
    threading.Timer(0.1, network.open.set).start()
    mirror.finish(600)
    assert mirror.warning is None and there(url) == members


def test_the_mirror_of_another_search_is_left_alone(problem: Problem, add_member: AddMember, url: str) -> None:
    Remote(url).put_bytes(b'{"format": 1, "bytes": 9, "blake2b": "0"}', ".foldsmith/mirror/journal.json")
    mirror = SearchMirror(problem.folder, url)
    mirror.start()
    mirror.finish(30)
    assert mirror.warning is not None and "holds the journal of another search" in mirror.warning
    assert Remote(url).read(".foldsmith/study.journal") is None


def test_without_a_url_nothing_happens(problem: Problem) -> None:
    mirror = SearchMirror(problem.folder, None)
    mirror.start()
    mirror.notice("lin-0001")
    mirror.finish(1)
    assert mirror.warning is None


def test_a_missing_package_is_said_before_the_search(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingPackageError, match="needs the package s3fs; install it: pip install s3fs"):
        SearchMirror(problem.folder, "s3://bucket/titanic").start()


def test_the_config_names_the_mirror(problem: Problem, url: str) -> None:
    folder = problem.folder
    with pytest.raises(InputError, match=r"no mirror is named for .*; give its URL, or write mirror = \"s3://"):
        mirror_url(folder, None)
    text = folder.config.read_text()
    folder.config.write_text(text.replace("[store]", f'[store]\nmirror = "{url}"'))
    assert mirror_url(folder, None) == url and mirror_url(folder, "file:///x") == "file:///x"
    folder.config.write_text(text.replace("[store]", '[store]\nmirror = "bucket"'))
    with pytest.raises(InputError, match="store.mirror = 'bucket'"):
        mirror_url(folder, None)


def test_pull_needs_something_to_pull_and_no_driver(problem: Problem, url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing on the mirror memory://.*; check the address"):
        pull(Folder(tmp_path / "new"), url)
    assert not (tmp_path / "new").exists()
    push(problem.folder, url)
    with FolderLock(problem.folder.driver_lock), pytest.raises(ContractError, match="a search runs in .*, then pull"):
        pull(problem.folder, url)
    assert pull(problem.folder, url).journal == "kept"


def test_an_error_of_the_store_is_one_line(
    problem: Problem, add_member: AddMember, url: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "PUSH_WAITS", (0.0, 0.0))
    add(add_member, problem)
    network.is_down = True
    with pytest.raises(
        FoldsmithError, match=r"memory://.* cannot be used \(ConnectionError: no route\); check address"
    ):
        push(problem.folder, url)
    assert status(problem.folder, url).behind == ["lin-0001"]


def test_push_tries_again_what_a_search_replaced_meanwhile(
    problem: Problem, add_member: AddMember, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(add_member, problem)
    upload, refusals = Remote.put, [ChangedError("meta.json was replaced while it was uploaded")]

    def put(remote: Remote, path: Path, name: str) -> Any:
        if path.name == "meta.json" and refusals:
            raise refusals.pop()
        return upload(remote, path, name)

    monkeypatch.setattr(Remote, "put", put)
    assert push(problem.folder, url).members == ["lin-0001"]
    assert refusals == [] and status(problem.folder, url).same == ["lin-0001"]


def test_push_needs_a_competition(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="no foldsmith.toml in"):
        push(Folder(tmp_path), url)


def test_a_member_that_is_not_here_is_passed_over(problem: Problem, url: str) -> None:
    mirror = SearchMirror(problem.folder, url, waits=())
    mirror.start()
    mirror.notice("lin-0404")
    mirror.finish(30)
    assert mirror.warning is None and there(url) == []
    assert MemberStore(problem.folder).all() == []
