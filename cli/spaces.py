"""``space`` and ``portfolio``: what is searched, where a search starts, and learning both from what was found."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json

if TYPE_CHECKING:
    from rich.console import Console

    from foldsmith.flow.spaces import Shrunk, SpaceView
    from foldsmith.spaces.space import Param, Params


@click.group(epilog="Example: foldsmith space show lightgbm")
def space() -> None:
    """Show the search spaces of this competition, or shrink one around its best trials."""


@space.command(epilog="Example: foldsmith space show lightgbm xgboost --json")
@click.argument("families", nargs=-1)
@as_json
@click.pass_obj
def show(folder: Path, families: tuple[str, ...], as_json: bool) -> int:
    """Ranges as they are here, after [spaces] in foldsmith.toml, and the points that a search starts from."""
    from foldsmith.cli.tables import console
    from foldsmith.flow.spaces import view_spaces

    views = view_spaces(folder, families)
    if as_json:
        print_json([view.to_json() for view in views])
        return 0
    out = console()
    for view in views:
        _print_space(out, view)
    return 0


@space.command(epilog="Example: foldsmith space shrink lightgbm --top 20% --write")
@click.argument("family")
@click.option("--top", default="20%", show_default=True, help="The share of the complete trials that count as best.")
@click.option("--write", is_flag=True, help="Put the ranges into foldsmith.toml; its comments stay.")
@click.pass_obj
def shrink(folder: Path, family: str, top: str, write: bool) -> int:
    """Shrink a family's ranges around its best complete trials; prints TOML, changes nothing without --write."""
    from foldsmith.flow.spaces import parse_share
    from foldsmith.flow.spaces import shrink as shrink_space

    shrunk = shrink_space(folder, family, parse_share(top), write=write)
    _say_shrunk(shrunk)
    click.echo(shrunk.toml, nl=False)
    if write:
        click.echo(f"written into {folder / 'foldsmith.toml'}; the next search begins a study of its own", err=True)
    return 0


@click.group(epilog="Example: foldsmith portfolio learn titanic house-prices")
def portfolio() -> None:
    """Learn, from finished competitions, the points that searches start from."""


@portfolio.command(epilog="Example: foldsmith portfolio learn titanic house-prices --out portfolio.json")
@click.argument("folders", nargs=-1, type=PATH)
@click.option(
    "--out", type=PATH, help="The portfolio to extend; $FOLDSMITH_PORTFOLIO or ~/.config/foldsmith/portfolio.json."
)
@as_json
@click.pass_obj
def learn(folder: Path, folders: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    """Extend your own portfolio by the best points of FOLDERS (this competition by default)."""
    from foldsmith.flow.portfolio import learn as learn_from

    learned = learn_from(folders or (folder,), out)
    if as_json:
        print_json(learned.to_json())
        return 0
    for root, reason in learned.left_out.items():
        click.echo(f"left out {root}: {reason}", err=True)
    for name, n_points in learned.n_points.items():
        click.echo(f"{name:<14} {n_points} points")
    competitions = "1 competition" if learned.n_competitions == 1 else f"{learned.n_competitions} competitions"
    click.echo(f"{learned.path} now rests on {competitions}")
    return 0


def _print_space(out: "Console", view: "SpaceView") -> None:
    from rich.markup import escape

    if view.reason is not None:
        out.print(f"[bold]{escape(view.family)}[/bold] takes no part: {escape(view.reason)}\n")
        return
    out.print(f"[bold]{escape(view.family)}[/bold] · {view.version} · {len(view.points)} points to start from")
    out.print(_params_table(view))
    for number, point in enumerate(view.points):
        kind = "default" if point in view.defaults else "portfolio"
        out.print(f"  [dim]{kind:<9}[/dim] {escape(_point(point, view.points[0] if number else {}))}")
    out.print()


def _params_table(view: "SpaceView") -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table("parameter", "searched", "default", box=None, pad_edge=False)
    first: Params = view.defaults[0] if view.defaults else {}
    for name, param in view.params.items():
        shown = show_param(param) + (" (foldsmith.toml)" if name in view.changed else "")
        table.add_row(Text(f"  {name}"), Text(shown), Text(_value(first[name]) if name in first else ""))
    return table


def show_param(param: "Param") -> str:
    """A parameter in words: ``0.01 … 0.1 log``, ``depthwise | lossguide``, ``fixed at 0.05``."""
    from foldsmith.spaces.space import Choice

    if isinstance(param, Choice):
        one = len(param.choices) == 1
        text = f"fixed at {_value(param.choices[0])}" if one else " | ".join(map(_value, param.choices))
    else:
        text = f"{_value(param.low)} … {_value(param.high)}{' log' if param.log else ''}"
    if param.when is not None:
        text += f", if {param.when.name} is {' or '.join(map(_value, param.when.values))}"
    return text


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _point(point: "Params", first: "Params") -> str:
    """A point; what it shares with the first one is left out."""
    own = {name: value for name, value in point.items() if name not in first or first[name] != value}
    return ", ".join(f"{name}={_value(value)}" for name, value in own.items())


def _say_shrunk(shrunk: "Shrunk") -> None:
    click.echo(f"{shrunk.family}: {shrunk.n_trials} complete trials", err=True)
    for name, param in shrunk.after.items():
        click.echo(f"  {name:<24} {show_param(shrunk.before[name])}  ->  {show_param(param)}", err=True)
