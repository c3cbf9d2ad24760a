"""Ten planted faults are named, their clean twins are not blamed, and small traps are told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.flow.competition import Competition, init
from foldsmith.problem.audit.audit import Audit, audit
from foldsmith.problem.audit.leaks import id_numbers
from foldsmith.problem.audit.testing import FAULTS, Tables
from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member, MemberStore

AddMember = Callable[..., Member]
KINDS = ("binary", "multiclass", "regression")


def clean(kind: str, n: int = 600, seed: int = 0) -> Tables:
    """Tables without a fault: numbers, categories, a few missing cells, a target that they explain in part."""
    rng = np.random.default_rng(seed)
    n_test = n // 2
    size = rng.normal(size=n + n_test)
    frame = pd.DataFrame(
        {
            "id": rng.permutation(n + n_test),
            "size": size.round(4),
            "age": rng.integers(18, 80, n + n_test),
            "colour": rng.choice(["red", "green", "blue", "None"], n + n_test),
            "price": np.where(rng.random(n + n_test) < 0.05, np.nan, rng.gamma(3.0, size=n + n_test).round(2)),
        }
    )
    signal = size + 0.5 * (frame["colour"] == "red").to_numpy() + rng.normal(size=n + n_test)
    labels: NDArray[Any] = signal.round(3)
    if kind == "binary":
        labels = (signal > 0.3).astype(int)
    elif kind == "multiclass":
        labels = np.array(["a", "b", "c"])[np.digitize(signal, [-0.5, 0.8])]
    frame["y"] = labels
    return Tables(frame[:n].reset_index(drop=True), frame[n:].drop(columns="y").reset_index(drop=True), "y")


def audited(tables: Tables, folder: Path, **options: Any) -> Audit:
    return audit(problem_of(tables, folder), **options)


def problem_of(tables: Tables, folder: Path) -> Problem:
    return init(folder / "comp", **tables.write(folder)).problem


def codes(found: Audit, severity: str = "") -> set[str]:
    return {finding.code for finding in found.findings if severity in ("", finding.severity)}


@pytest.mark.parametrize("kind", KINDS)
def test_clean_tables_are_not_blamed(tmp_path: Path, kind: str) -> None:
    found = audited(clean(kind), tmp_path, is_deep=True, with_adversary=True)
    assert codes(found, "error") | codes(found, "warning") == set(), found.findings
    (adversary,) = (finding for finding in found.findings if finding.code == "adversarial")
    assert abs(adversary.evidence["auc"] - 0.5) < 0.08 and adversary.columns == ()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_is_named(tmp_path: Path, kind: str, fault: str) -> None:
    plant, code = FAULTS[fault]
    found = audited(plant(clean(kind), np.random.default_rng(1)), tmp_path)
    (finding,) = (one for one in found.findings if one.code == code)
    assert finding.severity in ("error", "warning") and finding.advice
    assert codes(found, "error") <= {code}, "nothing else is wrong"
    assert finding.to_json()["columns"] == list(finding.columns)


def test_a_group_that_the_folds_keep_together_is_no_fault(tmp_path: Path) -> None:
    planted = FAULTS["ignored group"][0](clean("regression"), np.random.default_rng(1))
    grouped = replace(planted, options={"group": "customer"})
    assert "ignored_group" not in codes(audited(grouped, tmp_path))


def test_test_rows_after_all_train_rows_call_for_folds_in_time(tmp_path: Path) -> None:
    tables = clean("binary")
    days = pd.date_range("2024-01-01", periods=900, freq="D").strftime("%Y-%m-%d")
    dated = tables.with_column("day", days[:600], days[600:])
    (finding,) = (one for one in audited(dated, tmp_path / "random").findings if one.code == "time_leak")
    assert finding.columns == ("day",) and "later than 99 %" in finding.message
    in_time = replace(dated, options={"time": "day"})
    assert "time_leak" not in codes(audited(in_time, tmp_path / "time"))


def test_small_traps(tmp_path: Path) -> None:
    tables = clean("binary")
    train, test = tables.train.copy(), tables.test.copy()
    rng = np.random.default_rng(2)
    train["same"], test["same"] = 1, 1
    train["town"] = rng.choice(["Ulm", "ulm ", "Rom", "?"], len(train))
    test["town"] = rng.choice(["Ulm", "Rom", "Bonn"], len(test))
    levels = [str(number) for number in range(40)] + ["n/k"]
    train["grade"], test["grade"] = rng.choice(levels, len(train)), rng.choice(["n/k", "5"], len(test))
    train["basement"] = rng.choice(["good", "NA", ""], len(train))
    test["basement"] = "good"
    train["late"] = np.where(rng.random(len(train)) < 0.1, np.nan, 1.5 + rng.random(len(train)))
    test["late"] = np.nan
    found = audited(tables.with_tables(train, test), tmp_path)
    by_code = {finding.code: finding for finding in found.findings}
    assert by_code["constant_column"].columns == ("same",)
    assert by_code["category_spelling"].columns == ("town",) and "'Ulm', 'ulm'" in by_code["category_spelling"].message
    assert {"colour", "town"} == {c for one in found.findings if one.code == "missing_token" for c in one.columns}
    assert by_code["numbers_as_words"].evidence["words"] == ["n/k"]
    assert by_code["unseen_category"].columns == ("town",) and by_code["unseen_category"].severity == "warning"
    assert by_code["read_as_missing"].columns == ("basement",) and "'NA'" in by_code["read_as_missing"].message
    assert {"late", "basement"} <= set(by_code["drift"].columns)


def test_contradicting_and_near_duplicates(tmp_path: Path) -> None:
    tables = clean("binary")
    twins = tables.train[:60].assign(y=lambda frame: 1 - frame["y"], id=range(2000, 2060))
    close = tables.train[60:120].assign(id=range(3000, 3060), price=lambda frame: frame["price"].fillna(5) + 0.001)
    columns = {f"more{i}": 0.0 for i in range(3)}
    train = pd.concat([tables.train, twins, close], ignore_index=True)
    rng = np.random.default_rng(0)
    for name in columns:
        values = rng.normal(size=len(tables.train))
        train[name] = np.concatenate([values, values[:120]])
    test = tables.test.assign(**columns)
    found = audited(tables.with_tables(train, test), tmp_path, is_deep=True)
    by_code = {finding.code: finding for finding in found.findings}
    assert by_code["duplicate_rows"].rows == 120 and by_code["duplicate_rows"].severity == "warning"
    assert by_code["label_conflict"].rows == 60
    assert by_code["near_duplicate_rows"].rows is not None and by_code["near_duplicate_rows"].rows >= 200


def test_a_sample_of_another_kind_and_a_lopsided_accuracy(tmp_path: Path) -> None:
    tables = clean("binary")
    rare = tables.with_tables(tables.train.assign(y=(np.arange(600) % 40 == 0).astype(int)), tables.test)
    sample = tmp_path / "sample.csv"
    pd.DataFrame({"id": tables.test["id"], "y": 0.5}).to_csv(sample, index=False)
    chances = replace(rare, options={"metric": "accuracy", "sample": sample})
    messages = [one.message for one in audited(chances, tmp_path / "a").findings if one.code == "metric_mismatch"]
    assert any("holds chances, but accuracy judges labels" in message for message in messages)
    assert any("97.5% of the rows are of one class" in message for message in messages)


def test_a_metric_that_fails(tmp_path: Path) -> None:
    body = "def odd(y, prediction):\n    raise ValueError('no')\n"
    code = f"{body}odd.greater_is_better = True\nodd.tasks = ('regression',)\n"
    tables = replace(clean("regression"), options={"metric": "metrics:odd"}, code=code)
    messages = [one.message for one in audited(tables, tmp_path).findings if one.code == "metric_mismatch"]
    assert messages == ["metrics:odd fails on right predictions: no"]


def test_no_check_begins_after_its_time(tmp_path: Path) -> None:
    found = audited(clean("binary"), tmp_path, budget_seconds=0.0)
    assert found.left_out and len(found.seconds) <= 1 and found.to_json()["left_out"] == list(found.left_out)


def test_ids_without_numbers_tell_nothing() -> None:
    assert id_numbers(["a", "b", "c"]) is None
    numbers = id_numbers(["x1", "y22", *["z3"] * 40, "none"])
    assert numbers is not None and numbers[-1] == -1


def test_members_are_looked_at_in_a_deep_check(tmp_path: Path, add_member: AddMember) -> None:
    problem = problem_of(clean("binary"), tmp_path)
    store = MemberStore(problem.folder)
    good = add_member(problem, problem.data.y * 0.5 + 0.2)
    holes = add_member(problem, np.where(np.arange(600) == 5, np.nan, problem.data.y * 0.5 + 0.2))
    rng = np.random.default_rng(0)
    lied = add_member(problem, problem.data.y * 0.2 + rng.random(600))
    assert good.scores is not None
    store.write(replace(lied, scores=good.scores))
    deep = Competition(tmp_path / "comp").check(deep=True)
    told = {one.code: one.message for one in deep.findings if one.severity == "error"}
    assert told["member_damaged"].startswith(f"{holes.id} has no prediction for 1 rows")
    assert "oof.npy has no finite prediction for 1 of 600 rows" in told["member_damaged"]
    assert told["score_mismatch"].startswith(f"{lied.id} says 1")
    assert set(told) == {"member_damaged", "score_mismatch"}
    assert not codes(Competition(tmp_path / "comp").check(), "error")


def test_the_command(tmp_path: Path, foldsmith: Callable[..., Any]) -> None:
    problem_of(clean("binary"), tmp_path / "clean")
    told = foldsmith("-C", tmp_path / "clean" / "comp", "check")
    assert told.code == 0 and "in 14 checks" in told.out
    problem_of(FAULTS["target copy with tiny noise"][0](clean("binary"), np.random.default_rng(1)), tmp_path / "bad")
    told = foldsmith("-C", tmp_path / "bad" / "comp", "check", "--json")
    assert told.code == 1 and '"code": "target_copy"' in told.out
    assert "1 error" in foldsmith("-C", tmp_path / "bad" / "comp", "check").out
