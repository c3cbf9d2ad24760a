"""A search from the first lock to the last member, with the running ensemble beside it."""

import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import get_args

from foldsmith.flow.detach import Terminal
from foldsmith.flow.durations import parse_duration
from foldsmith.flow.ensemble import Blended, RunningEnsemble
from foldsmith.flow.heartbeat import forget, tell_standing
from foldsmith.flow.hooks import Hooks
from foldsmith.flow.launch import SearchRequest, remember, within
from foldsmith.flow.mirror import SearchMirror
from foldsmith.flow.rig import RigRequest, plan_rig
from foldsmith.flow.submission import current_path, write_baseline
from foldsmith.problem.config import Executor as ExecutorName
from foldsmith.problem.config import Policy, Pruner
from foldsmith.problem.contract import Problem
from foldsmith.problem.decoration import Decorations, words_of
from foldsmith.problem.errors import DamagedFileError, FoldsmithError, InputError, UnknownNameError
from foldsmith.problem.files import read_json
from foldsmith.problem.standard_streams import fill_standard_streams
from foldsmith.problem.urls import hide_password
from foldsmith.search.driver import Driver
from foldsmith.search.executors.base import Executor
from foldsmith.search.executors.ray_cluster import is_claimed
from foldsmith.search.forks import forked_children_end_as_told
from foldsmith.search.locks import claim_driver
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout
from foldsmith.search.snapshot import Snapshot
from foldsmith.spaces.features import load_features
from foldsmith.spaces.overrides import check_tables
from foldsmith.spaces.registry import available_families, get_family

Observer = Callable[[Snapshot], None]

# Starting Ray takes 5-25 s and more memory; below this budget that is a good part of what plain processes get done.
SHORT_BUDGET_SECONDS = 600.0
# From here on folds are too dear to give all of them to every point; below, the ensemble wants complete members more.
RACING_ROWS = 100_000
# For the last uploads to a mirror; what is not done by then, 'foldsmith mirror push' does.
MIRROR_SECONDS = 10.0


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

    def __repr__(self) -> str:
        parts = [self.ended.replace("_", " "), f"blended {self.blended!r}"]
        if self.skipped:
            names = ", ".join(list(self.skipped)[:5]) + (", …" if len(self.skipped) > 5 else "")
            parts.append(f"skipped {names}")
        if self.warning:
            parts.append(f"warning {textwrap.shorten(self.warning, 120, placeholder=' …')!r}")
        return f"SearchReport({'; '.join(parts)})"


def search(problem: Problem, request: SearchRequest, observe: Observer = lambda snapshot: None) -> SearchReport:
    """Run a search until its trials are done, its time is over or it is stopped.

    Raises:
        InputError: an unknown family or a senseless option.
        ContractError: another driver works in this folder.
    """
    fill_standard_streams()
    asked, request = request, _resolve(problem, request)
    guard, said = Decorations(), list[str]()

    def tell(message: str) -> None:
        said.append(message)
        with guard("showing the progress"):
            elapsed = time.time() - request.started
            observe(Snapshot("starting", elapsed, request.budget_seconds, messages=tuple(said)))

    lock, folder = claim_driver(problem.folder, is_shared=request.storage is not None, say=tell)
    problem = replace(problem, folder=folder)
    with Hooks(problem) as hooks, lock:  # what a hook starts may find the lock free
        if not _has_submission(problem):
            write_baseline(problem)
        remember(problem, request)
        forget(problem.folder)  # the search before: another phase, another time left
        ensemble = RunningEnsemble(problem, request.budget_seconds)
        mirror = SearchMirror(problem.folder, problem.config.store.mirror)
        _start_mirror(mirror, guard)
        ensemble.start()
        try:
            beside = Beside(ensemble, mirror, hooks, observe, guard, tuple(said))
            driver = _make_driver(problem, request, beside)
            with _stopping_on_signals(driver), _explaining_lost_storage(request.storage):
                outcome = driver.run()
        except BaseException:
            ensemble.stop()
            raise
        blended = ensemble.finish()
        with guard("the mirror"):
            mirror.finish(MIRROR_SECONDS)
        if outcome.ended != "interrupted":
            hooks.ended(outcome.ended, ensemble.standing)
    warnings = [] if ensemble.error is None else [f"the running ensemble failed: {words_of(ensemble.error)}"]
    if mirror.warning:
        warnings.append(mirror.warning)
    warnings += guard.failures
    if hooks.n_failed:
        warnings.append(f"hooks failed ({hooks.n_failed} calls); see 'foldsmith logs hooks'")
    skipped = outcome.skipped if _names_families(problem, asked) else {**available_families()[1], **outcome.skipped}
    return SearchReport(outcome.ended, skipped, blended, "; ".join(warnings) or None)


def _start_mirror(mirror: SearchMirror, guard: Decorations) -> None:
    """Begin to upload; what is wrong with the address is refused, what is wrong with the store is only told."""
    try:
        mirror.start()
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:
        guard.note("the mirror", error)


def _names_families(problem: Problem, request: SearchRequest) -> bool:
    """Whether somebody chose the families; else it is worth telling which ones lack their package."""
    return bool(request.families or problem.config.search.families)


def check(problem: Problem, request: SearchRequest) -> None:
    """Raise what :func:`search` would raise before it begins; a search elsewhere can then begin with it."""
    _resolve(problem, request)
    lock, _ = claim_driver(problem.folder, is_shared=request.storage is not None)
    lock.release()


def _has_submission(problem: Problem) -> bool:
    """Whether ``current.csv`` was made for the test file as it is now."""
    try:
        made_for = read_json(problem.folder.launch).get("test_fingerprint")
    except (FileNotFoundError, DamagedFileError):
        return False
    return current_path(problem).exists() and made_for == problem.data.test_fingerprint


@dataclass(frozen=True)
class Beside:
    """What goes on beside the search; ``guard`` keeps it from ending the search, ``said`` was told before it began."""

    ensemble: RunningEnsemble
    mirror: SearchMirror
    hooks: Hooks
    observe: Observer
    guard: Decorations
    said: tuple[str, ...]


def _make_driver(problem: Problem, request: SearchRequest, beside: Beside) -> Driver:
    ensemble, guard = beside.ensemble, beside.guard
    deadline = None if request.budget_seconds is None else request.started + request.budget_seconds
    plan = plan_rig(
        problem,
        request.families,
        RigRequest(
            request.workers, request.gpus, request.per_gpu, request.ram_limit, joins_cluster=request.address is not None
        ),
    )
    options = SearchOptions(
        request.families,
        request.n_trials,
        request.budget_seconds,
        plan.layout.n_slots,
        request.model_seed or 0,
        request.sampler_seed or 0,
        policy=request.policy or "auto",
        racer=racer_of(request.pruner, problem.data.train.n_rows),
        gpu_shares=plan.gpu_shares,
        fold_seconds=request.fold_seconds,
        storage_url=request.storage,
        rig=plan.describe(),
        notices=(*beside.said, *filter(None, (plan.notice,))),
    )

    told: tuple[float, float, int] | None = None

    def with_ensemble(snapshot: Snapshot) -> None:
        nonlocal told
        if ensemble.standing is not None:
            if ensemble.standing != told:
                told = ensemble.standing
                with guard("telling of the ensemble"):
                    tell_standing(problem.folder, told)
            value, sem, size = ensemble.standing
            snapshot = replace(snapshot, ensemble=(value, sem), ensemble_size=size)
        beside.hooks.snapshot(snapshot)
        with guard("showing the progress"):
            beside.observe(replace(snapshot, elapsed_seconds=time.time() - request.started))

    def on_member(member: str) -> None:
        ensemble.notice(member)
        with guard("the mirror"):
            beside.mirror.notice(member)
        beside.hooks.member(member)

    return Driver(
        problem,
        options,
        make_executor(problem, request, plan.layout),
        Clock(deadline, lambda: ensemble.reserve_seconds),
        observe=with_ensemble,
        on_member=on_member,
        shares=lambda: ensemble.shares,
        favourites=lambda: ensemble.favourites,
    )


def racer_of(pruner: Pruner | None, n_rows: int) -> str:
    """On big tables a fold or two for everyone and full cross-validation for what survives; else all folds."""
    if pruner not in (None, "auto"):
        return str(pruner)
    return "halving" if n_rows >= RACING_ROWS else "none"


def _resolve(problem: Problem, request: SearchRequest) -> SearchRequest:
    """Flags before config before defaults; everything checked."""
    config, rig = problem.config.search, problem.config.rig
    families = tuple(dict.fromkeys(request.families or config.families or available_families()[0]))
    _check_families(problem, families)
    if request.n_trials is not None and request.n_trials < 1:
        raise InputError(f"--trials {request.n_trials} is not positive; ask for at least 1")
    started = request.started or time.time()
    budget_seconds = within(request.until, request.budget_seconds, started)
    if request.n_trials is None and budget_seconds is None:
        raise InputError("a search needs an end; give --trials or --time-budget, or --until")
    model_seed = config.model_seed if request.model_seed is None else request.model_seed
    sampler_seed = config.sampler_seed if request.sampler_seed is None else request.sampler_seed
    if min(model_seed, sampler_seed) < 0:
        raise InputError(f"seed {min(model_seed, sampler_seed)} is negative; give 0 or more")
    resolved = replace(
        request,
        families=families,
        workers=request.workers or rig.workers,
        executor=request.executor or config.executor,
        model_seed=model_seed,
        sampler_seed=sampler_seed,
        started=started,
        budget_seconds=budget_seconds,
        address=request.address or rig.address,
        storage=request.storage or config.storage,
        policy=request.policy or config.policy,
        pruner=request.pruner or config.pruner,
        fold_seconds=request.fold_seconds or (parse_duration(rig.fold_timeout) if rig.fold_timeout else None),
    )
    _check_words(resolved)
    return resolved


def _check_families(problem: Problem, families: tuple[str, ...]) -> None:
    """What is wrong with the families, their spaces or the user's features, before anything starts."""
    for name in families:
        get_family(name, problem.folder.code)
    load_features(problem.config.features.use, problem.folder.code)
    check_tables(problem.config.spaces, families)


def _check_words(request: SearchRequest) -> None:
    """Python callers may give any word."""
    for what, name, known in (
        ("executor", request.executor, ExecutorName),
        ("pruner", request.pruner, Pruner),
        ("policy", request.policy, Policy),
    ):
        if name not in get_args(known):
            raise UnknownNameError(what, str(name), get_args(known))
    if request.address is not None and request.executor not in ("auto", "ray", "tune"):
        raise InputError(
            f"--address {request.address} needs Ray, but the executor is {request.executor!r}; leave --executor out"
        )


def make_executor(problem: Problem, request: SearchRequest, layout: Layout) -> Executor:
    """The executor that was asked for; ``auto`` takes plain processes for short budgets, else Ray."""
    root, name = problem.folder.root, request.executor
    if name == "auto":
        is_short = request.budget_seconds is not None and request.budget_seconds < SHORT_BUDGET_SECONDS
        name = "local" if request.address is None and (is_short or is_claimed()) else "ray"
    if name == "inline":
        from foldsmith.search.executors.inline import InlineExecutor

        return InlineExecutor(root)
    if name == "local":
        from foldsmith.search.executors.local import LocalExecutor

        return LocalExecutor(root, layout)
    address, n_workers, shares_folder = request.address, request.workers, problem.config.rig.shared_folder
    if name == "tune":
        from foldsmith.search.executors.tune.executor import TuneExecutor

        return TuneExecutor(root, layout, address=address, n_workers=n_workers, shares_folder=shares_folder)
    from foldsmith.search.executors.ray import RayExecutor

    return RayExecutor(root, layout, address=address, n_workers=n_workers, shares_folder=shares_folder)


@contextmanager
def _explaining_lost_storage(url: str | None) -> Iterator[None]:
    """A database that went away in the middle ends the search with one line."""
    try:
        yield
    except Exception as error:
        if url is None or not type(error).__module__.startswith(("optuna.", "sqlalchemy.")):
            raise
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise FoldsmithError(
            f"the study in {hide_password(url)} could not be written ({reason}); finished folds are saved, "
            "go on with 'foldsmith resume' when the database answers again"
        ) from error


@contextmanager
def _stopping_on_signals(driver: Driver) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets running folds end and be stored, the second one ends at once.

    So does a SIGHUP, unless it is ignored (by ``nohup``); but one terminal that goes away may send several of them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    terminal = Terminal()

    def hang_up(number: int, frame: object) -> None:
        terminal.let_go()
        driver.request_stop()
        previous[signal.SIGHUP] = signal.SIG_IGN  # it may come again, while the last ensemble is made

    def handle(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        driver.request_stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    # The shell sends SIGHUP to the workers, too. They inherit the mask of this thread and go on; the driver hears of it
    # through the ensemble's thread, which has no such mask.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with forked_children_end_as_told():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)
