"""Where the driver's thread and that of Tune's loop meet: runs to take up, jobs to do, and what became of them."""

import pickle
import queue
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from foldsmith.search.jobs import Job, JobResult


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
        is_told: its process was told to end it.
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
    is_told: bool = False


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
                self.mailbox.post.remote(run.trial_id, pickle.dumps(job))

    def end(self, run: Run, state: str) -> None:
        """No more jobs for a run; its Tune trial ends as soon as it asks for one."""
        with self.changed:
            run.is_left = True
            if run in self.waiting:
                self.waiting.remove(run)
            elif run.trial_id in self.living and not run.is_over:
                run.is_told = True
                self.mailbox.end.remote(run.trial_id, state)

    def let_end(self, seconds: float) -> None:
        """Wait, so long at most, until what was told to end has said its last word: it belongs into Tune's tables."""
        with self.changed:
            self.changed.wait_for(lambda: not any(run.is_told or run.is_over for run in self.living.values()), seconds)

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
            self.mailbox.post.remote(trial_id, pickle.dumps(run.job))
            return run

    def drop(self, trial_id: str) -> Run | None:
        """The run of a trial that has ended; None when that was known."""
        with self.changed:
            run = self.living.pop(trial_id, None)
            self.changed.notify_all()
            if run is not None and not self.is_closed:
                self.mailbox.drop.remote(trial_id)
            return run
