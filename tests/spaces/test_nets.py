import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from foldsmith.spaces.family import Facts
from foldsmith.spaces.nets import first_fold_seconds, fitting_epochs, monitored, most_epochs
from foldsmith.spaces.toy import GOALS, make_problem


def test_the_monitor_is_the_goals() -> None:
    y, p = np.array([0, 1, 1, 0]), np.array([[0.2], [0.9], [0.4], [0.5]], np.float32)
    assert monitored(GOALS["binary"], y, p) == pytest.approx(log_loss(y, p[:, 0]))
    assert monitored(GOALS["auc"], y, p) == pytest.approx(roc_auc_score(y, p[:, 0]))
    assert monitored(GOALS["squared"], y * 1.0, p) == pytest.approx(np.sqrt((0.04 + 0.01 + 0.36 + 0.25) / 4))
    assert monitored(GOALS["absolute"], y * 1.0, p) == pytest.approx((0.2 + 0.1 + 0.6 + 0.5) / 4)
    three = np.full((4, 3), 1 / 3, np.float32)
    assert monitored(GOALS["multiclass"], y, three) == pytest.approx(math.log(3))


@pytest.mark.parametrize(("goal", "worst"), [("auc", 0.0), ("binary", math.inf), ("squared", math.inf)])
def test_a_diverged_round_is_the_worst(goal: str, worst: float) -> None:
    assert monitored(GOALS[goal], np.array([0, 1]), np.array([[np.nan], [0.5]], np.float32)) == worst


def test_a_first_fold_takes_a_fiftieth_of_the_search_and_two_minutes_at_most() -> None:
    facts = make_problem().facts
    seconds = [first_fold_seconds(Facts(facts.goal, facts.schema, 300, budget)) for budget in (100.0, 1e6, None)]
    assert seconds == [2.0, 120.0, 120.0]


def test_epochs_are_bounded_by_time() -> None:
    assert fitting_epochs(120, 1000, 1e-3) == pytest.approx(120)
    assert most_epochs("cpu", 1000, 1e-2) == 60
    assert most_epochs("cuda", 1000, 1e-2) == 1200
    assert most_epochs("cpu", 10**9, 1.0) == 1
