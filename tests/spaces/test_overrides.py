"""People's own ranges: what each form means, what is refused, and in what words."""

from typing import Any

import pytest

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.spaces.overrides import apply_overrides, check_tables, family_space
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.space import Choice, Condition, Float, Int, Space
from foldsmith.spaces.toy import make_problem

SPACE = Space(
    "demo@1",
    {
        "policy": Choice(("wide", "deep")),
        "leaves": Int(2, 64, log=True, when=Condition("policy", ("wide",))),
        "rate": Float(0.01, 0.1, log=True),
        "share": Float(0.0, 1.0),
        "extra": Choice((False, True)),
        "power": Choice((1, 2)),
    },
)
LIBRARY = {
    "path_smooth": "path_smooth",
    "rate": "rate",
    "learning_rate": "rate",
    "num_threads": "num_threads",
    "n_jobs": "num_threads",
}


def changed(table: dict[str, Any]) -> Space:
    return apply_overrides(SPACE, table, LIBRARY, {"num_threads"}, where="[spaces.demo]")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", [0.02, 0.5], Float(0.02, 0.5, log=True)),
        ("rate", [1, 2], Float(1.0, 2.0, log=True)),
        ("rate", 0.05, Choice((0.05,))),
        ("rate", 1, Choice((1.0,))),
        ("rate", [0.1, 0.2, 0.3], Choice((0.1, 0.2, 0.3))),
        ("rate", {"low": 0.02}, Float(0.02, 0.1, log=True)),
        ("rate", {"high": 0.2, "log": False}, Float(0.01, 0.2)),
        ("rate", {"choices": [0.1, 0.2]}, Choice((0.1, 0.2))),
        ("share", [0.0, 0.5], Float(0.0, 0.5)),
        ("share", {"low": 0.1, "high": 0.5, "log": True}, Float(0.1, 0.5, log=True)),
        ("leaves", [8, 128], Int(8, 128, log=True, when=Condition("policy", ("wide",)))),
        ("leaves", 16, Choice((16,), when=Condition("policy", ("wide",)))),
        ("policy", "deep", Choice(("deep",))),
        ("policy", ["deep"], Choice(("deep",))),
        ("extra", [True], Choice((True,))),
        ("power", [2, 1], Choice((2, 1))),
        ("path_smooth", [0.0, 10.0], Float(0.0, 10.0)),
        ("path_smooth", [1, 10], Int(1, 10)),
        ("path_smooth", {"low": 0.1, "high": 10, "log": True}, Float(0.1, 10.0, log=True)),
        ("path_smooth", 3.0, Choice((3.0,))),
    ],
)
def test_each_form_means_a_range_or_choices(name: str, value: Any, expected: object) -> None:
    space = changed({name: value})
    assert space.params[name] == expected
    assert [type(choice) for choice in getattr(space.params[name], "choices", ())] == [
        type(choice) for choice in getattr(expected, "choices", ())
    ]
    assert {key: param for key, param in space.params.items() if key != name} == {
        key: param for key, param in SPACE.params.items() if key != name
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rate": [0.5, 0.02]}, r"\[spaces.demo\] rate = \[0.5, 0.02\]: low 0.5 is not below high 0.02; swap them"),
        ({"rate": [0.05, 0.05]}, "give one fixed value"),
        ({"rate": [0.0, 0.1]}, r"must be above 0 on a log scale; .* \{ low = 0.0, high = 0.1, log = false \}"),
        ({"rate": [float("nan"), 0.1]}, "nan is not a number"),
        ({"rate": [0.1, float("inf")]}, "inf is not a number"),
        ({"rate": "fast"}, "'fast' is not a number"),
        ({"rate": True}, "True is not a number"),
        ({"rate": []}, "nothing to choose from"),
        ({"rate": [0.1, 0.1, 0.2]}, "a choice stands there twice"),
        ({"leaves": [8.0, 16.5]}, "8.0 is not a whole number"),
        ({"leaves": 8.5}, "8.5 is not a whole number"),
        ({"leaves": {"low": 0}}, "low 0 must be above 0 on a log scale"),
        ({"policy": ["tall"]}, r"'tall' is not one of \['wide', 'deep'\]"),
        ({"power": [True]}, r"True is not one of \[1, 2\]"),
        ({"extra": 1}, r"1 is not one of \[False, True\]"),
        ({"power": {"low": 1, "high": 3}}, "it has choices, no range"),
        ({"rate": {"low": 0.1, "high": 0.2, "log": "yes"}}, "log is 'yes'"),
        ({"rate": {"choices": [0.1], "low": 0.1}}, "stand alone"),
        ({"path_smooth": {"low": 0.1}}, "needs low and high"),
        ({"path_smooth": [[1]]}, r"\[1\] is no number"),
        ({"n_jobs": 4}, "foldsmith sets this parameter itself"),
        ({"rate": 0.1, "learning_rate": 0.1}, "'rate' and 'learning_rate', which are the same parameter"),
    ],
)
def test_what_cannot_be_searched_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(table)


def test_an_unknown_name_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown parameter in \[spaces.demo\] 'path_smoth'; .*'path_smooth'"):
        changed({"path_smoth": 1.0})
    with pytest.raises(UnknownNameError, match=r"unknown key in .* 'lowest'; did you mean 'low'"):
        changed({"rate": {"lowest": 1.0}})


def test_names_that_foldsmith_sets_are_not_offered() -> None:
    with pytest.raises(UnknownNameError) as caught:
        changed({"num_thread": 1})
    assert "'num_threads'" not in str(caught.value)


def test_an_alias_is_our_own_parameter() -> None:
    space = changed({"learning_rate": [0.02, 0.05]})
    assert space.params["rate"] == Float(0.02, 0.05, log=True)
    assert "learning_rate" not in space.params


def test_the_version_tells_the_changes() -> None:
    one, other, again = (changed({"rate": [0.02, high]}) for high in (0.05, 0.06, 0.05))
    assert one.version == again.version != other.version
    assert one.version.startswith("demo@1+") and len(one.version) == len("demo@1+") + 6
    assert changed({}).version == "demo@1"
    assert changed({"rate": [0.01, 0.1], "power": [1, 2]}) == SPACE
    assert changed({"share": [0.0, 0.5], "rate": 0.1}).version == changed({"rate": 0.1, "share": [0.0, 0.5]}).version


def test_tables_belong_to_families() -> None:
    check_tables(["lightgbm", "mine:Toy"], ["knn"])
    with pytest.raises(UnknownNameError, match=r"unknown family in \[spaces\] 'lightgmb'; did you mean 'lightgbm'"):
        check_tables(["lightgmb"], ["knn"])


def test_a_familys_table_is_laid_over_its_space() -> None:
    facts, family = make_problem().facts, get_family("lightgbm")
    tables = {"lightgbm": {"max_leaf": [8, 64], "path_smooth": [0.0, 10.0]}, "knn": {"k": 3}}
    space = family_space("lightgbm", family, facts, tables)
    assert space.params["num_leaves"] == Int(8, 64, log=True)
    assert space.params["path_smooth"] == Float(0.0, 10.0)
    assert family_space("lightgbm", family, facts, {"knn": {"k": 3}}) == family.space(facts)
    with pytest.raises(UnknownNameError, match="did you mean 'path_smooth'"):
        family_space("lightgbm", family, facts, {"lightgbm": {"path_smothing": 1.0}})
    with pytest.raises(UnknownNameError, match=r"parameter in \[spaces.knn\] 'leaf_size'"):
        family_space("knn", get_family("knn"), facts, {"knn": {"leaf_size": 3}})
