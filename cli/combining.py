"""``blend`` and ``submit``: from members to a file."""

from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json, split_names


@click.command(epilog="Example: foldsmith blend --from top:20 --name b_top20")
@click.argument("method", default="auto")
@click.option("--from", "source", help="Members: ids separated by commas, or top:N; all by default.")
@click.option("--name", help="Id of the blend; b01, b02, … by default.")
@as_json
@click.pass_obj
def blend(folder: Path, method: str, source: str | None, name: str | None, as_json: bool) -> int:
    """Combine members by METHOD (auto, greedy); shows the in-sample and the nested score."""
    from foldsmith.cli.tables import print_blend
    from foldsmith.flow.competition import open_competition

    competition = open_competition(folder)
    made = competition.blend(method, members=_members(competition, source), name=name)
    if as_json:
        record = {"id": made.id, "metric": made.metric, "nested_score": made.nested_score}
        print_json({**record, "in_sample_score": made.in_sample_score, "weights": made.weights})
    else:
        print_blend(competition, made)
    return 0


def _members(competition: object, source: str | None) -> list[str] | None:
    from foldsmith.flow.competition import Competition
    from foldsmith.flow.ensemble import candidates
    from foldsmith.problem.errors import InputError

    assert isinstance(competition, Competition)
    if source is None:
        return None
    if not source.startswith("top:"):
        if not split_names(source):
            raise InputError(f"--from {source!r} names no member; write e.g. lgb-0001,xgb-0002 or top:20")
        return list(split_names(source))
    if not source[4:].isdigit() or int(source[4:]) < 1:
        raise InputError(f"--from {source!r} is not top:N with a positive number")
    return [member.id for member in candidates(competition.problem, competition.members)[: int(source[4:])]]


@click.group(epilog="Example: foldsmith submit make b01")
def submit() -> None:
    """Write submission files."""


@submit.command(epilog="Example: foldsmith submit make b01")
@click.argument("member")
@click.pass_obj
def make(folder: Path, member: str) -> int:
    """Write a numbered submission of MEMBER (a member or a blend) and print its path."""
    from foldsmith.flow.competition import open_competition

    click.echo(open_competition(folder).submit(member))
    return 0
