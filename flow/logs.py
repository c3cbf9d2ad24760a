"""The logs of a competition folder: the search's own lines, what libraries print, one per worker, hooks."""

import datetime
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.folder import Folder

MAX_BYTES = 4_000_000
POLL_SECONDS = 0.25


def log_path(folder: Folder, name: str) -> Path:
    """Where a log lies: ``search`` holds a search's lines, ``driver`` what libraries printed meanwhile."""
    return folder.logs / f"{name}.log"


@contextmanager
def appended(folder: Folder, name: str, title: str) -> Iterator[TextIO]:
    """A log, open to append to it below a line with the time and ``title``; one grown large is set aside first."""
    path = log_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_name(f"{name}.old.log"))
    with open(path, "a", encoding="utf-8", errors="replace", buffering=1) as file:
        file.write(f"--- {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {title}\n")
        yield file


def is_open_at(descriptor: int, path: Path) -> bool:
    """Whether a file descriptor leads to ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def log_names(folder: Folder) -> list[str]:
    """The logs there are; the search's own first."""
    names = sorted(path.name.removesuffix(".log") for path in folder.logs.glob("*.log"))
    return sorted(names, key=lambda name: name != "search")


def find_log(folder: Folder, name: str) -> Path:
    """The path of a log.

    Raises:
        InputError: no such log, or none at all.
    """
    known = log_names(folder)
    if not known:
        raise InputError(f"there are no logs in {folder.logs} yet; start a search first")
    if name not in known:
        raise UnknownNameError("log", name, known)
    return log_path(folder, name)


def tail(path: Path, n_lines: int) -> tuple[bytes, int]:
    """The last lines of a file, and where it ended when they were read."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        size = 4096
        while True:
            start = max(0, end - size)
            file.seek(start)
            text = file.read(end - start)
            # One more line break than lines: the first line may be cut in two.
            if start == 0 or text.count(b"\n") > n_lines + 1:
                lines = text.splitlines(keepends=True)
                return b"".join(lines[len(lines) - min(n_lines, len(lines)) :]), end
            size *= 4


def follow(path: Path, start: int, goes_on: Callable[[], bool]) -> Iterator[bytes]:
    """What is appended to ``path`` after byte ``start``, while ``goes_on``; a new file of that name is read from 0."""
    place, identity = start, path.stat().st_ino
    while True:
        is_last = not goes_on()
        with suppress(FileNotFoundError), open(path, "rb") as file:  # set aside, the next one is not there yet
            now = os.fstat(file.fileno())
            if now.st_ino != identity or now.st_size < place:
                place, identity = 0, now.st_ino
            file.seek(place)
            text = file.read()
            place += len(text)
            if text:
                yield text
        if is_last:
            return
        time.sleep(POLL_SECONDS)
