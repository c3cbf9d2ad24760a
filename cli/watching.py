"""``status``, ``watch``, ``logs``, ``top``, ``show``, ``stop`` and ``dashboard``: looking at a search."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json
from foldsmith.problem.errors import FoldsmithError, InputError

if TYPE_CHECKING:
    from foldsmith.problem.folder import Folder
    from foldsmith.search.snapshot import Snapshot

# How a search ended, as ``watch`` and ``logs -f`` say it, and the exit code of ``watch``.
ENDINGS = {
    "done": ("the search came to its end", 0),
    "interrupted": ("the search was stopped; go on with 'foldsmith resume'", 130),
    "failed": ("the search failed; see 'foldsmith logs' and 'foldsmith top --failed'", 1),
    "died": ("the search's process was killed or crashed; go on with 'foldsmith resume'", 1),
}
STOPPED = {
    "drained": "stopped process {driver}; go on with 'foldsmith resume'",
    "killed": "ended process {driver} at once: finished folds are kept, those that ran are lost; "
    "go on with 'foldsmith resume'",
    "done": "process {driver} came to its own end meanwhile",
    "failed": "process {driver} failed meanwhile; see 'foldsmith logs' and 'foldsmith top --failed'",
}
STOPPING = "the search lets its running folds end, then stops; 'foldsmith stop' ends it at once"
OLD_MESSAGES = 5  # that watch shows of those from before it looked
# What is still written once the folder is free again: the last blend of `run`, its tables.
LAST_WORDS_SECONDS = 10.0


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
    from foldsmith.results.obtained import obtained
    from foldsmith.results.top import top_rows

    problem = open_problem(folder)
    if not as_json and not as_csv:
        print_top(problem, n=n, failed=failed)
        return 0
    better, members = problem.metric.greater_is_better, MemberStore(problem.folder)
    rows = top_rows(members, problem.contract, greater_is_better=better, failed=failed)[:n]
    how = [obtained(problem, members.get(row.member)) for row in rows]
    if as_json:
        print_json([{**row.to_json(), "obtained": one.to_json()} for row, one in zip(rows, how, strict=True)])
    else:
        import pandas as pd

        records = [{**row.to_json(), "obtained": one.label} for row, one in zip(rows, how, strict=True)]
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
    from foldsmith.results.obtained import obtained

    problem = open_problem(folder)
    found = MemberStore(problem.folder).get(member)
    if as_json:
        print_json({**found.to_json(), "obtained": obtained(problem, found).to_json()})
    else:
        print_member(problem, found)
    return 0


@click.command(epilog="Example: foldsmith stop")
@click.pass_obj
def stop(folder: Path) -> int:
    """Let running folds end and be stored, then stop; called again, it ends the search at once."""
    from foldsmith.flow.status import stop as stop_driver

    asked: list[int] = []

    def tell(driver: int, again: bool) -> None:
        asked.append(driver)
        if again:
            click.echo(f"process {driver} was asked before: ending it at once", err=True)
        else:
            click.echo(f"process {driver} lets its running folds end; 'foldsmith stop' again ends it at once", err=True)

    try:
        stopped = stop_driver(folder, tell=tell)
    except KeyboardInterrupt:
        if not asked:
            raise
        raise FoldsmithError(f"process {asked[0]} still lets its folds end; nobody waits for it any more") from None
    for one in stopped:
        if one.how in STOPPED:
            click.echo(STOPPED[one.how].format(driver=one.driver))
    if left := [str(one.driver) for one in stopped if one.how not in STOPPED]:
        raise FoldsmithError(f"process {', '.join(left)} still runs; wait, or end it with 'foldsmith stop' again")
    return 0


@click.command(epilog="Example: foldsmith watch")
@click.pass_obj
def watch(folder: Path) -> int:
    """The live display of a search that another process runs, until that ends; Ctrl-C leaves the search alone.

    Exits with 0 when the search came to its end, with 1 when it failed or was killed, with 130 when it was stopped.
    """
    from rich.console import Console

    from foldsmith.cli.progress import Progress
    from foldsmith.cli.tables import print_status
    from foldsmith.flow.heartbeat import beats, ending
    from foldsmith.flow.searched import open_searched
    from foldsmith.flow.status import status as read_status
    from foldsmith.problem.files import read_json

    searched = open_searched(folder)
    problem = searched.problem
    if searched.note:
        click.echo(searched.note, err=True)
    seat, driver = _driver(problem.folder)
    request = read_json(seat.launch).get("request", {}) if seat.launch.exists() else {}
    started, budget_seconds = request.get("started"), request.get("budget_seconds")
    console = Console(stderr=True, highlight=False)
    try:
        with Progress(problem, console, started=started, budget_seconds=budget_seconds) as progress:
            fit = _Onlooker(is_live=console.is_interactive)
            for beat in beats(seat, driver):
                progress.show(fit.view(beat.aged()))
    except KeyboardInterrupt:
        click.echo(f"process {driver} searches on; 'foldsmith stop' would stop it", err=True)
        return 0
    words, code = ENDINGS[ending(seat)]
    click.echo(words)
    print_status(read_status(folder))
    return code


class _Onlooker:
    """What somebody sees who came later, and whose Ctrl-C does not reach the search."""

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self._n_old: int | None = None
        self._stopping_at: int | None = None

    def view(self, snapshot: "Snapshot") -> "Snapshot":
        """The snapshot without old messages; that the search stops is one of the new ones, not a hint on Ctrl-C."""
        if self._n_old is None:
            self._n_old = max(0, len(snapshot.messages) - OLD_MESSAGES)
        messages = snapshot.messages[self._n_old :]
        if snapshot.phase == "stopping" and self._is_live:
            self._stopping_at = len(messages) if self._stopping_at is None else self._stopping_at
            snapshot = replace(snapshot, phase="searching")
        if (place := self._stopping_at) is not None:
            messages = (*messages[:place], STOPPING, *messages[place:])
        return replace(snapshot, messages=messages)


def _driver(folder: "Folder") -> "tuple[Folder, int]":
    """The first process that searches here, and its seat; there must be one."""
    from foldsmith.flow.heartbeat import driven_seats

    seats = driven_seats(folder)
    if not seats:
        raise InputError(f"no search is running in {folder.root}; see 'foldsmith status', or start one")
    return seats[0]


@click.command(epilog="Example: foldsmith logs -f")
@click.argument("name", required=False)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on until the search ends, or Ctrl-C.")
@click.option("-n", "n", type=click.IntRange(0), default=40, show_default=True, help="How many lines.")
@click.option("--worker", type=click.IntRange(0), help="The log of this worker: 0, 1, ….")
@click.option("--list", "is_list", is_flag=True, help="The names of the logs there are.")
@click.pass_obj
def logs(folder: Path, name: str | None, is_followed: bool, n: int, worker: int | None, is_list: bool) -> int:
    """The end of the search's log, or of the log NAME: driver (what libraries print), hooks, fits, worker-0, …."""
    from foldsmith.flow.heartbeat import driven_seats, ending
    from foldsmith.flow.logs import find_log, follow, log_names, tail
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    place = Folder(folder)
    load_config(place.config)
    if name is not None and worker is not None:
        raise InputError(f"--worker {worker} and {name!r} name two logs; give one of them")
    if is_list:
        for known in log_names(place):
            click.echo(known)
        return 0
    path = find_log(place, f"worker-{worker}" if worker is not None else name or "search")
    seats = driven_seats(place)
    text, end = tail(path, n)
    click.echo(text, nl=False)
    if not is_followed:
        return 0
    if not seats:
        click.echo("no search is running", err=True)
        return 0
    seat, driver = seats[0]
    with suppress(KeyboardInterrupt):  # the way to end it
        for more in follow(path, end, _going_on(seat, driver)):
            click.echo(more, nl=False)
        click.echo(ENDINGS[ending(seat)][0], err=True)
    return 0


def _going_on(folder: "Folder", driver: int) -> Callable[[], bool]:
    """Whether a driver may still write to the logs: it searches, or its process has some last words to say."""
    import psutil

    from foldsmith.flow.heartbeat import driver_of

    free_since: list[float] = []

    def goes_on() -> bool:
        if driver_of(folder) == driver:
            return True
        free_since.append(time.monotonic())
        return psutil.pid_exists(driver) and time.monotonic() < free_since[0] + LAST_WORDS_SECONDS

    return goes_on


@click.command(epilog="Example: foldsmith dashboard --port 8080")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="On 127.0.0.1.")
@click.option("--storage", help="Database of the study; as the last search had it by default.")
@click.pass_obj
def dashboard(folder: Path, port: int, storage: str | None) -> int:
    """Serve the Optuna dashboard over the study on 127.0.0.1; it only reads, so a running search is safe."""
    from foldsmith.flow.dashboard import make_dashboard, study_storage
    from foldsmith.problem.contract import open_problem

    problem = open_problem(folder)
    url = storage or study_storage(problem)
    with make_dashboard(problem.folder.journal, port, url) as server:
        click.echo(f"Optuna dashboard: http://127.0.0.1:{port}   (Ctrl-C ends it)", err=True)
        click.echo(f"from another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE", err=True)
        with suppress(KeyboardInterrupt):  # the way to end it
            server.serve_forever()
    return 0
