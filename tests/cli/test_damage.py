"""A damaged file of the store is named, in one line; the member is left out, or the command ends; never a traceback."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Foldsmith = Callable[..., Any]
Damage = Callable[[Path], object]


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:128])


def _zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def _garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def _objects(path: Path) -> None:
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


def _several(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))


def _resaved(change: Callable[[Any], Any]) -> Damage:
    return lambda path: np.save(path, change(np.load(path)))


def _holes(array: Any) -> Any:
    changed = array.copy()
    changed[3] = np.inf
    return changed


ARRAYS: dict[str, Damage] = {
    "empty": _empty,
    "cut": _cut,
    "header only": _header_only,
    "zeros": _zeros,
    "garbage": _garbage,
    "missing": Path.unlink,
    "objects": _objects,
    "several": _several,
    "flat": _resaved(lambda array: array[:, 0]),
    "a row less": _resaved(lambda array: array[:-1]),
    "a column more": _resaved(lambda array: np.hstack([array, array])),
    "whole numbers": _resaved(lambda array: array.astype(np.int64)),
    "text": _resaved(lambda array: array.astype(str)),
    "nothing but nan": _resaved(lambda array: np.full_like(array, np.nan)),
    "one infinite row": _resaved(_holes),
}

RECORDS: dict[str, Damage] = {
    "empty": _empty,
    "cut": _cut,
    "zeros": _zeros,
    "garbage": _garbage,
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[]"),
    "no fields": lambda path: path.write_text("{}"),
    "other kinds": lambda path: path.write_text(
        json.dumps(dict.fromkeys(json.loads(path.read_text()), "x") | {"format": 1})
    ),
}


def _member(searched: Path, name: str) -> Path:
    return searched / ".foldsmith" / "members" / name


def _clean(outcome: Any) -> None:
    """No traceback, no talk of an interruption; every line of stderr is a warning or an error of one line."""
    assert "Traceback" not in outcome.err and "interrupted" not in outcome.err, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == (outcome.code != 0)


@pytest.mark.parametrize("damage", ARRAYS)
@pytest.mark.parametrize("name", ["oof.npy", "test.npy"])
def test_a_damaged_array(foldsmith: Foldsmith, searched: Path, name: str, damage: str) -> None:
    ARRAYS[damage](path := _member(searched, "lin-0001") / name)
    named = re.escape(str(path))

    blended = foldsmith("-C", searched, "blend", "greedy", "--json")
    _clean(blended)
    assert blended.code == 0
    assert re.search(rf"^warning: lin-0001 is left out: {named} ", blended.err, re.MULTILINE)
    assert "lin-0001" not in json.loads(blended.out)["weights"]

    checked = foldsmith("-C", searched, "check", "--deep", "--json")
    _clean(checked) if checked.code == 0 else None
    found = [one for one in json.loads(checked.out)["findings"] if one["code"] == "member_damaged"]
    assert checked.code == 1 and len(found) == 1 and str(path) in found[0]["message"]

    for words in (["submit", "make", "lin-0001"], ["blend", "--from", "lin-0001,knn-0001"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 2 and re.search(rf"error: lin-0001 cannot be \w+: {named} ", outcome.err)
    for words in (["status"], ["top"], ["show", "lin-0001"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 0
    assert not list((searched / "submissions").glob("*lin-0001*"))


@pytest.mark.parametrize("damage", ["empty", "a row less", "nothing but nan"])
def test_what_else_looks_at_predictions(foldsmith: Foldsmith, searched: Path, tmp_path: Path, damage: str) -> None:
    ARRAYS[damage](path := _member(searched, "lin-0001") / "oof.npy")
    for words in (["report"], ["oof", "export", tmp_path / "bank"], ["shake"], ["lb", "show"], ["finals"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 0, outcome.err
    assert sorted(one.name for one in (tmp_path / "bank" / "members").iterdir()) == ["b01", "knn-0001", "lgb-0001"]
    for words in (["report", "--member", "lin-0001"], ["oof", "export", tmp_path / "one", "lin-0001"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 2 and str(path) in outcome.err
    outcome = foldsmith("-C", searched, "compare", "lin-0001", "knn-0001")
    _clean(outcome)
    assert outcome.code == 2 and str(path) in outcome.err


@pytest.mark.parametrize("damage", RECORDS)
@pytest.mark.parametrize("name", ["lin-0001", "b01"])
def test_a_damaged_record(foldsmith: Foldsmith, searched: Path, name: str, damage: str) -> None:
    RECORDS[damage](path := _member(searched, name) / "meta.json")
    for words in (["status"], ["top"], ["blend", "greedy"], ["report"], ["check", "--deep"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 0
        assert f"warning: {name} is left out: {path} " in outcome.err
    for words in (["show", name], ["submit", "make", name], ["compare", name, "knn-0001"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 2 and f"error: {path} " in outcome.err


@pytest.mark.parametrize("damage", ["empty", "garbage", "other kinds"])
@pytest.mark.parametrize("name", ["fitted.json", "done.json"])
def test_a_damaged_record_of_a_fold(foldsmith: Foldsmith, searched: Path, name: str, damage: str) -> None:
    fold = _member(searched, "lgb-0001") / "folds" / "0-1"
    RECORDS[damage](fold / name)
    checked = foldsmith("-C", searched, "check", "--deep", "--json")
    found = [one for one in json.loads(checked.out)["findings"] if one["code"] == "fold_damaged"]
    assert checked.code == 0 and len(found) == 1 and str(fold) in found[0]["message"]
    for words in (
        ["blend"],
        ["submit", "make", "lgb-0001"],
        ["search", "linear", "--trials", 1, "--executor", "inline"],
    ):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_a_damaged_prediction_of_a_fold_costs_the_expected_gain(
    foldsmith: Foldsmith, searched: Path, damage: str
) -> None:
    ARRAYS[damage](path := _member(searched, "lgb-0001") / "folds" / "0-0" / "test.npy")
    outcome = foldsmith("-C", searched, "blend", "best_single", "--from", "lgb-0001")
    _clean(outcome)
    assert outcome.code == 0
    if damage != "garbage":
        assert f"warning: the gain of the mean over folds goes without lgb-0001: {path} " in outcome.err


@pytest.mark.parametrize("damage", RECORDS)
@pytest.mark.parametrize("name", ["driver.json", "launch.json"])
def test_a_damaged_heartbeat_or_launch(foldsmith: Foldsmith, searched: Path, name: str, damage: str) -> None:
    RECORDS[damage](path := searched / ".foldsmith" / name)
    for words in (["status"], ["top"], ["search", "linear", "--trials", 1, "--executor", "inline"]):
        RECORDS[damage](path) if path.read_bytes() else None
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code == 0, outcome.err


def _stored_files() -> list[str]:
    return ["numeric.npy", "codes.npy", "datetimes.npy", "schema.json", "y.npy", "target.json"]


@pytest.mark.parametrize(
    "damage", ["empty", "cut", "zeros", "missing", "a row less", "text", "no fields", "other kinds"]
)
@pytest.mark.parametrize("name", _stored_files())
def test_a_damaged_copy_of_a_table_is_made_anew(foldsmith: Foldsmith, searched: Path, name: str, damage: str) -> None:
    """Never a score on other rows than the file's."""
    before = json.loads(foldsmith("-C", searched, "check", "--deep", "--json").out)["findings"]
    tables = searched / ".foldsmith" / "tables"
    [target] = tables.glob("*.target.json")
    train = target.name.split(".")[0]
    path = tables / f"{train}.{name}" if name in ("y.npy", "target.json") else tables / train / name
    harm = (ARRAYS | RECORDS)[damage]
    if (damage in RECORDS and damage not in ARRAYS) != name.endswith(".json") and damage not in (
        "empty",
        "cut",
        "zeros",
        "missing",
    ):
        pytest.skip("not of this kind of file")
    if name == "datetimes.npy" and damage == "text":
        pytest.skip("it has no cells")
    harm(path)
    outcome = foldsmith("-C", searched, "check", "--deep", "--json")
    assert "Traceback" not in outcome.err, outcome.err
    assert json.loads(outcome.out)["findings"] == before
    assert outcome.err.startswith("warning: the stored copy of the tables is damaged and made anew"), outcome.err
    assert foldsmith("-C", searched, "check", "--deep").err == ""


@pytest.mark.parametrize("damage", RECORDS)
def test_a_damaged_record_of_the_folds(foldsmith: Foldsmith, searched: Path, damage: str) -> None:
    """It is named, and made again from the config: the same folds, or none."""
    before = json.loads(foldsmith("-C", searched, "folds", "show", "--json").out)
    [path] = (searched / ".foldsmith" / "folds").glob("*.json")
    RECORDS[damage](path)
    for words in (["status"], ["top"], ["blend"], ["search", "linear", "--trials", 2, "--executor", "inline"]):
        outcome = foldsmith("-C", searched, *words)
        _clean(outcome)
        assert outcome.code in (0, 2) and (outcome.code == 0 or str(path) in outcome.err)
    assert foldsmith("-C", searched, "repair").code == 0
    assert json.loads(foldsmith("-C", searched, "folds", "show", "--json").out) == before


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "zeros"])
def test_a_damaged_fold_plan(foldsmith: Foldsmith, searched: Path, damage: str) -> None:
    before = json.loads(foldsmith("-C", searched, "folds", "show", "--json").out)
    [path] = (searched / ".foldsmith" / "folds").glob("*.parquet")
    ARRAYS[damage](path)
    outcome = foldsmith("-C", searched, "top")
    _clean(outcome)
    assert outcome.code == 3 and str(path) in outcome.err
    assert foldsmith("-C", searched, "repair").code == 0
    assert json.loads(foldsmith("-C", searched, "folds", "show", "--json").out) == before


@pytest.mark.parametrize("damage", RECORDS)
def test_resume_names_a_damaged_launch(foldsmith: Foldsmith, searched: Path, damage: str) -> None:
    RECORDS[damage](path := searched / ".foldsmith" / "launch.json")
    outcome = foldsmith("-C", searched, "resume")
    _clean(outcome)
    assert outcome.code == 2 and str(path) in outcome.err and "foldsmith search" in outcome.err


def test_a_search_goes_on_without_a_damaged_member(foldsmith: Foldsmith, searched: Path) -> None:
    _empty(path := _member(searched, "lin-0001") / "oof.npy")
    words = ["--families", "linear,knn", "--trials", 4, "--executor", "inline", "--json"]
    outcome = foldsmith("-C", searched, "run", *words)
    _clean(outcome)
    assert outcome.code == 0 and f"warning: lin-0001 is left out: {path} " in outcome.err
    assert "running ensemble failed" not in outcome.err


def test_the_end_of_a_file_is_no_interruption(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(root: Path) -> None:
        raise EOFError("No data left in file")

    monkeypatch.setattr("foldsmith.flow.status.status", read)
    outcome = foldsmith("-C", searched, "status")
    _clean(outcome)
    assert outcome.code == 1 and "ends too early (No data left in file)" in outcome.err


def test_a_blend_that_cannot_be_stored_leaves_nothing(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foldsmith.results import members

    def fail(path: Path, array: object, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    before = sorted(path.name for path in (searched / ".foldsmith" / "members").iterdir())
    monkeypatch.setattr(members, "write_array", fail)
    outcome = foldsmith("-C", searched, "blend", "--name", "late")
    _clean(outcome)
    assert outcome.code == 1 and "late/oof.npy: No space left on device; make room" in outcome.err
    assert sorted(path.name for path in (searched / ".foldsmith" / "members").iterdir()) == before
