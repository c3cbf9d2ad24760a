"""Opening the studies of a search: which families take part, and what each one's study is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.extra import extra_suffix
from foldsmith.results.members import MemberStore
from foldsmith.search.adoption import adopt_members
from foldsmith.search.journal import make_durable, repair_journal
from foldsmith.search.leases import Alone, Leases, leases_of
from foldsmith.search.racing import Racer, settle_reports
from foldsmith.search.rounds import stopping_of
from foldsmith.search.storage import open_storage
from foldsmith.search.studies import FamilyStudy, studied_families
from foldsmith.spaces.family import Facts, Family, Resources
from foldsmith.spaces.featured import Featured
from foldsmith.spaces.features import load_features, try_features
from foldsmith.spaces.overrides import check_tables, family_space
from foldsmith.spaces.portfolio import chosen_portfolios, opening, portfolio_points
from foldsmith.spaces.registry import get_family
from foldsmith.spaces.space import Params, Space


@dataclass(frozen=True)
class StudyBook:
    """The families of a search and their studies.

    Args:
        skipped: families that take no part, with the reason.
        leases: which trials this driver may touch.
        wishes: of each family's first default point.
        opening: the families' order of the first trials, names repeated.
    """

    studies: dict[str, FamilyStudy] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    leases: Leases = field(default_factory=Alone)
    facts: Facts | None = None
    wishes: dict[str, Resources] = field(default_factory=dict)
    opening: tuple[str, ...] = ()

    def resources(self, family: str, params: Params) -> Resources:
        """What one fold of a family wishes for at a point."""
        assert self.facts is not None
        return self.families[family].resources(self.facts, params)


def _space(problem: Problem, name: str, family: Family, facts: Facts) -> Space:
    """What is searched, with people's own ranges; members whose rounds were chosen otherwise are not this study's."""
    space = family_space(name, family, facts, problem.config.spaces)
    stopping = stopping_of(family, problem.config.search.stopping)
    return space if stopping == family.stopping else replace(space, version=f"{space.version}+{stopping}")


def open_studies(
    problem: Problem,
    names: tuple[str, ...],
    racer: Racer,
    *,
    storage_url: str | None,
    seed: int,
    model_seed: int,
    say: Callable[[str], None],
    budget_seconds: float | None = None,
    n_slots: int = 1,
    on_adopted: Callable[[Sequence[str]], object] = lambda names: None,
) -> StudyBook:
    """Open the study of each family that can take the problem, and of those that a dead driver left trials of.

    Args:
        storage_url: of a database that several drivers share; None for the folder's journal.
        say: for people.
        on_adopted: gets the members that had no trial, and have one now.
        budget_seconds: wall time of this call; it and ``n_slots``, folds side by side, shape the opening.

    Raises:
        InputError: none of the families can take this problem, the database cannot be used, ``[spaces]`` or the
            portfolio is wrong, or the user's features fail on a sample.
        ContractError: the racer judges by other values than a study holds.
    """
    if storage_url is None and (cut := repair_journal(problem.folder.journal)):
        say(f"cut {cut} bytes of a line that a crash left half-written in the journal")
    config = problem.config
    check_tables(config.spaces, names)
    portfolios = chosen_portfolios(config.search.portfolio, problem.folder.root)
    storage = open_storage(problem.folder.journal, storage_url)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows, budget_seconds)
    features = load_features(problem.config.features.use, problem.folder.code)
    made = None if features is None else try_features(features, problem.data.train, problem.fit_y)
    suffix = extra_suffix(problem)
    book = StudyBook(leases=leases_of(storage, problem.contract), facts=facts)
    members, adopted = MemberStore(problem.folder), list[str]()
    mine = members.all(contract=problem.contract)
    # A dead driver's trials are finished whichever families were asked for now.
    for name in dict.fromkeys([*names, *studied_families(storage, problem.contract)]):
        try:
            family = get_family(name, problem.folder.code)
        except FoldsmithError as error:
            if name in names:
                raise
            book.skipped[name] = str(error)  # a user's family that is gone must not stop the others
            continue
        if features is not None:
            family = Featured(family, features, made)
        if reason := family.accepts(facts):
            book.skipped[name] = reason
            continue
        space = _space(problem, name, family, facts)
        space = replace(space, version=space.version + suffix)
        points = portfolio_points(family, facts, space=space, portfolios=portfolios)
        book.families[name] = family
        book.wishes[name] = family.resources(facts, points[0] if points else {})
        book.studies[name] = FamilyStudy(
            storage,
            problem.contract,
            name,
            space,
            points,
            metric=problem.metric.name,
            greater_is_better=problem.metric.greater_is_better,
            seed=seed,
            model_seed=model_seed,
            leases=book.leases,
            store=members.identity,
        )
        settle_reports(book.studies[name], racer)
        if not book.leases.is_shared:
            adopted += adopt_members(book.studies[name], members, mine, problem.plan.n_folds)
    if adopted:
        make_durable(storage)
        on_adopted(adopted)
        count = "1 member lies" if len(adopted) == 1 else f"{len(adopted)} members lie"
        say(
            f"{count} here that the study's journal did not know (was it emptied, deleted or replaced?): trials were "
            "made again from the records, nothing is fitted again"
        )
    if not any(name in book.studies for name in names):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in book.skipped.items())
        raise InputError(f"none of the families can take this problem ({reasons}); name others")
    return replace(book, opening=opening(facts, [name for name in names if name in book.studies], n_slots=n_slots))
