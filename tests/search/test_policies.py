"""Which family gets the next trial."""

from collections import Counter
from collections.abc import Callable

import pytest

from foldsmith.problem.errors import UnknownNameError
from foldsmith.search.policies import (
    FLOOR,
    POLICIES,
    BestSingle,
    EnsembleGain,
    EqualTime,
    FamilyLoad,
    FamilyPolicy,
    Opening,
    RoundRobin,
    get_policy,
)

Seconds = dict[str, float]


def play(policy: FamilyPolicy, cost: Seconds, n_turns: int, **known: Callable[[str], float]) -> list[str]:
    """The order in which a policy calls families whose trials take ``cost``; ``known`` says what is observed."""
    n_trials, spent, order = Counter[str](), dict.fromkeys(cost, 0.0), []
    for _ in range(n_turns):
        observed = [{field: of(name) for field, of in known.items()} for name in cost]
        loads = [
            FamilyLoad(name, n_trials[name], spent[name], **facts) for name, facts in zip(cost, observed, strict=True)
        ]
        chosen = policy.choose(loads)
        n_trials[chosen] += 1
        spent[chosen] += cost[chosen]
        order.append(chosen)
    return order


def seconds(order: list[str], cost: Seconds) -> Seconds:
    """What each family got."""
    return {name: order.count(name) * cost[name] for name in cost}


def test_round_robin_takes_turns_in_starting_order() -> None:
    n_trials = {"b": 0, "a": 0, "c": 2}
    order = []
    for _ in range(7):
        name = RoundRobin().choose([FamilyLoad(name, n, 0.0) for name, n in n_trials.items()])
        n_trials[name] += 1
        order.append(name)
    assert order == ["b", "a", "b", "a", "b", "a", "c"]


def test_equal_time_starts_everyone_then_gives_to_the_cheapest() -> None:
    cost = {"slow": 8.0, "fast": 1.0, "mid": 3.0}
    order = play(EqualTime(), cost, 20)
    spent = seconds(order, cost)
    assert order[:3] == ["slow", "fast", "mid"]
    assert max(spent.values()) - min(spent.values()) <= 8.0
    assert order.count("fast") > order.count("mid") > order.count("slow")


def test_ensemble_gain_shares_time_out_by_weight_above_a_floor() -> None:
    cost = {"heavy": 2.0, "light": 1.0, "useless": 1.0}
    shares = {"heavy": 0.6, "light": 0.4, "useless": 0.0}
    spent = seconds(play(EnsembleGain(), cost, 600, share=shares.__getitem__), cost)
    total = sum(spent.values())
    for name, share in shares.items():
        assert spent[name] / total == pytest.approx((1 - FLOOR) * share + FLOOR / 3, abs=0.01)


def test_ensemble_gain_is_equal_time_while_nothing_is_known() -> None:
    cost = {"a": 3.0, "b": 1.0}
    assert play(EnsembleGain(), cost, 30) == play(EqualTime(), cost, 30)


def test_time_that_failures_took_counts_against_a_family() -> None:
    failing = FamilyLoad("failing", 3, 30.0, share=0.0)
    assert EnsembleGain().choose([failing, FamilyLoad("fine", 9, 60.0, share=1.0)]) == "fine"


def test_best_single_halves_the_time_of_who_is_a_tenth_behind() -> None:
    cost = {"best": 1.0, "behind": 1.0}
    spent = seconds(play(BestSingle(), cost, 900, lag={"best": 0.0, "behind": 0.1}.__getitem__), cost)
    expected = (1 - FLOOR) / 3 + FLOOR / 2
    assert spent["behind"] / 900 == pytest.approx(expected, abs=0.01)


def test_an_opening_is_followed_to_its_end_then_another_policy_chooses() -> None:
    policy = Opening(("a", "b", "a", "c", "a"), RoundRobin())
    assert play(policy, dict.fromkeys("abc", 1.0), 8) == ["a", "b", "a", "c", "a", "b", "c", "b"]


def test_an_opening_passes_over_who_cannot_start_and_comes_back() -> None:
    policy = Opening(("a", "b", "a"), RoundRobin())
    assert policy.choose([FamilyLoad("b", 0, 0.0)]) == "b"
    assert policy.choose([FamilyLoad("a", 0, 0.0), FamilyLoad("b", 1, 1.0)]) == "a"
    assert policy.choose([FamilyLoad("a", 1, 0.0), FamilyLoad("b", 1, 1.0)]) == "a"


def test_an_opening_counts_what_earlier_calls_did() -> None:
    policy = Opening(("a", "b", "a", "b"), RoundRobin())
    assert policy.choose([FamilyLoad("a", 5, 0.0), FamilyLoad("b", 1, 1.0)]) == "b"


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_starts_every_family_and_starves_none(name: str) -> None:
    cost = {"a": 5.0, "b": 1.0, "c": 2.0}
    known = {"share": {"a": 1.0, "b": 0.0, "c": 0.0}.__getitem__, "lag": {"a": 0.0, "b": 9.0, "c": 9.0}.__getitem__}
    order = play(get_policy(name), cost, 100, **known)
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert all(order[50:].count(family) >= 2 for family in cost)


def test_an_unknown_policy_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="ensemble-gain"):
        get_policy("ensemble-gian")
