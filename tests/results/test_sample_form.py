"""Sample submissions as people have them: ids in another spelling, columns around a class, spellings of labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.decisions import Threshold
from foldsmith.problem.errors import InputError
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.target import LabelDtype, Target
from foldsmith.results.sample_form import match_ids, sample_spelling
from foldsmith.results.submissions import SubmissionForm, constant_prediction, read_sample

TEST_IDS = ["1", "2", "3"]
CHANCES = np.array([[0.1], [0.9], [0.4]])
THREE = np.array([[0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])


def target_of(*classes: str, dtype: LabelDtype = "str") -> Target:
    if len(classes) == 2:
        return Target("y", "binary", classes, dtype, classes[1])
    return Target("y", "multiclass" if classes else "regression", classes, dtype, None)


def form_of(
    tmp_path: Path, target: Target, sample: str, metric: str = "log_loss", id_column: str | None = "id"
) -> SubmissionForm:
    (tmp_path / "sample.csv").write_text(sample)
    return SubmissionForm(
        target, get_metric(metric), id_column, TEST_IDS, read_sample(tmp_path / "sample.csv"), n_train=96
    )


def sample_of(header: str, ids: tuple[str, ...] = ("1", "2", "3"), cell: str = "0") -> str:
    n_more = len(header.split(",")) - 1
    return "\n".join([header, *(",".join([row_id, *[cell] * n_more]) for row_id in ids)]) + "\n"


class TestIds:
    @pytest.mark.parametrize(
        ("sample", "test", "rows", "remark"),
        [
            (["1", "2"], ["1", "2"], [0, 1], ""),
            (["2", "1"], ["1", "2"], [1, 0], "another order"),
            (["1.0", "2.0"], ["1", "2"], [0, 1], r"'1\.0', '1'\): they are matched as numbers"),
            (["001", "002"], ["1", "2"], [0, 1], "matched as numbers"),
            (["1", "2"], ["1.0", "2.0"], [0, 1], "matched as numbers"),
            ([" a", "b "], ["a", "b"], [0, 1], "matched without blanks"),
            (["NA", "null"], ["null", "NA"], [1, 0], "another order"),
            (["9007199254740993.0", "9007199254740992.0"], ["9007199254740992", "9007199254740993"], [1, 0], "numbers"),
        ],
    )
    def test_matched(self, sample: list[str], test: list[str], rows: list[int], remark: str) -> None:
        found, remarks = match_ids(sample, test)
        assert found.tolist() == rows
        assert bool(remarks) == bool(remark)
        if remark:
            assert pd.Series([" · ".join(remarks)]).str.contains(remark).all()

    @pytest.mark.parametrize(
        ("sample", "test", "message"),
        [
            (["1", "1", "2"], ["1", "2", "3"], "has the id '1' more than once; keep one row per id"),
            (
                ["1", "2", "4"],
                ["1", "2", "3"],
                r"1 of them not in test, e.g. '4'; test has 3, 1 of them not in the .*'3'",
            ),
            (["1", "2"], ["1", "2", "3"], "has 2 ids, 0 of them not in test; test has 3, 1 of them not in the sample"),
            (["1", "01"], ["1", "01x"], "1 of them not in test, e.g. '01'"),
            (["1", "1.0"], ["1", "2"], "not in test"),
        ],
    )
    def test_refused(self, sample: list[str], test: list[str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            match_ids(sample, test)

    def test_the_samples_name_and_spelling_count(self, tmp_path: Path) -> None:
        form = form_of(tmp_path, target_of("no", "yes"), sample_of("Row,y", ("003", "001", "002")))
        frame = form.fill(CHANCES, None)
        assert list(frame.columns) == ["Row", "y"] and list(frame["Row"]) == ["003", "001", "002"]
        np.testing.assert_allclose(frame["y"], [0.4, 0.1, 0.9])
        told = " · ".join(form.remarks(1, None))
        assert "called 'Row'" in told or "as numbers" in told

    def test_ids_that_test_lacks_are_copied(self, tmp_path: Path) -> None:
        form = form_of(tmp_path, target_of("no", "yes"), sample_of("id,y", ("7", "9", "8")), id_column=None)
        assert list(form.fill(CHANCES, None)["id"]) == ["7", "9", "8"]
        assert form.remarks(1, None) == (
            "the test file has no 'id': rows of the sample submission are taken in test's order",
        )


class TestColumns:
    @pytest.mark.parametrize(
        "header", ["id,mid_prob,low_prob,high_prob", "id,p(Mid),p(Low),p(High)", "id,MID,LOW,HIGH"]
    )
    def test_around_the_class(self, tmp_path: Path, header: str) -> None:
        frame = form_of(tmp_path, target_of("high", "low", "mid"), sample_of(header)).fill(THREE, None)
        assert ",".join(frame.columns) == header
        np.testing.assert_allclose(frame.iloc[:, 1:], THREE[:, [2, 1, 0]])

    def test_a_class_that_train_lacks_gets_its_chance(self, tmp_path: Path) -> None:
        form = form_of(tmp_path, target_of("high", "low", "mid"), sample_of("id,low,mid,high,extreme"))
        frame = form.fill(THREE, None)
        np.testing.assert_allclose(frame["extreme"], 1 / 100)
        np.testing.assert_allclose(frame["low"], THREE[:, 1] * 0.99)
        np.testing.assert_allclose(frame.iloc[:, 1:].sum(axis=1), 1)
        assert any(remark.startswith("warning: ") and "'extreme'" in remark for remark in form.remarks(3, None))

    def test_two_classes_and_one_that_train_lacks(self, tmp_path: Path) -> None:
        form = form_of(tmp_path, target_of("no", "yes"), sample_of("id,p_maybe,p_no,p_yes"))
        frame = form.fill(CHANCES, None)
        np.testing.assert_allclose(frame["p_maybe"], 1 / 99)
        np.testing.assert_allclose(frame.iloc[:, 1:].sum(axis=1), 1)
        np.testing.assert_allclose(frame["p_yes"], CHANCES[:, 0] * 98 / 99)

    @pytest.mark.parametrize(
        ("header", "cell", "message"),
        [
            ("id,low,mid,high,Usage", "Public", "has a column 'Usage', but the predictions are for high, low, mid"),
            ("id,low,mid,high,row", "17", "has a column 'row', but"),
            ("id,low,mid", "0", "has no column for 'high', but low, mid"),
            ("id,y", "0", "has a column 'y', but the predictions are for high, low, mid"),
        ],
    )
    def test_other_columns_are_named(self, tmp_path: Path, header: str, cell: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            form_of(tmp_path, target_of("high", "low", "mid"), sample_of(header, cell=cell)).fill(THREE, None)

    def test_more_columns_beside_a_value(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="has a column 'Usage', but the predictions are for y"):
            form_of(tmp_path, target_of(), sample_of("id,y,Usage"), "rmse").fill(CHANCES, None)
        with pytest.raises(InputError, match=r"2 columns besides the id \('prediction', 'Usage'\), but one"):
            form_of(tmp_path, target_of(), sample_of("id,prediction,Usage"), "rmse").fill(CHANCES, None)

    def test_a_column_of_the_other_class_gets_its_chance(self, tmp_path: Path) -> None:
        form = form_of(tmp_path, target_of("no", "yes"), sample_of("id,prob_no"))
        np.testing.assert_allclose(form.fill(CHANCES, None)["prob_no"], 1 - CHANCES[:, 0])
        assert form.remarks(1, None)[0].startswith("the sample's column 'prob_no' is named after 'no'")


class TestLabels:
    @pytest.mark.parametrize(
        ("classes", "cell", "written"),
        [
            (("no", "yes"), "no", ["no", "yes", "no"]),
            (("no", "yes"), "NO", ["NO", "YES", "NO"]),
            (("no", "yes"), "No", ["No", "Yes", "No"]),
            (("no", "yes"), "no ", ["no ", "yes ", "no "]),
            (("0.0", "1.0"), "0", ["0", "1", "0"]),
            (("no", "yes"), "0", ["no", "yes", "no"]),
            (("no", "yes"), "", ["no", "yes", "no"]),
        ],
    )
    def test_spelled_as_in_the_sample(
        self, tmp_path: Path, classes: tuple[str, str], cell: str, written: list[str]
    ) -> None:
        dtype: LabelDtype = "float" if classes[0] == "0.0" else "str"
        form = form_of(tmp_path, target_of(*classes, dtype=dtype), sample_of("id,y", cell=cell), "accuracy")
        assert [str(label) for label in form.fill(CHANCES, Threshold(0.5))["y"]] == written
        assert bool(form.remarks(1, Threshold(0.5))) == (cell not in ("", "no"))

    def test_a_placeholder_is_told(self) -> None:
        spelled, remarks = sample_spelling(pd.Series(["0", "0"]), target_of("no", "yes"))
        assert spelled == {} and remarks == [
            "the sample holds '0', which is no label of train: labels are written as in train (no, yes)"
        ]


def test_the_baseline_gives_no_class_the_chance_0() -> None:
    shares = constant_prediction(target_of("a", "b", "c"), np.array([0, 0, 0, 1] * 10), 2, 3)
    np.testing.assert_allclose(shares[0], [0.75 * 42 / 43, 0.25 * 42 / 43, 1 / 43])
