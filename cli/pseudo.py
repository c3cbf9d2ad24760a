"""``pseudo``: labels of test rows, made per fold."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json

if TYPE_CHECKING:
    from foldsmith.flow.pseudo import PseudoLabels


@click.group(epilog="Example: foldsmith pseudo make b01 --use")
def pseudo() -> None:
    """Labels of test rows that train each fold, made by models that never saw that fold's rows."""


@pseudo.command(epilog="Example: foldsmith pseudo make b01 --min-confidence 0.95 --use")
@click.argument("member")
@click.option(
    "--min-confidence", type=float, default=0.9, show_default=True, help="Chance from which a fold learns a row."
)
@click.option("--name", help="p01, p02, … by default.")
@click.option("--use", is_flag=True, help="Let later searches learn them.")
@as_json
@click.pass_obj
def make(folder: Path, member: str, min_confidence: float, name: str | None, use: bool, as_json: bool) -> int:
    """Label test rows by MEMBER's models, per fold."""
    from foldsmith.flow.competition import open_competition
    from foldsmith.flow.pseudo import make_pseudo, use_pseudo

    competition = open_competition(folder)
    made = make_pseudo(competition.problem, competition.members, member, min_confidence=min_confidence, name=name)
    if use:
        use_pseudo(competition.problem, made.name)
    print_json(made.to_json()) if as_json else _tell(made)
    return 0


@pseudo.command("import", epilog="Example: foldsmith pseudo import labels.csv --name p02 --folds-hash 3f9c1e0a2b4d")
@click.argument("file", type=PATH)
@click.option("--name", required=True, help="Their name.")
@click.option("--folds-hash", help="The fold plan that they were made under.")
@click.pass_obj
def import_(folder: Path, file: Path, name: str, folds_hash: str | None) -> int:
    """Take labels from FILE, a column per fold (fold_0, fold_1, …); one label per row is refused."""
    from foldsmith.flow.pseudo import import_pseudo
    from foldsmith.problem.contract import open_problem

    _tell(import_pseudo(open_problem(folder), file, name, folds_hash))
    return 0


@pseudo.command(epilog="Example: foldsmith pseudo use none")
@click.argument("name")
@click.pass_obj
def use(folder: Path, name: str) -> int:
    """Let later searches learn the labels NAME, or none."""
    from foldsmith.flow.pseudo import use_pseudo
    from foldsmith.problem.contract import open_problem

    use_pseudo(open_problem(folder), None if name == "none" else name)
    return 0


@pseudo.command("list", epilog="Example: foldsmith pseudo list")
@as_json
@click.pass_obj
def list_(folder: Path, as_json: bool) -> int:
    """All stored sets of labels."""
    from foldsmith.flow.pseudo import list_pseudo
    from foldsmith.problem.contract import open_problem

    found = list_pseudo(open_problem(folder))
    if as_json:
        print_json({"pseudo": [one.to_json() for one in found]})
    for one in [] if as_json else found:
        _tell(one)
    return 0


def _tell(made: "PseudoLabels") -> None:
    low, high = min(made.per_fold), max(made.per_fold)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    click.echo(f"{made.name}: {made.n_rows:,} test rows labelled by {made.member}, {span} of them in each fold")
