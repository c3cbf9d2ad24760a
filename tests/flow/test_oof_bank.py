"""Banks: what a notebook reads, and what another competition folder makes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.flow.competition import open_competition
from foldsmith.flow.oof_bank import export_bank, import_bank
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.goal import Task
from foldsmith.results.external import foreign_folds
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]
MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def good(problem: Problem, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Out-of-fold and test predictions in float32, which the round trip must not change."""
    rng = np.random.default_rng(seed)
    y, n_classes, n_test = problem.data.y, len(problem.data.target.classes), problem.data.test.n_rows
    if not n_classes:
        return (y + 0.3 * rng.normal(size=len(y))).astype(np.float32), rng.normal(size=n_test)
    if n_classes == 2:
        return (0.5 * y + 0.5 * rng.random(len(y))).astype(np.float32), rng.random(n_test)
    oof, test = np.eye(n_classes)[y] + rng.random((len(y), n_classes)), rng.random((n_test, n_classes))
    return oof / oof.sum(axis=1, keepdims=True), test / test.sum(axis=1, keepdims=True)


@pytest.fixture
def bank(make_problem: MakeProblem, add_member: AddMember, tmp_path: Path) -> Callable[..., Path]:
    """Exports two members of a problem."""

    def make(kind: Task = "binary", /, **options: Any) -> Path:
        problem = make_problem(kind, name="first")
        add_member(problem, *good(problem, 1))
        add_member(problem, *good(problem, 2), params={"alpha": 0.5})
        export_bank(problem, MemberStore(problem.folder), tmp_path / "bank", **options)
        return tmp_path / "bank"

    return make


Bank = Callable[..., Path]


def test_a_notebook_reads_it(bank: Bank, make_frames: MakeFrames) -> None:
    folder = bank(with_target=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "folds.csv",
        "ids_test.npy",
        "ids_train.npy",
        "members",
        "meta.json",
        "y.npy",
    ]
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["format"], meta["metric"], meta["task"], meta["classes"]) == (1, "auc", "binary", ["0", "1"])
    assert meta["outputs"] == [{"target": "y", "class": "1"}]
    assert [member["id"] for member in meta["members"]] == ["lin-0001", "lin-0002"]
    assert meta["members"][1]["params"] == {"alpha": 0.5} and meta["members"][1]["folds"] == "identical"
    oof = np.load(folder / "members" / "lin-0001" / "oof.npy")
    folds = pd.read_csv(folder / "folds.csv", dtype={"id": str})
    assert oof.dtype == np.float32 and oof.shape == (meta["n_rows"], 1)
    assert np.load(folder / "members" / "lin-0001" / "test.npy").shape == (meta["n_test"], 1)
    train, test = make_frames()
    assert list(np.load(folder / "ids_train.npy")) == list(folds["id"]) == list(train["id"])
    assert list(np.load(folder / "ids_test.npy")) == list(test["id"])
    assert list(np.load(folder / "y.npy")) == list(train["y"]) and set(folds["fold"]) == {0, 1, 2}


def test_plain_numbers_as_ids_stay_numbers(
    make_problem: MakeProblem, make_frames: MakeFrames, add_member: AddMember, tmp_path: Path
) -> None:
    train, test = make_frames()
    problem = make_problem(train=train.assign(id=range(60)), test=test.assign(id=range(60, 72)))
    add_member(problem, *good(problem))
    export_bank(problem, MemberStore(problem.folder), tmp_path / "bank")
    assert np.load(tmp_path / "bank" / "ids_train.npy").dtype == np.int64


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_round_trip_into_a_competition_whose_rows_are_shuffled(
    bank: Bank, make_problem: MakeProblem, make_frames: MakeFrames, tmp_path: Path, kind: Task
) -> None:
    folder = bank(kind, with_target=True)
    folds = pd.read_csv(folder / "folds.csv", dtype={"id": str})
    folds.assign(fold=2 - folds["fold"]).to_csv(tmp_path / "folds.csv", index=False)
    train, test = (frame.sample(frac=1, random_state=4) for frame in make_frames(kind))
    second = make_problem(kind, name="second", train=train, test=test, fold_file=tmp_path / "folds.csv")
    imported = import_bank(second, folder)
    assert [member.id for member in imported] == ["ext-lin-0001", "ext-lin-0002"]
    assert [foreign_folds(member) for member in imported] == [None, None]
    origin = imported[1].details["origin"]
    assert origin["family"] == "linear" and origin["params"] == {"alpha": 0.5}
    claimed = imported[0].details["claimed"]
    assert imported[0].scores is not None and imported[0].scores.value == pytest.approx(claimed, rel=1e-5)
    store = MemberStore(second.folder)
    for table, ids, now in (("oof", "ids_train", second.data.train_ids), ("test", "ids_test", second.data.test_ids)):
        there = pd.DataFrame(np.load(folder / "members" / "lin-0001" / f"{table}.npy"), np.load(folder / f"{ids}.npy"))
        np.testing.assert_allclose(getattr(store, table)("ext-lin-0001"), there.loc[now], rtol=1e-6)


def test_other_folds_are_marked(bank: Bank, make_problem: MakeProblem) -> None:
    folder = bank()
    imported = import_bank(make_problem(name="second", n_folds=5), folder, "anna")
    assert [member.id for member in imported] == ["ext-anna-lin-0001", "ext-anna-lin-0002"]
    assert [foreign_folds(member) for member in imported] == ["different", "different"]


def test_the_other_class_may_be_the_positive_one(bank: Bank, make_problem: MakeProblem) -> None:
    folder = bank(with_target=True)
    second = make_problem(name="second", positive="0")
    import_bank(second, folder)
    oof = np.load(folder / "members" / "lin-0001" / "oof.npy")
    np.testing.assert_allclose(MemberStore(second.folder).oof("ext-lin-0001"), 1 - oof, atol=1e-6)


def test_without_ids_the_order_counts(
    make_problem: MakeProblem, make_frames: MakeFrames, add_member: AddMember, tmp_path: Path
) -> None:
    train, test = (frame.drop(columns="id") for frame in make_frames())
    first = make_problem(name="first", train=train, test=test)
    add_member(first, *good(first))
    export_bank(first, MemberStore(first.folder), tmp_path / "bank")
    [member] = import_bank(make_problem(name="same", train=train, test=test), tmp_path / "bank")
    assert member.details["matched"] == "order" and foreign_folds(member) is None
    with pytest.raises(InputError, match="fit the labels no better than shuffled rows"):
        shuffled = train.sample(frac=1, random_state=1)
        import_bank(make_problem(name="shuffled", train=shuffled, test=test), tmp_path / "bank")


def test_another_problem_is_refused(bank: Bank, make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    folder = bank(with_target=True)
    with pytest.raises(InputError, match="predicts chances of the classes 0, 1, but this problem wants a value"):
        import_bank(make_problem("regression", name="second"), folder)
    train, test = make_frames()
    train.loc[3:5, "y"] = 1 - train.loc[3:5, "y"]
    with pytest.raises(InputError, match="3 of 60 labels differ from this problem's"):
        import_bank(make_problem(name="third", train=train, test=test), folder)
    (folder / "y.npy").unlink()
    other = make_problem(name="fourth", train=train.assign(id=train["id"] + "x"), test=test)
    with pytest.raises(InputError, match="60 of 60 needed ids are missing.*60 ids are not in train"):
        import_bank(other, folder)
    assert MemberStore(other.folder).all() == []


def test_a_damaged_bank_is_refused(bank: Bank, make_problem: MakeProblem, tmp_path: Path) -> None:
    folder = bank()
    second = make_problem(name="second")
    np.save(folder / "members" / "lin-0002" / "oof.npy", np.zeros((59, 1), np.float32))
    with pytest.raises(InputError, match=r"holds float32 numbers of shape \(59, 1\), but meta.json says \(60, 1\)"):
        import_bank(second, folder)
    shutil.rmtree(folder / "members" / "lin-0002")
    with pytest.raises(InputError, match=r"lin-0002/oof.npy does not exist"):
        import_bank(second, folder)
    meta = json.loads((folder / "meta.json").read_text())
    meta["members"][0]["id"] = "../../lin-0001"
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="has a member without a proper record"):
        import_bank(second, folder)
    (folder / "meta.json").write_text("{}")
    with pytest.raises(InputError, match="is not of a bank"):
        import_bank(second, folder)
    with pytest.raises(InputError, match="is no bank .it has no meta.json.; name a folder that"):
        import_bank(second, tmp_path / "nowhere")
    assert MemberStore(second.folder).all() == []


def test_what_is_not_exported(make_problem: MakeProblem, add_member: AddMember, tmp_path: Path) -> None:
    problem = make_problem()
    store = MemberStore(problem.folder)
    with pytest.raises(InputError, match="there is no complete member to export yet"):
        export_bank(problem, store, tmp_path / "bank")
    add_member(problem, *good(problem), contract="other")
    with pytest.raises(InputError, match="lin-0001 cannot be exported: it was made for another train file"):
        export_bank(problem, store, tmp_path / "bank", ["lin-0001"])
    add_member(problem, *good(problem), test_fingerprint="old")
    with pytest.raises(UnknownNameError, match="unknown member 'lin-0003'"):
        export_bank(problem, store, tmp_path / "bank", ["lin-0003"])
    assert not (tmp_path / "bank").exists()
    [member] = export_bank(problem, store, tmp_path / "deep" / "bank")
    assert member.id == "lin-0002" and not (tmp_path / "deep" / "bank" / "members" / "lin-0002" / "test.npy").exists()
    with pytest.raises(InputError, match="bank exists and is not empty; name a new folder"):
        export_bank(problem, store, tmp_path / "deep" / "bank")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["bank"]


def test_from_python(make_problem: MakeProblem, add_member: AddMember, tmp_path: Path) -> None:
    problem = make_problem(name="first")
    oof, test = good(problem)
    add_member(problem, oof, test)
    competition = open_competition(problem.folder.root)
    competition.export_oof(tmp_path / "bank", ["lin-0001"], with_target=True)
    np.save(tmp_path / "oof.npy", oof)
    np.save(tmp_path / "test.npy", test)
    other = open_competition(make_problem(name="second").folder.root)
    other.import_bank(tmp_path / "bank", "anna")
    other.import_oof("me", tmp_path / "oof.npy", test=str(tmp_path / "test.npy"), claimed=0.9)
    assert list(other.top()["member"]) == ["ext-anna-lin-0001", "ext-me"]
    assert set(other.blend().weights) <= {"ext-anna-lin-0001", "ext-me"}
