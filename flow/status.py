"""What a competition folder is doing and has reached, read from its files; starts no search library."""

import os
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foldsmith.problem.contract import open_problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import read_json
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.results.top import ranked
from foldsmith.search.locks import lock_owner


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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def status(root: Path) -> Status:
    """Read the state of ``root``.

    Raises:
        InputError: no competition, or no folds yet.
    """
    problem = open_problem(root)
    folder = problem.folder
    members = MemberStore(folder).all(contract=problem.contract)
    complete = [member for member in members if member.state == "complete"]
    owner = lock_owner(folder.driver_lock)
    beat = read_json(folder.driver) if folder.driver.exists() else None
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
        _phase(owner, beat, was_launched=folder.launch.exists()),
        dict(Counter(member.family for member in complete if member.kind == "trial")),
        dict(Counter(member.state for member in members if member.kind == "trial")),
        best,
        str(current) if current.exists() else None,
        beat["snapshot"] if beat is not None and owner is not None else None,
    )


def _phase(owner: int | None, beat: dict[str, Any] | None, *, was_launched: bool) -> str:
    if beat is None:
        return "starting" if owner is not None else "interrupted" if was_launched else "idle"
    phase = str(beat["snapshot"]["phase"])
    if owner is not None or phase == "failed":
        return phase
    return "idle" if phase == "blending" else "interrupted"


def stop(root: Path, *, wait_seconds: float = 600.0) -> int:
    """Ask the running driver to let its folds end and stop; a second call ends it at once.

    Returns:
        The process id that was asked.

    Raises:
        InputError: nothing runs in ``root``.
    """
    folder = Folder(root)
    owner = lock_owner(folder.driver_lock)
    if owner is None:
        raise InputError(f"no search is running in {root}; nothing to stop")
    os.kill(owner, signal.SIGTERM)  # SIGINT is ignored by what a script started in the background
    give_up = time.monotonic() + wait_seconds
    while lock_owner(folder.driver_lock) == owner and time.monotonic() < give_up:
        time.sleep(0.1)
    return owner
