"""Seconds and memory of fold plans, against the splitter of scikit-learn that does the same where there is one.

    python benchmarks/folds.py --rows 10000000

Each plan is made in a process of its own, on drawn labels, 100,000 groups and random times.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

SCHEMES = (
    "plain",
    "stratified",
    "stratified by two more",
    "stratified regression",
    "group",
    "stratified_group",
    "time",
    "time, sliding",
    "purged",
    "stratified, holdout",
)
PEERS = {
    "plain": "KFold",
    "stratified": "StratifiedKFold",
    "group": "GroupKFold",
    "stratified_group": "StratifiedGroupKFold",
    "time": "TimeSeriesSplit",
}


def main() -> None:
    """Parse, time every scheme, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="100,000 rows, 1,000 groups")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.groups = 100_000, 1_000
    if options.one:
        print(json.dumps(measure(options.one, options.rows, options.groups)))
        return
    records = [in_a_process(scheme, options.rows, options.groups) for scheme in SCHEMES]
    if options.json:
        print(json.dumps(records))
        return
    print(f"{'scheme':26}{'seconds':>9}{'scikit-learn':>14}{'peak GB':>9}   {options.rows:,} rows")
    for one in records:
        peer = "-" if one["peer_seconds"] is None else f"{one['peer_seconds']:.1f}"
        print(f"{one['name']:26}{one['seconds']:>9.1f}{peer:>14}{one['peak_gb']:>9.2f}")


def in_a_process(scheme: str, n_rows: int, n_groups: int) -> dict[str, Any]:
    """Measure in a fresh process, whose peak is this scheme's."""
    words = [sys.executable, __file__, "--one", scheme, "--rows", str(n_rows), "--groups", str(n_groups)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def measure(scheme: str, n_rows: int, n_groups: int) -> dict[str, Any]:
    """Seconds of ours and of the peer, and the peak of this process before the peer ran."""
    from foldsmith.problem.fold_schemes import FoldRequest
    from foldsmith.problem.folds import FoldBasis, make_folds

    rng = np.random.default_rng(0)
    kind, _, extra = scheme.partition(",")
    name = kind.split(" ")[0]
    y: Any = rng.integers(0, 3, n_rows)
    task = "multiclass"
    more: dict[str, Any] = {}
    request: dict[str, Any] = {"scheme": name}
    if "regression" in scheme:
        y, task = rng.normal(size=n_rows), "regression"
    if "group" in scheme:
        more["groups"] = rng.integers(0, n_groups, n_rows)
        request["group"] = "g"
    if name in ("time", "purged"):
        more["times"] = rng.integers(0, 10**9, n_rows)
        request["time"] = "t"
    if "two more" in scheme:
        more["further"] = (rng.integers(0, 5, n_rows), rng.normal(size=n_rows))
        request["stratify"] = ("a", "b")
    request |= {"window": n_rows // 10} if "sliding" in extra else {"holdout": 0.1} if "holdout" in extra else {}
    began = time.perf_counter()
    make_folds(FoldRequest(**request), FoldBasis(y, task, **more))  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    peer = peer_seconds(PEERS[scheme], y, more.get("groups"), more.get("times")) if scheme in PEERS else None
    return {
        "name": scheme,
        "rows": n_rows,
        "seconds": round(seconds, 2),
        "peer_seconds": peer,
        "ratio": None if peer is None else round(peer / seconds, 2),
        "peak_gb": round(peak, 2),
    }


def peer_seconds(name: str, y: Any, groups: Any, times: Any) -> float:
    """The splitter of scikit-learn, its folds walked through."""
    from sklearn import model_selection

    made = getattr(model_selection, name)
    splitter = made(n_splits=5) if name == "TimeSeriesSplit" else made(n_splits=5, shuffle=True, random_state=0)
    began = time.perf_counter()
    rows = np.zeros((len(y), 1)) if times is None else times[np.argsort(times, kind="stable")][:, None]
    for _ in splitter.split(rows, y, groups):
        pass
    return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    main()
