"""Which family gets the next trial."""

from collections import Counter

from foldsmith.search.policies import EqualTime, FamilyLoad, RoundRobin


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
    n_trials, spent = Counter[str](), Counter[str]()
    order = []
    for _ in range(20):
        name = EqualTime().choose([FamilyLoad(name, n_trials[name], spent[name]) for name in cost])
        n_trials[name] += 1
        spent[name] += cost[name]  # type: ignore[assignment]  # seconds
        order.append(name)
    assert order[:3] == ["slow", "fast", "mid"]
    assert max(spent.values()) - min(spent.values()) <= 8.0
    assert n_trials["fast"] > n_trials["mid"] > n_trials["slow"]
