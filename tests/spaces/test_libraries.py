"""What the libraries know, and that nothing is offered which a family would overwrite."""

import sys
from collections.abc import Mapping
from typing import Any

import lightgbm
import pytest
import xgboost

from foldsmith.problem.errors import InputError
from foldsmith.spaces.libraries import library_names, reserved_names
from foldsmith.spaces.overrides import apply_overrides, family_space
from foldsmith.spaces.points import fit_point
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.toy import make_problem


class CaughtError(Exception):
    """Carries what the library was called with."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__("caught")
        self.params = params


def catch(params: Mapping[str, Any], *args: Any, **options: Any) -> None:
    raise CaughtError(params)


@pytest.mark.parametrize(("name", "library"), [("lightgbm", lightgbm), ("xgboost", xgboost)])
@pytest.mark.parametrize("goal", ["binary", "multiclass", "squared"])
def test_what_a_family_sets_itself_is_not_for_people_to_set(
    name: str, library: Any, goal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, family = make_problem(goal), get_family(name)
    task = problem.task(family.defaults(problem.facts)[0])
    monkeypatch.setattr(library, "train", catch)
    with pytest.raises(CaughtError) as caught:
        family.fit_fold(task)
    names = library_names(name)
    itself = {names.get(key, key) for key in caught.value.params if key not in task.params}
    assert itself and itself <= reserved_names(name)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_our_own_parameters_are_not_reserved(name: str) -> None:
    space = get_family(name).space(make_problem().facts)
    assert not {library_names(name).get(key, key) for key in space.params} & reserved_names(name)


def test_what_catboost_is_told_is_not_for_people_to_set() -> None:
    pytest.importorskip("catboost")
    from foldsmith.spaces.catboost import _library_params

    problem = make_problem("multiclass")
    names, task = library_names("catboost"), problem.task(get_family("catboost").defaults(problem.facts)[0])
    assert {names.get(key, key) for key in _library_params(task) if key not in task.params} <= reserved_names(
        "catboost"
    )


def test_reserved_names_are_the_librarys_own() -> None:
    """A misspelt one would be offered to people."""
    assert reserved_names("lightgbm") <= set(library_names("lightgbm").values())
    assert reserved_names("xgboost") - {"num_class"} <= set(library_names("xgboost").values())


@pytest.mark.parametrize(
    ("family", "alias", "main"),
    [
        ("lightgbm", "min_child_samples", "min_data_in_leaf"),
        ("lightgbm_fe", "path_smooth", "path_smooth"),
        ("xgboost", "learning_rate", "eta"),
        ("xgboost", "max_delta_step", "max_delta_step"),
    ],
)
def test_aliases_mean_one_parameter(family: str, alias: str, main: str) -> None:
    assert library_names(family)[alias] == main


def test_families_of_our_own_have_no_other_parameters() -> None:
    assert library_names("knn") == {} and reserved_names("mlp") == frozenset()


def test_a_library_that_is_missing_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    assert library_names("catboost") == {}


def test_catboost_tells_its_names() -> None:
    pytest.importorskip("catboost")
    names = library_names("catboost")
    assert names["eta"] == "learning_rate" and names["rsm"] == names["colsample_bylevel"]
    assert reserved_names("catboost") <= set(names.values()) | {"params"}


@pytest.mark.parametrize(
    ("name", "extra"), [("lightgbm", {"path_smooth": [0.0, 10.0]}), ("xgboost", {"max_delta_step": [0.5, 5.0]})]
)
def test_the_library_takes_the_parameter_that_we_do_not_have(name: str, extra: dict[str, Any]) -> None:
    problem, family = make_problem("binary", n_rows=120), get_family(name)
    space = family_space(name, family, problem.facts, {name: extra})
    (key,) = extra
    point = fit_point({}, space, family.defaults(problem.facts)[0])
    fitted = family.fit_fold(problem.task(point))
    found = fitted._booster.model_to_string() if name == "lightgbm" else fitted._booster.save_config()  # type: ignore[attr-defined]
    assert f"{key}: {point[key]:g}" in found or f'"{key}":"{point[key]:g}"' in found


def test_a_reserved_parameter_is_refused_with_its_reason() -> None:
    space = get_family("lightgbm").space(make_problem().facts)
    with pytest.raises(InputError, match="subsample_freq: foldsmith sets this parameter itself"):
        apply_overrides(space, {"subsample_freq": 5}, library_names("lightgbm"), reserved_names("lightgbm"))
