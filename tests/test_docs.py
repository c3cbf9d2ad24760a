"""What README says is run, and its table of commands is the command line's own."""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomlkit
from sklearn.datasets import load_breast_cancer

from foldsmith.cli.main import COMMANDS
from foldsmith.problem.config import Config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files that README speaks of, made from real data."""
    frame = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0).iloc[:, -8:]
    frame = frame.rename(columns={"target": "Survived"}).reset_index(names="id")
    frame[:150].to_csv(tmp_path / "train.csv", index=False)
    frame[150:250].drop(columns="Survived").to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


def run_shell(script: str, folder: Path) -> str:
    """Run a README script with this environment's foldsmith; short budgets and spawned workers save time."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FOLDSMITH_SEARCH_EXECUTOR": "local",
        "FOLDSMITH_SEARCH_WORKERS": "1",
    }
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_of_the_table_are_the_command_line() -> None:
    rows = dict(re.findall(r"^\| `foldsmith (\w+)` \| (.+) \|$", README, re.MULTILINE))
    assert rows == {name: line for name, (_, line) in COMMANDS.items()}


def test_pictures_and_links_exist() -> None:
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target


def test_first_command_goes_from_files_to_a_submission(place: Path) -> None:
    install, run = blocks("bash")[0].strip().splitlines()
    assert install == "pip install -c constraints.txt ."  # tested with the package
    run_shell(run.replace("10m", "12s"), place)
    submission = pd.read_csv(place / "titanic" / "submissions" / "current.csv")
    assert list(submission.columns) == ["id", "Survived"]
    assert len(submission) == 100


def test_steps_do_what_run_does(place: Path) -> None:
    steps = blocks("bash")[1]
    out = run_shell(steps, place)
    made = Path(out.strip().splitlines()[-1])
    assert re.fullmatch(r"0001_first_cv0\.\d{5}\.csv", made.name)
    assert set(pd.read_csv(place / "titanic" / made)["Survived"]) <= {0, 1}
    (ensembles,) = (block for block in blocks("bash") if "blend --explain" in block)
    out = run_shell(ensembles, place / "titanic")
    assert "errors" in out and "b_top20" in out and "of b_top20 over lgb-0001" in out
    (checks,) = (block for block in blocks("bash") if "check --adversarial" in block)
    out = run_shell(checks, place / "titanic")
    assert "in 15 checks" in out and "folds        stay as they are: stratified" in out
    (board,) = (block for block in blocks("bash") if "lb log" in block)
    out = run_shell(board, place / "titanic")
    assert "public 0.8412" in out and "4 of 5 left today" in out and "P(best private)" in out and "select " in out
    assert (place / "titanic" / "report.html").stat().st_size > 4_000_000


def test_rig_block_runs(place: Path) -> None:
    (block,) = (block for block in blocks("bash") if "--ram-limit" in block)
    short = block.replace("--trials 6", "--trials 3")
    out = run_shell(f"foldsmith init . --train train.csv --test test.csv --target Survived\n{short}", place)
    assert "xgb-0001" in out and "mlp-0001" in out and "lgb-0001" in out


def test_foreign_predictions_come_and_go(place: Path) -> None:
    (block,) = (block for block in blocks("bash") if "oof import" in block)
    train, test = pd.read_csv(place / "train.csv"), pd.read_csv(place / "test.csv")
    chances = 0.2 + 0.6 * train["Survived"] * np.random.default_rng(0).random(len(train))
    pd.DataFrame({"id": train["id"], "chance": chances}).to_csv(place / "anna_oof.csv", index=False)
    pd.DataFrame({"id": test["id"], "chance": 0.5}).to_csv(place / "anna_test.csv", index=False)
    for folder in (".", "teammate"):
        run_shell(f"foldsmith init {folder} --train train.csv --test test.csv --target Survived", place)
        run_shell(f"foldsmith -C {folder} folds make", place)
    out = run_shell(block, place)
    assert "ext-anna" in out and "1 member in bank" in out and "ext-me-anna" in out


def test_toml_blocks_are_sections_of_the_config() -> None:
    sections = {name: section for block in blocks("toml") for name, section in tomlkit.parse(block).unwrap().items()}
    assert set(sections) == {"split", "rig", "hooks", "store", "spaces", "features"}
    assert list(sections.pop("spaces")) == ["lightgbm"]  # a table of tables: it is run below
    for name, section in sections.items():
        kind = Config.model_fields[name].annotation
        assert kind is not None
        kind.model_validate(section)


def toml_block(section: str) -> str:
    """The block of ``foldsmith.toml`` that begins with a section."""
    return next(block for block in blocks("toml") if block.startswith(f"[{section}"))


def test_changed_spaces_are_searched(place: Path) -> None:
    run_shell("foldsmith init . --train train.csv --test test.csv --target Survived", place)
    with open(place / "foldsmith.toml", "a") as config:
        config.write("\n" + toml_block("spaces"))
    shown = run_shell("foldsmith space show lightgbm", place)
    assert "path_smooth" in shown and "64" in shown
    run_shell("foldsmith search lightgbm --trials 1", place)
    (meta,) = (place / ".foldsmith" / "members").glob("lgb-*/meta.json")
    params = json.loads(meta.read_text())["params"]
    assert params["learning_rate"] == 0.05 and params["extra_trees"] is True and 8 <= params["num_leaves"] <= 64


def test_own_features_take_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"SibSp": rng.integers(0, 4, 200), "Parch": rng.integers(0, 3, 200)})
    frame["Fare"] = rng.gamma(2, 15, 200).round(2)
    frame["Name"] = [f"Surname{n}, {rng.choice(['Mr', 'Mrs', 'Miss'])}. Given{n}" for n in range(200)]
    frame["Cabin"] = pd.Series(rng.choice(["A1", "B2", "C33", ""], 200)).replace("", None)
    frame["Survived"] = ((frame["Name"].str.contains("Mr\\.")) ^ (rng.random(200) < 0.2)).astype(int)
    frame.reset_index(names="id")[:150].to_csv(tmp_path / "train.csv", index=False)
    frame.reset_index(names="id")[150:].drop(columns="Survived").to_csv(tmp_path / "test.csv", index=False)
    run_shell("foldsmith init . --train train.csv --test test.csv --target Survived", tmp_path)
    config = tmp_path / "foldsmith.toml"
    config.write_text(config.read_text().replace("[features]\nuse = []\n", toml_block("features")))
    assert "DeckShare" in config.read_text()
    (tmp_path / "code").mkdir(exist_ok=True)
    (tmp_path / "code" / "my_features.py").write_text(blocks("python")[2])
    run_shell("foldsmith search linear --trials 1", tmp_path)
    (meta,) = (tmp_path / ".foldsmith" / "members").glob("lin-*/meta.json")
    assert "+features-" in json.loads(meta.read_text())["space_version"]


def test_python_block_runs(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]], cwd=place, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "lgb-0001" in done.stdout


def test_own_family_takes_part(place: Path) -> None:
    run_shell("foldsmith init comp --train train.csv --test test.csv --target Survived", place)
    (place / "comp" / "code").mkdir()
    (place / "comp" / "code" / "nearest_mean.py").write_text(blocks("python")[1])
    command = re.search(r"`(foldsmith search nearest_mean[^`]*)`", README)
    assert command is not None
    out = run_shell(shlex.join(["cd", "comp"]) + "\n" + command[1], place)
    assert len(re.findall(r"nm-000\d", out)) == 5


@pytest.mark.parametrize("page", ["numbers.md", "target.md"])
def test_examples_of_the_pages_are_true(page: str) -> None:
    path = Path(__file__).parent.parent / "docs" / page
    failed, tried = doctest.testfile(str(path), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried and not failed
