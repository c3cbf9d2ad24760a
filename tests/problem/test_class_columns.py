"""Columns of chances and the classes that they are of."""

import pytest

from foldsmith.problem.class_columns import match_classes, named_class

CLASSES = ["low", "mid", "high"]


@pytest.mark.parametrize(
    "pattern",
    ["{}", "{}_prob", "prob_{}", "p({})", "P_{}", "{} probability", "Status_{}", "y_{}_hat", "is.{}", " {} ", "{}%"],
)
@pytest.mark.parametrize("spelled", [str, str.upper, str.title])
def test_prefix_suffix_and_case(pattern: str, spelled: type[str]) -> None:
    names = [pattern.format(spelled(name)) for name in ("mid", "high", "low")]
    found = match_classes(names, CLASSES)
    assert found.by_class == dict(zip(("mid", "high", "low"), names, strict=True))
    assert not found.unknown and not found.others


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["Status_CL", "Status_C", "Status_D"], ["CL", "C", "D"]),
        (["StatA_p", "A_p", "SA_p"], ["StatA", "A", "SA"]),
        (["target_1", "target_10", "target_2"], ["1", "10", "2"]),
        (["p_0", "p_1"], ["0.0", "1.0"]),
        (["Class_1", "Class_2", "Class_3"], ["1", "2", "3"]),
        (["1", "2", "3"], ["Class_1", "Class_2", "Class_3"]),
        (["very_high", "very_low"], ["Very high", "Very low"]),
        (["prob_true", "prob_false"], ["True", "False"]),
        (["a", "A"], ["a", "A"]),
    ],
)
def test_names_that_hold_one_another(names: list[str], classes: list[str]) -> None:
    assert match_classes(names, classes).by_class == dict(zip(classes, names, strict=True))


def test_other_columns_and_unknown_classes() -> None:
    found = match_classes(["id", "low_p", "mid_p", "high_p", "extreme_p"], CLASSES)
    assert len(found.by_class) == 3
    assert (found.unknown, found.others) == ({"extreme_p": "extreme"}, ("id",))


@pytest.mark.parametrize("names", [["a", "b", "c"], ["low_p", "p_mid", "high"], []])
def test_what_does_not_fit_is_not_forced(names: list[str]) -> None:
    assert len(match_classes(names, CLASSES).by_class) < 3


@pytest.mark.parametrize(
    ("name", "classes", "found"),
    [
        ("no", ["no", "yes"], 0),
        ("prob_no", ["no", "yes"], 0),
        ("P(Yes)", ["no", "yes"], 1),
        ("y_yes_prob", ["no", "yes"], 1),
        ("y", ["no", "yes"], None),
        ("target", ["no", "yes"], None),
        ("prediction", ["0", "1"], None),
        ("0", ["0", "1"], None),
        ("prob_0", ["0", "1"], 0),
        ("y", ["x", "y"], None),
    ],
)
def test_a_single_column_may_be_named_after_a_class(name: str, classes: list[str], found: int | None) -> None:
    assert named_class(name, classes, "y") == found
