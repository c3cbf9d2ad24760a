"""Rows that only train: files from elsewhere, and pseudo labels that no fold can see its own labels through."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.competition import Competition, init
from foldsmith.flow.pseudo import import_pseudo, list_pseudo, make_pseudo, use_pseudo
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.extra import load_extra
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.executors.satellite import pack_problem, settle
from foldsmith.search.jobs import Job, Workbench

Foldsmith = Callable[..., Any]


def frames(n: int = 120, n_test: int = 60, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"id": range(n + n_test), "size": rng.normal(size=n + n_test), "note": rng.choice(["a b", "c"], n + n_test)}
    )
    frame["colour"] = rng.choice(["red", "blue"], n + n_test)
    frame["y"] = np.where(frame["size"] + 0.5 * rng.normal(size=n + n_test) > 0, "yes", "no")
    return frame[:n], frame[n:].reset_index(drop=True)


def made(folder: Path, extra: pd.DataFrame | None = None, task: str = "binary") -> Problem:
    train, test = frames()
    if task == "regression":
        train = train.assign(y=train["size"].round(3))
        extra = None if extra is None else extra.assign(y=extra["size"].round(3))
    train.to_csv(folder / "train.csv", index=False)
    test.drop(columns="y").to_csv(folder / "test.csv", index=False)
    paths: list[Path] = []
    if extra is not None:
        extra.to_csv(folder / "extra.csv", index=False)
        paths = [folder / "extra.csv"]
    files = {name: folder / f"{name}.csv" for name in ("train", "test")}
    return init(folder / "comp", **files, target="y", id="id", n_folds=3, extra=tuple(paths)).problem


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_extra_rows_join_the_train_side_of_each_fold(tmp_path: Path, task: str) -> None:
    _, more = frames(seed=1)
    train, _ = frames()
    twins = train[:5].assign(id=range(900, 905))  # the same features as rows that some fold validates
    problem = made(tmp_path, pd.concat([more, twins]).drop(columns="id"), task)
    bench = Workbench(problem.folder.root)
    plan, n = problem.plan, len(problem.data.y)
    for fold in range(plan.n_folds):
        task_of_fold = bench.fold_task(Job("lin-0001", "linear", {}, fold, 0), fold)
        inside, valid = plan.split(0, fold)
        added = task_of_fold.train_rows[task_of_fold.train_rows >= n]
        assert (
            task_of_fold.train_rows[: len(inside)].tolist() == inside.tolist()
            and (task_of_fold.valid_rows == valid).all()
        )
        assert len(added) == 65 - int((valid < 5).sum()), "a validation row in disguise is left out"
        assert task_of_fold.table.n_rows == len(task_of_fold.y) == n + 65
        assert bench.extra is not None and task_of_fold.fold_key.endswith(bench.extra.name)
        assert (task_of_fold.y[:n] == problem.fit_y).all()
    extra = load_extra(problem)
    assert extra is not None and extra.sources == ("extra.csv: 65 rows",)
    assert len(bench.refit_task(Job("lin-0001", "linear", {}, None, 0)).train_rows) == n + 65


def test_members_with_and_without_extra_rows_stand_in_one_table(tmp_path: Path, foldsmith: Foldsmith) -> None:
    train, more = frames(seed=1)
    root = made(tmp_path, more.drop(columns="id")).folder.root
    search = ("search", "linear", "lightgbm", "--executor", "inline")
    assert foldsmith("-C", root, *search, "--trials", 2).code == 0
    config = root / "foldsmith.toml"
    config.write_text(re.sub(r"(?m)^extra = .*$", "extra = []", config.read_text()))
    assert foldsmith("-C", root, *search, "--trials", 2).code == 0, "another study: it begins anew"
    store, problem = MemberStore(open_problem(root).folder), open_problem(root)
    members = store.all(contract=problem.contract, states=["complete"])
    with_extra = [one for one in members if "+extra-" in one.space_version]
    assert len(members) == 4 and len(with_extra) == 2
    facts = with_extra[0].details["fold_facts"][0]["extra"]
    assert facts == {"rows": 60, "left_out": 0, "sources": ["extra.csv: 60 rows"]}
    assert "extra" not in next(one for one in members if one not in with_extra).details["fold_facts"][0]
    assert Competition(root).blend("greedy").nested_score > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="size"), "lacks 1 of train's columns, e.g. 'size'"),
        (lambda frame: frame.drop(columns="y"), "lacks 1 of train's columns, e.g. 'y'"),
        (lambda frame: frame.assign(y="maybe"), "has the label 'maybe', which train lacks"),
        (lambda frame: frame.assign(y=None), "60 missing values"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    _, more = frames(seed=1)
    with pytest.raises(InputError, match=message):
        made(tmp_path, change(more))


def with_folds(problem: Problem, add_member: Callable[..., Member], sure: float = 0.95) -> Member:
    """A member whose fold models disagree on some test rows."""
    member = add_member(problem, np.where(problem.data.y == 1, 0.7, 0.3))
    n_test = problem.data.test.n_rows
    for fold in range(problem.plan.n_folds):
        store = MemberStore(problem.folder).fold(member.id, 0, fold)
        store.path.mkdir(parents=True)
        chances = np.where(np.arange(n_test) < 20 + 10 * fold, sure, 0.5).astype(np.float32)
        store.save_done(None, chances[:, None], {})
    return member


def test_each_fold_learns_what_its_own_models_are_sure_of(tmp_path: Path, add_member: Callable[..., Member]) -> None:
    problem = made(tmp_path)
    member = with_folds(problem, add_member)
    store = MemberStore(problem.folder)
    labels = make_pseudo(problem, store, member.id)
    assert (labels.name, labels.n_rows, labels.per_fold, labels.min_confidence) == ("p01", 40, (20, 30, 40), 0.9)
    use_pseudo(problem, "p01")
    again = open_problem(problem.folder.root)
    bench, n = Workbench(problem.folder.root), len(problem.data.y)
    for fold, count in enumerate((20, 30, 40)):
        added = bench.fold_task(Job("x", "linear", {}, fold, 0), fold).train_rows
        assert (added >= n).sum() == count and set(bench.labels(fold)[added[added >= n]]) == {1}
    assert load_extra(again) is not None and list_pseudo(again) == [labels]
    blend = Competition(problem.folder.root).blend("greedy")
    assert make_pseudo(again, store, blend.id, name="b").per_fold == (20, 30, 40)
    use_pseudo(again, None)
    assert load_extra(open_problem(problem.folder.root)) is None


def test_what_is_no_pseudo_label(tmp_path: Path, add_member: Callable[..., Member], foldsmith: Foldsmith) -> None:
    problem = made(tmp_path)
    store = MemberStore(problem.folder)
    unknown = add_member(problem, problem.data.y * 0.5 + 0.2)
    member = with_folds(problem, add_member, sure=0.8)
    for name, options, message in (
        (unknown.id, {}, "keeps no test predictions per fold"),
        (member.id, {}, "no test row is as sure as 0.9"),
        (member.id, {"min_confidence": 1.5}, "--min-confidence 1.5"),
        (member.id, {"min_confidence": 0.7, "name": "a b"}, "a b"),
    ):
        with pytest.raises(InputError, match=message):
            make_pseudo(problem, store, name, **options)
    one = tmp_path / "labels.csv"
    pd.DataFrame({"id": range(60), "y": "yes"}).to_csv(one, index=False)
    told = foldsmith("-C", problem.folder.root, "pseudo", "import", one, "--name", "full")
    assert told.code == 2 and "One label per row comes from a model that has seen the rows" in told.err
    per_fold = pd.DataFrame({f"fold_{fold}": ["yes", "no"] * 30 for fold in range(3)})
    per_fold.to_csv(one, index=False)
    with pytest.raises(InputError, match="name it by --folds-hash, which must be"):
        import_pseudo(problem, one, "mine")
    per_fold[:50].to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(InputError, match="has 50 rows but test has 60"):
        import_pseudo(problem, tmp_path / "short.csv", "mine", problem.plan.hash)
    assert import_pseudo(problem, one, "mine", problem.plan.hash).per_fold == (60, 60, 60)
    with pytest.raises(InputError, match="there are pseudo labels 'mine' already"):
        import_pseudo(problem, one, "mine", problem.plan.hash)
    with pytest.raises(InputError, match="no pseudo labels 'other'"):
        use_pseudo(problem, "other")


def test_full_data_labels_flatter_and_labels_per_fold_do_not(tmp_path: Path) -> None:
    """Noise to be learned by heart: a model of all rows smuggles a fold's own labels in, labels per fold do not."""
    rng = np.random.default_rng(0)
    train = pd.DataFrame(
        {"id": range(300), "a": rng.normal(size=300), "b": rng.normal(size=300), "y": rng.integers(0, 2, 300)}
    )
    near = train.drop(columns="y").assign(id=range(300, 600), a=train["a"] + 1e-4)  # test rows beside train rows
    train.to_csv(tmp_path / "train.csv", index=False)
    near.to_csv(tmp_path / "test.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    competition = init(tmp_path / "comp", **files, target="y", id="id", metric="auc", n_folds=3)
    competition.search(["knn"], trials=1, executor="inline")
    honest = competition.members.get("knn-0001").scores
    competition.pseudo("knn-0001", min_confidence=0.5)
    competition.search(["knn"], trials=1, executor="inline")
    problem = competition.problem
    full = near.assign(y=train["y"])  # what a model that knows all rows by heart says of their neighbours
    full.to_csv(tmp_path / "full.csv", index=False)
    use_pseudo(problem, None)
    config = problem.folder.config
    config.write_text(config.read_text().replace("extra = []", f'extra = ["{tmp_path / "full.csv"}"]'))
    Competition(problem.folder.root).search(["knn"], trials=1, executor="inline")
    scores = {
        one.id: one.scores.value for one in competition.members.all(states=["complete"]) if one.scores is not None
    }
    assert honest is not None and abs(honest.value - 0.5) < 0.1
    assert abs(scores["knn-0002"] - 0.5) < 0.1, "per fold: noise stays noise"
    assert scores["knn-0003"] > 0.8, "labels that saw the fold: the flattery that is refused as pseudo labels"


def test_the_commands(searched: Path, foldsmith: Foldsmith) -> None:
    told = foldsmith("-C", searched, "pseudo", "make", "lin-0001", "--min-confidence", "0.6", "--use")
    assert told.code == 0 and "test rows labelled by lin-0001" in told.out
    assert 'pseudo = "p01"' in (searched / "foldsmith.toml").read_text()
    assert "p01: " in foldsmith("-C", searched, "pseudo", "list").out
    assert '"per_fold"' in foldsmith("-C", searched, "pseudo", "list", "--json").out
    assert foldsmith("-C", searched, "search", "linear", "--trials", 4, "--executor", "inline").code == 0
    assert foldsmith("-C", searched, "pseudo", "use", "none").code == 0
    assert "pseudo" not in (searched / "foldsmith.toml").read_text()
    assert foldsmith("-C", searched, "pseudo", "make", "lin-0001", "--min-confidence", "0.6", "--json").code == 0


def test_another_machine_gets_the_extra_rows_too(tmp_path: Path, add_member: Callable[..., Member]) -> None:
    _, more = frames(seed=1)
    problem = made(tmp_path, more.drop(columns="id"))
    make_pseudo(problem, MemberStore(problem.folder), with_folds(problem, add_member).id)
    use_pseudo(problem, "p01")
    copy = settle(pack_problem(problem.folder.root))
    here, there = load_extra(open_problem(problem.folder.root)), load_extra(open_problem(copy))
    assert here is not None and there is not None and here.name == there.name
    shutil.rmtree(copy)
