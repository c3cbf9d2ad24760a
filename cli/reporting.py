"""``report``: one file to read, or a page to search."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json

if TYPE_CHECKING:
    from foldsmith.reporting.facts import Facts


@click.command(epilog="Example: foldsmith report")
@click.option("-o", "--out", type=PATH, help="Where to write; report.html in the competition folder by default.")
@click.option("--member", default="", help="Whose predictions are looked at; the best blend by default.")
@click.option("--serve", is_flag=True, help="Serve a page where single predictions are sorted, filtered and searched.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8081, show_default=True, help="Of that page, on 127.0.0.1."
)
@as_json
@click.pass_obj
def report(folder: Path, out: Path | None, member: str, serve: bool, port: int, as_json: bool) -> int:
    """Write one self-contained HTML file with plots, worst rows and provenance; it needs no network."""
    from foldsmith.flow.check import quick_check
    from foldsmith.flow.competition import open_competition
    from foldsmith.reporting.facts import Facts
    from foldsmith.reporting.page import summary_lines, write_report

    competition = open_competition(folder)
    if serve:
        return _serve(Facts(competition), port)
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


def _serve(facts: "Facts", port: int) -> int:
    """Serve until Ctrl-C."""
    from foldsmith.reporting.server import make_server

    with make_server(facts, port) as server:
        click.echo(f"predictions: http://127.0.0.1:{port}   (Ctrl-C ends it)", err=True)
        click.echo(f"from another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE", err=True)
        with suppress(KeyboardInterrupt):  # the way to end it
            server.serve_forever()
    return 0
