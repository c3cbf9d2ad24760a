"""The member store: ids that nobody else gets, records that are read as they were written."""

import multiprocessing
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import Member, MemberStore


def a_member(member_id: str, **facts: Any) -> Member:
    known: dict[str, Any] = {
        "kind": "trial",
        "state": "running",
        "contract": "c",
        "family": "lightgbm",
        "metric": "auc",
    }
    return Member(member_id, **{**known, **facts})


@pytest.fixture
def store(tmp_path: Path) -> MemberStore:
    return MemberStore(Folder(tmp_path))


def test_ids_count_up_by_prefix(store: MemberStore) -> None:
    assert [store.reserve("lgb") for _ in range(2)] == ["lgb-0001", "lgb-0002"]
    assert store.reserve("xgb") == "xgb-0001"
    assert [store.reserve("b") for _ in range(2)] == ["b01", "b02"]
    store.path("lgb-0041").mkdir()
    store.path("lgb-old").mkdir()
    store.path("b_top20").mkdir()
    assert store.reserve("lgb") == "lgb-0042"
    assert store.reserve("b") == "b03"


def test_ids_go_on_beyond_their_digits(store: MemberStore) -> None:
    store.reserve("lgb")
    for name in ("lgb-9999", "b99"):
        store.path(name).mkdir()
    assert store.reserve("lgb") == "lgb-10000"
    assert store.reserve("lgb") == "lgb-10001"
    assert store.reserve("b") == "b100"


def test_a_removed_id_in_the_middle_is_not_given_again(store: MemberStore) -> None:
    for _ in range(3):
        store.reserve("lgb")
    store.path("lgb-0002").rmdir()
    assert store.reserve("lgb") == "lgb-0004"


def test_eight_threads_reserve_different_ids(tmp_path: Path) -> None:
    def reserve(_: int) -> list[str]:
        store = MemberStore(Folder(tmp_path))
        return [store.reserve("lgb") for _ in range(10)] + [store.reserve("b") for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        ids = [member for part in pool.map(reserve, range(8)) for member in part]
    assert len(set(ids)) == len(ids) == 120
    assert {member for member in ids if member.startswith("lgb")} == {f"lgb-{n:04d}" for n in range(1, 81)}


def reserve_twenty(root: Path) -> list[str]:
    store = MemberStore(Folder(root))
    return [store.reserve("lgb") for _ in range(20)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_eight_processes_reserve_different_ids(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        ids = [member for part in pool.map(reserve_twenty, [tmp_path] * 8, chunksize=1) for member in part]
    assert len(set(ids)) == len(ids) == 160


def test_round_trip(store: MemberStore) -> None:
    scores = Scores(0.8, 0.8, 0.01, (0.79, 0.81), 0.8)
    member = a_member(
        store.reserve("lgb"),
        params={"rate": 0.1, "leaves": 31},
        scores=scores,
        seeds={"model": 1},
        error={"reason": "oom", "message": "ä", "tail": ""},
        details={"rounds": [3, 4]},
    )
    store.write(member)
    assert store.get(member.id) == member
    assert MemberStore(Folder(store.path("x").parents[2])).get(member.id) == member


def test_a_record_of_a_later_version_is_read_without_its_new_keys() -> None:
    record = {**a_member("lgb-0001").to_json(), "colour": "blue"}
    assert Member.from_json(record) == a_member("lgb-0001")


def test_finish_writes_arrays_before_the_record(store: MemberStore, monkeypatch: pytest.MonkeyPatch) -> None:
    member = a_member(store.reserve("lgb"))
    oof, test = np.array([[0.5], [np.nan]]), np.array([[0.25]])
    order: list[str] = []
    write = store.write

    def spy(member: Member) -> None:
        order.extend(sorted(path.name for path in store.path(member.id).iterdir()))
        write(member)

    monkeypatch.setattr(store, "write", spy)
    store.finish(member, oof.astype(np.float32), test.astype(np.float32))
    assert order == ["oof.npy", "test.npy"]
    assert store.get(member.id).state == "complete"
    np.testing.assert_array_equal(store.oof(member.id), oof)
    np.testing.assert_array_equal(store.test(member.id), test)
    assert store.oof(member.id).dtype == np.float32


def test_every_change_is_seen_at_once(store: MemberStore) -> None:
    """File times are coarser than two writes in a row."""
    member = a_member(store.reserve("lgb"))
    reader = MemberStore(Folder(store.path("x").parents[2]))
    for number in range(20):
        store.write(replace(member, details={"n": number % 10}))
        os.utime(store.path(member.id) / "meta.json", ns=(1, 1))
        assert reader.get(member.id).details == store.get(member.id).details == {"n": number % 10}


def test_an_unchanged_record_is_read_once(store: MemberStore, monkeypatch: pytest.MonkeyPatch) -> None:
    member = a_member(store.reserve("lgb"))
    store.write(member)
    first = store.get(member.id)
    monkeypatch.setattr(Member, "from_json", None)
    assert store.get(member.id) is first


def test_filters(store: MemberStore) -> None:
    for number, (contract, state) in enumerate(
        [("c", "complete"), ("d", "complete"), ("c", "failed"), ("c", "running")], start=1
    ):
        member = store.reserve("lgb")
        store.write(a_member(member, contract=contract, state=state))
        assert member == f"lgb-{number:04d}"
    store.reserve("lgb")  # reserved and never written: not a member yet
    assert [member.id for member in store.all()] == [f"lgb-{n:04d}" for n in range(1, 5)]
    assert [member.id for member in store.all(contract="c")] == ["lgb-0001", "lgb-0003", "lgb-0004"]
    assert [member.id for member in store.all(contract="c", states=["complete", "failed"])] == ["lgb-0001", "lgb-0003"]


def test_nothing_stored(store: MemberStore) -> None:
    assert store.all() == []
    with pytest.raises(UnknownNameError, match="unknown member 'b01'; known: "):
        store.get("b01")


def test_an_unknown_member_suggests_the_nearest(store: MemberStore) -> None:
    for prefix in ("lgb", "lin"):
        store.write(a_member(store.reserve(prefix)))
    with pytest.raises(
        UnknownNameError, match="unknown member 'lgb-1'; did you mean 'lgb-0001'.* known: lgb-0001, lin"
    ):
        store.get("lgb-1")


@pytest.mark.parametrize("name", ["", ".", "..", "../members/lgb-0001", "lgb-0001/", "/etc"])
def test_a_path_is_no_member(store: MemberStore, name: str) -> None:
    store.write(a_member(store.reserve("lgb")))
    with pytest.raises(UnknownNameError, match="unknown member " + re.escape(repr(name))):
        store.get(name)


def test_a_harmed_record_is_named(store: MemberStore) -> None:
    member = store.reserve("lgb")
    store.write(a_member(member))
    (store.path(member) / "meta.json").write_text("{")
    with pytest.raises(InputError, match=r"lgb-0001/meta\.json is not valid JSON"):
        store.get(member)


def test_folds_lie_under_their_member(store: MemberStore) -> None:
    assert store.fold("lgb-0001", 0, 3).path == store.path("lgb-0001") / "folds" / "0-3"
