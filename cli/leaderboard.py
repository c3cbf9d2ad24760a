"""``lb``, ``shake`` and ``finals``: the leaderboard, its luck, and the two submissions to select."""

from pathlib import Path

import click

from foldsmith.cli.json_output import print_json
from foldsmith.cli.options import PATH, as_json, split_names
from foldsmith.problem.errors import InputError

public_share = click.option(
    "--public-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of the test rows; 0.3, or as in foldsmith.toml.",
)


@click.group(epilog="Example: foldsmith lb log 0003 --public 0.8412")
def lb() -> None:
    """Keep the ledger of submissions, and see what the leaderboard says of the validation."""


@lb.command(epilog="Example: foldsmith lb log 0003 --public 0.8412 --note 'seeds averaged'")
@click.argument("which")
@click.option("--public", type=float, help="Score on the public leaderboard.")
@click.option("--private", type=float, help="Score on the private leaderboard, once it is known.")
@click.option("--cv", type=float, help="Validation score of a file that was made elsewhere.")
@click.option("--note", help="A note for people.")
@click.option("--rejected", is_flag=True, help="The server refused the file: no slot of the day is used.")
@click.option("--at", help="When it was submitted, e.g. 2026-11-26T14:05Z; now by default.")
@as_json
@click.pass_obj
def log(
    folder: Path,
    which: str,
    public: float | None,
    private: float | None,
    cv: float | None,
    note: str | None,
    rejected: bool,
    at: str | None,
    as_json: bool,
) -> int:
    """Write down a score of WHICH: a submission's file or number, or a member (its newest submission)."""
    from foldsmith.cli.leaderboard_tables import print_entry
    from foldsmith.flow.leaderboard import log_score
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    place = Folder(folder)
    load_config(place.config)
    entry = log_score(
        place, which, public=public, private=private, cv=cv, note=note, rejected=rejected, submitted=True, at=at
    )
    print_json(entry.to_json()) if as_json else print_entry(entry)
    return 0


@lb.command(epilog="Example: foldsmith lb show")
@public_share
@as_json
@click.pass_obj
def show(folder: Path, public_share: float | None, as_json: bool) -> int:
    """The ledger: robust line of public score by validation, residuals against the luck of the public rows."""
    from foldsmith.cli.leaderboard_tables import print_standing
    from foldsmith.flow.competition import open_competition

    standing = open_competition(folder).leaderboard(public_share)
    print_json(standing.to_json()) if as_json else print_standing(standing)
    return 0


@lb.command(epilog="Example: foldsmith lb budget --per-day 10")
@click.option("--per-day", type=click.IntRange(1), help="Submissions a day; 5, or as in foldsmith.toml.")
@as_json
@click.pass_obj
def budget(folder: Path, per_day: int | None, as_json: bool) -> int:
    """Submissions that are left today; days change at midnight UTC."""
    from foldsmith.cli.leaderboard_tables import print_budget
    from foldsmith.flow.leaderboard import submission_budget
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    place = Folder(folder)
    found = submission_budget(place, load_config(place.config).leaderboard, per_day)
    if as_json:
        print_json({**vars(found), "resets_in": found.resets_in.total_seconds()})
    else:
        print_budget(found)
    return 0


@lb.command(epilog="Example: foldsmith lb submit 0003 --message 'auto blend'")
@click.argument("which")
@click.option("--message", default="", help="For the platform; the file's name by default.")
@click.option("--competition", help="Its name on Kaggle; [leaderboard] kaggle by default.")
@click.pass_obj
def submit(folder: Path, which: str, message: str, competition: str | None) -> int:
    """Send WHICH by the kaggle tool, if it is installed, and note it."""
    from foldsmith.cli.leaderboard_tables import print_entry
    from foldsmith.flow.kaggle import submit_file
    from foldsmith.problem.folder import Folder
    from foldsmith.results.ledger import read_ledger

    place = Folder(folder)
    name = _competition(folder, competition)
    entry = read_ledger(place).find(which)
    path = Path(which) if entry is None else place.submissions / entry.file
    print_entry(submit_file(place, name, path, message or path.name))
    return 0


@lb.command(epilog="Example: foldsmith lb poll")
@click.option("--competition", help="Its name on Kaggle; [leaderboard] kaggle by default.")
@click.pass_obj
def poll(folder: Path, competition: str | None) -> int:
    """Take scores from Kaggle into the ledger by the kaggle tool, if it is installed."""
    from foldsmith.cli.leaderboard_tables import print_entry
    from foldsmith.flow.kaggle import poll_scores
    from foldsmith.problem.folder import Folder

    changed = poll_scores(Folder(folder), _competition(folder, competition))
    for entry in changed:
        print_entry(entry)
    if not changed:
        click.echo("nothing new")
    return 0


@lb.command(epilog="Example: foldsmith lb download --competition titanic --to data")
@click.option("--competition", help="Its name on Kaggle; [leaderboard] kaggle by default.")
@click.option("--to", type=PATH, default=Path("."), help="Folder for the files; this one.")
@click.pass_obj
def download(folder: Path, competition: str | None, to: Path) -> int:
    """Download a competition's files by the kaggle tool, if it is installed."""
    from foldsmith.flow.kaggle import download_data

    click.echo(download_data(competition or _competition(folder, None), to).strip())
    return 0


def _competition(folder: Path, given: str | None) -> str:
    from foldsmith.problem.config import load_config
    from foldsmith.problem.folder import Folder

    name = given or load_config(Folder(folder).config).leaderboard.kaggle
    if name is None:
        raise InputError('which competition on Kaggle? give --competition NAME, or kaggle = "NAME" in [leaderboard]')
    return name


@click.command(epilog="Example: foldsmith shake --from b01,b02,lgb-0012 --public-share 0.2")
@click.option("--from", "source", help="Members and blends, ids separated by commas; the best ones by default.")
@public_share
@as_json
@click.pass_obj
def shake(folder: Path, source: str | None, public_share: float | None, as_json: bool) -> int:
    """What the luck of public and private rows may do to the order of the candidates."""
    from foldsmith.cli.leaderboard_tables import print_shake
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).shake(split_names(source) if source else None, public_share)
    print_json(found.to_json()) if as_json else print_shake(found)
    return 0


@click.command(epilog="Example: foldsmith finals")
@public_share
@as_json
@click.pass_obj
def finals(folder: Path, public_share: float | None, as_json: bool) -> int:
    """Name the two submissions to select; afterwards, what each way of selecting was worth."""
    from foldsmith.cli.leaderboard_tables import print_finals
    from foldsmith.flow.competition import open_competition

    found = open_competition(folder).finals(public_share)
    print_json(found.to_json()) if as_json else print_finals(found)
    return 0
