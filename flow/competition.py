"""A competition as one object: what the command line does, for notebooks and scripts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldsmith.flow.notebook import observer
from foldsmith.flow.setup import SetupRequest, check_same_words
from foldsmith.flow.setup import init as set_up
from foldsmith.problem.config import Executor
from foldsmith.problem.decoration import Decorations
from foldsmith.problem.folder import Folder
from foldsmith.problem.plain import as_names, takes_plain
from foldsmith.problem.standard_streams import fill_standard_streams

if TYPE_CHECKING:
    import pandas as pd

    from foldsmith.ensembling.comparison import Comparison
    from foldsmith.ensembling.diagnosis import Explanation
    from foldsmith.flow.confirm import Confirmation
    from foldsmith.flow.ensemble import Blended
    from foldsmith.flow.finals import Finals
    from foldsmith.flow.holdout import HoldoutLook
    from foldsmith.flow.launch import SearchRequest
    from foldsmith.flow.leaderboard import Standing
    from foldsmith.flow.posthoc import Posthoc
    from foldsmith.flow.pseudo import PseudoLabels
    from foldsmith.flow.refresh import Refreshed
    from foldsmith.flow.search import Observer, SearchReport
    from foldsmith.flow.shake import Shake
    from foldsmith.flow.spaces import Shrunk, SpaceView
    from foldsmith.problem.audit.audit import Audit
    from foldsmith.problem.contract import Problem
    from foldsmith.results.ledger import Entry
    from foldsmith.results.members import Member, MemberStore
    from foldsmith.results.obtained import Obtained


@dataclass(frozen=True)
class Blend:
    """A stored blend.

    Args:
        id: of the member that it became.
        nested_score: each fold predicted with weights fitted on the other folds; ``in_sample_score`` flatters.
        weights: by member, sum 1; of a meta-model the shares of its coefficients.
        method: that made it; ``by_method`` holds the nested scores of those that ``auto`` compared.
        against_best: the comparison with the best single member: gain, its standard error, probability, folds.
        foreign: members that were made under other or unknown folds.
        bag_gain: what the mean of the folds' models is expected to gain on test over one of them, which the nested
            score is of; None where no member's folds are known.
    """

    id: str
    method: str
    metric: str
    nested_score: float
    nested_sem: float
    in_sample_score: float
    weights: dict[str, float]
    reason: str
    by_method: dict[str, float]
    against_best: dict[str, Any]
    foreign: tuple[str, ...] = ()
    bag_gain: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return (
            f"Blend({self.id!r}, {self.method}, {len(self.weights)} members, nested {self.metric} "
            f"{self.nested_score:.6g} ±{self.nested_sem:.2g}, in-sample {self.in_sample_score:.6g})"
        )

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return vars(self).copy()


@dataclass(frozen=True)
class RunResult:
    """What ``run`` leaves behind; ``blend`` and ``submission`` are the baseline's when no member was finished."""

    submission: Path
    n_members: int
    blend: Blend | None
    best: "Member | None"
    metric: str
    seconds: float
    report: "SearchReport"

    def __repr__(self) -> str:
        return (
            f"RunResult({str(self.submission)!r}, {self.n_members} members, {self.blend!r}, best {self.best!r}, "
            f"{self.seconds:.1f} s)"
        )

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        from foldsmith import __version__

        return {
            "submission": str(self.submission),
            "n_members": self.n_members,
            "blend": None if self.blend is None else self.blend.id,
            "blend_size": 0 if self.blend is None else len(self.blend.weights),
            "cv_score": None if self.best is None or self.best.scores is None else self.best.scores.value,
            "nested_score": None if self.blend is None else self.blend.nested_score,
            "metric": self.metric,
            "seconds": round(self.seconds, 2),
            "version": __version__,
        }


class Competition:
    """One competition folder.

    Args:
        root: holds ``foldsmith.toml``; see :func:`init` and :func:`open_competition`.
    """

    def __init__(self, root: Path) -> None:
        from foldsmith.problem.config import load_config

        fill_standard_streams()
        self.root = Path(root).absolute()  # a notebook may change its folder later
        load_config(Folder(self.root).config)

    def __repr__(self) -> str:
        return f"Competition({str(self.root)!r})"

    @cached_property
    def problem(self) -> "Problem":
        """Tables, metric and frozen folds; the proposed fold plan is frozen when there is none yet."""
        from foldsmith.problem.contract import open_problem

        return open_problem(self.root, freeze=True)

    @cached_property
    def members(self) -> "MemberStore":
        """All that was found so far."""
        from foldsmith.results.members import MemberStore

        return MemberStore(self.problem.folder)

    @takes_plain
    def check(self, *, deep: bool = False, adversarial: bool = False) -> "Audit":
        """Look for leaks, duplicates, ignored groups, drift and other traps in the data.

        Args:
            deep: also what takes longer: near duplicates, and whether stored members are what their records say.
            adversarial: also fit a model that tells test rows from train rows.
        """
        from foldsmith.flow.check import check

        return check(self.problem, self.members, deep=deep, adversarial=adversarial)

    @takes_plain
    def search(
        self,
        families: Sequence[str] = (),
        *,
        trials: int | None = None,
        time_budget: str | float | None = None,
        until: str | None = None,
        workers: int = 0,
        executor: Executor | None = None,
        model_seed: int | None = None,
        sampler_seed: int | None = None,
        observe: "Observer | None" = None,
        **options: Any,
    ) -> "SearchReport":
        """Search until ``trials`` (the total over all calls) are done or the time is over.

        Args:
            families: names; all that fit the problem by default.
            time_budget: of this call, as ``"10m"`` or seconds.
            until: when to end, as ``"07:30"`` (the next such local time) or ``"2026-11-23T07:30"``.
            workers: folds that run side by side; all cores by default.
            executor: ``"auto"``, ``"ray"``, ``"local"``, ``"inline"`` or ``"tune"``.
            observe: gets a snapshot several times a second; in a notebook a line of progress is shown without it.
            options: the other fields of :class:`foldsmith.flow.launch.SearchRequest`, such as ``pruner`` and ``gpus``.
        """
        from foldsmith.flow.durations import parse_duration, parse_until
        from foldsmith.flow.launch import SearchRequest

        seconds = None if time_budget is None else parse_duration(str(time_budget))
        request = SearchRequest(
            as_names(families),
            trials,
            seconds,
            workers,
            executor,
            model_seed,
            sampler_seed,
            time.time(),
            until=None if until is None else parse_until(until),
            **options,
        )
        return self._search(request, observe)

    def resume(self, observe: "Observer | None" = None) -> "SearchReport":
        """Go on with the last search, with the time that it had left."""
        from foldsmith.flow.launch import last_request

        return self._search(last_request(self.problem), observe)

    def run(self, request: "SearchRequest", observe: "Observer | None" = None) -> RunResult:
        """Search, blend, and write a numbered submission."""
        report = self._search(request, observe)
        return self.conclude(request, report)

    def conclude(self, request: "SearchRequest", report: "SearchReport") -> RunResult:
        """Keep the search's best ensemble and write its submission; if it found none better, name the stored one's."""
        from foldsmith.flow.ensemble import best_blend, candidates
        from foldsmith.flow.submission import current_path, make_submission
        from foldsmith.results.submissions import numbered_path

        members = candidates(self.problem, self.members)
        submission = current_path(self.problem)
        if report.blended is not None:
            blend: Blend | None = self.keep(report.blended, None)
        else:
            stored = best_blend(self.problem, self.members)
            blend = None if stored is None else _as_blend(stored)
        if blend is not None:
            written = numbered_path(self.problem.folder.submissions, blend.id)
            submission = written or make_submission(self.problem, blend.id)
            self._mirror(blend.id)
        seconds = time.time() - request.started
        best = members[0] if members else None
        return RunResult(submission, len(members), blend, best, self.problem.metric.name, seconds, report)

    def _mirror(self, member: str) -> None:
        """Send a member that was made after the search where the others went."""
        from foldsmith.flow.mirror import SearchMirror
        from foldsmith.flow.search import MIRROR_SECONDS

        with Decorations()("the mirror"):
            mirror = SearchMirror(self.problem.folder, self.problem.config.store.mirror)
            mirror.start()
            mirror.notice(member)
            mirror.finish(MIRROR_SECONDS)

    def _search(self, request: "SearchRequest", observe: "Observer | None") -> "SearchReport":
        from foldsmith.flow.search import search

        with observer(self.problem.metric, observe) as told:
            return search(self.problem, request, told)

    @takes_plain
    def blend(
        self, method: str = "auto", *, members: Sequence[str] | None = None, name: str | None = None, **options: Any
    ) -> Blend:
        """Blend stored members and keep the result as a member.

        Args:
            method: ``"auto"``, ``"greedy"``, ``"convex"``, …: see :func:`foldsmith.ensembling.methods.known_methods`.
            members: ids; all complete ones by default. A blend may be among them: a further level.
            name: id of the blend, ``b01``, ``b02``, … by default.
            options: the other fields of :class:`foldsmith.flow.ensemble.BlendRequest`, such as ``space``.
        """
        return self.keep(self.try_blend(method, members=members, **options), name)

    @takes_plain
    def try_blend(self, method: str = "auto", *, members: Sequence[str] | None = None, **options: Any) -> "Blended":
        """What :meth:`blend` finds, not stored."""
        from foldsmith.flow.ensemble import BlendRequest, blend_members, candidates

        request = BlendRequest(method, **options)
        return blend_members(self.problem, self.members, candidates(self.problem, self.members, members), request)

    def explain(self, blended: "Blended") -> "Explanation":
        """What each member carries, what others would add, whose errors are alike."""
        from foldsmith.flow.ensemble import explain_blend

        return explain_blend(self.problem, self.members, blended)

    @takes_plain
    def compare(self, first: str, second: str) -> "Comparison":
        """Whether one member or blend is better than another beyond the luck of rows and folds."""
        from foldsmith.flow.ensemble import compare_members

        return compare_members(self.problem, self.members, first, second)

    def refresh(self, note: Callable[[str], None] = lambda line: None) -> "Refreshed":
        """Make test predictions of another test file again from the stored models; does nothing where none is stale.

        Args:
            note: gets a line for people about what was done.
        """
        from foldsmith.flow.refresh import refresh_tests
        from foldsmith.flow.versions import changed_test_remarks

        for remark in changed_test_remarks(self.root):
            note(f"note: {remark}")
        return refresh_tests(self.problem, self.members, note)

    @takes_plain
    def holdout(self, members: Sequence[str]) -> "HoldoutLook":
        """Score members on the rows that no search, blend or rule saw; every look is counted."""
        from foldsmith.flow.holdout import look_at_holdout

        return look_at_holdout(self.problem, self.members, members)

    @takes_plain
    def confirm(self, members: Sequence[str], repeats: int = 5, **options: Any) -> "Confirmation":
        """Score members once more on folds drawn anew; see :func:`foldsmith.flow.confirm.confirm`."""
        from foldsmith.flow.confirm import confirm

        return confirm(self.problem, self.members, members, repeats, **options)

    @takes_plain
    def obtained(self, member: str) -> "Obtained":
        """How a member's score came about: rows, folds, rounds, labels."""
        from foldsmith.results.obtained import obtained

        return obtained(self.problem, self.members.get(member))

    @takes_plain
    def pseudo(self, member: str, *, min_confidence: float = 0.9, use: bool = True) -> "PseudoLabels":
        """Label test rows per fold by a member's models; later searches learn them if ``use``."""
        from foldsmith.flow.pseudo import make_pseudo, use_pseudo

        made = make_pseudo(self.problem, self.members, member, min_confidence=min_confidence)
        if use:
            use_pseudo(self.problem, made.name)
            self.__dict__.pop("problem")  # the config has changed
        return made

    @takes_plain
    def posthoc(self, member: str) -> "Posthoc":
        """The rule that turns a member's predictions into labels, with its default, nested and in-sample score."""
        from foldsmith.flow.posthoc import posthoc

        return posthoc(self.problem, member)

    def keep(self, blended: "Blended", name: str | None = None) -> Blend:
        """Store what :meth:`try_blend` found, and make it the current submission if it is the best."""
        from foldsmith.flow.ensemble import best_blend, keep_blend
        from foldsmith.flow.submission import write_current

        member = keep_blend(self.problem, self.members, blended, name)
        best = best_blend(self.problem, self.members)
        if best is not None and best.id == member.id:
            write_current(self.problem, blended.test, blended.result.decision)
        return _as_blend(member)

    @takes_plain
    def submit(self, member: str) -> Path:
        """Write a numbered submission of a member or blend and return its path."""
        from foldsmith.flow.submission import make_submission

        return make_submission(self.problem, member)

    @takes_plain
    def log_score(self, which: str, **known: Any) -> "Entry":
        """Write a leaderboard score into the ledger; see :func:`foldsmith.flow.leaderboard.log_score`."""
        from foldsmith.flow.leaderboard import log_score

        return log_score(self.problem.folder, which, **known)

    @takes_plain
    def leaderboard(self, public_share: float | None = None) -> "Standing":
        """The ledger, its robust line, and every point against the luck of the public rows."""
        from foldsmith.flow.leaderboard import leaderboard

        return leaderboard(self.problem, self.members, public_share)

    @takes_plain
    def shake(self, members: Sequence[str] | None = None, public_share: float | None = None) -> "Shake":
        """What the luck of public and private rows may do to the order of candidates, by default the best ones."""
        from foldsmith.flow.shake import best_candidates, shake

        names = best_candidates(self.problem, self.members) if members is None else members
        share = self.problem.config.leaderboard.public_share if public_share is None else public_share
        return shake(self.problem, self.members, names, share)

    @takes_plain
    def finals(self, public_share: float | None = None) -> "Finals":
        """The two submissions of the ledger to select."""
        from foldsmith.flow.finals import finals

        return finals(self.problem, self.members, public_share)

    @takes_plain
    def import_oof(
        self,
        name: str,
        oof: str | Path,
        *,
        test: str | Path | None = None,
        folds: str | Path | None = None,
        claimed: float | None = None,
        columns: Sequence[str] = (),
    ) -> "list[Member]":
        """Check predictions that were made elsewhere and keep them as ``ext-NAME``.

        Args:
            oof, test: csv, parquet or npy, or patterns for several; without ``test`` a member is for analysis only.
            folds: a fold per row of train, of the plan they were made under.
            claimed: the score they are said to have.
            columns: to read, in the order of the classes.
        """
        from foldsmith.flow.oof import OofSource, import_oof

        test_path, folds_path = (None if path is None else Path(path) for path in (test, folds))
        source = OofSource(name, Path(oof), test_path, folds_path, claimed, tuple(columns))
        return import_oof(self.problem, [source])

    @takes_plain
    def import_bank(self, folder: str | Path, prefix: str = "") -> "list[Member]":
        """Import all members of a bank that :meth:`export_oof` wrote, here or elsewhere, as ``ext-PREFIX-ID``."""
        from foldsmith.flow.oof_bank import import_bank

        return import_bank(self.problem, Path(folder), prefix)

    @takes_plain
    def export_oof(
        self, folder: str | Path, members: Sequence[str] = (), *, with_target: bool = False
    ) -> "list[Member]":
        """Write predictions of members (all complete ones by default) with ids and folds into a new folder."""
        from foldsmith.flow.oof_bank import export_bank

        return export_bank(self.problem, self.members, Path(folder), members, with_target=with_target)

    @takes_plain
    def top(self, n: int = 30) -> "pd.DataFrame":
        """The best members, one row each."""
        import pandas as pd

        from foldsmith.results.top import top_rows

        rows = top_rows(self.members, self.problem.contract, greater_is_better=self.problem.metric.greater_is_better)
        return pd.DataFrame([row.to_json() for row in rows[:n]])

    @takes_plain
    def spaces(self, families: Sequence[str] = ()) -> "list[SpaceView]":
        """What is searched here, and the points that a search starts from; of all families by default."""
        from foldsmith.flow.spaces import view_spaces

        return view_spaces(self.root, families)

    @takes_plain
    def shrink_space(self, family: str, *, top: float = 0.2, write: bool = False) -> "Shrunk":
        """Shrink a family's ranges around its best trials; see :func:`foldsmith.flow.spaces.shrink`."""
        from foldsmith.flow.spaces import shrink

        return shrink(self.root, family, top, write=write)


def _as_blend(member: "Member") -> Blend:
    assert member.scores is not None
    details = member.details
    return Blend(
        member.id,
        member.family,
        member.metric,
        member.scores.value,
        member.scores.sem,
        details["in_sample"],
        dict(member.params),
        details["reason"],
        details.get("by_method", {}),
        details.get("against_best", {}),
        tuple(details.get("foreign", ())),
        details.get("bag_gain"),
    )


@takes_plain
def init(root: str | Path, *, train: str | Path, test: str | Path, target: str, **options: Any) -> Competition:
    """Set up a competition folder; called again with the same words, open it.

    Args:
        root: the folder to make.
        train, test, target: files and the column to predict.
        options: the other fields of :class:`foldsmith.flow.setup.SetupRequest`.

    Raises:
        InputError: whatever is wrong with the files or the words; then nothing was written.
        ContractError: ``root`` was set up with other words.
    """
    request = SetupRequest(Path(train), Path(test), target, **options)
    if Folder(Path(root)).config.exists():
        check_same_words(Path(root), request)
    else:
        set_up(Path(root), request)
    return Competition(Path(root))


@takes_plain
def open_competition(root: str | Path = ".") -> Competition:
    """Open a competition folder that was set up before."""
    return Competition(Path(root))
