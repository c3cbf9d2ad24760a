"""``data`` and ``holdout``: versions of the files, and the rows that nobody has seen."""

from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json


@click.group(epilog="Example: foldsmith data diff")
def data() -> None:
    """Versions of the train and test file, and how they differ."""


@data.command(epilog="Example: foldsmith data show")
@as_json
@click.pass_obj
def show(folder: Path, as_json: bool) -> int:
    """Every version of the files that was read here."""
    from foldsmith.cli.tables import console, plain_table
    from foldsmith.flow.versions import seen_versions

    seen = seen_versions(folder)
    if as_json:
        print_json({"versions": [one.to_json() for one in seen]})
        return 0
    table = plain_table("version", "file", "first seen (UTC)", ">rows", ">columns", ">members", "")
    for one in seen:
        version = one.version
        now = "now" if one.is_current else ""
        counts = (f"{version.n_rows:,}", str(version.n_columns), str(one.members))
        table.add_row(version.fingerprint, version.kind, version.first_seen[:19], *counts, now)
    console().print(table)
    return 0


@data.command(epilog="Example: foldsmith data diff 3f9c1e")
@click.argument("old", default="")
@click.argument("new", default="")
@as_json
@click.pass_obj
def diff(folder: Path, old: str, new: str, as_json: bool) -> int:
    """Rows, columns and cells that differ between version OLD and NEW; by default the last change."""
    from rich.markup import escape

    from foldsmith.cli.tables import console, fact, plain_table
    from foldsmith.flow.versions import data_difference

    found = data_difference(folder, old, new)
    if as_json:
        print_json(found.to_json())
        return 0
    out = console()
    out.print(f"{found.old} to {found.new}, rows matched by {found.matched}")
    fact(out, "", found.summary)
    if found.cells:
        table = plain_table("  column", ">cells", "row", "before", "after")
        for name, count in found.cells.items():
            for i, change in enumerate(found.examples[name]):
                head = (f"  {escape(name)}", f"{count:,}") if i == 0 else ("", "")
                table.add_row(*head, *(escape(text[:40]) for text in change))
        out.print(table)
    return 0


@data.command(epilog="Example: foldsmith data refresh")
@as_json
@click.pass_obj
def refresh(folder: Path, as_json: bool) -> int:
    """Predict a changed test file with the stored models; other commands do it when they need it."""
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).refresh()
    if as_json:
        print_json({"made": list(found.made), "left_out": found.left_out})
        return 0
    click.echo(f"{len(found.made)} test predictions made again, {len(found.left_out)} members left out")
    for name, reason in found.left_out.items():
        click.echo(f"  {name}: {reason}")
    return 0


@click.command(epilog="Example: foldsmith holdout b01 lgb-0007")
@click.argument("members", nargs=-1, required=True)
@as_json
@click.pass_obj
def holdout(folder: Path, members: tuple[str, ...], as_json: bool) -> int:
    """Score MEMBERS on the rows that no search, blend or rule has seen; every look is counted."""
    from foldsmith.cli.tables import console, fact, number, plain_table
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).holdout(members)
    if as_json:
        print_json(found.to_json())
        return 0
    out = console()
    table = plain_table(f"  {found.metric}", ">validation", ">holdout")
    for one in found.scores:
        table.add_row(f"  {one.member}", number(one.validation), number(one.score))
    out.print(table)
    fact(out, "holdout", f"{found.n_rows:,} rows; looked at {found.looks} times: choose by it and it is spent")
    return 0
