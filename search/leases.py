"""Which driver a RUNNING trial belongs to, when several drivers work on one study."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from optuna.storages import BaseStorage

from foldsmith.problem.errors import FoldsmithError
from foldsmith.search.storage import engine_of, take_lock

if TYPE_CHECKING:
    from sqlalchemy import Engine

LEASE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class AskingError(FoldsmithError):
    """The lock for asking could not be had, or was lost: another driver hangs, or this one stood still."""


class Leases(Protocol):
    """Decides which driver asks next, and which driver works on a trial. Used by one thread.

    A trial is held from its ask to its end. A driver that may have lost a lease must tell nothing about the trial:
    another driver may be at work on it.
    """

    is_shared: bool
    """Whether other drivers may write to the studies."""
    epoch: int
    """How often the lock for asking was taken: what was read of a shared study before is out of date."""

    def asking(self) -> AbstractContextManager[None]:
        """Keep other drivers of this contract from asking while one counts trials and asks; may be nested."""
        ...

    def hold(self, trial_id: int) -> None:
        """Take the lease of a trial that this driver has just made."""
        ...

    def keeps(self, trial_id: int) -> bool:
        """Renew one lease now; False when another driver has it. Ask before telling."""
        ...

    def renew(self) -> frozenset[int]:
        """Renew all leases when it is time to; cheap enough to be called in every turn of a loop.

        Returns:
            Trials that another driver took over, each once. Drop them without telling anything.
        """
        ...

    def claim(self, trial_ids: Collection[int]) -> set[int]:
        """Take over those of ``trial_ids``, which are RUNNING, whose driver is gone. Never one that is held here."""
        ...

    def release(self, trial_id: int) -> None:
        """Give up a trial that has ended."""
        ...

    def close(self) -> None:
        """Let others take up at once what this driver leaves RUNNING."""
        ...


class Alone:
    """Leases of a driver that shares its studies with nobody: everything is granted, nothing is written."""

    is_shared = False
    epoch = 0

    def __init__(self) -> None:
        self._held: set[int] = set()

    def asking(self) -> AbstractContextManager[None]:
        """See :class:`Leases`."""
        return nullcontext()

    def hold(self, trial_id: int) -> None:
        """See :class:`Leases`."""
        self._held.add(trial_id)

    def keeps(self, trial_id: int) -> bool:
        """See :class:`Leases`."""
        return True

    def renew(self) -> frozenset[int]:
        """See :class:`Leases`."""
        return frozenset()

    def claim(self, trial_ids: Collection[int]) -> set[int]:
        """See :class:`Leases`."""
        claimed = set(trial_ids) - self._held
        self._held |= claimed
        return claimed

    def release(self, trial_id: int) -> None:
        """See :class:`Leases`."""
        self._held.discard(trial_id)

    def close(self) -> None:
        """See :class:`Leases`."""
        self._held.clear()


# All times are the database's: the clocks of the drivers' machines may differ by more than a lease.
CREATE = """CREATE TABLE foldsmith_lease
    (trial_id bigint PRIMARY KEY, driver text NOT NULL, until timestamptz NOT NULL)"""
# Left by a driver that died between telling and releasing. Should such a trial run, it can be claimed all the same.
FORGET = "DELETE FROM foldsmith_lease WHERE until < clock_timestamp() - interval '7 days'"
HOLD = """INSERT INTO foldsmith_lease VALUES (%(trial)s, %(driver)s, clock_timestamp() + %(length)s)
    ON CONFLICT DO NOTHING RETURNING trial_id"""
RENEW = """UPDATE foldsmith_lease SET until = clock_timestamp() + %(length)s
    WHERE driver = %(driver)s AND trial_id = ANY(%(trials)s) RETURNING trial_id"""
LOOK = """SELECT clock_timestamp(), trial.id, lease.until <= clock_timestamp()
    FROM unnest(%(trials)s::bigint[]) AS trial(id) LEFT JOIN foldsmith_lease AS lease ON lease.trial_id = trial.id"""
TAKE_OVER = """UPDATE foldsmith_lease SET driver = %(driver)s, until = clock_timestamp() + %(length)s
    WHERE trial_id = %(trial)s AND until <= clock_timestamp() RETURNING trial_id"""
RELEASE = "DELETE FROM foldsmith_lease WHERE trial_id = %(trial)s AND driver = %(driver)s"
EXPIRE = "UPDATE foldsmith_lease SET until = clock_timestamp() WHERE driver = %(driver)s"


class SharedLeases:
    """Leases in the table ``foldsmith_lease`` of the studies' PostgreSQL database.

    A lease that is not renewed for ``lease_seconds`` can be taken over. Every change of a lease is one statement that
    names the driver or the expiry that it relies on, so that of two drivers one succeeds.

    Args:
        engine: of the database; two connections at a time are used while asking.
        contract: drivers of the same one wait for each other when they ask.
        lease_seconds: how long a silent driver keeps its trials.
        ask_seconds: how long a driver may stand still while it asks.
    """

    is_shared = True

    def __init__(
        self,
        engine: "Engine",
        contract: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        ask_seconds: float = LEASE_SECONDS / 2,
    ) -> None:
        self.driver = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.epoch = 0
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._contract = contract
        self._lease_seconds = lease_seconds
        self._length = timedelta(seconds=lease_seconds)
        self._ask_seconds = ask_seconds
        self._held: set[int] = set()
        self._is_asking = False
        self._renew_at = time.monotonic() + lease_seconds / 4
        self._seen_without_lease: dict[int, datetime] = {}
        with engine.connect() as connection:
            take_lock(connection, "schema")
            if connection.exec_driver_sql("SELECT to_regclass('foldsmith_lease')").scalar() is None:
                connection.exec_driver_sql(CREATE)
            connection.exec_driver_sql(FORGET)
            connection.commit()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """See :class:`Leases`.

        Raises:
            AskingError: another driver asks and hangs, or this one stood still for so long that the database took
                the lock away, and others may have asked meanwhile.
        """
        if self._is_asking:
            yield
            return
        with self._engine.connect() as connection:
            with _said("another driver is asking for a trial and does not end"):
                take_lock(connection, f"asking/{self._contract}", ask_seconds=self._ask_seconds)
            self._is_asking = True
            self.epoch += 1
            try:
                yield
            finally:
                self._is_asking = False
            with _said("the database took back the lock for asking: this driver stood still for too long"):
                connection.commit()

    def hold(self, trial_id: int) -> None:
        """See :class:`Leases`."""
        self._held.add(trial_id)
        self._execute(HOLD, trial=trial_id)

    def keeps(self, trial_id: int) -> bool:
        """See :class:`Leases`."""
        if trial_id in self._held and not self._execute(RENEW, trials=[trial_id]):
            self._held.discard(trial_id)
        return trial_id in self._held

    def renew(self) -> frozenset[int]:
        """See :class:`Leases`. A database that cannot be reached for a while is no loss; it is asked again later."""
        from sqlalchemy.exc import OperationalError

        if not self._held or time.monotonic() < self._renew_at:
            return frozenset()
        self._renew_at = time.monotonic() + self._lease_seconds / 4
        try:
            kept = {row[0] for row in self._execute(RENEW, trials=sorted(self._held))}
        except OperationalError as error:
            logger.warning("the leases of %d trials could not be renewed: %s", len(self._held), error.orig)
            return frozenset()
        lost = frozenset(self._held - kept)
        self._held &= kept
        return lost

    def claim(self, trial_ids: Collection[int]) -> set[int]:
        """See :class:`Leases`.

        A trial without a lease is one whose driver died, or still is, between making it and holding it. It can be
        claimed once it was seen like that for the length of a lease.
        """
        others = sorted(set(trial_ids) - self._held)
        if not others:
            return set()
        claimed = set()
        for now, trial_id, is_expired in self._execute(LOOK, trials=others):
            if is_expired is None:
                seen = self._seen_without_lease.setdefault(trial_id, now)
                is_mine = now - seen >= self._length and self._execute(HOLD, trial=trial_id)
            else:
                self._seen_without_lease.pop(trial_id, None)
                is_mine = is_expired and self._execute(TAKE_OVER, trial=trial_id)
            if is_mine:
                claimed.add(trial_id)
        self._held |= claimed
        return claimed

    def release(self, trial_id: int) -> None:
        """See :class:`Leases`."""
        self._held.discard(trial_id)
        self._execute(RELEASE, trial=trial_id)

    def close(self) -> None:
        """See :class:`Leases`."""
        self._held.clear()
        self._execute(EXPIRE)

    def _execute(self, statement: str, **values: Any) -> Sequence[Any]:
        """Run one statement in a transaction of its own; several rows at a time could lock each other out."""
        with self._autocommit.connect() as connection:
            result = connection.exec_driver_sql(statement, {"driver": self.driver, "length": self._length, **values})
            return result.all() if result.returns_rows else []


def leases_of(storage: BaseStorage, contract: str) -> Leases:
    """The leases that fit a storage: shared ones in a database, none in a journal."""
    engine = engine_of(storage)
    return Alone() if engine is None else SharedLeases(engine, contract)


@contextmanager
def _said(message: str) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise AskingError(f"{message} ({' '.join(str(error.orig).split())}); start the search again") from error
