"""The contract: the same problem has the same name, another problem has another, and frozen folds stay."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.config import load_config
from foldsmith.problem.contract import Problem, contract_hash, freeze_plan, frozen_plan, open_problem
from foldsmith.problem.dataset import open_dataset
from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.problem.folder import Folder

MakeProblem = Callable[..., Problem]
MakeFrames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

MAE_OF_YOURS = """
import numpy as np

def weighted_mae(y, prediction):
    return float(np.abs(y - prediction).mean() * {factor})

weighted_mae.greater_is_better = False
"""


def edit(problem: Problem, old: str, new: str) -> None:
    path = problem.folder.config
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_same_content_has_the_same_contract(make_problem: MakeProblem, tmp_path: Path) -> None:
    first = make_problem(name="one")
    shutil.copy(tmp_path / "data" / "train.csv", tmp_path / "copied.csv")
    second = make_problem(name="two")
    edit(second, str(tmp_path / "data" / "train.csv"), str(tmp_path / "copied.csv"))
    again = open_problem(second.folder.root)
    assert first.contract == second.contract == again.contract
    assert again.data.paths[0] == tmp_path / "copied.csv"
    assert first.plan == again.plan
    assert len(first.contract) == 12 and int(first.contract, 16) >= 0


def test_another_problem_has_another_contract(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    train, _ = make_frames()
    changed = train.assign(size=train["size"] + 1)
    contracts = [
        make_problem(name="a").contract,
        make_problem(name="b", metric="log_loss").contract,
        make_problem(name="c", n_folds=2).contract,
        make_problem(name="d", split_seed=1).contract,
        make_problem(name="e", scheme="plain").contract,
        make_problem(name="f", positive="0").contract,
        make_problem(name="g", train=changed).contract,
        make_problem(name="h", target="colour", test=train.iloc[:5]).contract,
    ]
    assert len(set(contracts)) == len(contracts)


def test_test_rows_and_search_options_are_no_part_of_it(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    first = make_problem(name="a")
    second = make_problem(name="b", test=make_frames()[1].iloc[:5], families=("linear",), model_seed=9)
    assert first.contract == second.contract
    assert first.data.test_fingerprint != second.data.test_fingerprint


def test_another_spelling_of_a_metric_is_the_same_metric(make_problem: MakeProblem) -> None:
    problem = make_problem()
    edit(problem, 'metric = "auc"', 'metric = "ROC-AUC"')
    again = open_problem(problem.folder.root)
    assert again.metric.name == "auc"
    assert again.contract == problem.contract


def test_the_source_of_a_users_metric_counts(make_problem: MakeProblem, tmp_path: Path) -> None:
    code = tmp_path / "comp" / "code"
    code.mkdir(parents=True)
    (code / "mine.py").write_text(MAE_OF_YOURS.format(factor=1))
    problem = make_problem("regression", metric="mine:weighted_mae")
    contract = problem.contract
    assert open_problem(problem.folder.root).contract == contract
    (code / "mine.py").write_text(MAE_OF_YOURS.format(factor=2))
    other = open_problem(problem.folder.root)
    assert other.contract != contract
    y = np.array([0.0, 1.0])
    assert other.metric.score(y, y + 1) == 2.0
    assert other.plan == problem.plan


def test_folds_are_frozen_once(make_problem: MakeProblem) -> None:
    problem = make_problem()
    folder, config = problem.folder, problem.config
    before = {path: path.read_bytes() for path in folder.folds.iterdir()}
    with pytest.raises(ContractError, match=rf"frozen as {problem.plan.hash}.*use another folder") as caught:
        freeze_plan(folder, config, problem.data)
    assert caught.value.exit_code == 3
    assert {path: path.read_bytes() for path in folder.folds.iterdir()} == before
    assert frozen_plan(folder, config, problem.data) == problem.plan


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("n_folds = 3", "n_folds = 4", "n_folds"),
        ("seed = 42", "seed = 43", "seed"),
        ('scheme = "stratified"', 'scheme = "plain"', "scheme"),
        ('scheme = "stratified"', 'scheme = "group"\ngroup = "colour"', "group, scheme"),
    ],
)
def test_a_changed_split_is_refused_by_name(make_problem: MakeProblem, old: str, new: str, keys: str) -> None:
    problem = make_problem()
    edit(problem, old, new)
    message = rf"frozen as {problem.plan.hash}, but \[split\] in foldsmith\.toml now asks for another {keys}; put"
    with pytest.raises(ContractError, match=message):
        open_problem(problem.folder.root)
    edit(problem, new, old)
    assert open_problem(problem.folder.root).contract == problem.contract


def test_another_train_file_gets_its_own_folds(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    problem = make_problem()
    train, _ = make_frames(n_train=48)
    train.to_csv(problem.data.paths[0], index=False)
    with pytest.raises(InputError, match="no folds are frozen in .*; run 'foldsmith folds make'"):
        open_problem(problem.folder.root)
    other = open_problem(problem.folder.root, freeze=True)
    assert other.contract != problem.contract
    assert other.plan.n_rows == 48
    assert len(list(problem.folder.folds.glob("*.parquet"))) == 2


def test_a_harmed_fold_plan_is_refused(make_problem: MakeProblem) -> None:
    problem = make_problem()
    path = problem.folder.folds / f"{problem.plan.hash}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractError, match="is damaged"):
        open_problem(problem.folder.root)


def test_opening_without_folds_writes_none(make_problem: MakeProblem) -> None:
    problem = make_problem()
    shutil.rmtree(problem.folder.folds)
    with pytest.raises(InputError, match="no folds are frozen"):
        open_problem(problem.folder.root)
    assert not problem.folder.folds.exists()


@pytest.mark.parametrize(
    ("task", "metric", "kind", "outputs"),
    [
        ("binary", "auc", "binary", [{"target": "y", "class": "1"}]),
        ("multiclass", "log_loss", "multiclass", [{"target": "y", "class": c} for c in ("calm", "fair", "wild")]),
        ("multiclass", "qwk", "regression", [{"target": "y", "class": None}]),
        ("regression", "mae", "regression", [{"target": "y", "class": None}]),
    ],
)
def test_goal_and_outputs(
    make_problem: MakeProblem, task: str, metric: str, kind: str, outputs: list[dict[str, Any]]
) -> None:
    problem = make_problem(task, metric=metric)
    assert problem.goal.kind == kind
    assert problem.outputs == outputs
    assert len(problem.outputs) == problem.goal.n_outputs


def test_rmsle_is_fitted_in_logs_and_comes_back(make_problem: MakeProblem) -> None:
    problem = make_problem("regression", metric="rmsle")
    units = problem.units
    assert units is not None
    logs = np.log1p(problem.data.y)
    np.testing.assert_allclose(problem.fit_y, (logs - logs.mean()) / logs.std(), atol=1e-6)
    np.testing.assert_allclose(units.to_output(problem.fit_y.astype(np.float32)), problem.data.y, rtol=1e-5, atol=1e-5)
    assert units.to_output(np.array([-1000.0], np.float32))[0] >= 0
    assert np.isfinite(units.to_output(np.array([1000.0], np.float32))).all()


def test_models_of_older_versions_predict_plain_values(make_problem: MakeProblem) -> None:
    problem = make_problem("regression", metric="rmse")
    assert problem.units_of({"units": problem.units.to_json()}) == problem.units  # type: ignore[union-attr]
    older = problem.units_of({})
    assert older is not None
    assert older.to_output(np.array([[1234.5]], np.float32)) == 1234.5
    assert make_problem("binary", name="classes").units_of({}) is None


def test_groups_and_times_come_from_the_train_file(make_problem: MakeProblem, make_frames: MakeFrames) -> None:
    train, _ = make_frames()
    grouped = make_problem(name="g", group="colour")
    assert grouped.plan.scheme == "stratified_group"
    for fold in range(3):
        _, valid = grouped.plan.split(0, fold)
        assert train["colour"].iloc[valid].nunique() == 1
    timed = make_problem(name="t", time="size")
    assert timed.plan.scheme == "time"
    fit, valid = timed.plan.split(0, 0)
    assert train["size"].iloc[fit].max() < train["size"].iloc[valid].min()
    with pytest.raises(UnknownNameError, match="unknown column in .* 'color'; did you mean 'colour'"):
        make_problem(name="u", group="color")


@pytest.mark.parametrize("by_id", [True, False])
def test_imported_folds(make_problem: MakeProblem, make_frames: MakeFrames, tmp_path: Path, by_id: bool) -> None:
    train, test = make_frames()
    folds = np.arange(len(train)) % 4
    table = pd.DataFrame({"id": train["id"], "fold": folds})
    if by_id:
        table = table.sample(frac=1, random_state=0)
    else:
        train, test, table = train.drop(columns="id"), test.drop(columns="id"), table[["fold"]]
    table.to_csv(tmp_path / "folds.csv", index=False)
    problem = make_problem(train=train, test=test, fold_file=tmp_path / "folds.csv")
    assert problem.plan.scheme == "imported"
    np.testing.assert_array_equal(problem.plan.valid_fold[0], folds)


def test_the_hash_needs_no_open_tables(make_problem: MakeProblem) -> None:
    problem = make_problem()
    folder = Folder(problem.folder.root)
    config = load_config(folder.config)
    data = open_dataset(folder, config)
    assert contract_hash(folder, config, data.train_fingerprint, problem.plan.hash) == problem.contract
