"""Members on folds drawn anew: fitted once, kept apart, compared with what the frozen folds promised."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.flow.competition import Competition, init
from foldsmith.flow.confirm import confirm
from foldsmith.flow.curse import estimate_curse
from foldsmith.problem.contract import Problem, open_problem, repeated_plan
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def fits(root: Path) -> list[str]:
    return [line for log in sorted(root.glob("**/logs/fits.log")) for line in log.read_text().splitlines()]


def test_members_and_blends_are_fitted_once_on_new_folds(searched: Path, foldsmith: Callable[..., Any]) -> None:
    competition = Competition(searched)
    blend = competition.blend("top_mean")
    before = {path: path.read_bytes() for path in (searched / ".foldsmith" / "members").glob("*/meta.json")}
    told: list[str] = []
    found = competition.confirm(["lgb-0001", "lin-0001", blend.id], 2, inline=True, note=told.append)
    assert {one.member for one in found.members} == {"lgb-0001", "lin-0001", blend.id} and not found.failed
    assert len(told) == 2 and told[0].startswith("repeat 1 of 2: lgb-0001 0.")
    for one in found.members:
        assert one.curse == pytest.approx(one.frozen - one.mean) and len(one.repeats) == 2
    assert sum(one.wins for one in found.members) == pytest.approx(1)
    assert found.lead is not None and found.lead[2] >= 0
    repeats = list((searched / ".foldsmith" / "confirm").iterdir())
    assert len(repeats) == 2
    shadow = open_problem(repeats[0])
    assert (
        shadow.contract != competition.problem.contract
        and shadow.data.y.tolist() == competition.problem.data.y.tolist()
    )
    assert before == {path: path.read_bytes() for path in before}, "frozen members stay as they are"
    made = fits(searched / ".foldsmith" / "confirm")
    assert len(made) == len(set(made)) * 2 == 2 * 2 * 3
    again = competition.confirm(["lgb-0001", "lin-0001", blend.id], 2, inline=True)
    assert again == found and fits(searched / ".foldsmith" / "confirm") == made
    shown = foldsmith("-C", searched, "confirm", "lgb-0001", "lin-0001", "--repeats", 2, "--inline")
    assert shown.code == 0 and "new folds ± se" in shown.out and "on the frozen folds, by" in shown.out
    assert '"curse"' in foldsmith("-C", searched, "confirm", "lin-0001", "--repeats", 1, "--inline", "--json").out


def test_new_folds_are_of_the_same_kind_and_leave_the_holdout_alone(tmp_path: Path, make_frames: Any) -> None:
    train, test = make_frames(n_train=120)
    train = train.assign(team=np.arange(120) // 4)
    test = test.assign(team=0)
    train.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    problem = init(tmp_path / "comp", **files, target="y", group="team", n_folds=3, holdout=0.2).problem
    first, second = (repeated_plan(problem, repeat) for repeat in (1, 2))
    assert len({first.hash, second.hash, problem.plan.hash}) == 3 and first == repeated_plan(problem, 1)
    for plan in (first, second):
        assert (plan.holdout == problem.plan.holdout).all() and (plan.coverage(0) == ~plan.holdout).all()
        for fold in range(3):
            fitted, validated = plan.split(0, fold)
            assert not set(fitted // 4) & set(validated // 4)


def test_folds_without_chance_are_not_drawn_anew(make_problem: MakeProblem, make_frames: Any) -> None:
    problem = make_problem()
    config = problem.config.model_copy(update={"split": problem.config.split.model_copy(update={"scheme": "time"})})
    with pytest.raises(InputError, match="time folds cannot be drawn anew"):
        repeated_plan(replace(problem, config=config), 1)


def test_what_cannot_be_confirmed(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    store = MemberStore(problem.folder)
    foreign = add_member(problem, problem.data.y * 0.5, prefix="ext", kind="imported")
    strange = add_member(problem, problem.data.y * 0.5, contract="other")
    for names, repeats, message in (
        ([foreign.id], 1, "is imported, there is no model"),
        ([strange.id], 1, "it was made for another"),
        ([], 1, "no member to confirm"),
        ([foreign.id], 0, "--repeats 0 is not positive"),
    ):
        with pytest.raises(InputError, match=message):
            confirm(problem, store, names, repeats)


def test_a_member_that_fails_is_named(searched: Path) -> None:
    store = MemberStore(open_problem(searched).folder)
    good = store.get("lin-0001")
    store.write(replace(store.get("lgb-0001"), params={"num_leaves": "many"}))
    found = Competition(searched).confirm([good.id, "lgb-0001"], 1, inline=True)
    assert [one.member for one in found.members] == [good.id] and found.lead is None
    assert found.failed["lgb-0001"].startswith("error: ")
    with pytest.raises(FoldsmithError, match="lgb-0001: error"):
        Competition(searched).confirm(["lgb-0001"], 1, inline=True)


def test_the_best_of_many_lucky_members_is_cursed(make_problem: MakeProblem, add_member: AddMember) -> None:
    """Twenty members that know nothing: the best looks good, and is worth a coin."""
    problem = make_problem(metric="accuracy")
    store = MemberStore(problem.folder)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="nothing to choose from"):
        estimate_curse(problem, store)
    for _ in range(20):
        add_member(problem, rng.random(len(problem.data.y)))
    found = estimate_curse(problem, store)
    assert (
        found.score > 0.55
        and abs(found.honest - 0.5) < 0.06
        and found.curse == pytest.approx(found.score - found.honest)
    )
    assert found.n_members == 20 and found.to_json()["leader"] == found.leader
