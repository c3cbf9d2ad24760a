"""What competitions teach: their best points, those that serve several of them first."""

from typing import Any

import numpy as np
import pytest

from foldsmith.spaces.learning import (
    LEAST_DISTANCE,
    MIN_TRIALS,
    N_KEPT,
    N_POINTS,
    Evidence,
    Scale,
    as_errors,
    learn_points,
    make_evidence,
)
from foldsmith.spaces.portfolio_file import TaskClass


def evidence_of(
    best: float,
    *,
    task: TaskClass = "classification",
    n_rows: int = 1000,
    space: str = "demo@1",
    n: int = 30,
    seed: int = 0,
) -> Evidence:
    """Trials over a rate in [0.001, 1] whose error grows with the log distance to ``best``."""
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.uniform(np.log(0.001), 0, n))
    rows: list[tuple[dict[str, Any], float, float]] = [
        ({"rate": float(rate), "kind": "a"}, float(abs(np.log(rate / best))), 1.0) for rate in rates
    ]
    found = make_evidence(task, n_rows, space, rows)
    assert found is not None
    return found


def test_evidence_is_ranked_and_survives_json() -> None:
    found = evidence_of(0.03)
    assert [tried.rank for tried in found.trials] == sorted(tried.rank for tried in found.trials)
    assert found.trials[0].rank == 0 and found.trials[-1].rank == 1
    assert Evidence.from_json(found.to_json()) == found


def test_few_trials_are_no_evidence_and_many_are_thinned() -> None:
    rows: list[tuple[dict[str, Any], float, float]] = [({"k": k}, float(k), 1.0) for k in range(200)]
    assert make_evidence("regression", 10, "demo@1", rows[: MIN_TRIALS - 1]) is None
    found = make_evidence("regression", 10, "demo@1", rows)
    assert found is not None and len(found.trials) == N_KEPT
    assert [tried.params["k"] for tried in found.trials[: N_KEPT // 2]] == list(range(N_KEPT // 2))
    assert found.trials[-1].params["k"] == 199


def test_the_best_point_of_a_competition_comes_first() -> None:
    (first, *others) = learn_points([evidence_of(0.03)])
    assert abs(np.log(first.params["rate"] / 0.03)) < 0.5
    assert len(others) < N_POINTS
    assert (first.task, first.rows, first.space) == ("classification", "small", "demo@1")
    assert first.source == "learned from 1 competition"


def test_a_point_good_in_both_goes_before_the_best_of_either() -> None:
    shared = {"rate": 0.05, "kind": "a"}
    groups = []
    for best, seed in ((0.01, 1), (0.25, 2)):
        rng = np.random.default_rng(seed)
        rates = [best, *np.exp(rng.uniform(np.log(0.001), 0, 20))]
        rows: list[tuple[dict[str, Any], float, float]] = [
            ({"rate": float(rate), "kind": "a"}, 0.5 + float(abs(np.log(rate / best))), 1.0) for rate in rates
        ]
        rows.append((shared, 0.6, 1.0))
        found = make_evidence("regression", 1000, "demo@1", rows)
        assert found is not None
        groups.append(found)
    first = learn_points(groups)[0]
    assert first.params == shared
    assert first.source == "learned from 2 competitions"


def test_points_of_a_list_are_apart() -> None:
    entries = learn_points([evidence_of(0.03, n=100), evidence_of(0.1, n=100, seed=1)])
    scale = Scale(
        [tried.params for tried in (*evidence_of(0.03, n=100).trials, *evidence_of(0.1, n=100, seed=1).trials)]
    )
    assert 1 < len(entries) <= N_POINTS
    for number, entry in enumerate(entries):
        assert all(scale.distance(entry.params, other.params) >= LEAST_DISTANCE for other in entries[:number])


def test_kinds_of_tasks_sizes_and_versions_are_kept_apart() -> None:
    entries = learn_points(
        [
            evidence_of(0.03, space="demo@0"),
            evidence_of(0.03, n_rows=500),
            evidence_of(0.03, n_rows=90_000, seed=3),
            evidence_of(0.5, task="regression", n_rows=5_000),
        ]
    )
    assert {(entry.task, entry.rows, entry.space) for entry in entries} == {
        ("classification", "any", "demo@1"),
        ("regression", "medium", "demo@1"),
    }
    assert all(entry.params["rate"] > 0.1 for entry in entries if entry.task == "regression")


def test_distances() -> None:
    scale = Scale([{"rate": 0.01, "depth": 2, "on": True}, {"rate": 1.0, "depth": 6, "on": False}])
    assert scale.distance({"rate": 0.1, "depth": 2}, {"rate": 1.0, "depth": 2}) == pytest.approx(0.25)
    assert scale.distance({"depth": 3, "on": True}, {"depth": 4, "on": False}) == pytest.approx((0.25 + 1) / 2)
    assert scale.distance({"depth": 3}, {"depth": 3, "rate": 0.1}) == pytest.approx(0.5)
    assert scale.distance({}, {}) == 0


def test_scores_become_errors() -> None:
    assert as_errors([0.9, float("nan")], greater_is_better=True).tolist() == [-0.9, np.inf]
    assert as_errors([0.9], greater_is_better=False).tolist() == [0.9]
