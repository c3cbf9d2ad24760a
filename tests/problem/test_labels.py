"""Labels as people write them: blanks, twins, holes, and spellings of one class."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem import cells
from foldsmith.problem.errors import InputError
from foldsmith.problem.labels import (
    HOLES,
    Spellings,
    blanks_remark,
    classes_option,
    split_classes,
    without_blanks,
)
from foldsmith.problem.positive import likely_positive
from foldsmith.problem.target import Target, encode_target, type_target

NBSP = "\N{NO-BREAK SPACE}"


def typed(values: Any, **options: Any) -> tuple[Target, Any, str]:
    return type_target(pd.Series(values), name="y", **options)


class TestBlanks:
    @pytest.mark.parametrize(
        "odd", ["yes ", " yes", f"yes{NBSP}", "\tyes", "yes\N{ZERO WIDTH SPACE}", "\N{ZERO WIDTH NO-BREAK SPACE}yes"]
    )
    def test_stray_blanks_make_no_class(self, odd: str) -> None:
        target, y, _ = typed(["yes", "no", odd, "no "])
        assert target.classes == ("no", "yes")
        assert y.tolist() == [1, 0, 1, 0]

    def test_blanks_inside_are_one(self) -> None:
        target, _, _ = typed(["new york", f"new{NBSP}york", "new  york", "rome"])
        assert target.classes == ("new york", "rome")

    def test_a_class_without_variants_keeps_what_stands_inside(self) -> None:
        assert typed(["new  york", "rome"])[0].classes == ("new  york", "rome")

    def test_accents_that_look_alike_are_one_class(self) -> None:
        target, y, _ = typed(["K\N{LATIN SMALL LETTER O WITH DIAERESIS}ln", "Ko\N{COMBINING DIAERESIS}ln", "Bonn"])
        assert len(target.classes) == 2 and y.tolist() == [1, 1, 0]

    def test_numbers_with_blanks_are_numbers(self) -> None:
        target, _, _ = typed(["1", f"2{NBSP}", " 1"] * 10)
        assert (target.classes, target.label_dtype) == (("1", "2"), "int")

    def test_the_remark_counts_rows(self) -> None:
        texts = cells.strings(pd.Series(["yes", "yes ", "yes ", "no"]))
        expected = "target 'y': 2 labels stand with stray blanks, e.g. 'yes '; they are read as 'yes'"
        assert blanks_remark(texts, "y") == expected
        assert blanks_remark(cells.strings(pd.Series(["yes", "no"])), "y") is None


class TestTwins:
    def test_case_is_asked(self) -> None:
        message = (
            r"differ only in upper and lower case: 'Yes' \(1 rows\) and 'yes' \(2 rows\); if they are one class say "
            "--classes no,yes, if not --classes Yes,no,yes"
        )
        with pytest.raises(InputError, match=message):
            typed(["Yes", "yes", "yes", "no"])

    def test_the_ways_to_write_a_number_are_asked(self) -> None:
        with pytest.raises(InputError, match="the way the number is written: '01' .* and '1'"):
            typed(["01", "1", "x2"])

    def test_named_classes_take_another_case_in(self) -> None:
        target, y, _ = typed(["Yes", "yes", "NO", "no "], classes=("no", "yes"))
        assert target.classes == ("no", "yes") and y.tolist() == [1, 1, 0, 0]

    def test_both_spellings_may_be_classes(self) -> None:
        assert typed(["Yes", "yes", "no"], classes=("Yes", "no", "yes"))[1].tolist() == [0, 2, 1]


class TestHoles:
    @pytest.mark.parametrize("token", sorted(HOLES))
    def test_among_words_it_is_asked(self, token: str) -> None:
        with pytest.raises(InputError, match=r"has 2 cells .* beside words such as 'EU', 'US'.*keep_na = \[\"y\"\]"):
            typed(["EU", token, "US", token])

    @pytest.mark.parametrize("token", sorted(HOLES))
    def test_kept_it_is_a_class(self, token: str) -> None:
        target, y, _ = typed(["EU", token, "US", token], keep_na=True)
        assert token in target.classes and (y == target.classes.index(token)).sum() == 2

    def test_named_it_is_a_class(self) -> None:
        assert typed(["EU", "NA", "US"], classes=("EU", "US", "NA"))[1].tolist() == [0, 2, 1]

    @pytest.mark.parametrize("token", ["NA", "null", "None", "?"])
    def test_among_numbers_it_is_missing(self, token: str) -> None:
        message = rf"has 2 missing values, the first as '{token[0]}?.*' in row 2"
        with pytest.raises(InputError, match=message):
            typed(["1.5", token, "2.5", token])

    def test_none_among_words_is_a_class(self) -> None:
        assert typed(["None", "mild", "severe"])[0].classes == ("None", "mild", "severe")


class TestDeclared:
    def test_order_and_a_class_that_no_row_has(self) -> None:
        target, y, reason = typed(["mid", "low", "low"], classes=("low", "mid", "high"))
        assert target.classes == ("low", "mid", "high") and target.task == "multiclass"
        assert y.tolist() == [1, 0, 0] and reason == "the 3 classes that you named"

    def test_numbers(self) -> None:
        target, y, _ = typed([3.0, 1.0, 3.0], classes=("1", "3"))
        assert (target.classes, target.label_dtype, y.tolist()) == (("1.0", "3.0"), "float", [1, 0, 1])
        assert target.labels(y).tolist() == [3.0, 1.0, 3.0]

    def test_truth_values(self) -> None:
        target, y, _ = typed([True, False], classes=("False", "True"))
        assert target.labels(y).tolist() == [True, False]

    @pytest.mark.parametrize(
        ("values", "classes", "message"),
        [
            (["a", "b", "c"], ("a", "b"), r"has the label 'c' \(1 such labels\), which is not among the classes a, b"),
            (["a", "b"], ("a", "a"), "name two or more, each once"),
            (["a", "A"], ("a", "b"), "same class 'a' in every row"),
        ],
    )
    def test_errors(self, values: list[str], classes: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            typed(values, classes=classes)

    def test_a_regression_has_no_classes(self) -> None:
        with pytest.raises(InputError, match="is a regression"):
            typed([1, 2, 3], classes=("1", "2", "3"), task="regression")

    @pytest.mark.parametrize(
        "names", [["low", "mid"], ["a,b", "c"], ['he said "no"', "yes"], ["-1", "1"], ["it's", "x"]]
    )
    def test_the_option_reads_what_it_writes(self, names: list[str]) -> None:
        import shlex

        _, value = shlex.split(classes_option(names))
        assert list(split_classes(value)) == names


class TestMetricDecides:
    CLASSES = frozenset({"binary", "multiclass"})

    def test_whole_numbers_are_labels_for_a_metric_of_classes(self) -> None:
        values = np.repeat(np.arange(1, 101), 12)
        target, y, reason = typed(values, fits=self.CLASSES)
        assert (target.task, len(target.classes), len(np.unique(y))) == ("multiclass", 100, 100)
        assert target.label_dtype == "int" and reason == "the metric is one of classes, 100 distinct labels"
        assert typed(values)[0].task == "regression"

    @pytest.mark.parametrize("values", [[0, 1, 1, 0], [1, 2, 3] * 20, [True, False]])
    def test_few_numbers_are_values_for_a_metric_of_numbers(self, values: list[Any]) -> None:
        assert typed(values, fits=frozenset({"regression"}))[0].task == "regression"

    def test_measurements_are_no_labels(self) -> None:
        with pytest.raises(
            InputError, match="300 distinct numbers with fractions in 300 rows; use a metric of numbers"
        ):
            typed(np.random.default_rng(0).normal(size=300), fits=self.CLASSES)
        with pytest.raises(InputError, match="300 distinct whole numbers in 300 rows"):
            typed(np.arange(300), fits=self.CLASSES)

    def test_words_are_no_numbers(self) -> None:
        with pytest.raises(InputError, match="2 values that are not numbers in 3 rows, the first 'low' in row 1"):
            typed(["low", "high", "1"], fits=frozenset({"regression"}))


@pytest.mark.parametrize(
    ("first", "second", "positive", "is_obvious"),
    [
        ("Yes", "no", "Yes", True),
        ("FALSE", "true", "true", True),
        ("T", "f", "T", True),
        ("-1", "1", "1", True),
        ("Positive", "negative", "Positive", True),
        ("churn", "no churn", "churn", True),
        ("default", "non-default", "default", True),
        ("satisfied", "unsatisfied", "satisfied", True),
        ("abnormal", "normal", "abnormal", False),
        ("1", "2", "2", False),
        ("e", "p", "p", False),
    ],
)
def test_the_label_that_says_yes(first: str, second: str, positive: str, is_obvious: bool) -> None:
    index, found = likely_positive([first, second])
    assert ((first, second)[index], found) == (positive, is_obvious)
    target, y, _ = typed([first, second])
    assert target.positive == positive and y.tolist() == [int(first == positive), int(second == positive)]


class TestFurtherRows:
    def test_labels_follow_the_same_rules(self) -> None:
        target, _, _ = typed(["no", "yes", "yes "])
        assert encode_target(target, pd.Series(["yes ", f"no{NBSP}"]), "extra.csv").tolist() == [1, 0]

    def test_numbers_in_another_spelling(self) -> None:
        target, _, _ = typed([1, 2, 2])
        assert encode_target(target, pd.Series([2.0, 1.0]), "extra.csv").tolist() == [1, 0]

    def test_another_case_is_asked(self) -> None:
        target, _, _ = typed(["no", "yes"])
        with pytest.raises(
            InputError, match="of extra.csv has the label 'YES', which train lacks; .*write it as 'yes'"
        ):
            encode_target(target, pd.Series(["YES", "no"]), "extra.csv")

    def test_a_hole_is_no_class(self) -> None:
        target, _, _ = typed(["no", "yes"])
        with pytest.raises(InputError, match="has 1 cells 'NA' beside words"):
            encode_target(target, pd.Series(["NA", "no"]), "extra.csv")
        kept, _, _ = typed(["NA", "yes"], keep_na=True)
        assert encode_target(kept, pd.Series(["NA", "yes"]), "extra.csv").tolist() == [0, 1]


class TestSpellings:
    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("low", ("low", "exact")),
            (" low ", ("low", "blanks")),
            ("LOW", ("low", "case")),
            ("very_high", ("Very high", "letters")),
            ("VeryHigh", ("Very high", "letters")),
            ("middle", None),
        ],
    )
    def test_tiers(self, name: str, found: tuple[str, str] | None) -> None:
        classes = ["low", "Very high", "mid"]
        place = Spellings(classes).find(name)
        assert (None if place is None else (classes[place[0]], place[1])) == found

    def test_numbers(self) -> None:
        spellings = Spellings(["1", "2", "-1"])
        assert [spellings.find(name) for name in ("1.0", "02", "-1.0", "1.5")] == [
            (0, "number"),
            (1, "number"),
            (2, "number"),
            None,
        ]

    def test_what_is_not_unique_is_not_found(self) -> None:
        assert Spellings(["a", "A"]).find("a") == (0, "exact")
        assert Spellings(["ab", "AB"]).find("Ab") is None


def test_without_blanks_keeps_single_blanks() -> None:
    assert without_blanks(f" a{NBSP} b\n") == "a b"
