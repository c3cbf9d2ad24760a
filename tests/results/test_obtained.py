"""Every score says how it was obtained, and scores of different kinds are not put into one order unmarked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.obtained import obtained

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]
Foldsmith = Callable[..., Any]


def test_kinds_of_scores(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="f1")
    y = problem.data.y * 0.5 + 0.2
    plain = obtained(problem, add_member(problem, y, policy="cv-curve"))
    scored = obtained(problem, add_member(problem, y, policy="scored"))
    blend = obtained(problem, add_member(problem, y, kind="blend", policy="nested"))
    foreign = obtained(problem, add_member(problem, y, kind="imported", details={"folds": "unknown"}))
    assert [one.marks for one in (plain, scored, blend, foreign)] == ["", "e", "n", "!"]
    assert plain.is_comparable(blend) and not plain.is_comparable(scored) and not plain.is_comparable(foreign)
    assert plain.label == (
        f"out of fold, pooled over {problem.plan.n_folds} stratified folds ({problem.plan.hash}), rounds by cv-curve, "
        "labels by rules fitted on the other folds"
    )
    assert "rounds by scored, which flatters" in scored.label and "made under unknown folds" in foreign.label
    assert "nested: weights fitted on the other folds" in blend.label and "rounds" not in blend.label
    by_fold = make_problem(metric="auc", name="other")
    assert "mean of folds over" in obtained(by_fold, Member("a", "trial", "complete", "", "", "")).label


COMMANDS = [
    ("top", "--json"),
    ("show", "b01", "--json"),
    ("blend", "greedy", "--json"),
    ("compare", "b01", "lgb-0001", "--json"),
    ("oof", "list", "--json"),
]
SCORES = {"value", "nested_score", "gain", "score"}


def scores_without_kind(record: Any, known: bool = False) -> list[str]:
    """Paths of scores in whose object, or one around it, nothing says how they were obtained."""
    if isinstance(record, list):
        return [path for item in record for path in scores_without_kind(item, known)]
    if not isinstance(record, dict):
        return []
    known = known or "obtained" in record
    bare = [key for key, value in record.items() if key in SCORES and isinstance(value, float) and not known]
    return bare + [f"{key}.{path}" for key, value in record.items() for path in scores_without_kind(value, known)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_reader_says_how_its_scores_were_obtained(
    searched: Path, foldsmith: Foldsmith, words: tuple[str, ...]
) -> None:
    if words[0] == "oof":
        np.save(searched / "oof.npy", (open_problem(searched).data.y * 0.5 + 0.2).astype(np.float32)[:, None])
        assert foldsmith("-C", searched, "oof", "import", "a", "--oof", searched / "oof.npy").code == 0
    told = foldsmith("-C", searched, *words)
    assert told.code == 0, told.err
    record = json.loads(told.out)
    assert scores_without_kind(record) == [] and "obtained" in told.out


def test_different_kinds_are_marked(searched: Path, foldsmith: Foldsmith) -> None:
    store = MemberStore(open_problem(searched).folder)
    store.write(replace(store.get("lgb-0001"), policy="scored"))
    top = foldsmith("-C", searched, "top").out
    assert "e  boosting rounds chosen by the fold that is scored" in top and "over 2 stratified folds" in top
    compared = foldsmith("-C", searched, "compare", "lgb-0001", "lin-0001").out
    assert "of different kinds: out of fold" in compared
    assert "obtained     out of fold" in foldsmith("-C", searched, "show", "lin-0001").out
    assert "obtained" in foldsmith("-C", searched, "top", "--csv").out.splitlines()[0]
