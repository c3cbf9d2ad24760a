"""What is told of data that changed: another train file begins a new contract, another test file makes tests stale."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldsmith.problem.config import load_config
from foldsmith.problem.contract import Problem, contract_hash
from foldsmith.problem.dataset import open_dataset
from foldsmith.problem.errors import InputError
from foldsmith.problem.extra import load_extra
from foldsmith.problem.files import read_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.versions import (
    Difference,
    Version,
    changed_train,
    compare_versions,
    earlier_test,
    find_version,
    known_versions,
)
from foldsmith.results.members import MemberStore


@dataclass(frozen=True)
class SeenVersion:
    """A version with what belongs to it.

    Args:
        is_current: whether the file is this one now.
        members: complete members: of a train version's contracts, or with predictions of a test version.
    """

    version: Version
    is_current: bool
    members: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self.version), "is_current": self.is_current, "members": self.members}


def seen_versions(root: Path) -> list[SeenVersion]:
    """Every train and test table that was parsed here, the oldest first."""
    folder = Folder(root)
    config = load_config(folder.config)
    data = open_dataset(folder, config)
    members = MemberStore(folder).all(states=["complete"])
    seen = []
    for version in known_versions(folder):
        if version.kind == "test":
            count = sum(member.test_fingerprint == version.fingerprint for member in members)
        else:
            pointer = folder.folds / f"{version.fingerprint}.json"
            plan = read_json(pointer)["hash"] if pointer.exists() else ""
            contract = contract_hash(folder, config, version.fingerprint, plan)
            count = sum(member.contract == contract for member in members)
        current = version.fingerprint in (data.train_fingerprint, data.test_fingerprint)
        seen.append(SeenVersion(version, current, count))
    return seen


def data_difference(root: Path, old: str = "", new: str = "") -> Difference:
    """How two versions differ: by default the present train file and the one before it, else the test files.

    Raises:
        InputError: nothing has changed, or a train and a test table are compared.
    """
    folder = Folder(root)
    data = open_dataset(folder, load_config(folder.config))
    if not old:
        trains = [one.fingerprint for one in known_versions(folder) if one.kind == "train"]
        others = [name for name in trains if name != data.train_fingerprint]
        if others:
            return compare_versions(folder, others[-1], data.train_fingerprint)
        before = earlier_test(folder, data.test_fingerprint)
        if before is None:
            raise InputError("the data has not changed since it was first read: there is one version of each file")
        return compare_versions(folder, before, data.test_fingerprint)
    first = find_version(folder, old)
    present = data.train_fingerprint if first.kind == "train" else data.test_fingerprint
    second = find_version(folder, new or present)
    if first.kind != second.kind:
        raise InputError(f"{first.fingerprint} is a {first.kind} table and {second.fingerprint} a {second.kind} table")
    return compare_versions(folder, first.fingerprint, second.fingerprint)


def extra_remarks(problem: Problem) -> tuple[str, ...]:
    """What is to be told of the tables of more rows, one sentence each."""
    if not problem.config.data.extra:
        return ()
    rows = load_extra(problem)
    return () if rows is None else rows.remarks


def changed_test_remarks(root: Path) -> tuple[str, ...]:
    """What is to be told of a test file that is not the first one here, one sentence each."""
    folder = Folder(root)
    data = open_dataset(folder, load_config(folder.config))
    if earlier_test(folder, data.test_fingerprint) is None:
        return ()
    return data.remarks


def train_change(root: Path) -> str | None:
    """A line about a train file that changed since folds were frozen, None if it did not; reads the new file."""
    folder = Folder(root)
    config = load_config(folder.config)
    data = open_dataset(folder, config)
    earlier = changed_train(folder, data.train_fingerprint)
    if not earlier:
        return None
    found = compare_versions(folder, earlier[0], data.train_fingerprint)
    count = sum(member.kind != "blend" for member in MemberStore(folder).all(states=["complete"]))
    return (
        f"{data.paths[0].name} has changed: {found.summary}; a new contract begins, the {count} members of earlier "
        "ones stay beside it (foldsmith data diff)"
    )
