"""A journal is repaired after a crash, and read by others without being changed."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from foldsmith.problem.errors import ContractError
from foldsmith.search.journal import make_durable, open_journal, read_only, repair_journal

CHANGES = sorted(name for name in dir(BaseStorage) if name.startswith(("create_", "set_", "delete_")))


@pytest.fixture
def storage(journal: Path) -> BaseStorage:
    """A journal of one study with two complete trials and a running one."""
    storage = open_journal(journal)
    study = optuna.create_study(storage=storage, study_name="c0ffee/toy", direction="maximize")
    study.set_user_attr("space_version", "toy@1")
    for value in (0.5, 0.75):
        trial = study.ask()
        trial.report(trial.suggest_float("x", 0, 1), 0)
        study.tell(trial, value)
    study.ask().set_user_attr("member", "toy-0003")
    return storage


def add_trial(journal: Path) -> int:
    """Load, ask, tell, and load once more; how many trials there are then."""
    study = optuna.load_study(study_name="c0ffee/toy", storage=open_journal(journal))
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    study.tell(trial, 0.25)
    return len(optuna.load_study(study_name="c0ffee/toy", storage=open_journal(journal)).trials)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("seed", range(8))
def test_a_torn_last_line_is_cut(journal: Path, seed: int) -> None:
    whole = journal.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    end = int(np.random.default_rng(seed).integers(last + 1, len(whole)))
    journal.write_bytes(whole[:end])
    assert repair_journal(journal) == end - last
    assert journal.read_bytes() == whole[:last]
    assert add_trial(journal) == 4


@pytest.mark.usefixtures("storage")
def test_a_line_longer_than_a_block_is_cut(journal: Path) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"x" * 200_000)
    assert repair_journal(journal) == 200_000
    assert journal.read_bytes() == whole


def test_nothing_but_a_torn_line(journal: Path) -> None:
    journal.write_bytes(b'{"op_code": 0, "wor')
    assert repair_journal(journal) == 19
    assert journal.read_bytes() == b""
    optuna.create_study(storage=open_journal(journal))


@pytest.mark.usefixtures("storage")
def test_an_intact_file_stays_as_it_is(journal: Path) -> None:
    before, stamp = journal.read_bytes(), journal.stat().st_mtime_ns
    assert repair_journal(journal) == 0
    assert (journal.read_bytes(), journal.stat().st_mtime_ns) == (before, stamp)


def test_no_file_yet(journal: Path) -> None:
    assert repair_journal(journal) == 0
    assert not journal.exists()


@pytest.mark.usefixtures("storage")
def test_a_stale_lock_is_removed(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Path(f"{journal}.lock")
    lock.symlink_to(journal)  # as Optuna makes it, and a killed process leaves it
    Path(f"{journal}.lock.0123.rename").touch()
    repair_journal(journal)
    assert not lock.is_symlink()
    assert [path.name for path in journal.parent.iterdir()] == [journal.name]
    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", lambda seconds: pytest.fail("it waits for a lock"))
    assert add_trial(journal) == 4


QUESTIONS: dict[str, Callable[[BaseStorage, int, int], Any]] = {
    "get_all_studies": lambda s, study, trial: [
        (f.study_name, f.directions, f.user_attrs) for f in s.get_all_studies()
    ],
    "get_all_trials": lambda s, study, trial: s.get_all_trials(study),
    "get_best_trial": lambda s, study, trial: s.get_best_trial(study),
    "get_n_trials": lambda s, study, trial: s.get_n_trials(study, state=TrialState.COMPLETE),
    "get_study_directions": lambda s, study, trial: s.get_study_directions(study),
    "get_study_id_from_name": lambda s, study, trial: s.get_study_id_from_name("c0ffee/toy"),
    "get_study_name_from_id": lambda s, study, trial: s.get_study_name_from_id(study),
    "get_study_system_attrs": lambda s, study, trial: s.get_study_system_attrs(study),
    "get_study_user_attrs": lambda s, study, trial: s.get_study_user_attrs(study),
    "get_trial": lambda s, study, trial: s.get_trial(trial),
    "get_trial_id_from_study_id_trial_number": lambda s, study, trial: s.get_trial_id_from_study_id_trial_number(
        study, 1
    ),
    "get_trial_number_from_id": lambda s, study, trial: s.get_trial_number_from_id(trial),
    "get_trial_param": lambda s, study, trial: s.get_trial_param(trial, "x"),
    "get_trial_params": lambda s, study, trial: s.get_trial_params(trial),
    "get_trial_system_attrs": lambda s, study, trial: s.get_trial_system_attrs(trial),
    "get_trial_user_attrs": lambda s, study, trial: s.get_trial_user_attrs(trial),
}


def test_the_questions_are_all_there_are() -> None:
    assert sorted(QUESTIONS) == sorted(name for name in dir(BaseStorage) if name.startswith("get_"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_read_only_answers_every_question(storage: BaseStorage, name: str) -> None:
    study = storage.get_study_id_from_name("c0ffee/toy")
    trial = storage.get_trial_id_from_study_id_trial_number(study, 0)
    assert QUESTIONS[name](read_only(storage), study, trial) == QUESTIONS[name](storage, study, trial)


def test_read_only_sees_what_a_writer_adds(storage: BaseStorage, journal: Path) -> None:
    reader = read_only(open_journal(journal))
    study = reader.get_study_id_from_name("c0ffee/toy")
    assert reader.get_n_trials(study) == 3
    add_trial(journal)
    assert reader.get_n_trials(study) == 4


@pytest.mark.parametrize("name", CHANGES)
def test_read_only_refuses_every_change(storage: BaseStorage, journal: Path, name: str) -> None:
    before = journal.read_bytes()
    words: dict[str, tuple[object, ...]] = {
        "create_new_study": ([StudyDirection.MINIMIZE], "other"),
        "create_new_trial": (0,),
        "delete_study": (0,),
        "set_study_system_attr": (0, "key", 1),
        "set_study_user_attr": (0, "key", 1),
        "set_trial_intermediate_value": (2, 1, 0.5),
        "set_trial_param": (2, "x", 0.5, FloatDistribution(0, 1)),
        "set_trial_state_values": (2, TrialState.COMPLETE, [1.0]),
        "set_trial_system_attr": (2, "key", 1),
        "set_trial_user_attr": (2, "key", 1),
    }
    with pytest.raises(ContractError, match=f"the dashboard only reads: {name} is refused"):
        getattr(read_only(storage), name)(*words[name])
    assert journal.read_bytes() == before


def test_read_only_refuses_through_optuna(storage: BaseStorage, journal: Path) -> None:
    before = journal.read_bytes()
    study = optuna.load_study(study_name="c0ffee/toy", storage=read_only(storage))
    assert study.best_value == 0.75
    with pytest.raises(ContractError, match="only reads"):
        study.ask()
    with pytest.raises(ContractError, match="only reads"):
        optuna.create_study(storage=read_only(storage), study_name="another")
    assert journal.read_bytes() == before


def test_two_open_journals_see_each_others_lines(journal: Path) -> None:
    one, other = open_journal(journal), open_journal(journal)
    studies = [optuna.create_study(storage=storage, study_name="s", load_if_exists=True) for storage in (one, other)]
    for turn in range(6):
        trial = studies[turn % 2].ask()
        studies[turn % 2].tell(trial, float(turn))
        assert [trial.value for trial in studies[1 - turn % 2].trials] == [float(n) for n in range(turn + 1)]
    fresh = optuna.load_study(study_name="s", storage=open_journal(journal))
    assert fresh.trials == studies[0].trials == studies[1].trials


def test_what_is_written_here_is_not_read_from_the_file_again(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=open_journal(journal), study_name="s")
    monkeypatch.setattr(JournalFileBackend, "read_logs", lambda backend, start: pytest.fail("the file was read"))
    for value in (0.5, 0.75):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, value)
    monkeypatch.undo()
    assert study.trials == optuna.load_study(study_name="s", storage=open_journal(journal)).trials


def test_a_full_disk_leaves_no_half_line(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=open_journal(journal), study_name="s")
    whole = journal.read_bytes()

    class Full(io.FileIO):
        def write(self, block: Any) -> int:
            if len(block) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(block[:-10])

    monkeypatch.setattr("builtins.open", lambda path, mode="r", **options: Full(path, mode))
    with pytest.raises(OSError, match="No space left"):
        study.ask()
    monkeypatch.undo()
    assert journal.read_bytes() == whole
    study.ask()
    assert len(optuna.load_study(study_name="s", storage=open_journal(journal)).trials) == 1


def test_lines_are_synced_when_somebody_asks(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    storage = open_journal(journal)
    study = optuna.create_study(storage=storage, study_name="s")
    study.ask()
    assert synced == []
    make_durable(storage)
    make_durable(storage)
    assert len(synced) == 1
    make_durable(optuna.storages.InMemoryStorage())
