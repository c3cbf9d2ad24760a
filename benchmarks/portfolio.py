"""Derives the order and the points of a portfolio from measured folds, and checks it on data it has not seen.

    python benchmarks/portfolio.py --sets breast_cancer diabetes friedman1 ~/data/titanic --out portfolio.json

Every configuration of every family (its defaults, the shipped points, some random points of its space) is
cross-validated on every data set, in this process, on one thread. The greedy rule of foldsmith.spaces.greedy makes a
list of them. The check leaves one data set out: how near do the first k configurations come, there, to the best one (0)
from the median (1)? "greedy" is the rule's own list, made of the other sets. "learned" is the portfolio derived from
it; "points" is that with the hand-made order of families, and "late" is that without the points that go before a
family's defaults. "by_hand" and "random" are what they are compared with. Measured folds are kept in --results and used
again. A set is a name of scikit-learn's, or a folder with train.csv and meta.json.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _measured import SETS, Bench, Set, open_set
from numpy.typing import NDArray

from foldsmith.problem.files import digest
from foldsmith.spaces.family import Facts
from foldsmith.spaces.greedy import greedy_list, scaled_ranks
from foldsmith.spaces.points import fit_point
from foldsmith.spaces.portfolio import opening, portfolio_points
from foldsmith.spaces.portfolio_file import VERSION, Entry, Portfolio, row_class, shipped_portfolio, write_portfolio
from foldsmith.spaces.registry import get_family, known_families
from foldsmith.spaces.space import Params
from foldsmith.spaces.toy import make_problem, random_point

BEFORE = (1, 2, 4, 8, 16)
N_SHUFFLES = 500
N_PICKS = 24
SOURCE = "benchmarks/portfolio.py"  # of derived entries; those of an earlier call are replaced
QUICK = {"sets": ["diabetes", "breast_cancer", "iris"], "families": ["linear", "knn"], "random": 2}


@dataclass(frozen=True)
class Config:
    """One configuration; ``default`` counts the family's own first points, which depend on the problem."""

    family: str
    params: Params | None
    default: int = 0

    def point(self, facts: Facts) -> Params:
        """The point that it becomes on a problem."""
        family = get_family(self.family)
        defaults = family.defaults(facts)
        if self.params is None:
            return defaults[min(self.default, len(defaults) - 1)]
        return fit_point(self.params, family.space(facts), defaults[0])


@dataclass(frozen=True)
class Measured:
    """What was measured: ``(n_sets, n_configs)`` errors and seconds, and what the sets are."""

    configs: list[Config]
    facts: list[Facts]
    errors: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def without(self, left_out: int) -> "Measured":
        """All sets but one."""
        kept = [number for number in range(len(self.facts)) if number != left_out]
        return Measured(self.configs, [self.facts[k] for k in kept], self.errors[kept], self.seconds[kept])

    def error_of(self, which: int, family: str, point: Params) -> float:
        """The error of a point on a set; nan when it was not measured there."""
        for number, config in enumerate(self.configs):
            if config.family == family and config.point(self.facts[which]) == point:
                return float(self.errors[which, number])
        return float("nan")


def main() -> None:
    """Parse, measure, check, print; write the portfolio if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[name for name in SETS if name not in ("iris", "wine")])
    parser.add_argument("--families", nargs="+", default=list(known_families()))
    parser.add_argument("--random", type=int, default=4, help="random points per family")
    parser.add_argument("--rows", type=int, default=1500, help="rows of a set at most")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--fold-seconds", type=float, default=60.0)
    parser.add_argument("--results", type=Path, help="measured folds, read and extended")
    parser.add_argument("--out", type=Path, help="write the derived portfolio")
    parser.add_argument("--keep-order", action="store_true", help="derive points only, not the order of families")
    parser.add_argument("--quick", action="store_true", help="three tiny sets, two families, two random points")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    measured = measure(make_configs(options.families, options.random), options)
    records = check(measured, options.families)
    print(json.dumps(records)) if options.json else show(records)
    if options.out:
        write_portfolio(options.out, derive(measured, options.families, order=not options.keep_order))


def make_configs(families: Sequence[str], n_random: int) -> list[Config]:
    """Defaults, shipped points and random points of each family, none of them twice."""
    general = make_problem("binary", n_rows=3000).facts  # has every kind of column, so every parameter
    configs = []
    for name in families:
        family = get_family(name)
        space, rng = family.space(general), np.random.default_rng(1)
        points = [dict(entry.params) for entry in shipped_portfolio().points.get(name, ())]
        points += [_rounded(random_point(space, rng)) for _ in range(n_random)]
        configs += [Config(name, None, number) for number in range(len(family.defaults(general)))]
        configs += [Config(name, point) for number, point in enumerate(points) if point not in points[:number]]
    return configs


def _rounded(point: Params) -> Params:
    """Three digits are enough to be told; nobody should read more into a random number."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in point.items()}


def measure(configs: list[Config], options: argparse.Namespace) -> Measured:
    """Cross-validate every configuration on every set, or read it from ``--results``."""
    known: dict[str, list[float]] = {}
    if options.results and options.results.exists():
        known = json.loads(options.results.read_text())
    rows, facts = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(options.sets):
            which = open_set(name, Path(folder) / str(number), n_rows=options.rows, n_folds=options.folds)
            rows.append(_measure_set(which, configs, known, options))
            facts.append(which.facts)
            if options.results:
                options.results.write_text(json.dumps(known))
    table = np.array(rows, np.float64)
    return Measured(configs, facts, table[:, :, 0], table[:, :, 1])


def _measure_set(
    which: Set, configs: list[Config], known: dict[str, list[float]], options: argparse.Namespace
) -> list[list[float]]:
    bench = Bench(which, fold_seconds=options.fold_seconds)
    rows = []
    for config in configs:
        point = config.point(which.facts)
        key = f"{which.name} {digest(config.family, point, options.rows, options.folds)}"
        if key not in known:
            known[key] = list(bench.error(get_family(config.family), point))
        rows.append(known[key])
    return rows


def derive(measured: Measured, families: Sequence[str], *, order: bool = True, early: bool = True) -> Portfolio:
    """The hand-made portfolio with what was measured put before it; other sizes of tables keep theirs.

    Args:
        order: False keeps the hand-made order and weights of families and learns points only.
        early: a family's first point goes before its defaults when the rule takes it before them.
    """
    shipped = hand_made()
    taken = [measured.configs[number] for number in pick(measured)]
    sizes = {row_class(facts.n_rows) for facts in measured.facts}
    rows = sizes.pop() if len(sizes) == 1 else "any"
    source = f"{SOURCE} on {len(measured.facts)} data sets"
    points = dict(shipped.points)
    for name in families:
        own = [config.params for config in taken if config.family == name]
        learned = [
            Entry(params, rows=rows, source=source, early=early and number == 0)
            for number, params in enumerate(own)
            if params is not None
        ]
        known = [entry.params for entry in learned if rows == "any"]
        points[name] = (*learned, *(entry for entry in shipped.points.get(name, ()) if entry.params not in known))
    if not order:
        return Portfolio(VERSION, shipped.first, shipped.weights, points)
    first = dict.fromkeys([*(config.family for config in taken), *shipped.first])
    counts = Counter(config.family for config in taken)
    scale = sum(shipped.weights.get(name, 1.0) for name in families) / len(taken)
    weights = {name: round(max(0.5, counts[name] * scale), 2) for name in families}
    return Portfolio(VERSION, tuple(first), {**shipped.weights, **weights}, points)


def hand_made() -> Portfolio:
    """The shipped portfolio without what an earlier call derived, which has seen these sets."""
    shipped = shipped_portfolio()
    points = {
        name: tuple(entry for entry in entries if not entry.source.startswith(SOURCE))
        for name, entries in shipped.points.items()
    }
    return replace(shipped, points=points)


def pick(measured: Measured) -> list[int]:
    """The greedy list of configurations."""
    return greedy_list(scaled_ranks(measured.errors), np.nanmean(measured.seconds, axis=0).tolist(), N_PICKS)


def check(measured: Measured, families: Sequence[str]) -> list[dict[str, Any]]:
    """Leave each set out: how near the first configurations of each list come to its best one."""
    lists: dict[str, Callable[[int], list[float]]] = {
        "greedy": lambda which: _errors(measured, which, pick(measured.without(which))),
        "learned": lambda which: _turns(measured, which, families, derive(measured.without(which), families)),
        "points": lambda which: _turns(
            measured, which, families, derive(measured.without(which), families, order=False)
        ),
        "late": lambda which: _turns(
            measured, which, families, derive(measured.without(which), families, order=False, early=False)
        ),
        "by_hand": lambda which: _turns(measured, which, families, hand_made()),
    }
    records: list[dict[str, Any]] = []
    n_sets = len(measured.facts)
    for name, make in lists.items():
        curves = [_gap_curve(measured.errors[which], make(which)) for which in range(n_sets)]
        records.append(_record(name, curves))
    rng = np.random.default_rng(0)
    n_configs = len(measured.configs)
    shuffled = [
        np.mean([_gap_curve(row, row[rng.permutation(n_configs)].tolist()) for _ in range(N_SHUFFLES)], axis=0)
        for row in measured.errors
    ]
    records.append(_record("random", shuffled))
    return records


def _errors(measured: Measured, which: int, picks: list[int]) -> list[float]:
    return [float(measured.errors[which, number]) for number in picks]


def _turns(measured: Measured, which: int, families: Sequence[str], portfolio: Portfolio) -> list[float]:
    """The errors, on a set, in the order in which a search would take them."""
    facts = measured.facts[which]
    points = {name: iter(portfolio_points(get_family(name), facts, portfolios=[portfolio])) for name in families}
    errors = []
    for name in opening(facts, families, portfolio=portfolio):
        if (point := next(points[name], None)) is not None:
            errors.append(measured.error_of(which, name, point))
    return errors


def _gap_curve(row: NDArray[np.float64], errors: Sequence[float]) -> list[float]:
    """How far the best of the first k is from the best of all: 0 is the best of all, 1 the median of all."""
    finite = row[np.isfinite(row)]
    best, median = finite.min(), np.median(finite)
    gaps = []
    for k in BEFORE:
        found = np.nanmin([*errors[:k], np.inf])
        gaps.append(float(min(1.0, (found - best) / max(median - best, 1e-12))))
    return gaps


def _record(name: str, curves: Sequence[Any]) -> dict[str, Any]:
    table = np.array(curves)
    gaps = {f"gap_after_{k}": round(float(table[:, number].mean()), 4) for number, k in enumerate(BEFORE)}
    return {"name": f"portfolio_{name}", "n_sets": len(table), **gaps, "per_set": table.round(4).tolist()}


def show(records: list[dict[str, Any]]) -> None:
    """A line per list."""
    print(f"{'order':<10}" + "".join(f"{f'gap after {k}':>14}" for k in BEFORE))
    for record in records:
        name = record["name"].removeprefix("portfolio_")
        print(f"{name:<10}" + "".join(f"{record[f'gap_after_{k}']:>14.3f}" for k in BEFORE))


if __name__ == "__main__":
    main()
