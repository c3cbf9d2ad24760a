"""``blend``, ``compare``, ``posthoc`` and ``submit``: from members to a file."""

from functools import partial
from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json, split_names


@click.command(epilog="Example: foldsmith blend convex --from top:20 --name b_top20")
@click.argument("method", default="auto")
@click.option("--from", "source", help="Members: ids separated by commas, or top:N; all by default.")
@click.option("--name", help="Id of the blend; b01, b02, … by default.")
@click.option("--space", default="", help="Where to average: identity, log1p, logit, rank or power.")
@click.option("--bags", type=click.IntRange(0), default=0, help="For greedy: the mean of so many bagged selections.")
@click.option("--insist", is_flag=True, help="Use METHOD also where it advises against itself.")
@click.option("--explain", is_flag=True, help="Show what each member carries, and what others would add.")
@as_json
@click.pass_obj
def blend(
    folder: Path,
    method: str,
    source: str | None,
    name: str | None,
    space: str,
    bags: int,
    insist: bool,
    explain: bool,
    as_json: bool,
) -> int:
    """Combine members by METHOD; shows the in-sample and the nested score.

    METHOD is auto (several methods, the near-best averaged), best_single, top_mean, greedy, quick_greedy (what runs
    beside a search), fold_greedy, convex, signed_hill, linear_stack, boosted_stack or calibrated. A blend named in
    --from is blended as a member, by its nested predictions.
    """
    from foldsmith.cli.tables import print_blend, print_explanation
    from foldsmith.flow.competition import open_competition

    competition = open_competition(folder)
    competition.refresh(partial(click.echo, err=True))
    members = _members(competition, source)
    found = competition.try_blend(method, members=members, space=space, bags=bags, insist=insist)
    made = competition.keep(found, name)
    explanation = competition.explain(found) if explain else None
    if as_json:
        record = {**made.to_json(), "obtained": competition.obtained(made.id).to_json()}
        print_json(record if explanation is None else {**record, "explanation": explanation.to_json()})
        return 0
    print_blend(competition, made)
    if explanation is not None:
        print_explanation(explanation, made.metric)
    return 0


@click.command(epilog="Example: foldsmith compare b01 lgb-0007")
@click.argument("first")
@click.argument("second")
@as_json
@click.pass_obj
def compare(folder: Path, first: str, second: str, as_json: bool) -> int:
    """Compare members or blends FIRST and SECOND by a paired bootstrap over folds and rows."""
    from foldsmith.cli.tables import print_comparison
    from foldsmith.flow.competition import open_competition

    competition = open_competition(folder)
    found = competition.compare(first, second)
    if as_json:
        how = [competition.obtained(name) for name in (first, second)]
        kinds = {"obtained": [one.to_json() for one in how], "comparable": how[0].is_comparable(how[1])}
        print_json(
            {"first": first, "second": second, "metric": competition.problem.metric.name, **found.to_json(), **kinds}
        )
    else:
        print_comparison(competition, first, second, found)
    return 0


@click.command(epilog="Example: foldsmith posthoc b01")
@click.argument("member")
@as_json
@click.pass_obj
def posthoc(folder: Path, member: str, as_json: bool) -> int:
    """Show how labels are decided from MEMBER's predictions, and the score without, nested and in-sample."""
    from foldsmith.cli.tables import print_posthoc
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).posthoc(member)
    if as_json:
        print_json(found.to_json())
    else:
        print_posthoc(found)
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

    competition = open_competition(folder)
    competition.refresh(partial(click.echo, err=True))
    click.echo(competition.submit(member))
    return 0
