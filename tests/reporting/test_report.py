"""The report: every kind of problem is drawn, its numbers are the store's, and no cell of the data can act."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.flow.competition import Competition, init
from foldsmith.flow.ensemble import blend_members, keep_blend
from foldsmith.flow.leaderboard import log_score
from foldsmith.flow.submission import make_submission
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.reporting.chart import plain, thinned
from foldsmith.reporting.facts import Facts
from foldsmith.reporting.page import member_rows, render, summary_lines
from foldsmith.reporting.server import make_app, make_server
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def facts_of(problem: Problem, **more: Any) -> Facts:
    return Facts(Competition(problem.folder.root), **more)


def noisy(problem: Problem, noise: float, seed: int) -> NDArray[Any]:
    """Out-of-fold predictions of any task that know the labels in part."""
    rng = np.random.default_rng(seed)
    y, n = problem.data.y, len(problem.data.y)
    if not problem.goal.is_classification:
        return np.asarray(y + noise * rng.normal(size=n))
    n_classes = len(problem.data.target.classes)
    if n_classes == 2:
        return np.clip(0.5 + 0.3 * (2 * y - 1) + noise * rng.normal(size=n), 0.01, 0.99)
    chances = np.clip(np.eye(n_classes)[y] + noise * np.abs(rng.normal(size=(n, n_classes))), 0.01, None)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def filled(problem: Problem, add_member: AddMember) -> Facts:
    """Ten members of two families, some with parameters, and a blend."""
    rng = np.random.default_rng(0)
    for number in range(10):
        params = {"rate": float(10 ** rng.uniform(-3, 0)), "kind": "ab"[number % 2], "leaves": int(rng.integers(3, 9))}
        add_member(
            problem,
            noisy(problem, 0.2 + 0.05 * number, number),
            params=params,
            seconds=1.0 + number,
            family="linear" if number < 9 else "knn",
            created=f"2026-01-01T00:00:{number:02d}",
        )
    store = MemberStore(problem.folder)
    chosen = store.all(states=["complete"])
    keep_blend(problem, store, blend_members(problem, store, sorted(chosen, key=lambda one: one.id)))
    return facts_of(problem)


def charts_of(page: str) -> dict[str, Any]:
    text = re.search(r'id="chart-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    return {chart["id"].removeprefix("chart-"): chart for chart in json.loads(text[1])}


ALWAYS = {"history", "folds", "weights", "correlations", "slices", "costs", "gain", "drift", "importance-linear"}
CLASSES = {"confusion", "calibration"}
CASES = [
    ("binary", "auc", CLASSES | {"roc", "precision-recall"}),
    ("binary", "f1", CLASSES | {"roc", "precision-recall", "thresholds"}),
    ("multiclass", "log_loss", CLASSES),
    ("multiclass", "qwk", {"confusion"}),
    ("regression", "rmse", {"residuals", "by-target"}),
]


@pytest.mark.parametrize(("task", "metric", "own"), CASES)
def test_every_task_is_drawn(
    make_problem: MakeProblem, add_member: AddMember, task: str, metric: str, own: set[str]
) -> None:
    problem = make_problem(task, metric=metric)
    facts = filled(problem, add_member)
    page = render(facts)
    charts = charts_of(page)
    names = {name for name in charts if not name.startswith("slice-")}
    assert names - {"trace"} == ALWAYS | own, names
    assert {name for name in charts if name.startswith("slice-linear-")} == {
        f"slice-linear-{name}" for name in ("rate", "kind", "leaves")
    }
    assert "http://" not in page.split("<script>")[0] and "connect-src" not in page
    rows = member_rows(facts)["rows"]
    assert [row[0] for row in rows] == [member.id for member in facts.members] and len(rows) == 11
    first = facts.members[0].scores
    assert first is not None and rows[0][2] == pytest.approx(first.value, rel=1e-4)
    lines = " ".join(summary_lines(facts))
    assert "10 complete members of 2 families" in lines and "nested" in lines and problem.plan.hash in lines


def test_numbers_are_the_stores(make_problem: MakeProblem, add_member: AddMember) -> None:
    facts = filled(make_problem(metric="accuracy"), add_member)
    charts = charts_of(render(facts))
    found = facts.predictions
    assert found is not None and facts.blend is not None and found.member == facts.blend.id
    confusion = charts["confusion"]["data"][0]["text"]
    right = sum(int(confusion[i][i].split("<br>")[0].replace(",", "")) for i in range(2))
    assert facts.blend.scores is not None and right / 60 == pytest.approx(facts.blend.scores.pooled)
    boxes = {trace["name"]: trace["y"] for trace in charts["folds"]["data"]}
    for member in facts.members[:5]:
        assert member.scores is not None
        assert boxes[member.id] == pytest.approx(list(member.scores.per_fold), rel=1e-4)
    weights = charts["weights"]["data"][0]
    assert dict(zip(weights["y"], weights["x"], strict=True)) == pytest.approx(facts.blend.params, rel=1e-4)
    other = facts_of(facts.problem, chosen="lin-0002")
    assert other.predictions is not None and other.predictions.member == "lin-0002"


def test_the_leaderboard_is_drawn(make_problem: MakeProblem, add_member: AddMember) -> None:
    facts = filled(make_problem(metric="log_loss"), add_member)
    for number, member in enumerate(facts.members[:4], start=1):
        make_submission(facts.problem, member.id)
        assert member.scores is not None
        log_score(facts.problem.folder, str(number), public=member.scores.value + 0.01 * number)
    charts = charts_of(render(facts_of(facts.problem)))
    assert [trace["name"] for trace in charts["leaderboard"]["data"]] == ["submissions", "Theil-Sen line"]
    assert any("On the leaderboard" in line for line in summary_lines(facts_of(facts.problem)))


def test_no_cell_can_act(tmp_path: Path, add_member: AddMember) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.normal(size=80), evil: rng.choice([evil, "b"], 80), "y": rng.choice([evil, "no"], 80)}
    )
    frame[:60].to_csv(tmp_path / "train.csv", index=False)
    frame[60:].drop(columns="y").to_csv(tmp_path / "test.csv", index=False)
    problem = init(tmp_path / "c", train=tmp_path / "train.csv", test=tmp_path / "test.csv", target="y").problem
    add_member(problem, noisy(problem, 0.3, 0))
    finding = Finding("odd", "warning", evil, evil)
    page = render(facts_of(problem, findings=(finding,)))
    assert "<img" not in page.replace("<image", "") and "&lt;img src=x" in page
    assert f'"{evil}"' not in page


def test_without_members_there_is_a_page(make_problem: MakeProblem) -> None:
    problem = make_problem()
    page = render(facts_of(problem))
    assert charts_of(page) == {} and "0 complete members" in page
    with pytest.raises(InputError, match="no complete member"):
        make_server(facts_of(problem), 0)


def test_rows_that_no_fold_covers_are_left_out(tmp_path: Path, add_member: AddMember, make_frames: Any) -> None:
    train, test = make_frames(n_train=120)
    for name, part in (("train", train.assign(day=range(len(train)))), ("test", test.assign(day=999))):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    problem = init(tmp_path / "comp", **files, target="y", time="day", n_folds=3).problem
    oof = np.where(problem.plan.coverage(0), noisy(problem, 0.3, 0), np.nan)
    add_member(problem, oof)
    facts = facts_of(problem)
    found = facts.predictions
    assert found is not None and len(found.rows) == problem.plan.coverage(0).sum() < 120
    assert "confusion" in charts_of(render(facts))


def test_values_become_plain() -> None:
    given = {"a": np.array([1.23456789, np.nan]), "b": (np.int64(3), np.True_, "x", None)}
    assert plain(given) == {"a": [1.2346, None], "b": [3, True, "x", None]}
    assert len(thinned(10_000)) == 4000 and len(thinned(5)) == 5


def test_the_command(searched: Path, foldsmith: Callable[..., Any], tmp_path: Path) -> None:
    told = foldsmith("-C", searched, "report")
    assert told.code == 0 and (searched / "report.html").exists() and "3 complete members of 3 families" in told.out
    assert '"members": 4' in foldsmith("-C", searched, "report", "--json", "--out", tmp_path / "r.html").out
    assert foldsmith("-C", searched, "report", "--member", "nobody").code == 2


# the page of single predictions -------------------------------------------------------------------------------------


def ask(facts: Facts, path: str, **query: object) -> tuple[str, Any]:
    """A request to the app: status, and the body, parsed if it is JSON."""
    from urllib.parse import urlencode

    said: list[Any] = []
    body = b"".join(
        make_app(facts)(
            {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": urlencode(query)},
            lambda status, headers: said.extend((status, dict(headers))),
        )
    ).decode()
    return said[0], json.loads(body) if "json" in said[1]["Content-Type"] else body


def test_predictions_are_filtered_sorted_and_paged(make_problem: MakeProblem, add_member: AddMember) -> None:
    facts = filled(make_problem(metric="accuracy"), add_member)
    _, everything = ask(facts, "/rows")
    assert everything["total"] == 60 and len(everything["rows"]) == 50
    assert everything["columns"][:7] == ["row", "fold", "true", "predicted", "right", "sure", "error"]
    errors = [float(row[6]) for row in everything["rows"]]
    assert errors == sorted(errors, reverse=True)
    _, wrong = ask(facts, "/rows", right="no")
    _, right = ask(facts, "/rows", right="yes", sort="sure", down="no", size=500)
    assert wrong["total"] + right["total"] == 60 and all(row[4] == "False" for row in wrong["rows"])
    sure = [float(row[5]) for row in right["rows"]]
    assert sure == sorted(sure)
    _, part = ask(facts, "/rows", page=1, size=7)
    assert part["rows"] == everything["rows"][7:14]
    _, red = ask(facts, "/rows", column="colour", **{"is": "red"})
    _, text = ask(facts, "/rows", text="RED")
    assert 0 < red["total"] == text["total"] < 60
    _, large = ask(facts, "/rows", column="size", **{"from": "0.5", "to": "9"})
    assert all(float(row[large["columns"].index("size")]) >= 0.5 for row in large["rows"])
    _, fold = ask(facts, "/rows", column="fold", **{"is": "2"})
    assert fold["total"] == len(facts.problem.plan.split(0, 1)[1])
    _, unsure = ask(facts, "/rows", sure_to="0.6", error_from="0.1")
    assert all(float(row[5]) <= 0.6 for row in unsure["rows"])
    _, against = ask(facts, "/rows", member="lin-0001", against="lin-0010")
    mine, theirs = (facts.predictions_of(name).labels for name in ("lin-0001", "lin-0010"))
    assert against["total"] == int((mine != theirs).sum())
    status, csv = ask(facts, "/rows.csv", right="no")
    assert status == "200 OK" and len(csv.strip().splitlines()) == wrong["total"] + 1


def test_a_regression_and_what_is_wrong_with_a_query(make_problem: MakeProblem, add_member: AddMember) -> None:
    facts = filled(make_problem("regression"), add_member)
    _, everything = ask(facts, "/rows", sort="colour", right="no")
    assert everything["total"] == 60 and "right" not in everything["columns"]
    _, against = ask(facts, "/rows", against="lin-0010")
    assert 0 < against["total"] < 60
    for query, message in (
        ({"member": "nobody"}, "no member 'nobody'"),
        ({"against": "nobody"}, "no member 'nobody' to compare"),
        ({"column": "nothing"}, "no column 'nothing'"),
        ({"sort": "nothing"}, "to sort by"),
        ({"error_from": "much"}, "'much' is no number"),
        ({"error_from": "inf"}, "'inf' is not finite"),
        ({"column": "colour", "from": "1"}, "holds no numbers"),
    ):
        status, said = ask(facts, "/rows", **query)
        assert status.startswith("400") and message in said["error"]
    assert ask(facts, "/rows", column="size", **{"is": "word"})[1]["total"] == 0
    assert ask(facts, "/rows", column="size")[1]["total"] == 60
    assert ask(facts, "/secret")[0].startswith("404")
    status, page = ask(facts, "/")
    assert status == "200 OK" and "out-of-fold predictions" in page
