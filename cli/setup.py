"""``init`` and ``folds``: what a competition is, written down and frozen."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json, column_settings, data_options, seed_option, split_names
from foldsmith.problem.errors import ContractError, InputError

if TYPE_CHECKING:
    from foldsmith.flow.competition import Competition
    from foldsmith.flow.setup import SetupRequest


def setup_request(data: dict[str, Any], seed: int | None) -> "SetupRequest":
    """The command line's words as a request; files, target and test must be there."""
    from foldsmith.flow.setup import SetupRequest
    from foldsmith.problem.labels import split_classes

    for name in ("train", "test", "target"):
        if data.get(name) is None:
            raise InputError(f"--{name} is missing; a new competition needs --train, --test and --target")
    model_seed = 0 if seed is None else seed
    return SetupRequest(
        train=data["train"],
        test=data["test"],
        target=data["target"],
        sample=data.get("sample"),
        id=data.get("id_column"),
        test_id=data.get("test_id"),
        metric=data.get("metric"),
        task=data.get("task"),
        positive=data.get("positive"),
        classes=split_classes(data.get("classes")),
        keep_na=split_names(data.get("keep_na")),
        scheme=data.get("scheme"),
        n_folds=data.get("n_folds"),
        group=data.get("group"),
        time=data.get("time_column"),
        gap=data.get("gap"),
        embargo=data.get("embargo"),
        window=data.get("window"),
        stratify=split_names(data.get("stratify")),
        holdout=data.get("holdout") or 0.0,
        fold_file=data.get("fold_file"),
        split_seed=42 if data.get("split_seed") is None else data["split_seed"],
        model_seed=model_seed,
        sampler_seed=model_seed,
        families=data.get("families", ()),
        extra=tuple(data.get("extra") or ()),
        columns=column_settings(data.get("columns") or ()),
    )


def ensure_set_up(root: Path, data: dict[str, Any], seed: int | None, *, quiet: bool) -> "Competition":
    """Set ``root`` up on the first call; later the given words must agree with what is there."""
    from foldsmith.flow.competition import Competition
    from foldsmith.flow.setup import init as set_up

    if (root / "foldsmith.toml").exists():
        competition = Competition(root)
        _refuse_other_problem(root, data)
        return competition
    made = set_up(root, setup_request(data, seed))
    competition = Competition(root)
    if not quiet:
        from foldsmith.cli.tables import print_setup
        from foldsmith.flow.check import quick_check

        print_setup(made, competition.problem, quick_check(competition.problem))
    return competition


def _refuse_other_problem(root: Path, data: dict[str, Any]) -> None:
    """A folder stays with its files, target, metric and folds; another problem wants another folder."""
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    folder = Folder(root)
    config = load_config(folder.config)
    stored, split = config.data, config.split
    files: dict[str, tuple[Path | None, str | None]] = {
        "train": (data.get("train"), stored.train),
        "test": (data.get("test"), stored.test),
        "sample": (data.get("sample"), stored.sample),
        "fold-file": (data.get("fold_file"), split.file),
    }
    for option, (given, now) in files.items():
        if given is not None and (now is None or given.resolve() != folder.resolve(now).resolve()):
            raise _other_problem(root, option, given, now)
    extra = tuple(path.resolve() for path in data.get("extra") or ())
    if extra and extra != tuple(folder.resolve(name).resolve() for name in stored.extra):
        raise _other_problem(root, "extra", " ".join(map(str, extra)), " ".join(stored.extra) or None)
    for name, setting in column_settings(data.get("columns") or ()).items():
        if setting != config.columns.get(name):
            raise _other_problem(root, "column", f"{name}={setting}", config.columns.get(name))
    values: dict[str, tuple[object, object]] = {
        "target": (data.get("target"), stored.target[0]),
        "id": (data.get("id_column"), stored.id if data.get("id_column") != stored.test_id else stored.test_id),
        "test-id": (data.get("test_id"), stored.test_id),
        "classes": (_classes(data), None if config.problem.classes is None else list(config.problem.classes)),
        "keep-na": (_kept(data, stored.keep_na), stored.keep_na),
        "positive": (data.get("positive"), stored.positive),
        "task": (data.get("task"), config.problem.task),
        "metric": (
            _canonical_metric(folder.code, data.get("metric")),
            _canonical_metric(folder.code, config.problem.metric),
        ),
        "scheme": (data.get("scheme"), split.scheme),
        "folds": (data.get("n_folds"), split.n_folds),
        "group": (data.get("group"), split.group),
        "time": (data.get("time_column"), split.time),
        **{
            name: (data.get(name), None if (now := getattr(split, name)) is None else str(now))
            for name in ("gap", "embargo", "window")
        },
        "stratify": (split_names(data["stratify"]) if data.get("stratify") else None, split.stratify),
        "holdout": (data.get("holdout"), split.holdout),
        "split-seed": (data.get("split_seed"), split.seed),
    }
    for option, (wanted, has) in values.items():
        if wanted is not None and wanted != has:
            raise _other_problem(root, option, wanted, has)


def _kept(data: dict[str, Any], stored: tuple[str, ...]) -> tuple[str, ...] | None:
    """The columns that are to keep their NA; None where they do: others may have been found to."""
    given = split_names(data.get("keep_na"))
    return None if set(given) <= set(stored) else given


def _classes(data: dict[str, Any]) -> list[str] | None:
    from foldsmith.problem.labels import split_classes

    return list(split_classes(data.get("classes"))) or None


def _other_problem(root: Path, option: str, given: object, now: object) -> ContractError:
    has = "without" if now is None else f"with --{option} {now}, not"
    return ContractError(f"{root} is set up {has} --{option} {given}; use another --out, or edit the toml")


def _canonical_metric(code: Path, name: str | None) -> str | None:
    from foldsmith.problem.metrics import get_metric

    return None if name is None else get_metric(name, code).name


@click.command(epilog="Example: foldsmith init titanic --train train.csv --test test.csv --target Survived")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@data_options
@seed_option
@click.pass_obj
def init(folder: Path, /, directory: Path | None, seed: int | None, **data: Any) -> int:
    """Read the tables, infer task, columns and metric, write DIRECTORY/foldsmith.toml."""
    from foldsmith.cli.tables import print_setup
    from foldsmith.flow.setup import init as set_up

    print_setup(set_up(directory or folder, setup_request(data, seed)), None)
    return 0


@click.group(epilog="Example: foldsmith folds make")
def folds() -> None:
    """Propose, make, import or show the fold plan."""


@folds.command(epilog="Example: foldsmith folds make")
@click.pass_obj
def make(folder: Path) -> int:
    """Freeze the fold plan that foldsmith.toml asks for; refused when one is frozen already."""
    from foldsmith.problem.config import load_config
    from foldsmith.problem.contract import freeze_plan
    from foldsmith.problem.dataset import open_dataset
    from foldsmith.problem.floors import missing_class_remarks
    from foldsmith.problem.folder import Folder

    place = Folder(folder)
    config = load_config(place.config)
    data = open_dataset(place, config)
    plan = freeze_plan(place, config, data)
    click.echo(f"{plan.n_folds} {plan.scheme} folds, frozen as {plan.hash}")
    for remark in missing_class_remarks(plan, data.y, data.target):
        click.echo(f"note: {remark}", err=True)
    return 0


@folds.command(epilog="Example: foldsmith folds propose --yes")
@click.option("--yes", is_flag=True, help="Write the proposal into foldsmith.toml without asking.")
@as_json
@click.pass_obj
def propose(folder: Path, yes: bool, as_json: bool) -> int:
    """Say which scheme the data calls for and why; written into foldsmith.toml if you agree."""
    from foldsmith.cli.tables import print_proposal
    from foldsmith.flow.propose import accept, propose_folds

    proposal = propose_folds(folder)
    if as_json:
        print_json(proposal.to_json())
    else:
        print_proposal(proposal)
    if not proposal.changes or proposal.is_frozen:
        return 0
    asks = not yes and not as_json and sys.stdin.isatty()
    if yes or (asks and click.confirm("write this into foldsmith.toml?")):
        accept(folder, proposal)
        if not as_json:
            click.echo("written; 'foldsmith folds make' or a search freezes it")
    return 0


@folds.command("import", epilog="Example: foldsmith folds import folds.csv")
@click.argument("file", type=PATH)
@click.pass_obj
def import_(folder: Path, file: Path) -> int:
    """Use the folds of FILE (a column 'fold', and the id): csv, parquet; refused when folds are frozen already."""
    from foldsmith.flow.propose import import_folds

    plan = import_folds(folder, file)
    click.echo(f"{plan.n_folds} imported folds, frozen as {plan.hash}")
    return 0


@folds.command(epilog="Example: foldsmith folds show")
@as_json
@click.pass_obj
def show(folder: Path, as_json: bool) -> int:
    """Rows, and class shares or target mean, of each fold."""
    from foldsmith.cli.tables import print_folds
    from foldsmith.problem.contract import open_problem
    from foldsmith.problem.folds import describe

    problem = open_problem(folder)
    target = problem.data.target
    facts = describe(problem.plan, problem.data.y, target.task, classes=target.classes)
    print_json(facts) if as_json else print_folds(facts)
    return 0
