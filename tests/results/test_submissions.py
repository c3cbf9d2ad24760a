"""Submission files: the sample's ids, order, header and types, or a plain form without one."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.problem import files
from foldsmith.problem.decisions import ClassMultipliers, CutPoints, Decision, Threshold
from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.target import LabelDtype, Target
from foldsmith.results.submissions import (
    SubmissionForm,
    constant_prediction,
    read_sample,
    write_numbered,
    write_submission,
)

IDS = ["007", "008", "a,b", "9.0"]
CHANCES: NDArray[np.float32] = np.array([[0.1], [0.9], [0.4], [0.6]], np.float32)
THREE: NDArray[np.float32] = np.array([[0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]], np.float32)


def target_of(*classes: str, dtype: LabelDtype = "str", task: Task | None = None) -> Target:
    task = task or ("binary" if len(classes) == 2 else "multiclass" if classes else "regression")
    return Target("y", task, classes, dtype, classes[1] if task == "binary" else None)


def form_of(
    target: Target, metric: str = "auc", sample: str | None = None, tmp_path: Path | None = None, **facts: Any
) -> SubmissionForm:
    table = None
    if sample is not None:
        assert tmp_path is not None
        (tmp_path / "sample.csv").write_text(sample)
        table = read_sample(tmp_path / "sample.csv")
    return SubmissionForm(
        **{"id_column": "id", "test_ids": IDS, **facts}, target=target, metric=get_metric(metric), sample=table
    )


def text_of(frame: pd.DataFrame) -> list[str]:
    return frame.to_csv(index=False).splitlines()


class TestWithoutSample:
    def test_binary_chances_are_of_the_greater_label(self) -> None:
        frame = form_of(target_of("no", "yes")).fill(CHANCES, None)
        assert text_of(frame) == ["id,y", "007,0.1", "008,0.9", '"a,b",0.4', "9.0,0.6"]

    def test_several_classes_have_a_column_each(self) -> None:
        frame = form_of(target_of("a", "b", "c"), "log_loss").fill(THREE, None)
        assert list(frame.columns) == ["id", "a", "b", "c"]
        np.testing.assert_allclose(frame[["a", "b", "c"]], THREE)

    def test_regression(self) -> None:
        frame = form_of(target_of(dtype="int"), "rmse").fill(10 * CHANCES, None)
        np.testing.assert_allclose(frame["y"], 10 * CHANCES[:, 0])

    def test_no_id(self) -> None:
        frame = form_of(target_of("0", "1", dtype="int"), id_column=None).fill(CHANCES, None)
        assert list(frame.columns) == ["y"] and len(frame) == 4

    @pytest.mark.parametrize(
        ("classes", "dtype", "written"),
        [
            (("0", "1"), "int", ["0", "1", "0", "1"]),
            (("-1", "3"), "int", ["-1", "3", "-1", "3"]),
            (("no", "yes"), "str", ["no", "yes", "no", "yes"]),
            (("01", "02"), "str", ["01", "02", "01", "02"]),
            (("False", "True"), "bool", ["False", "True", "False", "True"]),
            (("1.0", "2.5"), "float", ["1.0", "2.5", "1.0", "2.5"]),
        ],
    )
    def test_labels_have_the_types_of_the_file(
        self, classes: tuple[str, ...], dtype: LabelDtype, written: list[str], tmp_path: Path
    ) -> None:
        frame = form_of(target_of(*classes, dtype=dtype), "accuracy").fill(CHANCES, Threshold(0.5))
        write_submission(tmp_path / "s.csv", frame)
        assert list(pd.read_csv(tmp_path / "s.csv", dtype=str)["y"]) == written

    @pytest.mark.parametrize(
        ("decision", "predictions", "labels"),
        [
            (ClassMultipliers((1.0, 1.0, 1.0)), THREE, ["b", "a", "c", "c"]),
            (ClassMultipliers((2.0, 1.0, 1.0)), THREE, ["b", "a", "c", "a"]),
            (CutPoints((0.5, 0.8)), CHANCES, ["a", "c", "a", "b"]),
        ],
    )
    def test_decisions(self, decision: Decision, predictions: NDArray[np.float32], labels: list[str]) -> None:
        frame = form_of(target_of("a", "b", "c"), "macro_f1").fill(predictions, decision)
        assert list(frame["y"]) == labels


class TestWithSample:
    def test_order_header_and_spelling_of_the_sample(self, tmp_path: Path) -> None:
        sample = 'id,Survived\n9.0,0\n008,0\n"a,b",0\n007,0\n'
        frame = form_of(target_of("0", "1", dtype="int"), sample=sample, tmp_path=tmp_path).fill(CHANCES, None)
        assert text_of(frame) == ["id,Survived", "9.0,0.6", "008,0.9", '"a,b",0.4', "007,0.1"]

    def test_the_id_may_stand_last(self, tmp_path: Path) -> None:
        sample = 'y,id\n,008\n,007\n,"a,b"\n,9.0\n'
        frame = form_of(target_of("0", "1", dtype="int"), sample=sample, tmp_path=tmp_path).fill(CHANCES, None)
        assert text_of(frame)[:2] == ["y,id", "0.9,008"]

    def test_classes_in_the_samples_order(self, tmp_path: Path) -> None:
        sample = 'id,c,a,b\n007,0,0,0\n008,0,0,0\n"a,b",0,0,0\n9.0,0,0,0\n'
        form = form_of(target_of("a", "b", "c"), "log_loss", sample, tmp_path)
        frame = form.fill(THREE, None)
        assert list(frame.columns) == ["id", "c", "a", "b"]
        np.testing.assert_allclose(frame[["a", "b", "c"]], THREE)

    @pytest.mark.parametrize("classes", [("C", "CL", "D"), ("1", "2", "10"), ("A", "SA", "StatA")])
    def test_classes_behind_a_prefix(self, tmp_path: Path, classes: tuple[str, str, str]) -> None:
        names = [f"Status_{name}" for name in classes]
        rows = "".join(f"{row_id},0,0,0\n" for row_id in ("007", "008", '"a,b"', "9.0"))
        form = form_of(target_of(*classes), "log_loss", f"id,{names[2]},{names[0]},{names[1]}\n{rows}", tmp_path)
        np.testing.assert_allclose(form.fill(THREE, None)[names], THREE)

    def test_labels(self, tmp_path: Path) -> None:
        sample = 'id,y\n9.0,no\n008,no\n"a,b",no\n007,no\n'
        frame = form_of(target_of("no", "yes"), "f1", sample, tmp_path).fill(CHANCES, Threshold(0.5))
        assert text_of(frame) == ["id,y", "9.0,yes", "008,yes", '"a,b",no', "007,no"]

    def test_without_an_id_rows_keep_their_order(self, tmp_path: Path) -> None:
        form = form_of(target_of(dtype="float"), "rmse", "price\n0\n0\n0\n0\n", tmp_path, id_column=None)
        assert text_of(form.fill(CHANCES, None)) == ["price", "0.1", "0.9", "0.4", "0.6"]

    @pytest.mark.parametrize(
        ("sample", "message"),
        [
            ("id,y\n007,0\n008,0\n", r"has 2 ids, 0 of them not in test; test has 4"),
            ('id,y\n007,0\n008,0\n"a,b",0\n8.0,0\n', r"has 4 ids, 1 of them not in test, e\.g\. '8.0'; test has 4"),
            ("id,y\n7,0\n8,0\nx,0\n9,0\nz,0\n", r"has 5 ids, 5 of them not in test, e\.g\. '7'"),
            ("id,y\n007,0\n008,0\n008,0\n9.0,0\n", r"has the id '008' more than once; keep one row per id"),
            ("id,y,z\n007,0,0\n008,0,0\n", r"has a column 'z', but the predictions are for y; rename it"),
            ("y\n0\n0\n", r"has 2 rows and no id column, but test has 4 rows"),
            ("id\n007\n", r"has no column for 'y', but none at all; add it"),
        ],
    )
    def test_a_sample_that_does_not_fit(self, tmp_path: Path, sample: str, message: str) -> None:
        form = form_of(target_of("0", "1", dtype="int"), sample=sample, tmp_path=tmp_path)
        with pytest.raises(InputError, match=message):
            form.fill(CHANCES, None)

    def test_a_class_that_the_sample_lacks(self, tmp_path: Path) -> None:
        form = form_of(target_of("a", "b", "c"), "log_loss", "id,a,b\n007,0,0\n", tmp_path)
        with pytest.raises(InputError, match="has no column for 'c', but a, b; add it"):
            form.fill(THREE, None)

    def test_a_column_that_is_of_no_class(self, tmp_path: Path) -> None:
        form = form_of(target_of("a", "b", "c"), "log_loss", "id,a,b,x\n007,0,0,7\n", tmp_path)
        with pytest.raises(InputError, match="has a column 'x', but the predictions are for a, b, c; rename it"):
            form.fill(THREE, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_submission_without_a_finite_prediction(bad: float) -> None:
    predictions = CHANCES.copy()
    predictions[2] = bad
    with pytest.raises(InputError, match="not finite; no submission was written"):
        form_of(target_of("0", "1", dtype="int")).fill(predictions, None)


FRAME = pd.DataFrame({"id": ["1", "2"], "y": [0.5, 0.25]})


def test_numbers_increase(tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    paths = [write_numbered(folder, FRAME, member, score) for member, score in (("b01", 0.84312), ("lgb-0001", -1.5))]
    assert [path.name for path in paths] == ["0001_b01_cv0.84312.csv", "0002_lgb-0001_cv-1.50000.csv"]
    assert paths[0].read_text() == "id,y\n1,0.5\n2,0.25\n"
    (folder / "0041_mine.csv").touch()
    (folder / "current.csv").touch()
    (folder / "12_notes.csv").touch()
    paths[0].unlink()
    assert write_numbered(folder, FRAME, "b02", 0.5).name == "0042_b02_cv0.50000.csv"
    (folder / "9999_b.csv").touch()
    assert write_numbered(folder, FRAME, "b02", 0.5).name == "10000_b02_cv0.50000.csv"
    assert write_numbered(folder, FRAME, "b02", 0.5).name == "10001_b02_cv0.50000.csv"


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda n: write_numbered(tmp_path, FRAME, f"b{n:02d}", n / 100), range(24)))
    numbers = [path.name[:4] for path in paths]
    assert sorted(numbers) == [f"{n:04d}" for n in range(1, 25)]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "submissions" / "current.csv"
    write_submission(path, FRAME)
    text = path.read_text()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="disk full"):
        write_submission(path, FRAME * 2)
    with pytest.raises(OSError, match="disk full"):
        write_numbered(path.parent, FRAME, "b01", 0.5)
    assert path.read_text() == text
    assert [file.name for file in path.parent.iterdir()] == ["current.csv"]


def test_cells_of_a_sample_stay_text(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,y\n007,1\n1e3,0.50\ntrue,\n")
    sample = read_sample(tmp_path / "s.csv")
    assert list(sample["id"]) == ["007", "1e3", "true"]
    assert list(sample["y"])[:2] == ["1", "0.50"]


@pytest.mark.parametrize(
    ("target", "y", "n_outputs", "row"),
    [
        (target_of(dtype="float"), [1.0, 2.0, 10.0], 1, [2.0]),
        (target_of("a", "b"), [0, 1, 1, 1], 1, [0.75]),
        (target_of("a", "b", "c"), [0, 1, 1, 2], 3, [0.25, 0.5, 0.25]),
        (target_of("0", "1", "2", dtype="int"), [0, 2, 2], 1, [2.0]),
        (target_of("a", "b", "c"), [0, 1, 1], 3, [1 / 3 * 5 / 6, 2 / 3 * 5 / 6, 1 / 6]),
    ],
)
def test_constant_prediction(target: Target, y: list[float], n_outputs: int, row: list[float]) -> None:
    made = constant_prediction(target, np.array(y), 3, n_outputs)
    assert made.shape == (3, n_outputs)
    np.testing.assert_allclose(made, [row] * 3)


def test_names_of_numbered_files_fit_the_pattern(tmp_path: Path) -> None:
    path = write_numbered(tmp_path, FRAME, "b_top20", float("nan"))
    assert re.fullmatch(r"\d{4,}_b_top20_cvnan\.csv", path.name)
