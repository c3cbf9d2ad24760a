"""Keeps what libraries print, from Python or from C, out of a terminal that shows something else."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import TextIO

STDOUT, STDERR = 1, 2


class StrayOutput:
    """While entered, everything written to stdout and stderr goes to ``log``; ``screen`` still reaches stderr.

    Ray and LightGBM write past ``sys.stderr``, so the file descriptors themselves are turned. Processes started
    meanwhile inherit the log. Where ``sys.stderr`` is no file (a notebook, a test), nothing is turned.

    Args:
        log: appended to; its folder is made.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._kept: dict[int, int] = {}
        self.screen: TextIO = sys.stderr

    def __enter__(self) -> "StrayOutput":
        if not (_is_on(sys.stdout, STDOUT) and _is_on(sys.stderr, STDERR)):
            return self
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:  # a full disk, a folder of another user: then nothing is turned
            return self
        _flush()
        self._kept = {number: os.dup(number) for number in (STDOUT, STDERR)}
        self.screen = open(os.dup(STDERR), "w", encoding=sys.stderr.encoding, errors="replace", buffering=1)
        for number in self._kept:
            os.dup2(log, number)
        os.close(log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            return
        _flush()
        self.screen.close()
        self.screen = sys.stderr
        for number, kept in self._kept.items():
            os.dup2(kept, number)
            os.close(kept)
        self._kept = {}


def _is_on(stream: TextIO | None, number: int) -> bool:
    try:
        return stream is not None and stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
