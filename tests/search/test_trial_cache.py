"""Trials are read again when something may have changed, and only then."""

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import cast

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from foldsmith.search.leases import Alone
from foldsmith.search.trial_cache import TrialCache, WriteCounter


class Shared(Alone):
    """Leases of a driver that shares its studies, as far as a cache can see."""

    is_shared = True

    def asking(self) -> AbstractContextManager[None]:
        self.epoch += 1
        return nullcontext()


@pytest.fixture
def storage() -> InMemoryStorage:
    """With the study ``demo``, which somebody else may write to."""
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="demo")
    return storage


def open_cache(storage: BaseStorage, leases: Alone, refresh_seconds: float = 60) -> tuple[optuna.Study, TrialCache]:
    """Our own way to the study."""
    writes = WriteCounter(storage)
    study = optuna.load_study(study_name="demo", storage=cast(BaseStorage, writes))
    return study, TrialCache(study, writes, leases, refresh_seconds=refresh_seconds)


def ask_elsewhere(storage: BaseStorage) -> None:
    """Another driver's ask."""
    optuna.load_study(study_name="demo", storage=storage).ask()


def test_every_write_of_our_own_shows_at_once(storage: InMemoryStorage) -> None:
    study, cache = open_cache(storage, Alone())
    assert cache.trials() == []
    study.enqueue_trial({"x": 0.5})
    assert [trial.state for trial in cache.trials()] == [TrialState.WAITING]
    trial = study.ask()
    assert [trial.state for trial in cache.trials()] == [TrialState.RUNNING]
    trial.suggest_float("x", 0, 1)
    assert cache.trials()[0].params == {"x": 0.5}
    trial.report(0.25, 0)
    assert cache.trials()[0].intermediate_values == {0: 0.25}
    trial.set_user_attr("member", "demo-1")
    assert cache.trials()[0].user_attrs == {"member": "demo-1"}
    study.tell(trial, 0.5)
    assert cache.trials()[0].value == 0.5


def test_without_a_write_nothing_is_read(storage: InMemoryStorage) -> None:
    _, cache = open_cache(storage, Alone(), refresh_seconds=0)
    known = cache.trials()
    ask_elsewhere(storage)
    assert cache.trials() is known


def test_a_shared_study_is_read_again_after_a_while(storage: InMemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("foldsmith.search.trial_cache.time", SimpleNamespace(monotonic=lambda: clock.now))
    _, cache = open_cache(storage, Shared(), refresh_seconds=0.5)
    known = cache.trials()
    ask_elsewhere(storage)
    assert cache.trials() is known
    clock.now += 0.5
    assert len(cache.trials()) == 1


def test_a_shared_study_is_read_again_when_asking_begins(storage: InMemoryStorage) -> None:
    leases = Shared()
    _, cache = open_cache(storage, leases)
    known = cache.trials()
    ask_elsewhere(storage)
    assert cache.trials() is known
    with leases.asking():
        assert len(cache.trials()) == 1


@pytest.mark.parametrize("leases", [Alone(), Shared()])
def test_unchanged_trials_cost_next_to_nothing(
    storage: InMemoryStorage, leases: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, cache = open_cache(storage, leases)
    study.add_trials([optuna.trial.create_trial(value=0.5)] * 2000)
    assert len(cache.trials()) == 2000
    monkeypatch.setattr(storage, "get_all_trials", lambda *_, **__: pytest.fail("they were read again"))
    assert all(cache.trials() is cache.trials() for _ in range(200))
