"""Suggested points lie in their space; seeds are what they must be."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldsmith.search.sampling import fold_seed, point_key, sampler_for, suggest
from foldsmith.spaces.registry import available_families, get_family
from foldsmith.spaces.space import Choice, Condition, Float, Int, Param, Space
from foldsmith.spaces.toy import make_problem

KINDS: list[Param] = [
    Float(-2.0, 3.0),
    Float(1e-8, 1e3, log=True),
    Float(0.5, 0.5),
    Int(-3, 4),
    Int(1, 4096, log=True),
    Choice(("a", None, True, 7, 0.5)),
]


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to six parameters behind a first choice, some of them only for one value of it."""
    drawn = draw(st.lists(st.sampled_from(KINDS), max_size=6))
    params: dict[str, Param] = {"kind": Choice(("x", "y"))}
    for number, param in enumerate(drawn):
        when = draw(st.sampled_from([None, Condition("kind", ("x",)), Condition("p0", ("a", 7))]))
        params[f"p{number}"] = type(param)(**{**vars(param), "when": when if number else None})
    return Space("drawn@1", params)


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_suggested_points_lie_in_their_space(space: Space, seed: int) -> None:
    study = optuna.create_study()
    for number in range(3):
        study.sampler = sampler_for(space, "c0ffee/drawn", seed, number)
        trial = study.ask()
        params = suggest(trial, space)
        space.check(params)
        assert sorted(params) == sorted(space.active(params))
        study.tell(trial, float(number))


@pytest.mark.parametrize("name", available_families(by_default=False)[0])
def test_modelled_points_of_shipped_families_lie_in_their_spaces(name: str) -> None:
    """After the random start too, where TPE models the parameters together."""
    space = get_family(name).space(make_problem("multiclass").facts)
    study = optuna.create_study()
    for number in range(16):
        study.sampler = sampler_for(space, f"c0ffee/{name}", 0, number)
        trial = study.ask()
        params = suggest(trial, space)
        space.check(params)
        assert trial.params == params
        study.tell(trial, sum(value for value in params.values() if isinstance(value, float)))


def test_defaults_may_fill_a_conditional_space() -> None:
    space = Space("s@1", {"kind": Choice(("x", "y")), "depth": Int(1, 9, when=Condition("kind", ("y",)))})
    study = optuna.create_study()
    study.enqueue_trial({"kind": "x"})
    study.enqueue_trial({"kind": "y", "depth": 9})
    assert [suggest(study.ask(), space) for _ in range(2)] == [{"kind": "x"}, {"kind": "y", "depth": 9}]


def draws(study_name: str, seed: int, n_trials: int) -> dict[str, object]:
    """The first point that the sampler of an ask draws."""
    space = Space("s@1", {"x": Float(0, 1), "n": Int(1, 1_000_000)})
    return dict(suggest(optuna.create_study(sampler=sampler_for(space, study_name, seed, n_trials)).ask(), space))


def test_each_ask_has_a_seed_of_its_own() -> None:
    asks = [("c0ffee/a", 0, 0), ("c0ffee/a", 0, 1), ("c0ffee/a", 1, 0), ("c0ffee/b", 0, 0)]
    points = [point_key(draws(*ask)) for ask in asks]  # type: ignore[arg-type]  # values of a point
    assert len(set(points)) == 4
    assert points == [point_key(draws(*ask)) for ask in asks]  # type: ignore[arg-type]


def test_point_key_does_not_depend_on_the_order() -> None:
    assert point_key({"b": 1, "a": None}) == point_key({"a": None, "b": 1})
    assert point_key({"a": True}) != point_key({"a": 1})
    assert point_key({"a": 0.1 + 0.2}) != point_key({"a": 0.3})


def test_fold_seeds_differ_between_folds_models_and_repeats() -> None:
    seeds = {fold_seed(model, repeat, fold) for model in (0, 1) for repeat in (0, 1) for fold in range(5)}
    assert len(seeds) == 20
    assert fold_seed(3, 0, 2) == fold_seed(3, 0, 2)
    assert all(0 <= seed < 2**32 for seed in seeds)
