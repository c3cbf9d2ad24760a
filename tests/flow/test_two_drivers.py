"""Two drivers on one study in PostgreSQL, through the command line: nothing lost, nothing done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.results.members import MemberStore
from foldsmith.search.storage import open_storage

# Folds slow enough for two drivers to be at work at once, and a short lease.
FAMILY = """
import time
from pathlib import Path
import numpy as np
from foldsmith.search import driver, leases
from foldsmith.spaces.family import Family
from foldsmith.spaces.space import Float, Space


class Fitted:
    curve = None

    def __init__(self, level):
        self.level, self.facts = level, {}

    def predict(self, table, round=None):
        return np.full((table.n_rows, 1), self.level, np.float32)

    def save(self, folder):
        (folder / "level.txt").write_text(repr(float(self.level)))


class Slow(Family):
    name = "slow"
    prefix = "slow"

    def space(self, facts):
        return Space("slow@1", {"shift": Float(0.0, 0.4)})

    def defaults(self, facts):
        return [{"shift": 0.1}, {"shift": 0.2}]

    def fit_fold(self, task):
        time.sleep(0.15)
        return Fitted(task.y[task.train_rows].mean() * (1 - task.params["shift"]))

    def load(self, folder):
        return Fitted(float((folder / "level.txt").read_text()))
"""
# A lease of a minute is right for rigs and too long for a test.
RUN = """
import sys
from foldsmith.search import driver, leases
leases.LEASE_SECONDS = driver.LEASE_SECONDS = 2.0
leases.SharedLeases.__init__.__kwdefaults__["lease_seconds"] = 2.0
driver.ADOPT_SECONDS = 0.5
from foldsmith.__main__ import main
if __name__ == "__main__":
    sys.argv = ["foldsmith", *sys.argv[1:]]
    sys.exit(main())
"""


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    """A small binary problem with the slow family."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(72, 2)).round(4), columns=["size", "weight"])
    frame["y"] = (frame["size"] > 0).astype(int)
    frame.insert(0, "id", [f"{number:03d}" for number in range(72)])
    root = tmp_path / "first"
    root.mkdir()
    frame[:60].to_csv(root / "train.csv", index=False)
    frame[60:].drop(columns="y").to_csv(root / "test.csv", index=False)
    init(root, SetupRequest(root / "train.csv", root / "test.csv", "y", metric="log_loss", n_folds=3))
    (root / "code").mkdir()
    (root / "code/slow.py").write_text(FAMILY)
    return open_problem(root, freeze=True)


@pytest.fixture
def start(tmp_path: Path, postgres_database: str) -> Callable[[Path], "subprocess.Popen[str]"]:
    """Starts a search of 10 trials in a folder."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    words = ["search", "slow:Slow", "--trials", "10", "--executor", "local", "--workers", "1"]

    def run(root: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(script), "-C", str(root), *words, "--storage", postgres_database],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return run


def trials(url: str, problem: Problem) -> list[FrozenTrial]:
    """The study's trials that were begun."""
    storage = open_storage(problem.folder.journal, url)
    study = optuna.load_study(study_name=f"{problem.contract}/slow:Slow", storage=storage)
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def states(found: list[FrozenTrial]) -> Counter[str]:
    """How many trials are in each state, or failed for each reason."""
    return Counter(trial.user_attrs.get("error", trial.state.name.lower()) for trial in found)


def n_fits(*roots: Path) -> list[str]:
    """Every fold that was fitted in some folder."""
    logs = [root / ".foldsmith/logs/fits.log" for root in dict.fromkeys(roots)]
    return [f"{log.parents[2].name} {line}" for log in logs if log.exists() for line in log.read_text().splitlines()]


def finish(process: "subprocess.Popen[str]") -> None:
    """Wait for a search that must succeed."""
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output


@pytest.mark.slow
def test_two_drivers_share_a_study(
    problem: Problem, start: Callable[[Path], "subprocess.Popen[str]"], postgres_database: str
) -> None:
    """Each in its own copy of the folder, as on two rigs."""
    second = problem.folder.root.with_name("second")
    shutil.copytree(problem.folder.root, second)
    both = [start(problem.folder.root), start(second)]
    for process in both:
        finish(process)
    found = trials(postgres_database, problem)
    assert states(found) == {"complete": 10}
    assert len({trial.params["shift"] for trial in found}) == 10
    fits = n_fits(problem.folder.root, second)
    assert len(fits) == len(set(fits)) == 30
    shares = [
        len(MemberStore(open_problem(root).folder).all(states=["complete"])) for root in (problem.folder.root, second)
    ]
    assert sum(shares) == 10 and min(shares) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("is_same_folder", [False, True], ids=["own folders", "one folder"])
def test_a_killed_drivers_trial_is_finished_by_the_other(
    problem: Problem,
    start: Callable[[Path], "subprocess.Popen[str]"],
    postgres_database: str,
    is_same_folder: bool,
) -> None:
    root = problem.folder.root
    other = root if is_same_folder else root.with_name("second")
    if not is_same_folder:
        shutil.copytree(root, other)
    victim = start(root)
    while not (root / ".foldsmith/logs/fits.log").exists():
        assert victim.poll() is None, victim.communicate()[0]
    survivor = start(other)
    while victim.poll() is None and len(n_fits(root, other)) < 5:
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    finish(survivor)
    found = trials(postgres_database, problem)
    assert states(found) == {"complete": 10}
    n_lost = len(n_fits(root, other)) - 30
    assert 0 <= n_lost <= (1 if is_same_folder else 3), "more was fitted again than was in flight"
