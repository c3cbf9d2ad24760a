"""Files that change: what differs is named, nothing is mixed, tests are predicted anew; and the untouched holdout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomlkit

from foldsmith.flow.competition import Competition, init
from foldsmith.flow.predicting import Predictor
from foldsmith.flow.versions import data_difference, seen_versions, train_change
from foldsmith.problem.contract import open_problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.results.members import MemberStore

Foldsmith = Callable[..., Any]


def point_to(root: Path, name: str, frame: pd.DataFrame) -> None:
    """Let the competition read another file as its train or test."""
    path = root / f"other_{name}.csv"
    frame.to_csv(path, index=False)
    config = tomlkit.parse((root / "foldsmith.toml").read_text())
    data: Any = config["data"]
    data[name] = path.name
    (root / "foldsmith.toml").write_text(tomlkit.dumps(config))


def file_of(root: Path, name: str) -> pd.DataFrame:
    config = tomlkit.parse((root / "foldsmith.toml").read_text()).unwrap()
    return pd.read_csv(root / config["data"][name])


def test_a_changed_test_file_is_predicted_by_the_stored_models(searched: Path, foldsmith: Foldsmith) -> None:
    store = MemberStore(open_problem(searched).folder)
    before = {member.id: np.array(store.test(member.id)) for member in store.all(states=["complete"])}
    test = file_of(searched, "test")
    changed = pd.concat([test.iloc[::-1], pd.DataFrame({"id": [900], "size": [9.0], "colour": ["red"]})])
    point_to(searched, "test", changed)
    told = foldsmith("-C", searched, "submit", "make", "b01")
    assert told.code == 0 and "test changed: 4 test predictions are made again" in told.err
    problem = open_problem(searched)
    for member in store.all(states=["complete"]):
        assert member.test_fingerprint == problem.data.test_fingerprint
        now = store.test(member.id)
        np.testing.assert_allclose(now[:20], before[member.id][::-1], rtol=1e-5, err_msg=member.id)
        assert len(now) == 21 and member.scores is not None
    assert len(pd.read_csv(told.out.strip())) == 21
    assert foldsmith("-C", searched, "blend", "greedy").err == ""
    shown = foldsmith("-C", searched, "data", "show")
    assert shown.code == 0 and shown.out.count("test") == 2 and shown.out.count("now") == 2
    assert "1 rows added" in foldsmith("-C", searched, "data", "diff").out


def test_members_without_models_are_named_and_left_out(searched: Path, foldsmith: Foldsmith) -> None:
    problem = open_problem(searched)
    store = MemberStore(problem.folder)
    for fold in range(problem.plan.n_folds):
        store.fold("lgb-0001", 0, fold).drop_model()
    blend = store.get("b01")
    test = file_of(searched, "test")
    point_to(searched, "test", test.assign(size=test["size"] + 1))
    found = Competition(searched).refresh()
    assert found.left_out["lgb-0001"] == "the models of lgb-0001 are not kept"
    assert ("b01" in found.left_out) == ("lgb-0001" in blend.params)
    assert {"lin-0001", "knn-0001"} <= set(found.made)
    told = foldsmith("-C", searched, "submit", "make", "lgb-0001")
    assert told.code == 2 and "it predicts another test file" in told.err and "takes no part any more" in told.err
    assert '"left_out"' in foldsmith("-C", searched, "data", "refresh", "--json").out
    assert "lgb-0001: the models" in foldsmith("-C", searched, "data", "refresh").out
    with pytest.raises(InputError, match="are not kept, so it cannot predict new rows"):
        Predictor(open_problem(searched), store).predict(store.get("lgb-0001"), problem.data.test)


def test_a_changed_train_file_begins_a_new_contract(searched: Path, foldsmith: Foldsmith) -> None:
    old = open_problem(searched)
    assert train_change(searched) is None
    with pytest.raises(InputError, match="the data has not changed"):
        data_difference(searched)
    train = file_of(searched, "train")
    train["size"] += np.arange(len(train)) == 3
    train["y"] = np.where(np.arange(len(train)) == 7, 1 - train["y"], train["y"])
    point_to(searched, "train", pd.concat([train[1:], train[:1].assign(id=500)]))
    told = foldsmith("-C", searched, "search", "linear", "--trials", 1, "--executor", "inline")
    assert told.code == 0
    assert "has changed: 1 rows added · 1 rows removed · 1 cells of size changed · 1 cells of y changed" in told.err
    assert "the 3 members of earlier ones stay" in told.err
    new = open_problem(searched)
    assert new.contract != old.contract and train_change(searched) is None
    mine = [member.id for member in MemberStore(new.folder).all(contract=new.contract)]
    assert mine == ["lin-0002"]
    found = data_difference(searched, old.data.train_fingerprint[:8])
    assert found.matched == "id" and found.cells == {"size": 1, "y": 1}
    assert found.examples["y"][0][0] == "8" and set(found.examples["y"][0][1:]) == {"0", "1"}
    seen = {one.version.fingerprint: one for one in seen_versions(searched)}
    assert seen[old.data.train_fingerprint].members == 4 and not seen[old.data.train_fingerprint].is_current
    with pytest.raises(UnknownNameError, match="unknown data version 'zz'"):
        data_difference(searched, "zz")
    with pytest.raises(InputError, match="is a train table and .* a test table"):
        data_difference(searched, old.data.train_fingerprint, new.data.test_fingerprint)
    assert '"matched": "id"' in foldsmith("-C", searched, "data", "diff", "--json").out


def test_columns_come_and_go_and_rows_without_ids_are_matched_by_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y"], 60), "gone": rng.normal(size=60)})
    frame["day"] = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    frame["y"] = (frame["a"] > 0).astype(int)
    frame[:40].to_csv(tmp_path / "train.csv", index=False)
    frame[40:].drop(columns="y").to_csv(tmp_path / "test.csv", index=False)
    root = init(tmp_path / "comp", train=tmp_path / "train.csv", test=tmp_path / "test.csv", target="y").root
    open_problem(root, freeze=True)
    new = frame.drop(columns="gone").assign(more=rng.normal(size=60), b=np.where(frame["b"] == "x", "x", "z"))
    new["day"] = new["day"].where(np.arange(60) != 2, "2025-05-05")
    new["a"] = new["a"].where(np.arange(60) != 4)
    new["b"] = rng.normal(size=60)  # another kind
    point_to(root, "test", new[40:].drop(columns="y"))
    point_to(root, "train", new[:39])
    found = data_difference(root)
    assert (found.matched, found.rows_added, found.rows_removed) == ("order", 0, 1)
    assert found.columns_added == ("more",) and found.columns_removed == ("gone",) and found.kinds_changed == ("b",)
    assert found.cells == {"a": 1, "day": 1} and found.examples["day"][0][2].startswith("2025-05-05")
    assert "column b read as another kind" in found.summary


def test_the_holdout_is_seen_on_request_and_looks_are_counted(tmp_path: Path, foldsmith: Foldsmith) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"id": range(200), "size": rng.normal(size=200), "colour": rng.choice(["r", "b"], 200)})
    frame["y"] = (frame["size"] + 0.5 * rng.normal(size=200) > 0).astype(int)
    frame[:160].to_csv(tmp_path / "train.csv", index=False)
    frame[160:].drop(columns="y").to_csv(tmp_path / "test.csv", index=False)
    words = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--target", "y", "--folds", 2]
    words += ["--holdout", 0.2, "--trials", 2, "--families", "linear,knn", "--executor", "inline"]
    assert foldsmith("run", *words, "--out", tmp_path / "comp").code == 0
    root = tmp_path / "comp"
    problem, store = open_problem(root), MemberStore(open_problem(root).folder)
    held_out = problem.plan.holdout
    assert held_out.sum() == 32
    for member in store.all(states=["complete"]):
        assert np.isnan(store.oof(member.id)[held_out]).all() and np.isfinite(store.oof(member.id)[~held_out]).all()
    found = Competition(root).holdout(["lin-0001", "b01"])
    assert found.looks == 2 and found.n_rows == 32 and all(0.5 < one.score <= 1 for one in found.scores)
    expected = Predictor(problem, store).predict(
        store.get("lin-0001"), problem.data.train.take(np.flatnonzero(held_out))
    )
    assert found.scores[0].score == problem.metric.score(problem.data.y[held_out], expected)
    told = foldsmith("-C", root, "holdout", "knn-0001")
    assert told.code == 0 and "looked at 3 times" in told.out
    assert '"looks": 4' in foldsmith("-C", root, "holdout", "knn-0001", "--json").out


def test_without_a_holdout_there_is_nothing_to_see(searched: Path, foldsmith: Foldsmith) -> None:
    told = foldsmith("-C", searched, "holdout", "b01")
    assert told.code == 2 and "has no holdout" in told.err
