"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

data_options = stack(
    click.option("--train", type=PATH, help="Training table: csv, csv.gz or parquet."),
    click.option("--test", type=PATH, help="Test table."),
    click.option("--sample", type=PATH, help="Sample submission."),
    click.option("--target", help="Column to predict."),
    click.option("--id", "id_column", help="Id column; inferred from the sample or by name."),
    click.option("--metric", help="Metric, or module:function from code/."),
    click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="Inferred by default."),
    click.option("--positive", help="Label whose chance is predicted; the greater one by default."),
    click.option(
        "--scheme",
        type=click.Choice(["stratified", "plain", "group", "stratified_group", "time", "imported"]),
        help="How rows become folds; stratified unless a group, a time or a file is given.",
    ),
    click.option("--folds", "n_folds", type=click.IntRange(2), help="Number of folds; 5 by default."),
    click.option("--group", help="Column whose values must not be split over folds."),
    click.option("--time", "time_column", help="Column that orders the rows in time."),
    click.option("--gap", help="Gap before a validation block: rows, or a duration such as 7d."),
    click.option("--fold-file", type=PATH, help="Your own folds: a table with a column 'fold' (and the id)."),
    click.option("--split-seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the folds; 42 by default."),
)

search_options = stack(
    click.option("--time-budget", help="Wall time of this call, from start to exit: 90s, 10m, 1h30m."),
    click.option("--trials", type=click.IntRange(1), help="Total trials over the families and over all calls."),
    click.option("--workers", type=click.IntRange(1), help="Folds that run side by side; all cores by default."),
    click.option(
        "--executor", type=click.Choice(["auto", "ray", "local", "inline"]), help="Where folds run; auto by default."
    ),
    seed_option,
)


def split_names(text: str | None) -> tuple[str, ...]:
    """``"lightgbm,mlp"`` to names."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
