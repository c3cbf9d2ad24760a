"""Every row of the tables in docs/reading.md is true."""

import re
from pathlib import Path

import pandas as pd
import pytest
import tomlkit

from foldsmith.problem.config import DataSection
from foldsmith.problem.dataset import read_frames
from foldsmith.problem.errors import InputError
from foldsmith.problem.reading import read_frame, remarks

PAGE = (Path(__file__).parent.parent / "docs" / "reading.md").read_text(encoding="utf-8")
MARKS = {"⏎": "\n", "␍": "\r", "⇥": "\t"}


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose header begins with these names."""
    table = re.search(rf"^\| {re.escape(first)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None, first
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines_of(table)
    ]


def lines_of(table: re.Match[str]) -> list[str]:
    return table[1].splitlines()


def text_of(cell: str) -> str:
    """The content between backticks with its marks as the characters that they stand for."""
    text = cell.strip("`")
    for mark, character in MARKS.items():
        text = text.replace(mark, character)
    return text


def shown(frame: pd.DataFrame) -> str:
    """A frame as the page shows it: ``a=1 2; b=x y``."""
    columns = []
    for name in frame.columns:
        cells = [_cell(value) for value in frame[name]]
        columns.append(f"{name}={' '.join(cells)}")
    return "; ".join(columns)


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "_"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check(path: Path, wanted: str, note: str) -> None:
    assert shown(read_frame(path)) == text_of(wanted)
    says = [remark.removeprefix(path.name).removeprefix(": ").strip() for remark in remarks(path)]
    if note:
        assert note in says
    else:
        assert says == []


@pytest.mark.parametrize("row", rows("file | is read as | note"), ids=lambda row: row[0])
def test_dialects(tmp_path: Path, row: list[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text_of(row[0]).encode())
    check(path, row[1], row[2])


@pytest.mark.parametrize("row", rows("file | encoding"), ids=lambda row: row[1])
def test_encodings(tmp_path: Path, row: list[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text_of(row[0]).encode(row[1]))
    check(path, row[2], row[3])


@pytest.mark.parametrize("row", rows("file | error"), ids=lambda row: row[0])
def test_damage(tmp_path: Path, row: list[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text_of(row[0]).encode())
    with pytest.raises(InputError, match=re.escape(row[1])):
        read_frame(path)


@pytest.mark.parametrize("row", rows("file | country has holes"), ids=lambda row: row[0])
def test_holes(tmp_path: Path, row: list[str]) -> None:
    table = text_of(row[0])
    lines = table.splitlines()
    (tmp_path / "test.csv").write_text(table)
    (tmp_path / "train.csv").write_text("\n".join([lines[0] + ",y", *(f"{line},1" for line in lines[1:])]) + "\n")
    frames = read_frames(tmp_path / "train.csv", tmp_path / "test.csv", target="y", id_column=None)
    assert frames.train["country"].isna().any() == frames.test["country"].isna().any() == (row[1] == "yes")
    assert any(remark.startswith(row[2]) for remark in frames.remarks), frames.remarks


def test_the_toml_block_is_a_key_of_data() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert set(tomlkit.parse(block).unwrap()["data"]) <= set(DataSection.model_fields)
