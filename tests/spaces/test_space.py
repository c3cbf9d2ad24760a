import numpy as np
import pytest

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.spaces.space import Choice, Condition, Float, Int, Space
from foldsmith.spaces.toy import random_point

SPACE = Space(
    "demo@1",
    {
        "policy": Choice(("wide", "deep")),
        "leaves": Int(2, 64, log=True, when=Condition("policy", ("wide",))),
        "rate": Float(0.01, 0.1, log=True),
    },
)


def test_conditional_parameters_exist_only_where_their_condition_holds() -> None:
    assert SPACE.is_conditional
    assert SPACE.active({"policy": "deep"}) == ["policy", "rate"]
    SPACE.check({"policy": "deep", "rate": 0.05})
    SPACE.check({"policy": "wide", "leaves": 8, "rate": 0.05})


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(InputError, match="demo@1 needs the parameter 'leaves'"):
        SPACE.check({"policy": "wide", "rate": 0.05})


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'leaves'.*known: leaves, policy, rate"):
        SPACE.check({"policy": "wide", "leafs": 3, "rate": 0.05})


@pytest.mark.parametrize("changed", [{"rate": 0.2}, {"leaves": 1}, {"leaves": 8.0}, {"leaves": True}, {"policy": "no"}])
def test_a_value_out_of_range_is_shown(changed: dict[str, object]) -> None:
    point = {"policy": "wide", "leaves": 8, "rate": 0.05} | changed
    with pytest.raises(InputError, match="is outside"):
        SPACE.check(point)  # type: ignore[arg-type]  # wrong types on purpose


def test_range_ends_may_be_off_by_rounding() -> None:
    assert Float(0.1, 0.3).contains(0.1 + 0.2)
    assert not Float(0.1, 0.3).contains("0.2")


def test_random_points_lie_in_the_space() -> None:
    rng = np.random.default_rng(0)
    points = [random_point(SPACE, rng) for _ in range(50)]
    for point in points:
        SPACE.check(point)
    assert {point["policy"] for point in points} == {"wide", "deep"}
