"""Ray Tune's side of the Tune executor: its loop in a thread, a searcher and a scheduler that do as the driver says."""

import logging
import os
import queue
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from foldsmith.problem.folder import Folder
from foldsmith.search.executors.ray_cluster import NAMESPACE
from foldsmith.search.executors.tune_worker import OUTCOME, FoldTrial, Mailbox
from foldsmith.search.jobs import Job, JobResult

EXPERIMENT = "search"
LOGGERS = ("ray.tune", "ray.air", "ray.train")
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the old output is silent when it is told to be
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a family may read files relative to where the search was started
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@dataclass(eq=False)
class Run:
    """One member as one Tune trial.

    Args:
        config: of the trial, as people see it in Tune's tables.
        job: that it works on.
        trial_id: once Tune has taken it up; ``trial`` is Tune's record of it.
        killed: its process was to be ended; ``is_shot``: and was.
        has_failed: its last job ended with a fault.
        is_left: the driver has no more jobs for it.
        is_over: Tune ends it by itself.
    """

    member: str
    slot: int
    config: dict[str, Any]
    job: Job
    is_busy: bool = True
    trial_id: str | None = None
    trial: Any = None
    killed: bool = False
    is_shot: bool = False
    has_failed: bool = False
    is_left: bool = False
    is_over: bool = False


@dataclass(frozen=True)
class Event:
    """What became of a run's job, or of its process; neither when Tune's loop has ended."""

    run: Run | None = None
    result: JobResult | None = None
    error: Exception | None = None


@dataclass
class Desk:
    """Where the driver's thread and Tune's thread meet; its methods may be called from both.

    Args:
        events: for the driver.
        waiting: runs that Tune has not taken up. ``living``: those that it has, by trial id.
    """

    mailbox: Any
    events: "queue.SimpleQueue[Event]" = field(default_factory=queue.SimpleQueue)
    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[Run] = field(default_factory=deque)
    living: dict[str, Run] = field(default_factory=dict)
    is_closed: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore that never happens, the study is the truth."""
        return {}

    def open(self, run: Run) -> None:
        """A run with its first job, for Tune to take up."""
        with self.changed:
            self.waiting.append(run)
            self.changed.notify()

    def post(self, run: Run, job: Job) -> None:
        """The next job of a run that was opened."""
        with self.changed:
            run.job, run.is_busy = job, True
            if run.trial_id is not None:
                self.mailbox.post.remote(run.trial_id, job)

    def end(self, run: Run, state: str) -> None:
        """No more jobs for a run; its Tune trial ends as soon as it asks for one."""
        with self.changed:
            run.is_left = True
            if run in self.waiting:
                self.waiting.remove(run)
            elif run.trial_id in self.living and not run.is_over:
                self.mailbox.end.remote(run.trial_id, state)

    def close(self) -> None:
        """End everything: runs that wait for a job end by themselves, the others are killed by the caller."""
        with self.changed:
            self.is_closed = True
            self.waiting.clear()
            self.changed.notify()
            for run in self.living.values():
                self.mailbox.end.remote(run.trial_id, "left")

    def take_up(self, trial_id: str) -> Run | None:
        """The next run, now Tune's trial ``trial_id``.

        While Tune has no trial at all it would sleep for a second after each look, so it waits here.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.living or self.is_closed)
            if not self.waiting:
                return None
            run = self.waiting.popleft()
            run.trial_id = trial_id
            self.living[trial_id] = run
            self.mailbox.post.remote(trial_id, run.job)
            return run

    def drop(self, trial_id: str) -> Run | None:
        """The run of a trial that has ended; None when that was known."""
        with self.changed:
            run = self.living.pop(trial_id, None)
            if run is not None and not self.is_closed:
                self.mailbox.drop.remote(trial_id)
            return run


class MemberSearcher(Searcher):
    """Suggests the members that the driver has begun, and nothing else."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        """A config, None when nothing waits, or that the search is over."""
        run = self._desk.take_up(trial_id)
        if run is None:
            return Searcher.FINISHED if self._desk.is_closed else None
        return run.config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has seen to it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study holds everything."""


class MemberScheduler(FIFOScheduler):
    """Passes results to the driver, and stops a trial when the driver has ended its member."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._kept: set[Any] = set()

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No preference: Tune starts them in the order in which they came."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Note Tune's record, which knows the trial's process."""
        run = self._desk.living[trial.trial_id]
        run.trial = trial
        request = trial.placement_group_factory
        if request not in self._kept:
            # Tune keeps one idle process at most, and would start a new one for nearly every member.
            self._kept.add(request)
            tune_controller._tune_controller._actor_cache.increase_max(request)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Hand on the result; a letter without a result is the driver's decision to stop."""
        run, outcome = self._desk.living.get(trial.trial_id), result.get(OUTCOME)
        if run is None or outcome is None:
            return str(TrialScheduler.STOP)
        run.is_over = outcome.job.fold is None and outcome.fault is None
        self._desk.events.put(Event(run, result=outcome))
        return str(TrialScheduler.STOP if run.is_over else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The trial was stopped."""
        run = self._desk.drop(trial.trial_id)
        if run is not None:
            self._desk.events.put(Event(run))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """The trial was stopped before it had a process."""
        self.on_trial_complete(tune_controller, trial, {})

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Its process died, or could not begin."""
        run = self._desk.drop(trial.trial_id)
        if run is not None:
            self._desk.events.put(Event(run, error=_error(trial)))


class OutcomeRemover(Callback):
    """Takes what is only for the driver out of results, before Tune's loggers and tables get them."""

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Loggers come after this callback."""
        result.pop(OUTCOME, None)


class DeskStopper(Stopper):
    """Ends the experiment when the desk is closed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Trials are stopped by the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Whether it is over."""
        return self._desk.is_closed


class TuneLoop:
    """Tune's loop in a thread of this process, over a new experiment.

    Args:
        folder: of the competition; ``logs/tune`` is emptied.
        n_slots: how many trials may start at once.
    """

    def __init__(self, folder: Folder, n_slots: int) -> None:
        self.mailbox_name = f"mailbox-{uuid.uuid4().hex}"
        actor = ray.remote(Mailbox).options(name=self.mailbox_name, namespace=NAMESPACE, num_cpus=0, max_restarts=0)
        self.desk = Desk(actor.remote())
        self.error: Exception | None = None
        self._folder = folder
        self._n_slots = n_slots
        self._thread = threading.Thread(target=self._run, name="tune", daemon=True)

    def start(self) -> None:
        """Begin the experiment."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether Tune's loop goes on."""
        return self._thread.is_alive()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the loop, which comes after the desk was closed."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            with _quiet(self._folder.logs / "tune.log", {"TUNE_MAX_PENDING_TRIALS_PG": str(self._n_slots)}):
                self._make_tuner(self._folder.logs / "tune").fit()
        except Exception as error:  # told to the driver, which starts everything again
            self.error = error
        finally:
            self.desk.events.put(Event())

    def _make_tuner(self, storage: Path) -> Any:
        shutil.rmtree(storage, ignore_errors=True)
        return Tuner(
            FoldTrial,
            tune_config=TuneConfig(
                search_alg=MemberSearcher(self.desk),
                scheduler=MemberScheduler(self.desk),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_member,
                trial_dirname_creator=_folder_name,
            ),
            run_config=RunConfig(
                name=EXPERIMENT,
                storage_path=str(storage),
                stop=DeskStopper(self.desk),
                callbacks=[OutcomeRemover()],
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                failure_config=FailureConfig(max_failures=0),
                verbose=0,
            ),
        )


def _member(trial: Any) -> str:
    return str(trial.config["member"])


def _folder_name(trial: Any) -> str:
    """A member may have several trials, after a crash."""
    return f"{trial.config['member']}_{trial.trial_id}"


def _error(trial: Any) -> Exception:
    """What ended a trial, as Tune stored it a moment ago."""
    try:
        with open(trial.pickled_error_file, "rb") as file:
            error: Exception = cloudpickle.load(file)
    except (OSError, TypeError, EOFError):
        return RuntimeError("for an unknown reason")
    return error


@contextmanager
def _quiet(log: Path, environment: dict[str, str]) -> Iterator[None]:
    """What Tune says goes to ``log``, written anew; its switches are put back afterwards."""
    values = {**ENVIRONMENT, **environment}
    kept = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    propagated = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, before in zip(loggers, propagated, strict=True):
            logger.removeHandler(handler)
            logger.propagate = before
        handler.close()
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
