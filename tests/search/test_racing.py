"""Racing over folds: who goes on, who is cut, who comes back, and what a study remembers of it."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from foldsmith.problem.errors import ContractError, UnknownNameError
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.journal import open_journal
from foldsmith.search.racing import PRUNE, RACERS, Halving, Racer, Wilcoxon, get_racer, settle_reports
from foldsmith.search.studies import REPORTED_VALUES, Ask, FamilyStudy, counts
from foldsmith.search.trials import ActiveTrial
from foldsmith.spaces.space import Choice, Float, Params, Space

SPACE = Space("race@1", {"x": Float(0.0, 1.0)})

Reopen = Callable[..., FamilyStudy]


@pytest.fixture
def reopen(journal: Path) -> Reopen:
    """Opens the study as a new driver does, ready for a racer."""

    def open_again(
        racer: str | Racer = "halving",
        *,
        space: Space = SPACE,
        defaults: Sequence[Params] = (),
        greater_is_better: bool = True,
        family: str = "demo",
    ) -> FamilyStudy:
        study = FamilyStudy(
            open_journal(journal), "c0ffee", family, space, defaults, greater_is_better=greater_is_better, seed=0
        )
        settle_reports(study, get_racer(racer) if isinstance(racer, str) else racer)
        return study

    return open_again


def start(study: FamilyStudy, n_folds: int) -> ActiveTrial:
    """A new trial with a member, none of its folds started."""
    ask = study.ask()
    assert ask is not None
    member = f"demo-{ask.trial.number:04d}"
    study.accept(ask, member, {"model_seed": 0})
    return ActiveTrial(study, ask, member, 0, list(range(n_folds)))


def fit(trial: ActiveTrial, job: Job, score: float) -> None:
    """End one fold with a score."""
    assert trial.take(JobResult(job, 1.0, score))
    trial.report()


def race(trial: ActiveTrial, racer: Racer, scores: Sequence[float]) -> int:
    """Fit what the racer allows, then complete or prune; gives the number of folds fitted by this call."""
    n_fitted = 0
    while trial.judge(racer):
        if trial.is_fitted:
            trial.study.complete(trial.ask.trial, statistics.fmean(scores), {})
            return n_fitted
        job = trial.next_job(None)
        assert job.fold is not None
        fit(trial, job, scores[job.fold])
        n_fitted += 1
    trial.study.prune(trial.ask.trial, racer.name)
    return n_fitted


def run(study: FamilyStudy, racer: Racer, *trials: Sequence[float]) -> list[int]:
    """One trial per row of fold scores, one after the other; gives the number of folds that each fitted."""
    return [race(start(study, len(scores)), racer, scores) for scores in trials]


def states(study: FamilyStudy) -> list[str]:
    """The state of each trial, in order."""
    return [trial.state.name for trial in study.trials()]


def flat(score: float, n_folds: int = 5) -> list[float]:
    """The same score in every fold."""
    return [score] * n_folds


def take_up(study: FamilyStudy, ask: Ask, scores: Sequence[float], on_disk: Sequence[int]) -> ActiveTrial:
    """What ``adopt_trial`` makes of a trial whose folds ``on_disk`` are whole."""
    waiting = [fold for fold in range(len(scores)) if fold not in on_disk]
    assert ask.member is not None
    trial = ActiveTrial(study, ask, ask.member, 0, waiting, provisional={fold: scores[fold] for fold in on_disk})
    trial.report()
    return trial


# --- the registry ------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert list(RACERS) == ["none", "halving", "median", "hyperband", "wilcoxon"]
    assert all(get_racer(name).name == name for name in RACERS)
    with pytest.raises(UnknownNameError, match="unknown racer 'halfing'; did you mean 'halving'"):
        get_racer("halfing")


@pytest.mark.parametrize("name", RACERS)
@pytest.mark.parametrize("n_folds", [1, 2, 3, 4, 5, 7, 10, 20])
def test_limits_rise_to_the_last_fold(name: str, n_folds: int) -> None:
    racer = get_racer(name)
    rungs = list(racer.rungs(n_folds))
    assert rungs == sorted(set(rungs)) and all(0 < rung < n_folds for rung in rungs)
    limits = [racer.next_limit(0, n_folds)]
    while limits[-1] < n_folds:
        limits.append(racer.next_limit(limits[-1], n_folds))
    assert limits == [*rungs, n_folds]


@pytest.mark.parametrize(
    ("name", "rungs"),
    [
        ("none", {2: [], 3: [], 5: [], 10: []}),
        ("halving", {2: [1], 3: [1], 5: [1, 2], 10: [2, 4]}),
        ("median", {2: [1], 3: [1, 2], 5: [1, 2, 3, 4]}),
        ("hyperband", {2: [], 3: [2], 5: [2, 4], 10: [2, 4]}),
        ("wilcoxon", {3: [], 4: [], 5: [4], 10: [4, 5, 6, 7, 8, 9]}),
    ],
)
def test_rungs(name: str, rungs: dict[int, list[int]]) -> None:
    assert {n_folds: list(get_racer(name).rungs(n_folds)) for n_folds in rungs} == rungs


# --- folds wait for the judgement --------------------------------------------------------------------------------


def test_no_fold_beyond_the_limit_starts(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    trial = start(study, 10)
    assert trial.judge(racer) and trial.limit == 2
    first, second = trial.next_job(None), trial.next_job(None)
    assert (first.fold, second.fold) == (0, 1)
    assert not trial.has_job() and not trial.is_fitted and trial.n_folds_left == 10
    fit(trial, second, 0.7)  # finished first: nothing is reported, nothing is judged
    assert trial.judge(racer) and trial.limit == 2 and not trial.has_job()
    fit(trial, first, 0.6)
    assert trial.judge(racer) and trial.limit == 4 and trial.startable == [2, 3]


def test_a_crashed_fold_below_the_limit_starts_again(reopen: Reopen) -> None:
    trial = start(reopen(), 5)
    assert trial.judge(Halving())
    job = trial.next_job(None)
    fault: Any = SimpleNamespace(reason="crashed", message="")
    assert trial.take(JobResult(job, 1.0, fault=fault))
    assert trial.judge(Halving()) and trial.next_job(None).fold == 0 and not trial.has_job()


def test_without_racing_every_fold_may_start(reopen: Reopen) -> None:
    study = reopen("none")
    trial = start(study, 5)
    assert trial.judge(get_racer("none")) and trial.startable == [0, 1, 2, 3, 4]
    assert run(study, get_racer("none"), *map(flat, [0.9, 0.1, 0.2, 0.1, 0.1, 0.1])) == [5] * 6


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_folds_end_decides_nothing(reopen: Reopen, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.random.default_rng(11).random((12, 10)).tolist()
    study, racer = reopen(family=f"demo{seed}"), Halving(min_trials=3)
    for row in scores:
        trial = start(study, 10)
        while trial.judge(racer) and trial.n_folds_left:
            jobs = [trial.next_job(None) for _ in trial.startable]
            for place in rng.permutation(len(jobs)):
                fold = jobs[place].fold
                assert fold is not None
                fit(trial, jobs[place], row[fold])
        study.complete(trial.ask.trial, 0.0, {}) if trial.is_fitted else study.prune(trial.ask.trial, "halving")
    fitted = [len(study.fold_scores(trial)) for trial in study.trials()]
    study = reopen(family="in_order")
    assert fitted == run(study, racer, *scores)
    assert {2, 10} <= set(fitted)


# --- halving -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("greater_is_better", [True, False])
def test_only_the_best_third_goes_on(reopen: Reopen, greater_is_better: bool) -> None:
    study = reopen(greater_is_better=greater_is_better)
    sign = 1 if greater_is_better else -1
    fitted = run(study, Halving(), *(flat(sign * score) for score in (0.5, 0.6, 0.7, 0.8, 0.9, 0.85, 0.79, 0.95)))
    # Four are too few to judge; then one of five, two of six, two of seven, two of eight.
    assert fitted == [5, 5, 5, 5, 5, 5, 1, 5]
    assert states(study)[6] == "PRUNED"


def test_a_later_rung_judges_by_its_own_mean(reopen: Reopen) -> None:
    study = reopen()
    fitted = run(study, Halving(min_trials=3), flat(0.6), flat(0.6), [0.9, 0.1, 0.9, 0.9, 0.9], [0.7, 0.8, 0, 0, 0])
    assert fitted == [5, 5, 2, 1]
    assert study.mean_after(study.trials()[2], 2) == pytest.approx(0.5)
    assert study.mean_after(study.trials()[2], 3) is None


@pytest.mark.parametrize("racer", ["halving", "none"])
def test_ties_go_on(reopen: Reopen, racer: str) -> None:
    study = reopen(racer)  # both kinds of reports
    scores = [0.1, 0.7, 0.3, 0.2, 0.6]
    assert run(study, Halving(min_trials=2), *([scores] * 7)) == [5] * 7


def test_trials_meet_on_the_same_folds(reopen: Reopen) -> None:
    """The first folds are hard: whoever is compared only on them is not hurt by others' easy folds."""
    hard_first = [0.2, 0.9, 0.9, 0.9, 0.9]
    study = reopen()
    assert run(study, Halving(min_trials=1), *([hard_first] * 6)) == [5] * 6
    assert run(study, Halving(min_trials=1), [0.19, 1, 1, 1, 1]) == [1]


def test_an_enqueued_point_is_never_pruned(reopen: Reopen) -> None:
    study = reopen(defaults=[{"x": 0.25}])
    default = start(study, 5)
    others = run(study, Halving(min_trials=1), *map(flat, (0.5, 0.6, 0.4)))
    assert others == [5, 5, 1]
    assert default.judge(Halving(min_trials=1)) and default.limit == 5
    assert race(default, Halving(min_trials=1), flat(0.01)) == 5


def test_running_trials_count_at_their_rung_and_failed_ones_do_not(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=2)
    running, failing = start(study, 5), start(study, 5)
    assert running.judge(racer)
    fit(running, running.next_job(None), 0.8)
    fit(failing, failing.next_job(None), 0.9)
    study.fail(failing.ask.trial, "error", "for a test")
    assert run(study, racer, flat(0.85)) == [5]
    assert run(study, racer, flat(0.7)) == [1]


def test_a_good_start_among_few_is_promoted_when_the_next_are_worse(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=3)
    assert run(study, racer, flat(0.9), flat(0.5), flat(0.8)) == [5, 5, 1]
    assert racer.promotable(study) is None
    assert run(study, racer, flat(0.4), flat(0.3)) == [1, 1]
    assert racer.promotable(study) is None  # second of five, and one of five goes on
    assert run(study, racer, flat(0.2)) == [1]
    second = racer.promotable(study)
    assert second is not None and second.number == 2
    assert study.promote(second).member == "demo-0002"
    assert racer.promotable(study) is None


def test_nobody_is_promoted_while_few_are_known(reopen: Reopen) -> None:
    study = reopen()
    assert run(study, Halving(min_trials=1), flat(0.9), flat(0.8)) == [5, 1]
    assert Halving(eta=1, min_trials=3).promotable(study) is None
    assert Halving(eta=1, min_trials=2).promotable(study) is not None


@pytest.mark.parametrize("name", RACERS)
@pytest.mark.parametrize("greater_is_better", [True, False])
def test_at_the_end_the_deepest_and_best_come_back(reopen: Reopen, name: str, greater_is_better: bool) -> None:
    study = reopen(name, greater_is_better=greater_is_better)
    sign = 1 if greater_is_better else -1
    for scores in ([0.9], [0.5, 0.5], [0.4, 0.7], [0.95]):
        trial = start(study, 5)
        for fold, score in enumerate(scores):
            study.report(trial.ask.trial, fold, sign * score)
        study.prune(trial.ask.trial, "halving")
    order = []
    while (pruned := get_racer(name).promotable(study, at_end=True)) is not None:
        study.promote(pruned)
        order.append(pruned.number)
    assert order == [2, 1, 3, 0]


def test_racing_saves_folds_and_finds_the_best(reopen: Reopen) -> None:
    rng = np.random.default_rng(3)
    quality = rng.normal(0.8, 0.02, 60)
    scores = (quality[:, None] + rng.normal(0, 0.02, 10) + rng.normal(0, 0.004, (60, 10))).tolist()
    study, racer = reopen(), get_racer("halving")
    fitted = run(study, racer, *scores)
    assert sum(fitted) < 0.6 * 600
    best = max(range(60), key=lambda number: statistics.fmean(scores[number]))
    assert fitted[best] == 10
    assert study.trials()[best].state == TrialState.COMPLETE


# --- pruned and promoted trials in the study ---------------------------------------------------------------------


def test_a_pruned_trial_keeps_its_scores_and_counts(reopen: Reopen) -> None:
    study = reopen()
    trial = start(study, 5)
    for fold, score in enumerate((0.8, 0.7)):
        study.report(trial.ask.trial, fold, score)
    study.prune(trial.ask.trial, "halving")
    frozen = study.trials()[0]
    assert frozen.state == TrialState.PRUNED and frozen.value == pytest.approx(0.75)
    assert frozen.user_attrs["fold_scores"] == [0.8, 0.7] and frozen.user_attrs["pruned"] == "halving"
    assert counts(frozen) and study.n_counted() == 1


def test_a_promoted_trial_takes_up_member_and_folds(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    scores = [0.8, 0.7, 0.9, 0.6, 0.5]
    assert run(study, racer, flat(0.9), scores) == [5, 1]
    ask = study.promote(study.trials()[1])
    again = study.trials()[2]
    assert again.state == TrialState.RUNNING and again.params == study.trials()[1].params == ask.params
    assert ask.member == again.user_attrs["member"] == "demo-0001"
    assert again.user_attrs["promoted_from"] == 1 and again.user_attrs["model_seed"] == 0
    assert not {"pruned", "fold_scores"} & set(again.user_attrs)
    assert again.intermediate_values == {0: 0.8}
    assert not counts(again) and study.n_counted() == 2

    trial = take_up(study, ask, scores, on_disk=[0])
    assert trial.judge(racer) and trial.limit == 5  # never judged again, and all at once
    assert race(trial, racer, scores) == 4
    assert study.fold_scores(study.trials()[2]) == scores
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"] and study.n_counted() == 2


def test_a_promotion_survives_a_crash(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    run(study, racer, flat(0.9), flat(0.5))
    study.promote(study.trials()[1])  # and the driver dies

    study = reopen()
    (ask,) = study.adopt()
    assert (ask.member, ask.trial.number) == ("demo-0001", 2)
    assert racer.promotable(study, at_end=True) is None
    trial = take_up(study, ask, flat(0.5), on_disk=[0])
    assert race(trial, racer, flat(0.5)) == 4
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_promotion_that_time_cut_short_may_come_again(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    run(study, racer, flat(0.9), flat(0.5))
    pruned = study.trials()[1]
    study.fail(study.promote(pruned).trial, "out_of_time", "for a test")
    again = racer.promotable(study, at_end=True)
    assert again is not None and again.number == 1
    study.fail(study.promote(pruned).trial, "error", "for a test")
    assert racer.promotable(study, at_end=True) is None
    assert study.n_counted() == 2


def test_a_pruned_point_was_tried(reopen: Reopen) -> None:
    small = Space("small@1", {"kind": Choice(("a", "b", "c"))})
    study, racer = reopen(space=small), Halving(min_trials=1)
    assert run(study, racer, flat(0.9), flat(0.5), flat(0.6)) == [5, 1, 1]
    assert study.ask() is None
    assert study.n_counted() == 3

    pruned = next(trial for trial in study.trials() if trial.state == TrialState.PRUNED)
    point = pruned.params
    study._study.enqueue_trial(point)
    assert study.ask() is None  # nothing to reuse yet
    ask = study.promote(pruned)
    promoted = ask.trial.number
    race(take_up(study, ask, flat(0.5), on_disk=[0]), racer, flat(0.5))
    study._study.enqueue_trial(point)
    repeated = study.ask()
    assert repeated is not None and repeated.same_as == promoted
    study.reuse(repeated)
    assert study.trials()[repeated.trial.number].value == pytest.approx(0.5)


def test_a_promoted_point_competes_once(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(eta=2, min_trials=1)
    assert run(study, racer, flat(0.9), flat(0.5)) == [5, 1]
    study.promote(study.trials()[1])
    assert run(study, racer, flat(0.6)) == [1]  # one of three goes on; counted twice, it would be two of four


def test_the_sampler_learns_from_pruned_trials(reopen: Reopen) -> None:
    """Points near 0.8 are good; most trials end after one fold, and still the later ones gather there."""
    study, racer = reopen(), get_racer("halving")
    for _ in range(40):
        trial = start(study, 5)
        race(trial, racer, flat(-abs(float(str(trial.ask.params["x"])) - 0.8)))
    points = [float(trial.params["x"]) for trial in study.trials()]
    assert states(study).count("PRUNED") >= 15
    miss = [abs(point - 0.8) for point in points]
    assert statistics.median(miss[25:]) < 0.5 * statistics.median(miss[:10])


# --- after a crash -----------------------------------------------------------------------------------------------


def test_an_adopted_trial_is_judged_from_its_folds(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    run(study, racer, flat(0.9))
    trial = start(study, 5)
    assert trial.judge(racer)
    trial.next_job(None)  # fitted, and the driver dies before it is reported

    study = reopen()
    (ask,) = study.adopt()
    adopted = take_up(study, ask, flat(0.2), on_disk=[0])
    assert not adopted.judge(racer)
    assert race(adopted, racer, flat(0.2)) == 0
    assert states(study) == ["COMPLETE", "PRUNED"]


def test_a_judgement_passed_before_a_crash_stands(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=1)
    first = start(study, 5)  # the only one at its rung: it goes on
    assert first.judge(racer)
    fit(first, first.next_job(None), 0.5)
    assert first.judge(racer) and first.limit == 2
    run(study, racer, flat(0.9))

    study = reopen()
    (ask,) = study.adopt()
    assert take_up(study, ask, flat(0.5), on_disk=[0, 1]).judge(racer) is False  # at the second rung
    past_it = take_up(study, ask, flat(0.5), on_disk=[0, 1, 2])
    assert past_it.judge(racer) and past_it.limit == 5 and past_it.startable == [3, 4]


def test_a_lost_first_fold_is_fitted_again_before_the_rest(reopen: Reopen) -> None:
    study, racer = reopen(), Halving(min_trials=9)
    trial = take_up(study, Ask(start(study, 5).ask.trial, {}, "demo-0000"), flat(0.5), on_disk=[1])
    assert trial.judge(racer) and trial.n_reported == 0
    assert trial.startable == [0]
    fit(trial, trial.next_job(None), 0.5)
    assert trial.judge(racer) and trial.n_reported == 2 and trial.limit == 5


# --- what a study reports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("racer", RACERS)
def test_reports_follow_the_convention_once_per_fold(reopen: Reopen, racer: str) -> None:
    study = reopen(racer)
    trial = start(study, 4)
    scores = [0.1, 0.4, 0.35, 0.7]
    for fold, score in enumerate(scores):
        study.report(trial.ask.trial, fold, score)
        study.report(trial.ask.trial, fold, 99.0)
    frozen = study.trials()[0]
    means = [statistics.fmean(scores[: n + 1]) for n in range(4)]
    expected = scores if get_racer(racer).reporting == "fold score" else means
    assert [frozen.intermediate_values[step] for step in range(4)] == pytest.approx(expected)
    assert study.fold_scores(frozen) == scores
    assert [study.mean_after(frozen, n) for n in (1, 2, 3, 4)] == pytest.approx(means)
    assert study.mean_after(frozen, 5) is None and study.mean_after(frozen, 0) is None
    assert study._study.user_attrs["reported_values"] == REPORTED_VALUES[get_racer(racer).reporting]


def test_the_convention_is_remembered(reopen: Reopen) -> None:
    run(reopen("median"), get_racer("median"), flat(0.5))
    study = reopen("halving")
    assert study.reporting == "running mean"
    assert reopen("none").reporting == "running mean"


def test_a_study_without_reports_changes_its_convention(reopen: Reopen) -> None:
    assert [reopen(name).reporting for name in ("none", "median", "wilcoxon")] == [
        "fold score",
        "running mean",
        "fold score",
    ]


@pytest.mark.parametrize(("first", "second"), [("wilcoxon", "median"), ("none", "hyperband"), ("halving", "wilcoxon")])
def test_a_racer_with_other_reports_is_refused(reopen: Reopen, first: str, second: str) -> None:
    study = reopen(first)
    run(study, get_racer(first), flat(0.5))
    fitting = [name for name, racer in RACERS.items() if study.reporting in racer.reports]
    message = f"racer '{second}' judges by the .*; go on with one of {', '.join(fitting)}$"
    with pytest.raises(ContractError, match=message):
        reopen(second)
    assert first in fitting and {"none", "halving"} <= set(fitting)


def test_a_study_of_before_racing_goes_on_with_halving(reopen: Reopen) -> None:
    study = reopen("none")
    run(study, get_racer("none"), flat(0.9), flat(0.8), flat(0.7), flat(0.6))
    assert run(reopen("halving"), get_racer("halving"), [0.5, 0.9, 0.9, 0.9, 0.9], flat(0.95)) == [1, 5]


# --- Optuna's pruners --------------------------------------------------------------------------------------------


def replay(study: FamilyStudy, pruner: optuna.pruners.BasePruner, trial: FrozenTrial, n_folds: int) -> bool:
    """What the pruner says of a trial after ``n_folds``, asked directly."""
    seen = optuna.trial.create_trial(
        state=TrialState.PRUNED,
        value=0.0,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values={step: trial.intermediate_values[step] for step in range(n_folds)},
    )
    return pruner.prune(study._study, seen)


def test_median_prunes_what_is_below_the_median_of_five(reopen: Reopen) -> None:
    study, racer = reopen("median"), get_racer("median")
    assert run(study, racer, *map(flat, (0.5, 0.6, 0.7, 0.8, 0.9))) == [5] * 5  # Optuna waits for five
    assert run(study, racer, flat(0.69), flat(0.71), [0.75, 0.1, 0.9, 0.9, 0.9]) == [1, 5, 5]
    assert replay(study, optuna.pruners.MedianPruner(), study.trials()[5], 1)
    assert not replay(study, optuna.pruners.MedianPruner(), study.trials()[6], 4)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_wilcoxon_prunes_before_the_last_of_five_folds_only(reopen: Reopen) -> None:
    study, racer = reopen("wilcoxon"), get_racer("wilcoxon")
    best = [0.9, 0.8, 0.85, 0.95, 0.7]
    worse = [score - 0.1 - fold / 100 for fold, score in enumerate(best)]
    mixed = [best[0] + 0.3, *worse[1:]]
    assert run(study, racer, best, worse, mixed) == [5, 4, 5]
    pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    assert [replay(study, pruner, study.trials()[1], n) for n in (1, 2, 3, 4)] == [False, False, False, True]


def test_wilcoxon_with_a_generous_p_asks_earlier() -> None:
    assert list(Wilcoxon(p_threshold=0.3).rungs(5)) == [2, 3, 4]


def test_hyperband_prunes_in_brackets(reopen: Reopen) -> None:
    study, racer = reopen("hyperband"), get_racer("hyperband")
    rng = np.random.default_rng(0)
    fitted = run(study, racer, *map(flat, rng.random(40)))
    assert set(fitted) == {2, 4, 5}
    assert fitted[0] == 5


@pytest.mark.parametrize("name", ["median", "hyperband", "wilcoxon"])
def test_optunas_pruners_spare_enqueued_and_promoted_trials(reopen: Reopen, name: str) -> None:
    study, racer = reopen(name, defaults=[{"x": 0.125}]), get_racer(name)
    default = start(study, 5)
    for score in itertools.repeat(0.9, 12):
        race(start(study, 5), racer, [score + fold / 100 for fold in range(5)])
    assert race(default, racer, flat(0.0)) == 5
    # Hyperband has brackets that prune later; one of a few trials falls into the first.
    fitted = run(study, racer, *([[0.0, 0.01, 0.02, 0.03, 0.04]] * 6))
    assert min(fitted) < 5
    pruned = racer.promotable(study, at_end=True)
    assert pruned is not None
    trial = ActiveTrial(study, study.promote(pruned), "demo", 0, list(range(5)))
    assert racer.judge(study, trial.ask.trial, 4, 5) == 5 != PRUNE
