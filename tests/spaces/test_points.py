"""Points are moved into other spaces without leaving them."""

import numpy as np
import pytest

from foldsmith.spaces.points import fit_point, middle
from foldsmith.spaces.space import Choice, Condition, Float, Int, Space
from foldsmith.spaces.toy import random_point

SPACE = Space(
    "demo@1",
    {
        "policy": Choice(("wide", "deep")),
        "leaves": Int(2, 64, log=True, when=Condition("policy", ("wide",))),
        "rate": Float(0.01, 0.1, log=True),
        "depth": Int(1, 9),
    },
)
BASE = {"policy": "wide", "leaves": 16, "rate": 0.05, "depth": 4}


def test_a_point_of_the_space_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        point = random_point(SPACE, rng)
        assert fit_point(point, SPACE, BASE) == point


def test_what_is_missing_comes_from_the_base_and_what_is_unknown_goes() -> None:
    assert fit_point({"rate": 0.02, "colour": "red"}, SPACE, BASE) == {**BASE, "rate": 0.02}
    assert fit_point({"policy": "deep"}, SPACE, BASE) == {"policy": "deep", "rate": 0.05, "depth": 4}


def test_values_out_of_range_are_clipped_and_keep_their_kind() -> None:
    fitted = fit_point({"rate": 1, "depth": 0.2, "leaves": 1000}, SPACE, BASE)
    assert fitted == {"policy": "wide", "leaves": 64, "rate": 0.1, "depth": 1}
    assert type(fitted["depth"]) is int and type(fitted["rate"]) is float


@pytest.mark.parametrize("wrong", ["fast", None, True, float("nan"), float("inf")])
def test_what_is_no_number_is_replaced(wrong: object) -> None:
    assert fit_point({"rate": wrong, "policy": "round"}, SPACE, BASE) == BASE


def test_without_a_base_the_middle_is_taken() -> None:
    point = fit_point({}, SPACE, {})
    SPACE.check(point)
    assert point["policy"] == "wide"
    assert point["rate"] == pytest.approx(np.sqrt(0.01 * 0.1))
    assert middle(Int(1, 9)) == 5


def test_any_point_of_one_space_fits_another() -> None:
    narrow = Space(
        "demo@1",
        {
            "policy": Choice(("deep", "flat")),
            "flatness": Float(0.0, 1.0, when=Condition("policy", ("flat",))),
            "rate": Choice((0.03,)),
            "depth": Int(5, 6),
        },
    )
    rng = np.random.default_rng(1)
    for _ in range(50):
        narrow.check(fit_point(random_point(SPACE, rng), narrow, BASE))
