"""The spaces of a competition, shrunk around what was found, and written into foldsmith.toml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from foldsmith.flow.competition import Competition
from foldsmith.flow.spaces import overrides_toml, parse_share, shrink, view_spaces, write_overrides
from foldsmith.problem.config import load_config
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.results.members import Member
from foldsmith.spaces.space import Choice, Float

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]
TABLE = """
# what I think of it
[spaces.linear]
C = [0.01, 100.0]  # never more
"""


def add_text(problem: Problem, text: str) -> None:
    path = problem.folder.config
    path.write_text(path.read_text() + text)


def add_trials(problem: Problem, add_member: AddMember, n: int = 25, **facts: Any) -> None:
    """Members of the family linear; the nearer C is to 1 the better they are."""
    for number in range(n):
        C = 10.0 ** (-3 + 6 * number / (n - 1))
        wrong = abs(np.log10(C)) / 8
        oof = np.abs(problem.data.y - wrong)
        numeric = "pieces" if 0.1 < C < 10 else "standard"
        details = {"params": {"C": C, "numeric": numeric}, "space_version": "linear@1", **facts}
        add_member(problem, oof, **details)


def test_the_view_shows_the_space_as_it_is_searched(make_problem: MakeProblem) -> None:
    problem = make_problem()
    add_text(problem, TABLE)
    linear, knn = view_spaces(problem.folder.root, ["linear", "knn"])
    assert linear.params["C"] == Float(0.01, 100.0, log=True)
    assert linear.version.startswith("linear@1+") and "+" not in knn.version
    assert linear.changed == ("C",) and knn.changed == ()
    assert 0 < len(linear.defaults) < len(linear.points)
    assert knn.defaults[0]["k"] == 20  # no more than a third of the rows
    record = linear.to_json()
    assert record["params"]["C"] == {"kind": "float", "low": 0.01, "high": 100.0, "log": True, "when": None}


def test_the_view_needs_no_frozen_folds_and_takes_the_configs_families(files: dict[str, Path], tmp_path: Path) -> None:
    from foldsmith.flow.setup import SetupRequest, init

    init(tmp_path / "comp", SetupRequest(files["train"], files["test"], "y", families=("knn", "linear")))
    assert [view.family for view in view_spaces(tmp_path / "comp")] == ["knn", "linear"]


def test_without_a_portfolio_only_defaults_are_left(make_problem: MakeProblem) -> None:
    problem = make_problem()
    text = problem.folder.config.read_text().replace("[search]\n", '[search]\nportfolio = "none"\n')
    problem.folder.config.write_text(text)
    (view,) = view_spaces(problem.folder.root, ["linear"])
    assert view.points == view.defaults != []


def test_a_table_of_no_family_is_an_error(make_problem: MakeProblem) -> None:
    problem = make_problem()
    add_text(problem, "[spaces.liner]\nC = 1.0\n")
    with pytest.raises(UnknownNameError, match=r"unknown family in \[spaces\] 'liner'; did you mean 'linear'"):
        view_spaces(problem.folder.root, ["knn"])


def test_shrinking_prints_what_writing_writes(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="log_loss")
    add_trials(problem, add_member)
    before = problem.folder.config.read_text()
    shown = shrink(problem.folder.root, "linear")
    assert problem.folder.config.read_text() == before
    written = shrink(problem.folder.root, "linear", write=True)
    assert written.toml == shown.toml and written.n_trials == 25
    assert set(written.after) == {"C", "numeric"} and written.after["numeric"] == Choice(("pieces",))
    table = load_config(problem.folder.config).spaces["linear"]
    assert table == tomlkit.parse(shown.toml).unwrap()["spaces"]["linear"]
    low, high = table["C"]
    assert 0.05 < low < 0.5 and 2 < high < 20
    assert problem.folder.config.read_text().startswith(before.rstrip("\n"))
    (view,) = view_spaces(problem.folder.root, ["linear"])
    assert view.params["C"] == written.after["C"]


def test_comments_of_the_file_survive_and_what_is_narrower_stays(
    make_problem: MakeProblem, add_member: AddMember
) -> None:
    problem = make_problem(metric="log_loss")
    add_text(problem, TABLE)
    add_trials(problem, add_member, space_version="linear@1+abcdef")
    comments = [line for line in problem.folder.config.read_text().splitlines() if line.startswith("#")]
    shrink(problem.folder.root, "linear", write=True)
    text = problem.folder.config.read_text()
    assert "# what I think of it" in text and "# never more" in text
    assert all(comment in text for comment in comments)
    again = shrink(problem.folder.root, "linear")  # the same trials: the margin of a smaller range is smaller
    assert set(again.after) == {"C"}
    old, new = again.before["C"], again.after["C"]
    assert isinstance(old, Float) and isinstance(new, Float) and old.low < new.low and new.high < old.high


@pytest.mark.parametrize(
    "facts", [{"space_version": "linear@0"}, {"contract": "another"}, {"family": "knn"}, {"kind": "blend"}]
)
def test_other_trials_say_nothing_of_this_space(
    facts: dict[str, Any], make_problem: MakeProblem, add_member: AddMember
) -> None:
    problem = make_problem()
    add_trials(problem, add_member, **facts)
    with pytest.raises(InputError, match="linear@1 has 0 complete trials"):
        shrink(problem.folder.root, "linear")


def test_trials_that_differ_in_seeds_count_once(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    for _ in range(2):
        add_trials(problem, add_member, n=15)
    with pytest.raises(InputError, match="linear@1 has 15 complete trials at different points"):
        shrink(problem.folder.root, "linear")


def test_an_alias_that_people_wrote_is_overwritten_not_doubled(tmp_path: Path) -> None:
    path = tmp_path / "foldsmith.toml"
    path.write_text("[spaces.lightgbm]\nmax_leaf = [4, 64]  # mine\n")
    write_overrides(path, "lightgbm", {"num_leaves": [8, 32], "extra_trees": [True]})
    assert path.read_text() == "[spaces.lightgbm]\nmax_leaf = [8, 32]  # mine\nextra_trees = [true]\n"


def test_a_familys_table_joins_others_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "foldsmith.toml"
    path.write_text("[spaces.knn]\nk = 3\n\n[rig]\nworkers = 2  # both\n")
    write_overrides(path, "mine:Toy", {"shift": {"low": 0.1, "high": 0.2, "log": True}})
    assert tomlkit.parse(path.read_text()).unwrap() == {
        "spaces": {"knn": {"k": 3}, "mine:Toy": {"shift": {"low": 0.1, "high": 0.2, "log": True}}},
        "rig": {"workers": 2},
    }
    assert "# both" in path.read_text()
    assert overrides_toml("mine:Toy", {"shift": 1}) == '[spaces."mine:Toy"]\nshift = 1\n'


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0.25", 0.25), ("100%", 1.0)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


def test_no_share() -> None:
    with pytest.raises(InputError, match="--top 'a fifth' is no share; give 20%, or 0.2"):
        parse_share("a fifth")


def test_the_competition_object_shows_and_shrinks(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="log_loss")
    add_trials(problem, add_member)
    competition = Competition(problem.folder.root)
    assert [view.family for view in competition.spaces(["knn"])] == ["knn"]
    assert competition.shrink_space("linear", top=0.25, write=True).after["C"].low < 0.5  # type: ignore[union-attr]
    assert load_config(problem.folder.config).spaces["linear"]["numeric"] == ["pieces"]
