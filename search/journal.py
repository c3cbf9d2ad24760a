"""Optuna's journal file: opened after a crash, and read by others without being changed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from foldsmith.problem.errors import ContractError, DamagedFileError
from foldsmith.problem.files import sync
from foldsmith.search.journal_survey import Census, Survey, survey

REPAIR = "'foldsmith repair' moves it aside and keeps every member"


def repair_journal(path: Path) -> int:
    """Undo what a crash in the middle of a write leaves; call it while holding the driver lock.

    Cuts a torn last line (Optuna would append to it and then fail to parse the file for ever) and removes a stale
    lock (Optuna would wait 30 s for it).

    Returns:
        How many bytes were cut.
    """
    for stale in path.parent.glob(f"{path.name}.lock*"):
        stale.unlink(missing_ok=True)
    if not path.exists():
        return 0
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = _after_last_newline(file, size)
        if keep < size:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
        return size - keep


def _after_last_newline(file: Any, size: int, block: int = 1 << 16) -> int:
    position = size
    while position > 0:
        start = max(0, position - block)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        position = start
    return 0


def open_journal(path: Path, *, is_whole: bool = False) -> JournalStorage:
    """The storage for the driver, its only writer.

    Args:
        is_whole: nobody writes at this moment, so that the file must end with a whole line.

    Raises:
        DamagedFileError: a line is none of Optuna's, or speaks of trials that were never made; names the first one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = _SoleWriter(str(path))
    try:
        storage = JournalStorage(backend)
    except OSError:
        raise
    except Exception as error:  # whatever Optuna makes of a line that is none
        raise _damaged(path, survey(path)) or error from None
    if is_whole and backend.n_bytes_read != path.stat().st_size:  # Optuna passes over a bad last line, for the moment
        raise _damaged(path, survey(path)) or DamagedFileError(f"{path} changes while it is read; {REPAIR}")
    return storage


def _damaged(path: Path, found: "Survey") -> DamagedFileError | None:
    if not found.bad:
        return None
    number, reason = next(iter(found.bad.items()))
    more = f", and {len(found.bad) - 1:,} more lines" if len(found.bad) > 1 else ""
    return DamagedFileError(f"{path}, line {number:,}: {reason}{more}; {REPAIR}")


def make_durable(storage: BaseStorage) -> None:
    """Have all that was written to a journal outlast a power cut; a database sees to that itself."""
    backend = getattr(storage, "_backend", None)
    if isinstance(backend, _SoleWriter):
        backend.make_durable()


class _SoleWriter(JournalFileBackend):
    """Optuna's journal file for one writing process, which the driver's lock makes sure of.

    When a write returns, its line is there for every reader and after a ``kill -9``. It has no lock of its own and no
    fsync: a trial takes about thirty lines, of which few must outlast a power cut (see :func:`make_durable`). What was
    written here is not read from the file again, unless somebody else wrote to it as well.
    """

    def __init__(self, file_path: str) -> None:
        super().__init__(file_path)
        self._path = file_path
        self._fresh: list[bytes] = []  # lines written since the last read
        self._n_read = 0  # lines before them
        self._end = -1  # size of the file when they are its last lines
        self._is_durable = True
        self._census = Census()

    @property
    def n_bytes_read(self) -> int:
        """Where the last line ends that was read from the file."""
        return self._log_number_offset.get(self._n_read, 0)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines in one write, or none at all."""
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        block = memoryview(b"".join(lines))
        with open(self._path, "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            self._is_durable = False
            try:
                while block:
                    block = block[file.write(block) :]
            except OSError:  # the disk is full: half a line would spoil the next one
                file.truncate(size)
                raise
        if size == self._end:
            self._fresh += lines
            self._end += sum(map(len, lines))
        else:
            self._end = -1

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Lines from a number on."""
        if log_number_from != self._n_read or os.stat(self._path).st_size != self._end:
            yield from self._read_file(log_number_from)
            return
        lines, self._fresh = self._fresh, []
        self._n_read += len(lines)
        self._log_number_offset[self._n_read] = self._end
        for line in lines:
            log = json.loads(line)
            self._census.add(log)
            yield log

    def _read_file(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        self._fresh, self._end, n_read = [], -1, log_number_from
        for log in super().read_logs(log_number_from):
            if n_read == self._census.n_lines and (reason := self._census.add(log)):
                raise ValueError(reason)
            n_read += 1
            yield log
        self._n_read, self._end = n_read, self._log_number_offset.get(n_read, -1)

    def make_durable(self) -> None:
        """Sync the file if anything was written since the last time."""
        if not self._is_durable:
            sync(Path(self._path))
            self._is_durable = True


def read_only(storage: BaseStorage) -> BaseStorage:
    """``storage`` behind a wrapper that answers questions and refuses changes, for dashboards beside a driver."""
    return _ReadOnlyStorage(storage)  # type: ignore[abstract]


def _is_question(name: str) -> bool:
    return name.startswith(("get_", "check_trial")) or name == "remove_session"


class _ReadOnlyStorage(BaseStorage):
    """Every method of a storage, made below: questions are passed on, changes are refused."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage


def _pass_on(name: str) -> Any:
    def ask(self: _ReadOnlyStorage, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._storage, name)(*args, **kwargs)

    return ask


def _refuse(name: str) -> Any:
    def refuse(self: _ReadOnlyStorage, *args: Any, **kwargs: Any) -> Any:
        raise ContractError(f"the dashboard only reads: {name} is refused; the search is the study's only writer")

    return refuse


for _name in vars(BaseStorage):
    if not _name.startswith("_"):
        setattr(_ReadOnlyStorage, _name, _pass_on(_name) if _is_question(_name) else _refuse(_name))
_ReadOnlyStorage.__abstractmethods__ = frozenset()
