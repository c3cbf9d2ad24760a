"""Submissions remembered, shaken and selected: what a person sees from the first file to the private scores."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.flow.competition import init
from foldsmith.flow.finals import finals
from foldsmith.flow.kaggle import poll_scores, submit_file
from foldsmith.flow.leaderboard import leaderboard, log_score, submission_budget
from foldsmith.flow.shake import best_candidates, draw_scores, groups_of, shake
from foldsmith.flow.submission import make_submission
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import FoldsmithError, InputError, UnknownNameError
from foldsmith.results.ledger import ledger_path, read_ledger
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def members_of(problem: Problem, add_member: AddMember, noises: Sequence[float]) -> list[Member]:
    """Members that know the target as well as their noise lets them."""
    rng = np.random.default_rng(3)
    n = len(problem.data.y)
    made = []
    for noise in noises:
        chances = np.clip(0.5 + 0.3 * (2 * problem.data.y - 1) + noise * rng.normal(size=n), 0.01, 0.99)
        made.append(add_member(problem, chances))
    return made


def test_a_submission_begins_the_ledger_and_scores_are_logged(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path
) -> None:
    problem = make_problem(metric="log_loss")
    (member,) = members_of(problem, add_member, [0.2])
    path = make_submission(problem, member.id)
    (entry,) = read_ledger(problem.folder).entries
    assert (entry.file, entry.member, entry.state) == (path.name, member.id, "made") and len(entry.sha256) == 64
    assert member.scores is not None and entry.cv == member.scores.value and entry.nested_cv is None
    sent = log_score(problem.folder, "1", public=0.61, at="2020-01-26T10:00:00Z", note="first")
    assert (sent.state, sent.utc, sent.public, sent.note) == ("submitted", "2020-01-26T10:00:00Z", 0.61, "first")
    later = log_score(problem.folder, path.name, private=0.63)
    assert (later.public, later.private, later.utc, later.note) == (0.61, 0.63, "2020-01-26T10:00:00Z", "first")
    other = tmp_path / "from_a_notebook.csv"
    other.write_text("id,y\n")
    assert log_score(problem.folder, str(other), cv=0.6, rejected=True).state == "rejected"
    assert [one.file for one in read_ledger(problem.folder).entries] == [path.name, "from_a_notebook.csv"]
    with pytest.raises(UnknownNameError, match="unknown submission '7'"):
        log_score(problem.folder, "7", public=0.5)
    with pytest.raises(InputError, match="public=nan is not finite"):
        log_score(problem.folder, "1", public=float("nan"))
    with pytest.raises(InputError, match="at='noon' is no time"):
        log_score(problem.folder, "1", public=0.5, at="noon")
    assert submission_budget(problem.folder, problem.config.leaderboard).left == 5


def test_a_ledger_that_cannot_be_read_costs_no_submission(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    (member,) = members_of(problem, add_member, [0.2])
    make_submission(problem, member.id)
    ledger_path(problem.folder).write_text("broken\n")
    with pytest.warns(UserWarning, match="written but not in the ledger: .* no column 'file'"):
        assert make_submission(problem, member.id).exists()
    assert ledger_path(problem.folder).read_text() == "broken\n"


def test_the_line_and_the_luck_of_the_public_rows(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="log_loss")
    members = MemberStore(problem.folder)
    assert leaderboard(problem, members).line is None
    for number, member in enumerate(members_of(problem, add_member, [0.1, 0.2, 0.3, 0.4]), start=1):
        assert member.scores is not None
        make_submission(problem, member.id)
        log_score(problem.folder, str(number), public=member.scores.value + (9 if number == 2 else 0.01))
    standing = leaderboard(problem, members, 0.5)
    assert standing.line is not None and standing.line.n_points == 4
    flags = {point.entry.file[:4]: point.flag for point in standing.points}
    assert flags == {"0001": "", "0002": "believe the leaderboard", "0003": "", "0004": ""}
    assert 0.01 < standing.noise < 1 and standing.budget.used == 4
    record = standing.to_json()
    assert record["entries"][1]["flag"] == "believe the leaderboard" and record["budget"]["left"] == 1


@pytest.mark.parametrize("metric", ["log_loss", "auc", "accuracy"])
def test_shaken_candidates(make_problem: MakeProblem, add_member: AddMember, metric: str) -> None:
    problem = make_problem(metric=metric)
    good, same, bad = members_of(problem, add_member, [0.25, 0.25, 1.5])
    members = MemberStore(problem.folder)
    found = shake(problem, members, [bad.id, good.id, same.id], 0.5)
    assert [one.rank for one in found.candidates] == [1, 2, 3] and found.candidates[-1].member == bad.id
    assert (found.n_public, found.n_private, found.n_rows) == (6, 6, 60)
    assert sum(one.best_private for one in found.candidates) == pytest.approx(1)
    assert found.candidates[-1].best_private < 0.2 and found.candidates[-1].private_rank > 2.3
    assert all(one.public_sd > 0 for one in found.candidates) and found.gap_sd > 0
    assert found.luck_of_public > found.luck_of_validation, "six rows are more luck than sixty"
    assert set(best_candidates(problem, members)) == {good.id, same.id, bad.id}
    assert shake(problem, members, [bad.id, good.id, same.id], 0.5) == found
    assert found.to_json()["candidates"][0]["rank"] == 1


def test_groups_are_drawn_whole(tmp_path: Path, make_frames: Any, add_member: AddMember) -> None:
    """Errors that a group shares make the public score far less sure than as many single rows would."""
    train, test = make_frames("regression", n_train=120, n_test=40)
    train.assign(team=np.arange(120) // 12).to_csv(tmp_path / "train.csv", index=False)
    test.assign(team=99).to_csv(tmp_path / "test.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    problem = init(tmp_path / "comp", **files, target="y", metric="rmse", group="team", n_folds=5).problem
    off = np.repeat(np.random.default_rng(0).normal(size=10) ** 2, 12)
    oof = np.asarray(problem.data.y + off, np.float32)[:, None]
    groups = groups_of(problem)
    assert groups is not None and len(np.unique(groups)) == 10
    by_row, by_group = (
        draw_scores(problem.judge, [oof], [24], groups=given).by_size[0].std() for given in (None, groups)
    )
    assert by_group > 2 * by_row
    names = [add_member(problem, oof).id, add_member(problem, oof + 1).id]
    assert shake(problem, MemberStore(problem.folder), names, 0.5).candidates[0].public_sd > 0.2


def test_copies_are_all_luck(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="log_loss")
    oof = np.clip(problem.data.y * 0.5 + 0.25, 0, 1)
    names = [add_member(problem, oof).id for _ in range(2)]
    found = shake(problem, MemberStore(problem.folder), names, 0.3)
    assert found.luck_of_validation == 1 and found.public_winner_stays == pytest.approx(0.5)
    assert [one.best_public for one in found.candidates] == [0.5, 0.5]


def test_what_cannot_be_shaken(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    one, two = members_of(problem, add_member, [0.2, 0.3])
    members = MemberStore(problem.folder)
    for names, share, message in (
        ([one.id], 0.3, "1 candidate"),
        ([one.id, two.id], 1.0, "public share 1 is not between 0 and 1"),
    ):
        with pytest.raises(InputError, match=message):
            shake(problem, members, names, share)
    strange = add_member(problem, problem.data.y * 1.0, contract="other")
    with pytest.raises(InputError, match="cannot be shaken: it was made for another"):
        shake(problem, members, [one.id, strange.id], 0.3)


def test_two_files_are_named_and_judged_afterwards(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="log_loss")
    members = MemberStore(problem.folder)
    with pytest.raises(InputError, match="no submission to select from"):
        finals(problem, members)
    best, second, third = members_of(problem, add_member, [0.05, 0.2, 0.4])
    for member in (best, second, third, best):  # the first one twice
        make_submission(problem, member.id)
    log_score(problem.folder, "3", public=0.2)
    log_score(problem.folder, "2", public=0.5)
    ledger_path(problem.folder).write_text(ledger_path(problem.folder).read_text() + "foreign.csv,,,,,0.3,,,,\n")
    found = finals(problem, members)
    ways = {pick.way: [entry.member for entry in pick.entries] for pick in found.picks}
    assert ways["cv"] == [best.id, second.id] and ways["public"] == [third.id, second.id]
    assert ways["diverse"][0] == best.id and found.n_candidates == 3 and found.n_public_scores == 2
    assert found.left_out == {"foreign.csv": "its member is not known"} and not found.is_over
    assert [pick.way for pick in found.picks][0] == found.recommended.way
    for number, private in (("1", 0.31), ("2", 0.30), ("3", 0.6), ("4", 0.31)):
        log_score(problem.folder, number, private=private)
    over = {pick.way: pick for pick in finals(problem, members).picks}
    assert (over["cv"].private, over["cv"].rank, over["cv"].regret) == (0.30, 1, 0.0)
    assert over["public"].rank == 1 and finals(problem, members).is_over
    log_score(problem.folder, "2", rejected=True)
    assert "it was rejected" in finals(problem, members).left_out.values()
    with pytest.raises(InputError, match="public share 2"):
        finals(problem, members, 2.0)


FAKE = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
*forbidden*) echo "403 - Forbidden" >&2; exit 1;;
"competitions submissions"*) printf 'Warning: old\\nfileName,date,description,status,publicScore,privateScore\\n'
  printf '0002_x_cv1.csv,2026-11-26 10:00:00,second,SubmissionStatus.ERROR,,\\n'
  printf '{file},2026-11-26 09:00:00,first,SubmissionStatus.COMPLETE,0.81,\\n';;
esac
"""


def test_the_kaggle_tool_is_used_where_it_is_installed(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    (member,) = members_of(problem, add_member, [0.2])
    path = make_submission(problem, member.id)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="pip install kaggle"):
        submit_file(problem.folder, "titanic", path, "first")
    tool = tmp_path / "kaggle"
    tool.write_text(FAKE.format(log=tmp_path / "calls", file=path.name))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    sent = submit_file(problem.folder, "titanic", path, "first")
    assert (sent.state, sent.note) == ("submitted", "first")
    assert (tmp_path / "calls").read_text() == f"competitions submit -c titanic -f {path} -m first\n"
    first, second = poll_scores(problem.folder, "titanic")
    assert (first.public, first.state, first.utc) == (0.81, "submitted", "2026-11-26T09:00:00Z")
    assert (second.file, second.state) == ("0002_x_cv1.csv", "rejected")
    assert poll_scores(problem.folder, "titanic") == []
    with pytest.raises(FoldsmithError, match="403 - Forbidden; accept the competition's rules"):
        submit_file(problem.folder, "forbidden", path, "again")
    with pytest.raises(InputError, match="no file"):
        submit_file(problem.folder, "titanic", tmp_path / "none.csv", "")


def test_the_commands(searched: Path, foldsmith: Callable[..., Any]) -> None:
    place = ("-C", searched)
    assert foldsmith(*place, "submit", "make", "lgb-0001").code == 0
    logged = foldsmith(*place, "lb", "log", "lgb-0001", "--public", "0.8")
    assert logged.code == 0 and "submitted  cv 0." in logged.out and "public 0.8000" in logged.out
    shown = foldsmith(*place, "lb", "show")
    assert shown.code == 0 and "4 of 5 left today (UTC)" in shown.out and "needs three submissions" in shown.out
    assert '"used": 1' in foldsmith(*place, "lb", "budget", "--json").out
    shaken = foldsmith(*place, "shake", "--public-share", "0.4")
    assert shaken.code == 0 and "P(best private)" in shaken.out and "noise band" in shaken.out
    final = foldsmith(*place, "finals")
    assert final.code == 0 and "select " in final.out and "Nothing ticked" in final.out
    for words in (("lb", "show"), ("shake",), ("finals",), ("lb", "log", "1")):
        assert foldsmith(*place, *words, "--json").out.startswith("{")
    assert (
        foldsmith(*place, "lb", "submit", "1").code == 2 and "which competition" in foldsmith(*place, "lb", "poll").err
    )
    assert foldsmith("-C", searched.parent, "lb", "log", "1", "--public", "1").code == 2
