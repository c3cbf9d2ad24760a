"""What a new competition's target is: the metric decides with the values, and remarks tell what is not plain."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from foldsmith.flow.setup import SetupRequest
from foldsmith.flow.target import InferredTarget, infer_target
from foldsmith.problem.errors import InputError

ORDINAL = """
import numpy as np

def near(y, labels):
    return float(-np.abs(y - labels).mean())

near.greater_is_better = True
near.needs = "label"
near.ordinal = True
"""


def inferred(values: Any, folder: Path = Path("nowhere"), **said: Any) -> InferredTarget:
    return infer_target(folder, SetupRequest(Path("train.csv"), Path("test.csv"), "y", **said), pd.Series(values))


def test_default_metrics() -> None:
    metrics = [inferred(values).metric.name for values in (["a", "b"], ["a", "b", "c"], [0.5, 1.5, 2.5])]
    assert metrics == ["auc", "log_loss", "rmse"]


def test_an_ordinal_metric_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(ORDINAL)
    words = ["low", "mid", "high"] * 10
    with pytest.raises(InputError, match="metric 'mine:near' needs the order of the classes.*--classes low,mid,high"):
        inferred(words, tmp_path, metric="mine:near")
    found = inferred(words, tmp_path, metric="mine:near", classes=("low", "mid", "high"))
    assert found.metric.is_ordinal and found.y[:3].tolist() == [0, 1, 2]


def test_numbers_in_words_are_ordered_and_written_down() -> None:
    found = inferred(["10+ years", "1-2 years", "3-9 years"] * 5, metric="qwk")
    assert found.classes == found.target.classes == ("1-2 years", "3-9 years", "10+ years")
    assert "1-2 years < 3-9 years < 10+ years" in found.remarks[0]


def test_classes_are_written_down_as_they_were_named() -> None:
    found = inferred(["yes", "no"] * 5, classes=("yes", "no"))
    assert found.classes == ("yes", "no") and found.target.positive == "yes"


@pytest.mark.parametrize(
    ("values", "said", "remark"),
    [
        (["yes", "yes ", "no"], {}, "1 labels stand with stray blanks"),
        (["e", "p"], {}, "the chance in a submission is that of 'p', not of 'e'"),
        (["e", "p"], {"positive": "e"}, None),
        (["e", "p"], {"metric": "accuracy"}, None),
        (["no", "yes"], {}, None),
        ([0, 1], {}, None),
        (["NA", "EU", "US"], {"keep_na": ("y",)}, "the text 'NA' is a class"),
        (["Yes", "yes", "no"], {"classes": ("no", "yes")}, "1 labels stand in another case than the named classes"),
    ],
)
def test_remarks(values: Any, said: dict[str, Any], remark: str | None) -> None:
    told = " · ".join(inferred(values, **said).remarks)
    assert (remark in told) if remark else told == ""
