"""A bank: predictions of many members in one folder, for notebooks (NumPy and pandas) and other competition folders.

meta.json                  metric, task, classes, members with scores and params
ids_train.npy, ids_test.npy
folds.csv                  id, fold; -1 for rows that no fold validates
y.npy                      only when asked for: class codes or values
members/<id>/oof.npy, test.npy     (n_rows, n_outputs), (n_test, n_outputs), float32 probabilities or float64 values;
                                   NaN where no fold covers the row
"""

import re
import shutil
import uuid
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.flow.oof import Examiner, Foreign, Matched, take_in
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import file_digest, read_json, sync, write_array, write_bytes, write_json
from foldsmith.problem.fold_import import read_assignment
from foldsmith.problem.goal import Outputs
from foldsmith.problem.prediction_file import read_npy
from foldsmith.problem.row_key import RowKey
from foldsmith.results.external import PREFIX, FoldMark, foreign_folds
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import sound, why_damaged

KIND = "foldsmith oof bank"

# --- export ----------------------------------------------------------------------------------------------------------


def export_bank(
    problem: Problem, members: MemberStore, folder: Path, names: Sequence[str] = (), *, with_target: bool = False
) -> list[Member]:
    """Write a bank of complete members into a new folder; the folder appears when all of it is written.

    Args:
        folder: must not exist, or be empty.
        names: all complete members of this problem by default.
        with_target: also write the labels.

    Returns:
        The members that were written.

    Raises:
        UnknownNameError: a name is no member.
        InputError: the folder is not empty, there is no member, or one is not complete or of another problem.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; name a new folder")
    chosen = _chosen(problem, members, names)
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _write_bank(problem, members, chosen, unfinished, with_target)
        unfinished.rename(place)
        sync(place.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return chosen


def _chosen(problem: Problem, members: MemberStore, names: Sequence[str]) -> list[Member]:
    if not names:
        chosen = sound(problem, members, members.all(contract=problem.contract, states=["complete"]))
        if not chosen:
            raise InputError("there is no complete member to export yet; run 'foldsmith search' first")
        return chosen
    chosen = [members.get(name) for name in dict.fromkeys(names)]
    for member in chosen:
        if member.state != "complete":
            raise InputError(f"{member.id} cannot be exported: it is {member.state}; leave it out")
        if member.contract != problem.contract:
            raise InputError(
                f"{member.id} cannot be exported: it was made for another train file, metric or fold plan; leave it out"
            )
        if reason := why_damaged(problem, members, member):
            raise InputError(f"{member.id} cannot be exported: {reason}")
    return chosen


def _write_bank(problem: Problem, members: MemberStore, chosen: Sequence[Member], folder: Path, y: bool) -> None:
    data = problem.data
    (folder / "members").mkdir(parents=True)
    ids = _id_array(data.train_ids)
    write_array(folder / "ids_train.npy", ids)
    write_array(folder / "ids_test.npy", _id_array(data.test_ids))
    folds = np.where(problem.plan.coverage(0), problem.plan.valid_fold[0], -1)
    write_bytes(folder / "folds.csv", pd.DataFrame({"id": ids, "fold": folds}).to_csv(index=False).encode())
    if y:
        write_array(folder / "y.npy", data.y)
    for member in chosen:
        (folder / "members" / member.id).mkdir()
        write_array(folder / "members" / member.id / "oof.npy", members.oof(member.id))
        if _has_test(problem, member):
            write_array(folder / "members" / member.id / "test.npy", members.test(member.id))
    write_json(
        folder / "meta.json",
        {
            "kind": KIND,
            "metric": problem.metric.name,
            "greater_is_better": problem.metric.greater_is_better,
            "task": data.target.task,
            "target": data.target.name,
            "classes": list(data.target.classes),
            "outputs": problem.outputs,
            "id_column": data.id_column,
            "n_rows": data.train.n_rows,
            "n_test": data.test.n_rows,
            "contract": problem.contract,
            "fold_hash": problem.plan.hash,
            "members": [_record(problem, member) for member in chosen],
        },
    )


def _id_array(ids: Sequence[str]) -> NDArray[Any]:
    """Whole numbers as int64, so that a notebook can join them with its own table; other ids as fixed-width text."""
    texts = np.array(ids, dtype=np.str_)
    try:
        numbers = texts.astype(np.int64)
    except (ValueError, OverflowError):
        return texts
    return numbers if (numbers.astype(texts.dtype) == texts).all() else texts


def _has_test(problem: Problem, member: Member) -> bool:
    return member.test_fingerprint == problem.data.test_fingerprint


def _record(problem: Problem, member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "kind": member.kind,
        "family": member.family,
        "policy": member.policy,
        "params": member.params,
        "scores": None if member.scores is None else member.scores.to_json(),
        "folds": foreign_folds(member) or "identical",
        "has_test": _has_test(problem, member),
    }


# --- import ----------------------------------------------------------------------------------------------------------


def import_bank(problem: Problem, folder: Path, prefix: str = "") -> list[Member]:
    """Take in all members of a bank as ``ext-ID``, or ``ext-PREFIX-ID``; all of them, or none.

    Rows are matched by id, whatever their order there; classes by their names.

    Raises:
        InputError: it is no bank, or of other rows, classes or labels; or what is wrong with each refused member.
    """
    bank = Bank(Examiner(problem), folder)
    start = f"{prefix}-" if prefix else ""
    named = [(start + record["id"].removeprefix(PREFIX), record) for record in bank.records]
    return take_in(bank.examiner, [(name, partial(bank.read, name, record)) for name, record in named])


class Bank:
    """A bank's folder seen from a problem: which of its rows and columns go where."""

    def __init__(self, examiner: Examiner, folder: Path) -> None:
        self.examiner = examiner
        self._folder = folder
        self._meta = _read_meta(folder)
        self._check_outputs()
        self._check_labels()

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the bank says of its members."""
        return list(self._meta["members"])

    def read(self, name: str, record: dict[str, Any]) -> Foreign:
        """One member in the problem's rows and outputs."""
        form, place = self.examiner.form, self._folder / "members" / record["id"]
        oof = self._outputs(place / "oof.npy", self.examiner.train, self._train_rows)
        test = self._outputs(place / "test.npy", self.examiner.test, self._test_rows) if record["has_test"] else None
        scores = record["scores"] if self._meta["metric"] == self.examiner.problem.metric.name else None
        return Foreign(
            name,
            str(place),
            oof,
            test,
            self._folds if record["folds"] == "identical" else record["folds"],
            self._matched,
            form.classes,
            True,
            None if scores is None else scores["value"],
            {"oof": {"file": f"{self._folder.name}/{record['id']}", "hash": file_digest(place / "oof.npy")}},
            origin={**record, "metric": self._meta["metric"], "contract": self._meta["contract"]},
        )

    def _outputs(self, path: Path, rows: RowKey, places: NDArray[np.int64]) -> Outputs:
        values = read_npy(path)
        n_rows, n_columns = self._shape_of(rows)
        if values.dtype.kind != "f" or values.shape != (n_rows, n_columns):
            raise InputError(
                f"{path} holds {values.dtype} numbers of shape {values.shape}, but meta.json says "
                f"({n_rows}, {n_columns}); the bank is damaged, export it again"
            )
        return self.examiner.form.outputs(self._in_class_order(values[places]), str(path), rows.needed)

    def _shape_of(self, rows: RowKey) -> tuple[int, int]:
        return self._meta["n_rows" if rows is self.examiner.train else "n_test"], len(self._meta["outputs"])

    def _in_class_order(self, values: NDArray[Any]) -> NDArray[Any]:
        ours, theirs = self.examiner.form.classes, self._meta["classes"]
        if not ours or list(ours) == theirs:
            return values
        return 1 - values if len(ours) == 2 else values[:, [theirs.index(name) for name in ours]]

    @cached_property
    def _matched(self) -> Matched:
        is_by_id = self.examiner.problem.data.id_column is not None and self._meta["id_column"] is not None
        return "id" if is_by_id else "order"

    @cached_property
    def _train_rows(self) -> NDArray[np.int64]:
        return self._rows("ids_train.npy", self.examiner.train)

    @cached_property
    def _test_rows(self) -> NDArray[np.int64]:
        return self._rows("ids_test.npy", self.examiner.test)

    def _rows(self, name: str, rows: RowKey) -> NDArray[np.int64]:
        """For each row of the problem's table its row in the bank."""
        if self._matched == "order":
            return rows.by_order(self._shape_of(rows)[0], str(self._folder))
        ids = self._array(name, rows)
        return rows.by_id(pd.Series(_texts(ids), dtype=object), str(self._folder / name))

    def _array(self, name: str, rows: RowKey) -> NDArray[Any]:
        """One value per row of the bank."""
        array = read_npy(self._folder / name)
        if array.shape != self._shape_of(rows)[:1]:
            raise InputError(f"{self._folder / name} has not one value per row; the bank is damaged, export it again")
        return array

    @cached_property
    def _folds(self) -> FoldMark:
        ids = _texts(self._array("ids_train.npy", self.examiner.train))
        assigned = read_assignment(self._folder / "folds.csv", ids, "id")
        return self.examiner.compare_folds(np.where(self._train_rows >= 0, assigned[self._train_rows], -1))

    def _check_outputs(self) -> None:
        form, target = self.examiner.form, self.examiner.problem.data.target
        theirs = [output["class"] for output in self._meta["outputs"]]
        is_value = theirs == [None]
        if is_value != (form.kind == "regression") or set(self._meta["classes"]) != set(target.classes):
            raise InputError(
                f"{self._folder} predicts {_said(self._meta['classes'], is_value)}, but this problem wants "
                f"{_said(target.classes, form.kind == 'regression')}; it is a bank of another problem"
            )
        if is_value and self._meta["classes"] != list(target.classes):
            raise InputError(f"{self._folder} numbers the classes in another order than this problem; export it anew")

    def _check_labels(self) -> None:
        """Where the bank has labels they must be ours."""
        path = self._folder / "y.npy"
        if not path.exists():
            return
        places, y = self._train_rows, self.examiner.problem.data.y
        theirs = self._array("y.npy", self.examiner.train)[places]
        classes = self._meta["classes"]
        if classes:
            theirs = np.array([self.examiner.problem.data.target.classes.index(name) for name in classes])[theirs]
        differ = (theirs != y) & (places >= 0)
        if differ.any():
            raise InputError(
                f"{path}: {differ.sum():,} of {len(y):,} labels differ from this problem's; "
                "it is a bank of another table"
            )


def _read_meta(folder: Path) -> dict[str, Any]:
    """The bank's record, as far as it must be relied on.

    Raises:
        InputError: it is no bank, or lacks something.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder} is no bank (it has no meta.json); name a folder that 'foldsmith oof export' wrote")
    meta = read_json(path)
    wanted = {"kind", "metric", "classes", "outputs", "id_column", "n_rows", "n_test", "contract", "members"}
    if meta.get("kind") != KIND or not wanted <= meta.keys():
        raise InputError(f"{path} is not of a bank; name a folder that 'foldsmith oof export' wrote")
    for record in meta["members"]:
        is_whole = {"id", "folds", "has_test", "scores"} <= record.keys()
        if not is_whole or not re.fullmatch(r"[A-Za-z0-9_-]+", record["id"]):
            raise InputError(f"{path} has a member without a proper record: {str(record)[:80]}; export the bank again")
    return meta


def _texts(ids: NDArray[Any]) -> list[str]:
    return [str(value) for value in ids.tolist()]


def _said(classes: Sequence[str], is_value: bool) -> str:
    what = "a value" if is_value else "chances"
    return f"{what} of the classes {', '.join(classes)}" if classes else what
