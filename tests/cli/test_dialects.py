"""The same competition from files in other dialects: the same submission, byte for byte, and notes of what was read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foldsmith.problem.testing import Tables, Writing, make_tables, write_csv, write_parquet

SMALL = ["--families", "linear", "--trials", 1, "--folds", 3, "--executor", "inline"]


def write_all(folder: Path, tables: Tables, writing: Writing) -> list[object]:
    """The three files and the options that name them."""
    folder.mkdir()
    for name in ("train", "test", "sample"):
        write_csv(folder / f"{name}.csv", getattr(tables, name), writing)
    return options(folder, "csv")


def options(folder: Path, ending: str) -> list[object]:
    words: list[object] = ["--target", "y"]
    for name in ("train", "test", "sample"):
        words += [f"--{name}", folder / f"{name}.{ending}"]
    return words


@pytest.fixture
def submit(foldsmith: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[bytes, str]]:
    """Runs the smallest search; the bytes of its submission and what was printed."""

    def run(name: str, words: list[object]) -> tuple[bytes, str]:
        out = tmp_path / f"comp-{name}"
        outcome = foldsmith("run", *words, *SMALL, "--out", out)
        assert outcome.code == 0, outcome.err
        return (out / "submissions" / "current.csv").read_bytes(), outcome.out + outcome.err

    return run


def test_a_search_writes_the_same_submission(submit: Callable[..., tuple[bytes, str]], tmp_path: Path) -> None:
    tables = make_tables(3)
    plain, told = submit("plain", write_all(tmp_path / "plain", tables, Writing()))
    assert "separated" not in told and plain.startswith(b"id,high,low,mid\n")
    spread = Writing(separator=";", decimal=",", newline="\r\n", encoding="utf-16")
    other, told = submit("other", write_all(tmp_path / "other", tables, spread))
    assert other == plain
    for says in (r"train\.csv: fields are separated by ';'", r"test\.csv is read as UTF-16", r"have a decimal comma"):
        assert re.search(says, told), told
    folder = tmp_path / "parquet"
    folder.mkdir()
    for name in ("train", "test", "sample"):
        write_parquet(folder / f"{name}.parquet", getattr(tables, name), "dictionary")
    assert submit("parquet", options(folder, "parquet"))[0] == plain


def test_an_index_in_every_file_is_not_learned_from(submit: Callable[..., tuple[bytes, str]], tmp_path: Path) -> None:
    tables = make_tables(4)
    plain, _ = submit("plain", write_all(tmp_path / "plain", tables, Writing()))
    other, told = submit("index", write_all(tmp_path / "index", tables, Writing(index=True, trailing=True)))
    assert other == plain
    assert "train.csv: the column 'Unnamed: 0' is the index that pandas writes" in told
    config = (tmp_path / "comp-index" / "foldsmith.toml").read_text()
    assert "Unnamed" not in config and 'id = "id"' in config


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda lines: lines[5].rpartition(b",")[0] + b"\n", r"test\.csv, line 6: expected 6 fields, found 5"),
        (lambda lines: lines[5].rstrip(b"\n") + b",7\n", r"test\.csv, line 6: expected 6 fields, found 7"),
        (lambda lines: lines[5].replace(b",", b',"', 1), r"test\.csv, line 6: the quoted cell that begins here"),
        (lambda lines: lines[5].replace(b",", b",\xe9", 1), r"test\.csv, line 6: the byte 0xE9 is not UTF-8"),
    ],
)
def test_damage_ends_with_one_line(
    foldsmith: Callable[..., Any], tmp_path: Path, harm: Callable[[list[bytes]], bytes], message: str
) -> None:
    words = write_all(tmp_path / "files", make_tables(3), Writing())
    path = tmp_path / "files" / "test.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5] = harm(lines)
    path.write_bytes(b"".join(lines))
    outcome = foldsmith("run", *words, *SMALL, "--out", tmp_path / "comp")
    assert outcome.code == 2
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", outcome.err)
    assert not (tmp_path / "comp").exists()
