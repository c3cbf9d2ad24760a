"""A mirror of a competition folder: beside a search, and on request."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from foldsmith.problem.config import load_config
from foldsmith.problem.errors import ContractError, FoldsmithError, InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.mirror import Mirror, MirrorStatus, PullReport, PushReport
from foldsmith.results.remote import Remote
from foldsmith.search.locks import FolderLock

JOURNAL_SECONDS = 60.0
WAITS = (1.0, 2.0, 4.0, 8.0)
PUSH_WAITS = (0.2, 1.0)
MAX_WAITING = 1000

logger = logging.getLogger(__name__)


class SearchMirror:
    """Uploads members beside a search, in one thread; nothing that goes wrong there reaches the search.

    Every method may be called from any thread; none but :meth:`finish` waits for the network.

    Args:
        folder: what is mirrored.
        url: ``[store] mirror`` of the config; None makes every method do nothing.
        waits: seconds before each further attempt of an upload that failed.
    """

    def __init__(
        self,
        folder: Folder,
        url: str | None,
        *,
        journal_seconds: float = JOURNAL_SECONDS,
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self.warning: str | None = None
        self._folder = folder
        self._url = url
        self._journal_seconds = journal_seconds
        self._waits = waits
        self._queue: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._give_up = threading.Event()
        self._is_down = False
        self._failed: dict[str, str] = {}

    def start(self) -> None:
        """Begin to upload.

        Raises:
            InputError: the URL is wrong.
            MissingPackageError: the package for this kind of URL is not installed.
        """
        if self._url is None:
            return
        mirror = Mirror(self._folder, Remote(self._url))
        self._thread = threading.Thread(target=self._run, args=(mirror,), name="mirror", daemon=True)
        self._thread.start()

    def notice(self, member_id: str) -> None:
        """A member ended: upload it. Never waits: what the queue cannot hold is found by :meth:`finish`."""
        if self._thread is not None:
            try:
                self._queue.put_nowait(member_id)
            except queue.Full:
                logger.debug("%s waits for the end of the search to be mirrored", member_id)

    def finish(self, timeout: float) -> None:
        """Upload everything that is not there yet, for at most ``timeout`` seconds; then see ``warning``."""
        if self._thread is None:
            return
        while True:
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                self._take(0)  # the last pass finds it anyway
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._give_up.set()
            self._warn(f"not everything was uploaded within {timeout:g} s")
        self._thread = None

    def _run(self, mirror: Mirror) -> None:
        try:
            self._upload(mirror)
        except Exception as error:  # the folder itself could not be read
            self._warn(f"{type(error).__name__}: {error}")

    def _upload(self, mirror: Mirror) -> None:
        report = PushReport()
        pushed_at = float("-inf")
        while (member := self._take(self._journal_seconds)) is not None:
            if member:
                self._attempt(member, partial(mirror.push_member, member, report))
            if time.monotonic() - pushed_at >= self._journal_seconds:
                self._push_rest(mirror, report)
                pushed_at = time.monotonic()
        self._failed.clear()
        for member in mirror.local_ids():
            self._attempt(member, partial(mirror.push_member, member, report))
        self._push_rest(mirror, report)
        if self._failed:
            names = ", ".join(list(self._failed)[:3])
            self._warn(f"{len(self._failed)} uploads failed ({names}); the last: {list(self._failed.values())[-1]}")

    def _take(self, timeout: float) -> str | None:
        """The next member, an empty word when none came, None at the end."""
        try:
            return self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except queue.Empty:
            return ""

    def _push_rest(self, mirror: Mirror, report: PushReport) -> None:
        self._attempt("folds and config", partial(mirror.push_shared, report))
        self._attempt("journal", partial(mirror.push_journal, report))

    def _attempt(self, what: str, upload: Callable[[], None]) -> None:
        """Try, wait, try again. Once an upload was given up, the next ones get one attempt until one succeeds."""
        waits = () if self._is_down else self._waits
        for wait in (*waits, None):
            if self._give_up.is_set():
                return
            try:
                upload()
            except Exception as error:  # a network has many ways to fail; none of them may reach the search
                logger.debug("uploading %s failed", what, exc_info=True)
                self._failed[what] = f"{type(error).__name__}: {error}"
                if wait is None or isinstance(error, ContractError):
                    self._is_down = not isinstance(error, ContractError)
                    return
                self._give_up.wait(wait)
            else:
                self._failed.pop(what, None)
                self._is_down = False
                return

    def _warn(self, what: str) -> None:
        self.warning = f"the mirror is behind: {what}; run 'foldsmith mirror push'"


def push(folder: Folder, url: str | None = None) -> PushReport:
    """Upload everything that is new; a running search may go on.

    Raises:
        InputError: no competition, or no mirror is named.
        ContractError: the mirror belongs to another search.
        FoldsmithError: the mirror cannot be reached.
    """
    load_config(folder.config)
    remote, report = Remote(mirror_url(folder, url)), PushReport()
    mirror = Mirror(folder, remote)
    with _explained(remote):
        for member in mirror.local_ids():
            _insist(partial(mirror.push_member, member, report))
        _insist(partial(mirror.push_shared, report))
        _insist(partial(mirror.push_journal, report))
    return report


def _insist(upload: Callable[[], None]) -> None:
    """Try a few times: a running search replaces files, and networks stumble."""
    for wait in PUSH_WAITS:
        try:
            return upload()
        except ContractError:
            raise
        except Exception:
            logger.debug("trying an upload again", exc_info=True)
            time.sleep(wait)
    return upload()


def pull(folder: Folder, url: str | None = None) -> PullReport:
    """Restore what the mirror has and the folder lacks; the folder may be new when ``url`` is given.

    Raises:
        InputError: no mirror is named, or there is nothing on it.
        ContractError: a search is running here.
        FoldsmithError: the mirror cannot be reached.
    """
    remote = Remote(mirror_url(folder, url))
    with _explained(remote):
        if not remote.names(".foldsmith"):
            raise InputError(f"there is nothing on the mirror {remote.url}; check the address, or push to it first")
        lock = FolderLock(folder.driver_lock)
        if not lock.acquire(wait_seconds=0.3):
            raise ContractError(f"a search runs in {folder.root}; end it with 'foldsmith stop', then pull")
        with lock:
            return Mirror(folder, remote).pull()


def status(folder: Folder, url: str | None = None) -> MirrorStatus:
    """How folder and mirror differ.

    Raises:
        InputError: no mirror is named.
        FoldsmithError: the mirror cannot be reached.
    """
    remote = Remote(mirror_url(folder, url))
    with _explained(remote):
        return Mirror(folder, remote).status()


def mirror_url(folder: Folder, url: str | None) -> str:
    """The given address, else the config's.

    Raises:
        InputError: neither.
    """
    if url is None and folder.config.exists():
        url = load_config(folder.config).store.mirror
    if url is None:
        raise InputError(
            f'no mirror is named for {folder.root}; give its URL, or write mirror = "s3://bucket/path" under [store]'
        )
    return url


@contextmanager
def _explained(remote: Remote) -> Iterator[None]:
    """Whatever a store's library raises becomes one line."""
    try:
        yield
    except FoldsmithError:
        raise
    except Exception as error:
        message = f"the mirror {remote.url} cannot be used ({type(error).__name__}: {error})"
        raise FoldsmithError(f"{message}; check address and credentials, then try again") from error
