"""Cells of a notebook: run again, with progress that does not flood the page, and with short results."""

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import foldsmith
from foldsmith.flow.notebook import ProgressLine, describe
from foldsmith.flow.setup import SetupRequest
from foldsmith.flow.setup import init as set_up
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import ContractError
from foldsmith.problem.metrics import get_metric
from foldsmith.search.snapshot import FamilyView, Snapshot

Files = dict[str, Path]


def again(files: Files, root: Path, **words: Any) -> foldsmith.Competition:
    return foldsmith.init(root, train=files["train"], test=files["test"], target="y", **words)


def test_the_same_words_give_the_same_competition(files: Files, tmp_path: Path) -> None:
    words: dict[str, Any] = {"metric": "auc", "n_folds": 3, "families": ["linear"]}
    first = again(files, tmp_path / "comp", **words)
    first.search(trials=1, executor="inline")
    toml = (tmp_path / "comp" / "foldsmith.toml").read_text()
    (tmp_path / "comp" / "foldsmith.toml").write_text(f"{toml}\n# a note of mine\n")
    second = again(files, tmp_path / "comp", **words)
    assert second.problem.contract == first.problem.contract
    assert [member.id for member in second.members.all()] == [member.id for member in first.members.all()]
    assert "a note of mine" in (tmp_path / "comp" / "foldsmith.toml").read_text()
    assert len(second.top()) == len(first.top()) > 0


def test_a_path_written_otherwise_is_the_same_word(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(files, tmp_path / "comp")
    monkeypatch.chdir(tmp_path)
    foldsmith.init("comp", train="data/../data/train.csv", test="data/test.csv", target="y")


@pytest.mark.parametrize(
    ("word", "before", "now"),
    [
        ("metric", "auc", "log_loss"),
        ("metric", None, "log_loss"),
        ("metric", "log_loss", None),
        ("n_folds", 3, 4),
        ("n_folds", 10, None),
        ("group", None, "colour"),
        ("positive", None, "0"),
        ("split_seed", 42, 1),
        ("holdout", 0.0, 0.2),
        ("families", ["linear"], ["knn"]),
    ],
)
def test_other_words_are_refused(files: Files, tmp_path: Path, word: str, before: Any, now: Any) -> None:
    again(files, tmp_path / "comp", **({} if before is None else {word: before}))
    with pytest.raises(
        ContractError, match=rf"exists already, set up with {word}=.*; edit it, or choose another folder"
    ):
        again(files, tmp_path / "comp", **({} if now is None else {word: now}))


def test_another_file_is_another_word(files: Files, tmp_path: Path) -> None:
    again(files, tmp_path / "comp")
    pd.read_csv(files["train"], dtype=str).iloc[1:].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(ContractError, match=r"set up with train='.*train.csv', not '.*other.csv'"):
        again({**files, "train": tmp_path / "other.csv"}, tmp_path / "comp")


def test_who_set_it_up_unknown(files: Files, tmp_path: Path) -> None:
    """A folder of an earlier version, or one whose record is damaged."""
    again(files, tmp_path / "comp")
    for content in (None, b""):
        path = tmp_path / "comp" / ".foldsmith" / "init.json"
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ContractError, match=r"exists already; open it with open_competition"):
            again(files, tmp_path / "comp")


def test_results_are_shown_in_a_line(make_problem: Callable[..., Problem], files: Files, tmp_path: Path) -> None:
    competition = foldsmith.open_competition(make_problem().folder.root)
    report = competition.search(["linear", "knn"], trials=6, executor="inline")
    assert report.blended is not None
    blend = competition.blend()
    setup = set_up(tmp_path / "other", SetupRequest(files["train"], files["test"], "y"))
    shown = [report, report.blended, blend, competition, setup, competition.members.all()[0]]
    for one in shown:
        assert len(repr(one)) < 400 and "\n" not in repr(one), type(one)
    assert repr(report).startswith("SearchReport(done; blended Blended(")
    assert repr(blend).startswith(f"Blend({blend.id!r}, ")
    assert repr(shown[-1]).startswith("Member('b01', blend, auto, complete, auc 0.")


# --- progress ---------------------------------------------------------------------------------------------------------


def snapshot(number: int, phase: str = "searching", **more: Any) -> Snapshot:
    families = (FamilyView("linear", 3, 0.81), FamilyView("knn", 2, 0.79), FamilyView("mlp", 0))
    return Snapshot(phase, 12.0 + number, 60.0, 10, 4, 1, 1, 0, families, ensemble=(0.82, 0.01), **more)


def test_a_line_says_what_matters() -> None:
    line = describe(snapshot(0), get_metric("auc"))
    assert line == "0:12 of 1:00   searching   6 of 10 trials (1 running, 1 failed)   best linear 0.81   ensemble 0.82"
    assert "best knn 0.79" in describe(snapshot(0), get_metric("rmse"))


def test_a_replaced_line_does_not_flood(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Four snapshots a second for ten minutes, by a clock of our own."""
    now = 0.0
    monkeypatch.setattr("foldsmith.flow.notebook.time.monotonic", lambda: now)
    texts: list[str] = []
    line = ProgressLine(get_metric("auc"), texts.append)
    for number in range(2400):
        now = number / 4
        line.show(snapshot(number))
    line.end()
    assert 500 < len(texts) <= 602
    assert capsys.readouterr().out == ""


def test_lines_that_pile_up_are_few(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr("foldsmith.flow.notebook.time.monotonic", lambda: now)
    line = ProgressLine(get_metric("auc"))
    for number in range(2400):
        now = number / 4
        line.show(snapshot(number, "starting" if number < 8 else "searching", messages=("knn failed",)[: number > 99]))
    out = capsys.readouterr().out.splitlines()
    assert out.count("knn failed") == 1 and 20 <= len(out) <= 24


class ZMQInteractiveShell:
    """As the kernel of a notebook names its shell."""


class Handle:
    """Of a display; keeps what it showed."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, bundle: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(bundle["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """What IPython offers in a notebook."""
    handle = Handle()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    monkeypatch.setattr(ipython, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(display, "display", lambda bundle, raw, display_id: handle, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_a_search_in_a_notebook_shows_progress(
    notebook: Handle, make_problem: Callable[..., Problem], capsys: pytest.CaptureFixture[str]
) -> None:
    competition = foldsmith.open_competition(make_problem().folder.root)
    competition.search(["linear"], trials=3, executor="inline")
    assert notebook.shown and "of 3 trials" in notebook.shown[-1]
    seen: list[Snapshot] = []
    n_shown = len(notebook.shown)
    competition.search(["linear"], trials=4, executor="inline", observe=seen.append)
    assert seen and len(notebook.shown) == n_shown, "who was given looks alone"
    assert capsys.readouterr().out.count("\n") < 10


def test_outside_of_a_notebook_nothing_is_shown(make_problem: Callable[..., Problem]) -> None:
    root = make_problem().folder.root
    program = (
        f"import foldsmith; foldsmith.open_competition({str(root)!r}).search(['linear'], trials=1, executor='inline')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
