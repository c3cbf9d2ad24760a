"""What the studies of a search are opened with: people's ranges, and the points to start from."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.search.opening import StudyBook, open_studies
from foldsmith.search.racing import get_racer
from foldsmith.search.studies import FamilyStudy
from foldsmith.spaces.portfolio_file import Entry, Portfolio, shipped_portfolio, write_portfolio
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.space import Choice, Float, Params


def opened(problem: Problem, *names: str) -> StudyBook:
    """The studies, as a new driver opens them."""
    return open_studies(
        open_problem(problem.folder.root),
        names,
        get_racer("none"),
        storage_url=None,
        seed=0,
        model_seed=0,
        say=lambda text: None,
    )


def add_text(problem: Problem, text: str) -> None:
    path = problem.folder.config
    path.write_text(path.read_text() + text)


def set_portfolio(problem: Problem, setting: str) -> None:
    path = problem.folder.config
    path.write_text(path.read_text().replace("[search]\n", f'[search]\nportfolio = "{setting}"\n'))


def asks(study: FamilyStudy, n: int) -> list[Params]:
    """Ask, accept and complete ``n`` times."""
    points = []
    for _ in range(n):
        ask = study.ask()
        assert ask is not None
        study.accept(ask, f"lin-{ask.trial.number:04d}", {})
        study.complete(ask.trial, float(str(ask.params["C"])), {})
        points.append(ask.params)
    return points


def test_ranges_of_the_toml_are_searched_in_a_study_of_their_own(problem: Problem) -> None:
    before = opened(problem, "linear", "knn").studies
    asks(before["linear"], 3)
    add_text(problem, "[spaces.linear]\nC = [0.5, 2.0]\nnumeric = ['standard', 'pieces']\n")
    after = opened(problem, "linear", "knn").studies
    assert after["linear"].space.params == {"C": Float(0.5, 2.0, log=True), "numeric": Choice(("standard", "pieces"))}
    assert after["linear"].trials() == [] and after["knn"].space == before["knn"].space
    assert all(0.5 <= float(str(point["C"])) <= 2.0 for point in asks(after["linear"], 8))
    problem.folder.config.write_text(problem.folder.config.read_text().partition("[spaces")[0])
    assert len(opened(problem, "linear").studies["linear"].trials()) == 3


def test_a_fixed_value_is_part_of_every_point(problem: Problem) -> None:
    add_text(problem, "[spaces.linear]\nC = 0.25\n")
    study = opened(problem, "linear").studies["linear"]
    points = asks(study, 3)
    assert {point["C"] for point in points} == {0.25}
    assert {point["numeric"] for point in points} == {"standard", "quantile", "pieces"}


def test_resources_are_wished_for_the_point_that_comes_first(problem: Problem) -> None:
    wide = opened(problem, "mlp").wishes["mlp"]
    add_text(problem, "[spaces.mlp]\nwidth = 32\n")
    assert opened(problem, "mlp").wishes["mlp"].ram_bytes < wide.ram_bytes


def test_a_table_of_no_family_is_an_error(problem: Problem) -> None:
    add_text(problem, "[spaces.linaer]\nC = 0.25\n")
    with pytest.raises(UnknownNameError, match=r"unknown family in \[spaces\] 'linaer'; did you mean 'linear'"):
        opened(problem, "knn")


def test_a_users_own_family_has_a_table_by_its_name(problem: Problem, write_family: Callable[..., str]) -> None:
    family = write_family(problem, "fit", "nan")
    add_text(problem, f'[spaces."{family}"]\nshift = [0.1, 0.2]\n')
    study = opened(problem, family).studies[family]
    assert study.space.params["shift"] == Float(0.1, 0.2)
    ask = study.ask()
    assert ask is not None and ask.params == {"do": "fit", "shift": 0.1}


def test_the_portfolio_comes_after_the_defaults_in_its_order_and_once(problem: Problem, tmp_path: Path) -> None:
    entries = tuple(Entry({"C": 0.011 * (number + 1), "numeric": "standard"}) for number in range(30))
    write_portfolio(tmp_path / "own.json", Portfolio("x", points={"linear": entries}))
    set_portfolio(problem, str(tmp_path / "own.json"))
    first = asks(opened(problem, "linear").studies["linear"], 10)
    second = asks(opened(problem, "linear").studies["linear"], 20)
    study = opened(problem, "linear").studies["linear"]
    facts, family = opened(problem, "linear").facts, get_family("linear")
    assert facts is not None
    defaults = family.defaults(facts)
    (early,) = [entry.params for entry in shipped_portfolio().suiting("linear", facts) if entry.early]
    wanted = [early, *defaults, *(dict(entry.params) for entry in entries)]
    assert first + second == wanted[:30]
    asks(study, 2)
    enqueued = [trial for trial in study.trials() if "fixed_params" in trial.system_attrs]
    assert len(enqueued) == 30
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials())


def test_without_a_portfolio_the_sampler_comes_after_the_defaults(problem: Problem) -> None:
    set_portfolio(problem, "none")
    book = opened(problem, "linear")
    assert book.facts is not None
    defaults = get_family("linear").defaults(book.facts)
    study = book.studies["linear"]
    assert asks(study, len(defaults) + 3)[: len(defaults)] == defaults
    assert sum("fixed_params" in trial.system_attrs for trial in study.trials()) == len(defaults)


def test_a_portfolio_that_is_not_there_is_an_error(problem: Problem) -> None:
    set_portfolio(problem, "mine.json")
    with pytest.raises(InputError, match=r"no portfolio at .*mine.json"):
        opened(problem, "linear")
