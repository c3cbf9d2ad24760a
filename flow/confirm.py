"""The best members scored once more on folds drawn anew: how much of a lead was the luck of the frozen ones.

Every repeat is a small competition folder of its own under ``.foldsmith/confirm/``, named by its fold plan, with the
same tables: a fold that was fitted is never fitted again, and a killed call goes on where it was. Nothing in it mixes
with the members of the frozen folds.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from foldsmith.ensembling.method import fit_method
from foldsmith.ensembling.methods import METHODS, ensemble
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask
from foldsmith.flow.rig import RigPlan, RigRequest, plan_rig
from foldsmith.flow.submission import why_not_comparable
from foldsmith.problem.config import read_config_text
from foldsmith.problem.contract import Problem, freeze_as, open_problem, repeated_plan
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.files import write_bytes
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.top import ranked
from foldsmith.search.executors.base import Executor
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.locks import FolderLock

Note = Callable[[str], None]


@dataclass(frozen=True)
class Confirmed:
    """One member on folds drawn anew.

    Args:
        frozen: its score on the frozen folds, which it was chosen by.
        repeats: its score on each new plan; of a blend nested, the same method fitted anew on the same members.
        curse: how much better the frozen score looks than the mean of the new ones, in the metric's units.
        wins: share of the repeats in which it is the best of all that were confirmed.
    """

    member: str
    frozen: float
    repeats: tuple[float, ...]
    curse: float
    wins: float

    @property
    def mean(self) -> float:
        """Over the repeats."""
        return float(np.mean(self.repeats))

    @property
    def sem(self) -> float:
        """Standard error of the mean over repeats: of the luck of the folds alone, not of the rows."""
        return float(np.std(self.repeats, ddof=1) / len(self.repeats) ** 0.5) if len(self.repeats) > 1 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "repeats": list(self.repeats), "mean": self.mean, "sem": self.sem}


@dataclass(frozen=True)
class Confirmation:
    """Members that were confirmed, by their confirmed score, the best first.

    Args:
        lead: of the member that leads on the frozen folds over the second there: on the frozen folds, the mean of its
            paired differences on the new ones, and their standard error; None for one member.
        failed: why members could not be confirmed, by id.
    """

    metric: str
    members: tuple[Confirmed, ...]
    lead: tuple[str, str, float, float, float] | None
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {**vars(self), "members": [one.to_json() for one in self.members], "lead": self.lead}


def confirm(
    problem: Problem,
    members: MemberStore,
    names: Sequence[str],
    repeats: int = 5,
    *,
    workers: int = 0,
    inline: bool = False,
    note: Note = lambda line: None,
) -> Confirmation:
    """Fit members again on new fold plans of the same kind and compare.

    Args:
        names: trials, and blends of trials.
        repeats: new plans.
        workers: CPU folds side by side; all cores by default.
        inline: in this process, for debugging.
        note: gets a line for people after every repeat.

    Raises:
        InputError: an import, a member of other folds, or folds that have no chance in them.
    """
    if repeats < 1:
        raise InputError(f"--repeats {repeats} is not positive; ask for at least 1")
    chosen = [members.get(name) for name in dict.fromkeys(names)]
    if not chosen:
        raise InputError("no member to confirm; name some, or search first")
    for member in chosen:
        if reason := why_not_comparable(problem, member):
            raise InputError(f"{member.id} cannot be confirmed: {reason}")
    trials = _trials(members, chosen)
    scores: dict[str, list[float]] = {member.id: [] for member in chosen}
    failed: dict[str, str] = {}
    for repeat in range(1, repeats + 1):
        again = Repeat(problem, repeat, trials, workers, inline)
        failed |= again.fit()
        for member in chosen:
            broken = [name for name in _parts(member) if name in failed]
            if broken:
                failed.setdefault(member.id, f"its member {broken[0]} failed: {failed[broken[0]]}")
            else:
                scores[member.id].append(again.score(member))
        shown = " · ".join(f"{name} {values[-1]:.5g}" for name, values in scores.items() if values)
        note(f"repeat {repeat} of {repeats}: {shown}")
    whole = [member for member in chosen if member.id not in failed and len(scores[member.id]) == repeats]
    return _confirmation(problem, whole, scores, failed)


def _parts(member: Member) -> list[str]:
    return list(member.params) if member.kind == "blend" else [member.id]


def _trials(members: MemberStore, chosen: Sequence[Member]) -> list[Member]:
    """The trials behind the chosen members."""
    found: dict[str, Member] = {}
    for member in chosen:
        for name in _parts(member):
            part = members.get(name)
            if part.kind != "trial":
                raise InputError(
                    f"{member.id} cannot be confirmed: {name} is {part.kind}, there is no model to fit again"
                )
            found[name] = part
    return list(found.values())


@dataclass(frozen=True)
class Repeat:
    """Members fitted on one new fold plan, in a folder of its own.

    Args:
        number: which repeat, from 1.
        trials: the members to fit.
    """

    problem: Problem
    number: int
    trials: Sequence[Member]
    workers: int
    inline: bool

    @cached_property
    def again(self) -> Problem:
        """The same problem under the new plan."""
        plan = repeated_plan(self.problem, self.number)
        root = self.problem.folder.state / "confirm" / plan.hash
        _lay_out(self.problem, root)
        freeze_as(Folder(root), self.problem, plan)
        return open_problem(root)

    @cached_property
    def members(self) -> MemberStore:
        """What was fitted here."""
        return MemberStore(self.again.folder)

    def fit(self) -> dict[str, str]:
        """Fit what is missing; returns why members failed."""
        todo = [member for member in self.trials if not self._is_done(member)]
        if not todo:
            return {}
        with FolderLock(self.again.folder.driver_lock):
            for member in todo:
                started = replace(member, state="running", scores=None, contract=self.again.contract, details={})
                self.members.path(member.id).mkdir(parents=True, exist_ok=True)
                self.members.write(started)
            rig = plan_rig(self.again, tuple({member.family for member in todo}), RigRequest(self.workers))
            with self._executor(rig) as executor:
                return _run(executor, self._jobs(todo, rig))

    def _is_done(self, member: Member) -> bool:
        return self.members.has(member.id) and self.members.get(member.id).state == "complete"

    def _executor(self, rig: RigPlan) -> Executor:
        if self.inline:
            from foldsmith.search.executors.inline import InlineExecutor

            return InlineExecutor(self.again.folder.root)
        from foldsmith.search.executors.local import LocalExecutor

        return LocalExecutor(self.again.folder.root, rig.layout)

    def _jobs(self, todo: Sequence[Member], rig: RigPlan) -> Iterator[list[Job]]:
        """A member's folds, then its finish."""
        for member in todo:
            device = "cuda" if rig.gpu_shares.get(member.family, 0) > 0 else "cpu"
            job = Job(member.id, member.family, member.params, None, member.seeds.get("model", 0), device=device)
            yield [*(replace(job, fold=fold) for fold in range(self.again.plan.n_folds)), job]

    def score(self, member: Member) -> float:
        """A trial's score; a blend's nested score by the same method on the same members."""
        if member.kind != "blend":
            scores = self.members.get(member.id).scores
            assert scores is not None
            return scores.value
        judge = self.again.judge
        oofs = {name: self.members.oof(name) for name in member.params}
        best = sorted(oofs, key=lambda name: score_oof(judge, oofs[name]).value, reverse=judge.metric.greater_is_better)
        given = {name: oofs[name] for name in best}
        if member.family in METHODS:
            return fit_method(METHODS[member.family](), Pool(given, BlendTask(judge))).nested.value
        return ensemble(member.family, given, BlendTask(judge), insist=True).nested.value


def _lay_out(problem: Problem, root: Path) -> None:
    """A folder with the same problem: the config with whole paths, and links to code and parsed tables."""
    folder = Folder(root)
    folder.state.mkdir(parents=True, exist_ok=True)
    config = tomlkit.parse(read_config_text(problem.folder.config))
    data: Any = config["data"]
    for key in ("train", "test", "sample"):
        if data.get(key) is not None:
            data[key] = str(problem.folder.resolve(data[key]).resolve())
    store: Any = config.setdefault("store", tomlkit.table())
    store["keep_models"] = "all"
    write_bytes(folder.config, tomlkit.dumps(config).encode())
    for link, target in ((folder.tables, problem.folder.tables), (folder.code, problem.folder.code)):
        if target.exists() and not link.exists():
            os.symlink(target.resolve(), link)


def _run(executor: Executor, members: Iterator[list[Job]]) -> dict[str, str]:
    """Run members' jobs in free slots, a finish when the member's folds are through; returns faults by member."""
    failed: dict[str, str] = {}
    waiting: list[Job] = []
    left: dict[str, int] = {}
    finishes: dict[str, Job] = {}
    for *folds, finish in members:
        waiting += folds
        left[finish.member], finishes[finish.member] = len(folds), finish
    while waiting or executor.running():
        for slot in executor.slots:
            if slot.number in executor.running():
                continue
            wanted = next((job for job in waiting if (job.device == "cuda") == (slot.gpu is not None)), None)
            wanted = wanted or (waiting[0] if waiting and not any(one.gpu for one in executor.slots) else None)
            if wanted is not None:
                waiting.remove(wanted)
                executor.submit(replace(wanted, slot=slot.name), slot.number)
        for result in executor.wait(1.0):
            _settle(result, waiting, left, finishes, failed)
    return failed


def _settle(
    result: JobResult, waiting: list[Job], left: dict[str, int], finishes: dict[str, Job], failed: dict[str, str]
) -> None:
    """What a result means for the jobs that wait."""
    member = result.job.member
    if result.fault is not None:
        failed.setdefault(member, f"{result.fault.reason}: {result.fault.message}")
        waiting[:] = [job for job in waiting if job.member != member]
        return
    if result.job.fold is None or member in failed:
        return
    left[member] -= 1
    if left[member] == 0:
        waiting.insert(0, finishes[member])


def _confirmation(
    problem: Problem, whole: Sequence[Member], scores: dict[str, list[float]], failed: dict[str, str]
) -> Confirmation:
    if not whole:
        raise FoldsmithError(
            "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "nothing was confirmed"
        )
    greater = problem.metric.greater_is_better
    sign = 1.0 if greater else -1.0
    table = sign * np.array([scores[member.id] for member in whole])
    best = table == table.max(axis=0)
    wins = (best / best.sum(axis=0)).mean(axis=1)
    made = []
    for member, values, share in zip(whole, table, wins, strict=True):
        assert member.scores is not None
        curse = sign * member.scores.value - float(values.mean())
        made.append(Confirmed(member.id, member.scores.value, tuple(scores[member.id]), curse, float(share)))
    made.sort(key=lambda one: -sign * one.mean)
    return Confirmation(problem.metric.name, tuple(made), _lead(problem, whole, scores, sign), failed)


def _lead(
    problem: Problem, whole: Sequence[Member], scores: dict[str, list[float]], sign: float
) -> tuple[str, str, float, float, float] | None:
    if len(whole) < 2:
        return None
    first, second = ranked(whole, greater_is_better=problem.metric.greater_is_better)[:2]
    assert first.scores is not None and second.scores is not None
    gaps = sign * (np.array(scores[first.id]) - np.array(scores[second.id]))
    error = float(gaps.std(ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
    return first.id, second.id, sign * (first.scores.value - second.scores.value), float(gaps.mean()), error
