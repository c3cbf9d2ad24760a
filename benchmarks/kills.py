"""Kills a search at random moments, resumes it, and checks that nothing was lost, doubled or computed twice.

python benchmarks/kills.py --kills 20 --trials 40
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

FAMILIES = ("lightgbm", "linear", "knn")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--executor", default="local", choices=["local", "ray", "inline"])
    parser.add_argument("--seed", type=int, default=0, help="of the kill times")
    parser.add_argument("--longest", type=float, default=6.0, help="seconds until a kill, at most")
    parser.add_argument("--driver-only", action="store_true", help="kill the driver, not its whole process group")
    parser.add_argument("--quick", action="store_true", help="3 kills, 9 trials")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.trials = 3, 9
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
    first = [*FAMILIES, "--trials", str(options.trials), "--executor", options.executor, "--workers", "2"]
    n_killed = 0
    for number in range(options.kills):
        command = ["search", *first] if number == 0 or not (root / ".foldsmith/launch.json").exists() else ["resume"]
        n_killed += _run_and_kill(root, command, moments.uniform(0.3, options.longest), options.driver_only)
    last = _start(root, ["resume"] if (root / ".foldsmith/launch.json").exists() else ["search", *first])
    if last.wait() != 0:
        raise SystemExit("the last resume failed")
    return {
        "name": f"kills, {options.executor}",
        "kills": n_killed,
        "seconds": round(time.perf_counter() - began, 1),
        **audit(root, options.trials),
    }


def _set_up(root: Path) -> None:
    from foldsmith.flow.demo import make_demo
    from foldsmith.flow.setup import SetupRequest, init

    files = make_demo(root / "data", "wine")
    request = SetupRequest(files.train, files.test, files.target, sample=files.sample, metric=files.metric, n_folds=4)
    init(root, request)


def _start(root: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with open(root / "driver.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "foldsmith", "-C", str(root), *command],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _run_and_kill(root: Path, command: list[str], after: float, driver_only: bool) -> int:
    process = _start(root, command)
    try:
        process.wait(after)
        return 0  # it had finished already
    except subprocess.TimeoutExpired:
        (os.kill if driver_only else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        return 1


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
