"""A search with features of the user's own: folds, workers, resume, changed code, and what is told of mistakes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomlkit

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.jobs import Job, Workbench
from foldsmith.spaces.family import Facts
from foldsmith.spaces.linear import Linear

# The target is a sign that no linear model finds in the columns alone.
CODE = '''
import numpy as np
import pandas as pd
from foldsmith.spaces.transformer import Transformer


def product(X):
    return pd.DataFrame({"product": X["a"] * X["b"]})


class SeenRows(Transformer):
    """Knows the rows that it was fitted on, by their first number."""

    def fit(self, X, y):
        self.seen_ = X["a"].to_numpy()

    def transform(self, X):
        known = X["a"].isin(self.seen_)
        with open(__file__ + ".log", "a") as log:
            log.write(f"{len(self.seen_)} {len(X)} {known.sum()}\\n")
        return pd.DataFrame({"kind": np.where(known | (X["product"] > 0), "up", "down")})
'''


@pytest.fixture
def comp(tmp_path: Path, foldsmith: Callable[..., Any]) -> Path:
    """A competition of 120 rows in 3 folds with two transformers."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(150, 2)), columns=["a", "b"])
    frame["y"] = (frame["a"] * frame["b"] > 0).astype(int)
    frame[:120].to_csv(tmp_path / "train.csv", index=False)
    frame[120:].drop(columns="y").to_csv(tmp_path / "test.csv", index=False)
    words = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--target", "y", "--folds", 3]
    assert foldsmith("init", tmp_path / "comp", *words, "--metric", "log_loss").code == 0
    (tmp_path / "comp" / "code").mkdir()
    (tmp_path / "comp" / "code" / "mine.py").write_text(CODE)
    use(tmp_path / "comp", "mine:product", "mine:SeenRows")
    return tmp_path / "comp"


def use(comp: Path, *references: str) -> None:
    """Name transformers in the config."""
    config = tomlkit.parse((comp / "foldsmith.toml").read_text())
    config["features"] = {"use": list(references)}
    (comp / "foldsmith.toml").write_text(tomlkit.dumps(config))


def members(comp: Path) -> list[Member]:
    return MemberStore(open_problem(comp).folder).all()


def search(foldsmith: Callable[..., Any], comp: Path, *words: object, executor: str = "inline") -> Any:
    return foldsmith("-C", comp, "search", "linear", "--executor", executor, *words)


def test_a_search_fits_the_features_in_every_fold(comp: Path, foldsmith: Callable[..., Any]) -> None:
    assert search(foldsmith, comp, "--trials", 2).code == 0
    first, second = members(comp)
    assert first.scores is not None and first.scores.value < 0.4  # chance is 0.69
    assert first.space_version.startswith("linear@") and "+features-" in first.space_version
    used = first.details["fold_facts"][0]["features"]
    assert used["use"] == ["mine:product", "mine:SeenRows"] and first.space_version.endswith(used["digest"])
    lines = [line.split() for line in (comp / "code" / "mine.py.log").read_text().splitlines()]
    fitted = [line for line in lines if line[0] == "80"]
    # 80 train rows are known, of the 40 scored rows and the 30 test rows none ever is.
    assert {(n_rows, known) for _, n_rows, known in fitted} == {("80", "80"), ("40", "0"), ("30", "0")}
    assert [n_rows for _, n_rows, _ in fitted].count("80") == 3  # once per fold, not per trial
    assert second.space_version == first.space_version


def test_resume_goes_on_and_changed_code_begins_anew(comp: Path, foldsmith: Callable[..., Any]) -> None:
    assert search(foldsmith, comp, "--trials", 1).code == 0
    assert search(foldsmith, comp, "--trials", 2).code == 0
    assert len(members(comp)) == 2
    (comp / "code" / "mine.py").write_text(CODE + "# another version\n")
    assert search(foldsmith, comp, "--trials", 1).code == 0
    found = members(comp)
    versions = [member.space_version for member in found]
    assert versions[0] == versions[1] != versions[2]
    # The first default was tried again: with other features it is another trial.
    assert found[0].params == found[2].params
    use(comp)
    assert search(foldsmith, comp, "--trials", 1).code == 0
    assert members(comp)[3].space_version == versions[0].partition("+")[0]
    (comp / "code" / "mine.py").write_text(CODE)
    use(comp, "mine:product", "mine:SeenRows")
    assert search(foldsmith, comp, "--trials", 2).code == 0
    assert len(members(comp)) == 4  # all known


def test_spawned_workers_load_them(comp: Path, foldsmith: Callable[..., Any]) -> None:
    assert search(foldsmith, comp, "--trials", 1, "--workers", 1, executor="local").code == 0
    (member,) = members(comp)
    assert member.scores is not None and member.scores.value < 0.4


@pytest.mark.parametrize(
    ("references", "source", "message"),
    [
        (["mine:Nothing"], CODE, "defines no 'Nothing'"),
        (["other:f"], CODE, "there is no file"),
        (["mine:pd"], CODE, "mine:pd is neither a function of a frame nor a class"),
        (["mine:product"], "import no_such_package_xyz\n", "No module named 'no_such_package_xyz'"),
        (["mine:product"], "def product(X):\n    return X['c']\n", "product: transform failed with KeyError: 'c'"),
    ],
)
def test_mistakes_end_a_search_before_it_begins(
    comp: Path, foldsmith: Callable[..., Any], references: list[str], source: str, message: str
) -> None:
    (comp / "code" / "mine.py").write_text(source)
    use(comp, *references)
    done = search(foldsmith, comp, "--trials", 1)
    assert done.code == 2
    assert message in done.err and "Traceback" not in done.err
    assert members(comp) == []


def test_a_mistake_in_one_fold_ends_the_trial_with_a_reason(comp: Path, foldsmith: Callable[..., Any]) -> None:
    # It fails on 80 rows, as in a fold, but not on the sample of all 120.
    source = CODE.replace("    def transform(self, X):\n", "    def transform(self, X):\n        1 / (len(X) - 80)\n")
    (comp / "code" / "mine.py").write_text(source)
    done = search(foldsmith, comp, "--trials", 3)
    assert done.code == 1
    (first, *_) = members(comp)
    assert first.state == "failed" and first.error is not None
    assert "mine:SeenRows: fit failed with ZeroDivisionError: division by zero" in json.dumps(first.error)


def test_a_worker_refuses_a_trial_of_other_features(comp: Path) -> None:
    problem = open_problem(comp, freeze=True)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    store, bench = MemberStore(problem.folder), Workbench(comp)
    assert bench.features is not None
    version = f"linear@1{bench.features.suffix}"
    member = Member(store.reserve("lin"), "trial", "running", problem.contract, "linear", "log_loss")
    job = Job(member.id, "linear", Linear().defaults(facts)[0], 0, model_seed=0)
    store.write(replace(member, space_version=version))
    assert bench.run(job).fault is None
    for other in ("linear@1", "linear@1+features-000000"):
        store.write(replace(member, space_version=other))
        fault = bench.run(replace(job, fold=1)).fault
        assert fault is not None and "was changed since this search began" in fault.message


def test_a_copy_without_the_members_fits(comp: Path, tmp_path: Path) -> None:
    """As on another machine of a cluster, which has no records of members."""
    problem: Problem = open_problem(comp, freeze=True)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    shutil.copytree(comp, tmp_path / "copy")
    job = Job("lin-0001", "linear", Linear().defaults(facts)[0], 0, model_seed=0)
    result = Workbench(tmp_path / "copy").run(job)
    assert result.fault is None and result.facts is not None and "features" in result.facts
