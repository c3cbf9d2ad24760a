"""Which folds the data calls for: a proposal with its reasons, written down only when somebody agrees."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldsmith.problem.audit.duplicates import row_hashes
from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.structure import ignored_groups, time_leaks
from foldsmith.problem.config import change_split, load_config
from foldsmith.problem.contract import freeze_plan, is_frozen, open_problem
from foldsmith.problem.dataset import open_dataset
from foldsmith.problem.errors import ContractError, InputError
from foldsmith.problem.files import read_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.folds import FoldPlan

MANY_TWINS = 0.02
FEW_ROWS = 1000


@dataclass(frozen=True)
class Proposal:
    """Folds that suit the data.

    Args:
        scheme: that is proposed, or that stays.
        changes: keys of [split] to write; empty when the present ones suit.
        columns: kinds of [columns] that go with them.
        reasons: in words.
        is_frozen: folds are frozen already, so the changes want a new folder.
    """

    scheme: str
    changes: dict[str, Any]
    columns: dict[str, Any]
    reasons: tuple[str, ...]
    is_frozen: bool

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "reasons": list(self.reasons)}


def propose_folds(root: Path) -> Proposal:
    """Look at the data as a check does, and say which folds it calls for. Nothing is written.

    Test rows that are later than the train rows call for folds in time; groups that test does not share with train for
    folds by group. Copies of rows and few rows are told.
    """
    problem = open_problem(root, propose=True)
    exam, split = Exam(problem), problem.config.split
    reasons: list[str] = []
    changes: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    in_time = next(time_leaks(exam), None)
    grouped = next((one for one in ignored_groups(exam) if one.severity != "info"), None)
    if in_time is not None:
        reasons.append(in_time.message)
        changes = {"scheme": "time", "time": in_time.columns[0], "n_folds": 5}
    elif grouped is not None:
        reasons.append(grouped.message)
        scheme = "stratified_group" if exam.is_classification else "group"
        changes = {"scheme": scheme, "group": grouped.columns[0]}
        columns = {grouped.columns[0]: "id"}
    hashes = row_hashes(exam.train)
    twins = 1 - len(np.unique(hashes)) / len(hashes)
    if twins > MANY_TWINS:
        reasons.append(
            f"{twins:.0%} of the rows repeat another row's features: drop them, or number them in a column to group by"
        )
    if exam.train.n_rows < FEW_ROWS and split.n_repeats == 1:
        reasons.append(
            f"{exam.train.n_rows} rows are few: compare members by 'foldsmith compare', which knows their luck, "
            "not by their order"
        )
    if not changes:
        reasons.append(f"nothing in train and test calls for other folds than {split.scheme}")
    return Proposal(changes.get("scheme", split.scheme), changes, columns, tuple(reasons), is_frozen(problem))


def accept(root: Path, proposal: Proposal) -> None:
    """Write a proposal into ``foldsmith.toml``."""
    change_split(Folder(root).config, proposal.changes, proposal.columns)


def import_folds(root: Path, file: Path) -> FoldPlan:
    """Use the folds of a file from now on, and freeze them.

    Raises:
        InputError: the file does not fit; then nothing was changed.
        ContractError: other folds are frozen for this train file.
    """
    folder = Folder(root)
    config = load_config(folder.config)
    before = folder.config.read_bytes()
    data = open_dataset(folder, config)
    pointer = folder.folds / f"{data.train_fingerprint}.json"
    if pointer.exists():
        raise ContractError(f"the folds are frozen as {read_json(pointer)['hash']}; use another folder for other folds")
    home = folder.root.resolve()
    path = file.resolve()
    name = str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
    change_split(folder.config, {"scheme": "imported", "file": name})
    try:
        return freeze_plan(folder, load_config(folder.config), data)
    except InputError:
        folder.config.write_bytes(before)
        raise
