"""The Optuna dashboard over a study that something else is writing: it reads, and refuses every change."""

from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from foldsmith.problem.errors import InputError
from foldsmith.search.journal import open_journal, read_only

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request."""


def reading_only(app: App) -> App:
    """Answer every request that is not a GET or HEAD with 405, before the dashboard sees it."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Content-Type", "application/json")])
            return [b'{"reason": "this dashboard only reads; the search is the study\'s only writer"}']
        return app(environ, start_response)

    return guarded


def make_dashboard(journal: Path, port: int) -> WSGIServer:
    """A server on 127.0.0.1 that is not yet serving.

    Raises:
        InputError: nothing was searched yet, or the port is taken.
    """
    from optuna_dashboard import wsgi

    if not journal.exists():
        raise InputError(f"there is no study in {journal.parent.parent} yet; start a search first")
    app = reading_only(wsgi(read_only(open_journal(journal))))
    try:
        return make_server("127.0.0.1", port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None
