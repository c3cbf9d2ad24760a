"""One trial between ask and tell: retries, reports in fold order, what is left to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from foldsmith.search.jobs import Fault, Job, JobResult
from foldsmith.search.studies import Ask
from foldsmith.search.trials import ActiveTrial


@pytest.fixture
def reports() -> list[tuple[int, float]]:
    """What was reported, fold and score."""
    return []


@pytest.fixture
def trial(reports: list[tuple[int, float]]) -> ActiveTrial:
    """A trial of three folds."""
    study: Any = SimpleNamespace(family="toy", report=lambda trial, fold, score: reports.append((fold, score)))
    asked: Any = SimpleNamespace(number=0)
    return ActiveTrial(study, Ask(asked, {"x": 0.5}), "toy-0001", 7, [0, 1, 2])


def take(trial: ActiveTrial, job: Job, reason: str | None = None) -> bool:
    """End a job with a score, or with a fault."""
    fault = None if reason is None else Fault(reason, "for a test")
    provisional = None if job.fold is None or fault else 0.5 + job.fold
    goes_on = trial.take(JobResult(job, 1.0, provisional, fault=fault))
    trial.report()
    return goes_on


def test_folds_in_order_then_the_finish(trial: ActiveTrial) -> None:
    jobs = [trial.next_job(9.0) for _ in range(3)]
    assert [job.fold for job in jobs] == [0, 1, 2]
    assert jobs[0] == Job("toy-0001", "toy", {"x": 0.5}, 0, 7, deadline=9.0)
    assert trial.n_folds_left == 3 and not trial.has_job()
    for job in jobs:
        assert take(trial, job)
    assert trial.is_fitted and trial.has_job()
    finish = trial.next_job(None)
    assert finish.fold is None and finish.deadline is None
    assert not trial.has_job()


def test_scores_are_reported_in_fold_order(trial: ActiveTrial, reports: list[tuple[int, float]]) -> None:
    first, second, third = (trial.next_job(None) for _ in range(3))
    take(trial, third)
    assert reports == []
    take(trial, first)
    assert reports == [(0, 0.5)]
    take(trial, second)
    assert reports == [(0, 0.5), (1, 1.5), (2, 2.5)]


@pytest.mark.parametrize("reason", ["crashed", "oom"])
def test_a_crash_is_tried_once_more(trial: ActiveTrial, reason: str) -> None:
    assert take(trial, trial.next_job(None), reason)
    again = trial.next_job(None)
    assert again.fold == 0
    assert not take(trial, again, reason)


@pytest.mark.parametrize("reason", ["error", "not_finite", "disk_full"])
def test_other_faults_are_final(trial: ActiveTrial, reason: str) -> None:
    assert not take(trial, trial.next_job(None), reason)


def test_a_killed_fold_waits_again_however_often(trial: ActiveTrial) -> None:
    for _ in range(4):
        job = trial.next_job(None)
        assert job.fold == 0
        assert take(trial, job, "killed")
    assert trial.n_folds_left == 3


def test_a_finish_may_be_repeated(trial: ActiveTrial) -> None:
    for _ in range(3):
        take(trial, trial.next_job(None))
    assert take(trial, trial.next_job(None), "killed")
    assert trial.has_job() and trial.next_job(None).fold is None
