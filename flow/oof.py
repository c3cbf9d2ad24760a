"""Foreign predictions: read, put into the problem's rows and classes, checked, scored here, and kept as members."""

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith import __version__
from foldsmith.problem.association import Association, associate
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import file_digest
from foldsmith.problem.fold_import import is_same_partition, read_assignment
from foldsmith.problem.goal import Outputs
from foldsmith.problem.outputs import OutputForm
from foldsmith.problem.prediction_file import PredictionFile, read_npy, read_predictions
from foldsmith.problem.row_key import RowKey
from foldsmith.problem.scoring import Scores, score_oof, score_values
from foldsmith.results.external import FAMILY, PREFIX, ExternalRow, FoldMark, external_row
from foldsmith.results.intake import check_plain_word, intake
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.submissions import constant_prediction

# Standard deviations from what shuffled rows give: one shuffled file in 700 looks less shuffled than this.
SHUFFLED_Z = 3.0
# A score may differ from the claimed one by its standard error, or this part of the way to the constant prediction.
CLAIM_TOLERANCE = 0.03
# Classes are taken as permuted when that explains so much of the way from the constant prediction.
PERMUTED_GAIN = 0.25
MAX_REFUSALS = 5

Matched = Literal["id", "order"]


@dataclass(frozen=True)
class OofSource:
    """The files of one foreign prediction, or of several: see :func:`expand`.

    Args:
        name: the member becomes ``ext-NAME``.
        oof, test: csv, parquet or npy; without ``test`` the member is for analysis only.
        folds: a fold per row of train; a column ``fold`` of ``oof`` says the same.
        claimed: the score that was said to be reached.
        columns: of both files, in the order of the classes; npy columns are numbered from 0.
    """

    name: str
    oof: Path
    test: Path | None = None
    folds: Path | None = None
    claimed: float | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Foreign:
    """A foreign prediction in this problem's rows and outputs, not yet judged.

    Args:
        where: the file or folder, for messages.
        oof, test: ``(n_rows, n_outputs)``, ``(n_test, n_outputs)`` as members are stored; NaN where no fold covers.
        columns: what the columns were called, in the order in which they are taken.
        by_name: those names, or the user, tell the classes.
        source: file names and digests.
        notes: for people, to be kept with the warnings.
        origin: what is known of it where it was made.
    """

    name: str
    where: str
    oof: Outputs
    test: Outputs | None
    folds: FoldMark
    matched: Matched
    columns: tuple[str, ...]
    by_name: bool
    claimed: float | None
    source: dict[str, Any]
    notes: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)


def import_oof(problem: Problem, sources: Sequence[OofSource]) -> list[Member]:
    """Check foreign predictions and keep them as members; all of them, or none.

    Raises:
        InputError: what is wrong with each prediction that is refused.
    """
    examiner = Examiner(problem)
    each = [single for source in sources for single in expand(source)]
    return take_in(examiner, [(source.name, partial(examiner.read, source)) for source in each])


def take_in(examiner: "Examiner", predictions: Iterable[tuple[str, Callable[[], Foreign]]]) -> list[Member]:
    """Read one prediction after the other, examine it, and store all of them when none is refused.

    Args:
        predictions: names, and how each is read; one is in memory at a time.
    """
    taken: list[Member] = []
    refusals: list[InputError] = []
    with intake(examiner.problem.folder) as incoming:
        for name, read in predictions:
            try:
                check_plain_word("name", name)
                incoming.check_free(PREFIX + name)
                foreign = read()
                member = examiner.examine(foreign)
            except InputError as error:
                refusals.append(error)
                continue
            if not refusals:
                incoming.add(member, foreign.oof, foreign.test)
                taken.append(member)
        if refusals:
            raise _together(refusals)
    return taken


def _together(refusals: Sequence[InputError]) -> InputError:
    if len(refusals) == 1:
        return refusals[0]
    more = f" · and {len(refusals) - MAX_REFUSALS} more" if len(refusals) > MAX_REFUSALS else ""
    shown = " · ".join(map(str, refusals[:MAX_REFUSALS]))
    return InputError(f"nothing was imported, {len(refusals)} are refused: {shown}{more}")


def expand(source: OofSource) -> list[OofSource]:
    """One source for each file that fits a pattern such as ``preds/oof_*.npy``; any other source as it is.

    The star's text is the member's name, after the source's own and a dash if it has one, and finds the test file in a
    pattern such as ``preds/test_*.npy``.

    Raises:
        InputError: no file fits, a star stands elsewhere or is missing, a test file is missing, or there is no name.
    """
    if "*" not in str(source.oof):
        if not source.name:
            raise InputError(f"{source.oof} needs a name; write e.g. foldsmith oof import anna --oof {source.oof}")
        return [source]
    if source.claimed is not None:
        raise InputError(f"{source.oof} is a pattern for several files, one --claimed cannot be of all; leave it out")
    for path in (source.oof, *([] if source.test is None else [source.test])):
        if path.name.count("*") != 1 or "*" in str(path.parent):
            raise InputError(f"{path} must have one * in the file's name, such as 'preds/oof_*.npy'")
    found = sorted(path for path in source.oof.parent.glob(source.oof.name) if path.is_file())
    if not found:
        raise InputError(f"no file fits {source.oof}; check the folder")
    before, after = source.oof.name.split("*")
    return [_paired(source, path, path.name.removeprefix(before).removesuffix(after)) for path in found]


def _paired(source: OofSource, oof: Path, star: str) -> OofSource:
    test = None if source.test is None else source.test.with_name(source.test.name.replace("*", star))
    if test is not None and not test.is_file():
        raise InputError(f"{test} does not exist, which would go with {oof}; add it, or import without --test")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", star)
    return replace(source, name=f"{source.name}-{name}" if source.name else name, oof=oof, test=test)


def external_rows(problem: Problem, members: MemberStore) -> list[ExternalRow]:
    """All imported members of this problem, by id."""
    complete = members.all(contract=problem.contract, states=["complete"])
    return [external_row(member, problem.data.test_fingerprint) for member in complete if member.kind == "imported"]


class Examiner:
    """Reads and judges foreign predictions of one problem; what all of them need is made once."""

    def __init__(self, problem: Problem) -> None:
        data = problem.data
        self.problem = problem
        self.form = OutputForm.of(problem.goal, data.target)
        self.covered = problem.plan.coverage(0)
        self.train = RowKey("train", self.covered, lambda: data.train_ids, data.id_column)
        self.test = RowKey("test", np.ones(data.test.n_rows, np.bool_), lambda: data.test_ids, data.test_id_column)

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, source: OofSource) -> Foreign:
        """Read the files and put them into the problem's order of rows and classes.

        Raises:
            InputError: they do not fit.
        """
        data = self.problem.data
        file = read_predictions(source.oof, self.form, data.id_column, source.columns)
        oof, places = self._place(file, self.train)
        test, notes = None, []
        if source.test is not None:
            id_column = data.test_id_column or data.id_column
            test_file = read_predictions(source.test, self.form, id_column, source.columns)
            test, _ = self._place(test_file, self.test)
            if file.ids is not None and test_file.ids is None:
                notes.append(f"{source.test.name} has no ids: its rows were taken in test's order")
        return Foreign(
            source.name,
            str(source.oof),
            oof,
            test,
            self._folds(source, file, places),
            "order" if file.ids is None else "id",
            file.columns,
            file.by_name,
            source.claimed,
            {
                kind: None if path is None else {"file": path.name, "hash": file_digest(path)}
                for kind, path in (("oof", source.oof), ("test", source.test), ("folds", source.folds))
            },
            tuple(notes),
        )

    def _place(self, file: PredictionFile, rows: RowKey) -> tuple[Outputs, NDArray[np.int64]]:
        """Outputs in the order of the table, and the file's row of each row of the table."""
        where = str(file.path)
        if file.ids is None:
            places = rows.by_order(len(file.values), where)
            return self.form.outputs(file.values, where, rows.needed), places
        places = rows.by_id(file.ids, where)
        return self.form.outputs(file.values[places], where, rows.needed), places

    def _folds(self, source: OofSource, file: PredictionFile, places: NDArray[np.int64]) -> FoldMark:
        if source.folds is not None:
            return self.compare_folds(self._fold_file(source.folds))
        if file.folds is not None:
            return self.compare_folds(np.where(places >= 0, file.folds[places], -1))
        return "unknown"

    def _fold_file(self, path: Path) -> NDArray[Any]:
        data = self.problem.data
        if path.suffix.lower() != ".npy":
            return read_assignment(path, data.train_ids, data.id_column)
        folds = read_npy(path)
        if folds.dtype.kind not in "iu" or folds.shape != (data.train.n_rows,):
            raise InputError(
                f"{path} holds {folds.dtype} numbers of shape {folds.shape}, not a whole fold number for each of the "
                f"{data.train.n_rows:,} rows of train; correct it, or give a csv with a column 'fold'"
            )
        return folds

    def compare_folds(self, folds: NDArray[Any]) -> FoldMark:
        """Whether folds ``(n_rows,)``, in train's order, are the problem's, whatever they are called."""
        theirs, ours = folds[self.covered], self.problem.plan.valid_fold[0][self.covered]
        return "identical" if (theirs >= 0).all() and is_same_partition(theirs, ours) else "different"

    # --- judging -----------------------------------------------------------------------------------------------

    def examine(self, foreign: Foreign) -> Member:
        """Score a prediction and look for what files cannot show: rows of another order, classes of another order.

        Raises:
            InputError: it is refused; the message says why and what to do.
        """
        problem = self.problem
        scores = score_oof(problem.judge, foreign.oof)
        association = self._associate(foreign.oof)
        self._check_classes(foreign, scores, association)
        unrelated = self._check_rows(foreign, scores, association)
        warnings = [*foreign.notes, *(unrelated or self._weak(scores)), *self._check_claim(foreign, scores)]
        return Member(
            id=PREFIX + foreign.name,
            kind="imported",
            state="complete",
            contract=problem.contract,
            family=FAMILY,
            metric=problem.metric.name,
            policy="unknown",
            scores=scores,
            test_fingerprint="" if foreign.test is None else problem.data.test_fingerprint,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            versions={"foldsmith": __version__},
            details={
                "source": foreign.source,
                "origin": foreign.origin,
                "folds": foreign.folds,
                "fold_hash": problem.plan.hash,
                "claimed": foreign.claimed,
                "matched": foreign.matched,
                "classes": "name" if foreign.by_name else "order",
                "rows": int(self.covered.sum()),
                "n_rows": len(self.covered),
                "checks": self._checks(foreign),
                "warnings": warnings,
            },
        )

    def _checks(self, foreign: Foreign) -> list[str]:
        """What was looked at and found right, for whoever reads the record later."""
        checks = ["rows", "finite"]
        if self.form.kind != "regression":
            checks += ["chances", "class order"]
        if foreign.matched == "order":
            checks.append("not shuffled")
        return checks + (["claimed score"] if foreign.claimed is not None else [])

    def _associate(self, oof: Outputs) -> Association:
        n_classes = self.form.n_outputs if self.form.kind == "multiclass" else 0
        return associate(oof[self.covered], self.problem.data.y[self.covered], n_classes)

    def _check_classes(self, foreign: Foreign, scores: Scores, association: Association) -> None:
        """Refuse columns that would be much better in another order of classes."""
        metric, classes = self.problem.metric, self.form.classes
        if self.form.kind == "binary" and association.z < -SHUFFLED_Z:
            swapped = 1 - foreign.oof
            found, advice = f"they look like the chance of {classes[0]!r}", f"the chance of {classes[1]!r} is wanted"
        elif not foreign.by_name and association.order != tuple(range(len(association.order))):
            swapped = foreign.oof[:, association.order]
            names = ",".join(foreign.columns[place] for place in association.order)
            found = f"the columns look like other classes than {', '.join(classes)}"
            advice = f"if so give --columns {names}; or name the columns after the classes"
        else:
            return
        other = score_oof(self.problem.judge, swapped).value
        gain = PERMUTED_GAIN * abs(other - self._constant_score)
        if metric.better(other, scores.value) and not abs(other - scores.value) < gain:
            raise InputError(
                f"{foreign.where}: {found}: {metric.name} is {scores.value:.5g} as given and would be {other:.5g}; "
                f"{advice}"
            )

    def _check_rows(self, foreign: Foreign, scores: Scores, association: Association) -> list[str]:
        """Refuse rows that only their order tells, if they have nothing to do with the labels; else say that."""
        if association.z >= SHUFFLED_Z:
            return []
        found = (
            "the predictions fit the labels no better than shuffled rows would "
            f"({self.problem.metric.name} {scores.value:.5g}, a constant gives {self._constant_score:.5g})"
        )
        if foreign.matched == "order":
            raise InputError(
                f"{foreign.where}: {found}: they are shuffled, sorted by fold, or of another table; "
                f"{self._put_in_order()}"
            )
        return [found]

    def _put_in_order(self) -> str:
        name = self.problem.data.id_column
        return f"give a file with the id column {name!r}" if name else "put the rows into train's order"

    def _check_claim(self, foreign: Foreign, scores: Scores) -> list[str]:
        """Refuse a score that is worse than claimed if only the order tells the rows; else say that it differs."""
        claimed, metric = foreign.claimed, self.problem.metric
        if claimed is None:
            return []
        way = CLAIM_TOLERANCE * abs(claimed - self._constant_score)
        if abs(scores.value - claimed) <= np.nanmax([way, scores.sem, 0.0]):
            return []
        differs = f"the recomputed {metric.name} is {scores.value:.5g}, claimed was {claimed:.5g}"
        if foreign.matched == "order" and metric.better(claimed, scores.value):
            raise InputError(
                f"{foreign.where}: {differs}: some rows may be in another order than train's; {self._put_in_order()}, "
                "or leave --claimed out if you are sure of the order"
            )
        return [differs]

    def _weak(self, scores: Scores) -> list[str]:
        if self.problem.metric.better(scores.value, self._constant_score):
            return []
        return [f"{scores.value:.5g} is no better than the constant prediction's {self._constant_score:.5g}"]

    @cached_property
    def _constant_score(self) -> float:
        """Of class shares, the most frequent class, or the median."""
        data, judge = self.problem.data, self.problem.judge
        if judge.needs_labels:
            most_frequent = np.bincount(data.y).argmax()
            return score_values(judge, np.full(len(data.y), most_frequent)).value
        constant = constant_prediction(data.target, data.y, len(data.y), self.form.n_outputs)
        return score_values(judge, constant).value
