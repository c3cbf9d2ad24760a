"""What a running driver tells every other process: that it lives, its last snapshot, the standing ensemble."""

import time
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import DamagedFileError
from foldsmith.problem.files import read_json, write_json
from foldsmith.problem.folder import Folder
from foldsmith.search.locks import MAX_SEATS, lock_owner
from foldsmith.search.snapshot import Snapshot

POLL_SECONDS = 0.25

# What a heartbeat's last phase says about a driver that is gone; any other phase: it was killed, or it crashed.
ENDINGS = {"blending": "done", "interrupted": "interrupted", "failed": "failed"}


@dataclass(frozen=True)
class Heartbeat:
    """One beat.

    Args:
        at: when, in seconds since the epoch.
        seconds_left: of the time budget, None without one.
        snapshot: as the driver saw the search.
    """

    at: float
    seconds_left: float | None
    snapshot: Snapshot

    def aged(self, now: float | None = None) -> Snapshot:
        """The snapshot with its clocks set forward to ``now``."""
        age = max(0.0, (time.time() if now is None else now) - self.at)
        slots = tuple(replace(slot, seconds=slot.seconds + age) for slot in self.snapshot.slots)
        return replace(self.snapshot, elapsed_seconds=self.snapshot.elapsed_seconds + age, slots=slots)


def last_beat(folder: Folder) -> Heartbeat | None:
    """The last beat of the last driver, dead or alive; None before its first one."""
    try:
        record = read_json(folder.driver)
        snapshot: Snapshot = _from_json(Snapshot, record["snapshot"])
        at, left = float(record["at"]), record["seconds_left"]
        return Heartbeat(at, None if left is None else float(left), _with_standing(folder, snapshot))
    except (FileNotFoundError, DamagedFileError, KeyError, TypeError, ValueError, AttributeError):
        return None  # a damaged one: the next beat replaces it


def driver_of(folder: Folder) -> int | None:
    """The process that searches in this folder, None when none does."""
    return lock_owner(folder.driver_lock)


def driven_seats(folder: Folder) -> list[tuple[Folder, int]]:
    """The folder as each of its drivers sees it, with the driver's process; there may be several on one database."""
    seats = [replace(folder, seat=seat) for seat in range(1, MAX_SEATS + 1)]
    return [(seat, driver) for seat in seats if (driver := driver_of(seat)) is not None]


def beats(folder: Folder, driver: int) -> Iterator[Heartbeat]:
    """Each new beat of a driver, as it comes, until the driver is gone; the last one is yielded in any case."""
    seen = -1.0
    while True:
        is_last = driver_of(folder) != driver
        beat = last_beat(folder)
        if beat is not None and beat.at > seen:
            seen = beat.at
            yield beat
        if is_last:
            return
        time.sleep(POLL_SECONDS)


def ending(folder: Folder) -> str:
    """How the last driver ended: ``done``, ``interrupted``, ``failed`` or ``died``."""
    beat = last_beat(folder)
    return "died" if beat is None else ENDINGS.get(beat.snapshot.phase, "died")


def tell_standing(folder: Folder, standing: tuple[float, float, int]) -> None:
    """Keep the standing ensemble's nested score, standard error and size beside the driver's heartbeat."""
    value, sem, size = standing
    write_json(_standing(folder), {"value": value, "sem": sem, "size": size})


def forget(folder: Folder) -> None:
    """Remove what the driver before told: another phase, another time left, another ensemble."""
    folder.driver.unlink(missing_ok=True)
    _standing(folder).unlink(missing_ok=True)


def _standing(folder: Folder) -> Path:
    return folder.driver.with_suffix(".standing.json")


def _with_standing(folder: Folder, snapshot: Snapshot) -> Snapshot:
    try:
        record = read_json(_standing(folder))
        return replace(snapshot, ensemble=(record["value"], record["sem"]), ensemble_size=record["size"])
    except (FileNotFoundError, DamagedFileError, KeyError):
        return snapshot


def _from_json(kind: Any, value: Any) -> Any:
    """The inverse of ``dataclasses.asdict`` and JSON: records become dataclasses again, lists tuples.

    Keys that ``kind`` does not know are left out, so that the driver may be of another version.
    """
    if is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        known = {field.name: hints[field.name] for field in fields(kind)}
        return typing.cast(type, kind)(
            **{name: _from_json(its, value[name]) for name, its in known.items() if name in value}
        )
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        chosen = next(its for its in arguments if its is not type(None))
        return None if value is None else _from_json(chosen, value)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_from_json(its, entry) for its, entry in zip(kinds, value, strict=True))
    return value
