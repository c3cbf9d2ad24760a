"""``foldsmith mirror``: there and back, and going on from what came back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Foldsmith = Callable[..., Any]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket"


def test_a_search_goes_on_from_its_mirror(foldsmith: Foldsmith, searched: Path, url: str, tmp_path: Path) -> None:
    pushed = foldsmith("-C", searched, "mirror", "push", url)
    assert pushed.code == 0 and f"of 4 members went to {url}" in pushed.out
    assert foldsmith("-C", searched, "mirror", "push", url).out == f"nothing is new; {url} has it all\n"
    new = tmp_path / "new"
    pulled = foldsmith("-C", new, "mirror", "pull", url)
    assert (pulled.code, pulled.err) == (0, "")
    assert pulled.out == "fetched 4 members; 0 were here already; journal: fetched\n"
    for words in (["top", "--json"], ["show", "lgb-0001", "--json"], ["folds", "show", "--json"]):
        assert json.loads(foldsmith("-C", new, *words).out) == json.loads(foldsmith("-C", searched, *words).out)
    status = json.loads(foldsmith("-C", new, "status", "--json").out)
    assert status["states"] == {"complete": 3} and status["driver"] is None
    assert foldsmith("-C", new, "blend", "--name", "again").code == 0
    resumed = foldsmith("-C", new, "resume", "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["n_members"] == 3  # nothing was searched again
    more = foldsmith("-C", new, "search", "linear", "--trials", 2, "--executor", "inline")
    assert more.code == 0, more.err
    assert "lin-0002" in foldsmith("-C", new, "top").out
    assert foldsmith("-C", new, "mirror", "push", url).code == 0


def test_status_in_words_and_json(foldsmith: Foldsmith, searched: Path, url: str) -> None:
    config = searched / "foldsmith.toml"
    config.write_text(config.read_text().replace("[store]", f'[store]\nmirror = "{url}"'))
    before = foldsmith("-C", searched, "mirror", "status")
    assert before.code == 0 and "to be pushed    4   b01, knn-0001, lgb-0001, lin-0001" in before.out
    assert foldsmith("-C", searched, "mirror", "push").code == 0
    shutil.rmtree(searched / ".foldsmith/members/knn-0001")
    record = json.loads(foldsmith("-C", searched, "mirror", "status", "--json").out)
    assert record["url"] == url and record["only_there"] == ["knn-0001"] and record["behind"] == []
    assert record["same"] == ["b01", "lgb-0001", "lin-0001"] and record["journal_behind_bytes"] == 0
    assert "fetched 1 member; 3 were here already" in foldsmith("-C", searched, "mirror", "pull").out


def test_what_cannot_be_pulled_is_said(foldsmith: Foldsmith, searched: Path, url: str, tmp_path: Path) -> None:
    train = tmp_path / "gone" / "train.csv"
    config = searched / "foldsmith.toml"
    lines = [f'train = "{train}"' if line.startswith("train = ") else line for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    foldsmith("-C", searched, "mirror", "push", url)
    (tmp_path / "bucket/.foldsmith/members/knn-0001/oof.npy").write_bytes(b"")
    pulled = foldsmith("-C", tmp_path / "new", "mirror", "pull", url)
    assert pulled.code == 0 and pulled.out.startswith("fetched 3 members;")
    assert "not whole on the mirror, left out: knn-0001" in pulled.err
    assert f"{train} is not here; put it there, or correct [data] in foldsmith.toml" in pulled.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["push"], "no mirror is named"),
        (["push", "bucket"], "mirror 'bucket' is no URL with a path"),
        (["pull", "memory://nothing/here"], "there is nothing on the mirror memory://nothing/here"),
        (["status", "abc://x/y"], "Protocol not known: abc"),
    ],
)
def test_bad_input(foldsmith: Foldsmith, searched: Path, words: list[str], message: str) -> None:
    outcome = foldsmith("-C", searched, "mirror", *words)
    assert outcome.code == 2 and message in outcome.err and outcome.out == ""
