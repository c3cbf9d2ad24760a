"""Files behind an fsspec URL: what a mirror needs of an object store, each file appearing whole or not at all."""

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import FoldsmithError, InputError, MissingPackageError
from foldsmith.problem.files import file_digest
from foldsmith.problem.urls import hide_password

EXAMPLES = "s3://bucket/path, gs://bucket/path or file:///folder"

# An object store shows a file when its upload is complete; these show it while it grows, so it gets its name last.
GROWING = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb"})

N_READERS = 16

Entry = dict[str, Any]


class ChangedError(FoldsmithError, OSError):
    """A file was replaced while it was read; to be tried again."""


class Remote:
    """A folder of an object store; names are relative to it, with slashes.

    Args:
        url: any that fsspec knows.

    Raises:
        InputError: no URL, or of a kind that nobody knows.
        MissingPackageError: the package for this kind of URL is not installed.
    """

    def __init__(self, url: str) -> None:
        protocol, separator, path = url.partition("://")
        if not separator or not path.strip("/"):
            raise InputError(f"mirror {url!r} is no URL with a path; write e.g. {EXAMPLES}")
        self.url = hide_password(url)
        self._fs, root = _connect(url, protocol)
        self._root = root.rstrip("/")
        self._grows = protocol in GROWING
        self._made: set[str] = set()

    def put(self, path: Path, name: str) -> Entry:
        """Upload a file.

        Returns:
            Its size and digest.

        Raises:
            ChangedError: somebody replaced it meanwhile.
        """
        before = path.stat()
        entry = {"bytes": before.st_size, "blake2b": file_digest(path)}
        self._appear(name, lambda target: self._fs.put_file(str(path), target))
        after = path.stat()
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            raise ChangedError(f"{path} was replaced while it was uploaded")
        return entry

    def put_bytes(self, data: bytes, name: str) -> None:
        """Upload ``data``."""
        self._appear(name, lambda target: self._fs.pipe_file(target, data))

    def read(self, name: str) -> bytes | None:
        """A file's content, None when there is no such file."""
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several files by name, side by side, for a store may be far away; those that are gone are left out."""
        wanted = list(names)
        with ThreadPoolExecutor(N_READERS) as readers:
            found = zip(wanted, readers.map(self.read, wanted), strict=True)
            return {name: data for name, data in found if data is not None}

    def fetch(self, name: str, path: Path) -> None:
        """Download a file."""
        self._fs.get_file(self._path(name), str(path))

    def names(self, folder: str) -> list[str]:
        """What lies directly in ``folder``, sorted; empty when there is no such folder."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        here = self._path(folder).rstrip("/")  # some stores list an empty object for the folder itself
        names = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found if str(path).rstrip("/") != here}
        return sorted(name for name in names if not name.endswith(".tmp"))

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _appear(self, name: str, write: Any) -> None:
        target = self._path(name)
        if not self._grows:
            write(target)
            return
        parent = target.rsplit("/", 1)[0]
        if parent not in self._made:
            self._fs.makedirs(parent, exist_ok=True)
            self._made.add(parent)
        temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        write(temporary)
        self._fs.mv(temporary, target)


def _connect(url: str, protocol: str) -> tuple[Any, str]:
    import fsspec
    from fsspec.registry import known_implementations

    try:
        filesystem, root = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        module = known_implementations.get(protocol, {}).get("class", "").split(".")[0]
        package = getattr(error.__cause__ or error, "name", None) or module
        raise MissingPackageError(
            f"the mirror {hide_password(url)} needs the package {package}; install it: pip install {package}"
        ) from None
    except ValueError as error:
        raise InputError(f"mirror {hide_password(url)!r} cannot be used ({error}); write e.g. {EXAMPLES}") from None
    return filesystem, str(root)
