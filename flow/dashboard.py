"""The Optuna dashboard over a study that something else is writing: it reads, and refuses every change."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, BinaryIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from foldsmith.flow.launch import last_storage
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import ContractError, InputError
from foldsmith.search.journal import read_only
from foldsmith.search.notes import artifact_store
from foldsmith.search.storage import open_storage

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request."""


class _Pictures:
    """The pictures of trials as a store of artifacts that refuses changes."""

    def __init__(self, journal: Path) -> None:
        self._store = artifact_store(journal)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """A picture; one that is lost (the folder was copied without it) is shown as an empty one."""
        from optuna.artifacts.exceptions import ArtifactNotFound

        try:
            return self._store.open_reader(artifact_id)
        except ArtifactNotFound:
            return io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refused."""
        raise ContractError(f"the dashboard only reads: artifact {artifact_id} is not written")

    def remove(self, artifact_id: str) -> None:
        """Refused."""
        raise ContractError(f"the dashboard only reads: artifact {artifact_id} is not removed")


def reading_only(app: App) -> App:
    """Answer every request that is not a GET or HEAD with 405, before the dashboard sees it."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Content-Type", "application/json")])
            return [b'{"reason": "this dashboard only reads; the search is the study\'s only writer"}']
        return app(environ, start_response)

    return guarded


def study_storage(problem: Problem) -> str | None:
    """The database that the last search's study is in, else the config's; None for the folder's journal."""
    return last_storage(problem.folder) or problem.config.search.storage


def make_dashboard(journal: Path, port: int, url: str | None = None) -> WSGIServer:
    """A server on 127.0.0.1 that is not yet serving.

    Args:
        url: the database that holds the studies, if the journal does not.

    Raises:
        InputError: nothing was searched yet, the database cannot be read, or the port is taken.
    """
    from optuna.storages import get_storage
    from optuna_dashboard import wsgi

    storage = get_storage(open_storage(journal, url, may_write=False))  # keeps what a database said of finished trials
    return serve_on(reading_only(wsgi(read_only(storage), artifact_store=_Pictures(journal))), port)


def serve_on(app: App, port: int) -> WSGIServer:
    """A threaded server of an app on 127.0.0.1 that is not yet serving.

    Raises:
        InputError: the port is taken.
    """
    try:
        return make_server("127.0.0.1", port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None
