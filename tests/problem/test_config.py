"""foldsmith.toml: what is written is read back, and what is wrong in it is named."""

from pathlib import Path
from typing import Any

import pytest
import tomlkit

from foldsmith.problem.config import (
    Config,
    DataSection,
    ProblemSection,
    RigSection,
    SearchSection,
    SplitSection,
    load_config,
    save_config,
)
from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.problem.settings import Kind

ODD_NAMES = (
    "plain",
    "with space",
    "dots.in.it",
    'say "hi"',
    "it's",
    "größe [cm]",
    "a=b#c",
    "back\\slash",
    "tab\there",
    "new\nline",
    "carriage\rreturn",
    "bell\x07",
    "日本",
    "",
)


def a_config(**changes: Any) -> Config:
    facts: dict[str, Any] = {
        "data": DataSection(train="train.csv", test="../test.csv", id="row id", target=['y "1"'], positive="ja"),
        "problem": ProblemSection(task="binary", metric="auc"),
        "split": SplitSection(scheme="time", n_folds=4, seed=7, time="when", gap="7d"),
        "search": SearchSection(families=["lightgbm", "mine:Model"], executor="inline", pruner="halving", model_seed=3),
        "rig": RigSection(workers=2, gpus=[0, "GPU-1a2b"], per_gpu={"xgboost": 2}, ram_limit="12G"),
    }
    return Config(**{**facts, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "foldsmith.toml"
    save_config(path, a_config(), {})
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_round_trip(path: Path) -> None:
    assert load_config(path) == a_config()
    assert path.read_text().endswith("\n")


@pytest.mark.parametrize("gap", [None, 3, "3", "12h"])
def test_a_gap_keeps_its_type(path: Path, gap: str | int | None) -> None:
    config = a_config(split=SplitSection(scheme="time", time="when", gap=gap))
    save_config(path, config, {})
    assert load_config(path).split.gap == gap


def test_odd_column_names_and_reasons(path: Path) -> None:
    kinds: dict[str, Kind] = dict.fromkeys(ODD_NAMES, "categorical")
    config = a_config(columns=kinds)
    reasons = {f"column:{name}": f"seen as {name!r}\r\nbecause of {name}" for name in ODD_NAMES}
    save_config(path, config, {**reasons, "problem.metric": "the default\nfor binary\x00", "split.gap": 'it # "is"'})
    assert load_config(path) == config
    text = path.read_text(encoding="utf-8")
    assert "# größe [cm]: seen as 'größe [cm]'" in text
    assert 'metric = "auc" # the default for binary' in text


def test_comments_of_people_do_not_matter_and_survive(path: Path) -> None:
    edit(path, "[split]", "# my folds\n[split] # see notes.md")
    edit(path, "n_folds = 4", "n_folds = 6 # more")
    assert load_config(path).split.n_folds == 6
    assert "# see notes.md" in tomlkit.dumps(tomlkit.parse(path.read_text()))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no foldsmith\.toml in .*; start with 'foldsmith run --train"):
        load_config(tmp_path / "foldsmith.toml")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("n_fold", "'split.n_folds'"), ("n_repeat", "'split.n_repeats'"), ("sede", "'split.seed'")],
)
def test_an_unknown_key_suggests_the_nearest(path: Path, wrong: str, nearest: str) -> None:
    edit(path, "n_folds", wrong)
    with pytest.raises(UnknownNameError, match=rf"unknown key of foldsmith\.toml 'split\.{wrong}'; did you mean") as e:
        load_config(path)
    if wrong == "n_fold":
        assert nearest in str(e.value).split("known:")[0]
    assert nearest.strip("'") in str(e.value)


def test_an_unknown_section(path: Path) -> None:
    edit(path, "[search]", "[serach]")
    with pytest.raises(UnknownNameError, match=r"'serach'; did you mean 'search"):
        load_config(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_folds = 4", "n_folds = 1", r"split\.n_folds = 1: Input should be greater than or equal to 2; correct it"),
        ("n_folds = 4", 'n_folds = "many"', r"split\.n_folds = 'many': Input should be a valid integer"),
        ('scheme = "time"', 'scheme = "random"', r"split\.scheme = 'random': Input should be 'stratified', 'plain'"),
        ('task = "binary"', 'task = "ranking"', r"problem\.task = 'ranking': Input should be 'binary'"),
        ('executor = "inline"', 'executor = "cloud"', r"search\.executor = 'cloud'"),
        ("workers = 2", "workers = -1", r"rig\.workers = -1"),
        ("model_seed = 3", "model_seed = -3", r"search\.model_seed = -3: Input should be greater than or equal to 0"),
        (
            'keep_models = "top:30+blend"',
            'keep_models = "small"',
            r"store\.keep_models = 'small': String should match",
        ),
        ('test = "../test.csv"\n', "", r"foldsmith\.toml: data\.test is missing; add it"),
        (
            "[columns]",
            '[columns]\nTicket = "string"',
            r"columns\.Ticket = 'string': unknown kind 'string'; known: boolean",
        ),
        ("[columns]\n", "", None),
    ],
)
def test_a_wrong_value_names_its_key(path: Path, old: str, new: str, message: str | None) -> None:
    edit(path, old, new)
    if message is None:
        assert load_config(path).columns == {}
        return
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_several_targets_are_refused(path: Path) -> None:
    edit(path, 'target = ["y \\"1\\""]', 'target = ["a", "b"]')
    with pytest.raises(InputError, match=r"data\.target = \['a', 'b'\]: List should have at most 1 item"):
        load_config(path)


@pytest.mark.parametrize("text", ["[data", "a = \n", "x = 1\nx = 2"])
def test_broken_toml(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=r"foldsmith\.toml is not valid TOML: "):
        load_config(path)


def test_not_utf8(path: Path) -> None:
    path.write_bytes(b"metric = '\xff'")
    with pytest.raises(InputError, match="is not valid TOML"):
        load_config(path)


def test_a_newer_format_is_refused(path: Path) -> None:
    edit(path, "format = 1", "format = 2")
    with pytest.raises(ContractError, match=r"has format 2, this foldsmith reads up to 1; upgrade it"):
        load_config(path)


def test_a_format_that_is_no_number(path: Path) -> None:
    edit(path, "format = 1", 'format = "new"')
    with pytest.raises(InputError, match="format = 'new': Input should be a valid integer"):
        load_config(path)


def test_hooks(path: Path) -> None:
    assert "[hooks]" not in path.read_text()  # an empty section says nothing
    path.write_text(f"{path.read_text()}\n[hooks]\non_best = 'echo \"new\"'\n")
    hooks = load_config(path).hooks
    assert (hooks.on_best, hooks.on_finish, hooks.on_fail) == ('echo "new"', None, None)
    edit(path, "on_best", "on_bets")
    with pytest.raises(UnknownNameError, match="'hooks.on_bets'; did you mean 'hooks.on_best'"):
        load_config(path)


def test_spaces_are_kept_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "foldsmith.toml"
    save_config(path, a_config(), {})
    assert load_config(path).spaces == {}
    text = '[spaces.lightgbm]\nnum_leaves = [8, 64]\nextra_trees = true\n[spaces."mine:Toy"]\nshift = { low = 0.1 }\n'
    path.write_text(path.read_text() + text)
    assert load_config(path).spaces == {
        "lightgbm": {"num_leaves": [8, 64], "extra_trees": True},
        "mine:Toy": {"shift": {"low": 0.1}},
    }


def test_a_space_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "foldsmith.toml"
    save_config(path, a_config(), {})
    path.write_text(path.read_text() + "[spaces]\nlightgbm = 3\n")
    with pytest.raises(InputError, match=r"spaces.lightgbm = 3: .*dictionary"):
        load_config(path)
