"""Blends of stored members: the running one during a search, and those that are kept as members."""

import datetime
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from foldsmith.ensembling.comparison import Comparison, compare
from foldsmith.ensembling.diagnosis import Explanation, explain
from foldsmith.ensembling.greedy import max_members
from foldsmith.ensembling.kernels import warm_up
from foldsmith.ensembling.methods import check_method, ensemble
from foldsmith.ensembling.task import BlendTask, EnsembleResult
from foldsmith.flow.bagging import blend_bag_gain
from foldsmith.flow.models import ModelKeeper
from foldsmith.flow.submission import why_not_current, why_not_judged, write_current
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Outputs
from foldsmith.results.external import foreign_folds
from foldsmith.results.intake import check_plain_word
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import sound, why_damaged
from foldsmith.results.top import ranked

FEW_CANDIDATES = 10
AUTO_SHARE = 0.04  # of a search's time that the automatic choice may take at its end
AUTO_COST = 20  # what it is taken to cost in greedy selections before it was tried


def candidates(problem: Problem, members: MemberStore, names: Sequence[str] | None = None) -> list[Member]:
    """Complete members with a current test prediction, best first; only ``names`` if given.

    A member whose stored predictions are damaged is left out, with a warning.

    Blends take part only if they are named: as a further level, by their nested predictions.

    Raises:
        UnknownNameError: a name that is no member.
        InputError: a named member cannot be blended.
    """
    if names is None:
        current = [
            member for member in members.all() if member.kind != "blend" and why_not_current(problem, member) is None
        ]
        chosen = sound(problem, members, current)
    else:
        chosen = [members.get(name) for name in dict.fromkeys(names)]
        for member in chosen:
            if reason := why_not_current(problem, member) or why_damaged(problem, members, member):
                raise InputError(f"{member.id} cannot be blended: {reason}; leave it out")
    return ranked(chosen, greater_is_better=problem.metric.greater_is_better)


def spread(members: Sequence[Member]) -> list[Member]:
    """The best of every family first, then the second best of every family, and so on.

    A family that fits in no time has hundreds of members, all alike; ranked by score alone they would crowd out what
    an ensemble gains most from, the other families.

    Args:
        members: best first.
    """
    place: Counter[str] = Counter()
    keyed = []
    for overall, member in enumerate(members):
        family = member.details.get("origin", {}).get("family", member.family)
        keyed.append((place[family], overall, member))
        place[family] += 1
    return [member for *_, member in sorted(keyed, key=lambda entry: entry[:2])]


@dataclass(frozen=True)
class Blended:
    """An ensemble of stored members with its test prediction ``(n_test, n_outputs)``."""

    result: EnsembleResult
    test: Outputs
    members: tuple[str, ...]

    def __repr__(self) -> str:
        result = self.result
        return (
            f"Blended({result.method}, {len(result.weights)} of {len(self.members)} members, "
            f"nested {result.nested.value:.6g})"
        )


@dataclass(frozen=True)
class BlendRequest:
    """How members are to be combined.

    Args:
        method: a name of :func:`foldsmith.ensembling.methods.known_methods`.
        space: where predictions are averaged; the metric's own by default.
        insist: use the method also where it advises against itself.
        bags: for greedy: the mean of so many selections, each on a random part.
    """

    method: str = "greedy"
    space: str = ""
    insist: bool = False
    bags: int = 0

    def __post_init__(self) -> None:
        check_method(self.method)


def blend_members(
    problem: Problem, members: MemberStore, chosen: Sequence[Member], request: BlendRequest = BlendRequest()
) -> Blended:
    """Combine the chosen members, best first."""
    if not chosen:
        raise InputError("there is no complete member to blend yet; run 'foldsmith search' first")
    few = spread(chosen)[: max_members(len(problem.judge.y))]
    oofs = {member.id: members.oof(member.id) for member in few}
    foreign = frozenset(member.id for member in few if foreign_folds(member))
    task = BlendTask(problem.judge, space=request.space, foreign=foreign)
    result = ensemble(request.method, oofs, task, insist=request.insist, bags=request.bags)
    tests = {name: members.test(name) for name in result.weights}
    return Blended(result, result.predict(tests), tuple(member.id for member in chosen))


def explain_blend(problem: Problem, members: MemberStore, blended: Blended) -> Explanation:
    """Diagnose a blend against all members that it was chosen from."""
    names = dict.fromkeys([*blended.result.weights, *blended.members[: max_members(len(problem.judge.y))]])
    return explain(blended.result, {name: members.oof(name) for name in names}, BlendTask(problem.judge))


def compare_members(problem: Problem, members: MemberStore, first: str, second: str) -> Comparison:
    """Whether one member or blend is better than another beyond luck; blends by their nested predictions.

    Raises:
        UnknownNameError: no such member.
        InputError: one is not complete, or belongs to other folds.
    """
    for name in (first, second):
        if reason := why_not_judged(problem, members, members.get(name)):
            raise InputError(f"{name} cannot be compared: {reason}")
    return compare(problem.judge, members.oof(first), members.oof(second))


def family_shares(result: EnsembleResult, members: Sequence[Member]) -> dict[str, float]:
    """Shares of the cross-fitted ensemble's weights by family, 0 for one that has members and no weight."""
    shares = {member.family: 0.0 for member in members}
    for member in members:
        shares[member.family] += result.shares.get(member.id, 0.0)
    return shares


def keep_blend(problem: Problem, members: MemberStore, blended: Blended, name: str | None = None) -> Member:
    """Store a blend as a member: its arrays are the nested OOF and the test prediction.

    Raises:
        InputError: the name is taken or not a plain word.
    """
    if name is None:
        name = members.reserve("b")
    else:
        check_plain_word("blend name", name)
        try:
            members.path(name).mkdir(parents=True)
        except FileExistsError:
            raise InputError(f"there is a member {name!r} already; choose another name") from None
    result = blended.result
    best = members.oof(blended.members[0])
    bag_gain = blend_bag_gain(problem, members, result)
    against = {"member": blended.members[0], **compare(problem.judge, result.nested_oof, best).to_json()}
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
        details={
            **result.details(),
            "fold_hash": problem.plan.hash,
            "candidates": list(blended.members),
            "against_best": against,
            "bag_gain": None if bag_gain is None else bag_gain.to_json(),
            "foreign": [member_id for member_id in result.weights if foreign_folds(members.get(member_id))],
        },
    )
    try:
        members.finish(member, result.nested_oof, blended.test)
    except BaseException:  # a full disk: no half of a blend is left
        members.discard(name)
        raise
    return member


def best_blend(problem: Problem, members: MemberStore) -> Member | None:
    """The stored blend with the best nested score for the test file as it is now."""
    blends = [m for m in members.all() if m.kind == "blend" and why_not_current(problem, m) is None]
    blends = sound(problem, members, blends)
    return next(iter(ranked(blends, greater_is_better=problem.metric.greater_is_better)), None)


class RunningEnsemble:
    """Blends anew, beside the search, whenever members have come, and keeps ``current.csv`` the best so far.

    It works at most a fifth of the time, so that the workers keep their cores. The best is told by the nested score,
    stored blends of earlier calls included; but one chosen from few candidates gives way to any later one: where
    there is nothing to choose, nothing is lost to the choice, and its nested score looks too good beside the others.

    Beside the search members are selected greedily, the quick way. Where there is time, the automatic choice among all
    methods is tried, too, and it has the last word: see :mod:`foldsmith.ensembling.auto`.

    Args:
        budget_seconds: of the search; None without a deadline.

    Attributes:
        standing: nested score, standard error and size of the best ensemble; None before the first.
        best: the best ensemble if it was found in this call, else None.
        shares: of the latest cross-fitted ensemble's weights, by family; empty before the first.
    """

    def __init__(self, problem: Problem, budget_seconds: float | None = None) -> None:
        self._problem = problem
        self._auto_limit = math.inf if budget_seconds is None else AUTO_SHARE * budget_seconds
        self._auto_seconds: float | None = None
        self._auto_candidates = 0  # of the last try of the automatic choice
        self._members = MemberStore(problem.folder)
        self._keeper = ModelKeeper(problem, self._members)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ensemble", daemon=True)
        self._seconds = 0.5
        self._latest: Blended | None = None
        self.best: Blended | None = None
        self.shares: dict[str, float] = {}
        self.standing: tuple[float, float, int] | None = None
        self._n_candidates = 0  # that the standing ensemble was chosen from
        self.error: BaseException | None = None
        with self._recording():
            self._take_stored()

    def _take_stored(self) -> None:
        """Stand where the best blend of an earlier call stands."""
        if (stored := best_blend(self._problem, self._members)) is not None and stored.scores is not None:
            self.standing = (stored.scores.value, stored.scores.sem, len(stored.params))
            self._n_candidates = len(stored.details.get("candidates", ()))

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Keep an error to show it at the end: neither the search nor its last submission may be lost for it."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a person's own metric may raise anything
            self.error = error

    def start(self) -> None:
        """Begin to wait for members; those of earlier searches count as news."""
        self._thread.start()
        self._wake.set()

    def notice(self, member: str) -> None:
        """A member was completed."""
        self._wake.set()

    @property
    def favourites(self) -> tuple[str, ...]:
        """Members of the latest ensemble, the one with the greatest weight first."""
        latest = self._latest
        return () if latest is None else tuple(latest.result.weights)

    @property
    def reserve_seconds(self) -> float:
        """What the last blends, their submission and the end of the process are expected to need."""
        return 1.5 + 2.0 * self._seconds + (1.5 * (self._auto_seconds or 0.0) if self._affords_auto else 0.0)

    @property
    def _affords_auto(self) -> bool:
        seconds = AUTO_COST * self._seconds if self._auto_seconds is None else self._auto_seconds
        return seconds <= self._auto_limit

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._stop.set()
        self._wake.set()

    def finish(self) -> Blended | None:
        """Stop the thread, blend all members there are, and return the best ensemble of this call; None without one."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._refresh()
        if self._auto_seconds is not None and self._affords_auto:
            self._try_auto()
        return self.best

    def _work(self) -> None:
        with self._recording():
            task = BlendTask(self._problem.judge)
            warm_up(task, max_members(len(task.rows)))  # now, while the first members are fitted, and off the clock
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._stop.is_set():
                return
            self._refresh()
            latest = self._latest
            if (
                latest is not None
                and len(latest.members) >= max(FEW_CANDIDATES, 1.5 * self._auto_candidates)
                and self._affords_auto
            ):
                self._try_auto()
                self._stop.wait(4 * (self._auto_seconds or 0.0))
            self._stop.wait(4 * self._seconds)

    def _refresh(self) -> None:
        """Blend anew if there are members that the latest ensemble does not know."""
        with self._recording():
            chosen = candidates(self._problem, self._members)
            if chosen and (self._latest is None or self._latest.members != tuple(member.id for member in chosen)):
                self._update(chosen)

    def _try_auto(self) -> None:
        """Let the automatic choice combine the members that the latest ensemble was selected from."""
        assert self._latest is not None
        began = time.perf_counter()
        with self._recording():
            chosen = [self._members.get(member) for member in self._latest.members]
            blended = blend_members(self._problem, self._members, chosen, BlendRequest("auto"))
            self._consider(blended, chosen)
        self._auto_candidates = len(self._latest.members)
        self._auto_seconds = time.perf_counter() - began

    def _update(self, chosen: Sequence[Member]) -> None:
        began = time.perf_counter()
        blended = blend_members(self._problem, self._members, chosen, BlendRequest("quick_greedy"))
        self._latest = blended
        self.shares = family_shares(blended.result, chosen)
        self._consider(blended, chosen)
        self._seconds = time.perf_counter() - began

    def _consider(self, blended: Blended, chosen: Sequence[Member]) -> None:
        """Make an ensemble the current one if it is the best so far."""
        nested = blended.result.nested
        if (
            self.standing is None
            or self._n_candidates < FEW_CANDIDATES
            or self._problem.metric.better(nested.value, self.standing[0])
        ):
            self._n_candidates = len(chosen)
            write_current(self._problem, blended.test, blended.result.decision)
            self.standing = (nested.value, nested.sem, len(blended.result.weights))
            self.best = blended
        in_use = set(blended.result.weights) | set(self.best.result.weights if self.best else ())
        self._keeper.trim(chosen, in_use | set(self._latest.result.weights if self._latest else ()))
