"""The order of words: by their numbers, by a scale that has to be asked, or unknown."""

import re

import numpy as np
import pytest

from foldsmith.problem.errors import InputError
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.scales import needs_order, order_of, require_order
from foldsmith.problem.target import LabelDtype, Target

SCALES = [
    "low mid high",
    "Low Medium High",
    "LOW MODERATE HIGH EXTREME",
    "very_low low medium high very_high",
    "bad ok good",
    "poor fair good excellent",
    "Poor|Below average|Average|Above average|Excellent",
    "none mild moderate severe",
    "No DR|Mild|Moderate|Severe|Proliferative DR",
    "None Mild Moderate Severe Death",
    "xs s m l xl",
    "S M L XL XXL",
    "small medium large",
    "strongly disagree|disagree|neutral|agree|strongly agree",
    "Strongly Disagree|Disagree|Neither agree nor disagree|Agree|Strongly Agree",
    "very dissatisfied|dissatisfied|neutral|satisfied|very satisfied",
    "F D C B A",
    "F D C- C C+ B- B B+ A- A A+",
    "Fair|Good|Very Good|Premium|Ideal",
    "Po Fa TA Gd Ex",
    "I1 SI2 SI1 VS2 VS1 VVS2 VVS1 IF",
    "never rarely sometimes often always",
    "cold warm hot",
    "beginner intermediate advanced expert",
    "bronze silver gold platinum",
    "negative neutral positive",
    "Stage I|Stage II|Stage III|Stage IV",
    "I II III IV V VI VII VIII IX X",
    "low_risk mid_risk high_risk",
    "Insufficient_Weight Normal_Weight Overweight_Level_I Overweight_Level_II Obesity_Type_I Obesity_Type_II "
    "Obesity_Type_III",
    "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "Mon Tue Wed Thu Fri Sat Sun",
    "CCC B BB BBB A AA AAA",
    "first second third fourth",
    "one two three four",
    "primary secondary bachelor master phd",
    "worse same better",
    "green yellow red",
    "easy medium hard",
]


def steps(text: str) -> tuple[str, ...]:
    return tuple(text.split("|") if "|" in text else text.split())


@pytest.mark.parametrize("scale", SCALES)
def test_known_scales_are_proposed_and_never_taken(scale: str) -> None:
    expected = steps(scale)
    for seed in range(5):
        order = order_of(np.random.default_rng(seed).permutation(expected).tolist())
        assert order is not None
        assert (order.classes, order.is_plain) == (expected, False)


@pytest.mark.parametrize(
    "scale",
    [
        "1|2|10",
        "01|02|10",
        "1-2 years|3-9 years|10+ years",
        "<1 year|1-2 years|3-5 years|>5 years",
        "under 18|18-34|35-64|65+",
        "0–9|10–19|20–29",
        "0 to 9|10 to 19|20 or more",
        "Level 1|Level 2|Level 10",
        "class_1|class_2|class_10",
        "level-1|level-2|level-10",
        "1 star|2 stars|10 stars",
        "0|1|2|3|4+",
        "grade 9|grade 10|grade 11",
        "-1.5|0.5|2.5|10",
        "0%|5%|50%|100%",
        "1,000-1,999|2,000-9,999|10,000+",
        "less than 1000|1000 to 2000|more than 2000",
    ],
)
def test_plain_numbers_are_an_order(scale: str) -> None:
    expected = steps(scale)
    for seed in range(5):
        order = order_of(np.random.default_rng(seed).permutation(expected).tolist())
        assert order is not None
        assert (order.classes, order.is_plain) == (expected, True)


@pytest.mark.parametrize("scale", ["1 day|2 weeks|1 month", "10-30|20-40|35-60", "A1|B2|C3"])
def test_numbers_that_are_not_plain_are_only_proposed(scale: str) -> None:
    order = order_of(steps(scale))
    assert order is None or not order.is_plain


@pytest.mark.parametrize("words", ["red green blue", "cat dog", "low cat", "north south east"])
def test_unknown_words(words: str) -> None:
    assert order_of(words.split()) is None


def target_of(*classes: str, dtype: LabelDtype = "str") -> Target:
    task = "binary" if len(classes) == 2 else "multiclass"
    return Target("y", task, classes, dtype, classes[1] if len(classes) == 2 else None)  # type: ignore[arg-type]


def test_who_needs_an_order() -> None:
    qwk = get_metric("qwk")
    assert needs_order(qwk, target_of("high", "low", "mid"))
    assert not needs_order(qwk, target_of("no", "yes")), "of two classes the order does not matter"
    assert not needs_order(qwk, target_of("1", "2", "10", dtype="int"))
    assert not needs_order(get_metric("accuracy"), target_of("high", "low", "mid"))


def test_the_question_can_be_pasted() -> None:
    message = "that look like low < mid < high; if that is their order say --classes low,mid,high"
    with pytest.raises(InputError, match=re.escape(message)):
        require_order(get_metric("qwk"), target_of("high", "low", "mid"))
    with pytest.raises(InputError, match="whose order foldsmith does not know; .*--classes blue,green,red with these"):
        require_order(get_metric("qwk"), target_of("blue", "green", "red"))
