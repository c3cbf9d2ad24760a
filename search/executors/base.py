"""The contract of an executor: slots that take one job each, results that come back, faults that stay inside."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from foldsmith.problem.errors import FoldsmithError
from foldsmith.search.jobs import Job, JobResult


class InfrastructureError(FoldsmithError):
    """What the executor stands on broke (a node or its daemon died): no trial is at fault."""


@dataclass(frozen=True)
class Capabilities:
    """What an executor can do.

    Args:
        isolates_faults: a segfault or ``os._exit`` in a job ends that job only.
        can_kill: a running job can be ended from outside.
        runs_beside: jobs run while the driver goes on.
    """

    isolates_faults: bool
    can_kill: bool
    runs_beside: bool


class Executor(ABC):
    """Runs jobs in slots. One driver thread calls all methods.

    A job that ends in any way gives exactly one :class:`JobResult`: its own, or one with a fault ``crashed`` (the
    worker died) or ``killed`` (by :meth:`kill`).
    """

    name: str
    capabilities: Capabilities

    def __init__(self, root: Path, n_slots: int) -> None:
        self.root = root
        self.n_slots = n_slots

    @abstractmethod
    def start(self) -> None:
        """Get ready to take jobs; may return before all slots are warm."""

    @abstractmethod
    def running(self) -> dict[int, Job]:
        """Jobs by slot."""

    @property
    def n_free(self) -> int:
        """How many jobs can be submitted now."""
        return self.n_slots - len(self.running())

    @abstractmethod
    def submit(self, job: Job) -> int:
        """Start ``job`` in a free slot and return the slot."""

    @abstractmethod
    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Results that have come, waiting for the first one at most ``timeout_seconds``.

        Raises:
            InfrastructureError: no job will end any more; those without a result still stand in :meth:`running`.
        """

    @abstractmethod
    def kill(self, slot: int) -> None:
        """End the job in ``slot``; its result, with the fault ``killed``, comes from :meth:`wait`."""

    @abstractmethod
    def shutdown(self) -> None:
        """End all workers at once; jobs still running give no result."""

    def __enter__(self) -> "Executor":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
