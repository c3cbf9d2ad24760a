"""The contract of an executor: slots that take one job each, results that come back, faults that stay inside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldsmith.problem.errors import FoldsmithError
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.slots import HOME, Layout, Slot


class InfrastructureError(FoldsmithError):
    """What the executor stands on broke (a node or its daemon died): no trial is at fault."""


@dataclass(frozen=True)
class Capabilities:
    """What an executor can do.

    Args:
        isolates_faults: a segfault or ``os._exit`` in a job ends that job only.
        can_kill: a running job can be ended from outside.
        runs_beside: jobs run while the driver goes on.
        folds_side_by_side: two folds of one member may run at once.
    """

    isolates_faults: bool
    can_kill: bool
    runs_beside: bool
    folds_side_by_side: bool = True


class Executor(ABC):
    """Runs jobs in slots. One driver thread calls all methods.

    A job that ends in any way gives exactly one :class:`JobResult`: its own, or one with a fault ``crashed`` or
    ``oom`` (the worker died) or ``killed`` (by :meth:`kill`, or because its node left).

    Args:
        root: the competition folder.
        layout: how this machine is cut into slots.
    """

    name: str
    capabilities: Capabilities

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        self._slots_here: Sequence[Slot] = layout.slots()

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots that can take jobs or have one; nodes that come and go change them."""
        return self._slots_here

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """By node."""
        return {HOME: self.layout}

    @property
    def is_warming(self) -> bool:
        """Whether more slots are about to come."""
        return False

    @abstractmethod
    def start(self) -> None:
        """Get ready to take jobs; may return before all slots are warm."""

    @abstractmethod
    def running(self) -> Mapping[int, Job]:
        """Jobs by slot number."""

    def may_take(self, slot: Slot, member: str) -> bool:
        """Whether a free ``slot`` may take a job of ``member``: an executor may bind the two."""
        return True

    @abstractmethod
    def submit(self, job: Job, slot: int) -> None:
        """Start ``job`` in a free slot."""

    def ended(self, member: str) -> None:  # noqa: B027  most executors keep nothing of a member
        """No more jobs of ``member`` will come."""

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
