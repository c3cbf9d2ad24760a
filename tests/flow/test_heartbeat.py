"""What a driver tells is read back as it was, whatever version wrote it."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foldsmith.flow.heartbeat import beats, driven_seats, driver_of, ending, forget, last_beat, tell_standing
from foldsmith.problem.files import read_json, write_json
from foldsmith.problem.folder import Folder
from foldsmith.search.locks import FolderLock
from foldsmith.search.snapshot import FamilyView, SlotView, Snapshot

SNAPSHOT = Snapshot(
    "searching",
    10.0,
    600.0,
    n_complete=3,
    families=(FamilyView("linear", 2, 0.8, 0.01, (0.7, 0.8)), FamilyView("knn", 0)),
    slots=(SlotView(0, "lin-0001", "fold 2", 4.0, None),),
    ensemble=(0.81, 0.02),
    ensemble_size=2,
    messages=("one", "two"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / ".foldsmith").mkdir()
    return Folder(tmp_path)


@pytest.fixture
def beat(folder: Folder) -> Callable[..., None]:
    """Writes a heartbeat, as the driver does."""

    def write(snapshot: Snapshot = SNAPSHOT, at: float = 100.0, **more: Any) -> None:
        write_json(folder.driver, {"at": at, "seconds_left": None, "snapshot": {**snapshot.to_json(), **more}})

    return write


def test_a_snapshot_comes_back_as_it_was(folder: Folder, beat: Callable[..., None]) -> None:
    assert last_beat(folder) is None
    beat()
    found = last_beat(folder)
    assert found is not None and (found.at, found.seconds_left, found.snapshot) == (100.0, None, SNAPSHOT)


def test_words_of_another_version_are_left_out(folder: Folder, beat: Callable[..., None]) -> None:
    beat(temperature=70)
    record = read_json(folder.driver)
    record["snapshot"]["slots"][0]["colour"] = "red"
    del record["snapshot"]["messages"]
    write_json(folder.driver, record)
    found = last_beat(folder)
    assert found is not None and found.snapshot.slots == SNAPSHOT.slots and found.snapshot.messages == ()


def test_clocks_go_on(folder: Folder, beat: Callable[..., None]) -> None:
    beat()
    found = last_beat(folder)
    assert found is not None
    assert found.aged(107.0).elapsed_seconds == 17.0
    assert found.aged(107.0).slots[0].seconds == 11.0
    assert found.aged(90.0) == SNAPSHOT  # two clocks may differ a little


def test_the_standing_ensemble_is_told_beside_it(folder: Folder, beat: Callable[..., None]) -> None:
    beat(ensemble=None, ensemble_size=0)
    tell_standing(folder, (0.9, 0.03, 4))
    found = last_beat(folder)
    assert found is not None and (found.snapshot.ensemble, found.snapshot.ensemble_size) == ((0.9, 0.03), 4)
    forget(folder)
    forget(folder)
    assert last_beat(folder) is None
    beat(ensemble=None, ensemble_size=0)
    found = last_beat(folder)
    assert found is not None and found.snapshot.ensemble is None


@pytest.mark.parametrize(
    ("phase", "how"),
    [
        ("blending", "done"),
        ("interrupted", "interrupted"),
        ("failed", "failed"),
        ("searching", "died"),
        ("stopping", "died"),
    ],
)
def test_how_a_driver_ended(folder: Folder, beat: Callable[..., None], phase: str, how: str) -> None:
    assert ending(folder) == "died"
    beat(Snapshot(phase, 1.0))
    assert ending(folder) == how


def test_seats(folder: Folder) -> None:
    assert driven_seats(folder) == []
    second = replace(folder, seat=2)
    with FolderLock(second.driver_lock):
        assert driven_seats(folder) == [(second, os.getpid())]
        with FolderLock(folder.driver_lock):
            assert driven_seats(folder) == [(folder, os.getpid()), (second, os.getpid())]
    tell_standing(second, (0.9, 0.03, 4))
    assert not folder.driver.with_suffix(".standing.json").exists()


def test_beats_until_the_driver_is_gone(folder: Folder, beat: Callable[..., None]) -> None:
    lock = FolderLock(folder.driver_lock)
    assert lock.acquire()
    driver = driver_of(folder)
    assert driver is not None
    beat(at=1.0)
    seen: list[float] = []

    def look() -> None:
        seen.extend(found.at for found in beats(folder, driver))

    looking = threading.Thread(target=look)
    looking.start()
    while not seen and looking.is_alive():
        beat(at=2.0)  # the same beat, written twice, is one
        time.sleep(0.01)
        if last_beat(folder) is not None:
            break
    beat(at=3.0)
    lock.release()
    looking.join(10)
    assert not looking.is_alive()
    assert seen[-1] == 3.0 and seen == sorted(set(seen))
    assert list(beats(folder, driver))[0].at == 3.0  # the last words of one that is gone already
