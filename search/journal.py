"""Optuna's journal file: opened after a crash, and read by others without being changed."""

import os
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from foldsmith.problem.errors import ContractError


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


def open_journal(path: Path) -> JournalStorage:
    """The storage for the driver, its only writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


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
