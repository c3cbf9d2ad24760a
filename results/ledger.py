"""``submissions/ledger.csv``: what was submitted, what it was thought to be worth, and what the leaderboard said.

The file belongs to people: any editor or spreadsheet may change it. Columns of their own and the order of rows stay as
they are; only ``file`` is needed in a row. It is rewritten whole under a lock, so that no process loses another's line.
"""

import csv
import datetime
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from foldsmith.problem.errors import InputError
from foldsmith.problem.files import file_digest, folder_lock, write_bytes
from foldsmith.problem.folder import Folder

State = Literal["made", "submitted", "rejected"]
NUMBERS = ("cv", "nested_cv", "public", "private")


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Args:
        file: name of the submission file.
        sha256: of its bytes, empty if unknown.
        member: that it was made of, empty for a file from elsewhere.
        cv: cross-validated score of a single member; of a blend the in-sample score, which flatters.
        nested_cv: of a blend, each fold predicted by weights fitted on the others.
        public, private: scores on the leaderboard.
        state: made here; submitted; or rejected by the server, which takes no slot of the day.
        note: of people.
        utc: when it was submitted, else made, as ``2026-11-26T14:05:00Z``.
        others: columns that people added.
    """

    file: str
    sha256: str = ""
    member: str = ""
    cv: float | None = None
    nested_cv: float | None = None
    public: float | None = None
    private: float | None = None
    state: State = "made"
    note: str = ""
    utc: str = ""
    others: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """The digits that its name begins with, as ``0003``; empty if it has none."""
        head = self.file.split("_", 1)[0]
        return head if head.isdigit() else ""

    @property
    def validation(self) -> float | None:
        """The honest score before the leaderboard: nested for a blend, else the cross-validated one."""
        return self.cv if self.nested_cv is None else self.nested_cv

    @property
    def time(self) -> datetime.datetime | None:
        """``utc`` as a moment, None if it is missing."""
        return parse_utc(self.utc) if self.utc else None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {column: getattr(self, column) for column in COLUMNS} | self.others


COLUMNS = tuple(column.name for column in fields(Entry) if column.name != "others")


@dataclass(frozen=True)
class Ledger:
    """The whole file.

    Args:
        header: columns in the file's order.
        delimiter: as the last editor left it.
    """

    entries: tuple[Entry, ...] = ()
    header: tuple[str, ...] = COLUMNS
    delimiter: str = ","

    def find(self, which: str) -> Entry | None:
        """The entry of a file name or path, of a number (``3`` or ``0003``), or the newest one of a member."""
        name = Path(which).name
        for entry in reversed(self.entries):
            if entry.file == name or (name.isdigit() and entry.number and int(entry.number) == int(name)):
                return entry
        return next((entry for entry in reversed(self.entries) if entry.member and entry.member == which), None)

    def with_entry(self, entry: Entry) -> "Ledger":
        """With this entry in place of the one of the same file, or at the end."""
        if any(other.file == entry.file for other in self.entries):
            entries = tuple(entry if other.file == entry.file else other for other in self.entries)
        else:
            entries = (*self.entries, entry)
        return replace(self, entries=entries)

    def to_csv(self) -> str:
        """The text of the file; columns that a person deleted come back at the end."""
        header = [*self.header, *(column for column in COLUMNS if column not in self.header)]
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow(header)
        for entry in self.entries:
            writer.writerow([self._cell(entry, column) for column in header])
        return text.getvalue()

    def _cell(self, entry: Entry, column: str) -> str:
        value = entry.others.get(column, "") if column not in COLUMNS else getattr(entry, column)
        if value is None:
            return ""
        text = repr(value) if isinstance(value, float) else str(value)
        return text.replace(".", ",") if isinstance(value, float) and self.delimiter == ";" else text


def ledger_path(folder: Folder) -> Path:
    """``submissions/ledger.csv``."""
    return folder.submissions / "ledger.csv"


def read_ledger(folder: Folder) -> Ledger:
    """Read the file as people may have left it: with a BOM, semicolons, decimal commas, empty lines.

    Raises:
        InputError: a line without a file, a number or time that is none; names line and column.
    """
    path = ledger_path(folder)
    if not path.exists():
        return Ledger()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as csv in UTF-8") from None
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count) if first else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: tuple[str, ...] = ()
    entries: list[Entry] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = _header(row, path)
                continue
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            entries.append(_entry(cells, f"{path}, line {rows.line_num}"))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; correct the line") from None
    return Ledger(tuple(entries), header or COLUMNS, delimiter)


def _header(row: list[str], path: Path) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in row)
    if "file" not in names:
        raise InputError(f"{path} has no column 'file' but {', '.join(map(repr, names))}; its header begins with it")
    return names


def _entry(cells: dict[str, str], where: str) -> Entry:
    if not cells.get("file"):
        raise InputError(f"{where}: no file name; write one, or delete the line")
    known = {name: cells.get(name, "") for name in ("file", "sha256", "member", "note", "utc")}
    numbers = {name: _number(cells.get(name, ""), f"{where}: {name}") for name in NUMBERS}
    if known["utc"]:
        try:
            parse_utc(known["utc"])
        except ValueError:
            raise InputError(f"{where}: utc={known['utc']!r} is no time; write e.g. 2026-11-26T14:05:00Z") from None
    state = cells.get("state", "") or ("made" if numbers["public"] is None else "submitted")
    if state not in ("made", "submitted", "rejected"):
        raise InputError(f"{where}: state={state!r}; write made, submitted or rejected")
    others = {name: cell for name, cell in cells.items() if name not in COLUMNS}
    return Entry(**known, **numbers, state=state, others=others)  # type: ignore[arg-type]


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise InputError(f"{where}={text!r} is no number; correct it, or leave it empty") from None
    if not math.isfinite(value):
        raise InputError(f"{where}={text!r} is not finite; correct it, or leave it empty")
    return value


def update_ledger(folder: Folder, change: Callable[[Ledger], Entry]) -> Entry:
    """Read the ledger, change or add the entry that ``change`` gives, and write it, while others wait."""
    with folder_lock(folder.submissions):
        ledger = read_ledger(folder)
        entry = change(ledger)
        write_bytes(ledger_path(folder), ledger.with_entry(entry).to_csv().encode())
    return entry


def new_entry(path: Path, **known: object) -> Entry:
    """An entry for a submission file, with its digest if it is there."""
    return Entry(path.name, sha256_of(path) if path.is_file() else "", **known)  # type: ignore[arg-type]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return file_digest(path, "sha256")


def parse_utc(text: str) -> datetime.datetime:
    """A moment of ISO 8601; without an offset it is UTC.

    Raises:
        ValueError: it is none.

    >>> parse_utc("2026-11-26T01:30:00+02:00").isoformat()
    '2026-11-25T23:30:00+00:00'
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.astimezone(datetime.UTC)


def format_utc(moment: datetime.datetime) -> str:
    """As the ledger has it.

    >>> format_utc(parse_utc("2026-11-26"))
    '2026-11-26T00:00:00Z'
    """
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now() -> datetime.datetime:
    """This moment, UTC."""
    return datetime.datetime.now(datetime.UTC)
