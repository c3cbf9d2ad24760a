"""``repair``: the way out when what is stored was damaged."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json

if TYPE_CHECKING:
    from foldsmith.flow.repair import Repaired

MAX_SHOWN = 5


@click.command(epilog="Example: foldsmith repair")
@as_json
@click.pass_obj
def repair(folder: Path, as_json: bool) -> int:
    """Mend the studies' journal, and predictions that the folds still hold; exit code 1 if something stays damaged.

    Lines of the journal that cannot be read are moved aside, the file as it was is kept. Members without a trial are
    adopted again, nothing is fitted again. No search may run meanwhile.
    """
    from foldsmith.flow.repair import repair as mend

    done = mend(folder, partial(click.echo, err=True))
    print_json(done.to_json()) if as_json else print_repaired(done)
    return int(bool(done.damaged))


def print_repaired(done: "Repaired") -> None:
    """What was found and done."""
    from foldsmith.cli.tables import console, fact

    out = console()
    if not done.bad_lines:
        fact(out, "journal", f"all of its {done.n_lines:,} lines can be used")
    else:
        fact(out, "journal", f"{len(done.bad_lines):,} of {done.n_lines:,} lines were set aside")
        for number, reason in list(done.bad_lines.items())[:MAX_SHOWN]:
            fact(out, "", f"line {number:,}: {reason}")
        if len(done.bad_lines) > MAX_SHOWN:
            fact(out, "", f"and {len(done.bad_lines) - MAX_SHOWN:,} more")
        if done.cut_from is not None:
            fact(out, "", f"from line {done.cut_from:,} on: a lost line had made what they speak of")
        fact(out, "kept as", str(done.kept_as))
    for label, names in (("adopted", done.adopted), ("restored", done.restored)):
        if names:
            fact(out, label, f"{len(names)} member{'s' * (len(names) > 1)}: {' · '.join(names)}")
    for name, reason in done.damaged.items():
        fact(out, "damaged", f"{name}: {reason}", "red")
    fact(out, "members", f"{done.n_members} complete ones are kept")
