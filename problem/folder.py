"""Where everything of one competition lies on disk."""

from dataclasses import dataclass
from pathlib import Path

from foldsmith.problem.errors import InputError


def is_utf8(text: str) -> bool:
    """Whether a file name is text: the bytes of one that is none stand in it as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_spelled(root: Path) -> None:
    """Refuse a folder whose path is no text: pyarrow, LightGBM and others cannot open files there.

    Raises:
        InputError: it is not.
    """
    if not is_utf8(str(root.resolve())):
        raise InputError(f"the path of the folder {root} is not UTF-8: libraries cannot open files there; rename it")


@dataclass(frozen=True)
class Folder:
    """A competition folder; creates nothing by itself.

    Args:
        root: holds ``foldsmith.toml``; made absolute.
        seat: of the driver; 1 unless several drivers work here on one study.
    """

    root: Path
    seat: int = 1

    def __post_init__(self) -> None:
        """Nothing that is found from here depends on the working directory: a notebook or a family may change it."""
        object.__setattr__(self, "root", Path(self.root).absolute())

    @property
    def config(self) -> Path:
        """The file that people write."""
        return self.root / "foldsmith.toml"

    @property
    def code(self) -> Path:
        """The user's own families and metrics."""
        return self.root / "code"

    @property
    def submissions(self) -> Path:
        """``current.csv`` and the numbered files."""
        return self.root / "submissions"

    @property
    def state(self) -> Path:
        """Everything that foldsmith remembers."""
        return self.root / ".foldsmith"

    @property
    def journal(self) -> Path:
        """Optuna's journal file."""
        return self.state / "study.journal"

    @property
    def folds(self) -> Path:
        """Frozen fold plans."""
        return self.state / "folds"

    @property
    def tables(self) -> Path:
        """Parsed tables by fingerprint."""
        return self.state / "tables"

    @property
    def members(self) -> Path:
        """One folder per member."""
        return self.state / "members"

    @property
    def logs(self) -> Path:
        """Logs of drivers and workers."""
        return self.state / "logs"

    @property
    def store(self) -> Path:
        """Names this folder: a copy on another machine has the same problem but other members."""
        return self.state / "store.json"

    @property
    def driver_lock(self) -> Path:
        """Held by the one process that owns the studies."""
        return self.state / self._seated("driver.lock")

    @property
    def workers_lock(self) -> Path:
        """Held, shared, by every worker process while it lives."""
        return self.state / "workers.lock"

    @property
    def driver(self) -> Path:
        """The running driver's heartbeat: process, phase, time left, workers."""
        return self.state / self._seated("driver.json")

    @property
    def storage_url(self) -> Path:
        """The database of the last search's study, which may hold a password; readable by its owner only."""
        return self.state / self._seated("storage.url")

    @property
    def launch(self) -> Path:
        """The last search's resolved options, for ``resume``."""
        return self.state / self._seated("launch.json")

    def _seated(self, name: str) -> str:
        """A driver's own file; the first seat's has the plain name."""
        stem, _, suffix = name.partition(".")
        return name if self.seat == 1 else f"{stem}-{self.seat}.{suffix}"

    def resolve(self, name: str) -> Path:
        """A path of the config: relative ones start at the competition folder."""
        path = Path(name)
        return path if path.is_absolute() else self.root / path
