"""The contract of a model family: what the search asks of it, and what one fitted fold can do.

A family is one module with one subclass of :class:`Family`; the shared test suite
:mod:`foldsmith.spaces.testing` says what it must keep. A user's own family is the same thing in the competition's
``code/`` folder, named ``module:Class`` in ``foldsmith.toml``.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.problem.tables import Schema, Table
from foldsmith.spaces import estimates
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.space import Params, Space, Value

StoppingPolicy = Literal["cv-curve", "inner", "fixed"]


@dataclass(frozen=True)
class Facts:
    """What a family may know of a problem before it sees any data.

    Args:
        budget_seconds: wall time that the search has; None for no limit. Defaults may depend on it, spaces may not.
    """

    goal: Goal
    schema: Schema
    n_rows: int
    budget_seconds: float | None = None


@dataclass(frozen=True)
class Resources:
    """What one fold of a family occupies while it is fitted.

    Args:
        cpus: whole cores.
        gpus: the share of a GPU that a fold wants, if there is one; 0 for a family that fits on the CPU.
        ram_bytes: peak of the worker's own memory, its libraries included and memory-mapped tables not; 0 unknown.
        vram_bytes: peak of GPU memory, the library's context included; 0 unknown.
    """

    cpus: int = 1
    gpus: float = 0.0
    ram_bytes: int = 0
    vram_bytes: int = 0


@dataclass(frozen=True)
class FoldTask:
    """One fold to fit.

    Args:
        goal: what to fit.
        table: all train rows (memory-mapped, read-only).
        y: ``(n_rows,)`` class codes (int32) or values (float64, already transformed if ``goal.log1p``).
        train_rows: ``(n_train,)`` sorted row numbers to fit on; anything fitted sees these rows only.
        valid_rows: ``(n_valid,)`` sorted row numbers to score; used for the learning curve only.
        params: a point of the family's space.
        seed: of the model.
        fold_key: names table and rows; two tasks with the same key have the same data.
        threads: how many threads the library may use.
        device: ``"cpu"`` or ``"cuda"`` (always the first visible GPU).
        deadline: seconds since the epoch at which an iterative fit should end with what it has; None for never.
        batch_divisor: divide the batch of a net by it: the GPU's memory was too small for the whole one.
        cache: the worker's, for encoded or binned data that does not depend on ``params``.
    """

    goal: Goal
    table: Table
    y: NDArray[Any]
    train_rows: NDArray[np.int64]
    valid_rows: NDArray[np.int64]
    params: Mapping[str, Value]
    seed: int
    fold_key: str
    threads: int = 1
    device: str = "cpu"
    deadline: float | None = None
    batch_divisor: int = 1
    cache: FoldCache = field(default_factory=FoldCache)

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.time() >= self.deadline


class FittedFold(Protocol):
    """A fitted model with its fold's preprocessing.

    Attributes:
        curve: ``(n_rounds,)`` the goal's monitor on the validation rows after each round; None for a model without
            rounds. ``predict(table, round=r)`` then works for 1 <= r <= n_rounds.
        facts: JSON values worth remembering: ``device`` really used, ``stopped_by`` (``"patience"``, ``"deadline"``,
            ``"rounds"``), counts.
    """

    @property
    def curve(self) -> NDArray[np.float64] | None: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Predict every row of ``table``.

        Args:
            table: any table of the same schema; unseen categories and missing values are fine.
            round: how many boosting rounds to use; None for all, or for a model without rounds.

        Returns:
            ``(n_rows, goal.n_outputs)`` chance of class 1, chances of all classes, or values (in the units of
            ``FoldTask.y``).
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the model into ``folder`` (exists), without pickle; ``Family.load`` reads it back."""
        ...


class Family(ABC):
    """A kind of model that can be searched over.

    ``name`` is the key that people type, ``prefix`` starts the ids of its members, ``stopping`` says how its number
    of rounds is chosen. Instances hold no state; all methods may be called from any process.

    ``refits`` asks for one more fit on all rows, which alone predicts the test rows; otherwise the mean of the fold
    models does. It pays where predicting is as dear as fitting, and needs a family without a curve. ``fit_fold`` then
    gets a task with no validation rows.

    ``is_seeded`` says whether another seed gives another model; a point of a family that it does not is never repeated.
    """

    name: str
    prefix: str
    stopping: StoppingPolicy = "fixed"
    refits: bool = False
    is_seeded: bool = True

    def accepts(self, facts: Facts) -> str | None:
        """None when the family can fit this problem, else the reason why not."""
        return None

    @abstractmethod
    def space(self, facts: Facts) -> Space:
        """What is searched for this problem."""

    @abstractmethod
    def defaults(self, facts: Facts) -> list[Params]:
        """Known good points of the space, best first; they are tried before the sampler decides."""

    def resources(self, facts: Facts, params: Params) -> Resources:
        """What one fold occupies; the default suits a model of some matrices of the table's size, fitted on the CPU."""
        matrices = 6 * estimates.matrix_bytes(facts, estimates.n_tree_columns(facts))
        return Resources(ram_bytes=2 * estimates.WORKER_BYTES + matrices + estimates.output_bytes(facts))

    @abstractmethod
    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Fit one fold. Fits preprocessing on the train rows only, and stops soon after ``task.deadline``."""

    @abstractmethod
    def load(self, folder: Path) -> FittedFold:
        """Read what ``FittedFold.save`` wrote, in a fresh process too."""
