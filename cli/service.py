"""``service``: a search that outlives a reboot."""

import shlex
import sys
from pathlib import Path

import click


@click.command(epilog="Example: foldsmith service")
@click.pass_obj
def service(folder: Path) -> int:
    """Print a systemd user unit that goes on with the last search, also after a crash or a reboot.

    How to install it is said on stderr.
    """
    from foldsmith.flow.service import unit, unit_name
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    place = Folder(folder)
    load_config(place.config)
    root = folder.resolve()
    text = unit(root, Path(sys.executable))
    name = unit_name(root)
    click.echo(text, nl=False)
    if not place.launch.exists():
        click.echo("note: no search was started here yet, and the unit resumes the last one; start one first", err=True)
    path = f"~/.config/systemd/user/{name}"
    for line in (
        "install it, start it, and let it run while nobody is logged in:",
        "  mkdir -p ~/.config/systemd/user",
        f"  foldsmith -C {shlex.quote(str(root))} service 2>/dev/null > {path}",
        "  systemctl --user daemon-reload",
        f"  systemctl --user enable --now {name}",
        "  loginctl enable-linger",
        f"stop it (running folds end first): systemctl --user stop {name}",
        f"keep it from starting again:       systemctl --user disable {name}",
    ):
        click.echo(line, err=True)
    return 0
