"""The problem that is searched here, also when the train file has changed since, or can no longer be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.flow.heartbeat import driven_seats
from foldsmith.problem.config import Config, load_config
from foldsmith.problem.contract import Problem, config_metric, open_problem
from foldsmith.problem.dataset import Dataset, test_id_of
from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.files import read_array, read_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.folds import FoldPlan
from foldsmith.problem.tables import Table, Target


@dataclass(frozen=True)
class Searched:
    """A problem as the last search sees it.

    Args:
        note: what has changed since; empty when nothing has.
    """

    problem: Problem
    note: str = ""


def open_searched(root: Path) -> Searched:
    """Open what the running or last search works on, from its own tables if the files are others by now.

    Raises:
        FoldsmithError: what :func:`open_problem` says of a folder where nothing was searched.
    """
    folder = Folder(root)
    try:
        problem = open_problem(root)
    except FoldsmithError as error:
        has_changed = "no folds are frozen" in str(error)
        earlier = _earlier(folder) if has_changed or driven_seats(folder) else None
        if earlier is None:
            raise
        return Searched(earlier, _note(folder, str(error), earlier))
    return Searched(problem)


def _note(folder: Folder, reason: str, earlier: Problem) -> str:
    name = earlier.data.paths[0].name
    if "no folds are frozen" in reason:
        reason = f"{name} has changed since"
    if driven_seats(folder):
        return f"{reason}; the search goes on with the file as it was, the next one begins a new contract"
    return f"{reason}; this is what was found under the file as it was"


def _earlier(folder: Folder) -> Problem | None:
    """The problem of the last launch, from the tables and folds that are stored; None where they are not."""
    try:
        config = load_config(folder.config)
        seats = driven_seats(folder)
        launch = (seats[0][0] if seats else folder).launch
        record: dict[str, Any] = read_json(launch)
        name, test_name = record["train_fingerprint"], record["test_fingerprint"]
        plan = FoldPlan.load(folder.folds / f"{read_json(folder.folds / f'{name}.json')['hash']}.parquet")
        data = _stored(folder, config, name, test_name)
        return Problem(folder, config, data, config_metric(folder, config), plan)
    except (FoldsmithError, OSError, KeyError, TypeError, ValueError):
        return None


def _stored(folder: Folder, config: Config, train: str, test: str) -> Dataset:
    return Dataset(
        Table.open(folder.tables / train),
        Table.open(folder.tables / test),
        Target.from_json(read_json(folder.tables / f"{train}.target.json")),
        np.asarray(read_array(folder.tables / f"{train}.y.npy")),
        train,
        test,
        (folder.resolve(config.data.train), folder.resolve(config.data.test)),
        config.data.id,
        test_id_of(config.data),
    )
