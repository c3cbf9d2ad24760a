"""Wrong input ends with one line that names it, exit code 2, and nothing written."""

import gzip
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Foldsmith = Callable[..., Any]
MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below ``folder`` with its size and time of change."""
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


@pytest.fixture
def refused(foldsmith: Foldsmith, tmp_path: Path) -> Callable[..., None]:
    """Runs a command that must fail with ``code`` and one line that fits ``message``, writing nothing."""

    def run(*words: object, message: str, code: int = 2) -> None:
        before = contents(tmp_path)
        outcome = foldsmith(*words)
        assert outcome.out == ""
        assert re.fullmatch(r"error: [^\n]+\n", outcome.err), outcome.err
        assert re.search(message, outcome.err), outcome.err
        assert outcome.code == code
        assert contents(tmp_path) == before

    return run


Refused = Callable[..., None]


@pytest.fixture
def run_words(options: Sequence[object], tmp_path: Path) -> list[object]:
    """``run`` on good files into a new folder, with the smallest search there is."""
    small = ["--trials", 1, "--folds", 2, "--families", "linear", "--executor", "inline"]
    return ["run", *options, *small, "--out", tmp_path / "comp"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "nowhere.csv"], r"nowhere\.csv does not exist; check the name"),
        (["--test", "nowhere.csv"], r"nowhere\.csv does not exist"),
        (["--sample", "nowhere.csv"], r"nowhere\.csv does not exist"),
        (["--fold-file", "nowhere.csv"], r"nowhere\.csv does not exist"),
        (["--train", "."], r"has the unknown ending ''; convert it to one of \.csv, \.csv\.gz, \.parquet"),
        (["--train", "train.xlsx"], r"train\.xlsx has the unknown ending '\.xlsx'"),
        (["--target", "Y"], r"target 'Y' is not a column of train\.csv; did you mean 'y'\? columns: id, size"),
        (["--target", "siz"], r"target 'siz' is not a column of train\.csv; did you mean 'size'"),
        (["--id", "idd"], r"id 'idd' is not a column of train\.csv; did you mean 'id'"),
        (["--metric", "roc_ac"], r"unknown metric 'roc_ac'; .*known: accuracy, auc"),
        (["--metric", "logloss2"], r"unknown metric 'logloss2'; did you mean 'log_loss'"),
        (
            ["--metric", "auc_ovr"],
            r"metric 'auc_ovr' fits multiclass, but the target is binary with 2 classes; use auc",
        ),
        (["--metric", "mine:score"], r"'mine:score': there is no file .*mine\.py"),
        (["--metric", "rmse", "--task", "binary"], r"metric 'rmse' fits regression, but the target is binary"),
        (["--task", "ranking"], r"Invalid value for '--task': 'ranking' is not one of 'binary', 'multiclass'"),
        (["--positive", "yes"], r"positive='yes' is not a label of target 'y'; choose one of '0', '1'"),
        (["--folds", "50"], r"n_folds=50 but class '[01]' has \d+ rows; lower n_folds to \d+ or merge the class"),
        (["--folds", "1"], r"Invalid value for '--folds': 1 is not in the range x>=2"),
        (["--folds", "0"], r"Invalid value for '--folds'"),
        (["--scheme", "random"], r"Invalid value for '--scheme': 'random' is not one of 'stratified'"),
        (["--group", "color"], r"unknown column in .*train\.csv 'color'; did you mean 'colour'"),
        (["--time", "colour"], r"time column 'colour' holds neither dates in a known format nor numbers"),
        (["--split-seed", "-1"], r"Invalid value for '--split-seed'"),
        (["--seed", "-1"], r"Invalid value for '--seed': -1 is not in the range"),
        (["--time-budget", "soon"], r"'soon' is not a duration; write it as 90s, 10m, 1h30m or 2d"),
        (["--time-budget", "0"], r"the duration '0' is not positive"),
        (["--until", "24:00"], r"'24:00' is not a time; write it as 07:30, 23:30Z or 2026-11-23T07:30"),
        (["--until", "2020-01-01T07:30"], r"the time '2020-01-01T07:30' has passed; give one that is still ahead"),
        (["--trials", "0"], r"Invalid value for '--trials': 0 is not in the range x>=1"),
        (["--workers", "0"], r"Invalid value for '--workers'"),
        (["--workers", "two"], r"Invalid value for '--workers': 'two' is not a valid integer"),
        (["--executor", "cloud"], r"Invalid value for '--executor': 'cloud' is not one of 'auto', 'ray', 'local'"),
        (["--trails", "3"], r"No such option.* '?--trails'?.*--trials"),
        (["leftover"], r"unexpected extra argument \(leftover\); see 'foldsmith run --help'"),
    ],
)
def test_wrong_options(refused: Refused, run_words: list[object], words: list[str], message: str) -> None:
    refused(*run_words, *words, message=message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--families", "lightgmb"], r"unknown family 'lightgmb'; did you mean 'lightgbm'"),
        (["--families", "linear,mine:Model"], r"'mine:Model': there is no file .*mine\.py"),
    ],
)
def test_wrong_families(refused: Refused, run_words: list[object], words: list[str], message: str) -> None:
    refused(*run_words, *words, message=message)


@pytest.mark.parametrize("missing", ["train", "test", "target"])
def test_a_new_competition_needs_files_and_target(
    refused: Refused, run_words: list[object], tmp_path: Path, missing: str
) -> None:
    place = run_words.index(f"--{missing}")
    words = run_words[:place] + run_words[place + 2 :]
    refused(*words, message=f"--{missing} is missing; a new competition needs --train, --test and --target")


def write(path: Path, data: bytes | str) -> None:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\); give a file with a header and rows"),
        (b"\n\n", r"is empty; give a file with a header and rows"),
        (b"id,size,weight,colour,y\n", r"has a header but no rows; give a file with data"),
        (bytes(range(256)) * 40, r"is not a text file \(it has zero bytes, the first in line 1\)"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(range(1, 32)) * 20,
            r"(, line \d+: the byte 0x\w\w is neither UTF-8 nor latin-1 text|; columns: \?PNG)",
        ),
        (b"PAR1" + b"\x15" * 100, r"is a parquet file; rename it to end in \.parquet"),
        (gzip.compress(b"id,y\n1,2\n", mtime=0), r"is compressed with gzip; rename it to end in \.csv\.gz"),
        (b"id,size,size,colour,y\n1,2,3,4,0\n", r"has 'size' more than once in its header"),
        (b"id,size,y\n1,2,0,9\n", r"has 3 names but 4 fields in its first row"),
        (b'id,size,weight,colour,y\n1,"2,3,red,0\n2,1,1,red,1\n', r", line 2: the file ends inside the quoted cell"),
        (
            b'id,size,weight,colour,y\n1,2,3,"red,0\n2,1,1,"red",1\n',
            r", line 2: the quoted cell that begins here goes on",
        ),
    ],
)
def test_unreadable_files(
    refused: Refused, run_words: list[object], files: dict[str, Path], which: str, data: bytes, message: str
) -> None:
    write(files[which], data)
    refused(*run_words, message=rf"{which}\.csv ?{message}")


def test_a_harmed_parquet_file(refused: Refused, run_words: list[object], tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", b"PAR1 and no more")
    refused(*run_words, "--train", tmp_path / "train.parquet", message=r"train\.parquet cannot be read as parquet: ")


def test_a_torn_gzip_file(refused: Refused, run_words: list[object], tmp_path: Path) -> None:
    write(tmp_path / "train.csv.gz", gzip.compress(b"id,size,weight,colour,y\n" * 1000, mtime=0)[:-20])
    refused(*run_words, "--train", tmp_path / "train.csv.gz", message=r"train\.csv\.gz cannot be read as csv: ")


Change = Callable[[pd.DataFrame, pd.DataFrame], object]


def set_cell(frame: pd.DataFrame, row: int, column: str, value: object) -> None:
    values = frame[column].astype(object).tolist()
    values[row] = value
    frame[column] = values


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (
            lambda train, test: set_cell(train, 4, "y", None),
            [],
            r"target 'y' has 1 missing values, the first in row 5 \(the header not counted\); remove those rows",
        ),
        (
            lambda train, test: train.__setitem__("y", 1),
            [],
            r"target 'y' has the same value '1' in every row; nothing to learn",
        ),
        (
            lambda train, test: set_cell(train, 3, "id", "001"),
            [],
            r"id column 'id' of train has 1 repeated ids, e\.g\. '001'; remove the repeated rows",
        ),
        (
            lambda train, test: set_cell(test, 3, "id", "061"),
            [],
            r"id column 'id' of test has 1 repeated ids, e\.g\. '061'",
        ),
        (
            lambda train, test: set_cell(test, 2, "id", None),
            [],
            r"id column 'id' of test has 1 missing ids, the first in row 3; fill in",
        ),
        (
            lambda train, test: test.pop("weight"),
            [],
            r"test\.csv lacks column 'weight' of train\.csv; add to test\.csv or remove from train\.csv",
        ),
        (
            lambda train, test: test.pop("id"),
            ["--id", "id"],
            r"id 'id' is not a column of test\.csv",
        ),
        (
            lambda train, test: train.__setitem__("y", [*(["common"] * 58), "rare", "rare"]),
            ["--folds", "5"],
            r"n_folds=5 but class 'rare' has 2 rows; lower n_folds to 2 or merge the class",
        ),
        (
            lambda train, test: train.__setitem__("y", [-0.5 + 0.1 * n for n in range(60)]),
            ["--metric", "rmsle"],
            r"metric 'rmsle' needs labels of 0 or more, but 5 of 60 are negative, the smallest -0\.5; use rmse",
        ),
        (
            lambda train, test: train.__setitem__("y", ["a", "b", "c"] * 20),
            ["--metric", "auc"],
            r"metric 'auc' fits binary, but the target is multiclass with 3 classes; use auc_ovr",
        ),
        (
            lambda train, test: train.__setitem__("y", ["a", "b", "c"] * 20),
            ["--metric", "rmse"],
            r"target 'y' has 60 values that are not numbers",
        ),
        (
            lambda train, test: train.__setitem__("y", [0.5 * n for n in range(59)] + [float("inf")]),
            [],
            r"target 'y' has 1 infinite values",
        ),
        (
            lambda train, test: [frame.pop(name) for frame in (train, test) for name in ("size", "weight", "colour")],
            [],
            r"train\.csv has no column to learn from besides id and target",
        ),
    ],
)
def test_tables_that_cannot_work(
    refused: Refused,
    run_words: list[object],
    make_frames: MakeFrames,
    files: dict[str, Path],
    change: Change,
    words: list[str],
    message: str,
) -> None:
    train, test = (frame.copy() for frame in make_frames())
    change(train, test)
    train.to_csv(files["train"], index=False)
    test.to_csv(files["test"], index=False)
    refused(*run_words, *words, message=message)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("id,y\n061,0\n", r"the sample submission has 1 ids, 0 of them not in test; test has 12"),
        (
            "id,y,z\n" + "".join(f"{n:03d},0,0\n" for n in range(61, 73)),
            r"has a column 'z', but the predictions are for y",
        ),
    ],
)
def test_a_sample_that_does_not_fit(
    refused: Refused, run_words: list[object], tmp_path: Path, sample: str, message: str
) -> None:
    (tmp_path / "sample.csv").write_text(sample)
    refused(*run_words, "--sample", tmp_path / "sample.csv", message=message)


class TestOut:
    def test_a_file(self, refused: Refused, run_words: list[object], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        refused(*run_words, "--out", tmp_path / "file", message=r"the output path .*/file is a file; name a folder")
        refused("-C", tmp_path / "file", *run_words[:-2], message=r"/file is a file; name a folder")

    def test_below_a_file(self, refused: Refused, run_words: list[object], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        refused(*run_words, "--out", tmp_path / "file" / "a" / "b", message=r"goes through .*/file, which is a file")
        refused("init", tmp_path / "file" / "a", *run_words[1:7], message=r"goes through .*/file, which is a file")
        refused("demo", "--out", tmp_path / "file" / "a", message=r"goes through .*/file, which is a file")

    def test_read_only(
        self, refused: Refused, run_words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and real(path, mode))
        message = rf"the output path .*/comp cannot be written \({tmp_path} is read-only\); name another folder"
        refused(*run_words, message=message)
        refused("demo", "--out", tmp_path / "comp", message="is read-only")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], r"--train is missing"),
        (["init"], r"--train is missing"),
        (["search", "--trials", "1"], r"no foldsmith\.toml in .*; start with 'foldsmith run"),
        (["resume"], r"no foldsmith\.toml in "),
        (["status"], r"no foldsmith\.toml in "),
        (["watch"], r"no foldsmith\.toml in "),
        (["logs"], r"no foldsmith\.toml in "),
        (["service"], r"no foldsmith\.toml in "),
        (["search", "--trials", "1", "--detach"], r"no foldsmith\.toml in "),
        (["stop"], r"no search is running in .*; nothing to stop"),
        (["top"], r"no foldsmith\.toml in "),
        (["show", "b01"], r"no foldsmith\.toml in "),
        (["blend"], r"no foldsmith\.toml in "),
        (["submit", "make", "b01"], r"no foldsmith\.toml in "),
        (["folds", "show"], r"no foldsmith\.toml in "),
        (["folds", "make"], r"no foldsmith\.toml in "),
        (["dashboard"], r"no foldsmith\.toml in "),
        (["show"], r"Missing argument 'MEMBER'; see 'foldsmith show --help'"),
        (["runn"], r"No such command 'runn'"),
        (["folds", "freeze"], r"No such command 'freeze'"),
        (["--colour"], r"No such option.* '?--colour'?; see 'foldsmith --help'"),
        (["demo", "--data", "iris"], r"unknown demo data set 'iris'; .*known: breast_cancer"),
        (["demo", "--time-budget", "x"], r"'x' is not a duration"),
    ],
)
def test_nothing_there(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    """In a folder without a competition, and in one that does not exist."""
    monkeypatch.chdir(tmp_path)
    refused(*words, message=message)
    if not words[0].startswith("demo"):
        refused("-C", tmp_path / "nowhere", *words, message=message)


@pytest.fixture
def competition(foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path) -> Path:
    """A competition that was set up, its folds frozen; nothing was searched."""
    folder = tmp_path / "comp"
    assert foldsmith("init", folder, *options, "--folds", 2).code == 0
    assert foldsmith("-C", folder, "folds", "make").code == 0
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "lgb-0001"], r"unknown member 'lgb-0001'; known:"),
        (["submit", "make", "b01"], r"unknown member 'b01'"),
        (["blend"], r"there is no complete member to blend yet; run 'foldsmith search' first"),
        (["blend", "stack"], r"unknown blend method 'stack'; .*known: auto, best_single, boosted_stack"),
        (["compare", "lgb-0001", "b01"], r"unknown member 'lgb-0001'"),
        (["posthoc", "b01"], r"metric auc needs no labels, so there is no threshold or cut point to fit"),
        (["blend", "--from", "lgb-0001"], r"unknown member 'lgb-0001'"),
        (["blend", "--from", "top:0"], r"--from 'top:0' is not top:N with a positive number"),
        (["blend", "--from", "top:x"], r"--from 'top:x' is not top:N"),
        (["blend", "--from", ","], r"--from ',' names no member"),
        (["search"], r"a search needs an end; give --trials or --time-budget"),
        (["search", "lightgmb", "--trials", "1"], r"unknown family 'lightgmb'; did you mean 'lightgbm'"),
        (["search", "--trials", "0"], r"Invalid value for '--trials'"),
        (["resume"], r"no search was started in .* yet; use 'foldsmith run' or 'search'"),
        (["dashboard"], r"there is no study in .* yet; start a search first"),
        (["top", "-n", "0"], r"Invalid value for '-n'"),
        (["stop"], r"no search is running in "),
        (["watch"], r"no search is running in .*; see 'foldsmith status', or start one"),
        (["logs"], r"there are no logs in .*; start a search first"),
        (["logs", "-n", "-1"], r"Invalid value for '-n'"),
    ],
)
def test_nothing_searched_yet(refused: Refused, competition: Path, words: list[str], message: str) -> None:
    refused("-C", competition, *words, message=message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('metric = "auc"', 'metric = "acu"', r"unknown metric 'acu'; did you mean 'auc'"),
        ('metric = "auc"', 'metrics = "auc"', r"problem\.metric is missing; add it|unknown key .* 'problem\.metrics'"),
        ('task = "binary"', 'task = "ranking"', r"problem\.task = 'ranking': Input should be"),
        ("[split]", "[split", r"foldsmith\.toml is not valid TOML"),
        ("train.csv", "trian.csv", r"no such file: .*trian\.csv; correct \[data\] in foldsmith\.toml"),
    ],
)
def test_a_config_that_was_spoilt(refused: Refused, competition: Path, old: str, new: str, message: str) -> None:
    path = competition / "foldsmith.toml"
    path.write_text(path.read_text().replace(old, new))
    for words in (["status"], ["top"], ["run", "--trials", 1]):
        refused("-C", competition, *words, message=message)


def test_environment_variables_are_checked_too(
    refused: Refused, run_words: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDSMITH_RUN_WORKERS", "many")
    refused(*run_words, message=r"Invalid value for '--workers'.*: 'many' is not a valid integer")


def test_a_name_with_a_line_break_stays_on_one_line(refused: Refused, run_words: list[object], tmp_path: Path) -> None:
    refused(*run_words, "--train", tmp_path / "two\nlines.csv", message=r"two lines\.csv does not exist")
