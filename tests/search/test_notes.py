"""Notes and pictures of trials, read back with the dashboard's and Optuna's own functions."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
from optuna.artifacts import download_artifact, get_all_artifact_meta
from optuna.trial import TrialState
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard.artifact import get_artifact_path

from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.journal import open_journal
from foldsmith.search.notes import MAX_NOTE_LENGTH, artifact_store, describe_trial

FOLD_SCORES = (0.31, 0.33, 0.32)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def study(folder: Folder) -> optuna.Study:
    """A study whose first point is the family's default."""
    study = optuna.create_study(storage=open_journal(folder.journal), study_name="c0ffee/lightgbm")
    study.enqueue_trial({"rate": 0.1, "leaves": 31})
    return study


def ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("rate", 0, 1)
    trial.suggest_int("leaves", 2, 64)
    return trial


def store_member(
    folder: Folder, trial: optuna.Trial, *, curves: bool = True, n_fitted: int = 3, **changes: Any
) -> Member:
    """A member with fitted folds; complete with scores unless ``changes`` say otherwise."""
    store = MemberStore(folder)
    identity = store.reserve("lgb")
    for fold in range(n_fitted):
        curve = 0.3 + 0.1 / np.arange(1, 301) if curves else None
        facts = {"device": "cpu", "stopped_by": "patience"}
        record = {"provisional": 0.5 + fold, "seconds": 1.25, "facts": facts}
        store.fold(identity, 0, fold).save_fitted(lambda path: None, curve, record)
    values: dict[str, Any] = {
        "state": "complete",
        "params": dict(trial.params),
        "scores": Scores(0.32, 0.32, 0.0058, FOLD_SCORES, 0.321),
        "seconds": 3.75,
        "details": {"rounds": [120, 130, 140] if curves else [None] * 3},
    }
    member = Member(
        id=identity, kind="trial", contract="c0ffee", family="lightgbm", metric="log_loss", **{**values, **changes}
    )
    store.write(member)
    return member


def note_of(study: optuna.Study, trial: optuna.Trial) -> str:
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return str(get_note_from_system_attrs(attributes, trial._trial_id)["body"])


def pictures_of(folder: Folder, study: optuna.Study, trial: optuna.Trial, tmp_path: Path) -> list[str]:
    """What Optuna itself downloads."""
    found = []
    for meta in get_all_artifact_meta(trial, storage=study._storage):
        assert meta.mimetype == "image/svg+xml"
        target = tmp_path / f"got-{meta.artifact_id}"
        download_artifact(
            artifact_store=artifact_store(folder.journal), file_path=str(target), artifact_id=meta.artifact_id
        )
        found.append(target.read_text(encoding="utf-8"))
    return found


def test_a_complete_trial(folder: Folder, study: optuna.Study, tmp_path: Path) -> None:
    ask(study)
    trial = ask(study)
    member = store_member(folder, trial, params={"rate": 0.25, "leaves": 31})
    describe_trial(study, trial, member, MemberStore(folder))
    study.tell(trial, 0.32)
    note = note_of(study, trial)
    assert "**`lgb-0001`** · `lightgbm` · complete · `log_loss` **0.32** ± 0.0058, pooled 0.321 · 3.75 s" in note
    assert "| 1 | 0.31 | 120 | 1.25 | cpu | patience |" in note and "| 3 | 0.32 | 140 |" in note
    assert "| `rate` | `0.25` | `0.1` |" in note and "`leaves`" not in note
    assert "provisional" not in note
    (meta,) = get_all_artifact_meta(trial, storage=study._storage)
    assert note.count(f"]({get_artifact_path(trial, meta.artifact_id)})") == 2
    (picture,) = pictures_of(folder, study, trial, tmp_path)
    assert "fold 2: round 130" in picture and "mean 0.32 ± 0.0058" in picture
    ElementTree.fromstring(picture)


def test_a_trial_at_the_default_says_so(folder: Folder, study: optuna.Study) -> None:
    trial = ask(study)
    describe_trial(study, trial, store_member(folder, trial), MemberStore(folder))
    assert "All parameters are the family's default." in note_of(study, trial)


def test_another_default_may_be_given(folder: Folder, study: optuna.Study) -> None:
    trial = ask(study)
    member = store_member(folder, trial)
    describe_trial(study, trial, member, MemberStore(folder), default={"rate": 0.1, "leaves": 15})
    assert "| `leaves` | `31` | `15` |" in note_of(study, trial)


def test_a_family_without_curves_has_dots_only(folder: Folder, study: optuna.Study, tmp_path: Path) -> None:
    trial = ask(study)
    describe_trial(study, trial, store_member(folder, trial, curves=False), MemberStore(folder))
    assert "| 1 | 0.31 |  | 1.25 |" in note_of(study, trial)
    (picture,) = pictures_of(folder, study, trial, tmp_path)
    assert "polyline" not in picture and "fold 2: 0.33" in picture


def test_a_failed_trial_shows_its_error_and_the_end_of_its_log(folder: Folder, study: optuna.Study) -> None:
    trial = ask(study)
    tail = "".join(f"line {number} with ``` and <b>\n" for number in range(400))
    error = {"reason": "oom", "message": "<img src=x> | `broke`\nhere", "tail": tail}
    member = store_member(folder, trial, n_fitted=2, state="failed", scores=None, details={}, error=error)
    describe_trial(study, trial, member, MemberStore(folder))
    study.tell(trial, state=TrialState.FAIL)
    note = note_of(study, trial)
    assert "**`oom`**: `<img src=x> / 'broke' here`" in note
    assert "line 399 with ''' and <b>\n```\n" in note and "line 380" not in note
    assert note.count("```") == 2
    assert "provisional score" in note and "| 2 | 1.5 |  |" in note
    assert len(note) <= MAX_NOTE_LENGTH


def test_a_pruned_trial_without_any_fold(folder: Folder, study: optuna.Study, tmp_path: Path) -> None:
    trial = ask(study)
    member = store_member(folder, trial, n_fitted=0, state="pruned", scores=None, details={})
    describe_trial(study, trial, member, MemberStore(folder))
    assert "pruned" in note_of(study, trial) and "stopped by" not in note_of(study, trial)
    (picture,) = pictures_of(folder, study, trial, tmp_path)
    assert "no fold was scored" in picture


def test_long_notes_fit_into_one_attribute(folder: Folder, study: optuna.Study) -> None:
    trial = ask(study)
    params = {f"parameter {number} {'x' * 80}": "y" * 90 for number in range(40)}
    scores = Scores(0.3, 0.3, 0.1, (0.3,) * 30, 0.3)
    error = {"reason": "error", "message": "m" * 900, "tail": "t" * 900}
    member = store_member(folder, trial, n_fitted=30, params=params, scores=scores, details={}, error=error)
    describe_trial(study, trial, member, MemberStore(folder))
    note = note_of(study, trial)
    assert len(note) == MAX_NOTE_LENGTH
    assert "18 more" in note and "lgb-0001" in note


def test_written_again_it_replaces_note_and_picture(folder: Folder, study: optuna.Study, tmp_path: Path) -> None:
    """A driver that died between the note and the tell comes here twice."""
    trial = ask(study)
    store = MemberStore(folder)
    member = store_member(folder, trial)
    describe_trial(study, trial, member, store)
    changed = Member.from_json({**member.to_json(), "state": "pruned", "scores": None})
    describe_trial(study, optuna.Trial(study, trial._trial_id), changed, store)
    assert "pruned" in note_of(study, trial) and "complete" not in note_of(study, trial)
    (picture,) = pictures_of(folder, study, trial, tmp_path)
    assert "pruned" in picture
    assert len(list((folder.state / "artifacts").iterdir())) == 1


def test_a_disk_that_refuses_costs_the_note_only(
    folder: Folder, study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    trial = ask(study)
    member = store_member(folder, trial)
    (folder.state / "artifacts").write_text("in the way")
    describe_trial(study, trial, member, MemberStore(folder))
    study.tell(trial, 0.3)
    assert "no note on lgb-0001 in the dashboard" in caplog.text


def test_a_trial_that_another_driver_ended_stays_as_it_is(folder: Folder, study: optuna.Study) -> None:
    trial = ask(study)
    member = store_member(folder, trial)
    study.tell(trial.number, 0.3)
    describe_trial(study, trial, member, MemberStore(folder))
    assert note_of(study, trial) == ""
    assert get_all_artifact_meta(trial, storage=study._storage) == []


def test_a_driver_does_not_import_the_dashboard() -> None:
    code = "import sys, foldsmith.search.notes; sys.exit('optuna_dashboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
