"""Opening studies: the journal, and a PostgreSQL database with everything that can be wrong with it."""

import subprocess
import sys
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage

from foldsmith.problem.errors import InputError, MissingPackageError
from foldsmith.problem.urls import hide_password
from foldsmith.search.storage import open_storage

OPENER = """
import sys
from pathlib import Path
import optuna, psycopg, sqlalchemy, alembic.script
from foldsmith.search.leases import leases_of
from foldsmith.search.storage import open_storage
from foldsmith.search.studies import FamilyStudy
from foldsmith.spaces.space import Float, Space
print("ready", flush=True)
for url in sys.stdin:
    storage = open_storage(Path("unused"), url.strip())
    for name in "abc":
        leases = leases_of(storage, "c0ffee")
        FamilyStudy(storage, "c0ffee", name, Space("x@1", {"x": Float(0, 1)}), [], greater_is_better=True, seed=0,
                    leases=leases)
    print("opened", flush=True)
"""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@rig:5432/db", "postgresql://ann:***@rig:5432/db"),
        ("postgresql://ann:s:e/c@r?e#t@rig/db", "postgresql://ann:***@rig/db"),
        ("postgresql://ann:sec\nret@rig/db", "postgresql://ann:***@rig/db"),
        (
            "postgresql://rig/db?user=ann&Password=secret&sslmode=require",
            "postgresql://rig/db?user=ann&Password=***&sslmode=require",
        ),
        ("postgresql://rig/db?sslpassword=secret", "postgresql://rig/db?sslpassword=***"),
        ("postgresql://ann@rig:5432/db", "postgresql://ann@rig:5432/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
        ("redis://:secret@rig", "redis://:***@rig"),
        ("nothing like a URL", "nothing like a URL"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hide_password(url) == shown


def test_no_url_is_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / ".foldsmith/study.journal"
    with pytest.raises(InputError, match=f"there is no study in {tmp_path} yet; start a search first"):
        open_storage(journal, may_write=False)
    assert isinstance(open_storage(journal), JournalStorage)
    assert journal.exists() and isinstance(open_storage(journal, may_write=False), JournalStorage)


@pytest.mark.parametrize(
    "url",
    ["sqlite:///study.db", "mysql://ann:secret@rig/db", "redis://rig", "postgresql+psycopg2://rig/db", "study.db"],
)
def test_other_storages_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"is not supported; give a PostgreSQL database \(postgresql://user") as error:
        open_storage(Path("unused"), url)
    assert "secret" not in str(error.value)
    assert url.partition("://")[0] in str(error.value)


@pytest.mark.parametrize("url", ["postgresql://ann:secret@rig:port/db", "postgres://ann:secret@[::1/db"])
def test_a_url_that_cannot_be_read(url: str) -> None:
    with pytest.raises(InputError, match="cannot be read; write it as postgresql://user") as error:
        open_storage(Path("unused"), url)
    assert "secret" not in str(error.value)


def test_psycopg_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError, match=r"needs psycopg .*; pip install 'foldsmith\[postgres\]'"):
        open_storage(Path("unused"), "postgresql://rig/db")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pass-word", "wrong-word", r'ann:\*\*\*@127.*password authentication failed for user "ann"; check user and'),
        ("pass-word", "", r"no password supplied; give the password in the URL"),
        ("/postgres", "/nowhere", r'database "nowhere" does not exist; create it first'),
        ("127.0.0.1", "127.0.0.1:1,", r"cannot be read"),
    ],
)
def test_a_database_that_does_not_open(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(InputError, match=message) as error:
        open_storage(Path("unused"), postgres_url.replace(old, new, 1))
    said = str(error.value)
    assert "pass-word" not in said and "wrong-word" not in said and "\n" not in said


def test_nobody_listens() -> None:
    with pytest.raises(InputError, match=r"ann:\*\*\*@127.0.0.1:1/db' cannot be opened: .*; check host and port"):
        open_storage(Path("unused"), "postgresql://ann:secret@127.0.0.1:1/db")


def test_a_user_who_may_not_make_tables(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS bob")
        connection.execute("CREATE ROLE bob LOGIN PASSWORD 'bobs-word'")
    with pytest.raises(InputError, match="permission denied for schema public.*; let the user create tables") as error:
        open_storage(Path("unused"), postgres_database.replace("ann:pass-word", "bob:bobs-word"))
    assert "\n" not in str(error.value)


def test_tables_of_another_optuna(postgres_database: str) -> None:
    open_storage(Path("unused"), postgres_database)
    with psycopg.connect(postgres_database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(InputError, match="no longer compatible with the table schema"):
        open_storage(Path("unused"), postgres_database)


def test_a_password_with_odd_characters(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS eve")
        connection.execute("CREATE ROLE eve LOGIN SUPERUSER PASSWORD 'a{b}%@/:'")
    url = postgres_database.replace("ann:pass-word", "eve:a{b}%25%40%2F%3A")
    assert open_storage(Path("unused"), url.replace("postgresql://", "postgres://")).get_all_studies() == []


def test_a_database_without_an_encoding(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    storage = open_storage(Path("unused"), postgres_database.rpartition("/")[0] + "/bytes")
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "c0ffee/größer")
    assert [study.study_name for study in storage.get_all_studies()] == ["c0ffee/größer"]


def test_a_reader_needs_a_study_and_changes_nothing(postgres_database: str) -> None:
    with pytest.raises(InputError, match=r"there is no study in postgresql://ann:\*\*\*@.* yet; start a search first"):
        open_storage(Path("unused"), postgres_database, may_write=False)
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)

    optuna.create_study(storage=open_storage(Path("unused"), postgres_database), study_name="c0ffee/linear")
    reader = open_storage(Path("unused"), postgres_database, may_write=False)
    assert [study.study_name for study in reader.get_all_studies()] == ["c0ffee/linear"]
    with pytest.raises(StorageInternalError) as error:
        reader.set_study_user_attr(1, "x", 1)
    assert "read-only transaction" in str(error.value.__cause__)


def test_two_drivers_open_an_empty_database_at_once(postgres_url: str) -> None:
    drivers = [
        subprocess.Popen([sys.executable, "-c", OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for driver in drivers:
            assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        for number in range(3):
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE opened_{number}".encode())
            url = postgres_url.removesuffix("postgres") + f"opened_{number}"
            for driver in drivers:
                assert driver.stdin is not None
                driver.stdin.write(url + "\n")
                driver.stdin.flush()
            for driver in drivers:
                assert driver.stdout is not None and driver.stdout.readline() == "opened\n"
            studies = open_storage(Path("unused"), url).get_all_studies()
            assert sorted(study.study_name for study in studies) == ["c0ffee/a", "c0ffee/b", "c0ffee/c"]
            assert all(study.user_attrs["space_version"] == "x@1" for study in studies)
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()
