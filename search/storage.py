"""Where the studies are kept: the folder's journal, or a PostgreSQL database that several drivers share."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage

from foldsmith.problem.errors import InputError, MissingPackageError
from foldsmith.problem.urls import hide_password
from foldsmith.search.journal import open_journal

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

EXAMPLE = "postgresql://user:password@host:5432/database"
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
CONNECT_SECONDS = 10

# The driver uses two connections at a time, one of them for the lock of an ask; a dashboard one per request.
ENGINE_OPTIONS: dict[str, Any] = {
    "pool_pre_ping": True,  # a search outlives restarts of its database and idle limits of firewalls
    "pool_size": 2,
    "max_overflow": 8,
    "pool_recycle": 1800,
    "connect_args": {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "foldsmith",
        "client_encoding": "utf8",  # else a database of encoding SQL_ASCII answers with bytes
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    },
}

# What the server says, and what to do about it.
REMEDIES = (
    ("password authentication failed", "check user and password"),
    ("no password supplied", f"give the password in the URL ({EXAMPLE}) or in PGPASSWORD"),
    ("does not exist", "create it first, e.g. with createdb, or check the name"),
    ("no schema has been selected", "let the user use and create tables: GRANT ALL ON SCHEMA public TO user"),
    ("permission denied", "let the user create tables there: GRANT ALL ON SCHEMA public TO user"),
    ("", "check host and port, and that the server runs and lets this machine in"),
)


def open_storage(journal: Path, url: str | None = None, *, may_write: bool = True) -> BaseStorage:
    """Open the studies of a competition.

    Args:
        journal: the folder's own storage, used without a ``url``.
        url: a PostgreSQL database; its tables are made when they are missing.
        may_write: False for a reader; the database itself then refuses every change.

    Raises:
        InputError: the URL is of another kind, the database cannot be used, or a reader finds nothing in it.
        MissingPackageError: psycopg is not installed.
    """
    if url is None:
        if not may_write and not journal.exists():
            raise InputError(f"there is no study in {journal.parent.parent} yet; start a search first")
        return open_journal(journal, is_whole=may_write)
    address = _parse(url)
    with _explained(url, address), _connected(address) as connection:
        if may_write:
            take_lock(connection, "schema")  # drivers that start at once would make the same tables
            return _rdb(address, ENGINE_OPTIONS)
        if not _has_table(connection, "studies"):
            raise InputError(f"there is no study in {hide_password(url)} yet; start a search first")
        return _rdb(address, {**ENGINE_OPTIONS, "execution_options": {"postgresql_readonly": True}})


def take_lock(connection: "Connection", name: str, *, ask_seconds: float | None = None) -> None:
    """Take PostgreSQL's advisory lock ``foldsmith/<name>`` until the transaction of ``connection`` ends.

    The lock goes with the transaction, so that neither a crash nor a connection pooler can leave it behind.

    Args:
        ask_seconds: after so many seconds without a word the server ends the transaction of the lock's owner, whose
            machine may be gone; others give up after half as long again. None to wait for ever.
    """
    if ask_seconds is not None:
        limits = (f"{ask_seconds * 1500:.0f}ms", f"{ask_seconds * 1000:.0f}ms")
        connection.exec_driver_sql(
            "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)",
            limits,
        )
    digest = hashlib.blake2b(f"foldsmith/{name}".encode(), digest_size=8).digest()
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (int.from_bytes(digest, "big", signed=True),))


def engine_of(storage: BaseStorage) -> "Engine | None":
    """The connections of a database's storage, None of a journal."""
    return storage.engine if isinstance(storage, RDBStorage) else None


def _parse(url: str) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or "://" not in url:
        raise InputError(
            f"storage {hide_password(url)!r} is not supported; give a PostgreSQL database ({EXAMPLE}), the only kind "
            "whose locks let several drivers share a study, or no storage for the journal in the competition folder"
        )
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise InputError(f"storage {hide_password(url)!r} cannot be read; write it as {EXAMPLE}") from None
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"a study in PostgreSQL needs psycopg ({error}); pip install 'foldsmith[postgres]'"
        ) from None
    return address


@contextmanager
def _connected(address: "URL") -> Iterator["Connection"]:
    """One connection beside the storage's own: errors of a first contact are told apart from those of Optuna."""
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(address, poolclass=NullPool, connect_args=ENGINE_OPTIONS["connect_args"])
    with engine.connect() as connection:
        yield connection


def _has_table(connection: "Connection", name: str) -> bool:
    return connection.exec_driver_sql("SELECT to_regclass(%s)", (name,)).scalar() is not None


def _rdb(address: "URL", options: dict[str, Any]) -> RDBStorage:
    text = address.render_as_string(hide_password=False)
    return RDBStorage(text.replace("{", "{{").replace("}", "}}"), engine_kwargs=dict(options))  # it formats its URL


@contextmanager
def _explained(url: str, address: "URL") -> Iterator[None]:
    """Turn what a database refuses into one line that says what to do, without the password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = _first_line(error)
        if address.password:
            reason = reason.replace(str(address.password), "***")
        remedy = next(remedy for part, remedy in REMEDIES if part in reason)
        raise InputError(f"storage {hide_password(url)!r} cannot be opened: {reason}; {remedy}") from None
    except RuntimeError as error:  # Optuna's word for tables that another version of it made
        raise InputError(f"storage {hide_password(url)!r} cannot be opened: {error}") from None


def _first_line(error: BaseException) -> str:
    """What the server said, without what SQLAlchemy and Optuna put around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = " ".join(lines[0].split())
    return said.rpartition("FATAL: ")[2].strip() if "FATAL: " in said else said
