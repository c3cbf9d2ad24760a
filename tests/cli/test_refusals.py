"""What would break a contract is refused with exit code 3 and one line, and changes nothing."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from foldsmith.problem.folder import Folder
from foldsmith.search.locks import FolderLock

Foldsmith = Callable[..., Any]
Refused = Callable[..., None]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(foldsmith: Foldsmith, searched: Path) -> Refused:
    def run(*words: object, message: str) -> None:
        before = contents(searched)
        outcome = foldsmith(*words)
        assert re.fullmatch(r"error: [^\n]+\n", outcome.err), outcome.err
        assert re.search(message, outcome.err), outcome.err
        assert (outcome.code, outcome.out) == (3, "")
        assert contents(searched) == before

    return run


SMALL = ("--trials", 1, "--families", "linear", "--executor", "inline")


def test_a_second_folds_make(refused: Refused, searched: Path) -> None:
    refused("-C", searched, "folds", "make", message=r"the folds are frozen as [0-9a-f]{12}; .*use another folder")


def test_a_second_init(refused: Refused, searched: Path, searched_once: Path) -> None:
    words = ["--train", searched_once / "train.csv", "--test", searched_once / "test.csv", "--target", "y"]
    message = r"comp/foldsmith\.toml exists already; edit it, or choose another folder"
    refused("init", searched, *words, message=message)
    refused("-C", searched, "init", *words, message=message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "log_loss"], r"comp is set up with --metric auc, not --metric log_loss; use another --out"),
        (["--target", "size"], r"is set up with --target y, not --target size; use another --out, or edit the toml"),
        (["--id", "size"], r"is set up with --id id, not --id size"),
        (["--folds", "5"], r"is set up with --folds 2, not --folds 5"),
        (["--split-seed", "1"], r"is set up with --split-seed 42, not --split-seed 1"),
        (["--scheme", "plain"], r"is set up with --scheme stratified, not --scheme plain"),
        (["--task", "regression"], r"is set up with --task binary, not --task regression"),
        (["--positive", "0"], r"is set up with --positive 1, not --positive 0"),
        (["--group", "colour"], r"is set up without --group colour"),
        (["--time", "size"], r"is set up without --time size"),
        (["--gap", "7d"], r"is set up without --gap 7d"),
        (["--sample", "sample.csv"], r"is set up without --sample sample\.csv"),
        (["--fold-file", "folds.csv"], r"is set up without --fold-file folds\.csv"),
        (["--train", "other.csv"], r"is set up with --train .*/train\.csv, not --train other\.csv"),
        (["--test", "other.csv"], r"is set up with --test .*/test\.csv, not --test other\.csv"),
    ],
)
def test_another_problem_in_the_same_folder(
    refused: Refused, searched: Path, words: Sequence[str], message: str
) -> None:
    refused("run", "--out", searched, *SMALL, *words, message=message)
    refused("-C", searched, "run", *SMALL, *words, message=message)


def test_the_same_problem_again_is_fine(foldsmith: Foldsmith, searched: Path, searched_once: Path) -> None:
    words = ["--train", searched_once / "train.csv", "--target", "y", "--id", "id", "--folds", 2, "--metric", "ROC-AUC"]
    outcome = foldsmith("run", "--out", searched, *words, *SMALL, "--split-seed", 42, "--json")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("words", [["search", *SMALL[:2]], ["run", *SMALL], ["resume"]])
def test_a_second_driver(refused: Refused, searched: Path, words: Sequence[object]) -> None:
    lock = FolderLock(Folder(searched).driver_lock)
    assert lock.acquire()
    with lock:
        refused(
            "-C",
            searched,
            *words,
            message=r"another foldsmith \(process \d+\) works in .*comp; watch it with 'foldsmith status' or end it",
        )


def test_a_split_that_was_edited(refused: Refused, searched: Path) -> None:
    path = searched / "foldsmith.toml"
    path.write_text(path.read_text().replace("n_folds = 2", "n_folds = 3"))
    message = r"the folds are frozen as .*\[split\] in foldsmith\.toml now asks for another n_folds; put it back"
    for words in (["status"], ["top"], ["folds", "show"], ["search", "linear", "--trials", 9], ["blend"]):
        refused("-C", searched, *words, message=message)


def test_a_config_of_a_newer_foldsmith(refused: Refused, searched: Path) -> None:
    path = searched / "foldsmith.toml"
    path.write_text(path.read_text().replace("format = 1", "format = 2"))
    refused("-C", searched, "top", message=r"foldsmith\.toml has format 2, this foldsmith reads up to 1; upgrade it")


def test_a_member_of_a_newer_foldsmith(refused: Refused, searched: Path) -> None:
    path = searched / ".foldsmith" / "members" / "b01" / "meta.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    refused("-C", searched, "show", "b01", message=r"b01/meta\.json has format 9, this foldsmith reads up to 1")


def test_a_harmed_fold_plan(refused: Refused, searched: Path) -> None:
    [path] = (searched / ".foldsmith" / "folds").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    refused("-C", searched, "top", message=r"is no fold plan or is damaged .*; restore the file")


def test_other_train_rows_start_anew(foldsmith: Foldsmith, searched: Path, searched_once: Path, tmp_path: Path) -> None:
    """Not refused: the same folder then holds two sets of results, and tables show the current one."""
    train = pd.read_csv(searched_once / "train.csv").iloc[:50]
    train.to_csv(searched / "train.csv", index=False)
    path = searched / "foldsmith.toml"
    path.write_text(re.sub(r'train = ".*"', 'train = "train.csv"', path.read_text()))
    outcome = foldsmith("-C", searched, "top")
    assert outcome.code == 2 and "no folds are frozen" in outcome.err
    assert foldsmith("-C", searched, "folds", "make").code == 0
    outcome = foldsmith("-C", searched, "top", "--json")
    assert (outcome.code, outcome.out) == (0, "[]\n")
