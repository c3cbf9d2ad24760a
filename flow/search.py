"""A search from the first lock to the last member, with the running ensemble beside it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from foldsmith.flow.ensemble import Blended, RunningEnsemble
from foldsmith.flow.submission import current_path, write_baseline
from foldsmith.problem.config import Executor as ExecutorName
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.files import read_json, write_json
from foldsmith.search.driver import Driver, SearchOptions
from foldsmith.search.executors.base import Executor
from foldsmith.search.locks import claim_driver
from foldsmith.search.pace import Clock
from foldsmith.search.snapshot import Snapshot
from foldsmith.spaces.registry import get_family, known_families

Observer = Callable[[Snapshot], None]

# Starting Ray takes 5-25 s; below this budget spawned processes get more done.
SHORT_BUDGET_SECONDS = 150.0


@dataclass(frozen=True)
class SearchRequest:
    """What a person asks of ``search`` or ``run``; None means as the config says.

    Args:
        n_trials: the total over the named families and over all calls.
        budget_seconds: of this call, counted from ``started``.
        started: seconds since the epoch; when the command began.
        verb: what ``resume`` does again.
    """

    families: tuple[str, ...] = ()
    n_trials: int | None = None
    budget_seconds: float | None = None
    workers: int = 0
    executor: ExecutorName | None = None
    model_seed: int | None = None
    sampler_seed: int | None = None
    started: float = 0.0
    verb: Literal["search", "run"] = "search"


@dataclass(frozen=True)
class SearchReport:
    """How a search ended.

    Args:
        ended: ``done``, ``out_of_time`` or ``interrupted``.
        skipped: families that cannot take this problem, with the reason.
        blended: the best ensemble, None when this call found none better than those stored.
        warning: what went wrong beside the search, None if nothing did.
    """

    ended: str
    skipped: dict[str, str]
    blended: Blended | None
    warning: str | None = None


def search(problem: Problem, request: SearchRequest, observe: Observer = lambda snapshot: None) -> SearchReport:
    """Run a search until its trials are done, its time is over or it is stopped.

    Raises:
        InputError: an unknown family or a senseless option.
        ContractError: another driver works in this folder.
    """
    request = _resolve(problem, request)
    with claim_driver(problem.folder.driver_lock, problem.folder.workers_lock):
        if not _has_submission(problem):
            write_baseline(problem)
        write_json(
            problem.folder.launch,
            {"request": asdict(request), "test_fingerprint": problem.data.test_fingerprint},
        )
        problem.folder.driver.unlink(missing_ok=True)  # of the search before: another phase, another time left
        ensemble = RunningEnsemble(problem)
        ensemble.start()
        try:
            driver = _make_driver(problem, request, ensemble, observe)
            with _stopping_on_signals(driver):
                outcome = driver.run()
        except BaseException:
            ensemble.stop()
            raise
        blended = ensemble.finish()
    warning = None if ensemble.error is None else f"the running ensemble failed: {ensemble.error}"
    return SearchReport(outcome.ended, outcome.skipped, blended, warning)


def _has_submission(problem: Problem) -> bool:
    """Whether ``current.csv`` was made for the test file as it is now."""
    launch = problem.folder.launch
    return (
        current_path(problem).exists()
        and launch.exists()
        and read_json(launch)["test_fingerprint"] == problem.data.test_fingerprint
    )


def _make_driver(problem: Problem, request: SearchRequest, ensemble: RunningEnsemble, observe: Observer) -> Driver:
    deadline = None if request.budget_seconds is None else request.started + request.budget_seconds
    options = SearchOptions(
        request.families,
        request.n_trials,
        request.budget_seconds,
        request.model_seed or 0,
        request.sampler_seed or 0,
    )

    def with_ensemble(snapshot: Snapshot) -> None:
        if ensemble.standing is not None:
            value, sem, size = ensemble.standing
            snapshot = replace(snapshot, ensemble=(value, sem), ensemble_size=size)
        observe(replace(snapshot, elapsed_seconds=time.time() - request.started))

    return Driver(
        problem,
        options,
        make_executor(problem, request),
        Clock(deadline, lambda: ensemble.reserve_seconds),
        observe=with_ensemble,
        on_member=ensemble.notice,
    )


def _resolve(problem: Problem, request: SearchRequest) -> SearchRequest:
    """Flags before config before defaults; everything checked."""
    config = problem.config.search
    families = tuple(dict.fromkeys(request.families or config.families or known_families()))
    for name in families:
        get_family(name, problem.folder.code)
    if request.n_trials is not None and request.n_trials < 1:
        raise InputError(f"--trials {request.n_trials} is not positive; ask for at least 1")
    if request.n_trials is None and request.budget_seconds is None:
        raise InputError("a search needs an end; give --trials or --time-budget")
    model_seed = config.model_seed if request.model_seed is None else request.model_seed
    sampler_seed = config.sampler_seed if request.sampler_seed is None else request.sampler_seed
    if min(model_seed, sampler_seed) < 0:
        raise InputError(f"seed {min(model_seed, sampler_seed)} is negative; give 0 or more")
    executor = request.executor or config.executor
    if executor not in get_args(ExecutorName):
        raise UnknownNameError("executor", executor, get_args(ExecutorName))
    return replace(
        request,
        families=families,
        workers=request.workers or config.workers or len(os.sched_getaffinity(0)),
        executor=executor,
        model_seed=model_seed,
        sampler_seed=sampler_seed,
        started=request.started or time.time(),
    )


def make_executor(problem: Problem, request: SearchRequest) -> Executor:
    """The executor that was asked for; ``auto`` takes spawned processes for short budgets, else Ray."""
    root, name = problem.folder.root, request.executor
    if name == "auto":
        is_short = request.budget_seconds is not None and request.budget_seconds < SHORT_BUDGET_SECONDS
        name = "local" if is_short else "ray"
    if name == "inline":
        from foldsmith.search.executors.inline import InlineExecutor

        return InlineExecutor(root)
    if name == "local":
        from foldsmith.search.executors.local import LocalExecutor

        return LocalExecutor(root, request.workers)
    from foldsmith.search.executors.ray import RayExecutor

    return RayExecutor(root, request.workers)


def last_request(problem: Problem) -> SearchRequest:
    """The last search's request with the time that it had left, for ``resume``.

    Raises:
        InputError: nothing was ever started here, or no time is left.
    """
    if not problem.folder.launch.exists():
        raise InputError(f"no search was started in {problem.folder.root} yet; use 'foldsmith run' or 'search'")
    record: dict[str, Any] = read_json(problem.folder.launch)["request"]
    request = SearchRequest(**{**record, "families": tuple(record["families"]), "started": time.time()})
    if request.budget_seconds is None:
        return request
    left = read_json(problem.folder.driver)["seconds_left"] if problem.folder.driver.exists() else None
    left = request.budget_seconds if left is None else left
    if left < 1:
        raise InputError("the last search used its whole time; go on with 'foldsmith run --time-budget 10m'")
    return replace(request, budget_seconds=left)


@contextmanager
def _stopping_on_signals(driver: Driver) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets running folds end and be stored, the second one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        driver.request_stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
