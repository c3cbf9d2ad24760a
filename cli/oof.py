"""``oof``: foreign predictions in, banks of predictions out."""

from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json, split_names
from foldsmith.problem.errors import InputError


@click.group(epilog="Example: foldsmith oof import anna --oof anna_oof.csv --test anna_test.csv --claimed 0.8712")
def oof() -> None:
    """Import predictions that were made elsewhere, and export those made here."""


@oof.command("import", epilog="Example: foldsmith oof import anna --oof anna_oof.csv --test anna_test.csv")
@click.argument("name", required=False)
@click.option(
    "--oof", "oof_file", type=PATH, help="Out-of-fold predictions: csv, parquet or npy; or 'preds/oof_*.npy'."
)
@click.option("--test", "test_file", type=PATH, help="Test predictions; without them the member is for analysis only.")
@click.option("--folds", type=PATH, help="The folds they were made under, one per row of train: csv, parquet or npy.")
@click.option("--claimed", type=float, help="The score they are said to have; shown beside the recomputed one.")
@click.option("--columns", help="Columns to read, in the order of the classes; npy columns are 0,1,2.")
@click.option("--bank", type=PATH, help="A folder that 'foldsmith oof export' wrote: imports all its members.")
@as_json
@click.pass_obj
def import_(
    folder: Path,
    name: str | None,
    oof_file: Path | None,
    test_file: Path | None,
    folds: Path | None,
    claimed: float | None,
    columns: str | None,
    bank: Path | None,
    as_json: bool,
) -> int:
    """Check predictions, score them here and keep them as the member ext-NAME.

    Rows are matched by the id column where the files have it, else by order. A pattern with one * imports many files;
    with --bank or a pattern, NAME goes before the members' own names.
    """
    from foldsmith.cli.tables import print_external
    from foldsmith.flow.oof import OofSource, import_oof
    from foldsmith.flow.oof_bank import import_bank
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.external import external_row

    problem = open_problem(folder)
    if oof_file is not None and bank is None:
        source = OofSource(name or "", oof_file, test_file, folds, claimed, split_names(columns))
        members = import_oof(problem, [source])
    elif bank is not None and (oof_file, test_file, folds, claimed, columns) == (None,) * 5:
        members = import_bank(problem, bank, name or "")
    else:
        raise InputError("give --oof FILE, or --bank FOLDER, which knows its test predictions, folds and scores, alone")
    rows = [external_row(member, problem.data.test_fingerprint) for member in members]
    if as_json:
        print_json({"members": [row.to_json() for row in rows]})
    else:
        print_external(rows)
    return 0


@oof.command(epilog="Example: foldsmith oof export bank lgb-0003 xgb-0001")
@click.argument("directory", type=PATH)
@click.argument("members", nargs=-1)
@click.option("--with-target", is_flag=True, help="Also write the labels, as y.npy.")
@as_json
@click.pass_obj
def export(folder: Path, directory: Path, members: tuple[str, ...], with_target: bool, as_json: bool) -> int:
    """Write predictions of MEMBERS (all complete ones by default) with ids and folds into the new folder DIRECTORY."""
    from foldsmith.flow.oof_bank import export_bank
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore

    problem = open_problem(folder)
    written = export_bank(problem, MemberStore(problem.folder), directory, members, with_target=with_target)
    if as_json:
        print_json({"folder": str(directory), "members": [member.id for member in written]})
    else:
        click.echo(f"{len(written)} member{'' if len(written) == 1 else 's'} in {directory}")
    return 0


@oof.command("list", epilog="Example: foldsmith oof list")
@as_json
@click.pass_obj
def list_(folder: Path, as_json: bool) -> int:
    """Imported members: recomputed and claimed score, folds, rows, test prediction."""
    from foldsmith.cli.tables import print_external
    from foldsmith.flow.oof import external_rows
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.results.obtained import obtained

    problem = open_problem(folder)
    rows = external_rows(problem, MemberStore(problem.folder))
    if as_json:
        members = MemberStore(problem.folder)
        how = [obtained(problem, members.get(row.member)).to_json() for row in rows]
        print_json({"members": [{**row.to_json(), "obtained": one} for row, one in zip(rows, how, strict=True)]})
    elif rows:
        print_external(rows)
    else:
        click.echo("no imported members yet; see 'foldsmith oof import --help'")
    return 0
