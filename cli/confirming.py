"""``confirm``: the best members on folds drawn anew."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json

if TYPE_CHECKING:
    from foldsmith.flow.confirm import Confirmation
    from foldsmith.flow.curse import CurseEstimate


@click.command(epilog="Example: foldsmith confirm lgb-0012 xgb-0007 b01 --repeats 5")
@click.argument("members", nargs=-1)
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="So many best trials, if none is named."
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="New fold plans.")
@click.option("--workers", type=click.IntRange(1), help="CPU folds side by side; all cores by default.")
@click.option("--inline", is_flag=True, help="In this process, for debugging.")
@click.option("--estimate", is_flag=True, help="Fit nothing: estimate the winner's curse from stored predictions.")
@as_json
@click.pass_obj
def confirm(
    folder: Path,
    members: tuple[str, ...],
    top: int,
    repeats: int,
    workers: int | None,
    inline: bool,
    estimate: bool,
    as_json: bool,
) -> int:
    """Fit MEMBERS (trials, blends) again on new folds of the same kind; shows how much of a lead was luck.

    Results stand apart from the frozen folds; a call that was killed goes on where it was.
    """
    from foldsmith.flow.competition import open_competition
    from foldsmith.flow.curse import estimate_curse
    from foldsmith.results.top import ranked

    competition = open_competition(folder)
    problem = competition.problem
    if estimate:
        guess = estimate_curse(problem, competition.members)
        print_json(guess.to_json()) if as_json else print_estimate(guess, problem.metric.name)
        return 0
    names = list(members)
    if not names:
        trials = [
            one
            for one in competition.members.all(contract=problem.contract, states=["complete"])
            if one.kind == "trial"
        ]
        names = [one.id for one in ranked(trials, greater_is_better=problem.metric.greater_is_better)[:top]]
    note = (lambda line: None) if as_json else partial(click.echo, err=True)
    found = competition.confirm(names, repeats, workers=workers or 0, inline=inline, note=note)
    print_json(found.to_json()) if as_json else print_confirmation(found)
    return 0


def print_confirmation(found: "Confirmation") -> None:
    """Frozen and confirmed scores, and what is left of the lead."""
    from rich.markup import escape

    from foldsmith.cli.tables import console, fact, number, plain_table, score, signed_number

    out = console()
    table = plain_table("member", f">{found.metric}, frozen folds", ">new folds ± se", ">looked better by", ">best in")
    for one in found.members:
        mean = score(one.mean, one.sem)
        table.add_row(one.member, number(one.frozen), mean, signed_number(one.curse), f"{one.wins:.0%}")
    out.print(table)
    if found.lead is not None:
        first, second, before, after, error = found.lead
        verdict = "luck" if error == error and after < 2 * error else "it holds"
        fact(
            out,
            "lead",
            f"{first} led {second} by {number(before)} on the frozen folds, by {signed_number(after)} ± {number(error)}"
            f" on the new ones: {verdict}",
        )
    fact(out, "", "blends: nested, the same method fitted anew; ± is the luck of the folds, the rows are the same")
    for name, reason in found.failed.items():
        fact(out, "failed", f"{name}: {escape(reason)}", "red")


def print_estimate(guess: "CurseEstimate", metric: str) -> None:
    """The winner's curse without fitting anything."""
    from foldsmith.cli.tables import console, fact, number, signed_number

    out = console()
    out.print(
        f"{guess.leader} is the best of {guess.n_members} members: {metric} {number(guess.score)}, all rows together"
    )
    fact(out, "honest", f"{number(guess.honest)} on rows that had no part in the choice (BBC-CV, nothing fitted again)")
    fact(out, "curse", f"{signed_number(guess.curse)} of its score is the luck of being chosen")
