"""``repair`` mends the studies' journal and keeps every member; a journal that is gone is made again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.journal import open_journal
from foldsmith.search.locks import FolderLock

Foldsmith = Callable[..., Any]
SEARCH = ("search", "lightgbm", "linear", "knn", "--trials", 3, "--executor", "inline")


@pytest.fixture
def journal(searched: Path) -> Path:
    """Of a finished search with three members."""
    return Folder(searched).journal


def _fits(searched: Path) -> list[str]:
    return (Folder(searched).logs / "fits.log").read_text().splitlines()


def _lines(journal: Path) -> list[bytes]:
    return journal.read_bytes().splitlines(keepends=True)


def _trials(journal: Path) -> dict[str, list[tuple[str, str, float | None]]]:
    """By study: state, member and value of each trial that counts."""
    storage = open_journal(journal)
    found = {}
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        found[name.split("/")[1]] = [
            (trial.state.name, trial.user_attrs["member"], trial.value)
            for trial in trials
            if "member" in trial.user_attrs
        ]
    return found


def _place(journal: Path, words: bytes) -> int:
    return next(place for place, line in enumerate(_lines(journal)) if words in line)


def _garbage(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], b'{"op_code": 7, gar\xffbage\n', *lines[place + 1 :]]


def _half(lines: list[bytes], place: int) -> list[bytes]:
    """A line that ends in the middle, with the next one right behind it."""
    return [*lines[:place], lines[place][: len(lines[place]) // 2], *lines[place + 1 :]]


def _blank(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], b"\0" * 200 + b"\n", *lines[place:]]


def _inserted(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], b"[1, 2]\n", *lines[place:]]


def _without(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], *lines[place + 1 :]]


@pytest.mark.parametrize("damage", [_garbage, _half, _blank, _inserted])
@pytest.mark.parametrize(
    "words", [b'"op_code":0', b'"op_code":4', b'"op_code":5', b'"op_code":6', b'"member"', b'"op_code":9']
)
def test_a_damaged_line_is_named_and_moved_aside(
    foldsmith: Foldsmith, searched: Path, journal: Path, damage: Callable[[list[bytes], int], list[bytes]], words: bytes
) -> None:
    before, fits = _trials(journal), _fits(searched)
    place = _place(journal, words)
    content = b"".join(damage(_lines(journal), place))
    journal.write_bytes(content)

    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 2
    assert re.search(rf"error: {re.escape(str(journal))}, line {place + 1}: it .*; 'foldsmith repair' ", outcome.err)
    assert "Traceback" not in outcome.err and journal.read_bytes() == content

    mended = foldsmith("-C", searched, "repair", "--json")
    assert mended.code == 0, mended.err
    told = json.loads(mended.out)
    assert str(place + 1) in told["bad_lines"] and told["n_members"] == 4 and not told["damaged"]
    assert Path(told["kept_as"]).read_bytes() == content

    after = _trials(journal)
    assert {family: sorted(trials) for family, trials in after.items()} == before
    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 0, outcome.err
    assert _fits(searched) == fits, "a fold was fitted again"
    assert json.loads(foldsmith("-C", searched, "repair", "--json").out)["bad_lines"] == {}


@pytest.mark.parametrize("words", [b'"op_code":0', b'"op_code":4'])
def test_lost_lines_do_not_give_trials_to_others(
    foldsmith: Foldsmith, searched: Path, journal: Path, words: bytes
) -> None:
    """A line that made a study or a trial is gone without a trace: all later ones would speak of the wrong one."""
    before, fits = _trials(journal), _fits(searched)
    journal.write_bytes(b"".join(_without(_lines(journal), _place(journal, words))))
    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 2 and re.search(r"line \d+: it speaks of (study|trial) \d+, which no line", outcome.err)
    assert foldsmith("-C", searched, "repair").code == 0
    assert {family: sorted(trials) for family, trials in _trials(journal).items()} == before
    assert foldsmith("-C", searched, *SEARCH).code == 0
    assert _fits(searched) == fits


def test_a_bad_last_line(foldsmith: Foldsmith, searched: Path, journal: Path) -> None:
    """Optuna would pass over it, write behind it, and fail at the next reading."""
    with open(journal, "ab") as file:
        file.write(b'{"op_code": 5, "wor\n')
    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 2 and f"line {len(_lines(journal))}: it is not valid JSON" in outcome.err
    assert foldsmith("-C", searched, "repair").code == 0
    assert foldsmith("-C", searched, *SEARCH).code == 0


@pytest.mark.parametrize("is_deleted", [True, False])
@pytest.mark.parametrize(
    "words", [SEARCH, ("resume",), ("run", "--families", "lightgbm,linear,knn", "--trials", 3, "--executor", "inline")]
)
def test_members_without_a_journal_are_adopted(
    foldsmith: Foldsmith, searched: Path, journal: Path, words: tuple[object, ...], is_deleted: bool
) -> None:
    before, fits = _trials(journal), _fits(searched)
    journal.unlink() if is_deleted else journal.write_bytes(b"")
    outcome = foldsmith("-C", searched, *words)
    assert outcome.code == 0, outcome.err
    assert "3 members lie here that the study's journal did not know" in outcome.err.replace("\n", " ")
    assert _fits(searched) == fits, "a fold was fitted again"
    assert _trials(journal) == before
    trials = [member.id for member in MemberStore(Folder(searched)).all() if member.kind == "trial"]
    assert trials == ["knn-0001", "lgb-0001", "lin-0001"]


def test_a_search_goes_on_from_adopted_members(foldsmith: Foldsmith, searched: Path, journal: Path) -> None:
    """New trials come behind the old ones, and are told apart from them."""
    journal.unlink()
    outcome = foldsmith("-C", searched, "search", "linear", "--trials", 3, "--executor", "inline")
    assert outcome.code == 0, outcome.err
    members = MemberStore(Folder(searched))
    mine = [member for member in members.all() if member.family == "linear"]
    assert [member.id for member in mine] == ["lin-0001", "lin-0002", "lin-0003"]
    assert [member.details["trial_number"] for member in mine] == [0, 1, 2]
    assert len({json.dumps(member.params, sort_keys=True) for member in mine}) == 3


def test_a_half_fitted_member_goes_on(foldsmith: Foldsmith, searched: Path, journal: Path) -> None:
    """Its journal is gone; of its two folds one is fitted again, the other is not."""
    path = Folder(searched).members / "lin-0001"
    record = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**record, "state": "running", "scores": None}))
    (path / "folds" / "0-1" / "fitted.json").unlink()
    journal.unlink()
    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 0, outcome.err
    assert _fits(searched).count("lin-0001 0 0") == 1 and _fits(searched).count("lin-0001 0 1") == 2
    assert MemberStore(Folder(searched)).get("lin-0001").state == "complete"


@pytest.mark.parametrize("name", ["oof.npy", "test.npy"])
def test_predictions_are_put_together_from_the_folds(foldsmith: Foldsmith, searched: Path, name: str) -> None:
    path = Folder(searched).members / "lgb-0001" / name
    whole = np.load(path)
    path.write_bytes(b"")
    outcome = foldsmith("-C", searched, "repair")
    assert outcome.code == 0 and "lgb-0001" in outcome.out
    np.testing.assert_array_equal(np.load(path), whole)
    assert foldsmith("-C", searched, "check", "--deep").code == 0


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]"])
def test_the_folder_gets_its_name_back(foldsmith: Foldsmith, searched: Path, content: bytes) -> None:
    """Under another name its own trials would be another folder's, and be fitted anew."""
    path, fits = Folder(searched).store, _fits(searched)
    name = json.loads(path.read_text())["id"]
    path.write_bytes(content)
    outcome = foldsmith("-C", searched, *SEARCH)
    assert outcome.code == 2 and "store.json does not name this folder any more; 'foldsmith repair'" in outcome.err
    assert foldsmith("-C", searched, "repair").code == 0
    assert json.loads(path.read_text())["id"] == name
    assert foldsmith("-C", searched, *SEARCH).code == 0
    assert _fits(searched) == fits


def test_what_cannot_be_mended_is_named(foldsmith: Foldsmith, searched: Path) -> None:
    members = Folder(searched).members
    (members / "knn-0001" / "oof.npy").write_bytes(b"")
    (members / "knn-0001" / "folds" / "0-0" / "valid.npy").write_bytes(b"")
    (members / "lin-0001" / "meta.json").write_bytes(b"")
    outcome = foldsmith("-C", searched, "repair", "--json")
    assert outcome.code == 1
    assert set(json.loads(outcome.out)["damaged"]) == {"knn-0001", "lin-0001"}


def test_nothing_to_mend(foldsmith: Foldsmith, searched: Path, journal: Path) -> None:
    before = _trials(journal)
    outcome = foldsmith("-C", searched, "repair")
    assert outcome.code == 0
    assert "all of its" in outcome.out and "4 complete ones are kept" in outcome.out
    assert _trials(journal) == before and not list(journal.parent.glob("*.damaged-*"))


def test_no_repair_beside_a_search(foldsmith: Foldsmith, searched: Path) -> None:
    lock = FolderLock(Folder(searched).driver_lock)
    assert lock.acquire()
    with lock:
        outcome = foldsmith("-C", searched, "repair")
    assert outcome.code == 3 and "another foldsmith" in outcome.err
