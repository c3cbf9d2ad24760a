"""Learning from competitions: what their member stores say, and how a second call extends the first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foldsmith.flow.portfolio import learn
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import Member
from foldsmith.spaces.family import Facts
from foldsmith.spaces.portfolio import chosen_portfolios, portfolio_points
from foldsmith.spaces.portfolio_file import Entry, Portfolio, own_path, read_portfolio, write_portfolio
from foldsmith.spaces.registry import get_family

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def add_trials(problem: Problem, add_member: AddMember, best: float, n: int = 12, **facts: object) -> None:
    """Members of the family linear; the nearer C is to ``best`` the better they are."""
    for number in range(n):
        C = 10.0 ** (-3 + 6 * number / (n - 1))
        wrong = 0.4 * abs(np.log10(C / best)) / 6
        known = {"params": {"C": C, "numeric": "pieces"}, "space_version": "linear@1", "seconds": 1.0, **facts}
        add_member(problem, np.abs(problem.data.y - wrong), **known)


def test_points_of_finished_competitions_come_after_the_defaults(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path
) -> None:
    problem = make_problem(metric="log_loss")
    add_trials(problem, add_member, best=50.0)
    out = tmp_path / "mine" / "portfolio.json"
    learned = learn([problem.folder.root], out)
    assert learned.n_competitions == 1 and set(learned.n_points) == {"linear"} and learned.left_out == {}
    facts, family = Facts(problem.goal, problem.data.train.schema, 60), get_family("linear")
    points = portfolio_points(family, facts, portfolios=chosen_portfolios(str(out), tmp_path))
    own = [dict(entry.params) for entry in read_portfolio(out).suiting("linear", facts)]
    assert 10 < own[0]["C"] < 200 and len(own) == learned.n_points["linear"]
    others = chosen_portfolios(None, tmp_path)
    shipped = portfolio_points(family, facts, portfolios=others)
    n_early = len([entry for entry in others[0].suiting("linear", facts) if entry.early])
    n_before = n_early + len(family.defaults(facts))
    assert points == [*shipped[:n_before], *own, *shipped[n_before:]]


def test_a_second_call_extends_and_repeats_nothing(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path
) -> None:
    one, other = make_problem(metric="log_loss"), make_problem(name="other", metric="log_loss", n_folds=4)
    add_trials(one, add_member, best=50.0)
    add_trials(other, add_member, best=0.01)
    out = tmp_path / "portfolio.json"
    learn([one.folder.root], out)
    assert learn([other.folder.root], out).n_competitions == 2
    both = out.read_bytes()
    assert learn([other.folder.root], out).n_competitions == 2
    assert out.read_bytes() == both
    assert list(read_portfolio(out).evidence) == [one.contract, other.contract]
    assert {entry.source for entry in read_portfolio(out).points["linear"]} == {"learned from 2 competitions"}


def test_what_people_wrote_themselves_stays(make_problem: MakeProblem, add_member: AddMember, tmp_path: Path) -> None:
    out = tmp_path / "portfolio.json"
    mine = Entry({"k": 7}, source="mine")
    write_portfolio(out, Portfolio("x", points={"knn": (mine,)}))
    problem = make_problem()
    add_trials(problem, add_member, best=1.0)
    learn([problem.folder.root], out)
    assert read_portfolio(out).points["knn"] == (mine,)


def test_other_contracts_and_own_families_teach_nothing(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    add_trials(problem, add_member, best=1.0, contract="another")
    add_trials(problem, add_member, best=1.0, kind="blend")
    add_trials(problem, add_member, best=1.0, family="mine:Toy")
    with pytest.raises(InputError, match=r"nothing to learn from \(.*no family has 5 complete trials"):
        learn([problem.folder.root])
    assert not own_path().exists()


def test_a_folder_without_evidence_is_named_and_the_others_are_learned_from(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path
) -> None:
    empty, full = make_problem(name="empty"), make_problem(name="full")
    add_trials(full, add_member, best=1.0)
    learned = learn([empty.folder.root, full.folder.root], tmp_path / "p.json")
    assert list(learned.left_out) == [str(empty.folder.root)] and learned.n_competitions == 1


def test_only_the_newest_version_of_a_space_counts(
    make_problem: MakeProblem, add_member: AddMember, tmp_path: Path
) -> None:
    problem = make_problem(metric="log_loss")
    add_trials(problem, add_member, best=100.0, space_version="linear@0", created="2025-01-01T00:00:00")
    add_trials(problem, add_member, best=0.01, space_version="linear@1+abcdef", created="2026-01-01T00:00:00")
    learn([problem.folder.root], tmp_path / "p.json")
    entries = read_portfolio(tmp_path / "p.json").points["linear"]
    assert {entry.space for entry in entries} == {"linear@1"}
    assert entries[0].params["C"] < 0.2
