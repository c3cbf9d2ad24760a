"""Jobs in the driver's own process, one after the other: for tests and debugging."""

from pathlib import Path

from foldsmith.search.executors.base import Capabilities, Executor
from foldsmith.search.jobs import Job, JobResult, Workbench
from foldsmith.search.processes import Offspring
from foldsmith.search.slots import Layout


class InlineExecutor(Executor):
    """One slot, no isolation: a job runs when its result is waited for."""

    name = "inline"
    capabilities = Capabilities(isolates_faults=False, can_kill=False, runs_beside=False)

    def __init__(self, root: Path) -> None:
        super().__init__(root.absolute(), Layout(1))
        self._bench = Workbench(self.root)
        self._offspring = Offspring()
        self._job: Job | None = None

    def start(self) -> None:
        """Nothing to start."""

    def running(self) -> dict[int, Job]:
        """The submitted job."""
        return {} if self._job is None else {0: self._job}

    def submit(self, job: Job, slot: int) -> None:
        """Take the job."""
        assert self._job is None, "the slot is taken"
        self._job = job

    def wait(self, timeout_seconds: float) -> list[JobResult]:
        """Run the submitted job."""
        if self._job is None:
            return []
        job, self._job = self._job, None
        with self._offspring.watched():
            return [self._bench.run(job)]

    def kill(self, slot: int) -> None:
        """Forget a job that has not begun."""
        self._job = None

    def shutdown(self) -> None:
        """End what the families started and left behind."""
        self._job = None
        self._offspring.kill()
