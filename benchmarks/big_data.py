"""What large tables take: seconds to read, type and store them, memory of a whole search, and of a fold of each family.

    python benchmarks/big_data.py --tables long wide --seconds 150

``long`` has 500,000 rows and 40 columns, ``wide`` 50,000 rows and 370; both have numbers with gaps, categories and
dates, and a test file of a fifth of the rows. Setting up runs in a process of its own. The search runs as a command
with spawned workers; its process tree is looked at twice a second: PSS counts a page that several processes share once,
RSS in each of them. A family's peak is the most private memory that a worker had while it fitted one of its folds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

FAMILIES = ("lightgbm", "xgboost", "linear", "extra_trees", "random_forest", "knn", "mlp")
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Shape:
    """Columns of a made-up table, by kind."""

    n_rows: int
    n_numeric: int
    n_categorical: int
    n_datetime: int

    @property
    def gigabytes(self) -> float:
        """Of the typed train table: float32, int32 and int64."""
        return self.n_rows * (4 * self.n_numeric + 4 * self.n_categorical + 8 * self.n_datetime) / 1e9


SHAPES = {"long": Shape(500_000, 30, 9, 1), "wide": Shape(50_000, 350, 19, 1)}
QUICK = {"long": Shape(50_000, 30, 9, 1), "wide": Shape(5_000, 350, 19, 1)}


def main() -> None:
    """Parse, measure each table, print a record per table and per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--seconds", type=int, default=150, help="of each search")
    parser.add_argument("--trials", type=int, help="of each search, beside the time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stop-gb", type=float, default=16.0, help="a search whose tree takes more is ended")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, 40 seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--setup", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.setup:
        print(json.dumps(setup(options.setup)))
        return
    if options.quick:
        options.seconds = 40
    records = []
    for name in options.tables:
        with tempfile.TemporaryDirectory() as folder:
            records += measure(Path(folder), name, (QUICK if options.quick else SHAPES)[name], options)
    print(json.dumps(records)) if options.json else show(records)


def show(records: list[dict[str, Any]]) -> None:
    """A block per record."""
    for record in records:
        print(record["name"], *(f"  {key:<22} {value}" for key, value in record.items() if key != "name"), sep="\n")


def measure(folder: Path, name: str, shape: Shape, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make the table, set it up, search; one record for each of the two and one per family."""
    make_files(folder, shape)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--setup", str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    title = f"big data, {name}"
    records = [{"name": f"{title}, set up", "table_gb": round(shape.gigabytes, 3), **json.loads(done.stdout)}]
    began = time.perf_counter()
    words = ["search", *options.families, "--executor", "local", "--workers", str(options.workers)]
    words += ["--time-budget", f"{options.seconds}s"]
    words += [] if options.trials is None else ["--trials", str(options.trials)]
    with (folder / "search.txt").open("w") as out:
        search = subprocess.Popen(
            [sys.executable, "-m", "foldsmith", "-C", str(folder / "comp"), *words],
            stdout=out,
            stderr=out,
            env=environment,
        )
        peak = watch(search, options.stop_gb)
    families = read_members(folder / "comp")
    records.append(
        {
            "name": f"{title}, search",
            "exit": search.returncode,
            "seconds": round(time.perf_counter() - began, 1),
            "peak_pss_gb": round(peak.pss, 2),
            "peak_rss_gb": round(peak.rss, 2),
            "pss_per_table": round(peak.pss / shape.gigabytes, 1),
            "complete": sum(found["complete"] for found in families.values()),
            "stopped": peak.is_over,
        }
    )
    return records + [{"name": f"{title}, {family}", **found} for family, found in families.items()]


# --- tables --------------------------------------------------------------------------------------------------------


def make_files(folder: Path, shape: Shape) -> None:
    """``train.csv`` and ``test.csv``, the same for the same shape."""
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(0)
    for name, n_rows in (("train", shape.n_rows), ("test", shape.n_rows // 5)):
        columns: dict[str, Any] = {"id": np.arange(n_rows) + (0 if name == "train" else shape.n_rows)}
        score = np.zeros(n_rows)
        for number in range(shape.n_numeric):
            values = rng.normal(size=n_rows).round(4)
            score += values * (number < 8) / (number + 1)
            columns[f"number {number}"] = pa.array(values, mask=rng.random(n_rows) < 0.05 * (number % 3))
        for number in range(shape.n_categorical):
            n_levels = (5, 30, 200)[number % 3]
            levels = rng.integers(n_levels, size=n_rows)
            score += (levels % 3 - 1) * (number < 3) / 2
            words = pa.array([f"level {level}" for level in range(n_levels)])
            columns[f"word {number}"] = words.take(pa.array(levels))
        for number in range(shape.n_datetime):
            seconds = rng.integers(10**8, size=n_rows)
            columns[f"date {number}"] = pa.array((1.6e9 + seconds).astype("datetime64[s]"))
        if name == "train":
            columns["y"] = (score + rng.normal(size=n_rows) > 0).astype(np.int8)
        csv.write_csv(pa.table(columns), folder / f"{name}.csv")


def setup(folder: Path) -> dict[str, Any]:
    """What ``foldsmith init`` does with the files, part by part; leaves the competition folder."""
    import resource

    from foldsmith.flow import setup as flow
    from foldsmith.problem import dataset
    from foldsmith.problem.contract import open_problem

    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with timed(name):
                return function(*args, **kwargs)

        return call

    parts = {
        "read": ("read_frame", "read_words"),
        "infer": ("infer_columns", "build_schema"),
        "type": ("type_frame", "read_target"),
    }
    with ExitStack() as patches:
        for name, functions in {**parts, "save": ("save_table",), "ids": ("check_ids",)}.items():
            for function in functions:
                call = wrap(name, getattr(dataset, function))
                for module in (dataset, flow):
                    if hasattr(module, function):
                        patches.enter_context(mock.patch.object(module, function, call))
        with timed("all"):
            request = flow.SetupRequest(folder / "train.csv", folder / "test.csv", "y", id="id", metric="auc")
            flow.init(folder / "comp", request)
            open_problem(folder / "comp", freeze=True)
    csv_gb = sum((folder / name).stat().st_size for name in ("train.csv", "test.csv")) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    record = {f"{name}_seconds": round(value, 3) for name, value in seconds.items()}
    return {"csv_gb": round(csv_gb, 2), **record, "peak_rss_gb": round(peak, 2)}


# --- a search --------------------------------------------------------------------------------------------------------


@dataclass
class Peak:
    """Gigabytes of a process tree at their highest."""

    pss: float = 0.0
    rss: float = 0.0
    is_over: bool = False


def watch(search: subprocess.Popen[Any], stop_gb: float) -> Peak:
    """Look at a process tree until it ends; one that takes more than ``stop_gb`` is ended."""
    peak = Peak()
    while search.poll() is None:
        pss, rss = tree_gb(search.pid)
        peak.pss, peak.rss = max(peak.pss, pss), max(peak.rss, rss)
        if pss > stop_gb and not peak.is_over:
            peak.is_over = True
            search.kill()  # its workers follow it
        time.sleep(LOOK_SECONDS)
    return peak


def tree_gb(pid: int) -> tuple[float, float]:
    """PSS and RSS of a process and its descendants, in GB."""
    import psutil

    pss = rss = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0, 0.0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        pss += getattr(memory, "pss", memory.uss)
        rss += memory.rss
    return pss / 1e9, rss / 1e9


def read_members(root: Path) -> dict[str, dict[str, Any]]:
    """By family: members, fitted folds, seconds of a fold, and the most memory that one took."""
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore

    problem = open_problem(root)
    store = MemberStore(problem.folder)
    found: dict[str, dict[str, Any]] = {}
    for member in store.all(contract=problem.contract):
        if member.kind != "trial":
            continue
        entry = found.setdefault(
            member.family, {"complete": 0, "failed": 0, "folds": 0, "seconds": 0.0, "peak_gb": 0.0}
        )
        entry["complete"] += member.state == "complete"
        entry["failed"] += member.state == "failed"
        if member.state == "complete" and member.scores is not None:
            entry["score"] = round(max(member.scores.value, entry.get("score", 0.0)), 4)
        for fold in range(problem.plan.n_folds):
            if store.fold(member.id, 0, fold).state() != "missing":
                record = store.fold(member.id, 0, fold).fitted()
                entry["folds"] += 1
                entry["seconds"] += record["seconds"]
                entry["peak_gb"] = max(entry["peak_gb"], round(record["peak_bytes"] / 1e9, 2))
        if member.error is not None:
            entry["error"] = str(member.error)[:200]
    for entry in found.values():
        entry["fold_seconds"] = round(entry.pop("seconds") / max(1, entry["folds"]), 1)
    return found


if __name__ == "__main__":
    main()
