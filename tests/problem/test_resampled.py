"""Many resamples at once give what the metric gives for each of them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.metrics import get_metric, known_metrics
from foldsmith.problem.resampled import resampled_scorer

N, N_RESAMPLES = 80, 6


def given(name: str, n_classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels, and predictions with ties."""
    rng = np.random.default_rng(0)
    metric = get_metric(name)
    y: NDArray[Any]
    if metric.needs == "value":
        y = rng.gamma(3.0, size=N)
        return y, (y + rng.normal(size=N)).round(1)[:, None]
    y = rng.integers(0, n_classes, N)
    if metric.needs == "label":
        return y, np.where(rng.random(N) < 0.6, y, rng.integers(0, n_classes, N))
    if n_classes == 2:
        return y, rng.beta(1 + y, 2 - y).round(1)[:, None]
    chances = rng.random((N, n_classes)) + np.eye(n_classes)[y]
    return y, chances


CASES = [
    (name, n_classes)
    for name in known_metrics()
    for n_classes in (0, 2, 3)
    if {0: "regression", 2: "binary", 3: "multiclass"}[n_classes] in get_metric(name).tasks
]


@pytest.mark.parametrize(("name", "n_classes"), CASES)
def test_every_metric_agrees_with_itself(name: str, n_classes: int) -> None:
    y, values = given(name, n_classes)
    metric = get_metric(name)
    weights = np.random.default_rng(1).poisson(1.0, (N_RESAMPLES, N)).astype(float)
    weights[0] = 1
    expected = [metric.score(y, values, row) for row in weights]
    np.testing.assert_allclose(resampled_scorer(metric, y, values)(weights), expected, rtol=1e-9)


def test_one_class_has_no_auc_and_nothing_asked_is_nothing() -> None:
    y, values = given("auc", 2)
    score = resampled_scorer(get_metric("auc"), y, values)
    assert np.isnan(score((y == 1)[None])[0])
    assert score(np.empty((0, N))).shape == (0,)
