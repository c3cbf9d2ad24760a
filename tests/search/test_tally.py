"""A tally is what counting all trials anew would give, and looks at ended ones once."""

from collections import Counter
from typing import cast

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from foldsmith.search.sampling import point_key
from foldsmith.search.tally import Tally, counts, was_promoted


def make_study() -> optuna.Study:
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def seen(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=True)


def slow_twin(trials: list[FrozenTrial], key: str, number: int, model_seed: int) -> int | None:
    """The definition, looking at all trials."""
    tried = [
        trial
        for trial in trials
        if trial.number != number
        and (counts(trial) or (was_promoted(trial) and trial.state == TrialState.COMPLETE))
        and trial.user_attrs.get("model_seed", model_seed) == model_seed
        and point_key(trial.params) == key
    ]
    complete = [trial for trial in tried if trial.state == TrialState.COMPLETE]
    return next((trial.number for trial in [*complete, *tried]), None)


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_counting_everything(seed: int) -> None:
    random, study, tally = np.random.default_rng(seed), make_study(), Tally(model_seed=0)
    open_trials: list[optuna.Trial] = []
    points = (0.0, 0.25, 0.5)
    for _ in range(60):
        if open_trials and random.random() < 0.5:
            trial = open_trials.pop(int(random.integers(len(open_trials))))
            how = random.choice(["complete", "pruned", "failed", "lost"])
            if how == "pruned":
                trial.report(0.5, 0)
            if how in ("failed", "lost"):
                trial.set_user_attr("error", {"failed": "error", "lost": "lost_ask"}[str(how)])
            state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(str(how), TrialState.FAIL)
            study.tell(trial, 0.5 if how == "complete" else None, state)
        else:
            study.enqueue_trial({"x": float(random.choice(points))})
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("model_seed", int(random.integers(2)))
            if random.random() < 0.2:
                trial.set_user_attr("promoted_from", 0)
            open_trials.append(trial)
        trials = seen(study)
        tally.update(trials)
        assert tally.states == Counter(trial.state for trial in trials if counts(trial))
        assert tally.n_counted == sum(map(counts, trials))
        assert tally.has_pruned == any(trial.state == TrialState.PRUNED for trial in trials)
        for point in points:
            key = point_key({"x": point})
            twin = tally.twin(key, number=-1)
            assert (None if twin is None else twin.number) == slow_twin(trials, key, -1, model_seed=0)


def test_a_trial_is_not_its_own_twin() -> None:
    study, tally = make_study(), Tally(model_seed=0)
    trial = study.ask()
    key = point_key({"x": trial.suggest_float("x", 0, 1)})
    tally.update(seen(study))
    assert tally.twin(key, trial.number) is None
    twin = tally.twin(key, trial.number + 1)
    assert twin is not None and twin.number == trial.number


def test_points_that_were_tried_or_wait_are_not_untried() -> None:
    study, tally = make_study(), Tally(model_seed=0)
    keys = [point_key({"x": point}) for point in (0.0, 0.25, 0.5, 0.75)]
    study.add_trial(create_trial(params={"x": 0.0}, distributions={"x": FloatDistribution(0, 1)}, value=1.0))
    study.enqueue_trial({"x": 0.25})
    tally.update(seen(study))
    assert tally.untried(keys) == set(keys[2:])
    lost = study.ask()  # takes the point that waits
    tally.update(seen(study))
    assert tally.untried(keys) == set(keys[2:])
    lost.set_user_attr("error", "lost_ask")
    study.tell(lost, state=TrialState.FAIL)
    tally.update(seen(study))
    assert tally.untried(keys) == set(keys[1:])


def test_ended_trials_are_read_once() -> None:
    study, tally = make_study(), Tally(model_seed=0)
    for _ in range(3):
        study.tell(study.ask(), 0.5)
    tally.update(seen(study))
    unreadable = [cast(FrozenTrial, None)] * 3
    tally.update([*unreadable, seen(study)[0]])
    assert tally.n_counted == 4
