"""The same table written in two ways gives the same submission; what cannot be read ends before anything is written."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from foldsmith.problem.contract import open_problem
from foldsmith.problem.extra import load_extra

Foldsmith = Callable[..., Any]
SMALL = ["--families", "lightgbm,linear", "--trials", 2, "--executor", "inline", "--folds", 3]


def clean() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """300 train rows, 60 test rows and their labels, which a code, a date and a price say much about."""
    rng = np.random.default_rng(7)
    n_rows = 360
    codes = rng.integers(0, 20, n_rows)
    days = rng.integers(0, 700, n_rows)
    prices = np.exp(rng.normal(6, 1.5, n_rows)).round(2)
    frame = pd.DataFrame(
        {
            "id": range(1, n_rows + 1),
            "code": [f"{code:03d}" for code in codes],
            "when": (np.datetime64("2020-01-01") + days).astype(str),
            "price": [f"{price:.2f}" for price in prices],
            "colour": rng.choice(["red", "green", "blue"], n_rows),
        }
    )
    level = rng.permutation(20)[codes] / 10 - 1
    signal = level + (days - 350) / 350 + np.log(prices) - 6 + 0.2 * rng.normal(size=n_rows)
    labels = (signal > 0).astype(int)
    train = frame[:300].copy()
    train.loc[:5, "code"] = "A1"
    train["y"] = labels[:300]
    return train, frame[300:].copy(), labels[300:]


def in_other_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The same cells as other people write them."""
    messy = frame.copy()
    messy["when"] = pd.to_datetime(frame["when"]).dt.strftime("%d.%m.%Y")
    messy["price"] = [f"${float(price):,.2f}" for price in frame["price"]]
    messy["colour"] = [f"{word}\u00a0" if row % 2 else f" {word} " for row, word in enumerate(frame["colour"])]
    return messy.rename(columns={"when": "When ", "colour": "\ufeffColour"})


def write(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> list[object]:
    folder.mkdir(exist_ok=True)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    return ["--train", folder / "train.csv", "--test", folder / "test.csv", "--target", "y"]


def test_a_table_in_other_words_gives_the_same_submission(foldsmith: Foldsmith, tmp_path: Path) -> None:
    train, test, labels = clean()
    # Of test's messy copy all names differ from train's, of train's messy copy none may: it sets them.
    messy_train = in_other_words(train)[list(in_other_words(train).columns)].set_axis(train.columns, axis=1)
    pairs = {"clean": (train, test), "test": (train, in_other_words(test)), "train": (messy_train, test)}
    submissions = {}
    for name, (its_train, its_test) in pairs.items():
        words = write(tmp_path / name, its_train, its_test)
        outcome = foldsmith("run", *words, *SMALL, "--out", tmp_path / name / "comp")
        assert outcome.code == 0, outcome.err
        submissions[name] = (tmp_path / name / "comp" / "submissions" / "current.csv").read_text()
        said = " ".join(outcome.err.split())
        assert "'A1' (train.csv line 2)" in said
        if name != "clean":
            assert "holds dates in 2 formats" in said
            assert "is read as the number" in said
            assert "stray blanks or invisible characters" in said
    chances = pd.read_csv(tmp_path / "clean" / "comp" / "submissions" / "current.csv")["y"]
    assert roc_auc_score(labels, chances) > 0.9
    assert submissions["test"] == submissions["clean"]
    assert submissions["train"] == submissions["clean"]


REFUSED: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "when": (lambda frame: ["soon"] * len(frame), r"'when' holds dates in train.csv, .*'soon' \(test.csv line 2\)"),
    "price": (
        lambda frame: frame["price"] + "%",
        r"with and without per cent .*\(train.csv line 2\) .*\(test.csv line",
    ),
}


@pytest.mark.parametrize("column", list(REFUSED))
def test_what_cannot_be_read_is_refused(foldsmith: Foldsmith, tmp_path: Path, column: str) -> None:
    train, test, _ = clean()
    change, message = REFUSED[column]
    test[column] = change(test)
    words = write(tmp_path, train, test)
    outcome = foldsmith("run", *words, *SMALL, "--out", tmp_path / "comp")
    assert outcome.code == 2
    assert re.fullmatch(r"error: [^\n]+\n", outcome.err)
    assert re.search(message, outcome.err), outcome.err
    assert not (tmp_path / "comp").exists()
    left_out = foldsmith("init", tmp_path / "comp", *words, "--column", f"{column}=constant")
    assert left_out.code == 0, left_out.err


def test_kinds_from_the_command_line(foldsmith: Foldsmith, tmp_path: Path) -> None:
    train, test, _ = clean()
    words = write(tmp_path, in_other_words(train), in_other_words(test))
    folder = tmp_path / "comp"
    outcome = foldsmith("init", folder, *words, "--column", "price=categorical", "--column", "code=id")
    assert outcome.code == 0
    assert "is read as the number" not in outcome.out
    schema = open_problem(folder, freeze=True).data.train.schema
    assert schema.categories["price"][0].startswith("$")
    wrong = foldsmith("init", tmp_path / "other", *words, "--column", "price=number")
    assert wrong.code == 2
    assert "unknown kind of column 'price': 'number'" in wrong.err
    wrong = foldsmith("init", tmp_path / "other", *words, "--column", "price")
    assert "--column 'price' names no kind; write NAME=KIND" in wrong.err


def test_a_later_test_file_in_another_format(foldsmith: Foldsmith, tmp_path: Path) -> None:
    train, test, _ = clean()
    words = write(tmp_path, train, test)
    search = ["--families", "linear", "--trials", 1, "--executor", "inline", "--folds", 2, "--out", tmp_path / "comp"]
    assert foldsmith("run", *words, *search).code == 0
    first = (tmp_path / "comp" / "submissions" / "current.csv").read_text()
    in_other_words(test).to_csv(tmp_path / "test.csv", index=False)
    outcome = foldsmith("-C", tmp_path / "comp", "submit", "make", "lin-0001")
    assert outcome.code == 0, outcome.err
    assert "test.csv: column 'When ' is 'when' of train.csv" in outcome.err
    assert "column 'when': test.csv has dates in another format than train (ISO8601), such as" in outcome.err
    assert "column 'price': test.csv has numbers in another format than train, such as '$" in outcome.err
    made = pd.read_csv(tmp_path / "comp" / outcome.out.strip().splitlines()[-1].split("comp/")[-1])
    np.testing.assert_allclose(made["y"], pd.read_csv(io.StringIO(first))["y"], rtol=1e-6)
    test.assign(when="soon").to_csv(tmp_path / "test.csv", index=False)
    outcome = foldsmith("-C", tmp_path / "comp", "submit", "make", "lin-0001")
    assert outcome.code == 2
    assert re.search(
        r"'when' holds dates, but 60 of 60 cells of test.csv are none .*'soon' \(test.csv line 2\)", outcome.err
    )


def test_extra_rows_have_the_schema_of_train(foldsmith: Foldsmith, tmp_path: Path) -> None:
    train, test, _ = clean()
    words = write(tmp_path, train, test)
    extra = in_other_words(train[6:])  # digits alone: the codes must keep their zeros
    extra.to_csv(tmp_path / "extra.csv", index=False)
    outcome = foldsmith("init", tmp_path / "comp", *words, "--extra", tmp_path / "extra.csv")
    assert outcome.code == 0
    assert "extra.csv has dates in another format" in " ".join(outcome.out.split())
    problem = open_problem(tmp_path / "comp", freeze=True)
    rows = load_extra(problem)
    assert rows is not None
    for name in ("numeric", "codes", "datetimes"):
        np.testing.assert_array_equal(getattr(rows.table, name), getattr(problem.data.train, name)[6:])
    told = " ".join(rows.remarks)
    assert "extra.csv: column 'When ' is 'when' of train" in told
    assert "extra.csv has dates in another format" in told
    assert "extra.csv have stray blanks" in told
    extra.assign(price="cheap").to_csv(tmp_path / "extra.csv", index=False)
    search = ["-C", tmp_path / "comp", "search", "linear", "--trials", 1, "--executor", "inline"]
    for again in (search, ["init", tmp_path / "new", *words, "--extra", tmp_path / "extra.csv"]):
        outcome = foldsmith(*again)
        assert outcome.code == 2
        assert re.search(r"'price' holds numbers, but 294 of 294 cells of extra.csv .*'cheap'", outcome.err)
    assert not (tmp_path / "new").exists()
