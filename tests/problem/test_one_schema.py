"""Types, formats and levels are decided once over both files; the tables of docs/columns.md say how."""

import csv
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldsmith.problem.columns import Column, infer_columns
from foldsmith.problem.dataset import Frames, read_frames
from foldsmith.problem.errors import InputError
from foldsmith.problem.settings import parse_setting, words_of
from foldsmith.problem.tables import Schema, Table, build_schema, type_frame
from foldsmith.problem.typing_remarks import other_remarks, train_remarks
from foldsmith.problem.words import Source, line_of

PAGE = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Typed:
    """One column of both files, typed.

    Args:
        column: what it is.
        tables: of train and test, with the column alone.
        remarks: all that is told of it.
    """

    column: Column
    tables: tuple[Table, Table]
    remarks: tuple[str, ...]

    def values(self, file: int) -> list[Any]:
        """Numbers, level names or dates; None for missing."""
        table = self.tables[file]
        schema = table.schema
        if schema.numeric:
            numbers = schema.shift(self.column.name).restore(table.numeric[:, 0])
            return [None if np.isnan(value) else float(value) for value in numbers]
        if schema.categorical:
            names = [*schema.categories[self.column.name], "(a new level)", None]
            return [names[code] for code in table.codes[:, 0]]
        if schema.datetime:
            stamps = table.datetimes[:, 0].view("datetime64[us]")
            return [None if np.isnat(stamp) else stamp for stamp in stamps]
        return []


def write_column(path: Path, cells: Sequence[str], name: str = "x") -> None:
    """A csv file with one column and a target."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([name, "y"])
        writer.writerows([cell, row % 2] for row, cell in enumerate(cells))


def typed(folder: Path, train: Sequence[str], test: Sequence[str], **overrides: str) -> Typed:
    """What becomes of a column ``x`` with these cells."""
    paths = folder / "train.csv", folder / "test.csv"
    for path, cells in zip(paths, (train, test), strict=True):
        write_column(path, cells)
    frames = read_frames(*paths, target="y", id_column=None, as_text=words_of(overrides))
    return type_frames(frames, paths, overrides)


def type_frames(frames: Frames, paths: tuple[Path, Path], overrides: dict[str, str]) -> Typed:
    sources = Source.of(paths[0]), Source.of(paths[1])
    columns = infer_columns(frames.train, frames.test, target="y", id_column=None, overrides=overrides, sources=sources)
    schema = build_schema(frames.train, columns, test=frames.test)
    assert Schema.from_json(schema.to_json()) == schema
    tables = type_frame(frames.train, schema), type_frame(frames.test, schema)
    remarks = [*frames.remarks, *train_remarks(frames.train, tables[0], sources[0])]
    remarks += other_remarks(frames.test, tables[1], sources[1], is_later=False)
    return Typed(columns[0], tables, tuple(remarks))


# --- the page ---------------------------------------------------------------------------------------------------------


def rows_of_the_page() -> list[tuple[str, ...]]:
    found = re.findall(r"^\| (`.*`) \| (`.*`) \| (\w+) \| ?(?:`(.*)`)? ?\|$", PAGE, re.MULTILINE)
    assert len(found) > 40
    return found


@pytest.mark.parametrize(("train", "test", "kind", "value"), rows_of_the_page())
def test_the_tables_of_the_page(tmp_path: Path, train: str, test: str, kind: str, value: str) -> None:
    cells = [re.findall("`(.*?)`", line) for line in (train, test)]
    # Every cell stands in several rows, so that a column is no text.
    repeated = [cells[0] * 4, cells[1] * 4]
    if kind == "refused":
        with pytest.raises(InputError, match=r"(?s)column 'x'.*\(train.csv line \d+\).*\(test.csv line \d+\)"):
            typed(tmp_path, *repeated)
        return
    found = typed(tmp_path, *repeated)
    assert found.column.kind == kind
    first = found.values(1)[0]
    if kind in ("numeric", "boolean"):
        assert first == pytest.approx(float(value))
    elif kind == "datetime":
        assert first == np.datetime64(value)
    else:
        assert first == value


def test_the_settings_of_the_page() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    for name, text in tomlkit.parse(block)["columns"].items():
        assert parse_setting(name, str(text)).kind in ("categorical", "numeric", "datetime", "constant")


# --- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "remark"),
    [
        (["$1,234.50", "$5.00"], ["$7.25"], r"'\$1,234.50' \(train.csv line 2\) is read as the number 1234.5; .*keeps"),
        (["1234.5", "7"], ["$1,000"], r"'1234.5' \(train.csv line 2\) as one in \$ too"),
        (["000", "001", "A1"], ["001"], r"words in train.csv, such as 'A1' \(train.csv line 4\), and numbers alone in"),
        (["red ", "red", "blue"], ["red"], r"4 cells of train.csv have stray blanks .*'red ' \(train.csv line 2\)"),
        (["red", "blue"], ["red\u00a0"], r"4 cells of test.csv have stray blanks .*'red\\xa0' \(test.csv line 2\)"),
        (["red", "blue"], ["red\u200b"], r"4 cells of test.csv have stray blanks .*read as 'red'"),
        (["Yes", "No", "Maybe"], ["yes"], r"4 cells of test.csv such as 'yes' \(test.csv line 2\) .* read as 'Yes'"),
        (["red", "blue"], ["rot"], r"4 of 4 cells of test.csv hold words that train lacks, such as 'rot'"),
        (["2021-03-15", "16.03.2021"], ["17.03.2021"], r"dates in 2 formats, '2021-03-15' .* and '16.03.2021'"),
        (["2021-03-15", "2021-03-16"], ["2021-03-17T10:00Z"], r"dates in 2 formats"),
        (["01/02/2021", "03/04/2021"], ["05/06/2021"], r"no cell tells whether the day or the month is first; read mo"),
        (["01/02/2021", "03/04/2021"], ["31/12/2021"], r"the day first, as '31/12/2021' \(test.csv line 2\) tells"),
        (["5 kg", "300 g"], ["5 kg"], r"has two units, '5 kg' \(train.csv line 2\) and '300 g' \(train.csv line 3\)"),
        (["1", "2", "3"], ["", ""], r"is empty in every row of test.csv, but not in train.csv"),
        (["", ""], ["1", "2"], r"is empty in every row of train.csv, but not in test.csv: it is left out"),
    ],
)
def test_what_was_understood_is_told(tmp_path: Path, train: list[str], test: list[str], remark: str) -> None:
    remarks = typed(tmp_path, train * 4, test * 4).remarks
    assert any(re.search(remark, told) for told in remarks), remarks


def test_plain_columns_need_no_words(tmp_path: Path) -> None:
    for cells in (["1", "2.5", ""], ["a", "b", "a"], ["2021-03-15", "2021-03-16", ""], ["yes", "no", "yes"]):
        assert typed(tmp_path, cells * 5, cells * 5).remarks == ()


def test_a_few_lost_cells_are_told_and_many_refused(tmp_path: Path) -> None:
    days = [f"2021-03-{day:02d}" for day in range(1, 31)]
    found = typed(tmp_path, days, [*days, "soon"])
    assert found.values(1)[-1] is None
    assert found.remarks == ("column 'x': 1 cell is missing because it is no dates, such as 'soon' (test.csv line 32)",)
    with pytest.raises(InputError, match=r"holds dates in train.csv, .* 25% of the cells of test.csv .*'soon'"):
        typed(tmp_path, days, [*days, *["soon"] * 10])


def test_numbers_with_a_few_marks_stay_words_and_are_told(tmp_path: Path) -> None:
    cells = [str(number) for number in range(40)]
    told = typed(tmp_path, [*cells, "<5"], cells).remarks
    assert told[0].startswith("column 'x' holds numbers but for 1 cell, such as '<5' (train.csv line 42), and is taken")
    told = typed(tmp_path, [f"~{cell}" for cell in cells], cells).remarks
    assert told[0].startswith("column 'x' holds inexact numbers, such as '~0' (train.csv line 2), and is taken as word")


def test_points_that_are_thousands_separators(tmp_path: Path) -> None:
    values = [37 * number for number in range(1, 80)]
    cells = [f"{value:,}".replace(",", ".") for value in values]
    found = typed(tmp_path, cells, cells[::-1])
    assert found.values(0) == values
    assert found.values(1) == values[::-1]
    assert "'1.036' (train.csv line 29) is read as the number 1036" in found.remarks[0]
    measured = [f"{1 + 0.037 * number:.3f}".rstrip("0").rstrip(".") for number in range(1, 80)]
    assert typed(tmp_path, [*measured, "7", "9", "11"], measured).remarks == ()


def test_words_for_missing_are_told(tmp_path: Path) -> None:
    found = typed(tmp_path, ["1", "2", "unknown"], ["3"])
    assert found.values(0) == [1, 2, None]
    assert found.remarks == ("column 'x': 1 cell of train.csv such as 'unknown' (train.csv line 4) read as missing",)


def test_dates_in_no_known_format_are_told(tmp_path: Path) -> None:
    cells = [f"{day} mars 2021" for day in range(1, 29)]
    (told,) = typed(tmp_path, cells, cells).remarks
    assert told.startswith("column 'x' looks like dates, such as '1 mars 2021' (train.csv line 2), but in no format")


STORED: dict[str, tuple[Any, list[str], list[Any]]] = {
    "codes": (["000", "001", "A1"], ["001", "000"], ["001", "000"]),
    "whole numbers": (pd.array([1, 2, None], dtype="Int64"), ["3", "A"], []),
    "levels": (pd.Categorical(["red", "blue", "red"]), ["blue ", "RED"], ["blue", "red"]),
    "times": (pd.DatetimeIndex(["2021-03-15", "NaT", "2021-03-16"]), ["17.03.2021"], [np.datetime64("2021-03-17")]),
    "zones": (
        pd.DatetimeIndex(["2021-03-15", "NaT", "2021-03-16"]).tz_localize("Europe/Berlin"),
        ["2021-03-17T00:00:00+01:00"],
        [np.datetime64("2021-03-16T23:00")],
    ),
    "truth": (pd.array([True, False, None], dtype="boolean"), ["1", "0", "yes"], [1, 0, 1]),
    "decimals": ([Decimal("1.50"), Decimal("2.25"), None], ["$1,000.00"], [1000]),
}


@pytest.mark.parametrize("name", list(STORED))
def test_a_parquet_file_beside_a_csv_file(tmp_path: Path, name: str) -> None:
    train, test, values = STORED[name]
    paths = tmp_path / "train.parquet", tmp_path / "test.csv"
    pd.DataFrame({"x": train, "y": [0, 1, 0]}).to_parquet(paths[0])
    write_column(paths[1], test)
    frames = read_frames(*paths, target="y", id_column=None)
    if not values:
        found = type_frames(frames, paths, {})
        assert found.values(1) == [3, None]
        assert "'A' (test.csv line 3)" in found.remarks[0]
        return
    assert type_frames(frames, paths, {}).values(1) == values


def test_numbers_of_another_magnitude_are_told(tmp_path: Path) -> None:
    seconds = [str(1_600_000_000 + 1000 * number) for number in range(40)]
    found = typed(tmp_path, seconds, [f"{second}000" for second in seconds])
    assert re.search("has numbers from 1.6e.09 to .* in train.csv, but from 1.6e.12", found.remarks[0])


# --- what people set --------------------------------------------------------------------------------------------------


def test_a_person_can_force_either_reading(tmp_path: Path) -> None:
    assert typed(tmp_path, ["1,234", "2,345"], ["1,000"], x="numeric:decimal-comma").values(0) == [
        pytest.approx(1.234),
        pytest.approx(2.345),
    ]
    assert typed(tmp_path, ["1.234", "2.345"], ["1.000"], x="numeric:decimal-comma").values(0) == [1234, 2345]
    assert typed(tmp_path, ["$5", "$6", "$5"], ["$5"], x="categorical").values(1) == ["$5"]
    assert typed(tmp_path, ["007", "07", "07"], ["07"], x="categorical").values(1) == ["07"]
    both = ["01/02/2021", "03/04/2021"]
    assert typed(tmp_path, both, both, x="datetime:day-first").values(0)[0] == np.datetime64("2021-02-01")
    assert typed(tmp_path, both, both, x="datetime:month-first").values(0)[0] == np.datetime64("2021-01-02")
    assert typed(tmp_path, ["15032021", "16032021"], ["17032021"], x="datetime:%d%m%Y").values(1) == [
        np.datetime64("2021-03-17")
    ]
    assert typed(tmp_path, ["1615766400", "7"], ["1615766400"], x="datetime:epoch-seconds").values(1) == [
        np.datetime64("2021-03-15")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number", "unknown kind of column 'x': 'number'; did you mean 'numeric'"),
        (
            "numeric:comma",
            "column 'x' is set to numeric:comma, which is unknown; write one of decimal-point, decimal-co",
        ),
        ("datetime:first", "write one of day-first, month-first, epoch-seconds"),
        ("text:day-first", "write 'text' alone"),
    ],
)
def test_wrong_settings(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_setting("x", text)


# --- names and lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X", " x", "x ", "x\u00a0", "\ufeffx\u200b"])
def test_a_name_may_differ_by_blanks_and_case(tmp_path: Path, name: str) -> None:
    paths = tmp_path / "train.csv", tmp_path / "test.csv"
    write_column(paths[0], ["000", "001", "A1"])
    write_column(paths[1], ["001", "000"], name)
    frames = read_frames(*paths, target="y", id_column=None)
    found = type_frames(frames, paths, {})
    assert found.values(1) == ["001", "000"]
    assert re.match(r"test.csv: column '.*' is 'x' of train.csv", found.remarks[0])


def test_two_names_that_differ_by_case_only(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("Age,y\n1,0\n2,1\n")
    (tmp_path / "test.csv").write_text("age,AGE\n1,2\n")
    with pytest.raises(InputError, match="test.csv has 'age' and 'AGE', so it is not clear which is meant"):
        read_frames(tmp_path / "train.csv", tmp_path / "test.csv", target="y", id_column=None)


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b\n1,"two\nlines"\n\n2,x\r\n\r\n3,y')
    assert [line_of(path, row) for row in range(4)] == [2, 5, 7, None]
    path.write_bytes(b'a,b\n1,5" pipe\n2,x\n')
    assert line_of(path, 0) is None


# --- hypothesis -------------------------------------------------------------------------------------------------------


def _grouped(value: float, comma: str, point: str) -> str:
    return f"{value:,.2f}".replace(",", "|").replace(".", point).replace("|", comma)


POINT_FORMATS: dict[str, Callable[[float], str]] = {
    "plain": lambda value: f"{value:.2f}",
    "exponent": lambda value: f"{value:.15e}",
    "dollars": lambda value: f"${_grouped(value, ',', '.')}".replace("$-", "-$"),
    "code": lambda value: f"{_grouped(value, ',', '.')} USD",
    "spaces": lambda value: _grouped(value, "\u202f", "."),
    "apostrophes": lambda value: _grouped(value, "'", "."),
    "plus": lambda value: f"{value:+.2f}",
    "minus": lambda value: f"{value:.2f}".replace("-", "\u2212"),
    "brackets": lambda value: f"({-value:,.2f})" if value < 0 else f"{value:,.2f}",
    "blanks": lambda value: f" {value:.2f} ",
}
COMMA_FORMATS: dict[str, Callable[[float], str]] = {
    "comma": lambda value: _grouped(value, "", ","),
    "points": lambda value: _grouped(value, ".", ","),
    "euros": lambda value: f"{_grouped(value, '.', ',')} €",
    "before": lambda value: f"€ {_grouped(value, ' ', ',')}",
}
DATE_FORMATS = (
    *("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%d", "%d.%m.%Y", "%d %b %Y", "%B %d, %Y", "%Y/%m/%d"),
    *("%d-%b-%Y", "%s", "%a, %d %b %Y %H:%M:%S GMT", "%d.%m.%Y %H:%M"),
)
AMOUNTS = st.lists(st.integers(-(10**8), 10**8).map(lambda cents: cents / 100), min_size=12, max_size=20, unique=True)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(AMOUNTS, st.sampled_from([POINT_FORMATS, COMMA_FORMATS]), st.data())
def test_amounts_are_the_same_in_every_format(
    tmp_path: Path, values: list[float], formats: dict[str, Callable[[float], str]], data: st.DataObject
) -> None:
    train, test = (formats[data.draw(st.sampled_from(sorted(formats)))] for _ in range(2))
    found = typed(tmp_path, [train(value) for value in values], [test(value) for value in values])
    assert found.column.kind == "numeric"
    for file in (0, 1):
        np.testing.assert_allclose(np.array(found.values(file), float), values, rtol=1e-6, atol=1e-6 * np.ptp(values))


@quick
@given(
    st.lists(st.dates(datetime.date(2002, 1, 1), datetime.date(2199, 1, 1)), min_size=12, max_size=20, unique=True),
    st.sampled_from(DATE_FORMATS),
    st.sampled_from(DATE_FORMATS),
)
def test_dates_are_the_same_in_every_format(
    tmp_path: Path, dates: list[datetime.date], first: str, second: str
) -> None:
    days = [np.datetime64(date, "D") for date in dates]
    cells = [[_written(day, pattern) for day in days] for pattern in (first, second)]
    if all(cell.isdecimal() for cell in cells[0] + cells[1]):
        return  # numbers in both files are numbers
    found = typed(tmp_path, *cells)
    assert found.column.kind == "datetime"
    assert found.values(0) == found.values(1) == days


def _written(day: np.datetime64, pattern: str) -> str:
    return (
        str(int(day.astype("datetime64[s]").astype(int))) if pattern == "%s" else day.astype(object).strftime(pattern)
    )


@quick
@given(
    st.lists(st.sampled_from(["red", "blue", "New York", "A1", "007", "é"]), min_size=6, max_size=12),
    st.sampled_from(["", " ", "\u00a0", "\u200b", "\t"]),
    st.sampled_from(["", " ", "\u00a0", "\ufeff"]),
)
def test_levels_do_not_depend_on_blanks(tmp_path: Path, words: list[str], before: str, after: str) -> None:
    words = [*words, "red", "blue"]
    found = typed(tmp_path, words, [f"{before}{word}{after}" for word in words])
    assert found.column.kind == "categorical"
    assert found.values(0) == found.values(1) == words
