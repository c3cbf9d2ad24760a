"""The engine's own cost: CPU per trial, memory of the driver, and whether it keeps many slots busy.

    python benchmarks/engine.py --quick
    python benchmarks/engine.py --parts inline busy

Every part runs in a process of its own. Trials are no-ops of five folds, through the real driver, journal and member
store, unless a part says otherwise; CPU is that of the whole process tree, once everything is warm.
"""

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _noop
import _steady
from _meter import Marks, SamplerMeter, rss_mb, tree_cpu_seconds

Records = list[dict[str, Any]]

N_PARAMS = 8


def main() -> None:
    """Parse, run each part in a process, print what it measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--quick", action="store_true", help="less of everything: about four minutes on two cores")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--within", choices=sorted(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within:
        with tempfile.TemporaryDirectory(prefix="foldsmith-bench-") as folder:
            print(json.dumps(PARTS[options.within](Path(folder), options.quick)))
        return
    records: Records = []
    for part in options.parts:
        command = [sys.executable, __file__, "--within", part, *(["--quick"] if options.quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"part {part!r} failed; see above")
        found = json.loads(done.stdout.splitlines()[-1])
        records += found
        if not options.json:
            show(found)
    if options.json:
        print(json.dumps(records))


def show(records: Records) -> None:
    """A line per record."""
    for record in records:
        aim = f"  aim {record['aim']}" if record.get("aim") else ""
        rest = "  ".join(f"{name} {value}" for name, value in record.items() if name not in ("name", "value", "aim"))
        print(f"{record['name']:<40} {record['value']:>9}{aim:<14}  {rest}", flush=True)


def record(name: str, value: float, aim: str = "", **facts: Any) -> dict[str, Any]:
    """What one measurement gave, rounded for people."""
    facts = {key: round(fact, 2) if isinstance(fact, float) else fact for key, fact in facts.items()}
    return {"name": name, "value": round(value, 3), **({"aim": aim} if aim else {}), **facts}


# --- CPU per trial -----------------------------------------------------------------------------------------------


def inline(folder: Path, quick: bool) -> Records:
    """The driver and the worker's code in one process."""
    from foldsmith.search.executors.inline import InlineExecutor

    root = make(folder / "noop")
    marks = run_warm(root, InlineExecutor(root), n=50 if quick else 200)
    return [cpu_record("inline_cpu_ms_per_trial", marks, aim="<= 10")]


def ray(folder: Path, quick: bool) -> Records:
    """Ray actors, two of them and eight."""
    found = []
    for n_workers in (2, 8):
        executor = ray_executor(root := make(folder / f"noop{n_workers}"), n_workers)
        marks = run_warm(root, executor, n=50 if quick else 200)
        name = "ray_cpu_ms_per_trial" + ("" if n_workers == 2 else f"_{n_workers}")
        found.append(cpu_record(name, marks, aim="<= 40", workers=n_workers))
    return found


def ray_executor(root: Path, n_workers: int) -> Any:
    """The executor of a real search."""
    from foldsmith.search.executors.ray import RayExecutor
    from foldsmith.search.slots import Layout

    return RayExecutor(root, Layout(n_workers))


def cpu_record(name: str, marks: Marks, aim: str, **facts: Any) -> dict[str, Any]:
    """CPU per trial, and how much of it the sampler took, which is Optuna's own and grows with the study."""
    return record(
        name,
        marks.cpu_ms_per_trial,
        aim,
        of_it_sampler_ms=marks.sampler_ms_per_trial,
        wall_ms=marks.wall_ms_per_trial,
        trials=f"{marks.n_before}-{marks.n_before + marks.n}",
        **facts,
    )


def run_warm(root: Path, executor: Any, n: int, family: str = _noop.FAMILY) -> Marks:
    """Search until each slot has done a job and ``n`` more trials have ended."""
    from foldsmith.problem.contract import open_problem
    from foldsmith.search.driver import Driver
    from foldsmith.search.options import SearchOptions
    from foldsmith.search.pace import Clock

    seen: set[str] = set()
    wait = executor.wait

    def watched_wait(timeout_seconds: float) -> Any:
        results = wait(timeout_seconds)
        seen.update(result.job.slot for result in results)
        return results

    executor.wait = watched_wait
    # Ten random trials come before the sampler's first own.
    marks = Marks(n, lambda: marks.n_before > 10 and len(seen) == len(executor.slots), lambda: driver.request_stop())
    driver = Driver(
        open_problem(root),
        SearchOptions((family,)),
        executor,
        Clock(),
        on_member=lambda member: marks.trial_ended(),
    )
    with marks.sampler.measuring():
        driver.run()
    return marks


def make(root: Path, **sizes: int) -> Path:
    """The no-op competition, made in another process: what that took must not count as the driver's memory."""
    process = multiprocessing.get_context("spawn").Process(target=_noop.make_noop, args=(root,), kwargs=sizes)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the competition could not be made")
    return root


def plain_optuna(folder: Path, quick: bool) -> Records:
    """Optuna's own loop, without folds, files or workers."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    def objective(trial: optuna.Trial) -> float:
        x = [trial.suggest_float(f"x{number}", -1, 1) for number in range(N_PARAMS)]
        for fold in range(_noop.N_FOLDS):
            trial.report(x[0] + 0.5 * x[1], fold)
        return x[0] + 0.5 * x[1]

    n = 50 if quick else 200
    sampler = SamplerMeter()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(folder / "journal"))))
    study.optimize(objective, n_trials=11)
    with sampler.measuring():
        began = tree_cpu_seconds()
        study.optimize(objective, n_trials=n)
        cpu = tree_cpu_seconds() - began
    return [record("optuna_cpu_ms_per_trial", 1000 * cpu / n, of_it_sampler_ms=1000 * sampler.seconds / n)]


def tune(folder: Path, quick: bool) -> Records:
    """Tune with its own OptunaSearch: two workers that are used again, five results per trial, the same sampler."""
    import os

    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AIR_NEW_OUTPUT="0")
    import optuna
    import ray as ray_package
    from ray import tune as ray_tune
    from ray.tune.search.optuna import OptunaSearch

    n_trials, n_warm = (24, 8) if quick else (60, 12)
    moments: list[tuple[float, float]] = []

    class Watch(ray_tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            moments.append((tree_cpu_seconds(), time.perf_counter()))

    ray_package.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal")))
    tuner = ray_tune.Tuner(
        _tune_trainable(),
        tune_config=ray_tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(_suggest, metric="score", mode="max", storage=storage),
            num_samples=n_trials,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            storage_path=str(folder / "tune"),
            verbose=0,
            callbacks=[Watch()],
            checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    tuner.fit()
    ray_package.shutdown()
    (first, began), (last, ended) = moments[n_warm - 1], moments[-1]
    n = len(moments) - n_warm
    return [record("tune_cpu_ms_per_trial", 1000 * (last - first) / n, wall_ms=1000 * (ended - began) / n, workers=2)]


def _suggest(trial: Any) -> None:
    """Tune pickles it, so that it cannot be a lambda."""
    for number in range(N_PARAMS):
        trial.suggest_float(f"x{number}", -1, 1)


def _tune_trainable() -> Any:
    """A class, made here: Ray is imported in the part that needs it."""
    from ray import tune as ray_tune

    class NoOp(ray_tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, float]) -> None:
            self.params, self.n_steps = config, 0

        def reset_config(self, new_config: dict[str, float]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            self.n_steps += 1
            score = self.params["x0"] + 0.5 * self.params["x1"]
            return {"score": score, "done": self.n_steps == _noop.N_FOLDS}

    return NoOp


# --- real folds --------------------------------------------------------------------------------------------------


def overhead(folder: Path, quick: bool) -> Records:
    """Whole processes, imports included, with one worker; see overhead.py."""
    from overhead import compare

    options = argparse.Namespace(train=None, test=None, target="y", id="id", metric="auc", trials=4, executor="inline")
    if quick:  # a table of its own, whose fits take a tenth of the time
        make(folder / "small", n_rows=5000)
        options.train, options.test = folder / "small-data/train.csv", folder / "small-data/test.csv"
    (folder / "compared").mkdir()
    facts = compare(folder / "compared", options)
    names = ("trials", "foldsmith_seconds", "plain_loop_seconds", "largest_score_gap")
    return [record("overhead_ratio", facts["ratio"], **{name: facts[name] for name in names})]


def speedup(folder: Path, quick: bool) -> Records:
    """Folds of LightGBM with one thread each: throughput of two processes over that of one."""
    from foldsmith.search.executors.local import LocalExecutor
    from foldsmith.search.slots import Layout

    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(1 if quick else 3):
        for n_workers in (1, 2):
            root = make(folder / f"{turn}-{n_workers}", n_rows=20_000)
            _steady.add_steady(root)
            executor = LocalExecutor(root, Layout(n_workers, cores=n_workers))
            marks = run_warm(root, executor, n=6 if quick else 20, family=_steady.FAMILY)
            seconds[n_workers].append(marks.wall_ms_per_trial / 1000)
    one, two = statistics.median(seconds[1]), statistics.median(seconds[2])
    return [record("speedup_2_workers", one / two, ">= 1.7", one_seconds=one, two_seconds=two, load=_load())]


def _load() -> float:
    import os

    return os.getloadavg()[0]


# --- memory ------------------------------------------------------------------------------------------------------


def rss(folder: Path, quick: bool) -> Records:
    """The driver after 2,000 trials; in a quick run it finds most of them done."""
    root = make(folder / "noop")
    n_new = 100 if quick else 2000
    add_trials(root, 2000 - n_new)
    peak = peak_rss(root, n_new)
    return [record("driver_rss_mb_2000_trials", peak, "<= 400", trials_of_this_run=n_new)]


def rss_members(folder: Path, quick: bool) -> Records:
    """The driver beside 1,000 members of 600,000 rows; their arrays are holes in sparse files."""
    n_rows, n_test = 600_000, 250_000
    root = make(folder / "noop", n_rows=n_rows, n_test=n_test)
    add_trials(root, 1000, n_rows=n_rows, n_test=n_test)
    peak = peak_rss(root, 2 if quick else 10)
    return [record("driver_rss_mb_1000_members_600k_rows", peak, "<= 400")]


def peak_rss(root: Path, n_new: int) -> float:
    """The most memory that this process had while it made ``n_new`` more trials in simulated slots."""
    from _simulated import SimulatedExecutor

    from foldsmith.problem.contract import open_problem
    from foldsmith.search.driver import Driver
    from foldsmith.search.options import SearchOptions
    from foldsmith.search.pace import Clock

    seen: list[float] = []
    driver: Driver
    left = iter(range(n_new))

    def on_member(member: str) -> None:
        seen.append(rss_mb())
        if next(left, None) is None or len(seen) == n_new:
            driver.request_stop()

    driver = Driver(
        open_problem(root),
        SearchOptions((_noop.FAMILY,)),
        SimulatedExecutor(root, 8),
        Clock(),
        on_member=on_member,
    )
    driver.run()
    return max(seen)


def add_trials(root: Path, n: int, *, n_rows: int = 0, n_test: int = 0) -> None:
    """As if ``n`` trials had been made, in another process; with ``n_rows`` the members have arrays of that size."""
    process = multiprocessing.get_context("spawn").Process(target=_add_trials, args=(root, n, n_rows, n_test))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the trials could not be made")


def _add_trials(root: Path, n: int, n_rows: int, n_test: int) -> None:
    import os

    import numpy as np
    import optuna
    from _simulated import SimulatedExecutor
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.search.driver import Driver
    from foldsmith.search.journal import open_journal
    from foldsmith.search.options import SearchOptions
    from foldsmith.search.pace import Clock

    os.fsync = lambda descriptor: None
    problem = open_problem(root)
    # A real search makes the study and its first trial; the others are copies of it.
    Driver(problem, SearchOptions((_noop.FAMILY,), 1), SimulatedExecutor(root, 1), Clock()).run()
    members = MemberStore(problem.folder)
    first = members.all()[0]
    storage = open_journal(problem.folder.journal)
    study = optuna.load_study(study_name=storage.get_all_studies()[0].study_name, storage=storage)
    model = study.trials[0]
    random = np.random.default_rng(0)
    distributions = {f"x{number}": FloatDistribution(-1.0, 1.0) for number in range(N_PARAMS)}
    for _ in range(n - 1):
        params = {name: float(random.uniform(-1, 1)) for name in distributions}
        assert first.scores is not None
        member = dataclasses.replace(first, id=members.reserve("no"), params=params)
        members.write(member)
        for name, size in (("oof", n_rows), ("test", n_test)):
            if size:
                sparse_array(members.path(member.id) / f"{name}.npy", size)
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=float(random.random()),
                params=params,
                distributions=distributions,
                user_attrs={**model.user_attrs, "member": member.id},
                system_attrs={},
                intermediate_values=model.intermediate_values,
            )
        )


def sparse_array(path: Path, n_rows: int) -> None:
    """A float32 ``.npy`` of ``(n_rows, 1)`` zeros that takes no room on the disk."""
    import numpy as np

    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * n_rows)


# --- many slots --------------------------------------------------------------------------------------------------


def busy(folder: Path, quick: bool) -> Records:
    """Slots that sleep 1-20 s per job, in one other process; jobs as short as none here would be in a real search."""
    from _simulated import SimulatedExecutor

    found = []
    for n_slots in (64, 256, 1024):
        root = make(folder / f"noop{n_slots}")
        book = _busy_book(n_slots, quick)
        watch_busy(root, SimulatedExecutor(root, n_slots, book.draw, book.check_time))
        found.append(_busy_record(f"busy_share_{n_slots}_workers", book))
    return found


def ray_sleepers(folder: Path, quick: bool) -> Records:
    """The same through Ray: 64 slots are the threads of two actors."""
    from _simulated import RaySleepers

    root = make(folder / "noop")
    book = _busy_book(64, quick)
    watch_busy(root, RaySleepers(root, 64, 2, book.draw, book.check_time))
    return [_busy_record("busy_share_64_ray_sleepers", book)]


def _busy_book(n_slots: int, quick: bool) -> Any:
    from _simulated import BusyBook

    return BusyBook(n_slots, low=1, high=20, settle_seconds=5 if quick else 20, window_seconds=15 if quick else 60)


def watch_busy(root: Path, executor: Any) -> None:
    """Search until the executor says that it is enough."""
    from _simulated import EnoughError

    from foldsmith.problem.contract import open_problem
    from foldsmith.search.driver import Driver
    from foldsmith.search.options import SearchOptions
    from foldsmith.search.pace import Clock

    with contextlib.suppress(EnoughError):
        Driver(open_problem(root), SearchOptions((_noop.FAMILY,)), executor, Clock()).run()


def _busy_record(name: str, book: Any) -> dict[str, Any]:
    facts = {"fill_seconds": book.fill_seconds, "window_seconds": book.window_seconds}
    return record(name, book.busy_share(), ">= 0.95", **facts, load=_load())


PARTS: dict[str, Callable[[Path, bool], Records]] = {
    "inline": inline,
    "ray": ray,
    "optuna": plain_optuna,
    "tune": tune,
    "overhead": overhead,
    "speedup": speedup,
    "rss": rss,
    "rss-members": rss_members,
    "busy": busy,
    "ray-sleepers": ray_sleepers,
}

if __name__ == "__main__":
    main()
