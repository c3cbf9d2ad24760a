"""The points that a search starts from, and whose turn it is."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask
from foldsmith.spaces.overrides import apply_overrides
from foldsmith.spaces.portfolio import MAX_POINTS, chosen_portfolios, opening, portfolio_points
from foldsmith.spaces.portfolio_file import (
    VERSION,
    Entry,
    Portfolio,
    own_path,
    read_portfolio,
    row_class,
    shipped_portfolio,
    write_portfolio,
)
from foldsmith.spaces.registry import FAMILIES, get_family
from foldsmith.spaces.space import Choice, Float, Int, Params, Space
from foldsmith.spaces.toy import make_problem

MEASURED = ("lightgbm", "xgboost", "linear", "extra_trees", "random_forest", "knn", "mlp")


class Demo(Family):
    """Nothing but a space and two defaults."""

    name = prefix = "demo"

    def space(self, facts: Facts) -> Space:
        return Space("demo@1", {"kind": Choice(("a", "b")), "rate": Float(0.01, 1.0, log=True), "depth": Int(1, 8)})

    def defaults(self, facts: Facts) -> list[Params]:
        return [{"kind": "a", "rate": 0.1, "depth": 4}, {"kind": "b", "rate": 0.1, "depth": 4}]

    def fit_fold(self, task: FoldTask) -> FittedFold:
        raise NotImplementedError

    def load(self, folder: Path) -> FittedFold:
        raise NotImplementedError


class Wrong(Demo):
    def defaults(self, facts: Facts) -> list[Params]:
        return [{"kind": "a", "rate": 7.0, "depth": 4}]


def facts_of(goal: str = "binary", n_rows: int = 300, budget_seconds: float | None = None) -> Facts:
    facts = make_problem(goal).facts
    return dataclasses.replace(facts, n_rows=n_rows, budget_seconds=budget_seconds)


def a_portfolio(*entries: Entry, family: str = "demo") -> Portfolio:
    return Portfolio(VERSION, points={family: entries})


def test_defaults_come_first_then_the_portfolios_in_their_order() -> None:
    own, shipped = a_portfolio(Entry({"depth": 2})), a_portfolio(Entry({"depth": 3}), Entry({"kind": "b", "depth": 5}))
    points = portfolio_points(Demo(), facts_of(), portfolios=[own, shipped])
    assert points == [
        {"kind": "a", "rate": 0.1, "depth": 4},
        {"kind": "b", "rate": 0.1, "depth": 4},
        {"kind": "a", "rate": 0.1, "depth": 2},
        {"kind": "a", "rate": 0.1, "depth": 3},
        {"kind": "b", "rate": 0.1, "depth": 5},
    ]


def test_early_entries_go_before_the_defaults() -> None:
    portfolio = a_portfolio(
        Entry({"depth": 2}), Entry({"depth": 3}, early=True), Entry({"depth": 5}, rows="large", early=True)
    )
    points = portfolio_points(Demo(), facts_of(), portfolios=[portfolio])
    assert [point["depth"] for point in points] == [3, 4, 4, 2]


def test_of_entries_of_one_point_the_first_counts() -> None:
    portfolio = a_portfolio(Entry({"depth": 2}, rows="small"), Entry({"depth": 3}), Entry({"depth": 2}))
    assert [entry.params["depth"] for entry in portfolio.suiting("demo", facts_of())] == [2, 3]
    assert [entry.params["depth"] for entry in portfolio.suiting("demo", facts_of(n_rows=9_999))] == [3, 2]


def test_no_point_stands_twice_and_the_list_ends() -> None:
    entries = [Entry({"rate": 0.01 + 0.01 * number}) for number in range(50)]
    points = portfolio_points(Demo(), facts_of(), portfolios=[a_portfolio(Entry({"depth": 4}), *entries, *entries)])
    assert len(points) == MAX_POINTS
    assert all(point not in points[:number] for number, point in enumerate(points))


def test_entries_are_for_kinds_of_tasks_and_sizes_of_tables() -> None:
    portfolio = a_portfolio(
        Entry({"depth": 1}, task="regression"), Entry({"depth": 2}, rows="small"), Entry({"depth": 3}, rows="large")
    )

    def depths(goal: str, n_rows: int) -> list[object]:
        points = portfolio_points(Demo(), facts_of(goal, n_rows), portfolios=[portfolio])
        return [point["depth"] for point in points[2:]]

    assert depths("squared", 500) == [1, 2]
    assert depths("binary", 500) == [2]
    assert depths("binary", 5_000) == []
    assert depths("binary", 100_000) == [3]
    assert [row_class(n) for n in (1_999, 2_000, 19_999, 20_000)] == ["small", "medium", "medium", "large"]


def test_an_entry_of_another_version_of_the_space_is_left_out() -> None:
    portfolio = a_portfolio(Entry({"depth": 2}, space="demo@0"), Entry({"depth": 3}, space="demo@1"))
    points = portfolio_points(Demo(), facts_of(), portfolios=[portfolio])
    assert [point["depth"] for point in points] == [4, 4, 3]


def test_a_wrong_default_is_not_repaired() -> None:
    with pytest.raises(InputError, match=r"rate=7.0 is outside"):
        portfolio_points(Wrong(), facts_of(), portfolios=[])


def test_points_move_into_a_changed_space() -> None:
    space = apply_overrides(Demo().space(facts_of()), {"depth": [5, 8], "kind": "b", "rate": 0.2}, {})
    points = portfolio_points(Demo(), facts_of(), space=space, portfolios=[a_portfolio(Entry({"depth": 7}))])
    assert points == [{"kind": "b", "rate": 0.2, "depth": 5}, {"kind": "b", "rate": 0.2, "depth": 7}]


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
@pytest.mark.parametrize("n_rows", [12, 300, 10_000, 1_000_000])
def test_every_shipped_point_lies_in_the_space_of_every_problem(name: str, goal: str, n_rows: int) -> None:
    family = get_family(name)
    for kinds in ((), ("numeric",)):
        facts = dataclasses.replace(make_problem(goal, kinds=kinds).facts, n_rows=n_rows)
        points = portfolio_points(family, facts, portfolios=[shipped_portfolio()])
        for point in points:
            family.space(facts).check(point)
        defaults = family.defaults(facts)
        defaults = [point for number, point in enumerate(defaults) if point not in defaults[:number]]
        assert all(point in points for point in defaults)
        if row_class(n_rows) != "small":
            assert points[: len(defaults)] == defaults
    assert len(points) > len(defaults)


@pytest.mark.parametrize("name", [name for name in shipped_portfolio().points if name not in MEASURED])
def test_points_of_families_that_may_be_missing_lie_in_their_spaces(name: str) -> None:
    if FAMILIES[name].missing:
        pytest.skip(str(FAMILIES[name].missing))
    family, facts = get_family(name), make_problem("binary").facts
    points = portfolio_points(family, facts, portfolios=[shipped_portfolio()])
    suiting = shipped_portfolio().suiting(name, facts)
    assert len(points) == len(family.defaults(facts)) + len(suiting)  # none became another one's double
    assert all(entry.params.keys() <= family.space(facts).params.keys() for entry in suiting)  # no misspelt name


def test_the_shipped_portfolio_says_where_its_points_come_from() -> None:
    portfolio = shipped_portfolio()
    assert portfolio.version == VERSION
    assert set(MEASURED) <= set(portfolio.first) == set(portfolio.weights)
    assert all(entry.source for entries in portfolio.points.values() for entry in entries)
    assert all(weight > 0 for weight in portfolio.weights.values())


# --- whose turn it is ------------------------------------------------------------------------------------------------


def test_every_family_has_one_turn_before_any_has_two() -> None:
    names = (*MEASURED, "mine:Toy")
    turns = opening(facts_of(), names)
    assert sorted(turns[: len(names)]) == sorted(names)
    assert turns[0] == shipped_portfolio().first[0]
    assert turns[len(names) - 1] == "mine:Toy"
    assert set(turns) == set(names)


def test_only_asked_families_appear_and_names_may_repeat() -> None:
    assert set(opening(facts_of(), ["knn", "linear", "knn"])) == {"knn", "linear"}
    assert opening(facts_of(), []) == ()
    assert opening(facts_of(), ["mine:Toy"]) == ("mine:Toy",)


def test_weights_share_out_the_later_turns() -> None:
    entries = tuple(Entry({"depth": number}) for number in range(20))
    portfolio = Portfolio(VERSION, ("a", "b"), {"a": 3.0, "b": 1.0}, {"a": entries, "b": entries})
    turns = opening(facts_of(), ["b", "a"], portfolio=portfolio)
    assert turns[:2] == ("a", "b")
    assert Counter(turns[2:14]) == {"a": 9, "b": 3}
    assert Counter(turns) == {"a": 21, "b": 21}


def test_a_tiny_budget_starts_with_what_finishes() -> None:
    facts = facts_of(n_rows=20_000, budget_seconds=20.0)
    turns = opening(facts, ["mlp", "lightgbm", "linear"])
    assert turns[0] == "linear"
    assert turns == ("linear", "lightgbm", "mlp")  # no time for second points


def test_the_length_grows_with_budget_and_slots() -> None:
    lengths = [len(opening(facts_of(budget_seconds=seconds), MEASURED)) for seconds in (1, 60, 600, 1e6)]
    assert lengths == sorted(lengths) and lengths[0] == len(MEASURED) < lengths[1]
    assert lengths[-1] == len(opening(facts_of(), MEASURED))
    few, many = (opening(facts_of(budget_seconds=40.0), MEASURED, n_slots=n) for n in (1, 8))
    assert len(few) < len(many)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_portfolio_is_read_as_it_was_written(tmp_path: Path) -> None:
    entry = Entry({"depth": 2, "kind": "a", "rate": 0.1}, "regression", "small", "a test", "demo@1", early=True)
    portfolio = Portfolio("mine", ("demo",), {"demo": 2.0}, {"demo": (entry,)}, {"c0ffee": {"name": "x"}})
    write_portfolio(tmp_path / "deep" / "p.json", portfolio)
    assert read_portfolio(tmp_path / "deep" / "p.json") == portfolio


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"points": {"knn": [{"k": 3}]}}, r"an entry of 'knn' is \{'k': 3\}, not a table with 'params'"),
        ({"points": [1]}, "'points' must hold a list of entries per family"),
        ({"points": {"knn": [{"params": {}, "task": "ranking"}]}}, "task of an entry of 'knn' is 'ranking'"),
        ({"points": {"knn": [{"params": {}, "rows": "huge"}]}}, "choose one of any, small, medium, large"),
    ],
)
def test_what_is_wrong_in_a_portfolio_is_named(record: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        read_portfolio(tmp_path / "p.json")


def test_a_portfolio_of_a_newer_foldsmith_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"format": 99}')
    with pytest.raises(ContractError, match="format 99"):
        read_portfolio(tmp_path / "p.json")


def test_which_portfolios_a_search_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = a_portfolio(Entry({"depth": 2}))
    assert chosen_portfolios(None, tmp_path) == [shipped_portfolio()]
    assert chosen_portfolios("none", tmp_path) == []
    write_portfolio(tmp_path / "own.json", own)
    assert chosen_portfolios("own.json", tmp_path) == [own, shipped_portfolio()]
    with pytest.raises(InputError, match=r"no portfolio at .*other.json"):
        chosen_portfolios("other.json", tmp_path)
    monkeypatch.setenv("FOLDSMITH_PORTFOLIO", str(tmp_path / "own.json"))
    assert chosen_portfolios(None, tmp_path) == [own, shipped_portfolio()]
    assert chosen_portfolios("none", tmp_path) == []


def test_where_the_own_portfolio_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDSMITH_PORTFOLIO")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert own_path() == Path("/home/me/.config/foldsmith/portfolio.json")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert own_path() == Path("/home/me/.config/foldsmith/portfolio.json")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/mine")
    assert own_path() == Path("/etc/mine/foldsmith/portfolio.json")


def test_an_unknown_default_is_named() -> None:
    class Extra(Demo):
        def defaults(self, facts: Facts) -> list[Params]:
            return [{"kind": "a", "rate": 0.1, "depth": 4, "colour": "red"}]

    with pytest.raises(UnknownNameError, match="colour"):
        portfolio_points(Extra(), facts_of(), portfolios=[])
