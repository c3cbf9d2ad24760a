"""Options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from foldsmith.problem.errors import InputError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PATH = click.Path(path_type=Path)


def stack(*decorators: Decorator) -> Decorator:
    """Apply several decorators, the first one outermost."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of models and samplers; 0 by default."
)
detach_option = click.option(
    "--detach", is_flag=True, help="Search on in the background, also when this terminal is closed."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

data_options = stack(
    click.option("--train", type=PATH, help="Training table: csv, csv.gz or parquet."),
    click.option("--test", type=PATH, help="Test table."),
    click.option("--extra", type=PATH, multiple=True, help="More rows with the target, which only train; repeatable."),
    click.option("--sample", type=PATH, help="Sample submission."),
    click.option("--target", help="Column to predict."),
    click.option("--id", "id_column", help="Id column; inferred from the sample or by name."),
    click.option("--test-id", help="Its name in the test table, where that is another one."),
    click.option("--column", "columns", multiple=True, help="A column's kind, NAME=KIND[:READING]; repeatable."),
    click.option("--metric", help="Metric, or module:function from code/."),
    click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="Inferred by default."),
    click.option("--positive", help="Label whose chance is predicted; the one that says yes, else the greater one."),
    click.option("--classes", help="All labels in order, from the lowest to the highest: low,mid,high."),
    click.option("--keep-na", help="Columns in which the text NA is a value and no hole, separated by commas."),
    click.option(
        "--scheme",
        type=click.Choice(
            [
                "stratified",
                "plain",
                "group",
                "stratified_group",
                "leave_one_group_out",
                "time",
                "purged",
                "imported",
            ]
        ),
        help="How rows become folds; stratified unless a group, a time or a file is given.",
    ),
    click.option(
        "--folds", "n_folds", type=click.IntRange(2), help="Number of folds; 8, 5 or 3 by the number of rows."
    ),
    click.option("--group", help="Column whose values must not be split over folds."),
    click.option("--time", "time_column", help="Column that orders the rows in time."),
    click.option("--gap", help="Gap before a validation block: rows, or a duration such as 7d."),
    click.option("--window", help="How much before the gap is trained on, for time; everything by default."),
    click.option("--embargo", help="Gap after a validation block, for purged; the gap by default."),
    click.option("--stratify", help="Further columns to spread evenly over the folds, separated by commas."),
    click.option("--holdout", type=click.FloatRange(0, 0.5), help="Share of rows that no search, blend or rule sees."),
    click.option("--fold-file", type=PATH, help="Your own folds: a table with a column 'fold' (and the id)."),
    click.option("--split-seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the folds; 42 by default."),
)

search_options = stack(
    click.option("--time-budget", help="Wall time of this call, from start to exit: 90s, 10m, 1h30m."),
    click.option("--until", help="When to end: 07:30 (the next such local time), 23:30Z, 2026-11-23T07:30."),
    click.option("--trials", type=click.IntRange(1), help="Total trials over the families and over all calls."),
    click.option("--workers", type=click.IntRange(1), help="CPU folds side by side; one per core by default."),
    click.option("--gpus", help="Devices to use, such as 0,1, or none; all by default."),
    click.option("--per-gpu", help="Folds that share a GPU, by family: xgboost=2,mlp=1; 0 keeps it on the CPU."),
    click.option("--ram-limit", help="Memory for all folds together: 12G, or 80% of what is free (the default)."),
    click.option("--fold-timeout", help="A fold that takes longer is ended; far more than usual by default."),
    click.option(
        "--pruner",
        type=click.Choice(["auto", "none", "halving", "median", "hyperband", "wilcoxon"]),
        help="Who ends trials after a few folds; halving, with auto on big data, gives all folds to the best third.",
    ),
    click.option(
        "--policy",
        type=click.Choice(["auto", "round-robin", "equal-time", "best-single", "ensemble-gain"]),
        help="Which family gets the next trial; with a time budget, the one that the ensemble gains most from.",
    ),
    click.option(
        "--executor",
        type=click.Choice(["auto", "ray", "local", "inline", "tune"]),
        help="Where folds run; auto by default.",
    ),
    click.option("--address", help="Join a Ray cluster: auto, or host:6379."),
    click.option("--storage", help="PostgreSQL for several drivers on one study: postgresql://user@host/db."),
    seed_option,
)


def column_settings(words: Sequence[str]) -> dict[str, str]:
    """``["price=numeric:decimal-comma"]`` to kinds by column.

    Raises:
        InputError: a word without ``=``, or an unknown kind or reading.
    """
    from foldsmith.problem.settings import parse_setting

    settings = {}
    for word in words:
        name, equals, setting = word.rpartition("=")
        if not equals:
            raise InputError(f"--column {word!r} names no kind; write NAME=KIND, such as price=numeric")
        parse_setting(name, setting)
        settings[name] = setting
    return settings


def split_names(text: str | None) -> tuple[str, ...]:
    """``"lightgbm,mlp"`` to names."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
