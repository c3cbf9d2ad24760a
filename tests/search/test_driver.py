"""A whole search in one process: what is run, what is told, and what is left when it ends."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import Member, MemberStore
from foldsmith.search import driver as driver_module
from foldsmith.search import pace, view
from foldsmith.search.desk import MAX_FAILURES_IN_A_ROW, MAX_SEEDS
from foldsmith.search.driver import FINAL_SHARE, MAX_RESTARTS, Driver, SearchFailedError
from foldsmith.search.executors.base import Executor, InfrastructureError
from foldsmith.search.executors.inline import InlineExecutor
from foldsmith.search.executors.local import LocalExecutor
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.journal import open_journal
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout
from foldsmith.search.snapshot import Snapshot

Fits = Callable[[Problem], list[str]]
WriteFamily = Callable[..., str]


def make_driver(
    problem: Problem, *families: str, n_trials: int | None = None, executor: Executor | None = None, **others: Any
) -> Driver:
    """A driver; ``others`` are words of ``SearchOptions`` or ``Driver``."""
    seeds = {name: others.pop(name) for name in ("model_seed", "sampler_seed") if name in others}
    options = SearchOptions(families, n_trials, **seeds)
    clock = others.pop("clock", Clock())
    return Driver(problem, options, executor or InlineExecutor(problem.folder.root), clock, **others)


def die_in(monkeypatch: pytest.MonkeyPatch, step: str, driver: Driver) -> None:
    """Run ``driver`` as if it were killed when it first calls ``FamilyStudy.step``."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"foldsmith.search.studies.FamilyStudy.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            driver.run()


def trials(problem: Problem, family: str) -> list[FrozenTrial]:
    """What the study of a family holds, read from disk; without the defaults that wait for their turn."""
    storage = open_journal(problem.folder.journal)
    found = storage.get_all_trials(storage.get_study_id_from_name(f"{problem.contract}/{family}"))
    return [trial for trial in found if trial.state != TrialState.WAITING]


def states(problem: Problem, family: str) -> list[str]:
    """State, or reason of failure, of each trial of a family."""
    return [trial.user_attrs.get("error", trial.state.name.lower()) for trial in trials(problem, family)]


def members(problem: Problem) -> list[Member]:
    """All members, by id."""
    return MemberStore(problem.folder).all()


class TestBudget:
    """``n_trials`` is the total over families and calls."""

    def test_total_over_families_and_calls(self, problem: Problem, fits: Fits) -> None:
        assert make_driver(problem, "linear", "knn", n_trials=3).run().ended == "done"
        assert [states(problem, family) for family in ("linear", "knn")] == [["complete"] * 2, ["complete"]]
        assert make_driver(problem, "linear", "knn", n_trials=5).run().ended == "done"
        assert [states(problem, family) for family in ("linear", "knn")] == [["complete"] * 3, ["complete"] * 2]
        assert make_driver(problem, "linear", "knn", n_trials=5).run().ended == "done"
        assert len(fits(problem)) == len(set(fits(problem))) == 15

    def test_round_robin(self, problem: Problem) -> None:
        found: list[str] = []
        make_driver(problem, "knn", "linear", n_trials=5, on_member=found.append).run()
        assert found == ["knn-0001", "lin-0001", "knn-0002", "lin-0002", "knn-0003"]

    def test_other_families_do_not_count(self, problem: Problem) -> None:
        make_driver(problem, "linear", n_trials=3).run()
        make_driver(problem, "knn", n_trials=2).run()
        assert states(problem, "knn") == ["complete"] * 2

    def test_nothing_to_do_starts_no_executor(self, problem: Problem) -> None:
        make_driver(problem, "linear", n_trials=1).run()

        class Costly(InlineExecutor):
            def start(self) -> None:
                raise AssertionError("started for nothing")

        executor = Costly(problem.folder.root)
        assert make_driver(problem, "linear", n_trials=1, executor=executor).run().ended == "done"
        late = make_driver(problem, "linear", n_trials=2, executor=executor, clock=Clock(time.time() - 1))
        assert late.run().ended == "out_of_time"

    def test_members_are_on_disk_before_anyone_hears_of_them(self, problem: Problem) -> None:
        heard: Counter[str] = Counter()

        def look(name: str) -> None:
            member = MemberStore(problem.folder).get(name)
            assert member.state == "complete" and member.scores is not None
            assert MemberStore(problem.folder).oof(name).shape == (60, 1)
            heard[name] += 1

        make_driver(problem, "linear", "knn", n_trials=4, on_member=look).run()
        assert heard == {member.id: 1 for member in members(problem)}
        assert len(heard) == 4

    def test_told_as_stored(self, problem: Problem) -> None:
        make_driver(problem, "linear", n_trials=2, model_seed=3, sampler_seed=4).run()
        for trial, member in zip(trials(problem, "linear"), members(problem), strict=True):
            assert member.scores is not None
            assert trial.value == member.scores.value
            assert trial.params == member.params
            assert trial.user_attrs["member"] == member.id
            assert trial.user_attrs["fold_scores"] == list(member.scores.per_fold)
            assert sorted(trial.intermediate_values) == [0, 1, 2]
            assert member.seeds == {"model": 3, "sampler": 4}
            assert member.details["trial_number"] == trial.number

    def test_same_seed_same_study(self, new_problem: Callable[[], Problem]) -> None:
        found = []
        for seed in (0, 0, 1):
            problem = new_problem()
            section = problem.config.search.model_copy(update={"portfolio": "none"})  # the sampler has its turn sooner
            problem = replace(problem, config=problem.config.model_copy(update={"search": section}))
            make_driver(problem, "linear", "knn", n_trials=8, sampler_seed=seed).run()
            found.append([(t.params, t.value) for name in ("linear", "knn") for t in trials(problem, name)])
        assert found[0] == found[1]
        assert found[0] != found[2]

    def test_a_space_that_runs_dry_is_left_out(self, problem: Problem, write_family: WriteFamily, fits: Fits) -> None:
        """A space of one point: it is fitted once, its repetitions do not count, the other family goes on."""
        family = write_family(problem, "fit")
        code = problem.folder.code / "toys.py"
        code.write_text(code.read_text().replace("Float(0.0, 0.4)", "Choice((1 / 64,))"))
        assert make_driver(problem, family, "linear", n_trials=40).run().ended == "done"
        assert len([line for line in fits(problem) if line.startswith("toy")]) == 3
        told = trials(problem, family)
        assert [trial.state for trial in told].count(TrialState.COMPLETE) == 1
        assert {trial.user_attrs["error"] for trial in told[1:]} == {"duplicate"}
        counted = [trial for name in (family, "linear") for trial in trials(problem, name)]
        assert sum(trial.state == TrialState.COMPLETE for trial in counted) == 40


class TestFaults:
    """A failing trial is recorded and ends nothing but itself."""

    def test_a_failed_trial_is_recorded_and_counts(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "fit", "error 1", "fit")
        assert make_driver(problem, family, n_trials=3).run().ended == "done"
        assert states(problem, family) == ["complete", "error", "complete"]
        failed = members(problem)[1]
        assert (failed.id, failed.state) == ("toy-0002", "failed")
        assert failed.error is not None
        assert (failed.error["reason"], failed.error["message"]) == ("error", "ValueError: on purpose")
        assert "on purpose" in failed.error["tail"]
        assert trials(problem, family)[1].user_attrs["error_message"] == "ValueError: on purpose"
        assert make_driver(problem, family, n_trials=3).run().ended == "done"
        assert len(trials(problem, family)) == 3

    def test_predictions_that_are_no_numbers(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "nan", "fit")
        make_driver(problem, family, n_trials=2).run()
        assert states(problem, family) == ["not_finite", "complete"]

    def test_a_family_that_keeps_failing_is_left_out(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, *["error"] * 6)
        seen: list[Snapshot] = []
        assert make_driver(problem, family, "linear", n_trials=9, observe=seen.append).run().ended == "done"
        assert states(problem, family) == ["error"] * MAX_FAILURES_IN_A_ROW
        assert len(trials(problem, "linear")) == 9 - MAX_FAILURES_IN_A_ROW
        assert "left out from here on: 3 trials failed in a row" in " ".join(seen[-1].messages)

    def test_failures_with_success_between_are_borne(self, problem: Problem, write_family: WriteFamily) -> None:
        plan = ["error", "error", "fit", "error", "error", "fit"]
        family = write_family(problem, *plan)
        assert make_driver(problem, family, n_trials=6).run().ended == "done"
        assert states(problem, family) == ["complete" if what == "fit" else what for what in plan]

    def test_everything_failing_ends_the_search(self, problem: Problem, write_family: WriteFamily) -> None:
        families = [write_family(problem, *["error"] * 9, name=name) for name in ("one", "two")]
        with pytest.raises(SearchFailedError, match="no trial was completed; .*ValueError: on purpose") as caught:
            make_driver(problem, *families, n_trials=50).run()
        assert caught.value.exit_code == 1
        assert [len(trials(problem, family)) for family in families] == [3, 3]

    def test_few_trials_that_all_fail_are_a_failure_too(self, problem: Problem, write_family: WriteFamily) -> None:
        with pytest.raises(SearchFailedError, match="no trial was completed"):
            make_driver(problem, write_family(problem, "error", "error"), n_trials=2).run()

    def test_members_of_before_make_it_no_failure(self, problem: Problem, write_family: WriteFamily) -> None:
        make_driver(problem, "linear", n_trials=1).run()
        assert make_driver(problem, write_family(problem, "error"), n_trials=1).run().ended == "done"

    def test_a_crash_is_tried_once_more(self, problem: Problem, write_family: WriteFamily, fits: Fits) -> None:
        family = write_family(problem, "exit 1", "fit")
        executor = LocalExecutor(problem.folder.root, Layout(1))
        assert make_driver(problem, family, n_trials=2, executor=executor).run().ended == "done"
        assert states(problem, family) == ["crashed", "complete"]
        assert fits(problem) == ["toy-0001 0 0", "toy-0002 0 0", "toy-0002 0 1", "toy-0002 0 2"]

    def test_a_family_that_cannot_take_the_problem(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "fit")
        with open(problem.folder.code / "toys.py", "a") as file:
            file.write("\n    def accepts(self, facts):\n        return 'it is Sunday'\n")
        outcome = make_driver(problem, family, "linear", n_trials=1).run()
        assert outcome.skipped == {family: "it is Sunday"}
        with pytest.raises(InputError, match="none of the families can take this problem .*it is Sunday"):
            make_driver(problem, family, n_trials=1).run()

    def test_a_users_family_that_is_gone_stops_no_other(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "fit")
        make_driver(problem, family, n_trials=1).run()
        (problem.folder.code / "toys.py").unlink()
        outcome = make_driver(problem, "linear", n_trials=1).run()
        assert outcome.ended == "done"
        assert "there is no file" in outcome.skipped[family]
        with pytest.raises(InputError, match="there is no file"):
            make_driver(problem, family, n_trials=2).run()


class Scripted(InlineExecutor):
    """Runs jobs inline and then sets the clock forward by what the job is said to take."""

    def __init__(self, problem: Problem, now: SimpleNamespace, seconds: dict[str, float]) -> None:
        super().__init__(problem.folder.root)
        self.now, self.seconds = now, seconds
        self.done: list[Job] = []

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """The real result, at a time of our own."""
        results = []
        for result in super().wait(timeout_seconds):
            taken = self.seconds[result.job.family] if result.job.fold is not None else 1.0
            self.now.value += taken
            self.done.append(result.job)
            results.append(JobResult(result.job, taken, result.provisional, result.scores, result.facts, result.fault))
        return results


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that driver and clock see."""
    moment = SimpleNamespace(value=1000.0)
    for module in (driver_module, pace, view):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: moment.value))
    return moment


class TestDeadline:
    """What cannot end in time is not begun; what runs over is killed; nothing is lost or counted."""

    def test_what_cannot_finish_is_not_started(self, problem: Problem, now: SimpleNamespace) -> None:
        executor = Scripted(problem, now, {"linear": 10.0})
        outcome = make_driver(problem, "linear", executor=executor, clock=Clock(1100.0, lambda: 5.0)).run()
        assert outcome.ended == "out_of_time"
        assert len(executor.done) == 12  # three trials of 31 s end at 93; a fourth would not fit into the 95
        assert now.value == 1093.0
        assert states(problem, "linear") == ["complete"] * 3

    def test_a_cheaper_family_fills_the_rest(self, problem: Problem, now: SimpleNamespace) -> None:
        executor = Scripted(problem, now, {"linear": 10.0, "knn": 1.0})
        make_driver(problem, "linear", "knn", executor=executor, clock=Clock(1080.0)).run()
        assert now.value <= 1080.0
        assert now.value > 1080 - 4  # no time for one more trial of 3 + 1 s was wasted
        assert len(trials(problem, "knn")) > len(trials(problem, "linear"))
        assert {*states(problem, "linear"), *states(problem, "knn")} == {"complete"}

    def test_the_first_member_comes_cheap_where_a_dear_one_may_not_end(
        self, problem: Problem, now: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver_module, "fold_seconds", lambda family, facts: {"linear": 9.0, "knn": 0.5}[family])
        monkeypatch.setattr("foldsmith.search.opening.opening", lambda *_, **__: ("linear", "knn", "linear"))
        executor = Scripted(problem, now, {"linear": 11.0, "knn": 0.5})
        make_driver(problem, "linear", "knn", executor=executor, clock=Clock(1050.0)).run()
        assert [job.family for job in executor.done][:5] == ["knn"] * 4 + ["linear"]
        assert states(problem, "linear")[0] == "complete"

    def test_the_opening_keeps_its_order_where_time_is_plenty(
        self, problem: Problem, now: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver_module, "fold_seconds", lambda family, facts: {"linear": 9.0, "knn": 0.5}[family])
        monkeypatch.setattr("foldsmith.search.opening.opening", lambda *_, **__: ("linear", "knn"))
        executor = Scripted(problem, now, {"linear": 9.0, "knn": 0.5})
        make_driver(problem, "linear", "knn", n_trials=2, executor=executor, clock=Clock(1600.0)).run()
        assert executor.done[0].family == "linear"

    def test_every_family_is_tried_in_a_short_search(self, problem: Problem, now: SimpleNamespace) -> None:
        """Not only the first one, as long as nothing is known to finish."""
        executor = Scripted(problem, now, {"linear": 30.0, "knn": 0.5})
        make_driver(problem, "linear", "knn", executor=executor, clock=Clock(1035.0)).run()
        assert [job.family for job in executor.done][:2] == ["linear", "knn"]

    def test_a_trial_without_a_fitted_fold_is_forgotten_and_its_default_tried_again(
        self, problem: Problem, write_family: WriteFamily, fits: Fits
    ) -> None:
        family = write_family(problem, "wait", "fit")
        executor = LocalExecutor(problem.folder.root, Layout(1))
        over = Clock(time.time() + 6000, lambda: 1e9 if (problem.folder.code / "waits").exists() else 0.0)
        outcome = make_driver(problem, family, executor=executor, clock=over).run()
        assert outcome.ended == "out_of_time"
        assert states(problem, family) == ["out_of_time"]
        (forgotten,) = members(problem)
        assert forgotten.state == "failed" and forgotten.error is not None
        assert forgotten.error["reason"] == "out_of_time"

        (problem.folder.code / "go").touch()
        assert make_driver(problem, family, n_trials=2).run().ended == "done"
        again = [trial for trial in trials(problem, family) if trial.state == TrialState.COMPLETE]
        assert [trial.params["do"] for trial in again] == ["wait", "fit"]
        assert again[0].params == trials(problem, family)[0].params
        assert len(fits(problem)) == 6

    def test_a_trial_with_fitted_folds_is_taken_up(
        self, problem: Problem, write_family: WriteFamily, fits: Fits
    ) -> None:
        family = write_family(problem, "wait 2")
        executor = LocalExecutor(problem.folder.root, Layout(1))
        over = Clock(time.time() + 6000, lambda: 1e9 if (problem.folder.code / "waits").exists() else 0.0)
        assert make_driver(problem, family, executor=executor, clock=over).run().ended == "out_of_time"
        assert states(problem, family) == ["running"]
        assert fits(problem) == ["toy-0001 0 0", "toy-0001 0 1"]

        (problem.folder.code / "go").touch()
        seen: list[Snapshot] = []
        assert make_driver(problem, family, n_trials=1, observe=seen.append).run().ended == "done"
        assert seen[-1].messages == ("took up toy-0001 again: 2 folds were fitted",)
        assert states(problem, family) == ["complete"]
        assert fits(problem) == ["toy-0001 0 0", "toy-0001 0 1", "toy-0001 0 2"]
        assert sorted(trials(problem, family)[0].intermediate_values) == [0, 1, 2]
        assert [member.state for member in members(problem)] == ["complete"]

    def test_open_trials_are_taken_up_whatever_is_asked_for(self, problem: Problem, fits: Fits) -> None:
        stop_after(problem, 2, "linear")
        make_driver(problem, "knn", n_trials=1).run()
        assert states(problem, "linear") == states(problem, "knn") == ["complete"]
        assert len(fits(problem)) == 6


def stop_after(problem: Problem, n_jobs: int, *families: str, n_trials: int = 9) -> None:
    """A search that is asked to stop when it has begun its ``n_jobs``-th job."""
    n_submitted = 0

    class Counting(InlineExecutor):
        def submit(self, job: Job, slot: int) -> None:
            nonlocal n_submitted
            n_submitted += 1
            if n_submitted == n_jobs:
                driver.request_stop()
            super().submit(job, slot)

    driver = make_driver(problem, *families, n_trials=n_trials, executor=Counting(problem.folder.root))
    assert driver.run().ended == "interrupted"
    assert n_submitted == n_jobs


class TestStop:
    """A stop lets running folds end and be stored."""

    def test_running_folds_end_and_nothing_new_begins(self, problem: Problem, fits: Fits) -> None:
        stop_after(problem, 6, "linear")
        assert states(problem, "linear") == ["complete", "running"]
        assert len(fits(problem)) == 5  # three folds, a finish, and two folds more

    def test_a_stopped_search_goes_on_to_the_exact_count(self, problem: Problem, fits: Fits) -> None:
        for n_jobs in (1, 2, 3):
            stop_after(problem, n_jobs, "linear", "knn", n_trials=3)
        make_driver(problem, "linear", "knn", n_trials=3).run()
        assert Counter([*states(problem, "linear"), *states(problem, "knn")])["complete"] == 3
        assert len(fits(problem)) == len(set(fits(problem))) == 9

    def test_stopped_and_uninterrupted_give_the_same_study(self, new_problem: Callable[[], Problem]) -> None:
        whole, parts = new_problem(), new_problem()
        make_driver(whole, "linear", n_trials=5).run()
        stop_after(parts, 2, "linear", n_trials=5)
        stop_after(parts, 7, "linear", n_trials=5)
        make_driver(parts, "linear", n_trials=5).run()
        found = [[(trial.params, trial.value) for trial in trials(problem, "linear")] for problem in (whole, parts)]
        assert found[0] == found[1]

    def test_a_stop_before_anything_ran(self, problem: Problem) -> None:
        driver = make_driver(problem, "linear", n_trials=2)
        driver.request_stop()
        assert driver.run().ended == "interrupted"
        assert trials(problem, "linear") == []


class TestCrashes:
    """What a killed driver may leave between two writes."""

    def test_a_record_that_no_trial_points_to_is_closed(
        self, problem: Problem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        die_in(monkeypatch, "accept", make_driver(problem, "linear", n_trials=2))
        MemberStore(problem.folder).reserve("lin")
        assert [member.state for member in members(problem)] == ["running"]
        make_driver(problem, "linear", n_trials=2).run()
        assert states(problem, "linear")[0] == "lost_ask"
        assert Counter(member.state for member in members(problem)) == {"failed": 1, "complete": 2}
        assert all(any(path.iterdir()) for path in problem.folder.members.iterdir())

    def test_a_finished_member_that_was_not_told(
        self, problem: Problem, monkeypatch: pytest.MonkeyPatch, fits: Fits
    ) -> None:
        die_in(monkeypatch, "complete", make_driver(problem, "linear", n_trials=1))
        assert states(problem, "linear") == ["running"]
        before = members(problem)
        make_driver(problem, "linear", n_trials=1).run()
        assert states(problem, "linear") == ["complete"]
        assert len(fits(problem)) == 3
        assert members(problem)[0].scores == before[0].scores

    def test_a_trial_of_an_older_test_file_predicts_the_new_one(
        self, problem: Problem, monkeypatch: pytest.MonkeyPatch, fits: Fits
    ) -> None:
        die_in(monkeypatch, "complete", make_driver(problem, "linear", n_trials=1))
        test = problem.folder.root / "test.csv"
        test.write_text("\n".join(test.read_text().splitlines()[:8]) + "\n")
        newer = open_problem(problem.folder.root)
        make_driver(newer, "linear", n_trials=1).run()
        assert len(fits(problem)) == 3  # the models were fitted once
        assert MemberStore(problem.folder).test("lin-0001").shape == (7, 1)
        assert members(problem)[0].test_fingerprint == newer.data.test_fingerprint

    def test_a_trial_whose_member_was_deleted(self, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
        die_in(monkeypatch, "complete", make_driver(problem, "linear", n_trials=1))
        shutil.rmtree(problem.folder.members / "lin-0001")
        make_driver(problem, "linear", n_trials=1).run()
        assert states(problem, "linear") == ["lost_ask", "complete"]

    def test_a_stray_file_among_the_members(self, problem: Problem) -> None:
        problem.folder.members.mkdir()
        (problem.folder.members / ".DS_Store").touch()
        assert make_driver(problem, "linear", n_trials=1).run().ended == "done"


class Breaking(InlineExecutor):
    """Breaks down when its n-th job is waited for, before the job is done."""

    def __init__(self, problem: Problem, *breaks: int) -> None:
        super().__init__(problem.folder.root)
        self.breaks, self.n_waited, self.n_started = breaks, 0, 0

    def start(self) -> None:
        """Count."""
        self.n_started += 1

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Break, or work."""
        self.n_waited += 1
        if self.n_waited in self.breaks:
            raise InfrastructureError("the node died")
        return super().wait(timeout_seconds)


class TestInfrastructure:
    """What the executor stands on may break: it is started again, and no trial pays for it."""

    @pytest.mark.parametrize("at", [1, 3, 4])
    def test_nothing_is_lost(self, problem: Problem, fits: Fits, at: int) -> None:
        executor = Breaking(problem, at)  # at a first fold, a last fold, a finish
        seen: list[Snapshot] = []
        assert make_driver(problem, "linear", n_trials=2, executor=executor, observe=seen.append).run().ended == "done"
        assert executor.n_started == 2
        assert states(problem, "linear") == ["complete"] * 2
        assert len(fits(problem)) == len(set(fits(problem))) == 6
        assert seen[-1].messages == (f"the node died; starting it again (1 of {MAX_RESTARTS})",)

    def test_it_is_not_tried_for_ever(self, problem: Problem) -> None:
        executor = Breaking(problem, *range(2, 99))
        with pytest.raises(InfrastructureError, match="the node died"):
            make_driver(problem, "linear", n_trials=2, executor=executor).run()
        assert executor.n_started == 1 + MAX_RESTARTS
        assert states(problem, "linear") == ["running"]  # its first fold was fitted: the next call goes on
        make_driver(problem, "linear", n_trials=2).run()
        assert states(problem, "linear") == ["complete"] * 2


class TestSnapshots:
    """What people see counts what is there."""

    def test_counts(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "fit", "error", "fit")
        seen: list[Snapshot] = []
        make_driver(problem, family, "linear", n_trials=5, observe=seen.append).run()
        last = seen[-1]
        assert (last.phase, last.n_trials_wanted) == ("blending", 5)
        assert (last.n_complete, last.n_failed, last.n_running, last.n_pruned) == (4, 1, 0, 0)
        assert last.slots == () and last.eta_seconds == 0
        assert {view.name: view.n_trials for view in last.families} == {family: 3, "linear": 2}
        for shot in seen[:-1]:
            assert shot.phase == "searching"
            assert shot.n_running == len(shot.slots) == 1
            assert shot.n_complete + shot.n_failed + shot.n_running <= 5
        by_id = {member.id: member for member in members(problem)}
        for view_ in last.families:
            found = [m.scores for m in by_id.values() if m.family == view_.name and m.scores is not None]
            best = min(found, key=lambda scores: scores.value)  # log loss
            assert (view_.best, view_.sem) == (best.value, best.sem)
            assert view_.history[-1] == best.value and len(view_.history) == len(found)

    def test_a_users_family_keeps_its_name_and_history(self, problem: Problem, write_family: WriteFamily) -> None:
        family = write_family(problem, "fit", "fit")
        make_driver(problem, family, n_trials=1).run()
        seen: list[Snapshot] = []
        make_driver(problem, family, n_trials=2, observe=seen.append).run()
        assert [member.family for member in members(problem)] == [family] * 2
        (view_,) = seen[-1].families
        assert len(view_.history) == 2

    def test_time_to_go_is_measured_in_this_call(self, problem: Problem, now: SimpleNamespace) -> None:
        for n_trials, expected in ((2, [31.0]), (5, [62.0, 31.0])):
            seen: list[Snapshot] = []
            executor = Scripted(problem, now, {"linear": 10.0, "knn": 10.0})
            make_driver(problem, "knn", n_trials=2, executor=executor).run()  # of no concern to the other search
            make_driver(problem, "linear", n_trials=n_trials, executor=executor, observe=seen.append).run()
            etas = [shot.eta_seconds for shot in seen if shot.slots and shot.slots[0].label == "fold 1"]
            assert etas == [None, *expected]
            assert all(eta is None or eta >= 0 for eta in (shot.eta_seconds for shot in seen))

    def test_the_heartbeat_says_what_is_left(self, problem: Problem, now: SimpleNamespace) -> None:
        from foldsmith.problem.files import read_json

        executor = Scripted(problem, now, {"linear": 10.0})
        make_driver(problem, "linear", n_trials=1, executor=executor, clock=Clock(1100.0, lambda: 5.0)).run()
        beat = read_json(problem.folder.driver)
        assert (beat["at"], beat["seconds_left"]) == (1031.0, 64.0)
        assert beat["snapshot"]["phase"] == "blending"
        make_driver(problem, "linear", n_trials=1).run()
        assert read_json(problem.folder.driver)["seconds_left"] is None


class TestLastMinutes:
    """Near the end of a time budget the ensemble's members come again with other seeds."""

    @staticmethod
    def driver(
        problem: Problem, families: tuple[str, ...], *, is_late: bool, n_trials: int, favourites: list[str]
    ) -> Driver:
        budget = 600 / FINAL_SHARE if is_late else 600
        options = SearchOptions(families, n_trials, budget_seconds=budget, model_seed=3)
        clock = Clock(time.time() + 600)  # no trial of these tests comes near it
        return Driver(problem, options, InlineExecutor(problem.folder.root), clock, favourites=lambda: favourites)

    @pytest.fixture
    def families(self, problem: Problem, write_family: WriteFamily) -> tuple[str, ...]:
        """Two that another seed would change, as far as anybody knows; each with a complete trial."""
        made = tuple(write_family(problem, *["fit"] * 9, name=name) for name in ("one", "two"))
        self.driver(problem, made, is_late=False, n_trials=2, favourites=[]).run()
        return made

    def test_the_heaviest_first_each_with_a_seed_of_its_own(self, problem: Problem, families: tuple[str, ...]) -> None:
        self.driver(problem, families, is_late=True, n_trials=5, favourites=["toy-0002", "toy-0001"]).run()
        found = {member.id: member for member in members(problem)}
        assert [found[name].family for name in found] == [families[number] for number in (0, 1, 1, 0, 1)]
        seeds = [found[name].seeds["model"] for name in ("toy-0002", "toy-0003", "toy-0005")]
        assert seeds[0] == 3 and len(set(seeds)) == 3
        assert found["toy-0002"].params == found["toy-0003"].params == found["toy-0005"].params
        assert [trial.user_attrs["model_seed"] for trial in trials(problem, families[1])] == seeds

    def test_before_and_without_a_favourite_nothing_is_repeated(
        self, problem: Problem, families: tuple[str, ...]
    ) -> None:
        self.driver(problem, families, is_late=False, n_trials=4, favourites=["toy-0001"]).run()
        self.driver(problem, families, is_late=True, n_trials=6, favourites=[]).run()
        assert all("seed_of" not in trial.user_attrs for name in families for trial in trials(problem, name))

    def test_no_point_has_more_than_a_few_seeds(self, problem: Problem, families: tuple[str, ...]) -> None:
        self.driver(problem, families, is_late=True, n_trials=9, favourites=["toy-0001"]).run()
        told = trials(problem, families[0])
        assert sum("seed_of" in trial.user_attrs for trial in told) == MAX_SEEDS - 1
        seeds = {str(trial.user_attrs["model_seed"]) for trial in told if trial.params == told[0].params}
        assert len(seeds) == MAX_SEEDS

    def test_what_no_seed_changes_is_not_repeated(self, problem: Problem) -> None:
        self.driver(problem, ("linear",), is_late=False, n_trials=1, favourites=[]).run()
        self.driver(problem, ("linear",), is_late=True, n_trials=3, favourites=["lin-0001"]).run()
        assert all("seed_of" not in trial.user_attrs for trial in trials(problem, "linear"))

    def test_a_repeated_trial_is_taken_up_after_a_crash(
        self, problem: Problem, families: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, fits: Fits
    ) -> None:
        die_in(
            monkeypatch,
            "complete",
            self.driver(problem, families, is_late=True, n_trials=3, favourites=["toy-0001"]),
        )
        make_driver(problem, *families, n_trials=3, model_seed=3).run()
        repeated = MemberStore(problem.folder).get("toy-0003")
        assert repeated.state == "complete" and repeated.seeds["model"] != 3
        assert len(fits(problem)) == len(set(fits(problem))) == 9


class TestOpening:
    """With a deadline the families' known good points come first, in the portfolio's order."""

    def test_the_opening_then_the_policy(self, problem: Problem) -> None:
        found: list[str] = []
        clock = Clock(time.time() + 6000)
        driver = make_driver(problem, "knn", "linear", n_trials=4, clock=clock, on_member=found.append)
        driver.run()
        order = driver._desk.book.opening
        assert [name[:3] for name in found[:2]] == [{"knn": "knn", "linear": "lin"}[name] for name in order[:2]]

    def test_time_goes_where_the_ensemble_has_its_weight(
        self, problem: Problem, monkeypatch: pytest.MonkeyPatch, now: SimpleNamespace
    ) -> None:
        monkeypatch.setattr("foldsmith.search.opening.opening", lambda *_, **__: ())
        for heavy in ("knn", "linear"):
            found: list[str] = []
            make_driver(
                problem,
                "knn",
                "linear",
                n_trials=len(members(problem)) + 8,
                executor=Scripted(problem, now, {"knn": 1.0, "linear": 1.0}),
                clock=Clock(now.value + 600),
                on_member=found.append,
                shares=lambda heavy=heavy: {"knn": 0.0, "linear": 0.0, heavy: 1.0},
            ).run()
            spent = {name: sum(m.seconds for m in members(problem) if m.family == name) for name in ("knn", "linear")}
            assert spent[heavy] > 0
            assert sum(name.startswith({"knn": "knn", "linear": "lin"}[heavy]) for name in found) >= 5
