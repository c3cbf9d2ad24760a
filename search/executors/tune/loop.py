"""Ray Tune's side of the Tune executor: its loop in a thread, a searcher and a scheduler that do as the driver says."""

import ctypes
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from foldsmith.problem.folder import Folder
from foldsmith.search.executors.ray_cluster import NAMESPACE
from foldsmith.search.executors.tune.desk import Desk, Event
from foldsmith.search.executors.tune.mailbox import Mailbox
from foldsmith.search.executors.tune.worker import OUTCOME, FoldTrial

EXPERIMENT = "search"
_NOWHERE = logging.NullHandler()

logger = logging.getLogger(__name__)
LOGGERS = ("ray.tune", "ray.air", "ray.train")
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the old output is silent when it is told to be
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a family may read files relative to where the search was started
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


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
        super().__init__()  # type: ignore[no-untyped-call]
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
        self._storage = folder.logs / "tune"
        self._quiet = _quiet(folder.logs / "tune.log", {"TUNE_MAX_PENDING_TRIALS_PG": str(n_slots)})
        self._thread = threading.Thread(target=self._run, name="tune", daemon=True)

    def start(self) -> None:
        """Begin the experiment."""
        self._quiet.__enter__()
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether Tune's loop goes on."""
        return self._thread.is_alive()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the loop, which comes after the desk was closed."""
        self._thread.join(timeout_seconds)

    def abandon(self) -> None:
        """Let the loop end where it is; before its Ray is shut down.

        It may hang in a call to a daemon that is dead. Once that returns, Tune would ask on, and so start a Ray of its
        own or disturb the next one: the interpreter raises this before anything else runs in the thread.
        """
        if self._thread.ident is not None and self.is_running:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(SystemExit))

    def leave(self) -> None:
        """Put back what :meth:`start` changed in this process."""
        self._quiet.__exit__(None, None, None)

    def _run(self) -> None:
        try:
            self._make_tuner().fit()
        except Exception as error:  # told to the driver, which starts everything again
            self.error = error
        except SystemExit:
            logger.info("the loop was abandoned")
        finally:
            self.desk.events.put(Event())

    def _make_tuner(self) -> Any:
        shutil.rmtree(self._storage, ignore_errors=True)
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
                storage_path=str(self._storage),
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
    except Exception:  # it only tells kinds of death apart, and the one who reads it has a trial to end
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
    for logger in loggers:
        logger.addHandler(handler)
        logger.addHandler(_NOWHERE)  # for what a loop says that outlives its Ray
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
