"""``check``: traps in the data."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json

if TYPE_CHECKING:
    from foldsmith.problem.audit.audit import Audit

STYLES = {"error": "red", "warning": "yellow", "info": ""}


@click.command(epilog="Example: foldsmith check --adversarial")
@click.option("--deep", is_flag=True, help="Also near duplicates, and whether members are what their records say.")
@click.option("--adversarial", is_flag=True, help="Also fit a model that tells test rows from train rows.")
@as_json
@click.pass_obj
def check(folder: Path, deep: bool, adversarial: bool, as_json: bool) -> int:
    """Look for leaks, duplicates, ignored groups, drift and other traps; exit code 1 if one is an error."""
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).check(deep=deep, adversarial=adversarial)
    print_json(found.to_json()) if as_json else print_audit(found)
    return int(any(finding.severity == "error" for finding in found.findings))


def print_audit(found: "Audit") -> None:
    """Every finding with what to do."""
    from foldsmith.cli.tables import console, fact

    out = console()
    for finding in found.findings:
        style = STYLES[finding.severity]
        title = f"{finding.severity:<8}{finding.code}"
        out.print(f"[{style}]{title}[/{style}]" if style else title)
        fact(out, "", escape(finding.message))
        fact(out, "do", escape(finding.advice))
    out.print(summary_line(found))


def summary_line(found: "Audit") -> str:
    """``1 error, 2 warnings, 3 remarks in 14 checks``."""
    counts = {name: sum(one.severity == name for one in found.findings) for name in STYLES}
    words = {"error": "error", "warning": "warning", "info": "remark"}
    parts = [f"{count} {words[name]}{'s' * (count != 1)}" for name, count in counts.items() if count]
    left_out = f", {len(found.left_out)} left out for want of time" if found.left_out else ""
    return f"{', '.join(parts) or 'nothing found'} in {len(found.seconds)} checks{left_out}"
