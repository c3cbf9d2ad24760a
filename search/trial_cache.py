"""The trials of a study, read again only when something may have changed them."""

import time
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from foldsmith.search.leases import Leases

if TYPE_CHECKING:
    import optuna

REFRESH_SECONDS = 2.0
TURNS = ("create_new_trial", "set_trial_state_values", "delete_study")


class WriteCounter:
    """A storage that passes everything on and counts the calls that write, whoever makes them.

    Attributes:
        n_writes: all of them.
        n_turns: those that make trials, or change their state.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self.n_writes = self.n_turns = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("create_", "delete_", "set_")):
            self.n_writes += 1
            self.n_turns += name in TURNS
        return getattr(self._storage, name)


class TrialCache:
    """What was last read of a study.

    It is read again after a write of our own, when asking began, and, as long as other drivers may write, after
    ``refresh_seconds``.

    Args:
        writes: the storage that ``study`` writes through.
    """

    def __init__(
        self, study: "optuna.Study", writes: WriteCounter, leases: Leases, *, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        self._study = study
        self._writes = writes
        self._leases = leases
        self._refresh_seconds = refresh_seconds
        self._trials: list[FrozenTrial] = []
        self._seen: tuple[int, int] | None = None
        self._read_at = 0.0

    def trials(self) -> list[FrozenTrial]:
        """All trials, oldest first; not to be changed. The same list until something is read again."""
        seen = (self._writes.n_writes, self._leases.epoch)
        is_old = self._leases.is_shared and time.monotonic() - self._read_at >= self._refresh_seconds
        if seen != self._seen or is_old:
            self._trials = list(self._study.get_trials(deepcopy=False))  # some storages return the list they go on with
            self._seen = seen
            self._read_at = time.monotonic()
        return self._trials
