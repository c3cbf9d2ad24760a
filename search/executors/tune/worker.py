"""A Tune trial, in the process of its slot: one member, whose jobs it works off step by step."""

import os
import pickle
from pathlib import Path
from typing import Any

from ray.tune import PlacementGroupFactory, Trainable

from foldsmith.search.executors.ray_cluster import NAMESPACE, ray_module
from foldsmith.search.executors.worker import THREAD_LIMITS, die_over_limit, enter_worker
from foldsmith.search.jobs import Job, JobResult, Workbench
from foldsmith.search.processes import MARK

# The entry of a Tune result that is for the driver, not for Tune's tables.
OUTCOME = "outcome"
# A row of Tune's tables; its csv files keep the columns of a trial's first row.
FRESH_ROW: dict[str, Any] = {"fold": -1, "score": float("nan"), "n_fitted": 0, "seconds": 0.0, "state": "running"}


class FoldTrial(Trainable):
    """One member as a Tune trial: each step is one of its jobs.

    Its process serves one slot for as long as it lives, and one member after the other.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """What the slot takes of its node: Tune never mixes up slots, for no two of them ask for the same."""
        return PlacementGroupFactory([config["resources"]])

    def setup(self, config: dict[str, Any]) -> None:
        """Enter the slot."""
        root, slot = Path(config["root"]), config["slot"]
        os.environ.update({**THREAD_LIMITS, MARK: config["mark"]})
        if config["gpu"] is not None:
            # Ray would choose itself which fractions share a device; the driver keeps books of that.
            os.environ["CUDA_VISIBLE_DEVICES"] = config["gpu"]
        enter_worker(root, slot)
        self._bench = Workbench(root, on_over_limit=lambda job, peak: die_over_limit(root, slot, job, peak_bytes=peak))
        self._mailbox: Any = ray_module().get_actor(config["mailbox"], namespace=NAMESPACE)
        self._row = FRESH_ROW

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another member; what the workbench holds stays."""
        self._row = FRESH_ROW
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next letter; do the job, or say how the member ended."""
        letter: bytes | str = ray_module().get(self._mailbox.take.remote(self.trial_id))
        if isinstance(letter, str):
            return {**self._row, "fold": -1, "seconds": 0.0, "state": letter}
        job: Job = pickle.loads(letter)
        result = self._bench.run(job)
        self._row = next_row(self._row, result)
        return {**self._row, OUTCOME: result}


def next_row(row: dict[str, Any], result: JobResult) -> dict[str, Any]:
    """What Tune's tables say of a result; ``fold`` is -1 for a finish.

    >>> job = Job("lin-0001", "linear", {}, 1, 0)
    >>> next_row(FRESH_ROW, JobResult(job, 2.0, 0.25))
    {'fold': 1, 'score': 0.25, 'n_fitted': 1, 'seconds': 2.0, 'state': 'running'}
    """
    fold, fault = result.job.fold, result.fault
    row = {**row, "fold": -1 if fold is None else fold, "seconds": result.seconds}
    if fault is not None:
        return {**row, "state": fault.reason}
    if fold is not None:
        return {**row, "score": result.provisional, "n_fitted": row["n_fitted"] + 1, "state": "running"}
    return {**row, "score": None if result.scores is None else result.scores.value, "state": "complete"}
