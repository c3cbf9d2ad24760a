"""``run``, ``demo``, ``search`` and ``resume``: what takes time."""

import shlex
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json, data_options, detach_option, search_options, split_names

if TYPE_CHECKING:
    from foldsmith.flow.competition import Competition, RunResult
    from foldsmith.flow.launch import SearchRequest
    from foldsmith.flow.search import SearchReport
    from foldsmith.search.snapshot import Snapshot


def process_start() -> float:
    """When this command began, imports included: the time budget counts from here."""
    import psutil

    return float(psutil.Process().create_time())


def _request(verb: Any, families: tuple[str, ...], given_at: float, options: Mapping[str, Any]) -> "SearchRequest":
    """What a command asks of a search.

    Args:
        given_at: when the command was given; what ``--until 07:30`` counts from.
        options: those of ``search_options`` that the command has.
    """
    from foldsmith.flow.durations import parse_duration, parse_until
    from foldsmith.flow.launch import SearchRequest, within

    budget, until = options.get("time_budget"), options.get("until")
    seconds = None if budget is None else parse_duration(budget)
    end = None if until is None else parse_until(until, given_at)
    started, seed = process_start(), options.get("seed")
    return SearchRequest(
        families,
        options.get("trials"),
        within(end, seconds, started),
        options.get("workers") or 0,
        options.get("executor"),
        seed,
        seed,
        started,
        verb,
        until=end,
        **_rig(options),
    )


def _rig(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of the machine, in the words of a request."""
    from foldsmith.flow.durations import parse_duration
    from foldsmith.search.slots import parse_per_gpu

    gpus, per_gpu, timeout = options.get("gpus"), options.get("per_gpu"), options.get("fold_timeout")
    return {
        "gpus": None if gpus is None else () if gpus == "none" else split_names(gpus),
        "per_gpu": None if per_gpu is None else parse_per_gpu(per_gpu),
        "fold_seconds": None if timeout is None else parse_duration(timeout),
        **{name: options.get(name) for name in ("ram_limit", "address", "storage", "policy", "pruner")},
    }


def _take_mark() -> tuple[bool, float]:
    """Whether this process is the detached one of a command, and when that command was given."""
    from foldsmith.flow.detach import take_mark

    mark = take_mark()
    return mark is not None, time.time() if mark is None else mark


@click.command(
    epilog="Example: foldsmith run --train train.csv --test test.csv --target y --time-budget 10m --out comp"
)
@data_options
@click.option("--families", help="Comma-separated; all by default.")
@search_options
@detach_option
@click.option("--out", type=click.Path(path_type=Path), help="The competition folder; this one, or -C.")
@as_json
@click.pass_context
def run(
    ctx: click.Context, /, families: str | None, detach: bool, out: Path | None, as_json: bool, **words: Any
) -> int:
    """From csv files to an ensembled submission.

    Sets the folder up the first time; called again, it goes on where it was.
    """
    from foldsmith.cli.setup import ensure_set_up

    is_detached, given_at = _take_mark()
    if not (words["time_budget"] or words["until"] or words["trials"]):
        words["time_budget"] = "10m"
    names = split_names(families)
    request = _request("run", names, given_at, words)
    competition = ensure_set_up(out or ctx.obj, {**words, "families": names}, words["seed"], quiet=as_json)
    if detach and not is_detached:
        return _detach(ctx, competition, request, given_at, as_json=as_json)
    return _run_and_tell(competition, request, as_json=as_json)


@click.command(epilog="Example: foldsmith demo --time-budget 1m")
@click.option(
    "--data", "name", default="breast_cancer", show_default=True, help="breast_cancer, digits, diabetes, wine."
)
@click.option("--time-budget", default="60s", show_default=True, help="Wall time.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder.")
@click.option("--workers", type=click.IntRange(1), help="Folds that run side by side; all cores by default.")
@as_json
def demo(name: str, time_budget: str, out: Path, workers: int | None, as_json: bool) -> int:
    """Run on real data that ships with scikit-learn, then compare the score with the held-out test."""
    from foldsmith.cli.setup import ensure_set_up
    from foldsmith.flow.demo import DEMO_SETS, make_demo, score_demo

    request = _request("run", (), time.time(), {"time_budget": time_budget, "workers": workers})
    files = make_demo(out / "data", name)
    if not as_json:
        click.echo(f"{DEMO_SETS[name].about}; 30 % of the rows are the held-out test\n", err=True)
    data = {"train": files.train, "test": files.test, "sample": files.sample, "target": files.target}
    competition = ensure_set_up(out / name, {**data, "id_column": "id", "metric": files.metric}, None, quiet=as_json)
    code, result = _run(competition, request, quiet=as_json)
    if result is None:
        return code
    score = score_demo(files, result.submission)
    if as_json:
        print_json({**result.to_json(), "test_score": score})
    else:
        from foldsmith.cli.tables import print_run

        promised = (
            f"nested score, before the test was seen: {result.blend.nested_score:.4f}" if result.blend else "baseline"
        )
        held_out = f"{files.metric} {score:.4f}   ({promised})"
        print_run(competition, result, request.budget_seconds, held_out=held_out)
    return code


@click.command(epilog="Example: foldsmith search lightgbm xgboost --trials 40")
@click.argument("families", nargs=-1)
@search_options
@detach_option
@click.pass_context
def search(ctx: click.Context, /, families: tuple[str, ...], detach: bool, **words: Any) -> int:
    """Search FAMILIES (all that fit by default); extends what is there.

    Freezes the proposed fold plan when there is none yet.
    """
    from foldsmith.flow.competition import open_competition

    is_detached, given_at = _take_mark()
    request = _request("search", families, given_at, words)
    competition = open_competition(ctx.obj)
    if detach and not is_detached:
        return _detach(ctx, competition, request, given_at)
    return _search_and_tell(competition, request)


@click.command(epilog="Example: foldsmith resume")
@detach_option
@as_json
@click.pass_context
def resume(ctx: click.Context, /, detach: bool, as_json: bool) -> int:
    """Go on with the last run or search: same families, trials and seeds, and the time that it had left."""
    from dataclasses import replace

    from foldsmith.flow.competition import open_competition
    from foldsmith.flow.launch import last_request

    is_detached, given_at = _take_mark()
    competition = open_competition(ctx.obj)
    request = replace(last_request(competition.problem), started=time.time())
    if detach and not is_detached:
        return _detach(ctx, competition, request, given_at, as_json=as_json)
    if request.verb == "run":
        return _run_and_tell(competition, request, as_json=as_json)
    return _search_and_tell(competition, request, as_json=as_json)


def _detach(
    ctx: click.Context,
    competition: "Competition",
    request: "SearchRequest",
    given_at: float,
    *,
    as_json: bool = False,
) -> int:
    """Give the same command to a process of its own; what is wrong with it is said here."""
    from foldsmith.cli.main import ARGUMENTS
    from foldsmith.flow.detach import detach
    from foldsmith.flow.search import check

    check(competition.problem, request)
    begun = detach(competition.root, ctx.meta[ARGUMENTS], given_at)
    if begun.code is not None:  # it failed, or there was little to do
        click.echo(begun.output, nl=False, err=begun.code != 0)
        return begun.code
    if as_json:
        print_json({"pid": begun.pid, "log": str(begun.log.resolve())})
        return 0
    place = shlex.quote(str(competition.root.resolve()))
    click.echo(f"process {begun.pid} searches by itself; this terminal may be closed\n")
    for command, why in (
        ("watch", "the live display"),
        ("logs -f", "what it writes"),
        ("stop", "let running folds end, then stop"),
    ):
        click.echo(f"  foldsmith -C {place} {command:<8} {why}")
    return 0


def _run_and_tell(competition: "Competition", request: "SearchRequest", *, as_json: bool) -> int:
    code, result = _run(competition, request, quiet=as_json)
    if result is not None and as_json:
        print_json(result.to_json())
    elif result is not None:
        from foldsmith.cli.tables import print_run

        print_run(competition, result, request.budget_seconds)
    return code


def _run(competition: "Competition", request: "SearchRequest", *, quiet: bool) -> "tuple[int, RunResult | None]":
    """Search with a progress display, then blend and submit unless somebody stopped it."""
    report = _search(competition, request)
    if report.ended == "interrupted":
        click.echo("interrupted; finished folds are saved, go on with 'foldsmith resume'", err=True)
        return 130, None
    return 0, competition.conclude(request, report)


def _search_and_tell(competition: "Competition", request: "SearchRequest", *, as_json: bool = False) -> int:
    from foldsmith.cli.tables import print_done, print_top

    report = _search(competition, request)
    if as_json:
        print_json({"ended": report.ended, "skipped": report.skipped})
    else:
        print_done(competition, time.time() - request.started, request.budget_seconds)
        print_top(competition.problem, n=10)
    return 130 if report.ended == "interrupted" else 0


def _tell_of_changes(competition: "Competition") -> None:
    """A changed train file begins a new contract, a changed test file is predicted anew; both are said."""
    from foldsmith.flow.versions import extra_remarks, train_change

    if change := train_change(competition.root):
        click.echo(change, err=True)
    competition.refresh(partial(click.echo, err=True))
    for remark in extra_remarks(competition.problem):
        click.echo(f"note: {remark}", err=True)


def _search(competition: "Competition", request: "SearchRequest") -> "SearchReport":
    from foldsmith.cli.main import ARGUMENTS
    from foldsmith.cli.progress import Progress
    from foldsmith.cli.record import SearchLog
    from foldsmith.flow.detach import Terminal
    from foldsmith.problem.decoration import Decorations

    _tell_of_changes(competition)
    problem = competition.problem
    arguments = click.get_current_context().meta[ARGUMENTS]
    with (
        SearchLog(problem, arguments) as log,
        Progress(problem, started=request.started, budget_seconds=request.budget_seconds) as progress,
    ):
        from foldsmith.flow.search import search as run_search  # Optuna takes a second: the clock runs already

        terminal = Terminal()
        guard = Decorations()

        def show(snapshot: "Snapshot") -> None:
            with guard("the search's log"):
                log.show(snapshot)
            try:
                progress.show(snapshot)
            except OSError:  # the terminal is gone: no reason to end the search
                terminal.let_go()

        report = run_search(problem, request, show)
        log.note(f"ended: {report.ended.replace('_', ' ')}")
    for family, reason in report.skipped.items():
        click.echo(f"{family} took no part: {reason}", err=True)
    if report.warning:
        click.echo(f"warning: {report.warning}", err=True)
    return report
