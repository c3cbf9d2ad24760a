"""``space`` and ``portfolio`` on the command line: what stands on stdout, and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from foldsmith.cli.spaces import show_param
from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member
from foldsmith.spaces.portfolio_file import own_path, read_portfolio
from foldsmith.spaces.space import Choice, Condition, Float, Int, Param

Foldsmith = Callable[..., Any]


@pytest.fixture
def comp(make_problem: Callable[..., Problem], add_member: Callable[..., Member]) -> Path:
    """A competition with 25 trials of linear, the best at C=1."""
    problem = make_problem(metric="log_loss")
    for number in range(25):
        C = 10.0 ** (-3 + 6 * number / 24)
        oof = np.abs(problem.data.y - abs(np.log10(C)) / 8)
        add_member(problem, oof, params={"C": C, "numeric": "pieces"}, space_version="linear@1")
    return problem.folder.root


def test_show(foldsmith: Foldsmith, comp: Path) -> None:
    (comp / "foldsmith.toml").write_text((comp / "foldsmith.toml").read_text() + "[spaces.linear]\nC = [0.1, 10.0]\n")
    outcome = foldsmith("-C", comp, "space", "show", "linear", "xgboost")
    assert outcome.code == 0, outcome.err
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert any(line.startswith("linear · linear@1+") for line in lines)
    assert "C 0.1 … 10 log (foldsmith.toml) 1.0" in lines or "C 0.1 … 10 log (foldsmith.toml) 1" in lines
    assert "max_leaves 8 … 1024 log, if grow_policy is lossguide" in lines
    assert sum(line.startswith("portfolio ") for line in lines) >= 4


def test_show_json(foldsmith: Foldsmith, comp: Path) -> None:
    outcome = foldsmith("-C", comp, "space", "show", "knn", "--json")
    assert outcome.code == 0, outcome.err
    (view,) = json.loads(outcome.out)
    assert view["family"] == "knn" and view["version"].startswith("knn@") and view["reason"] is None
    assert view["params"]["p"] == {"kind": "choice", "choices": [1, 2], "when": None}
    default = view["defaults"][0]
    assert default["weights"] == "distance" and default in view["points"]


def test_show_names_what_is_wrong(foldsmith: Foldsmith, comp: Path) -> None:
    outcome = foldsmith("-C", comp, "space", "show", "liner")
    assert outcome.code == 2 and "unknown family 'liner'; did you mean 'linear'" in outcome.err
    text = (comp / "foldsmith.toml").read_text()
    (comp / "foldsmith.toml").write_text(text + "[spaces.linear]\nC = [10.0, 0.1]\n")
    outcome = foldsmith("-C", comp, "space", "show", "linear")
    assert outcome.code == 2 and outcome.out == ""
    assert "[spaces.linear] C = [10.0, 0.1]: low 10.0 is not below high 0.1" in outcome.err


def test_shrink_prints_toml_and_writes_it_when_asked(foldsmith: Foldsmith, comp: Path) -> None:
    before = (comp / "foldsmith.toml").read_text()
    outcome = foldsmith("-C", comp, "space", "shrink", "linear", "--top", "20%")
    assert outcome.code == 0, outcome.err
    table = tomlkit.parse(outcome.out).unwrap()["spaces"]["linear"]
    assert 0.1 < table["C"][0] < 1 < table["C"][1] < 10 and table["numeric"] == ["pieces"]
    assert "linear: 25 complete trials" in outcome.err and "fixed at pieces" in outcome.err
    assert (comp / "foldsmith.toml").read_text() == before
    assert foldsmith("-C", comp, "space", "shrink", "linear", "--write").code == 0
    assert tomlkit.parse((comp / "foldsmith.toml").read_text()).unwrap()["spaces"]["linear"] == table


def test_shrink_needs_trials(foldsmith: Foldsmith, comp: Path) -> None:
    outcome = foldsmith("-C", comp, "space", "shrink", "knn")
    assert outcome.code == 2 and " has 0 complete trials at different points, shrinking needs 20" in outcome.err


def test_learn(foldsmith: Foldsmith, comp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDSMITH_PORTFOLIO", str(tmp_path / "own.json"))
    outcome = foldsmith("portfolio", "learn", comp, "--json")
    assert outcome.code == 0, outcome.err
    learned = json.loads(outcome.out)
    assert learned["path"] == str(tmp_path / "own.json") and learned["n_competitions"] == 1
    assert len(read_portfolio(own_path()).points["linear"]) == learned["n_points"]["linear"] > 0
    outcome = foldsmith("-C", comp, "portfolio", "learn", "--out", tmp_path / "other.json")
    assert outcome.code == 0 and "now rests on 1 competition\n" in outcome.out
    assert (tmp_path / "other.json").exists()


def test_learn_from_nothing(foldsmith: Foldsmith, make_problem: Callable[..., Problem], tmp_path: Path) -> None:
    outcome = foldsmith("portfolio", "learn", make_problem().folder.root, "--out", tmp_path / "p.json")
    assert outcome.code == 2 and "there is nothing to learn from" in outcome.err
    outcome = foldsmith("portfolio", "learn", tmp_path / "nowhere", "--out", tmp_path / "p.json")
    assert outcome.code == 2 and "nowhere" in outcome.err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (Float(0.01, 0.1, log=True), "0.01 … 0.1 log"),
        (Int(4, 256), "4 … 256"),
        (Choice((False, True)), "False | True"),
        (Choice((0.05,)), "fixed at 0.05"),
        (Int(8, 64, when=Condition("kind", ("a", "b"))), "8 … 64, if kind is a or b"),
    ],
)
def test_params_in_words(param: Param, words: str) -> None:
    assert show_param(param) == words
