"""What a search shows on a terminal, as lines in ``logs/search.log`` too: for ``foldsmith logs``."""

import shlex
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from foldsmith.cli.progress import Progress
from foldsmith.flow.logs import appended, is_open_at, log_path
from foldsmith.search.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foldsmith.problem.contract import Problem

STDERR = 2


class SearchLog:
    """Takes the snapshots that a display takes; opens the log with the first one, when the search really runs.

    A detached search writes its lines there anyhow: then this writes nothing. A full disk does not stop a search.

    Args:
        arguments: of the command, for the line above.
    """

    def __init__(self, problem: "Problem", arguments: "Sequence[str]") -> None:
        self._problem = problem
        self._title = shlex.join(["foldsmith", *arguments])
        self._is_written_anyhow = is_open_at(STDERR, log_path(problem.folder, "search"))
        self._stack = ExitStack()
        self._file: TextIO | None = None
        self._lines: Progress | None = None

    def __enter__(self) -> "SearchLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.note(f"error: {error}")
        elif error is not None:
            self.note("ended at once")
        with suppress(OSError):
            self._stack.close()

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new."""
        if self._is_written_anyhow:
            return
        with suppress(OSError):
            if self._lines is None:
                self._file = self._stack.enter_context(appended(self._problem.folder, "search", self._title))
                console = Console(file=self._file, force_terminal=False, color_system=None, highlight=False)
                self._lines = self._stack.enter_context(Progress(self._problem, console))
            self._lines.show(snapshot)

    def note(self, text: str) -> None:
        """Write one line."""
        if self._file is not None:
            with suppress(OSError):
                self._file.write(f"{' '.join(text.split())}\n")
