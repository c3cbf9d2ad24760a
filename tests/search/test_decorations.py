"""What only decorates a search may raise anything: the search goes on, and so does the next call."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from foldsmith import open_competition
from foldsmith.problem.contract import Problem
from foldsmith.problem.decoration import Decorations
from foldsmith.results.members import MemberStore
from foldsmith.search.snapshot import Snapshot


class Odd(BaseException):
    """No ``Exception``, and its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS: dict[str, Callable[[], Any]] = {
    "ValueError": lambda: math.log(0),
    "OSError": lambda: Path("/no/such/file").read_bytes(),
    "MemoryError": lambda: exec("raise MemoryError"),
    "RecursionError": lambda: exec("raise RecursionError"),  # a real one harms ast.parse for good in Python 3.11
    "StopIteration": lambda: next(iter(())),
    "SystemExit": lambda: exec("raise SystemExit(3)"),
    "Odd": lambda: exec("raise Odd", {"Odd": Odd}),
}

# Where the decorations of a search come from; each raises at every call.
PLACES = (
    "foldsmith.search.notes.draw_trial",
    "foldsmith.search.desk.describe_trial",
    "foldsmith.search.driver.take_snapshot",
    "foldsmith.search.driver.write_json",
    "foldsmith.flow.search.tell_standing",
    "foldsmith.flow.search.SearchMirror.start",
    "foldsmith.flow.search.SearchMirror.notice",
    "foldsmith.flow.search.SearchMirror.finish",
    "foldsmith.flow.hooks.Hooks._stored_scores",
    "foldsmith.flow.hooks.Hooks._tell_member",
    "foldsmith.flow.hooks.Hooks._tell_snapshot",
    "foldsmith.flow.hooks.Hooks._tell_end",
    "foldsmith.flow.hooks.Hooks._leave",
    "foldsmith.flow.ensemble.best_blend",
    "foldsmith.flow.ensemble.candidates",
    "foldsmith.search.jobs._library_versions",
)


@pytest.fixture
def hooked(problem: Problem) -> Problem:
    """With hooks and a mirror."""
    document = tomlkit.parse(problem.folder.config.read_text())
    document["hooks"] = {"on_best": "true", "on_finish": "true"}
    document["store"] = {"mirror": f"file://{problem.folder.root}-mirror"}
    problem.folder.config.write_text(tomlkit.dumps(document))
    return problem


def search(problem: Problem, n_trials: int, observe: Callable[[Snapshot], None] | None = None) -> Any:
    """As a notebook does it, in this process."""
    competition = open_competition(problem.folder.root)
    return competition.search(["linear"], trials=n_trials, executor="inline", observe=observe)


def n_complete(problem: Problem) -> int:
    """Complete members."""
    return len([member for member in MemberStore(problem.folder).all() if member.state == "complete"])


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES)
def test_what_decorates_ends_nothing(hooked: Problem, monkeypatch: pytest.MonkeyPatch, place: str, error: str) -> None:
    if error not in ("ValueError", "Odd") and PLACES.index(place) > 3:
        pytest.skip("the same guard")

    def fail(*_: object, **__: object) -> None:
        ERRORS[error]()

    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        assert search(hooked, 1).ended == "done"
        assert n_complete(hooked) == 1
        assert search(hooked, 2).ended == "done"  # what the first call left does not end the second one
    assert search(hooked, 3).ended == "done"
    assert n_complete(hooked) == 3


@pytest.mark.parametrize("error", ERRORS)
def test_an_observer_may_raise_anything(problem: Problem, caplog: pytest.LogCaptureFixture, error: str) -> None:
    def observe(snapshot: Snapshot) -> None:
        ERRORS[error]()

    with caplog.at_level(logging.WARNING):
        report = search(problem, 2, observe)
    assert report.ended == "done" and n_complete(problem) == 2
    if error != "Odd":
        told = [record for record in caplog.records if "showing the progress failed" in record.getMessage()]
        assert len(told) == 1, "it is told once"
        assert report.warning is not None and "showing the progress failed" in report.warning


def test_ctrl_c_still_ends_a_search(problem: Problem) -> None:
    def observe(snapshot: Snapshot) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(problem, 1, observe)


def test_scores_that_differ_in_their_last_digit(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note has its picture whatever the scores are."""
    from optuna.artifacts import get_all_artifact_meta

    from foldsmith.search import notes
    from foldsmith.search.journal import open_journal

    real = notes.read_folds

    def read_folds(*words: Any) -> list[notes.FoldNote]:
        near = [0.5, np.nextafter(0.5, 1), 0.5]
        return [replace(fold, score=score) for fold, score in zip(real(*words), near, strict=True)]

    monkeypatch.setattr(notes, "read_folds", read_folds)
    assert search(problem, 1).warning is None
    storage = open_journal(problem.folder.journal)
    trial = storage.get_all_trials(storage.get_study_id_from_name(f"{problem.contract}/linear"))[0]
    assert len(get_all_artifact_meta(trial, storage=storage)) == 1


def test_facts_with_numpys_numbers(problem: Problem, write_family: Callable[..., str]) -> None:
    """What a family notes of a fit only describes it."""
    family = write_family(problem, "fit")
    with open(problem.folder.code / "toys.py", "a") as file:
        file.write(
            "\n\nclass Noted(Constant):\n    def __init__(self, level):\n        super().__init__(level)\n"
            "        self.facts = {'a': np.float32(0.5), 'b': np.arange(2), 'c': np.bool_(True), 'd': HERE}\n"
            "\n\nclass Notes(Toy):\n    def fit_fold(self, task):\n"
            "        return Noted(task.y[task.train_rows].mean() + task.params['shift'])\n"
        )
    competition = open_competition(problem.folder.root)
    assert competition.search([family.replace("Toy", "Notes")], trials=1, executor="inline").ended == "done"
    member = MemberStore(problem.folder).get("toy-0001")
    facts = member.details["fold_facts"][0]
    assert (facts["a"], facts["b"], facts["c"]) == (0.5, [0, 1], True)


def test_a_guard_tells_each_kind_once() -> None:
    said: list[str] = []
    guard = Decorations(said.append)
    for what in ("the note", "the note", "the picture"):
        with guard(what):
            raise ValueError("on purpose")
    kept = ("the note failed (ValueError: on purpose); everything else goes on",)
    assert guard.failures == (*kept, kept[0].replace("note", "picture")) == tuple(said)
