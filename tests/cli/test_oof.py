"""``oof``: predictions in and out on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.contract import open_problem

Foldsmith = Callable[..., Any]


@pytest.fixture
def oof_file(searched: Path, tmp_path: Path) -> Path:
    """Good predictions of the searched competition, with its folds."""
    problem = open_problem(searched)
    chances = 0.2 + 0.4 * problem.data.y + 0.3 * np.random.default_rng(0).random(len(problem.data.y))
    frame = pd.DataFrame({"id": problem.data.train_ids, "prediction": chances, "fold": problem.plan.valid_fold[0]})
    frame.to_csv(tmp_path / "oof.csv", index=False)
    return tmp_path / "oof.csv"


@pytest.fixture
def test_file(searched: Path, tmp_path: Path) -> Path:
    """Test predictions of the searched competition."""
    pd.DataFrame({"id": open_problem(searched).data.test_ids, "y": 0.5}).to_csv(tmp_path / "test.csv", index=False)
    return tmp_path / "test.csv"


def test_an_import_is_shown_listed_and_blended(
    foldsmith: Foldsmith, searched: Path, oof_file: Path, test_file: Path
) -> None:
    comp = ("-C", searched)
    plain = pd.read_csv(oof_file).drop(columns="fold")
    plain.to_parquet(oof_file.with_suffix(".parquet"))
    assert foldsmith(*comp, "oof", "list").out.startswith("no imported members yet")
    shown = foldsmith(*comp, "oof", "import", "anna", "--oof", oof_file, "--test", test_file, "--claimed", "0.9")
    assert shown.code == 0, shown.err
    assert "ext-anna" in shown.out and "identical" in shown.out and "60 of 60" in shown.out
    assert "ext-anna: the recomputed auc is 1, claimed was 0.9" in shown.out
    foldsmith(*comp, "oof", "import", "ben", "--oof", oof_file.with_suffix(".parquet"))
    listed = foldsmith(*comp, "oof", "list").out
    assert "unknown !" in listed and "!  made under other or unknown folds" in listed
    assert "without a test prediction a member is for analysis only" in listed
    record = json.loads(foldsmith(*comp, "oof", "list", "--json").out)
    assert [row["member"] for row in record["members"]] == ["ext-anna", "ext-ben"]
    assert [(row["mark"], row["test"], row["matched"]) for row in record["members"]] == [
        ("", "yes", "id"),
        ("!", "no", "id"),
    ]
    top = foldsmith(*comp, "top").out
    assert "external" in top and "!  made under" in top
    assert "recomputed" in foldsmith(*comp, "show", "ext-ben").out
    refused = foldsmith(*comp, "blend", "--from", "ext-ben")
    assert refused.code == 2 and "ext-ben cannot be blended: it has no test prediction" in refused.err
    assert "ext-anna 1.00" in foldsmith(*comp, "blend", "--from", "ext-anna").out


def test_a_blend_marks_members_of_unknown_folds(
    foldsmith: Foldsmith, searched: Path, oof_file: Path, test_file: Path
) -> None:
    comp = ("-C", searched)
    pd.read_csv(oof_file).drop(columns="fold").to_csv(oof_file, index=False)
    foldsmith(*comp, "oof", "import", "anna", "--oof", oof_file, "--test", test_file)
    blended = foldsmith(*comp, "blend", "--from", "ext-anna")
    assert "ext-anna! 1.00" in blended.out and "! made under other or unknown folds" in blended.out


def test_json_is_one_object(foldsmith: Foldsmith, searched: Path, oof_file: Path, tmp_path: Path) -> None:
    comp = ("-C", searched)
    outcome = foldsmith(*comp, "oof", "import", "anna", "--oof", oof_file, "--json")
    [row] = json.loads(outcome.out)["members"]
    assert (row["member"], row["folds"], row["rows"], row["claimed"]) == ("ext-anna", "identical", 60, None)
    record = json.loads(foldsmith(*comp, "oof", "export", tmp_path / "bank", "--with-target", "--json").out)
    assert record["members"] == ["b01", "ext-anna", "knn-0001", "lgb-0001", "lin-0001"]
    assert (
        foldsmith(*comp, "oof", "export", tmp_path / "two", "lin-0001", "b01").out
        == f"2 members in {tmp_path / 'two'}\n"
    )
    rows = json.loads(foldsmith(*comp, "oof", "import", "again", "--bank", tmp_path / "bank", "--json").out)["members"]
    assert [row["member"] for row in rows] == [
        "ext-again-b01",
        "ext-again-anna",
        "ext-again-knn-0001",
        "ext-again-lgb-0001",
        "ext-again-lin-0001",
    ]
    assert all(row["folds"] == "identical" and row["difference"] == pytest.approx(0, abs=1e-5) for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "a"], "give --oof FILE, or --bank FOLDER"),
        (["import", "a", "--bank", "x", "--claimed", "1"], "give --oof FILE, or --bank FOLDER"),
        (["import", "a", "--bank", "nowhere"], "nowhere is no bank"),
        (["import", "--oof", "x.csv"], "needs a name"),
        (["import", "a", "--oof", "x.pkl"], "loading a pickle can run code"),
        (["import", "a", "--oof", "nowhere.csv"], "nowhere.csv does not exist"),
        (["export", ".", "lin-0001"], "exists and is not empty"),
    ],
)
def test_bad_input(foldsmith: Foldsmith, searched: Path, words: list[str], message: str) -> None:
    before = sorted(searched.rglob("*"))
    outcome = foldsmith("-C", searched, "oof", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err and outcome.err.count("\n") == 1
    assert sorted(searched.rglob("*")) == before


def test_planted_faults(foldsmith: Foldsmith, searched: Path, oof_file: Path) -> None:
    good = pd.read_csv(oof_file)
    for spoiled, message in (
        (good.sample(frac=1, random_state=0).drop(columns="id"), "fit the labels no better than shuffled rows"),
        (good.iloc[2:], "2 of 60 needed ids are missing"),
        (pd.concat([good, good[:3]]), "3 ids stand there more than once"),
        (good.assign(prediction=good["prediction"].where(good["id"] > 4)), "4 values are missing or nan"),
    ):
        spoiled.to_csv(oof_file, index=False)
        outcome = foldsmith("-C", searched, "oof", "import", "anna", "--oof", oof_file)
        assert outcome.code == 2 and message in outcome.err
    assert json.loads(foldsmith("-C", searched, "oof", "list", "--json").out) == {"members": []}
