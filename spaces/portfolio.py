"""The points that a search starts from, and the order in which its families take their turns.

Source: the idea of a portfolio instead of a cold start is Salinas & Erickson (2024), TabRepo, arXiv:2311.02971; ours
is short, its points are moved into the space of the problem at hand, and a sampler goes on from them.
"""

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

from foldsmith.spaces.costs import fold_seconds
from foldsmith.spaces.family import Facts, Family
from foldsmith.spaces.points import fit_point
from foldsmith.spaces.portfolio_file import Portfolio, own_path, read_portfolio, shipped_portfolio
from foldsmith.spaces.space import Params, Space

MAX_POINTS = 30  # of one family: the sampler should get its turn
N_FOLDS = 5  # a trial's folds, for costs
EARLY_SHARE = 1 / 3  # of the budget: what one trial of a family may cost to keep its place in the first round
OPENING_SHARE = 1 / 2  # of the budget
MAX_TURNS = 200


def portfolio_points(
    family: Family, facts: Facts, *, space: Space | None = None, portfolios: Sequence[Portfolio] | None = None
) -> list[Params]:
    """The family's points to try first: its defaults, then those of the portfolios, none of them twice.

    Entries that were measured to be the better start on such tables, marked as early, go before the defaults.

    Args:
        space: what is searched, when people changed the family's own; every point is moved into it.
        portfolios: in order; the user's own and the shipped one by default, see :func:`chosen_portfolios`.

    Raises:
        UnknownNameError: a default of the family is not a point of its space.
        InputError: the same.
    """
    own = family.space(facts)
    defaults = family.defaults(facts)
    for point in defaults:
        own.check(point)
    space = own if space is None else space
    base = defaults[0] if defaults else {}
    portfolios = chosen_portfolios(None, Path()) if portfolios is None else portfolios
    suiting = [entry for portfolio in portfolios for entry in portfolio.suiting(family.name, facts)]
    known = [entry for entry in suiting if entry.space in ("", own.version)]
    early, later = ([entry.params for entry in known if entry.early == wanted] for wanted in (True, False))
    points = _distinct(fit_point(point, space, base) for point in [*early, *defaults, *later])[:MAX_POINTS]
    for point in points:
        space.check(point)
    return points


def _distinct(points: Iterable[Params]) -> list[Params]:
    found: list[Params] = []
    for point in points:
        if point not in found:
            found.append(point)
    return found


def chosen_portfolios(setting: str | None, root: Path) -> list[Portfolio]:
    """The portfolios of a search, the user's own before the shipped one.

    Args:
        setting: ``[search] portfolio``: ``"none"`` for defaults alone, or the path of a file to use as the user's own.
        root: the competition folder, where relative paths start.
    """
    if setting == "none":
        return []
    own = own_path() if setting is None else root / Path(setting).expanduser()
    is_there = setting is not None or own.is_file()
    return [*([read_portfolio(own)] if is_there else []), shipped_portfolio()]


def opening(
    facts: Facts, names: Sequence[str], *, n_slots: int = 1, portfolio: Portfolio | None = None
) -> tuple[str, ...]:
    """Whose turn it is at the start of a search: families in order, with repetition.

    The k-th turn of a family is for its k-th point of :func:`portfolio_points`. Every family has one turn before any
    has its second; families whose trial would eat a good part of the budget come last there, the cheapest first. Then
    a family with twice the weight of another one has twice the turns.

    Args:
        names: the families that take part; only these appear.
        n_slots: folds that run side by side; it and the budget bound the length: half of the time is for what is
            learnt on the way.
        portfolio: knows the order and the weights; the shipped one by default.
    """
    portfolio = portfolio or shipped_portfolio()
    turns = list(_first_round(facts, list(dict.fromkeys(names)), portfolio, n_slots))
    left = None if facts.budget_seconds is None else OPENING_SHARE * facts.budget_seconds * n_slots
    if left is not None:
        left -= sum(_trial_seconds(name, facts) for name in turns)
    for name in _later_rounds(facts, list(turns), portfolio):
        if left is not None:
            left -= _trial_seconds(name, facts)
            if left < 0:
                break
        turns.append(name)
    return tuple(turns[: max(MAX_TURNS, len(names))])


def _trial_seconds(name: str, facts: Facts) -> float:
    return N_FOLDS * fold_seconds(name, facts)


def _first_round(facts: Facts, names: list[str], portfolio: Portfolio, n_slots: int) -> list[str]:
    """Each family once: affordable ones in the portfolio's order, unknown ones after them, dear ones last."""
    rank = {name: number for number, name in enumerate(portfolio.first)}
    usual = sorted(names, key=lambda name: rank.get(name, len(rank)))
    if facts.budget_seconds is None:
        return usual
    limit = EARLY_SHARE * facts.budget_seconds * n_slots
    dear = [name for name in usual if _trial_seconds(name, facts) > limit]
    return [name for name in usual if name not in dear] + sorted(dear, key=lambda name: _trial_seconds(name, facts))


def _later_rounds(facts: Facts, names: list[str], portfolio: Portfolio) -> Iterable[str]:
    """Second and later turns, until a family has had one for each of its points.

    The turn number k of a family is due at time k / weight; of two due at once the one that stands first takes it.
    """
    due = [(1 / portfolio.weights.get(name, 1.0), number, 1) for number, name in enumerate(names)]
    heapq.heapify(due)
    while due:
        _, number, turn = heapq.heappop(due)
        name = names[number]
        if turn > len(portfolio.suiting(name, facts)):
            continue
        yield name
        heapq.heappush(due, ((turn + 1) / portfolio.weights.get(name, 1.0), number, turn + 1))
