"""``--json``: one valid JSON value on stdout and nothing else, with the keys that programs rely on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith import __version__
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import MemberStore

Foldsmith = Callable[..., Any]

RUN_KEYS = [
    "submission",
    "n_members",
    "blend",
    "blend_size",
    "cv_score",
    "nested_score",
    "metric",
    "seconds",
    "version",
]
TOP_KEYS = {
    "member",
    "family",
    "state",
    "value",
    "sem",
    "folds",
    "pooled",
    "policy",
    "seconds",
    "marks",
    "error",
}


def strict(text: str) -> Any:
    """The one JSON value of ``text``; NaN and Infinity are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_run(foldsmith: Foldsmith, searched: Path) -> None:
    outcome = foldsmith("run", "--out", searched, "--trials", 3, "--families", "linear,lightgbm,knn", "--json")
    assert outcome.code == 0, outcome.err
    record = strict(outcome.out)
    assert list(record) == RUN_KEYS
    assert record["submission"] == str(next(searched.glob("submissions/0002_b02_*.csv")))
    assert (record["n_members"], record["blend"], record["metric"]) == (3, "b02", "auc")
    assert record["version"] == __version__
    assert 1 <= record["blend_size"] <= 3
    assert 0 <= record["nested_score"] <= 1 and 0 <= record["cv_score"] <= 1 and record["seconds"] > 0


def test_run_in_a_process_of_its_own(searched_once: Path, tmp_path: Path) -> None:
    """Workers and libraries print to the same stdout, from C too."""
    words = ["--train", "train.csv", "--test", "test.csv", "--target", "y", "--folds", "2", "--trials", "2"]
    search = ["--families", "lightgbm,knn", "--executor", "local", "--workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "foldsmith", "run", *words, *search, "--out", str(tmp_path / "comp")],
        cwd=searched_once,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    record = strict(done.stdout)
    assert record["n_members"] == 2
    assert Path(record["submission"]).read_text().startswith("id,y\n")
    assert "Traceback" not in done.stderr


def test_top(foldsmith: Foldsmith, searched: Path) -> None:
    rows = strict(foldsmith("-C", searched, "top", "--json").out)
    assert {row["member"] for row in rows} == {"b01", "knn-0001", "lgb-0001", "lin-0001"}
    assert all(set(row) >= TOP_KEYS for row in rows)
    assert [row["value"] for row in rows] == sorted((row["value"] for row in rows), reverse=True)
    assert all(len(row["folds"]) == 2 for row in rows)
    assert [row["marks"] for row in rows if row["member"] == "b01"] == ["n"]
    assert len(strict(foldsmith("-C", searched, "top", "-n", 2, "--json").out)) == 2
    assert strict(foldsmith("-C", searched, "top", "--failed", "--json").out) == []


def test_top_as_csv(foldsmith: Foldsmith, searched: Path) -> None:
    lines = foldsmith("-C", searched, "top", "--csv").out.splitlines()
    assert set(lines[0].split(",")) >= TOP_KEYS
    assert len(lines) == 5


def test_show(foldsmith: Foldsmith, searched: Path) -> None:
    record = strict(foldsmith("-C", searched, "show", "lgb-0001", "--json").out)
    assert (record["id"], record["kind"], record["state"], record["family"]) == (
        "lgb-0001",
        "trial",
        "complete",
        "lightgbm",
    )
    assert set(record["scores"]) == {"value", "mean", "sem", "per_fold", "pooled", "untuned"}
    assert record["params"] and record["seeds"] == {"model": 0, "sampler": 0}
    blend = strict(foldsmith("-C", searched, "show", "b01", "--json").out)
    assert sum(blend["params"].values()) == pytest.approx(1)
    assert set(blend["details"]) >= {"in_sample", "trace", "decision", "reason"}


def test_status(foldsmith: Foldsmith, searched: Path) -> None:
    record = strict(foldsmith("-C", searched, "status", "--json").out)
    assert (record["metric"], record["driver"], record["phase"]) == ("auc", None, "idle")
    assert record["members"] == {"knn": 1, "lightgbm": 1, "linear": 1}
    assert record["states"] == {"complete": 3}
    assert set(record["best"]) == {"single", "blend"}
    assert record["submission"].endswith("comp/submissions/current.csv")
    assert record["contract"] and record["folder"] and record["folds"].startswith("2 stratified, frozen as")


def test_folds_show(foldsmith: Foldsmith, searched: Path) -> None:
    record = strict(foldsmith("-C", searched, "folds", "show", "--json").out)
    assert (record["n_folds"], record["scheme"], record["n_rows"], record["seed"]) == (2, "stratified", 60, 42)
    assert sum(fold["valid_rows"] for fold in record["folds"]) == 60
    assert set(record["folds"][0]["class_shares"]) == {"0", "1"}


def test_blend(foldsmith: Foldsmith, searched: Path) -> None:
    record = strict(foldsmith("-C", searched, "blend", "greedy", "--from", "top:2", "--name", "mine", "--json").out)
    assert set(record) >= {"id", "method", "metric", "nested_score", "in_sample_score", "weights", "against_best"}
    assert record["id"] == "mine" and sum(record["weights"].values()) == pytest.approx(1)
    assert 0 <= record["against_best"]["probability"] <= 1


def test_blend_explained_and_compared(foldsmith: Foldsmith, searched: Path) -> None:
    """The same members by another method, with a diagnosis; and the two blends against each other."""
    words = ("blend", "convex", "--space", "identity", "--name", "best", "--explain", "--json")
    record = strict(foldsmith("-C", searched, *words).out)
    explanation = record["explanation"]
    assert record["method"] == "convex" and set(explanation["without"]) <= set(record["weights"])
    assert np.shape(explanation["error_correlation"]) == (len(explanation["members"]),) * 2
    compared = strict(foldsmith("-C", searched, "compare", "best", "lin-0001", "--json").out)
    assert compared["first"] == "best" and compared["folds_won"] + compared["folds_lost"] <= 2
    assert 0 <= compared["probability"] <= 1


def test_resume(foldsmith: Foldsmith, searched: Path) -> None:
    """The last run, again: all its trials are there, so it only blends."""
    record = strict(foldsmith("-C", searched, "resume", "--json").out)
    assert list(record) == RUN_KEYS and record["n_members"] == 3
    assert foldsmith("-C", searched, "search", "linear", "--trials", 1, "--executor", "inline").code == 0
    record = strict(foldsmith("-C", searched, "resume", "--json").out)
    assert record["ended"] == "done" and record["skipped"] == {}


def test_scores_that_are_not_defined_are_null(foldsmith: Foldsmith, searched: Path) -> None:
    store = MemberStore(Folder(searched))
    nan = float("nan")
    store.write(replace(store.get("lin-0001"), scores=Scores(nan, nan, nan, (nan, 0.5), 0.5)))
    row = next(row for row in strict(foldsmith("-C", searched, "top", "--json").out) if row["member"] == "lin-0001")
    assert (row["value"], row["sem"], row["folds"]) == (None, None, [None, 0.5])
    assert strict(foldsmith("-C", searched, "show", "lin-0001", "--json").out)["scores"]["value"] is None
    strict(foldsmith("-C", searched, "status", "--json").out)
    strict(foldsmith("-C", searched, "blend", "--json").out)


def test_a_run_whose_score_is_not_defined(
    foldsmith: Foldsmith, make_frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], tmp_path: Path
) -> None:
    """Every fold holds one group of one class, so none has an AUC."""
    train, test = make_frames()
    train["block"], test["block"] = [f"{code}-{row % 2}" for row, code in enumerate(train["y"])], "0-0"
    train.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    words = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--target", "y", "--group", "block"]
    search = ["--scheme", "group", "--folds", 4, "--trials", 1, "--families", "linear", "--executor", "inline"]
    outcome = foldsmith("run", *words, *search, "--json", "--out", tmp_path / "comp")
    assert outcome.code == 1
    assert "auc is undefined for these predictions" in outcome.err
