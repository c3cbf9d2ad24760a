"""``mirror``: a copy of members and studies on an object store."""

from dataclasses import asdict
from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json

url_argument = click.argument("url", required=False)


@click.group(epilog="Example: foldsmith mirror status")
def mirror() -> None:
    """Copy members and studies to an object store, and back; the URL is [store] mirror in foldsmith.toml."""


@mirror.command(epilog="Example: foldsmith mirror push s3://bucket/titanic")
@url_argument
@click.pass_obj
def push(folder: Path, url: str | None) -> int:
    """Upload what is new or changed; a search may run meanwhile."""
    from foldsmith.flow.mirror import mirror_url
    from foldsmith.flow.mirror import push as push_all
    from foldsmith.problem.folder import Folder
    from foldsmith.problem.urls import hide_password

    done = push_all(Folder(folder), url)
    where = hide_password(mirror_url(Folder(folder), url))
    if not done.n_files:
        click.echo(f"nothing is new; {where} has it all")
    else:
        size = done.n_bytes / 1e6
        click.echo(f"{done.n_files} files ({size:.1f} MB) of {_members(done.members)} went to {where}")
    return 0


@mirror.command(epilog="Example: foldsmith mirror pull s3://bucket/titanic")
@url_argument
@click.pass_obj
def pull(folder: Path, url: str | None) -> int:
    """Restore members and studies that are missing here, after checking their digests; -C may name a new folder.

    What is whole here is never replaced by something older. The tables themselves (train and test) are not on the
    mirror: they must lie where foldsmith.toml says.
    """
    from foldsmith.flow.mirror import pull as pull_all
    from foldsmith.problem.folder import Folder

    done = pull_all(Folder(folder), url)
    click.echo(f"fetched {_members(done.fetched)}; {len(done.kept)} were here already; journal: {done.journal}")
    for names, what in (
        (done.torn, "not whole on the mirror, left out"),
        (done.conflicts, "another member with this id lies here, left out"),
    ):
        if names:
            click.echo(f"{what}: {', '.join(names)}", err=True)
    if done.journal == "diverged":
        click.echo("the mirror's journal is of another search than the one here; ours was kept", err=True)
    for path in _missing_tables(Folder(folder).root):
        click.echo(f"{path} is not here; put it there, or correct [data] in foldsmith.toml", err=True)
    return 0


@mirror.command(epilog="Example: foldsmith mirror status")
@url_argument
@as_json
@click.pass_obj
def status(folder: Path, url: str | None, as_json: bool) -> int:
    """How this folder and the mirror differ."""
    from foldsmith.flow.mirror import status as compare
    from foldsmith.problem.folder import Folder

    found = compare(Folder(folder), url)
    if as_json:
        print_json(asdict(found))
        return 0
    click.echo(f"mirror          {found.url}")
    rows = (
        ("up to date", found.same),
        ("to be pushed", found.behind),
        ("to be pulled", found.only_there),
        ("cut off there", found.torn),
    )
    for label, members in rows:
        names = (
            f"   {', '.join(members[:8])}{' …' if len(members) > 8 else ''}"
            if members and label != "up to date"
            else ""
        )
        click.echo(f"{label:<15} {len(members)}{names}")
    behind = found.journal_behind_bytes
    click.echo(f"journal         {'of another search' if behind is None else f'{behind:,} bytes behind'}")
    return 0


def _members(ids: list[str]) -> str:
    return f"{len(ids)} member{'' if len(ids) == 1 else 's'}"


def _missing_tables(root: Path) -> list[Path]:
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    folder = Folder(root)
    if not folder.config.exists():
        return []
    data = load_config(folder.config).data
    paths = [folder.resolve(name) for name in (data.train, data.test, data.sample) if name is not None]
    return [path for path in paths if not path.exists()]
