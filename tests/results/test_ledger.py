"""The ledger is a file of people: what they do to it is read, what they added stays, nobody's line is lost."""

import datetime
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.ledger import COLUMNS, Entry, ledger_path, new_entry, read_ledger, sha256_of, update_ledger

ENTRY = Entry("0001_b01_cv0.84312.csv", member="b01", cv=0.8462, nested_cv=0.84312, utc="2026-11-26T14:05:00Z")


def add(folder: Folder, entry: Entry) -> None:
    update_ledger(folder, lambda ledger: entry)


def written(folder: Folder, text: str, encoding: str = "utf-8") -> Folder:
    folder.submissions.mkdir(exist_ok=True)
    ledger_path(folder).write_text(text, encoding=encoding)
    return folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert read_ledger(folder).entries == ()
    add(folder, ENTRY)
    add(
        folder,
        replace(ENTRY, file="0002_lgb-0001_cv0.8.csv", member="lgb-0001", note='a "note", with commas\nand lines'),
    )
    first, second = read_ledger(folder).entries
    assert first == ENTRY and first.validation == 0.84312 and first.number == "0001"
    assert second.note == 'a "note", with commas\nand lines' and ENTRY.time == datetime.datetime(
        2026, 11, 26, 14, 5, tzinfo=datetime.UTC
    )
    assert ledger_path(folder).read_text().splitlines()[0] == ",".join(COLUMNS)
    add(folder, replace(first, public=0.84))
    assert [entry.public for entry in read_ledger(folder).entries] == [0.84, None]
    assert replace(ENTRY, file="mine.csv").number == "" and replace(ENTRY, nested_cv=None, utc="").time is None


def test_found_by_file_number_and_member(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    newer = replace(ENTRY, file="0012_b01_cv0.85000.csv")
    for entry in (ENTRY, newer):
        add(folder, entry)
    ledger = read_ledger(folder)
    assert ledger.find("submissions/" + ENTRY.file) == ENTRY == ledger.find("1") == ledger.find("0001")
    assert ledger.find("b01") == newer == ledger.find("12")
    assert ledger.find("13") is None is ledger.find("")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file;public;my column\r\n\r\nb.csv;0,75;Zoë\r\n", "utf-8-sig"),
        ("\n file , public , my column \nb.csv, 0.75 ,Zoë\n\n", "utf-8"),
        ("my column\tfile\tpublic\nZoë\tb.csv\t0.75", "utf-8"),
    ],
)
def test_spreadsheets_and_hands_leave_it_readable(tmp_path: Path, text: str, encoding: str) -> None:
    folder = written(Folder(tmp_path), text, encoding)
    (entry,) = read_ledger(folder).entries
    assert (entry.file, entry.public, entry.state, entry.others) == ("b.csv", 0.75, "submitted", {"my column": "Zoë"})
    mine = replace(ENTRY, public=0.5, state="submitted")
    add(folder, mine)
    assert read_ledger(folder).entries == (entry, replace(mine, others={"my column": ""}))
    kept = ledger_path(folder).read_text()
    assert "Zoë" in kept and set(COLUMNS) <= set(kept.splitlines()[0].replace(";", ",").replace("\t", ",").split(","))
    assert entry.to_json()["my column"] == "Zoë"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("member,public\nb01,0.5\n", "no column 'file' but 'member', 'public'"),
        ("file,public\na.csv,0.5\nb.csv,high\n", "line 3: public='high' is no number"),
        ("file,public\na.csv,inf\n", "line 2: public='inf' is not finite"),
        ("file,public\n,0.5\n", "line 2: no file name"),
        ("file,utc\na.csv,yesterday\n", "utc='yesterday' is no time"),
        ("file,state\na.csv,sent\n", "state='sent'; write made, submitted or rejected"),
        ('file,note\na.csv,"' + "x" * 140_000 + '"\n', "line 2: field larger than field limit"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_lost(tmp_path: Path, text: str, message: str) -> None:
    folder = written(Folder(tmp_path), text)
    with pytest.raises(InputError, match=message):
        add(folder, ENTRY)
    assert ledger_path(folder).read_text() == text


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    folder = written(Folder(tmp_path), "file,note\na.csv,Zoë\n", "latin-1")
    with pytest.raises(InputError, match="not UTF-8"):
        read_ledger(folder)


def test_a_file_has_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert new_entry(path).sha256 == ""
    path.write_bytes(b"abc")
    assert (
        new_entry(path).sha256
        == sha256_of(path)
        == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    )


def _log_many(root: Path, worker: int) -> None:
    for number in range(10):
        add(Folder(root), Entry(f"{worker}-{number}.csv", public=worker + number / 100))


def test_eight_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_log_many, args=(tmp_path, worker)) for worker in range(8)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    entries = read_ledger(Folder(tmp_path)).entries
    assert {entry.file for entry in entries} == {f"{w}-{n}.csv" for w in range(8) for n in range(10)}
