"""Pools of real members: searches over data sets of scikit-learn or of folders in competition form, kept on disk."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Pool:
    """Members of one data set, with the truth about its held-out rows.

    Args:
        members: per family in the order of its trials.
        truth: labels of the held-out rows, as the metric takes them.
    """

    name: str
    problem: Any
    members: dict[str, list[Any]]
    oofs: dict[str, np.ndarray]
    tests: dict[str, np.ndarray]
    truth: np.ndarray

    @property
    def seconds(self) -> float:
        """Slot seconds of all members."""
        return sum(member.seconds for members in self.members.values() for member in members)


def make_set(home: Path, name: str) -> tuple[str, Path, str, str]:
    """A data set of scikit-learn with 30 % of its rows held out: name, folder, target, metric."""
    from foldsmith.flow.demo import make_demo

    files = make_demo(home / f"{name}-data", name)
    return name, home / f"{name}-data", files.target, files.metric


def copy_set(path: Path) -> tuple[str, Path, str, str]:
    """A folder in competition form: name, folder, target, metric."""
    meta = json.loads((path / "meta.json").read_text())
    return path.name, path, meta["target"], meta["metric"]


def fill(
    home: Path,
    name: str,
    data: Path,
    target: str,
    metric: str,
    families: Sequence[str],
    trials: int,
) -> Pool:
    """Search with turns and no deadline; a pool that was filled before is only read."""
    from foldsmith.flow.competition import Competition, init
    from foldsmith.results.members import MemberStore

    root = home / name
    if not root.exists():
        init(root, train=data / "train.csv", test=data / "test.csv", target=target, id="id", metric=metric)
    competition = Competition(root)
    families = families or installed(competition.problem)
    competition.search(families, trials=trials * len(families), executor="local")
    problem, store = competition.problem, MemberStore(competition.problem.folder)
    members = defaultdict(list)
    for member in sorted(store.all(states=["complete"]), key=lambda member: member.details.get("trial_number", 0)):
        if member.kind == "trial":
            members[member.family].append(member)
    every = [member.id for family in members.values() for member in family]
    labels = pd.read_csv(data / "test_labels.csv")
    return Pool(
        name,
        problem,
        dict(members),
        {member: np.asarray(store.oof(member)) for member in every},
        {member: np.asarray(store.test(member)) for member in every},
        truth_of(problem, labels, target),
    )


def installed(problem: Any) -> list[str]:
    """The families that take part by default and can take the problem."""
    from foldsmith.spaces.family import Facts
    from foldsmith.spaces.registry import available_families, get_family

    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    return [name for name in available_families()[0] if get_family(name).accepts(facts) is None]


def truth_of(problem: Any, labels: pd.DataFrame, target: str) -> np.ndarray:
    """Held-out labels in the order of the test rows, coded as in training."""
    ids = pd.Series(problem.data.test_ids).astype(str)
    values = labels.assign(id=labels["id"].astype(str)).set_index("id").loc[ids, target]
    classes = problem.data.target.classes
    if not classes:
        return values.to_numpy(np.float64)
    codes = {str(label): code for code, label in enumerate(classes)}
    return np.array([codes[str(value)] for value in values])
