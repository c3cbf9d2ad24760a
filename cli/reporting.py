"""``report``: one file to read, or a page to search."""

from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json


@click.command(epilog="Example: foldsmith report")
@click.option("--out", type=PATH, help="Where to write; report.html in the competition folder by default.")
@click.option("--member", default="", help="Whose predictions are looked at; the best blend by default.")
@as_json
@click.pass_obj
def report(folder: Path, out: Path | None, member: str, as_json: bool) -> int:
    """Write one self-contained HTML file with plots, worst rows and provenance; it needs no network."""
    from foldsmith.flow.check import quick_check
    from foldsmith.flow.competition import open_competition
    from foldsmith.reporting.facts import Facts
    from foldsmith.reporting.page import summary_lines, write_report

    competition = open_competition(folder)
    facts = Facts(competition, member, quick_check(competition.problem).findings)
    path = write_report(facts, out or competition.root / "report.html")
    lines = summary_lines(facts)
    if as_json:
        print_json({"path": str(path), "members": len(facts.members), "summary": lines})
        return 0
    for line in lines:
        click.echo(line)
    click.echo(f"\nreport   {path}   ({path.stat().st_size / 1e6:.1f} MB, open it in any browser)")
    return 0
