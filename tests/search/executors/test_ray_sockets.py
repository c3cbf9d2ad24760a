"""Ray's sockets need a short path: a long TMPDIR is passed by."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import MemberStore
from foldsmith.search.executors import ray_cluster


def test_a_short_folder_is_chosen_where_the_own_one_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(long))
    assert ray_cluster.short_temp_dir() == {"_temp_dir": "/tmp/ray"}
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert ray_cluster.short_temp_dir() == {}
    monkeypatch.setenv("TMPDIR", "/not/there")
    assert ray_cluster.short_temp_dir() == {"_temp_dir": "/tmp/ray"}
    monkeypatch.setattr(ray_cluster, "SHORT_FOLDERS", ())
    with pytest.raises(
        InputError, match=r"at most \d+ bytes for its sockets, and TMPDIR='/not/there' is none.*--executor local"
    ):
        ray_cluster.short_temp_dir()


@pytest.mark.slow
def test_a_search_under_a_long_temporary_folder(
    make_problem: Callable[..., Problem], foldsmith: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(long))
    problem = make_problem()
    outcome = foldsmith("-C", problem.folder.root, "search", "linear", "--trials", 1, "--executor", "ray")
    assert outcome.code == 0, outcome.err
    assert [member.state for member in MemberStore(problem.folder).all() if member.kind == "trial"] == ["complete"]
    assert os.environ["TMPDIR"] == str(long)
