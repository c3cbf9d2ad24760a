"""From the driver's state to a snapshot: counting, the best per family, the time to go."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from foldsmith.problem.metrics import Metric
from foldsmith.results.members import Member
from foldsmith.search.pace import Clock, Pace
from foldsmith.search.snapshot import FamilyView, SlotView, Snapshot, thinned
from foldsmith.search.studies import FamilyStudy
from foldsmith.search.trials import RunningJob


@dataclass(frozen=True)
class SearchView:
    """What a snapshot is made from; the driver's own objects, not to be changed.

    Args:
        families: those that ``n_trials_wanted`` is about; ``n_ended_before`` of their trials ended in earlier calls.
        history: complete members by family, in the order in which they came.
        running: jobs in their slots.
        closed: families that the circuit breaker took out.
    """

    metric: Metric
    budget_seconds: float | None
    n_trials_wanted: int | None
    families: Sequence[str]
    n_ended_before: int
    began: float
    clock: Clock
    pace: Pace
    studies: Mapping[str, FamilyStudy]
    history: Mapping[str, Sequence[Member]]
    running: Sequence[RunningJob]
    closed: tuple[str, ...]
    messages: tuple[str, ...]
    rig: str


def take_snapshot(view: SearchView, phase: str) -> Snapshot:
    """The state of the search now."""
    now = time.time()
    counted = {name: study.tally().states for name, study in view.studies.items()}
    states = sum(counted.values(), Counter[TrialState]())
    return Snapshot(
        phase,
        now - view.began,
        view.budget_seconds,
        view.n_trials_wanted,
        n_complete=states[TrialState.COMPLETE],
        n_running=states[TrialState.RUNNING],
        n_failed=states[TrialState.FAIL],
        n_pruned=states[TrialState.PRUNED],
        families=tuple(_family(view, name, trials.total()) for name, trials in counted.items()),
        slots=tuple(_slot(view, running) for running in sorted(view.running, key=lambda running: running.slot.number)),
        eta_seconds=_eta(view),
        closed=view.closed,
        rig=view.rig,
        messages=view.messages,
    )


def _slot(view: SearchView, running: RunningJob) -> SlotView:
    job, slot = running.job, running.slot
    expected = None if job.fold is None else view.pace.fold_seconds(job.family)
    return SlotView(slot.number, job.member, job.label, running.seconds, expected, slot.name)


def _family(view: SearchView, name: str, n_trials: int) -> FamilyView:
    """Best score and the best-so-far history of one family."""
    best = None
    history = []
    for member in view.history.get(name, ()):
        assert member.scores is not None
        if best is None or view.metric.better(member.scores.value, best.value):
            best = member.scores
        history.append(best.value)
    if best is None:
        return FamilyView(name, n_trials)
    return FamilyView(name, n_trials, best.value, best.sem, thinned(history))


def lag_of(history: Mapping[str, Sequence[Member]], family: str, metric: Metric) -> float | None:
    """How far a family's best member is behind the best of all, as a share of that one's error; None without one."""
    best = {name: _best_value(members, metric) for name, members in history.items() if members}
    if family not in best:
        return None
    top = max(best.values()) if metric.greater_is_better else min(best.values())
    error = abs(1.0 - top) if metric.greater_is_better else abs(top)
    return abs(best[family] - top) / max(error, 1e-12)


def _best_value(members: Sequence[Member], metric: Metric) -> float:
    values = [member.scores.value for member in members if member.scores is not None]
    return max(values) if metric.greater_is_better else min(values)


def n_ended(studies: Mapping[str, FamilyStudy], families: Sequence[str]) -> int:
    """How many trials of ``families`` count and run no more."""
    tallies = [studies[name].tally() for name in families if name in studies]
    return sum(tally.n_counted - tally.states[TrialState.RUNNING] for tally in tallies)


def has_running(study: FamilyStudy) -> bool:
    """Whether some driver works on a trial of the study."""
    return any(trial.state == TrialState.RUNNING for trial in study.trials())


def _eta(view: SearchView) -> float | None:
    """Seconds to the end: what the clock leaves, or less when the trials will be done before."""
    left = max(0.0, view.clock.left())
    ended = n_ended(view.studies, view.families)
    if view.n_trials_wanted is not None and ended > view.n_ended_before:
        seconds_each = (time.time() - view.began) / (ended - view.n_ended_before)
        left = min(left, max(0, view.n_trials_wanted - ended) * seconds_each)
    return None if math.isinf(left) else left
