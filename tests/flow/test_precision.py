"""From the csv file to the submission, numbers keep the digits of their spread."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Foldsmith = Callable[..., Any]

N_TRAIN, N_TEST = 300, 60


def base() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_TEST
    frame = pd.DataFrame(
        {
            "id": range(n),
            "a": rng.normal(size=n),
            "b": rng.normal(size=n),
            "c": rng.integers(0, 5, n),
            "k": rng.choice(list("xyz"), n),
        }
    )
    return frame.assign(y=15 * frame["a"] + 10 * frame["b"] + 5 * frame["c"] + 8 * rng.normal(size=n))


@pytest.fixture
def submitted(foldsmith: Foldsmith, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Runs a small search on the first rows of a table and returns what it submits for the others."""

    def run(frame: pd.DataFrame, name: str, *words: object) -> np.ndarray:
        home = tmp_path / name
        home.mkdir()
        frame[:N_TRAIN].to_csv(home / "train.csv", index=False)
        frame[N_TRAIN:].drop(columns="y").to_csv(home / "test.csv", index=False)
        files = ["--train", home / "train.csv", "--test", home / "test.csv", "--target", "y", "--out", home / "comp"]
        small = ["--families", "lightgbm,linear", "--trials", 2, "--executor", "inline", "--folds", 3]
        outcome = foldsmith("run", *files, *small, *words)
        assert outcome.code == 0, outcome.err
        return pd.read_csv(home / "comp" / "submissions" / "current.csv")["y"].to_numpy()

    return run


Submitted = Callable[..., np.ndarray]


@pytest.mark.parametrize(("offset", "factor"), [(1.7e9, 1.0), (-1e12, 1.0), (0.0, 1e40), (0.0, 1e-9)])
def test_a_targets_offset_and_unit_come_back_in_the_submission(
    submitted: Submitted, offset: float, factor: float
) -> None:
    frame = base()
    plain = submitted(frame, "plain")
    moved = submitted(frame.assign(y=frame["y"] * factor + offset), "moved")
    assert len(np.unique(moved)) == N_TEST
    np.testing.assert_allclose((moved - offset) / factor, plain, atol=0.01 * plain.std())
    truth = frame["y"][N_TRAIN:]
    assert np.sqrt(np.mean((plain - truth) ** 2)) < 0.5 * truth.std()


def test_a_column_of_seconds_predicts_as_well_as_one_without_its_offset(submitted: Submitted) -> None:
    seconds = np.random.default_rng(1).integers(0, 100, N_TRAIN + N_TEST)
    frame = base().assign(a=seconds, y=(seconds > 50).astype(int))
    plain = submitted(frame, "plain")
    moved = submitted(frame.assign(a=1_600_000_000 + seconds), "moved")
    truth = frame["y"][N_TRAIN:].to_numpy()
    for chances in (plain, moved):
        assert np.mean((chances > 0.5) == truth) > 0.95


def test_a_broken_test_cell_cannot_send_a_prediction_to_the_sky(submitted: Submitted) -> None:
    frame = base()
    frame["y"] = np.exp(2 + 1.8 * frame["a"] + 0.3 * frame["b"]).round(2)
    frame.loc[N_TRAIN + 3, "a"] = 40.0
    prediction = submitted(frame, "skewed", "--metric", "rmsle", "--families", "linear")
    largest = frame["y"][:N_TRAIN].max()
    assert prediction.max() < (1 + largest) ** 1.11
