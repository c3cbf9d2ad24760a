"""A bridge to the ``kaggle`` command line tool where it is installed; nothing here is ever needed."""

import csv
import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.ledger import (
    Entry,
    Ledger,
    format_utc,
    new_entry,
    parse_utc,
    read_ledger,
    update_ledger,
    utc_now,
)

SECONDS = 600.0


def download_data(competition: str, folder: Path) -> str:
    """Download a competition's files into a folder; returns what the tool said."""
    folder.mkdir(parents=True, exist_ok=True)
    return _kaggle(["competitions", "download", "-c", competition, "-p", str(folder)])


def submit_file(folder: Folder, competition: str, path: Path, message: str) -> Entry:
    """Send a submission and note it in the ledger; its score comes later, see :func:`poll_scores`.

    Raises:
        InputError: no such file, or the tool is not installed.
        FoldsmithError: the tool failed; the ledger then stays as it was.
    """
    if not path.is_file():
        raise InputError(f"no file {path} to submit; write one with 'foldsmith submit make ID'")
    _kaggle(["competitions", "submit", "-c", competition, "-f", str(path), "-m", message])

    def change(ledger: Ledger) -> Entry:
        entry = ledger.find(path.name) or new_entry(path)
        return replace(entry, state="submitted", note=entry.note or message, utc=format_utc(utc_now()))

    return update_ledger(folder, change)


def poll_scores(folder: Folder, competition: str) -> list[Entry]:
    """Take the scores that the platform knows into the ledger; returns the entries that changed."""
    text = _kaggle(["competitions", "submissions", "-c", competition, "--csv"])
    start = text.find("fileName")  # the tool may warn first
    if start < 0:
        raise FoldsmithError(f"the kaggle tool listed no submissions but said: {_last_line(text)}")
    changed = []
    for row in reversed(list(csv.DictReader(io.StringIO(text[start:])))):  # the newest comes first there

        def change(ledger: Ledger, row: dict[str, str] = row) -> Entry:
            entry = ledger.find(row["fileName"]) or Entry(row["fileName"])
            rejected = "error" in row.get("status", "").lower()
            return replace(
                entry,
                state="rejected" if rejected else "submitted",
                public=_score(row.get("publicScore")) or entry.public,
                private=_score(row.get("privateScore")) or entry.private,
                note=entry.note or row.get("description", ""),
                utc=format_utc(parse_utc(row["date"])) if row.get("date") else entry.utc,
            )

        before = read_ledger(folder).find(row["fileName"])
        if (entry := update_ledger(folder, change)) != before:
            changed.append(entry)
    return changed


def _score(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _kaggle(words: Sequence[str]) -> str:
    tool = shutil.which("kaggle")
    if tool is None:
        raise InputError("the kaggle tool is not installed: pip install kaggle, or submit in the browser and 'lb log'")
    try:
        done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise FoldsmithError(f"kaggle {' '.join(words[:2])} took over {SECONDS:g} s; try again") from None
    if done.returncode:
        said = _last_line(done.stderr or done.stdout)
        rules = "; accept the competition's rules in the browser first" if "403" in said else ""
        raise FoldsmithError(f"kaggle {' '.join(words[:2])} failed: {said}{rules}")
    return done.stdout


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"
