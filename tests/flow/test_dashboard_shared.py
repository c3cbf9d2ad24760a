"""The dashboard over a database that drivers share."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import optuna
import psycopg
import pytest

from foldsmith.flow.dashboard import make_dashboard
from foldsmith.problem.errors import InputError
from foldsmith.search.storage import open_storage


def search(url: str, n_trials: int) -> None:
    """Another driver's work."""
    storage = open_storage(Path("unused"), url)
    study = optuna.create_study(storage=storage, study_name="c0ffee/linear", load_if_exists=True)
    study.optimize(lambda trial: trial.suggest_float("C", 0, 1), n_trials=n_trials)


@pytest.fixture
def address(postgres_database: str, tmp_path: Path) -> Iterator[str]:
    """Where the dashboard of a study with two trials answers."""
    search(postgres_database, 2)
    with make_dashboard(tmp_path / ".foldsmith/study.journal", 0, postgres_database) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body."""
    request = urllib.request.Request(url, b"{}" if method != "GET" else None, method=method)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def n_trials(address: str) -> int:
    """Trials of the one study."""
    code, body = ask(f"{address}/api/studies")
    assert code == 200
    (study,) = json.loads(body)["study_summaries"]
    assert study["study_name"] == "c0ffee/linear"
    code, body = ask(f"{address}/api/studies/{study['study_id']}?after=0")
    assert code == 200
    return len(json.loads(body)["trials"])


def rows(url: str) -> list[int]:
    """How many studies and trials the database holds."""
    with psycopg.connect(url) as connection:
        statements = ("SELECT count(*) FROM studies", "SELECT count(*) FROM trials")
        return [row[0] for row in (connection.execute(text).fetchone() for text in statements) if row]


def test_it_shows_what_another_driver_writes(postgres_database: str, address: str) -> None:
    assert ask(f"{address}/dashboard/")[0] == 200
    assert n_trials(address) == 2
    search(postgres_database, 3)
    give_up = time.monotonic() + 600
    while n_trials(address) == 2:  # it keeps trials for some seconds
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert n_trials(address) == 5


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/studies"), ("DELETE", "/api/studies/1"), ("PUT", "/api/studies/1/note"), ("PATCH", "/")],
)
def test_it_refuses_every_change(postgres_database: str, address: str, method: str, path: str) -> None:
    code, answer = ask(address + path, method)
    assert code == 405 and b"this dashboard only reads" in answer
    assert rows(postgres_database) == [1, 2]


def test_nothing_was_searched_yet(postgres_database: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no study in postgresql://ann:\*\*\*@.* yet; start a search first"):
        make_dashboard(tmp_path / ".foldsmith/study.journal", 0, postgres_database)
