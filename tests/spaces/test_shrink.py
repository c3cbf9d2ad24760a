"""Shrinking a space around its best trials."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldsmith.problem.errors import InputError
from foldsmith.spaces.overrides import apply_overrides
from foldsmith.spaces.shrink import LEAST_MARGIN, MARGIN, MIN_TRIALS, as_override, shrink_space
from foldsmith.spaces.space import Choice, Condition, Float, Int, Param, Space
from foldsmith.spaces.toy import random_point

SPACE = Space(
    "demo@1",
    {
        "policy": Choice(("wide", "deep", "odd")),
        "leaves": Int(2, 1024, log=True, when=Condition("policy", ("wide",))),
        "rate": Float(1e-4, 1.0, log=True),
        "share": Float(0.0, 1.0),
    },
)


def trials(best: list[dict[str, Any]], n: int = 50, seed: int = 0) -> list[dict[str, Any]]:
    """``n`` trials, the given ones first."""
    rng = np.random.default_rng(seed)
    return best + [random_point(SPACE, rng) for _ in range(n - len(best))]


BEST: list[dict[str, Any]] = [
    {"policy": "wide" if number % 2 else "deep", "rate": 0.01 * 2**number / 16, "share": 0.4 + 0.02 * number}
    | ({"leaves": 2**number} if number % 2 else {})
    for number in range(10)
]


def test_ranges_shrink_to_the_best_with_a_margin_on_their_own_scale() -> None:
    shrunk = shrink_space(SPACE, trials(BEST), 0.2)
    rate, share = shrunk["rate"], shrunk["share"]
    assert isinstance(rate, Float) and isinstance(share, Float) and rate.log
    low, high = 0.01 / 16, 0.01 * 2**9 / 16
    margin = math.exp(max(MARGIN * math.log(high / low), LEAST_MARGIN * math.log(1e4)))
    assert rate.low == pytest.approx(low / margin, rel=0.01) and rate.low <= low / margin
    assert rate.high == pytest.approx(high * margin, rel=0.01) and rate.high >= high * margin
    assert share.low == pytest.approx(0.4 - LEAST_MARGIN, abs=0.001)
    assert share.high == pytest.approx(0.58 + LEAST_MARGIN, abs=0.001)


def test_choices_that_no_good_trial_has_are_dropped() -> None:
    assert shrink_space(SPACE, trials(BEST), 0.2)["policy"] == Choice(("wide", "deep"))


def test_a_conditional_parameter_counts_where_it_is() -> None:
    leaves = shrink_space(SPACE, trials(BEST), 0.2)["leaves"]
    assert isinstance(leaves, Int) and leaves.log and leaves.when == Condition("policy", ("wide",))
    assert leaves.low <= 2 and 512 <= leaves.high < 1024


def test_one_that_is_rarely_there_keeps_its_range() -> None:
    best = [{"policy": "deep", "rate": 0.01, "share": 0.5} for _ in range(8)]
    best += [{"policy": "wide", "leaves": 8, "rate": 0.01, "share": 0.5} for _ in range(2)]
    shrunk = shrink_space(SPACE, trials(best), 0.2)
    assert "leaves" not in shrunk
    assert shrunk["policy"] == Choice(("wide", "deep"))


def test_a_single_value_leaves_a_narrow_range() -> None:
    best = [{"policy": "deep", "rate": 1e-4, "share": 1.0} for _ in range(10)]
    shrunk = shrink_space(SPACE, trials(best), 0.2)
    rate, share = shrunk["rate"], shrunk["share"]
    assert isinstance(rate, Float) and rate.low == 1e-4 and 1e-4 < rate.high < 3e-4
    assert share == Float(0.95, 1.0)


def test_trials_all_over_the_space_leave_it() -> None:
    everywhere = [
        {"policy": kind, "rate": rate, "share": share} | ({"leaves": leaves} if kind == "wide" else {})
        for kind in ("wide", "deep", "odd")
        for rate, share, leaves in ((1e-4, 0.0, 2), (1.0, 1.0, 1024), (0.1, 0.5, 32))
    ]
    assert shrink_space(SPACE, everywhere * 3, 1.0) == {}


@pytest.mark.parametrize("top", [0.0, -0.1, 1.5])
def test_a_senseless_share_is_refused(top: float) -> None:
    with pytest.raises(InputError, match="is not above 0 % and at most 100 %"):
        shrink_space(SPACE, trials(BEST), top)


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(InputError, match=f"has 19 complete trials at different points, shrinking needs {MIN_TRIALS}"):
        shrink_space(SPACE, trials(BEST, 19), 0.2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), top=st.floats(0.05, 1.0))
def test_a_shrunk_space_holds_the_best_trials_and_lies_in_the_old_one(seed: int, top: float) -> None:
    found = trials([], 30, seed)
    shrunk = shrink_space(SPACE, found, top)
    for name, param in shrunk.items():
        best = [trial[name] for trial in found[: max(5, math.ceil(top * 30))] if name in trial]
        assert all(map(param.contains, best))
        ends = param.choices if isinstance(param, Choice) else (param.low, param.high)
        assert all(map(SPACE.params[name].contains, ends))


@pytest.mark.parametrize(
    ("param", "own"),
    [
        (Float(0.02, 0.05, log=True), Float(0.01, 0.1, log=True)),
        (Float(0.02, 0.05), Float(0.01, 0.1, log=True)),
        (Float(0.02, 0.05, log=True), None),
        (Float(2.0, 5.0), None),
        (Int(2, 5), Int(1, 9)),
        (Int(2, 5, log=True), None),
        (Choice(("a", "b")), Choice(("a", "b", "c"))),
        (Choice((1, 2)), Choice((1, 2, 3))),
        (Choice((1.0, 2.0)), None),
        (Choice((0.1, 0.2)), Float(0.0, 1.0)),
        (Choice((0.1,)), Float(0.0, 1.0)),
    ],
)
def test_an_override_reads_back_as_the_parameter(param: Param, own: Param | None) -> None:
    space = Space("demo@1", {} if own is None else {"it": own})
    value = as_override(param, own)
    assert apply_overrides(space, {"it": value}, {"it": "it"}).params["it"] == param
