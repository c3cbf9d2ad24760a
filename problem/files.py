"""Writing files so that a killed process leaves either the old file or the whole new one."""

import fcntl
import hashlib
import json
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import ContractError, DamagedFileError
from foldsmith.problem.lock_files import LockFile, NoLocksError, try_flock

FORMAT = 1
LOCK_SECONDS = 0.02  # between two tries to get a lock


def write_atomically(path: Path, write: Callable[[BinaryIO], None], *, sync_folder: bool = True) -> None:
    """Write ``path`` through a temporary name, flush, fsync and rename (and fsync the folder).

    Args:
        path: the final name; its folder must exist.
        write: gets the open binary file.
        sync_folder: False when a file that is written next into the same folder makes the new name durable.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None  # what people know, not the temporary name
        raise
    if sync_folder:
        sync(path.parent)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes that do the same, until the block ends or the process dies.

    Where the file system has no locks a file names the holder; see :mod:`foldsmith.problem.lock_files`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    claims = LockFile(folder / ".lock")
    try:
        try:
            while not try_flock(descriptor, fcntl.LOCK_EX):
                time.sleep(LOCK_SECONDS)
        except NoLocksError:
            while not claims.try_acquire():
                time.sleep(LOCK_SECONDS)
        yield
    finally:
        claims.release()
        os.close(descriptor)  # gives the lock back


def sync(path: Path) -> None:
    """Make a file's content durable, or the renames and new names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    write_atomically(path, write)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON record atomically, stamped with ``"format": 1``."""
    write_bytes(path, json_bytes(record))


def json_bytes(record: dict[str, Any]) -> bytes:
    """A JSON record as :func:`write_json` writes it."""
    stamped = {"format": FORMAT, **record}
    try:
        return json.dumps(stamped, ensure_ascii=False, indent=1, default=_plain).encode() + b"\n"
    except UnicodeEncodeError:  # a file name that is no UTF-8: JSON has escapes for its bytes
        return json.dumps(stamped, indent=1, default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """What JSON has no word for: NumPy's numbers and arrays, paths."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} is no JSON value")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON record written by :func:`write_json`.

    Raises:
        DamagedFileError: the file is not JSON, or not a record.
        ContractError: the record's format is newer than this version of foldsmith reads.
    """
    content = path.read_bytes()
    if not content.strip(b"\0 \t\r\n"):
        what = "it is empty" if not content else f"its {len(content):,} bytes are blank"
        raise DamagedFileError(f"{path} is not valid JSON: {what}; restore the file")
    try:
        record: dict[str, Any] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("format", 0), int):
        raise DamagedFileError(f"{path} is not a record that foldsmith wrote; restore the file")
    if record.get("format", 0) > FORMAT:
        raise ContractError(
            f"{path} has format {record['format']}, this foldsmith reads up to {FORMAT}; upgrade foldsmith"
        )
    return record


def write_array(path: Path, array: NDArray[Any], *, sync_folder: bool = True) -> None:
    """Write ``array`` as ``.npy``, atomically and durably; no object arrays. See :func:`write_atomically`."""
    contiguous = np.ascontiguousarray(array)

    def write(file: BinaryIO) -> None:
        np.lib.format.write_array(file, contiguous, allow_pickle=False)

    write_atomically(path, write, sync_folder=sync_folder)


# What NumPy says of a file that is cut off, empty, or no array at all.
_UNREADABLE = (ValueError, EOFError, TypeError, OverflowError, MemoryError, SyntaxError, zipfile.BadZipFile)


def read_array(path: Path) -> NDArray[Any]:
    """Memory-map a ``.npy`` file, read-only; one of no elements is read whole (it cannot be mapped).

    Raises:
        DamagedFileError: it is empty, cut off, or holds something else.
    """
    try:
        array = _load_array(path)
    except _UNREADABLE as error:
        size = path.stat().st_size
        reason = "is empty" if size == 0 else f"holds no whole array in its {size:,} bytes ({_first_line(error)})"
        raise DamagedFileError(f"{path} {reason}; restore the file") from None
    if not isinstance(array, np.ndarray):
        raise DamagedFileError(f"{path} holds several arrays, not one; restore the file")
    return array


def _load_array(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return np.load(path, allow_pickle=False)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def file_digest(path: Path, kind: Literal["blake2b", "sha256"] = "blake2b") -> str:
    """Digest of a file's bytes: BLAKE2b of 32 hexadecimal digits, or SHA-256 of 64."""
    with open(path, "rb") as file:
        made = (lambda: hashlib.blake2b(digest_size=16)) if kind == "blake2b" else hashlib.sha256
        return hashlib.file_digest(file, made).hexdigest()


def digest(*parts: Any) -> str:
    """A short, stable digest of JSON-able values and arrays, 12 hexadecimal digits.

    >>> digest("auc", [1, 2]) == digest("auc", [1, 2])
    True
    """
    state = hashlib.blake2b(digest_size=6)
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(str(part.dtype).encode() + str(part.shape).encode())
            state.update(np.ascontiguousarray(part).tobytes())
        else:
            state.update(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())
        state.update(b"\x00")
    return state.hexdigest()
