"""Tiny competitions, and families of a user's own that do as they are told."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.search.executors.local import LocalExecutor
from foldsmith.search.executors.ray import RayExecutor

# A file of a competition's code folder; PLAN is put before it.
FAMILY = '''

import os
import signal
import time
from pathlib import Path

import numpy as np

from foldsmith.spaces.family import Family
from foldsmith.spaces.space import Choice, Float, Space

HERE = Path(__file__).parent
LIMITS = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Constant:
    """Predicts one number, whatever the row."""

    curve = None

    def __init__(self, level):
        self.level = level
        self.facts = {"pid": os.getpid(), **{name: os.environ.get(name) for name in LIMITS}}

    def predict(self, table, round=None):
        return np.full((table.n_rows, 1), self.level, np.float32)

    def save(self, folder):
        (folder / "level.txt").write_text(repr(float(self.level)))


class Toy(Family):
    """Does what its parameter ``do`` says; the defaults are the plan, point by point."""

    name = "toy"
    prefix = "toy"

    def space(self, facts):
        return Space("toy@1", {"do": Choice(tuple(dict.fromkeys(PLAN))), "shift": Float(0.0, 0.4)})

    def defaults(self, facts):
        return [{"do": do, "shift": (number + 1) / 64} for number, do in enumerate(PLAN)]

    def fit_fold(self, task):
        what, _, fold = task.params["do"].partition(" ")  # "error 2" fails in fold 2 only
        if not fold or task.fold_key.endswith("-" + fold):
            getattr(self, what)()
        level = task.y[task.train_rows].mean() + task.params["shift"]
        return Constant(np.nan if what == "nan" else level)

    def fit(self):
        pass

    nan = fit

    def error(self):
        raise ValueError("on purpose")

    def exit(self):
        os._exit(3)

    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def wait(self):
        """Say so, and go on when the test lets it."""
        (HERE / "waits.new").write_text(str(os.getpid()))
        (HERE / "waits.new").replace(HERE / "waits")  # whoever sees it can read it
        for _ in range(60_000):
            if (HERE / "go").exists():
                return
            time.sleep(0.01)
        raise TimeoutError("nobody let it go on")

    def load(self, folder):
        return Constant(float((folder / "level.txt").read_text()))
'''


@pytest.fixture(scope="session")
def new_problem(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Problem]:
    """Sets up another binary problem of 60 rows in 3 folds, in a folder of its own."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(72, 2)).round(4), columns=["size", "weight"])
    frame["colour"] = rng.choice(["red", "green"], 72)
    frame["y"] = (frame["size"] + 0.3 * rng.normal(size=72) > 0).astype(int)
    frame.insert(0, "id", [f"{number:03d}" for number in range(72)])

    def make() -> Problem:
        root = tmp_path_factory.mktemp("comp")
        frame[:60].to_csv(root / "train.csv", index=False)
        frame[60:].drop(columns="y").to_csv(root / "test.csv", index=False)
        request = SetupRequest(root / "train.csv", root / "test.csv", "y", metric="log_loss", n_folds=3)
        init(root, request)
        return open_problem(root, freeze=True)

    return make


@pytest.fixture
def problem(new_problem: Callable[[], Problem]) -> Problem:
    """A problem of this test's own."""
    return new_problem()


@pytest.fixture(scope="session")
def write_family() -> Callable[..., str]:
    """Writes ``code/<name>.py`` with a family whose defaults do one thing of ``plan`` each; gives ``"name:Toy"``.

    ``fit``, ``nan``, ``error``, ``exit``, ``crash`` and ``wait`` (until there is a file ``code/go``); ``"error 2"`` is
    an error in fold 2 and a fit in the others.
    """

    def write(problem: Problem, *plan: str, name: str = "toys") -> str:
        problem.folder.code.mkdir(exist_ok=True)
        (problem.folder.code / f"{name}.py").write_text(f"PLAN = {plan!r}{FAMILY}")
        return f"{name}:Toy"

    return write


@pytest.fixture(scope="session")
def fits() -> Callable[[Problem], list[str]]:
    """The folds that were really fitted, one ``"member repeat fold"`` each."""

    def read(problem: Problem) -> list[str]:
        log = problem.folder.logs / "fits.log"
        return log.read_text().splitlines() if log.exists() else []

    return read


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Waits for something that another process does."""

    def wait(condition: Callable[[], object], *, seconds: float = 600.0) -> None:
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, "it never came"
            time.sleep(0.01)

    return wait


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "study.journal"


class _Kept:
    """Starts once and ends when the tests say so, not with each search: starting takes most of the time."""

    is_up = False

    def start(self) -> None:
        """The first time."""
        if not self.is_up:
            self.is_up = True
            super().start()  # type: ignore[misc]

    def shutdown(self) -> None:
        """Not yet."""

    def end(self) -> None:
        """Now."""
        super().shutdown()  # type: ignore[misc]


class _KeptLocal(_Kept, LocalExecutor):
    pass


class _KeptRay(_Kept, RayExecutor):
    pass


@pytest.fixture(scope="session")
def kept_executors() -> dict[str, Any]:
    """By name: executors that a module of tests starts once, and ends with ``end``."""
    return {"local": _KeptLocal, "ray": _KeptRay}
