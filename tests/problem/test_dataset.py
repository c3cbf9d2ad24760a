"""A competition's tables: parsed once, ids and labels as they stand in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.flow.submission import make_submission
from foldsmith.problem import dataset
from foldsmith.problem.config import Config, load_config
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.dataset import open_dataset, read_frames, read_ids
from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import Member

MakeProblem = Callable[..., Problem]
MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
AddMember = Callable[..., Member]


def reopened(problem: Problem) -> dataset.Dataset:
    folder = Folder(problem.folder.root)
    return open_dataset(folder, load_config(folder.config))


def forbid_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(dataset, "read_frame", fail)


def test_a_second_open_parses_nothing(make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem("multiclass")
    forbid_parsing(monkeypatch)
    again = reopened(problem)
    assert again.train_fingerprint == problem.data.train_fingerprint
    assert again.target == problem.data.target
    np.testing.assert_array_equal(again.y, problem.data.y)
    np.testing.assert_array_equal(again.train.numeric, problem.data.train.numeric)
    assert isinstance(again.train.numeric, np.memmap)


def test_a_moved_folder_parses_nothing(
    make_problem: MakeProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    problem.folder.root.rename(tmp_path / "moved")
    forbid_parsing(monkeypatch)
    assert open_problem(tmp_path / "moved").contract == problem.contract


def test_a_new_test_file_leaves_train_alone(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    problem = make_problem()
    tables = {path: path.stat().st_mtime_ns for path in problem.folder.tables.rglob("*") if path.is_file()}
    make_frames()[1].iloc[:4].to_csv(problem.data.paths[1], index=False)
    again = reopened(problem)
    assert again.train_fingerprint == problem.data.train_fingerprint
    assert again.test_fingerprint != problem.data.test_fingerprint
    assert again.test.n_rows == 4 and again.test.schema == problem.data.train.schema
    assert tables == {path: path.stat().st_mtime_ns for path in tables}


def test_another_kind_of_a_column_is_another_fingerprint(make_problem: MakeProblem) -> None:
    problem = make_problem()
    with open(problem.folder.config, "a") as file:
        file.write('weight = "categorical"\n')
    again = reopened(problem)
    assert again.train_fingerprint != problem.data.train_fingerprint
    assert "weight" in again.train.schema.categorical


def test_a_crash_before_the_table_is_there_is_made_good(make_problem: MakeProblem) -> None:
    """Labels are written before the table that vouches for them."""
    problem = make_problem()
    y = problem.data.y.copy()
    table = problem.folder.tables / problem.data.train_fingerprint
    table.rename(problem.folder.tables / ".half-written.tmp")
    (problem.folder.tables / f"{problem.data.train_fingerprint}.y.npy").write_bytes(b"torn")
    np.testing.assert_array_equal(reopened(problem).y, y)


def test_a_missing_file_is_named(make_problem: MakeProblem) -> None:
    problem = make_problem()
    problem.data.paths[1].unlink()
    with pytest.raises(InputError, match=r"no such file: .*test\.csv; correct \[data\] in foldsmith\.toml"):
        reopened(problem)


def test_ids_come_as_written(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    train, test = make_frames()
    problem = make_problem(train=train, test=test)
    assert problem.data.train_ids == list(train["id"])
    assert problem.data.test_ids == list(test["id"])
    assert problem.data.test_ids[0] == "061"


def test_without_an_id_rows_are_numbered(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    train, test = (frame.drop(columns="id") for frame in make_frames())
    problem = make_problem(train=train, test=test)
    assert problem.config.data.id is None
    assert problem.data.test_ids == [str(number) for number in range(len(test))]


def test_read_ids_of_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"key": [10, 7], "x": [0.5, 1.5]}).to_parquet(tmp_path / "t.parquet")
    assert read_ids(tmp_path / "t.parquet", "key") == ["10", "7"]


@pytest.mark.parametrize(
    ("spellings", "suffix"),
    [
        (("false", "true"), "csv"),
        (("False", "True"), "csv"),
        (("FALSE", "TRUE"), "csv"),
        (("no", "yes"), "csv"),
        (("0", "1"), "csv"),
        (("01", "02"), "csv"),
        (("1.5", "2.0"), "csv"),
        ((False, True), "parquet"),
    ],
)
def test_labels_keep_their_spelling(
    make_frames: MakeFrames,
    tmp_path: Path,
    add_member: AddMember,
    spellings: tuple[str, str] | tuple[bool, bool],
    suffix: str,
) -> None:
    train, test = make_frames()
    train["y"] = [spellings[code] for code in train["y"]]
    first, second = tmp_path / f"train.{suffix}", tmp_path / f"test.{suffix}"
    for frame, path in ((train, first), (test, second)):
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    init(tmp_path / "c", SetupRequest(first, second, "y", metric="accuracy", task="binary", n_folds=2))
    problem = open_problem(tmp_path / "c", freeze=True)
    chances = np.linspace(0, 1, problem.data.test.n_rows)[:, None]
    member = add_member(problem, problem.data.y[:, None], chances)
    written = pd.read_csv(make_submission(problem, member.id), dtype=str)
    assert set(written["y"]) == {str(spelling) for spelling in spellings}


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["true", "false"], ["true", "false"]),
        (["01", "2"], ["01", "2"]),
        (["1", "-2"], [1, -2]),
        ([" 1", "2 "], [1, 2]),
        (["1.0", "2"], [1.0, 2.0]),
        (["1e3", "0.50"], [1000.0, 0.5]),
        (["3", "many"], ["3", "many"]),
    ],
)
def test_a_target_is_numbers_only_if_they_are_written_alike(
    tmp_path: Path, cells: list[str], values: list[object]
) -> None:
    (tmp_path / "train.csv").write_text("x,y\n" + "".join(f"0,{cell}\n" for cell in cells))
    (tmp_path / "test.csv").write_text("x\n1\n")
    frames = read_frames(tmp_path / "train.csv", tmp_path / "test.csv", target="y", id_column=None)
    assert list(frames.train["y"]) == values
    assert [type(value) is str for value in frames.train["y"].tolist()] == [type(value) is str for value in values]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"target": "Survive", "id_column": None}, "target 'Survive' is not a column of train.csv; did you mean"),
        ({"target": "zzz", "id_column": None}, "target 'zzz' is not a column of train.csv; columns: x, Survived"),
        ({"target": "Survived", "id_column": "key"}, "id 'key' is not a column of train.csv; columns: x, Survived"),
    ],
)
def test_wrong_names(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    (tmp_path / "train.csv").write_text("x,Survived\n1,0\n2,1\n")
    (tmp_path / "test.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match=message):
        read_frames(tmp_path / "train.csv", tmp_path / "test.csv", **words)


def test_the_store_is_named_by_content_and_settings(make_problem: MakeProblem) -> None:
    problem = make_problem()
    record = problem.config.model_dump()
    record["data"]["positive"] = "0"
    other = open_dataset(problem.folder, Config.model_validate(record))
    assert other.train_fingerprint != problem.data.train_fingerprint
    np.testing.assert_array_equal(other.y, 1 - problem.data.y)
    names = {path.name.split(".")[0] for path in problem.folder.tables.iterdir()}
    assert {problem.data.train_fingerprint, other.train_fingerprint} <= names
