"""Blends of stored members: the running one during a search, and those that are kept as members."""

import datetime
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.greedy import greedy
from foldsmith.ensembling.task import BlendTask, EnsembleResult, mix
from foldsmith.flow.submission import write_current
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.top import ranked

MAX_CANDIDATES = 60


def candidates(problem: Problem, members: MemberStore, names: Sequence[str] | None = None) -> list[Member]:
    """Complete members with a current test prediction, best first; only ``names`` if given.

    Raises:
        UnknownNameError: a name that is no member.
        InputError: a named member cannot be blended.
    """
    complete = members.all(contract=problem.contract, states=["complete"])
    fresh = [m for m in complete if m.kind != "blend" and m.test_fingerprint == problem.data.test_fingerprint]
    for name in names or ():
        member = members.get(name)
        if member not in fresh:
            raise InputError(f"{name} cannot be blended: it is {member.kind}, {member.state}, or of other data")
    chosen = [member for member in fresh if names is None or member.id in names]
    return ranked(chosen, greater_is_better=problem.metric.greater_is_better)


@dataclass(frozen=True)
class Blended:
    """An ensemble of stored members with its test prediction ``(n_test, n_outputs)``."""

    result: EnsembleResult
    test: NDArray[np.float32]
    members: tuple[str, ...]


def blend_members(problem: Problem, members: MemberStore, chosen: Sequence[Member]) -> Blended:
    """Greedy selection over the chosen members."""
    if not chosen:
        raise InputError("there is no complete member to blend yet; run 'foldsmith search' first")
    oofs = {member.id: members.oof(member.id) for member in chosen[:MAX_CANDIDATES]}
    result = greedy(oofs, BlendTask(problem.judge))
    tests = {name: members.test(name) for name in result.weights}
    return Blended(
        result, mix(result.weights, tests, problem.metric.blend_space), tuple(member.id for member in chosen)
    )


def keep_blend(problem: Problem, members: MemberStore, blended: Blended, name: str | None = None) -> Member:
    """Store a blend as a member: its arrays are the nested OOF and the test prediction.

    Raises:
        InputError: the name is taken or not a plain word.
    """
    if name is None:
        name = members.reserve("b")
    elif not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"blend name {name!r} may hold letters, digits, '-' and '_' only")
    else:
        try:
            members.path(name).mkdir(parents=True)
        except FileExistsError:
            raise InputError(f"there is a member {name!r} already; choose another name") from None
    result = blended.result
    member = Member(
        id=name,
        kind="blend",
        state="complete",
        contract=problem.contract,
        family=result.method,
        metric=problem.metric.name,
        policy="nested",
        params=dict(result.weights),
        scores=result.nested,
        test_fingerprint=problem.data.test_fingerprint,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        details={**result.details(), "fold_hash": problem.plan.hash, "candidates": list(blended.members)},
    )
    members.finish(member, result.nested_oof, blended.test)
    return member


class RunningEnsemble:
    """Blends anew, beside the search, whenever members have come, and keeps ``current.csv`` the best so far.

    It works at most a fifth of the time, so that the workers keep their cores.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._members = MemberStore(problem.folder)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ensemble", daemon=True)
        self._best: float | None = None
        self._seconds = 0.5
        self.latest: Blended | None = None
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to wait for members; those of earlier searches count as news."""
        self._thread.start()
        self._wake.set()

    def notice(self, member: str) -> None:
        """A member was completed."""
        self._wake.set()

    @property
    def reserve_seconds(self) -> float:
        """What a last blend, its submission and the end of the process are expected to need."""
        return 1.5 + 2.0 * self._seconds

    def finish(self) -> Blended | None:
        """Stop the thread and return a blend of all members there are; None without members."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        chosen = candidates(self._problem, self._members)
        if not chosen:
            return None
        if self.latest is None or self.latest.members != tuple(member.id for member in chosen):
            self._update(chosen)
        return self.latest

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                chosen = candidates(self._problem, self._members)
                if chosen and (self.latest is None or self.latest.members != tuple(m.id for m in chosen)):
                    self._update(chosen)
            except Exception as error:  # shown at the end; the search must go on
                self.error = error
            self._stop.wait(4 * self._seconds)

    def _update(self, chosen: Sequence[Member]) -> None:
        began = time.perf_counter()
        blended = blend_members(self._problem, self._members, chosen)
        nested = blended.result.nested.value
        if self._best is None or self._problem.metric.better(nested, self._best):
            write_current(self._problem, blended.test, blended.result.decision)
            self._best = nested
        self.latest = blended
        self._seconds = time.perf_counter() - began
