"""What a worker does: fit one fold, or finish a member whose folds are all fitted. Every result is on disk first."""

import errno
import os
import platform
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.audit.duplicates import row_hashes
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.decisions import default_decision
from foldsmith.problem.decoration import Decorations, words_of
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.extra import ExtraRows, load_extra
from foldsmith.problem.fit_units import FitUnits
from foldsmith.problem.floors import ChanceFloor, lifted
from foldsmith.problem.folder import Folder
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Scores, score_oof
from foldsmith.problem.tables import Table, stacked
from foldsmith.results.fold_store import FoldStore
from foldsmith.results.members import MemberStore
from foldsmith.search.cgroups import cgroup_limits
from foldsmith.search.memory import PeakWatch, is_gpu_oom
from foldsmith.search.processes import staying
from foldsmith.search.rounds import chosen_round, inner_split, own_best
from foldsmith.search.sampling import fold_seed
from foldsmith.search.vram import held_vram_bytes
from foldsmith.spaces.cache import FoldCache
from foldsmith.spaces.family import Family, FittedFold, FoldTask
from foldsmith.spaces.featured import Featured
from foldsmith.spaces.features import Features, load_features
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.space import Params

CACHE_SHARE = 0.25  # of a core's part of the machine's memory
CACHE_BYTES = (1 << 30, 4 << 30)  # at least and at most

_guard = Decorations()


@dataclass(frozen=True)
class Job:
    """A piece of work for one slot: fit ``fold`` of a member, or finish the member when ``fold`` is None.

    Args:
        slot: the name of the slot, for the record.
        threads: that the library may use.
        device: ``"cpu"`` or ``"cuda"``, which is the one GPU that the slot's worker sees.
        deadline: seconds since the epoch at which an iterative fit ends with what it has.
        ram_limit_bytes: private memory at which the worker ends itself; None for no limit.
        batch_divisor: nets divide their batch by it, after the GPU's memory was too small.
    """

    member: str
    family: str
    params: Params
    fold: int | None
    model_seed: int
    repeat: int = 0
    slot: str = ""
    threads: int = 1
    device: str = "cpu"
    deadline: float | None = None
    ram_limit_bytes: int | None = None
    batch_divisor: int = 1

    @property
    def key(self) -> tuple[str, int | None]:
        """Names the job among the running ones."""
        return self.member, self.fold

    @property
    def label(self) -> str:
        """For people: the fold, or that the member is being finished."""
        return "finish" if self.fold is None else f"fold {self.fold + 1}"


@dataclass(frozen=True)
class Fault:
    """Why a job failed: a reason class, a line, and the end of the traceback or log."""

    reason: str
    message: str
    tail: str = ""


@dataclass(frozen=True)
class JobResult:
    """What the driver learns of a job; arrays stay on disk.

    Args:
        seconds: wall time in the slot.
        provisional: score of the fold before its round is chosen; for pruning and display.
        scores: of the finished member.
        facts: what the family noted of the fit.
        peak_bytes: private memory of the worker at its highest during the job; ``held_bytes`` after it.
        vram_bytes: memory of the GPU that the worker holds after the job.
    """

    job: Job
    seconds: float
    provisional: float | None = None
    scores: Scores | None = None
    facts: dict[str, Any] | None = None
    fault: Fault | None = None
    peak_bytes: int = 0
    held_bytes: int = 0
    vram_bytes: int = 0


class Workbench:
    """What a worker process keeps between jobs: the opened problem, encoded folds, the last fitted models."""

    def __init__(
        self,
        root: Path,
        *,
        cache_bytes: int | None = None,
        n_recent: int = 8,
        on_over_limit: Callable[[Job, int], None] = lambda job, peak: None,
    ) -> None:
        self._root = root.absolute()
        self._on_over_limit = on_over_limit
        self._cache = FoldCache(room_for_cache() if cache_bytes is None else cache_bytes)
        self._families: dict[str, Family] = {}
        self._watch: PeakWatch | None = None
        self._recent: OrderedDict[tuple[str, int, int], FittedFold] = OrderedDict()
        self._n_recent = n_recent

    @cached_property
    def problem(self) -> Problem:
        """Opened on the first job; tables are memory-mapped, so workers share their pages."""
        return open_problem(self._root)

    @cached_property
    def members(self) -> MemberStore:
        """Where results go."""
        return MemberStore(self.problem.folder)

    def family(self, name: str) -> Family:
        """The family called ``name``, on the user's features if there are any."""
        if name not in self._families:
            family = get_family(name, self.problem.folder.code)
            self._families[name] = family if self.features is None else Featured(family, self.features)
        return self._families[name]

    @cached_property
    def features(self) -> Features | None:
        """The user's transformers, as they were when this worker did its first job."""
        return load_features(self.problem.config.features.use, self.problem.folder.code)

    @cached_property
    def extra(self) -> ExtraRows | None:
        """Rows that only train."""
        return load_extra(self.problem)

    @cached_property
    def table(self) -> Table:
        """The train table, and the extra rows behind it."""
        train = self.problem.data.train
        return train if self.extra is None else stacked(train, self.extra.table)

    def labels(self, fold: int) -> NDArray[Any]:
        """``(n_rows,)`` labels of that table as the families fit them; pseudo labels are a fold's own."""
        if self.extra is None:
            return self.problem.fit_y
        more = self.problem.to_fit(self.extra.labels[fold])
        return np.concatenate([self.problem.fit_y, more.astype(self.problem.fit_y.dtype)])

    def extra_rows(self, valid: NDArray[np.int64], fold: int) -> NDArray[np.int64]:
        """Places of the extra rows that may train a fold: with a label, and none of its validation rows in disguise."""
        assert self.extra is not None
        leaks = np.isin(self.extra.hashes, self.train_hashes[valid])
        return self.problem.data.train.n_rows + np.flatnonzero(~leaks & self.extra.known(fold))

    @cached_property
    def train_hashes(self) -> NDArray[np.uint64]:
        """``(n_rows,)`` of the train rows' features."""
        return row_hashes(self.problem.data.train)

    def check_features(self, job: Job) -> None:
        """Refuse a job of a trial that began with other features: workers read the code at different times.

        Raises:
            InputError: ``[features]`` or the code was changed while the search runs.
        """
        if not self.members.has(job.member):
            return  # a copy of the folder on another machine, made of what the driver had
        mine = "" if self.features is None else self.features.suffix
        version = self.members.get(job.member).space_version
        rows = "" if self.extra is None else self.extra.suffix
        version, _, extra = version.partition("+extra-")
        if extra != rows.removeprefix("+extra-"):
            raise InputError(
                f"[data] extra or pseudo was changed since this search began: the trial has {extra or 'none'}, the "
                f"config now {rows.removeprefix('+extra-') or 'none'}; start the search again"
            )
        if version and version != version.partition("+features-")[0] + mine:
            raise InputError(
                f"[features] or its code was changed since this search began: the trial is {version}, the code now is "
                f"{mine.removeprefix('+') or 'without features'}; start the search again"
            )

    def run(self, job: Job) -> JobResult:
        """Do the job; any error becomes a fault of the result, and the working directory stays what it was."""
        began = time.perf_counter()
        with staying(self._root), PeakWatch(job.ram_limit_bytes, lambda peak: self._on_over_limit(job, peak)) as watch:
            self._watch = watch
            try:
                self.check_features(job)
                result = finish_member(self, job) if job.fold is None else fit_fold(self, job, job.fold)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a failing fold, or one that calls sys.exit, ends one trial, not the worker
                fault = Fault(_reason(error), words_of(error), traceback.format_exc()[-4000:])
                result = JobResult(job, 0.0, fault=fault)
        return replace(
            result,
            seconds=time.perf_counter() - began,
            peak_bytes=watch.peak_bytes,
            held_bytes=watch.held_bytes,
            vram_bytes=held_vram_bytes() if job.device == "cuda" else 0,
        )

    @property
    def peak_bytes(self) -> int:
        """Private memory of this worker at its highest so far in this job; 0 outside of one."""
        return 0 if self._watch is None else self._watch.peak_bytes

    def remember(self, job: Job, fold: int, fitted: FittedFold) -> None:
        """Keep a fitted model until its member is finished."""
        self._recent[job.member, job.repeat, fold] = fitted
        while len(self._recent) > self._n_recent:
            self._recent.popitem(last=False)

    def recall(self, job: Job, fold: int, store: FoldStore) -> FittedFold:
        """The fitted model, from memory or from disk."""
        fitted = self._recent.pop((job.member, job.repeat, fold), None)
        return self.family(job.family).load(store.path) if fitted is None else fitted

    def fold_task(self, job: Job, fold: int) -> FoldTask:
        """The fold as a family sees it."""
        train, valid = self.problem.plan.split(job.repeat, fold)
        return self._task(job, train, valid, number=fold, name=str(fold))

    def refit_task(self, job: Job) -> FoldTask:
        """All rows but the plan's holdout as one fold without validation rows, with the seed of one fold more."""
        rows = np.flatnonzero(~self.problem.plan.holdout)
        return self._task(job, rows, rows[:0], number=self.problem.plan.n_folds, name="all")

    def _task(
        self, job: Job, train: NDArray[np.int64], valid: NDArray[np.int64], *, number: int, name: str
    ) -> FoldTask:
        problem, key = self.problem, f"{self.problem.contract}/{job.repeat}-{name}"
        if self.extra is not None:
            train, key = np.concatenate([train, self.extra_rows(valid, number)]), f"{key}/{self.extra.name}"
        return FoldTask(
            goal=problem.goal,
            table=self.table,
            y=self.labels(number),
            train_rows=train,
            valid_rows=valid,
            params=job.params,
            seed=fold_seed(job.model_seed, job.repeat, number),
            fold_key=key,
            threads=job.threads,
            device=job.device,
            deadline=job.deadline,
            batch_divisor=job.batch_divisor,
            cache=self._cache,
        )


def room_for_cache() -> int:
    """Bytes of encoded and binned data that a worker keeps: five folds of 500,000 rows and 40 columns fit in 2 GiB."""
    import psutil

    limits, total = cgroup_limits(), psutil.virtual_memory().total
    ram_bytes = total if limits.ram_bytes is None else min(total, limits.ram_bytes)
    least, most = CACHE_BYTES
    return min(most, max(least, int(CACHE_SHARE * ram_bytes / (os.cpu_count() or 1))))


def fit_fold(bench: Workbench, job: Job, fold: int) -> JobResult:
    """Fit a fold and store it; a fold that is already stored is not fitted again."""
    store = bench.members.fold(job.member, job.repeat, fold)
    if store.state(verify=True) != "missing":
        record = store.fitted()
        return JobResult(job, record["seconds"], record["provisional"], facts=record["facts"])
    family = bench.family(job.family)
    if family.refits and family.stopping == "cv-curve":
        raise FoldsmithError(
            f"{family.name} refits on all rows but chooses its rounds by curves ({family.stopping}), of which a fit on "
            "all rows has none; set refits = False, or stopping to 'fixed' or 'inner'"
        )
    task = bench.fold_task(job, fold)
    began = time.perf_counter()
    fitted = family.fit_fold(task)
    _check_device(family, job, fitted)
    by_curve = family.stopping == "cv-curve"
    curve = _curve(bench.problem, fitted)
    floor = bench.problem.floor_of(job.repeat, fold)
    valid = None
    if not by_curve or not _curve_is_metric(bench.problem) or floor is not None:
        valid = _predict_valid(bench, fitted, task, floor)
    provisional = _provisional(bench.problem, curve, task, valid)
    inner_round = _inner_round(bench.problem, family, task) if by_curve and fold == 0 else None
    record = _fit_record(bench, job, fold, task, fitted, time.perf_counter() - began)
    store.save_fitted(fitted.save, curve, {**record, "provisional": provisional, "inner_round": inner_round})
    note_fit(bench.problem.folder, job)
    if by_curve:
        bench.remember(job, fold, fitted)
    else:
        assert valid is not None
        test = _predict_test(bench.problem, family, fitted, None, bench.problem.units, floor)
        store.save_done(valid, test, {"round": None})
    return JobResult(job, 0.0, provisional, facts=fitted.facts)


def finish_member(bench: Workbench, job: Job) -> JobResult:
    """Predict what waits for the other folds' curves, assemble the arrays, score them, complete the record."""
    problem, members = bench.problem, bench.members
    stores = [members.fold(job.member, job.repeat, fold) for fold in range(problem.plan.n_folds)]
    family = bench.family(job.family)
    rounds = _rounds(problem, family, stores)
    for fold, store in enumerate(stores):
        if store.state(verify=True) != "done":
            fitted = bench.recall(job, fold, store)
            task = bench.fold_task(job, fold)
            units, floor = problem.units_of(store.fitted()), problem.floor_of(job.repeat, fold)
            valid = _predict(fitted, task.table.take(task.valid_rows), rounds[fold], units, floor)
            test = _predict_test(problem, family, fitted, rounds[fold], units, floor)
            store.save_done(valid, test, {"round": rounds[fold]})
    oof = np.full((problem.data.train.n_rows, problem.goal.n_outputs), np.nan, problem.goal.dtype)
    for fold, store in enumerate(stores):
        oof[problem.plan.split(job.repeat, fold)[1]] = store.valid()
    scores = score_oof(problem.judge, oof, job.repeat)
    if not np.isfinite(scores.value):
        raise FloatingPointError(f"{problem.metric.name} is undefined for these predictions")
    member = members.get(job.member)
    if family.refits:
        test = refit(bench, job)
        stores.append(members.refit(job.member, job.repeat))
    else:
        test = mean_prediction(problem, [store.test() for store in stores])
    records = [store.fitted() for store in stores]
    details = {**member.details, "rounds": rounds, "fold_facts": [record["facts"] for record in records]}
    seconds = float(sum(record["seconds"] for record in records))
    members.finish(
        replace(member, scores=scores, seconds=seconds, details=details, versions=library_versions()),
        oof,
        test,
    )
    return JobResult(job, 0.0, scores=scores)


def refit(bench: Workbench, job: Job) -> Outputs:
    """The test rows ``(n_test, n_outputs)`` predicted by one model of all rows, which is stored beside the folds.

    What is stored already is not made again; for another test file only the prediction is.
    """
    problem, family = bench.problem, bench.family(job.family)
    store = bench.members.refit(job.member, job.repeat)
    state, test_file = store.state(verify=True), problem.data.test_fingerprint
    if state == "done" and store.done()["test_fingerprint"] == test_file:
        return store.test()
    if state == "missing":
        task = bench.refit_task(job)
        began = time.perf_counter()
        fitted = family.fit_fold(task)
        seconds = time.perf_counter() - began
        store.save_fitted(fitted.save, None, _fit_record(bench, job, "all", task, fitted, seconds))
        note_fit(problem.folder, job)
    else:
        fitted = family.load(store.path)
    floor = problem.floor_of(job.repeat, None)
    test = _predict(fitted, problem.data.test, None, problem.units_of(store.fitted()), floor)
    store.save_done(None, test, {"round": None, "test_fingerprint": test_file})
    return test


def mean_prediction(problem: Problem, predictions: Sequence[Outputs]) -> Outputs:
    """Mean over fold models ``(n_rows, n_outputs)``, taken where the families fit (in logs for RMSLE)."""
    exact = [np.asarray(prediction, np.float64) for prediction in predictions]
    if problem.goal.log1p:
        mean = np.expm1(np.mean([np.log1p(prediction) for prediction in exact], axis=0))
    else:
        mean = np.mean(exact, axis=0)
    return np.asarray(mean, problem.goal.dtype)


def library_versions() -> dict[str, str]:
    """Versions that a member's numbers depend on."""
    with _guard("looking for the versions of libraries"):
        return dict(_library_versions())
    return {}


@cache
def _library_versions() -> dict[str, str]:
    """Once a process: what is installed is read from one file per package."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("foldsmith", "numpy", "scikit-learn", "lightgbm", "xgboost", "catboost", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _rounds(problem: Problem, family: Family, stores: Sequence[FoldStore]) -> list[int | None]:
    """The round that predicts each fold, from the curves of the folds that may choose it."""
    if family.stopping != "cv-curve":
        return [None] * len(stores)
    curves = [curve for store in stores if (curve := store.curve()) is not None]
    assert len(curves) == len(stores), "a cv-curve family keeps a curve for every fold"
    earlier_only = problem.plan.is_forward
    better = problem.goal.monitor_greater_is_better
    if problem.config.search.stopping == "scored":
        return [own_best(curve, greater_is_better=better) for curve in curves]
    return [
        min(stores[0].fitted()["inner_round"], len(curves[0]))
        if earlier_only and fold == 0
        else chosen_round(curves, fold, greater_is_better=better, earlier_only=earlier_only)
        for fold in range(len(curves))
    ]


def _inner_round(problem: Problem, family: Family, task: FoldTask) -> int | None:
    """In time plans no earlier fold can advise the first one: its round comes from a split of its own train rows."""
    if not problem.plan.is_forward:
        return None
    fit_rows, stop_rows = inner_split(task.train_rows, task.seed)
    inner = replace(task, train_rows=fit_rows, valid_rows=stop_rows, fold_key=f"{task.fold_key}/inner")
    curve = family.fit_fold(inner).curve
    assert curve is not None
    return _own_best(problem, curve)


def _fit_record(
    bench: Workbench, job: Job, fold: int | str, task: FoldTask, fitted: FittedFold, seconds: float
) -> dict[str, Any]:
    return {
        "member": job.member,
        "fold": fold,
        "repeat": job.repeat,
        "seed": task.seed,
        "seconds": seconds,
        **({} if bench.problem.units is None else {"units": bench.problem.units.to_json()}),
        "facts": fitted.facts if bench.extra is None else {**fitted.facts, "extra": _extra_facts(bench, task)},
        "slot": job.slot,
        "threads": job.threads,
        "peak_bytes": bench.peak_bytes,
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _extra_facts(bench: Workbench, task: FoldTask) -> dict[str, Any]:
    """Where extra rows came from, and how many were left out because the fold validates the same row."""
    assert bench.extra is not None
    used = int((task.train_rows >= bench.problem.data.train.n_rows).sum())
    return {"rows": used, "left_out": bench.extra.table.n_rows - used, "sources": list(bench.extra.sources)}


def _predict_test(
    problem: Problem,
    family: Family,
    fitted: FittedFold,
    round: int | None,
    units: FitUnits | None,
    floor: ChanceFloor | None,
) -> Outputs | None:
    """A fold model's share in the test prediction; None where a model of all rows makes it alone."""
    return None if family.refits else _predict(fitted, problem.data.test, round, units, floor)


def _predict(
    fitted: FittedFold, table: Table, round: int | None, units: FitUnits | None, floor: ChanceFloor | None
) -> Outputs:
    prediction = model_outputs(fitted, table, round, units, floor)
    if not np.isfinite(prediction).all():
        bad = int((~np.isfinite(prediction)).any(axis=1).sum())
        raise FloatingPointError(f"{bad} of {len(prediction)} rows have no finite prediction")
    return prediction


def model_outputs(
    fitted: FittedFold,
    table: Table,
    round: int | None,
    units: FitUnits | None,
    floor: ChanceFloor | None = None,
) -> Outputs:
    """A fitted model's prediction ``(n_rows, n_outputs)`` in the units that are stored and scored.

    Args:
        units: of values that it fitted; None for classes.
        floor: of the chances of classes that its train rows lack, see :meth:`Problem.floor_of`.
    """
    raw = fitted.predict(table, round)
    if units is None:
        return lifted(raw, floor)
    return units.to_output(raw)


def _curve(problem: Problem, fitted: FittedFold) -> NDArray[np.float64] | None:
    """The learning curve in the metric's units."""
    if fitted.curve is None or problem.units is None:
        return fitted.curve
    return problem.units.to_curve(fitted.curve)


def _predict_valid(bench: Workbench, fitted: FittedFold, task: FoldTask, floor: ChanceFloor | None) -> Outputs:
    """Validation rows at the fold's own best round: good enough for a provisional score."""
    problem = bench.problem
    round = None if fitted.curve is None else _own_best(problem, fitted.curve)
    return _predict(fitted, task.table.take(task.valid_rows), round, problem.units, floor)


def _own_best(problem: Problem, curve: NDArray[np.float64]) -> int:
    return own_best(curve, greater_is_better=problem.goal.monitor_greater_is_better)


def _curve_is_metric(problem: Problem) -> bool:
    """Whether the learning curve already is the metric, so that a provisional score costs nothing."""
    names = {"auc": "auc", "log_loss": "log_loss", "rmse": "rmse", "mae": "mae", "rmsle": "rmse"}
    return names.get(problem.metric.name) == problem.goal.monitor


def _provisional(problem: Problem, curve: NDArray[np.float64] | None, task: FoldTask, valid: Outputs | None) -> float:
    if valid is None:
        assert curve is not None
        return float(curve[_own_best(problem, curve) - 1])
    judge = problem.judge
    y = judge.y[task.valid_rows]
    if not judge.needs_labels:
        return judge.metric.score(y, valid)
    return judge.metric.score(y, default_decision(judge.metric, judge.task, judge.n_classes).apply(valid))


def _check_device(family: Family, job: Job, fitted: FittedFold) -> None:
    """A library that quietly went back to the CPU would block a GPU for a slow run."""
    if job.device != "cpu" and fitted.facts.get("device", job.device) == "cpu":
        raise FoldsmithError(
            f"{family.name} trained on the CPU though the GPU was asked for; install a build of its library with CUDA "
            f"and check the driver, or keep the family off the GPU with --per-gpu {family.name}=0"
        )


def note_fit(folder: Folder, job: Job) -> None:
    """One line per fold that was really fitted, so that it can be counted afterwards that none was fitted twice."""
    with _guard("the line in fits.log"):
        folder.logs.mkdir(exist_ok=True)
        with open(folder.logs / "fits.log", "a") as file:
            file.write(f"{job.member} {job.repeat} {'all' if job.fold is None else job.fold}\n")


def _reason(error: BaseException) -> str:
    if is_gpu_oom(error):
        return "gpu_oom"
    if isinstance(error, MemoryError):
        return "oom"
    if isinstance(error, FloatingPointError):
        return "not_finite"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk_full"
    return "error"
