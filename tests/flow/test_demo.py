"""The demo's data: the answers stay aside, and the score is scikit-learn's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.demo import DEMO_SETS, make_demo, score_demo
from foldsmith.flow.setup import SetupRequest, init
from foldsmith.flow.submission import current_path, write_baseline
from foldsmith.problem.contract import open_problem
from foldsmith.problem.errors import InputError, UnknownNameError

N_ROWS = {"breast_cancer": 569, "digits": 1797, "diabetes": 442, "wine": 178}


@pytest.mark.parametrize("name", DEMO_SETS)
def test_train_test_and_answers(tmp_path: Path, name: str) -> None:
    files = make_demo(tmp_path / "data", name)
    train, test, labels, sample = (pd.read_csv(path) for path in (files.train, files.test, files.labels, files.sample))
    assert len(train) + len(test) == N_ROWS[name]
    assert len(test) == round(0.3 * N_ROWS[name])
    assert set(train["id"]).isdisjoint(test["id"])
    assert files.target in train and files.target not in test
    assert list(labels["id"]) == list(test["id"]) == list(sample["id"])
    assert set(train.columns) == set(test.columns) | {files.target}


@pytest.mark.parametrize("name", DEMO_SETS)
def test_the_baseline_is_valid_and_the_answers_are_perfect(tmp_path: Path, name: str) -> None:
    files = make_demo(tmp_path / "data", name)
    request = SetupRequest(
        files.train, files.test, files.target, sample=files.sample, id="id", metric=files.metric, n_folds=2
    )
    init(tmp_path / name, request)
    problem = open_problem(tmp_path / name, freeze=True)
    write_baseline(problem)
    baseline = score_demo(files, current_path(problem))
    assert np.isfinite(baseline)
    answers = pd.read_csv(files.labels)
    sample = pd.read_csv(files.sample)
    best = sample.copy()
    if len(sample.columns) > 2:
        for column in sample.columns[1:]:
            best[column] = (answers[files.target].astype(str) == column).astype(float)
    elif files.metric == "log_loss":
        best[files.target] = (answers[files.target] == problem.data.target.classes[1]).astype(float)
    else:
        best[files.target] = answers[files.target]
    best.sample(frac=1, random_state=1).to_csv(tmp_path / "best.csv", index=False)  # rows are matched by id
    perfect = score_demo(files, tmp_path / "best.csv")
    assert perfect == pytest.approx(1.0 if files.metric == "accuracy" else 0.0, abs=1e-9)
    assert problem.metric.better(perfect, baseline)


def test_the_same_files_again(tmp_path: Path) -> None:
    first = make_demo(tmp_path / "a", "wine")
    second = make_demo(tmp_path / "b", "wine")
    make_demo(tmp_path / "a", "wine")
    assert first.train.read_bytes() == second.train.read_bytes()
    assert first.labels.read_bytes() == second.labels.read_bytes()


def test_an_unknown_set(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown demo data set 'iris'; .*known: breast_cancer, diabetes, digits"
    ):
        make_demo(tmp_path / "data", "iris")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(InputError, match="is a file"):
            make_demo(folder, "wine")
