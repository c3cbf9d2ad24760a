"""Hooks: told what happened, beside the search, whatever they do."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from foldsmith.flow import hooks as module
from foldsmith.flow.hooks import Hooks
from foldsmith.flow.launch import SearchRequest
from foldsmith.flow.search import search
from foldsmith.problem.config import HooksSection
from foldsmith.problem.contract import Problem
from foldsmith.search.driver import SearchFailedError
from foldsmith.search.locks import lock_owner
from foldsmith.search.snapshot import Snapshot

Told = Callable[[], list[dict[str, Any]]]
APPEND = "cat >> told.jsonl"


@pytest.fixture
def make(make_problem: Callable[..., Problem]) -> Callable[..., Problem]:
    """A problem with hooks."""

    def with_hooks(**commands: str) -> Problem:
        problem = make_problem(metric="log_loss")
        return replace(problem, config=problem.config.model_copy(update={"hooks": HooksSection(**commands)}))

    return with_hooks


def told(problem: Problem, name: str = "told.jsonl") -> list[dict[str, Any]]:
    """What was said to hooks that append their input to a file."""
    path = problem.folder.root / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has_ended(pid: int) -> bool:
    """Whether a process runs no more; nobody may have looked after it yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def log_of(problem: Problem) -> str:
    return (problem.folder.logs / "hooks.log").read_text()


def snapshot(score: float | None = None, **facts: Any) -> Snapshot:
    return Snapshot("searching", 1.0, ensemble=None if score is None else (score, 0.01), ensemble_size=2, **facts)


def test_a_search_tells_its_best_scores_and_its_end(make: Callable[..., Problem]) -> None:
    problem = make(on_best="cat >> best.jsonl", on_finish=f"pwd > place; {APPEND}", on_fail="cat >> fail.jsonl")
    report = search(problem, SearchRequest(("linear",), 2, executor="inline"))
    assert (report.ended, report.warning) == ("done", None)
    best = told(problem, "best.jsonl")
    assert {record["kind"] for record in best} == {"single", "ensemble"}
    single = [record for record in best if record["kind"] == "single"]
    assert single[0]["member"] == "lin-0001" and single[0]["event"] == "best"
    assert all(record["score"] > 0 and record["sem"] > 0 for record in best)
    [end] = told(problem)
    assert report.blended is not None
    nested = report.blended.result.nested
    assert end == {
        "event": "finish",
        "folder": str(problem.folder.root),
        "metric": "log_loss",
        "greater_is_better": False,
        "kind": "ensemble",
        "member": None,
        "size": len(report.blended.result.weights),
        "score": nested.value,
        "sem": nested.sem,
        "n_trials": 2,
        "ended": "done",
        "message": "done after 2 trials",
        "submission": str(problem.folder.submissions / "current.csv"),
        "time": end["time"],
    }
    assert (problem.folder.root / "place").read_text().strip() == str(problem.folder.root)
    assert told(problem, "fail.jsonl") == []
    assert "on_finish: pwd" in log_of(problem) and "exit code 0 after" in log_of(problem)

    (problem.folder.root / "best.jsonl").unlink()
    search(problem, SearchRequest(("linear",), 2, executor="inline"))
    assert [record for record in told(problem, "best.jsonl") if record["kind"] == "single"] == []  # no news


def test_a_hook_may_start_another_search(make: Callable[..., Problem]) -> None:
    """The folder is free when the end is told."""
    problem = make(on_finish="flock --nonblock --exclusive .foldsmith/driver.lock touch free")
    search(problem, SearchRequest(("linear",), 1, executor="inline"))
    assert (problem.folder.root / "free").exists()


def test_a_search_that_fails_is_told(make: Callable[..., Problem]) -> None:
    problem = make(on_fail=APPEND, on_finish="touch finished")
    problem.folder.code.mkdir()
    (problem.folder.code / "bad.py").write_text(
        "from foldsmith.spaces.family import Family\nfrom foldsmith.spaces.space import Float, Space\n\n\n"
        "class Bad(Family):\n    name, prefix = 'bad', 'bad'\n\n"
        "    def space(self, facts):\n        return Space('bad@1', {'x': Float(0.0, 1.0)})\n\n"
        "    def defaults(self, facts):\n        return []\n\n"
        "    def fit_fold(self, task):\n        raise ValueError('on purpose')\n\n"
        "    def load(self, folder):\n        raise NotImplementedError\n"
    )
    with pytest.raises(SearchFailedError):
        search(problem, SearchRequest(("bad:Bad",), 9, executor="inline"))
    closed, failed = told(problem)
    assert "bad:Bad is left out from here on: " in closed["message"] and closed["ended"] is None
    assert failed["message"].startswith("no trial was completed") and failed["ended"] == "failed"
    assert not (problem.folder.root / "finished").exists()


def test_a_search_that_was_stopped_tells_no_end(make: Callable[..., Problem]) -> None:
    problem = make(on_finish=APPEND, on_fail=APPEND)

    def interrupt(snapshot: Snapshot) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(problem, SearchRequest(("linear",), 1, executor="inline"), interrupt)
    assert told(problem) == []
    assert lock_owner(problem.folder.driver_lock) is None


def test_an_exhausted_family_is_no_failure(make: Callable[..., Problem]) -> None:
    problem = make(on_fail=APPEND)
    messages = ("knn is left out from here on: its search space has nothing new to try",)
    with Hooks(problem) as hooks:
        hooks.snapshot(snapshot(messages=messages))
        hooks.snapshot(
            snapshot(messages=(*messages, "mlp is left out from here on: 3 trials failed in a row"), closed=("mlp",))
        )
        hooks.snapshot(
            snapshot(messages=(*messages, "mlp is left out from here on: 3 trials failed in a row"), closed=("mlp",))
        )
    assert [record["message"] for record in told(problem)] == ["mlp is left out from here on: 3 trials failed in a row"]


def test_only_better_scores_are_news(make: Callable[..., Problem], add_member: Callable[..., Any]) -> None:
    problem = make(on_best=APPEND)
    add_member(problem, np.clip(problem.data.y * 0.6 + 0.2, 0.1, 0.9))
    with Hooks(problem, best_seconds=0.0) as hooks:
        for score in (0.5, 0.6, 0.5, 0.4, float("nan")):  # of log_loss: less is better
            hooks.snapshot(snapshot(score))
            time.sleep(0.02)
        worse = add_member(problem, np.full(60, 0.5))
        hooks.member(worse.id)
        better = add_member(problem, np.clip(problem.data.y * 0.8 + 0.1, 0.1, 0.9))
        hooks.member(better.id)
    assert {record["score"] for record in told(problem) if record["kind"] == "ensemble"} <= {0.5, 0.4}
    assert [record["member"] for record in told(problem) if record["kind"] == "single"] == [better.id]


def test_of_many_new_best_scores_the_newest_is_told(make: Callable[..., Problem]) -> None:
    problem = make(on_best=APPEND)
    with Hooks(problem, best_seconds=60.0) as hooks:
        hooks.snapshot(snapshot(0.9))
        while not told(problem):
            time.sleep(0.01)
        for score in (0.8, 0.7, 0.6):
            hooks.snapshot(snapshot(score))
        assert len(told(problem)) == 1
    assert [record["score"] for record in told(problem)] == [0.9, 0.6]  # the end waits for no minute


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo no such luck >&2; exit 3", "no such luck\nexit code 3 after"),
        ("no-such-command", "not found\nexit code 127 after"),
        ("exec 0<&-; exit 1", "exit code 1 after"),
        ("kill -9 $$", "exit code -9 after"),
    ],
)
def test_a_hook_that_fails_is_logged(make: Callable[..., Problem], command: str, said: str) -> None:
    problem = make(on_finish=command)
    report = search(problem, SearchRequest(("linear",), 1, executor="inline"))
    assert (report.ended, report.warning) == ("done", "hooks failed (1 calls); see 'foldsmith logs hooks'")
    assert said in log_of(problem)


def test_a_hook_that_hangs_is_killed_with_its_children(make: Callable[..., Problem]) -> None:
    problem = make(on_best="sleep 3600 & echo $! > child; setsid sleep 3600 & echo $! > other; wait", on_finish=APPEND)
    started = problem.folder.root / "other"
    with Hooks(problem, limit_seconds=5.0) as hooks:
        hooks.snapshot(snapshot(0.5))
        hooks.ended("done", None)
    if not started.exists():  # on a loaded machine the shell may have been killed before it came so far
        pytest.skip("the shell did not begin within five seconds")
    assert "killed: it took too long after " in log_of(problem)
    assert [record["event"] for record in told(problem)] == ["finish"]
    assert told(problem)[0]["score"] is None
    assert hooks.n_failed == 1
    for name in ("child", "other"):
        assert has_ended(int((problem.folder.root / name).read_text()))


def test_a_second_stop_waits_for_no_hook(make: Callable[..., Problem]) -> None:
    problem = make(on_best="echo $$ > shell; sleep 3600; touch late")
    shell = problem.folder.root / "shell"
    with pytest.raises(KeyboardInterrupt), Hooks(problem) as hooks:
        hooks.snapshot(snapshot(0.5))
        while not (shell.exists() and shell.read_text()):
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert has_ended(int(shell.read_text())), "it was waited for"
    assert not (problem.folder.root / "late").exists()


def test_a_log_that_cannot_be_written_breaks_nothing(
    make: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    problem = make(on_finish=APPEND)
    monkeypatch.setattr(module, "appended", full)
    report = search(problem, SearchRequest(("linear",), 1, executor="inline"))
    assert report.ended == "done" and report.warning is not None and "hooks failed (1 calls)" in report.warning


def test_without_hooks_no_thread_is_started(make: Callable[..., Problem], tmp_path: Path) -> None:
    problem = make()
    with Hooks(problem) as hooks:
        hooks.snapshot(snapshot(0.5))
        hooks.member("nobody")
        assert hooks._thread is None
    assert not (problem.folder.logs / "hooks.log").exists()
