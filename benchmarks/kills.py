"""Kills a search at random moments, resumes it, and checks that nothing was lost or doubled.

    python benchmarks/kills.py --kills 20 --trials 40
    python benchmarks/kills.py --executor ray --kills 50 --trials 200 --kinds driver,actor,raylet,everything

What may be computed again are the folds that ran at a kill, and nothing else: the families note each fold that begins.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

FAMILIES = ("noted:LightGBM", "noted:Linear", "noted:KNN")
KINDS = ("driver", "actor", "raylet", "everything")
GONE_SECONDS = 60.0  # until the workers of what was killed must be gone

# The usual families; each fold that begins is a line of JSON: process, family, parameters, fold.
CODE = """
import json
import os
import time
from pathlib import Path

from foldsmith.spaces import knn, lightgbm, linear

STARTS = Path(__file__).resolve().parents[1] / ".foldsmith" / "starts.log"


class Noted:
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.name = f"noted:{cls.__name__}"

    def fit_fold(self, task):
        line = json.dumps([os.getpid(), self.name, dict(task.params), int(task.fold_key.rsplit("-", 1)[1])])
        with open(STARTS, "a") as file:
            file.write(line + "\\n")
        time.sleep(0.5)
        return super().fit_fold(task)


class LightGBM(Noted, lightgbm.LightGBM):
    pass


class Linear(Noted, linear.Linear):
    pass


class KNN(Noted, knn.KNN):
    pass
"""


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--executor", default="local", choices=["local", "ray", "inline"])
    parser.add_argument("--seed", type=int, default=0, help="of the kill times")
    parser.add_argument("--longest", type=float, default=6.0, help="seconds until a kill, at most")
    parser.add_argument("--kinds", default="driver,everything", help=f"some of {','.join(KINDS)}")
    parser.add_argument("--quick", action="store_true", help="3 kills, 9 trials")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.trials = 3, 9
    options.kinds = options.kinds.split(",")
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown kinds {sorted(unknown)}; known are {', '.join(KINDS)}")
    if "raylet" in options.kinds and options.executor != "ray":
        parser.error("only --executor ray has a raylet")
    with tempfile.TemporaryDirectory() as folder:
        record = torture(Path(folder) / "study", options)
    if options.json:
        print(json.dumps([record]))
    else:
        for name, value in record.items():
            print(f"{name:<28} {value}")
    sys.exit(1 if record["faults"] else 0)


def torture(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill, resume, and at last let it finish; returns what was counted."""
    _set_up(root)
    moments = random.Random(options.seed)
    began = time.perf_counter()
    first = ["search", *FAMILIES, "--trials", str(options.trials), "--executor", options.executor, "--workers", "2"]
    killed: Counter[str] = Counter()
    in_flight = 0
    spared: set[str] = set()
    process = None
    kinds = [options.kinds[number % len(options.kinds)] for number in range(options.kills)]
    moments.shuffle(kinds)
    for kind in kinds:
        if process is None or process.poll() is not None:
            process = _start(root, ["resume"] if (root / ".foldsmith/launch.json").exists() else first)
        if not _wait_for_moment(root, process, kind, moments, options.longest):
            break  # it has finished already
        in_flight += _kill(root, process, kind, spared)
        killed[kind] += 1
    if process is None or process.poll() is not None:
        process = _start(root, ["resume"] if (root / ".foldsmith/launch.json").exists() else first)
    if process.wait() != 0:
        raise SystemExit(f"the last resume failed:\n{(root / 'driver.log').read_text()[-3000:]}")
    record = {
        "name": f"kills, {options.executor}",
        "kills": killed.total(),
        **{f"kills_of_{kind}": n for kind, n in sorted(killed.items())},
        "seconds": round(time.perf_counter() - began, 1),
        **audit(root, options.trials),
        "folds_in_flight": in_flight,
    }
    starts = _starts(root)
    record["folds_recomputed"] = len(starts) - len({_what(start) for start in starts})
    if record["folds_recomputed"] != in_flight:
        record["faults"].append(f"{record['folds_recomputed']} folds begun again, but {in_flight} ran at the kills")
    return record


def _wait_for_moment(
    root: Path, process: "subprocess.Popen[bytes]", kind: str, moments: random.Random, longest: float
) -> bool:
    """Wait for a random moment; False when the search ended before.

    Most kills come while folds run; some of a driver come at any time from its first second on.
    """
    n_before, until = len(_starts(root)), time.monotonic() + 120
    if kind in ("actor", "raylet") or moments.random() < 0.75:
        while len(_starts(root)) == n_before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    try:
        process.wait(moments.uniform(0.3, longest))
    except subprocess.TimeoutExpired:
        return True
    return process.returncode != 0


def _kill(root: Path, process: "subprocess.Popen[bytes]", kind: str, spared: set[str]) -> int:
    """Kill what ``kind`` says; returns how many folds ran in it, and so were lost.

    Args:
        spared: folds whose worker was killed once already: a second time would fail their trial, as it should.
    """
    import psutil

    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    last = {start[0]: start for start in _starts(root)}
    workers = [child for child in tree if child.pid in last]
    if kind == "actor":
        workers = [worker for worker in workers if _what(last[worker.pid]) not in spared][-1:]
        spared.update(_what(last[worker.pid]) for worker in workers)
        victims = workers
    elif kind == "raylet":
        victims = [child for child in tree if child.name() == "raylet"]
    else:
        victims = [psutil.Process(process.pid), *(tree if kind == "everything" else [])]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    if kind in ("driver", "everything"):
        process.wait()
    _, left = psutil.wait_procs(workers, GONE_SECONDS)
    if left:
        raise SystemExit(f"workers {[worker.pid for worker in left]} outlived their {kind} by {GONE_SECONDS:.0f} s")
    last = {start[0]: start for start in _starts(root)}
    if kind == "actor":
        spared.update(_what(last[worker.pid]) for worker in workers)  # it may have gone on to another fold
    return sum(not _is_fitted(root, last[worker.pid]) for worker in workers)


def _starts(root: Path) -> list[list[Any]]:
    """Folds that began: process, family, parameters, fold. A kill may tear a line, which is then no start."""
    path = root / ".foldsmith" / "starts.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("]")]


def _what(start: list[Any]) -> str:
    """The fold, whichever process began it."""
    return json.dumps(start[1:], sort_keys=True)


def _is_fitted(root: Path, start: list[Any]) -> bool:
    from foldsmith.problem.folder import Folder
    from foldsmith.results.members import MemberStore

    _, family, params, fold = start
    members = MemberStore(Folder(root))
    found = [member for member in members.all() if (member.family, member.params) == (family, params)]
    return any(members.fold(member.id, 0, fold).state() != "missing" for member in found)


def _set_up(root: Path) -> None:
    from foldsmith.flow.demo import make_demo
    from foldsmith.flow.setup import SetupRequest, init

    files = make_demo(root / "data", "wine")
    request = SetupRequest(files.train, files.test, files.target, sample=files.sample, metric=files.metric, n_folds=4)
    init(root, request)
    (root / "code").mkdir(exist_ok=True)
    (root / "code" / "noted.py").write_text(CODE)


def _start(root: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with open(root / "driver.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "foldsmith", "-C", str(root), *command],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def audit(root: Path, n_trials: int) -> dict[str, Any]:
    """Count trials, parameter sets, folds and hashes; ``faults`` lists everything that is wrong."""
    from optuna.trial import TrialState

    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.search.journal import open_journal
    from foldsmith.search.sampling import point_key
    from foldsmith.search.studies import counts

    problem = open_problem(root)
    members = MemberStore(problem.folder)
    storage = open_journal(problem.folder.journal)
    trials = [
        (study.study_name, trial)
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
    ]
    counted = [(name, trial) for name, trial in trials if counts(trial)]
    points = Counter(
        (name, point_key(trial.params)) for name, trial in counted if "duplicate_of" not in trial.user_attrs
    )
    fits = Counter((problem.folder.logs / "fits.log").read_text().splitlines())
    complete = members.all(contract=problem.contract, states=["complete"])
    folds = [members.fold(member.id, 0, fold) for member in complete for fold in range(problem.plan.n_folds)]
    told = {trial.user_attrs["member"] for _, trial in counted if "member" in trial.user_attrs}
    faults = []
    if len(counted) != n_trials:
        faults.append(f"{len(counted)} trials count, not {n_trials}")
    if running := [trial.number for _, trial in trials if trial.state == TrialState.RUNNING]:
        faults.append(f"trials left RUNNING: {running}")
    if doubled := [point for point, times in points.items() if times > 1]:
        faults.append(f"parameter sets evaluated twice: {doubled}")
    if twice := [line for line, times in fits.items() if times > 1]:
        faults.append(f"folds computed twice: {twice}")
    if harmed := [str(fold.path) for fold in folds if fold.state(verify=True) != "done"]:
        faults.append(f"folds with a wrong hash: {harmed}")
    if told != {member.id for member in complete}:
        faults.append(f"members and trials differ: {told ^ {member.id for member in complete}}")
    return {
        "counted_trials": len(counted),
        "lost_asks": sum(trial.user_attrs.get("error") == "lost_ask" for _, trial in trials),
        "members": len(complete),
        "folds_fitted": len(fits),
        "faults": faults,
    }


if __name__ == "__main__":
    main()
