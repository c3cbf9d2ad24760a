"""Submissions of a problem: the baseline is always valid, and members become files under their own labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.submission import current_path, make_submission, write_baseline, write_current
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.decisions import Threshold
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric, known_metrics
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
AddMember = Callable[..., Member]

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
EVERY = [(task, name) for task in TASKS for name in known_metrics() if task in get_metric(name).tasks]


@pytest.mark.parametrize(("task", "metric"), EVERY)
def test_the_baseline_is_valid(make_problem: MakeProblem, task: Task, metric: str) -> None:
    problem = make_problem(task, metric=metric)
    write_baseline(problem)
    written = pd.read_csv(current_path(problem), dtype={"id": str})
    assert list(written["id"]) == problem.data.test_ids
    classes = list(problem.data.target.classes)
    values = written.drop(columns="id")
    if problem.judge.needs_labels:
        labels = set(values["y"].astype(str))
        assert labels == {classes[int(np.bincount(problem.data.y).argmax())]}
    elif task == "multiclass":
        assert list(values.columns) == classes
        np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-6)
    elif task == "binary":
        np.testing.assert_allclose(values["y"], problem.data.y.mean(), rtol=1e-6)
    else:
        np.testing.assert_allclose(values["y"], np.median(problem.data.y), rtol=1e-6)


@pytest.mark.parametrize(("positive", "share"), [(None, 0.0), ("1", 0.0), ("0", 1.0)])
def test_the_chance_is_of_the_positive_label(make_problem: MakeProblem, positive: str | None, share: float) -> None:
    problem = make_problem(positive=positive)
    ones = (pd.read_csv(problem.data.paths[0])["y"] == 1).mean()
    write_baseline(problem)
    written = pd.read_csv(current_path(problem))["y"]
    np.testing.assert_allclose(written, abs(share - ones), rtol=1e-6)


def test_current_is_replaced(make_problem: MakeProblem) -> None:
    problem = make_problem(metric="accuracy")
    write_baseline(problem)
    chances = np.linspace(0, 1, problem.data.test.n_rows)[:, None]
    write_current(problem, chances, Threshold(0.75))
    assert pd.read_csv(current_path(problem))["y"].sum() == 3
    assert [path.name for path in problem.folder.submissions.iterdir()] == ["current.csv"]


def test_a_member_becomes_a_numbered_file(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    test = np.linspace(0.1, 0.9, problem.data.test.n_rows)
    member = add_member(problem, problem.data.y * 0.5 + 0.25, test)
    paths = [make_submission(problem, member.id) for _ in range(2)]
    assert [path.name for path in paths] == ["0001_lin-0001_cv1.00000.csv", "0002_lin-0001_cv1.00000.csv"]
    written = pd.read_csv(paths[0], dtype={"id": str})
    np.testing.assert_allclose(written["y"], test, rtol=1e-6)
    assert list(written["id"]) == problem.data.test_ids


def test_a_sample_gives_order_and_header(make_problem: MakeProblem, make_frames: MakeFrames, tmp_path: Path) -> None:
    ids = make_frames()[1]["id"].sample(frac=1, random_state=3)
    pd.DataFrame({"id": ids, "Survived": 0.5}).to_csv(tmp_path / "sample.csv", index=False)
    problem = make_problem(sample=tmp_path / "sample.csv")
    chances = np.linspace(0, 1, problem.data.test.n_rows)
    write_current(problem, chances[:, None], None)
    written = pd.read_csv(current_path(problem), dtype={"id": str})
    assert list(written.columns) == ["id", "Survived"] and list(written["id"]) == list(ids)
    by_id = dict(zip(problem.data.test_ids, chances, strict=True))
    np.testing.assert_allclose(written["Survived"], [by_id[name] for name in ids])


def test_labels_of_a_member_are_decided_on_its_own_oof(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="f1")
    oof = problem.data.y * 0.1 + 0.2  # 0.2 and 0.3: under 0.5 all of them
    test = np.where(np.arange(problem.data.test.n_rows) < 5, 0.3, 0.2)
    member = add_member(problem, oof, test)
    assert pd.read_csv(make_submission(problem, member.id))["y"].sum() == 5


def test_a_stored_decision_is_used(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="f1")
    test = np.linspace(0.1, 0.9, problem.data.test.n_rows)
    details = {"decision": Threshold(0.89).to_json()}
    member = add_member(problem, problem.data.y * 0.5, test, prefix="b", kind="blend", details=details)
    assert member.id == "b01"
    assert pd.read_csv(make_submission(problem, member.id))["y"].sum() == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"contract": "other"},
            "lin-0001 cannot be submitted: it was made for another train file, metric or fold plan;",
        ),
        ({"test_fingerprint": "other"}, "lin-0001 cannot be submitted: it predicts another test file; see 'foldsmith"),
    ],
)
def test_a_member_of_other_data_is_refused(
    make_problem: MakeProblem, add_member: AddMember, facts: dict[str, Any], message: str
) -> None:
    problem = make_problem()
    member = add_member(problem, problem.data.y, **facts)
    with pytest.raises(InputError, match=message):
        make_submission(problem, member.id)
    assert not problem.folder.submissions.exists()


def test_an_unfinished_member_is_refused(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    member = add_member(problem, problem.data.y)
    MemberStore(problem.folder).write(replace(member, state="failed"))
    with pytest.raises(InputError, match="lin-0001 cannot be submitted: it is failed"):
        make_submission(problem, member.id)
    with pytest.raises(UnknownNameError, match="unknown member 'b01'; .*known: lin-0001"):
        make_submission(problem, "b01")
    assert not problem.folder.submissions.exists()


def test_a_new_test_file_makes_old_members_stale(
    make_problem: MakeProblem, make_frames: MakeFrames, add_member: AddMember
) -> None:
    problem = make_problem()
    member = add_member(problem, problem.data.y)
    make_frames()[1].iloc[:4].to_csv(problem.data.paths[1], index=False)
    with pytest.raises(InputError, match="predicts another test file"):
        make_submission(open_problem(problem.folder.root), member.id)
