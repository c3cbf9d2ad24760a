"""``run``, ``demo``, ``search`` and ``resume``: what takes time."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import as_json, data_options, search_options, split_names

if TYPE_CHECKING:
    from foldsmith.flow.competition import Competition, RunResult
    from foldsmith.flow.search import SearchReport, SearchRequest


def process_start() -> float:
    """When this command began, imports included: the time budget counts from here."""
    import psutil

    return float(psutil.Process().create_time())


def _request(
    verb: Any,
    families: tuple[str, ...],
    time_budget: str | None,
    trials: int | None,
    workers: int | None,
    executor: Any,
    seed: int | None,
) -> "SearchRequest":
    from foldsmith.flow.durations import parse_duration
    from foldsmith.flow.search import SearchRequest

    budget = None if time_budget is None else parse_duration(time_budget)
    return SearchRequest(families, trials, budget, workers or 0, executor, seed, seed, process_start(), verb)


@click.command(
    epilog="Example: foldsmith run --train train.csv --test test.csv --target y --time-budget 10m --out comp"
)
@data_options
@click.option("--families", help="Comma-separated; all by default.")
@search_options
@click.option("--out", type=click.Path(path_type=Path), help="The competition folder; this one, or -C.")
@as_json
@click.pass_context
def run(
    ctx: click.Context,
    /,
    families: str | None,
    time_budget: str | None,
    trials: int | None,
    workers: int | None,
    executor: str | None,
    seed: int | None,
    out: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """From csv files to an ensembled submission.

    Sets the folder up the first time; called again, it goes on where it was.
    """
    from foldsmith.cli.setup import ensure_set_up

    budget = time_budget if time_budget or trials else "10m"
    names = split_names(families)
    request = _request("run", names, budget, trials, workers, executor, seed)
    competition = ensure_set_up(out or ctx.obj, {**data, "families": names}, seed, quiet=as_json)
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

    request = _request("run", (), time_budget, None, workers, None, None)
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
@click.pass_obj
def search(
    folder: Path,
    families: tuple[str, ...],
    time_budget: str | None,
    trials: int | None,
    workers: int | None,
    executor: str | None,
    seed: int | None,
) -> int:
    """Search FAMILIES (all that fit by default); extends what is there.

    Freezes the proposed fold plan when there is none yet.
    """
    from foldsmith.flow.competition import open_competition

    request = _request("search", families, time_budget, trials, workers, executor, seed)
    return _search_and_tell(open_competition(folder), request)


@click.command(epilog="Example: foldsmith resume")
@as_json
@click.pass_obj
def resume(folder: Path, as_json: bool) -> int:
    """Go on with the last run or search: same families, trials and seeds, and the time that it had left."""
    from dataclasses import replace

    from foldsmith.flow.competition import open_competition
    from foldsmith.flow.search import last_request

    competition = open_competition(folder)
    request = replace(last_request(competition.problem), started=time.time())
    if request.verb == "run":
        return _run_and_tell(competition, request, as_json=as_json)
    return _search_and_tell(competition, request, as_json=as_json)


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


def _search(competition: "Competition", request: "SearchRequest") -> "SearchReport":
    from foldsmith.cli.progress import Progress

    problem = competition.problem
    with Progress(problem, started=request.started, budget_seconds=request.budget_seconds) as progress:
        from foldsmith.flow.search import search as run_search  # Optuna takes a second: the clock runs already

        report = run_search(problem, request, progress.show)
    for family, reason in report.skipped.items():
        click.echo(f"{family} took no part: {reason}", err=True)
    if report.warning:
        click.echo(f"warning: {report.warning}", err=True)
    return report
