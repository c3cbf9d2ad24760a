"""Pseudo labels of test rows, made per fold: each fold's rows are labelled only by the model that never saw its rows.

A model that was trained on all rows has seen the labels that a fold is scored on, and hands them on through the test
rows that it labels: on 1,000 rows that flattered the cross-validated AUC by 0.035. So one label per row is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import fitted_from_json
from foldsmith.flow.submission import why_not_current
from foldsmith.problem.config import change_data
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.extra import pseudo_folder
from foldsmith.problem.files import read_json, write_array, write_json
from foldsmith.problem.goal import Outputs
from foldsmith.problem.reading import read_frame
from foldsmith.results.intake import check_plain_word
from foldsmith.results.members import Member, MemberStore


@dataclass(frozen=True)
class PseudoLabels:
    """A stored set of pseudo labels.

    Args:
        name: for ``[data] pseudo``.
        member: that made them.
        n_rows: test rows that some fold learns, and ``per_fold`` how many each.
    """

    name: str
    member: str
    n_rows: int
    per_fold: tuple[int, ...]
    min_confidence: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "per_fold": list(self.per_fold)}


def make_pseudo(
    problem: Problem, members: MemberStore, member_id: str, *, min_confidence: float = 0.9, name: str | None = None
) -> PseudoLabels:
    """Label test rows by each fold's own models of a member.

    Args:
        member_id: a trial, or a blend of trials.
        min_confidence: of classes, the chance from which a fold learns a row; values are all learned.
        name: ``p01``, ``p02``, … by default.

    Raises:
        InputError: the member keeps no predictions per fold, no row is sure enough, or the name is taken.
    """
    if not 0 <= min_confidence < 1:
        raise InputError(f"--min-confidence {min_confidence:g} is not between 0 and 1; give e.g. 0.9")
    member = members.get(member_id)
    if reason := why_not_current(problem, member):
        raise InputError(f"{member.id} cannot label test rows: {reason}")
    folds = [_of_fold(problem, members, member, fold) for fold in range(problem.plan.n_folds)]
    predictions = [*folds, np.mean(folds, axis=0)]
    labels = np.stack([_labels(problem, np.asarray(one, np.float64), min_confidence) for one in predictions])
    known = np.isfinite(labels) if labels.dtype.kind == "f" else labels >= 0
    rows = np.flatnonzero(known[:-1].any(axis=0))
    if not len(rows):
        raise InputError(f"no test row is as sure as {min_confidence:g}; lower --min-confidence")
    is_classes = problem.data.target.task != "regression"
    return _store(problem, name, member.id, rows, labels[:, rows], min_confidence if is_classes else None)


def _of_fold(problem: Problem, members: MemberStore, member: Member, fold: int) -> Outputs:
    """``(n_test, n_outputs)`` by the models that did not see this fold's validation rows."""
    if member.kind == "blend":
        fitted = fitted_from_json(member.details["model"])
        parts = {name: _of_fold(problem, members, members.get(name), fold) for name in fitted.weights}
        return fitted.predict(parts)
    path = members.fold(member.id, 0, fold).path / "test.npy"
    if not path.exists():
        raise InputError(
            f"{member.id} keeps no test predictions per fold (imports and families that are fitted on all rows do "
            "not), and a model that saw the scored fold must not label rows for it; choose another member"
        )
    return np.asarray(members.fold(member.id, 0, fold).test())


def _labels(problem: Problem, predicted: NDArray[np.float64], min_confidence: float) -> NDArray[Any]:
    """Labels of one fold, -1 where it is not sure; of a regression the values."""
    if problem.data.target.task == "regression":
        return predicted[:, 0]
    if not problem.goal.is_classification:  # ratings
        return predicted[:, 0].round().clip(0, len(problem.data.target.classes) - 1).astype(np.int32)
    chances = np.hstack([1 - predicted, predicted]) if predicted.shape[1] == 1 else predicted
    return np.where(chances.max(axis=1) >= min_confidence, chances.argmax(axis=1), -1).astype(np.int32)


def _store(
    problem: Problem,
    name: str | None,
    member: str,
    rows: NDArray[np.int64],
    labels: NDArray[Any],
    min_confidence: float | None,
) -> PseudoLabels:
    home = pseudo_folder(problem.folder, "")
    home.mkdir(parents=True, exist_ok=True)
    if name is None:
        taken = {path.name for path in home.iterdir()}
        name = next(f"p{number:02d}" for number in range(1, 1000) if f"p{number:02d}" not in taken)
    check_plain_word("name", name)
    place = pseudo_folder(problem.folder, name)
    try:
        place.mkdir()
    except FileExistsError:
        raise InputError(f"there are pseudo labels {name!r} already; choose another name") from None
    known = np.isfinite(labels) if labels.dtype.kind == "f" else labels >= 0
    made = PseudoLabels(name, member, len(rows), tuple(int(line.sum()) for line in known[:-1]), min_confidence)
    write_array(place / "rows.npy", rows)
    write_array(place / "labels.npy", labels)
    folds, test = problem.plan.hash, problem.data.test_fingerprint
    write_json(place / "meta.json", {**made.to_json(), "provenance": "per_fold", "folds": folds, "test": test})
    return made


def import_pseudo(problem: Problem, file: Path, name: str, folds_hash: str | None = None) -> PseudoLabels:
    """Take labels that were made elsewhere, a column per fold, each by a model that never saw that fold's rows.

    Args:
        file: the test ids, or rows in test's order, with columns ``fold_0``, ``fold_1``, …
        folds_hash: of the plan that they were made under, which must be ours.

    Raises:
        InputError: one label per row, a wrong number of folds or rows, or folds that nobody vouches for.
    """
    frame = read_frame(file)
    wanted = [f"fold_{fold}" for fold in range(problem.plan.n_folds)]
    if not set(wanted) <= set(frame.columns):
        raise InputError(
            f"{file} has no columns fold_0 to fold_{problem.plan.n_folds - 1}. One label per row comes from a model "
            "that has seen the rows it would be scored on, and flatters (+0.035 AUC on 1,000 rows); give a column per "
            "fold, or use 'foldsmith pseudo make'"
        )
    if folds_hash != problem.plan.hash:
        raise InputError(
            f"labels per fold are of some fold plan: name it by --folds-hash, which must be {problem.plan.hash} "
            f"(given: {folds_hash or 'nothing'})"
        )
    if len(frame) != problem.data.test.n_rows:
        raise InputError(f"{file} has {len(frame)} rows but test has {problem.data.test.n_rows}; give one per test row")
    columns = [_encoded(problem, frame[column].tolist(), file) for column in wanted]
    labels = np.stack([*columns, columns[0]])
    return _store(problem, name, file.name, np.arange(len(frame)), labels, None)


def _encoded(problem: Problem, values: Sequence[Any], file: Path) -> NDArray[Any]:
    import pandas as pd

    from foldsmith.problem.target import encode_target

    return encode_target(problem.data.target, pd.Series(values), file.name)


def use_pseudo(problem: Problem, name: str | None) -> None:
    """Let later searches learn these labels, or none."""
    if name is not None and not (pseudo_folder(problem.folder, name) / "meta.json").exists():
        raise InputError(f"no pseudo labels {name!r}; see 'foldsmith pseudo list'")
    change_data(problem.folder.config, {"pseudo": name})


def list_pseudo(problem: Problem) -> list[PseudoLabels]:
    """All stored sets."""
    found = []
    for path in sorted(pseudo_folder(problem.folder, "").glob("*/meta.json")):
        record = read_json(path)
        found.append(
            PseudoLabels(
                record["name"], record["member"], record["n_rows"], tuple(record["per_fold"]), record["min_confidence"]
            )
        )
    return found
