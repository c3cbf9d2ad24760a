"""Setting up: what is inferred, and that nothing is written unless all of it can work."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from foldsmith.flow.setup import Setup, SetupRequest, check_writable, init
from foldsmith.problem.config import load_config
from foldsmith.problem.contract import open_problem
from foldsmith.problem.errors import ContractError, InputError, UnknownNameError

MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def set_up(tmp_path: Path, make_frames: MakeFrames) -> Callable[..., Setup]:
    """``init`` of a task's tables in ``tmp_path / "comp"``; ``change`` alters train and test first."""

    def run(
        kind: str = "binary", /, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame, **options: Any
    ) -> Setup:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for name, frame in zip(("train", "test"), make_frames(kind), strict=True):
            change(frame).to_csv(folder / f"{name}.csv", index=False)
        return init(
            tmp_path / "comp", SetupRequest(folder / "train.csv", folder / "test.csv", **{"target": "y", **options})
        )

    return run


SetUp = Callable[..., Setup]


@pytest.mark.parametrize(("task", "metric"), [("binary", "auc"), ("multiclass", "log_loss"), ("regression", "rmse")])
def test_task_and_metric_are_inferred_with_reasons(set_up: SetUp, task: str, metric: str) -> None:
    made = set_up(task)
    assert (made.config.problem.task, made.config.problem.metric) == (task, metric)
    assert made.reasons["problem.metric"] == f"the default for {task}"
    text = made.folder.config.read_text()
    assert f'metric = "{metric}" # the default for {task}' in text
    assert "# colour: categorical, 3 distinct strings" in text


def test_the_written_config_is_the_returned_one(set_up: SetUp) -> None:
    made = set_up(families=("linear", "knn"), model_seed=3, sampler_seed=4, split_seed=5, n_folds=4, positive="0")
    assert load_config(made.folder.config) == made.config
    assert made.config.search.families == ["linear", "knn"]
    assert (made.config.search.model_seed, made.config.search.sampler_seed, made.config.split.seed) == (3, 4, 5)
    assert open_problem(made.folder.root, freeze=True).plan.n_folds == 4


def test_a_metric_of_values_makes_a_regression(set_up: SetUp) -> None:
    made = set_up(metric="RMSE")
    assert made.config.problem.task == "regression"  # of a target of 0 and 1
    assert made.config.problem.metric == "rmse"


@pytest.mark.parametrize(
    ("names", "found", "reason"),
    [
        ({}, "id", "by its name"),
        ({"id": "PassengerId"}, "PassengerId", "by its name"),
        ({"id": "key"}, None, ""),
    ],
)
def test_the_id_is_found_by_its_name(set_up: SetUp, names: dict[str, str], found: str | None, reason: str) -> None:
    made = set_up(change=lambda frame: frame.rename(columns=names))
    assert made.config.data.id == found
    assert made.reasons["data.id"] == reason


def test_the_id_is_the_samples_first_column(set_up: SetUp, make_frames: MakeFrames, tmp_path: Path) -> None:
    ids = make_frames()[1]["id"]
    pd.DataFrame({"key": ids, "Survived": 0}).to_csv(tmp_path / "sample.csv", index=False)
    made = set_up(change=lambda frame: frame.rename(columns={"id": "key"}), sample=tmp_path / "sample.csv")
    assert made.config.data.id == "key"
    assert made.reasons["data.id"] == "first column of the sample submission"
    assert made.config.data.sample == str(tmp_path / "sample.csv")


@pytest.mark.parametrize(
    ("task", "options", "scheme"),
    [
        ("binary", {}, "stratified"),
        ("regression", {}, "stratified"),
        ("binary", {"group": "colour"}, "stratified_group"),
        ("regression", {"group": "colour"}, "group"),
        ("binary", {"time": "size"}, "time"),
        ("binary", {"scheme": "plain"}, "plain"),
    ],
)
def test_the_scheme_follows_from_group_and_time(set_up: SetUp, task: str, options: dict[str, str], scheme: str) -> None:
    assert set_up(task, n_folds=3, **options).config.split.scheme == scheme


def test_paths_inside_the_folder_are_relative(make_frames: MakeFrames, tmp_path: Path) -> None:
    comp = tmp_path / "comp"
    (comp / "data").mkdir(parents=True)
    train, test = make_frames()
    train.to_csv(comp / "data" / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    made = init(comp, SetupRequest(comp / "data" / "train.csv", tmp_path / "test.csv", "y"))
    assert (made.config.data.train, made.config.data.test) == ("data/train.csv", str(tmp_path / "test.csv"))
    comp.rename(tmp_path / "moved")
    assert open_problem(tmp_path / "moved", freeze=True).data.train.n_rows == 60


def test_what_lies_in_the_folder_stays(set_up: SetUp, tmp_path: Path) -> None:
    (tmp_path / "comp" / "code").mkdir(parents=True)
    (tmp_path / "comp" / "notes.md").write_text("mine")
    made = set_up()
    assert {path.name for path in made.folder.root.iterdir()} == {"code", "notes.md", "foldsmith.toml", ".foldsmith"}


def test_a_second_set_up_is_refused(set_up: SetUp) -> None:
    made = set_up()
    text = made.folder.config.read_text()
    with pytest.raises(ContractError, match=r"foldsmith\.toml exists already; edit it, or choose another folder"):
        set_up(metric="log_loss")
    assert made.folder.config.read_text() == text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "Y"}, InputError, "target 'Y' is not a column of train.csv; did you mean 'y'"),
        ({"id": "ids"}, InputError, "id 'ids' is not a column of train.csv; did you mean 'id'"),
        ({"metric": "acuracy"}, UnknownNameError, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"metric": "mine:f"}, InputError, "'mine:f': there is no file .*mine.py"),
        ({"task": "ranking"}, UnknownNameError, "unknown task 'ranking'"),
        ({"task": "multiclass"}, InputError, "task='multiclass' but target 'y' has 2 distinct values"),
        ({"task": "regression", "metric": "auc"}, InputError, "metric 'auc' fits binary, but the target is regression"),
        ({"positive": "2"}, InputError, "positive='2' is not a label of target 'y'; choose one of '0', '1'"),
        ({"n_folds": 1}, InputError, "n_folds=1: Input should be greater than or equal to 2; correct it"),
        ({"n_folds": 40}, InputError, "n_folds=40 but class '[01]' has .* rows; lower n_folds"),
        ({"scheme": "random"}, InputError, "scheme='random': Input should be 'stratified'"),
        ({"group": "color"}, UnknownNameError, "unknown column in .* 'color'; did you mean 'colour'"),
        ({"scheme": "group"}, InputError, "scheme='group' needs a column whose rows stay together"),
        ({"time": "colour"}, InputError, "time column 'colour' holds neither dates"),
        ({"time": "size", "gap": "100"}, InputError, "gap=100 rows leaves fold 0 no rows"),
        ({"split_seed": -1}, InputError, "seed=-1 is out of range"),
        ({"families": ("lightgbn",)}, UnknownNameError, "unknown family 'lightgbn'; did you mean 'lightgbm'"),
        ({"families": ("mine:Model",)}, InputError, "'mine:Model': there is no file"),
        ({"sample": Path("nowhere.csv")}, InputError, "nowhere.csv does not exist"),
        ({"fold_file": Path("nowhere.csv")}, InputError, "nowhere.csv does not exist"),
    ],
)
def test_nothing_is_written_when_something_is_wrong(
    set_up: SetUp, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        set_up(**options)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_no_column_to_learn_from(set_up: SetUp, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train.csv has no column to learn from besides id and target"):
        set_up(change=lambda frame: frame.drop(columns=["size", "weight", "colour"]))
    assert not (tmp_path / "comp").exists()


def test_a_sample_of_another_competition(set_up: SetUp, tmp_path: Path) -> None:
    pd.DataFrame({"id": ["1", "2"], "y": 0}).to_csv(tmp_path / "sample.csv", index=False)
    with pytest.raises(InputError, match="sample submission has 2 ids, 2 of them not in test, e.g. '1'; test has 12"):
        set_up(sample=tmp_path / "sample.csv")
    assert not (tmp_path / "comp").exists()


class TestWritable:
    def test_new_and_old_folders(self, tmp_path: Path) -> None:
        check_writable(tmp_path)
        check_writable(tmp_path / "a" / "b" / "c")
        assert list(tmp_path.iterdir()) == []

    def test_relative_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("comp", ".", "a/b"):
            check_writable(Path(name))

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="the output path .*file is a file; name a folder"):
            check_writable(tmp_path / "file")
        with pytest.raises(InputError, match="goes through .*file, which is a file; name another folder"):
            check_writable(tmp_path / "file" / "a" / "b")

    def test_read_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and real(path, mode))
        with pytest.raises(InputError, match=rf"cannot be written \({tmp_path} is read-only\); name another folder"):
            check_writable(tmp_path / "comp")
