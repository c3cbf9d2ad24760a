"""What a competition folder is doing and has reached, read from its files; starts no search library."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foldsmith.flow.heartbeat import driven_seats, driver_of, ending, last_beat
from foldsmith.flow.searched import open_searched
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.results.top import ranked
from foldsmith.search.locks import lock_machine
from foldsmith.search.rig import detect_rig

# A driver that is asked a second time drops everything at once; one that is stuck in C code hears no signal.
KILL_AFTER_SECONDS = 15.0


@dataclass(frozen=True)
class Status:
    """One look at a competition.

    Args:
        driver: process id of the running driver, None when nothing runs.
        phase: of the running search; else ``interrupted`` when the last driver died or was stopped, ``failed`` when
            all its trials failed, ``idle`` when it came to its end or there was none.
        members: number of complete members by family.
        states: number of trials by state.
        best: id, score and standard error of the best member and the best blend.
        snapshot: the running driver's last snapshot.
        rig: this machine, and how a running search has cut it into slots.
        other_drivers: further processes that search here, on one study in a database.
        note: what has changed since the search began; empty when nothing has.
    """

    folder: str
    metric: str
    contract: str
    folds: str
    driver: int | None
    phase: str
    members: dict[str, int]
    states: dict[str, int]
    best: dict[str, tuple[str, float, float]]
    submission: str | None
    snapshot: dict[str, Any] | None
    rig: str
    other_drivers: list[int]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def status(root: Path) -> Status:
    """Read the state of ``root``.

    Raises:
        InputError: no competition, or no folds yet.
    """
    searched = open_searched(root)
    problem = searched.problem
    seats = driven_seats(problem.folder)
    folder = seats[0][0] if seats else problem.folder
    members = MemberStore(folder).all(contract=problem.contract)
    complete = [member for member in members if member.state == "complete"]
    owner = driver_of(folder)
    beat = last_beat(folder)
    best = {}
    for kind, of_kind in (("single", ("trial", "imported")), ("blend", ("blend",))):
        order = ranked([m for m in complete if m.kind in of_kind], greater_is_better=problem.metric.greater_is_better)
        if order and order[0].scores is not None:
            best[kind] = (order[0].id, order[0].scores.value, order[0].scores.sem)
    current = folder.submissions / "current.csv"
    return Status(
        str(folder.root.resolve()),
        problem.metric.name,
        problem.contract,
        f"{problem.plan.n_folds} {problem.plan.scheme}, frozen as {problem.plan.hash}",
        owner,
        _phase(folder, owner),
        dict(Counter(member.family for member in complete if member.kind == "trial")),
        dict(Counter(member.state for member in members if member.kind == "trial")),
        best,
        str(current) if current.exists() else None,
        beat.snapshot.to_json() if beat is not None and owner is not None else None,
        (beat.snapshot.rig if beat is not None and owner is not None else "") or detect_rig().describe(),
        [driver for _, driver in seats[1:]],
        searched.note,
    )


def _phase(folder: Folder, owner: int | None) -> str:
    beat = last_beat(folder)
    if beat is None:
        return "starting" if owner is not None else "interrupted" if folder.launch.exists() else "idle"
    if owner is not None:
        return beat.snapshot.phase
    return {"done": "idle", "failed": "failed"}.get(ending(folder), "interrupted")


@dataclass(frozen=True)
class Stopped:
    """What came of asking a driver to stop.

    Args:
        driver: the process that was asked.
        how: ``drained`` (its running folds ended and were stored), ``killed`` (it ended at once, folds that ran are
            lost), ``done`` or ``failed`` (it came to its own end meanwhile), or ``running`` (it still runs).
    """

    driver: int
    how: str


def stop(
    root: Path,
    *,
    wait_seconds: float = 600.0,
    kill_after_seconds: float = KILL_AFTER_SECONDS,
    tell: Callable[[int, bool], None] = lambda driver, again: None,
) -> list[Stopped]:
    """Ask the drivers of ``root`` on this machine to let their folds end and stop; a second call ends them at once.

    Args:
        wait_seconds: for its folds to end.
        kill_after_seconds: when a driver that is asked a second time and does not end is killed.
        tell: gets each process that was asked, and whether somebody had asked it before.

    Raises:
        InputError: nothing runs in ``root``.
        FoldsmithError: a process cannot be reached.
    """
    folder = Folder(root)
    seats = driven_seats(folder)
    if not seats:
        is_left = folder.driver.exists() and ending(folder) in ("died", "interrupted")
        hint = "; the last one did not come to its end, go on with 'foldsmith resume'" if is_left else ""
        raise InputError(f"no search is running in {root}; nothing to stop{hint}")
    asked = []
    for seat, driver in seats:
        if (machine := lock_machine(seat.driver_lock)) is None:
            asked.append((seat, driver, _ask(seat, driver)))
            tell(driver, asked[-1][2])
        elif len(seats) == 1:
            raise FoldsmithError(f"process {driver}, which searches here, runs on {machine}; stop it there")
    return [
        _see_off(seat, driver, kill_after_seconds if again else wait_seconds, kill_after_seconds if again else None)
        for seat, driver, again in asked
    ]


def _ask(folder: Folder, driver: int) -> bool:
    """Send SIGTERM (SIGINT is ignored by what a script started in the background); whether one had come before."""
    beat = last_beat(folder)
    _signal(driver, signal.SIGTERM)
    return beat is not None and beat.snapshot.phase == "stopping"


def _see_off(folder: Folder, driver: int, wait_seconds: float, kill_seconds: float | None) -> Stopped:
    """Wait for the end of a driver, kill it where ``kill_seconds`` are given to that, and say how it ended."""
    if _ends(folder, driver, wait_seconds):
        return Stopped(driver, _how(folder))
    if kill_seconds is None:
        return Stopped(driver, "running")
    _signal(driver, signal.SIGKILL)
    return Stopped(driver, "killed" if _ends(folder, driver, kill_seconds) else "running")


def _signal(driver: int, number: int) -> None:
    try:
        os.kill(driver, number)
    except ProcessLookupError:
        raise FoldsmithError(
            f"process {driver}, which searches here, is not to be seen; is it in another container? stop it there"
        ) from None
    except PermissionError:
        raise FoldsmithError(f"process {driver}, which searches here, belongs to another user; ask them") from None


def _ends(folder: Folder, driver: int, wait_seconds: float) -> bool:
    give_up = time.monotonic() + wait_seconds
    while driver_of(folder) == driver:
        if time.monotonic() >= give_up:
            return False
        time.sleep(0.1)
    return True


def _how(folder: Folder) -> str:
    how = ending(folder)
    return {"interrupted": "drained", "died": "killed"}.get(how, how)
