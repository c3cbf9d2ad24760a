"""What a sample submission asks for: which column names the rows, what the others hold, and how labels are spelled."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.class_columns import match_classes, named_class
from foldsmith.problem.columns import is_named_like_id
from foldsmith.problem.errors import InputError
from foldsmith.problem.ids import match_rows, same_column
from foldsmith.problem.labels import Spellings
from foldsmith.problem.target import Target

ASK = "give the files of one competition"


@dataclass(frozen=True)
class SampleForm:
    """The sample's columns as what they are.

    Args:
        id_column: the column that names the rows; None without one.
        rows: ``(n_rows,)`` the test row of each row of the sample.
        outputs: the label, or the target, that each other column is of.
        unknown: columns of classes that train lacks, and what they are called.
        flipped: the one column of chances is named after the class with code 0.
        remarks: what is not plain from the file, one sentence each.
    """

    id_column: str | None
    rows: NDArray[np.int64]
    outputs: dict[str, str]
    unknown: dict[str, str] = field(default_factory=dict)
    flipped: bool = False
    remarks: tuple[str, ...] = ()


def read_form(
    sample: pd.DataFrame, target: Target, *, test_ids: Sequence[str], id_column: str | None, several: bool
) -> SampleForm:
    """Understand a sample submission.

    Args:
        sample: with every cell as text, None for an empty one.
        test_ids: as text, in the order of the test file; row numbers where it has none.
        id_column: its name in the test file; None where it has none.
        several: whether there is a column for each class.

    Raises:
        InputError: the sample's ids are not those of test, or its columns not those that are predicted.
    """
    header = list(sample.columns)
    name = _id_name(sample, test_ids, id_column, n_outputs=len(target.classes) if several else 1)
    wanted = [column for column in header if column != name]
    outputs, unknown, flipped, about = _outputs(sample, wanted, target, several=several)
    rows, told = _rows(sample, name, test_ids, has_ids=id_column is not None)
    if name is not None and id_column is not None and name != id_column:
        told = [f"the id is called {name!r} in the sample submission and {id_column!r} in the test file", *told]
    return SampleForm(name, rows, outputs, unknown, flipped, (*told, *about))


# ids -----------------------------------------------------------------------------------------------------------------


def _id_name(sample: pd.DataFrame, test_ids: Sequence[str], id_column: str | None, *, n_outputs: int) -> str | None:
    header = list(sample.columns)
    if id_column is not None:
        same = same_column(id_column, header)
        if same is not None:
            return same
        for name in header:
            if match_rows([str(value) for value in sample[name]], test_ids) is not None:
                return name
    if len(header) <= n_outputs:
        return None
    # Test has no such column: one that is named like an id and repeats nothing is copied.
    likely = [name for name in header if is_named_like_id(name) and sample[name].is_unique]
    return likely[0] if likely else None


def _rows(
    sample: pd.DataFrame, name: str | None, test_ids: Sequence[str], *, has_ids: bool
) -> tuple[NDArray[np.int64], list[str]]:
    n_rows, n_test = len(sample), len(test_ids)
    if name is not None and has_ids:
        return match_ids([str(value) for value in sample[name]], test_ids)
    if n_rows != n_test:
        what = "no id column" if name is None else f"the id {name!r}, which test lacks"
        raise InputError(f"the sample submission has {n_rows} rows and {what}, but test has {n_test} rows; {ASK}")
    remarks = []
    if name is not None:
        remarks = [f"the test file has no {name!r}: rows of the sample submission are taken in test's order"]
    elif has_ids:
        remarks = ["the sample submission has no id: its rows are taken in test's order"]
    return np.arange(n_rows), remarks


def match_ids(sample_ids: Sequence[str], test_ids: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The test row of each id of the sample, by text, else without blanks, else as numbers (``1.0`` and ``001``).

    Raises:
        InputError: ids stand twice, or are not those of test.
    """
    twice = [name for name, count in Counter(sample_ids).items() if count > 1]
    if twice:
        raise InputError(
            f"the sample submission has the id {twice[0]!r} more than once; keep one row per id ({len(twice)} such ids)"
        )
    matched = match_rows(sample_ids, test_ids)
    if matched is not None:
        return np.array(matched[0], np.int64), _id_remarks(sample_ids, test_ids, *matched)
    place = {name: row for row, name in enumerate(test_ids)}
    unknown = [name for name in sample_ids if name not in place]
    known = set(sample_ids)
    lacking = [name for name in test_ids if name not in known]
    example = f", e.g. {unknown[0]!r}" if unknown else ""
    missing = f", {len(lacking)} of them not in the sample, e.g. {lacking[0]!r}" if lacking else ""
    raise InputError(
        f"the sample submission has {len(sample_ids)} ids, {len(unknown)} of them not in test{example}; test has "
        f"{len(test_ids)}{missing}; {ASK}"
    )


def _id_remarks(sample_ids: Sequence[str], test_ids: Sequence[str], found: Sequence[int], how: str) -> list[str]:
    remarks = []
    if how:
        row = next(row for row, place in enumerate(found) if sample_ids[row] != test_ids[place])
        remarks.append(
            f"the sample submission writes ids otherwise than test ({sample_ids[row]!r}, {test_ids[found[row]]!r}): "
            f"they are matched {how} and written as in the sample"
        )
    if list(found) != list(range(len(found))):
        remarks.append("the sample submission has test's ids in another order; submissions follow the sample")
    return remarks


# outputs -------------------------------------------------------------------------------------------------------------

Understood = tuple[dict[str, str], dict[str, str], bool, list[str]]


def _outputs(sample: pd.DataFrame, wanted: Sequence[str], target: Target, *, several: bool) -> Understood:
    if not several and len(target.classes) == 2 and len(wanted) > 1:
        found = match_classes(wanted, target.classes)
        several = len(found.by_class) == 2
    if several:
        return _class_outputs(sample, wanted, target)
    if len(wanted) == 1:
        return _one_output(wanted[0], target)
    if not wanted:
        _check_columns(wanted, [target.name])
    output = same_column(target.name, wanted)
    more = [name for name in wanted if name != output]
    if output is None:
        shown = ", ".join(map(repr, wanted[:5]))
        raise InputError(
            f"the sample submission has {len(wanted)} columns besides the id ({shown}), but one is predicted, "
            f"{target.name!r}; keep the one that it goes into"
        )
    raise InputError(
        f"the sample submission has a column {more[0]!r}, but the predictions are for {target.name}; rename it in the "
        "sample, or remove it there"
    )


def _one_output(name: str, target: Target) -> Understood:
    if len(target.classes) != 2 or named_class(name, target.classes, target.name) != 0:
        return {name: target.name}, {}, False, []
    told = f"the sample's column {name!r} is named after {target.classes[0]!r}: it gets the chance of that class"
    return {name: target.name}, {}, True, [told]


def _class_outputs(sample: pd.DataFrame, wanted: Sequence[str], target: Target) -> Understood:
    found = match_classes(wanted, target.classes)
    unknown = {name: label for name, label in found.unknown.items() if found.by_class and _holds_chances(sample[name])}
    outputs = {name: label for label, name in found.by_class.items()}
    # What is no column of a class has to be told under the name that it has; the others under that of their class.
    _check_columns([outputs.get(name, name) for name in wanted if name not in unknown], target.classes)
    remarks = []
    odd = [(name, label) for name, label in outputs.items() if name != label]
    if odd:
        remarks.append(f"the sample's column {odd[0][0]!r} is the chance of {odd[0][1]!r}, and the others likewise")
    for name, label in unknown.items():
        remarks.append(
            f"warning: the sample's column {name!r} is of the class {label!r}, which no row of train has: it gets the "
            "chance 1 / (rows + classes) in every row"
        )
    return outputs, unknown, False, remarks


def _holds_chances(column: pd.Series) -> bool:
    """Whether the cells are numbers from 0 to 1, or empty."""
    values, n_words = cells.numbers(column)
    present = values[~np.isnan(values)]
    return n_words == 0 and bool(((present >= 0) & (present <= 1)).all())


def _check_columns(wanted: Sequence[str], columns: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in columns]
    if unknown:
        raise InputError(
            f"the sample submission has a column {unknown[0]!r}, but the predictions are for {', '.join(columns)}; "
            "rename it in the sample, or remove it there"
        )
    lacking = [name for name in columns if name not in wanted]
    if lacking:
        raise InputError(
            f"the sample submission has no column for {lacking[0]!r}, but {', '.join(wanted) or 'none at all'}; "
            "add it to the sample"
        )


# labels --------------------------------------------------------------------------------------------------------------


def sample_spelling(column: pd.Series, target: Target) -> tuple[dict[str, str], list[str]]:
    """How the sample spells the labels that it holds.

    Args:
        column: of labels, as text; often the same placeholder in every row.

    Returns:
        The spelling of each class, and remarks. Classes that the sample does not show follow the case of those that it
        does, and whole numbers its way to write them.
    """
    shown = cells.distinct(cells.strings(column))
    spellings = Spellings(target.classes, ("exact", "blanks", "number", "case"))
    spelled: dict[str, str] = {}
    strange: list[str] = []
    for text in shown:
        place = spellings.find(text)
        if place is None:
            strange.append(text)
        else:
            spelled.setdefault(target.classes[place[0]], text)
    remarks = []
    if strange and not spelled:
        remarks.append(
            f"the sample holds {strange[0]!r}, which is no label of train: labels are written as in train "
            f"({', '.join(target.classes[:5])})"
        )
    odd = {label: text for label, text in spelled.items() if label != text}
    if odd:
        change = next((make for make in _WAYS if all(make(label) == text for label, text in spelled.items())), None)
        if change is not None:
            spelled = {label: change(label) for label in target.classes}
        label, text = next(iter(odd.items()))
        remarks.append(f"labels are spelled as in the sample submission: {text!r} for {label!r}")
    return spelled, remarks


def _as_whole(label: str) -> str:
    return label.removesuffix(".0")


def _as_fraction(label: str) -> str:
    return f"{label}.0"


_WAYS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    str.upper,
    str.capitalize,
    str.title,
    _as_whole,
    _as_fraction,
    lambda label: f"{label} ",
    lambda label: f" {label}",
)
