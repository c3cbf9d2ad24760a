"""The order of members."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.top import ranked, top_rows


def a_member(member_id: str, value: float | None, **facts: Any) -> Member:
    scores = None if value is None else Scores(value, value, 0.01, (value, value), value)
    known: dict[str, Any] = {"kind": "trial", "state": "complete", "contract": "c", "family": "linear", "metric": "x"}
    return Member(member_id, **{**known, "scores": scores, **facts})


def ids(members: list[Member]) -> str:
    return " ".join(member.id for member in members)


@pytest.mark.parametrize(("greater", "order"), [(True, "b c a d"), (False, "a b c d")])
def test_best_first_equal_ones_by_id_and_nan_last(greater: bool, order: str) -> None:
    members = [a_member("a", 0.1), a_member("b", 0.9), a_member("c", 0.9), a_member("d", math.nan)]
    for permuted in itertools.permutations(members):
        assert ids(ranked(permuted, greater_is_better=greater)) == order


@pytest.mark.parametrize("greater", [True, False])
def test_infinite_and_undefined_scores(greater: bool) -> None:
    members = [a_member("n", math.nan), a_member("p", math.inf), a_member("m", -math.inf), a_member("z", 0.0)]
    assert ids(ranked(members, greater_is_better=greater)) == ("p z m n" if greater else "m z p n")


def test_members_without_scores_are_left_out() -> None:
    assert ids(ranked([a_member("a", None), a_member("b", 1.0)], greater_is_better=True)) == "b"


@pytest.fixture
def store(tmp_path: Path) -> MemberStore:
    store = MemberStore(Folder(tmp_path))
    for member in (
        a_member("lin-0001", 0.7),
        a_member("lin-0002", 0.8, contract="old"),
        a_member("lin-0003", None, state="failed", error={"reason": "oom", "message": "too large", "tail": "…"}),
        a_member("lin-0004", None, state="running"),
        a_member("b01", 0.75, kind="blend", family="greedy", policy="nested"),
    ):
        store.path(member.id).mkdir(parents=True)
        store.write(member)
    return store


def test_rows(store: MemberStore) -> None:
    rows = top_rows(store, "c", greater_is_better=True)
    assert [(row.member, row.family, row.marks) for row in rows] == [
        ("b01", "blend greedy", "n"),
        ("lin-0001", "linear", ""),
    ]
    assert rows[0].folds == (0.75, 0.75) and rows[0].pooled == 0.75 and rows[0].sem == 0.01
    assert [row.member for row in top_rows(store, None, greater_is_better=True)] == ["lin-0002", "b01", "lin-0001"]


def test_failed(store: MemberStore) -> None:
    [row] = top_rows(store, "c", greater_is_better=True, failed=True)
    assert (row.member, row.state, row.value, row.folds) == ("lin-0003", "failed", None, ())
    record = json.loads(json.dumps(row.to_json(), allow_nan=False))
    assert (record["reason"], record["error"], record["tail"]) == ("oom", "too large", "…")
