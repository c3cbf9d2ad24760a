"""Folds that the data calls for are proposed with reasons, and written only when somebody agrees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.competition import init
from foldsmith.flow.propose import accept, import_folds, propose_folds
from foldsmith.problem.audit.testing import FAULTS, Tables
from foldsmith.problem.config import change_split, load_config
from foldsmith.problem.contract import open_problem
from foldsmith.problem.errors import ContractError, InputError

Foldsmith = Callable[..., Any]


def tables(n: int = 400, kind: str = "binary") -> Tables:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(2 * n), "size": rng.normal(size=2 * n), "age": rng.integers(18, 80, 2 * n)})
    signal = frame["size"] + rng.normal(size=2 * n)
    frame["y"] = (signal > 0).astype(int) if kind == "binary" else signal.round(3)
    return Tables(frame[:n], frame[n:].drop(columns="y").reset_index(drop=True), "y")


def made(given: Tables, folder: Path) -> Path:
    return init(folder / "comp", **given.write(folder)).root


def grouped(folder: Path, kind: str = "binary") -> Path:
    return made(FAULTS["ignored group"][0](tables(kind=kind), np.random.default_rng(1)), folder)


@pytest.mark.parametrize(("kind", "scheme"), [("binary", "stratified_group"), ("regression", "group")])
def test_new_groups_in_test_call_for_folds_by_group(tmp_path: Path, kind: str, scheme: str) -> None:
    root = grouped(tmp_path, kind)
    proposal = propose_folds(root)
    assert proposal.changes == {"scheme": scheme, "group": "customer"} and not proposal.is_frozen
    assert "customer ties rows together" in proposal.reasons[0]
    accept(root, proposal)
    config = load_config(root / "foldsmith.toml")
    assert (config.split.scheme, config.split.group, config.columns["customer"]) == (scheme, "customer", "id")
    assert "# why" not in (root / "foldsmith.toml").read_text() and "#" in (root / "foldsmith.toml").read_text()
    assert propose_folds(root).changes == {}
    assert open_problem(root, freeze=True).plan.scheme == scheme


def test_a_later_test_calls_for_folds_in_time_and_twins_are_told(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=800, freq="D").strftime("%Y-%m-%d")
    given = tables().with_column("day", days[:400], days[400:])
    twins = given.train[:40].assign(id=range(5000, 5040))
    root = made(given.with_tables(pd.concat([given.train, twins]), given.test), tmp_path)
    proposal = propose_folds(root)
    assert proposal.changes == {"scheme": "time", "time": "day", "n_folds": 5}
    assert any("repeat another row's features" in reason for reason in proposal.reasons)
    assert any("440 rows are few" in reason for reason in proposal.reasons)


def test_the_command_asks_before_it_writes(tmp_path: Path, foldsmith: Foldsmith) -> None:
    root = grouped(tmp_path)
    before = (root / "foldsmith.toml").read_text()
    told = foldsmith("-C", root, "folds", "propose")
    assert told.code == 0 and 'group = "customer"' in told.out and (root / "foldsmith.toml").read_text() == before
    assert '"group": "customer"' in foldsmith("-C", root, "folds", "propose", "--json").out
    assert "written" in foldsmith("-C", root, "folds", "propose", "--yes").out
    assert "stay as they are: stratified_group" in foldsmith("-C", root, "folds", "propose").out
    frozen = grouped(tmp_path / "frozen")
    assert foldsmith("-C", frozen, "folds", "make").code == 0
    told = foldsmith("-C", frozen, "folds", "propose", "--yes")
    assert "folds are frozen" in told.out and load_config(frozen / "foldsmith.toml").split.scheme == "stratified"


def test_folds_are_imported_and_a_wrong_file_changes_nothing(tmp_path: Path, foldsmith: Foldsmith) -> None:
    root = made(tables(), tmp_path)
    before = (root / "foldsmith.toml").read_bytes()
    wrong = tmp_path / "wrong.csv"
    pd.DataFrame({"id": range(10), "fold": 0}).to_csv(wrong, index=False)
    with pytest.raises(InputError, match="lacks 390 of 400"):
        import_folds(root, wrong)
    assert (root / "foldsmith.toml").read_bytes() == before
    right = root / "folds.csv"
    pd.DataFrame({"id": range(400), "fold": np.arange(400) % 3}).to_csv(right, index=False)
    assert "3 imported folds, frozen as" in foldsmith("-C", root, "folds", "import", right).out
    assert load_config(root / "foldsmith.toml").split.file == "folds.csv"
    with pytest.raises(ContractError, match="the folds are frozen"):
        import_folds(root, right)


def test_a_change_that_is_wrong_is_not_written(tmp_path: Path) -> None:
    root = made(tables(), tmp_path)
    before = (root / "foldsmith.toml").read_bytes()
    with pytest.raises(InputError, match="split.n_folds"):
        change_split(root / "foldsmith.toml", {"n_folds": 1})
    assert (root / "foldsmith.toml").read_bytes() == before
