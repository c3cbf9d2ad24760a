"""``status`` and ``watch`` while the files of a running search change under its hands."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from foldsmith.flow.searched import open_searched
from foldsmith.flow.status import status
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError

Foldsmith = Callable[..., Any]


@pytest.fixture
def searching(make_problem: Callable[..., Problem], slow_family: str) -> Iterator[tuple[Problem, int]]:
    """A search whose second fold waits for a file ``go``, and its process."""
    problem = make_problem(metric="log_loss")
    problem.folder.code.mkdir()
    (problem.folder.code / "mine.py").write_text(slow_family)
    words = ["search", "mine:Slow", "--trials", "2", "--executor", "local", "--workers", "1"]
    with open(problem.folder.root / "driver.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "foldsmith", "-C", str(problem.folder.root), *words], stdout=log, stderr=log
        )
    while not (problem.folder.code / "waits").exists():
        assert process.poll() is None, "it ended"
        time.sleep(0.02)
    yield problem, process.pid
    (problem.folder.code / "go").touch()
    process.kill()
    process.wait()


def _a_row_less(path: Path) -> None:
    pd.read_csv(path, dtype=str).iloc[:-1].to_csv(path, index=False)


def _half_written(path: Path) -> None:
    path.write_text(path.read_text()[:200] + '\n"')


@pytest.mark.parametrize("change", [_a_row_less, _half_written, Path.unlink])
@pytest.mark.parametrize("which", [0, 1])
def test_the_running_driver_is_shown(
    searching: tuple[Problem, int], foldsmith: Foldsmith, which: int, change: Callable[[Path], None]
) -> None:
    problem, driver = searching
    change(path := problem.data.paths[which])
    found = status(problem.folder.root)
    assert (found.driver, found.phase, found.contract) == (driver, "searching", problem.contract)
    outcome = foldsmith("-C", problem.folder.root, "status")
    assert outcome.code == 0 and f"process {driver} is searching" in outcome.out
    assert "no folds are frozen" not in outcome.out + outcome.err and "1 running" in outcome.out
    if which == 0 or change is not _a_row_less:
        assert path.name in found.note and "the search goes on with the file as it was" in found.note
        assert "note" in outcome.out


def test_after_the_search(searching: tuple[Problem, int]) -> None:
    problem, _ = searching
    (problem.folder.code / "go").touch()
    while status(problem.folder.root).driver is not None:
        time.sleep(0.05)
    _a_row_less(problem.data.paths[0])
    found = status(problem.folder.root)
    assert found.driver is None and found.contract == problem.contract
    assert found.note == "train.csv has changed since; this is what was found under the file as it was"


def test_nothing_was_searched_yet(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem()
    assert open_searched(problem.folder.root).note == ""
    _a_row_less(problem.data.paths[0])
    with pytest.raises(InputError, match="no folds are frozen"):
        open_searched(problem.folder.root)
