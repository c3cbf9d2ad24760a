"""Commands from files to submission, the folder they act on, and what goes before what among options."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Foldsmith = Callable[..., Any]
SMALL = ("--trials", 1, "--folds", 2, "--executor", "inline")


def launched(folder: Path) -> dict[str, Any]:
    """The resolved options of the last search."""
    record: dict[str, Any] = json.loads((folder / ".foldsmith" / "launch.json").read_text())["request"]
    return record


def test_step_by_step(foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path) -> None:
    comp = tmp_path / "comp"
    outcome = foldsmith("init", comp, *options, "--folds", 2)
    assert outcome.code == 0 and "binary" in outcome.out + outcome.err
    outcome = foldsmith("-C", comp, "folds", "make")
    assert outcome.code == 0 and outcome.out.startswith("2 stratified folds, frozen as ")
    outcome = foldsmith("-C", comp, "folds", "show")
    assert outcome.code == 0 and "2 stratified folds, seed 42" in outcome.out
    outcome = foldsmith("-C", comp, "search", "linear", "knn", "--trials", 2, "--executor", "inline")
    assert outcome.code == 0, outcome.err
    assert "lin-0001" in outcome.out and "knn-0001" in outcome.out
    assert (comp / "submissions" / "current.csv").exists()
    outcome = foldsmith("-C", comp, "top")
    assert outcome.code == 0 and "auc ± sem" in outcome.out
    outcome = foldsmith("-C", comp, "show", "lin-0001")
    assert outcome.code == 0 and "linear" in outcome.out
    outcome = foldsmith("-C", comp, "blend", "--from", "lin-0001,knn-0001")
    assert outcome.code == 0 and "b01" in outcome.out
    outcome = foldsmith("-C", comp, "blend", "greedy", "--bags", 2, "--explain")
    assert outcome.code == 0 and "b02" in outcome.out and "errors" in outcome.out
    outcome = foldsmith("-C", comp, "compare", "b01", "lin-0001")
    assert outcome.code == 0 and "of b01 over lin-0001" in outcome.out and "better" in outcome.out
    outcome = foldsmith("-C", comp, "status")
    assert outcome.code == 0 and "nothing runs" in outcome.out
    outcome = foldsmith("-C", comp, "submit", "make", "b01")
    path = Path(outcome.out.strip())
    assert outcome.code == 0 and path.parent == comp / "submissions" and path.name.startswith("0001_b01_cv")
    assert list(pd.read_csv(path, dtype=str)["id"]) == [f"{number:03d}" for number in range(61, 73)]


def test_commands_act_on_the_current_folder(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = foldsmith("-C", searched, "top", "--json")
    monkeypatch.chdir(searched)
    assert foldsmith("top", "--json") == elsewhere
    monkeypatch.chdir(searched.parent)
    assert foldsmith("-C", "comp", "top", "--json") == elsewhere
    assert foldsmith("top", "--json").code == 2
    monkeypatch.setenv("FOLDSMITH_FOLDER", "comp")
    assert foldsmith("top", "--json") == elsewhere
    assert foldsmith("-C", ".", "top", "--json").code == 2  # a flag goes before the environment


def test_run_sets_up_the_folder_of_c(foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path) -> None:
    outcome = foldsmith("-C", tmp_path / "here", "run", *options, *SMALL, "--families", "linear")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "here" / "foldsmith.toml").exists()
    outcome = foldsmith(
        "-C", tmp_path / "here", "run", *options, *SMALL, "--families", "linear", "--out", tmp_path / "o"
    )
    assert outcome.code == 0 and (tmp_path / "o" / "foldsmith.toml").exists()


def test_a_second_run_goes_on_where_it_was(foldsmith: Foldsmith, searched: Path) -> None:
    fits = (searched / ".foldsmith" / "logs" / "fits.log").read_text()
    outcome = foldsmith("run", "--out", searched, "--trials", 3, "--families", "lightgbm,linear,knn", "--json")
    assert outcome.code == 0, outcome.err
    assert (searched / ".foldsmith" / "logs" / "fits.log").read_text() == fits
    assert json.loads(outcome.out)["n_members"] == 3


def test_flag_before_environment_before_config(
    foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comp = tmp_path / "comp"
    assert foldsmith("init", comp, *options, "--folds", 2, "--seed", 5).code == 0
    toml = comp / "foldsmith.toml"
    toml.write_text(
        toml.read_text().replace("families = []", 'families = ["linear"]').replace("workers = 0", "workers = 3")
    )
    inline = ["--trials", 1, "--executor", "inline"]
    assert foldsmith("-C", comp, "run", *inline).code == 0
    assert (launched(comp)["families"], launched(comp)["workers"]) == (["linear"], 3)
    assert (launched(comp)["model_seed"], launched(comp)["sampler_seed"]) == (5, 5)
    monkeypatch.setenv("FOLDSMITH_RUN_WORKERS", "2")
    monkeypatch.setenv("FOLDSMITH_RUN_FAMILIES", "knn")
    monkeypatch.setenv("FOLDSMITH_RUN_SEED", "6")
    assert foldsmith("-C", comp, "run", *inline).code == 0
    assert (launched(comp)["families"], launched(comp)["workers"], launched(comp)["model_seed"]) == (["knn"], 2, 6)
    assert foldsmith("-C", comp, "run", *inline, "--workers", 1, "--families", "linear", "--seed", 7).code == 0
    assert (launched(comp)["families"], launched(comp)["workers"], launched(comp)["model_seed"]) == (["linear"], 1, 7)


def test_the_console_script_and_the_module(tmp_path: Path) -> None:
    for command in ([sys.executable, "-m", "foldsmith"], [str(Path(sys.executable).with_name("foldsmith"))]):
        done = subprocess.run([*command, "-C", str(tmp_path), "top"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: no foldsmith.toml in {tmp_path}; start with 'foldsmith run")
        assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away(searched: Path) -> None:
    """As in ``foldsmith top | head -1``: no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "foldsmith", "-C", str(searched), "top", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_an_error_of_ours_keeps_its_traceback(
    foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("foldsmith.results.top.top_rows", fail)
    outcome = foldsmith("-C", searched, "top", "--json")
    assert outcome.code == 1
    assert "Traceback" in outcome.err and outcome.err.endswith("error: RuntimeError: two lines\n")


def test_interrupted(foldsmith: Foldsmith, searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("foldsmith.results.top.top_rows", interrupt)
    outcome = foldsmith("-C", searched, "top", "--json")
    assert outcome.code == 130 and outcome.err.lstrip().startswith("interrupted; ")
