"""What was asked of a search, and remembering it for ``resume``."""

import os
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from foldsmith.flow.durations import show_clock
from foldsmith.problem.config import Executor, Policy, Pruner
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import DamagedFileError, InputError
from foldsmith.problem.files import read_json, write_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.plain import as_names, plain


@dataclass(frozen=True)
class SearchRequest:
    """What a person asks of ``search`` or ``run``; None means as the config says.

    Args:
        n_trials: the total over the named families and over all calls.
        budget_seconds: of this call, counted from ``started``.
        started: seconds since the epoch; when the command began.
        verb: what ``resume`` does again.
        until: seconds since the epoch; ends this call, and those that resume it, if the budget does not end it before.
        gpus, per_gpu, ram_limit: see :class:`foldsmith.flow.rig.RigRequest`.
        address: of a Ray cluster to join.
        storage: URL of a database that several drivers share; None for the folder's journal.
        policy: which family gets the next trial.
        pruner: who decides after a few folds whether a trial gets the others.
        fold_seconds: a fold that takes longer is ended.
    """

    families: tuple[str, ...] = ()
    n_trials: int | None = None
    budget_seconds: float | None = None
    workers: int = 0
    executor: Executor | None = None
    model_seed: int | None = None
    sampler_seed: int | None = None
    started: float = 0.0
    verb: Literal["search", "run"] = "search"
    until: float | None = None
    gpus: tuple[str, ...] | None = None
    per_gpu: dict[str, int] | None = None
    ram_limit: str | None = None
    address: str | None = None
    storage: str | None = None
    policy: Policy | None = None
    pruner: Pruner | None = None
    fold_seconds: float | None = None

    def __post_init__(self) -> None:
        """Python callers may give NumPy's numbers and texts, lists for tuples, and one name for several."""
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        object.__setattr__(self, "families", as_names(self.families))
        if self.gpus is not None:
            object.__setattr__(self, "gpus", tuple(map(str, as_names(self.gpus))))


_REQUEST = TypeAdapter(SearchRequest)


def within(until: float | None, budget_seconds: float | None, started: float) -> float | None:
    """The time budget of a call that begins at ``started`` and ends by ``until``; both since the epoch.

    >>> within(1000.0, 90.0, 960.0), within(1000.0, None, 960.0), within(None, 90.0, 960.0)
    (40.0, 40.0, 90.0)
    """
    if until is None:
        return budget_seconds
    left = max(0.0, until - started)
    return left if budget_seconds is None else min(budget_seconds, left)


def remember(problem: Problem, request: SearchRequest) -> None:
    """Keep a request for ``resume``.

    The URL of a database may hold a password: it gets a file of its own that only its owner reads and no mirror takes.
    """
    folder = problem.folder
    record = {**asdict(request), "storage": None}
    data = problem.data
    prints = {"train_fingerprint": data.train_fingerprint, "test_fingerprint": data.test_fingerprint}
    write_json(folder.launch, {"request": record, **prints})
    folder.storage_url.unlink(missing_ok=True)
    if request.storage is not None:
        with open(os.open(folder.storage_url, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(request.storage)


def last_storage(folder: Folder) -> str | None:
    """The database of the last search's study, None when it was the folder's journal."""
    return folder.storage_url.read_text() if folder.storage_url.exists() else None


def last_request(problem: Problem) -> SearchRequest:
    """The last search's request with the time that it had left, for ``resume``.

    Raises:
        InputError: nothing was ever started here, or no time is left.
    """
    if not problem.folder.launch.exists():
        raise InputError(f"no search was started in {problem.folder.root} yet; use 'foldsmith run' or 'search'")
    request = _stored_request(problem.folder)
    if request.budget_seconds is None:
        return request
    left = _seconds_left(problem.folder)
    left = request.budget_seconds if left is None else left
    if request.until is not None and request.until - request.started < 1:
        raise InputError(
            f"the last search was to end at {show_clock(request.until)}, which has passed; "
            "go on with 'foldsmith run --until 07:30'"
        )
    if left < 1:
        raise InputError("the last search used its whole time; go on with 'foldsmith run --time-budget 10m'")
    return replace(request, budget_seconds=within(request.until, left, request.started))


def _stored_request(folder: Folder) -> SearchRequest:
    try:
        record: dict[str, Any] = read_json(folder.launch)["request"]
        gpus = None if record.get("gpus") is None else tuple(record["gpus"])
        words = {**record, "families": tuple(record["families"]), "gpus": gpus, "storage": last_storage(folder)}
        return _REQUEST.validate_python({**words, "started": time.time()})
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}, or start a new search with 'foldsmith search' or 'run'") from None
    except (KeyError, TypeError, AttributeError, ValueError):
        raise DamagedFileError(
            f"{folder.launch} does not say what the last search was; start a new one with 'foldsmith search' or 'run'"
        ) from None


def _seconds_left(folder: Folder) -> float | None:
    """Of the last search's time budget, as its driver told it last; None where it told nothing."""
    try:
        return float(read_json(folder.driver)["seconds_left"])
    except (FileNotFoundError, DamagedFileError, KeyError, TypeError, ValueError):
        return None
