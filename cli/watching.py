"""``status``, ``top``, ``show``, ``stop`` and ``dashboard``: looking at a search."""

from contextlib import suppress
from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json


@click.command(epilog="Example: foldsmith status")
@as_json
@click.pass_obj
def status(folder: Path, as_json: bool) -> int:
    """What runs, and what was reached."""
    from foldsmith.cli.tables import print_status
    from foldsmith.flow.status import status as read_status

    found = read_status(folder)
    print_json(found.to_json()) if as_json else print_status(found)
    return 0


@click.command(epilog="Example: foldsmith top -n 10")
@click.option("-n", "n", type=click.IntRange(1), default=30, show_default=True, help="How many.")
@click.option("--failed", is_flag=True, help="Failed trials and why they failed.")
@click.option("--csv", "as_csv", is_flag=True, help="Print csv.")
@as_json
@click.pass_obj
def top(folder: Path, n: int, failed: bool, as_csv: bool, as_json: bool) -> int:
    """The table of members, best first."""
    from foldsmith.cli.tables import print_top
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.results.top import top_rows

    problem = open_problem(folder)
    if not as_json and not as_csv:
        print_top(problem, n=n, failed=failed)
        return 0
    better = problem.metric.greater_is_better
    rows = top_rows(MemberStore(problem.folder), problem.contract, greater_is_better=better, failed=failed)[:n]
    records = [row.to_json() for row in rows]
    if as_json:
        print_json(records)
    else:
        import pandas as pd

        click.echo(pd.DataFrame(records).to_csv(index=False), nl=False)
    return 0


@click.command(epilog="Example: foldsmith show lgb-0003")
@click.argument("member")
@as_json
@click.pass_obj
def show(folder: Path, member: str, as_json: bool) -> int:
    """Everything about one member."""
    from foldsmith.cli.tables import print_member
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore

    problem = open_problem(folder)
    found = MemberStore(problem.folder).get(member)
    print_json(found.to_json()) if as_json else print_member(problem, found)
    return 0


@click.command(epilog="Example: foldsmith stop")
@click.pass_obj
def stop(folder: Path) -> int:
    """Let running folds end and be stored, then stop; called again, it ends the search at once."""
    from foldsmith.flow.status import stop as stop_driver

    click.echo(f"stopped process {stop_driver(folder)}; go on with 'foldsmith resume'")
    return 0


@click.command(epilog="Example: foldsmith dashboard --port 8080")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="On 127.0.0.1.")
@click.pass_obj
def dashboard(folder: Path, port: int) -> int:
    """Serve the Optuna dashboard over the study on 127.0.0.1; it only reads, so a running search is safe."""
    from foldsmith.flow.dashboard import make_dashboard
    from foldsmith.problem.contract import open_problem

    problem = open_problem(folder)
    with make_dashboard(problem.folder.journal, port) as server:
        click.echo(f"Optuna dashboard: http://127.0.0.1:{port}   (Ctrl-C ends it)", err=True)
        click.echo(f"from another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE", err=True)
        with suppress(KeyboardInterrupt):  # the way to end it
            server.serve_forever()
    return 0
