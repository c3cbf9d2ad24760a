"""One table in every dialect gives the same typed table and the same submission; a damaged one is refused."""

import csv
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from foldsmith.problem.errors import InputError
from foldsmith.problem.metrics import get_metric
from foldsmith.problem.reading import read_frame, read_header, remarks
from foldsmith.problem.testing import (
    HARMLESS,
    MUTATIONS,
    PARQUET,
    Tables,
    Writing,
    differences,
    encode,
    judge,
    make_tables,
    mutate_gz,
    typed,
    write_csv,
    write_parquet,
)
from foldsmith.results.submissions import SubmissionForm, read_sample, write_submission

# No time limit for an example: the machine may be busy.
no_hurry = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)


@st.composite
def writings(draw: Any) -> Writing:
    """Every legal way to write a csv file."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    return Writing(
        separator=separator,
        decimal="." if separator == "," else draw(st.sampled_from([".", ","])),
        newline=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        encoding=encoding,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        bom=encoding in ("utf-16-le", "utf-16-be") or (encoding == "utf-8" and draw(st.booleans())),
        index=draw(st.booleans()),
        trailing=draw(st.booleans()),
        shuffle=draw(st.none() | st.integers(0, 99)),
        final_newline=draw(st.booleans()),
    )


def submission(place: Path, tables: Tables, test: Path, sample: Path, *, regression: bool) -> bytes:
    """The bytes of a submission of made-up predictions, in the order of the test file."""
    seen = typed(place / "train.csv", test)
    target = seen["target"]
    rng = np.random.default_rng(0)
    n_rows = len(tables.test["id"])
    values = rng.normal(size=(n_rows, 1)) if regression else rng.dirichlet([1, 1, 1], size=n_rows)
    metric = get_metric("rmse" if regression else "log_loss", None)
    form = SubmissionForm(target, metric, "id", seen["test ids"], read_sample(sample))
    write_submission(place / "submission.csv", form.fill(values, None))
    return (place / "submission.csv").read_bytes()


def check_writing(seed: int, writing: Writing, ending: str, *, regression: bool) -> None:
    """Both files and the sample, written in a dialect, give what the plain ones give."""
    tables = make_tables(seed, regression=regression)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("train", "test", "sample"):
            write_csv(place / f"{name}.csv", getattr(tables, name), Writing())
            keeps_order = Writing(**{**writing.__dict__, "shuffle": None})
            as_written = keeps_order if name == "sample" else writing
            write_csv(place / f"{name}-other{ending}", getattr(tables, name), as_written)
        clean = typed(place / "train.csv", place / "test.csv")
        other = typed(place / f"train-other{ending}", place / f"test-other{ending}")
        assert differences(clean, other) == []
        wanted = submission(place, tables, place / "test.csv", place / "sample.csv", regression=regression)
        test, sample = place / f"test-other{ending}", place / f"sample-other{ending}"
        assert submission(place, tables, test, sample, regression=regression) == wanted


@given(st.integers(0, 10**6), writings(), st.sampled_from([".csv", ".csv.gz"]), st.booleans())
@no_hurry
@example(0, Writing(separator=";", decimal=",", encoding="utf-16"), ".csv", True)
@example(0, Writing(separator="\t", newline="\r", trailing=True), ".csv", False)
@example(0, Writing(encoding="cp1252", index=True, trailing=True, shuffle=3), ".csv.gz", False)
def test_a_table_is_the_same_in_every_dialect(seed: int, writing: Writing, ending: str, regression: bool) -> None:
    check_writing(seed, writing, ending, regression=regression)


@given(st.integers(0, 10**6), st.sampled_from(PARQUET), st.sampled_from(PARQUET), st.booleans())
@settings(no_hurry, max_examples=20)
@example(26, "decimal", "plain", True)  # decimals are numbers to the last digit
def test_a_table_is_the_same_as_parquet(seed: int, train_kind: str, test_kind: str, regression: bool) -> None:
    tables = make_tables(seed, regression=regression)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("train", "test", "sample"):
            write_csv(place / f"{name}.csv", getattr(tables, name), Writing())
        write_parquet(place / "train.parquet", tables.train, train_kind, shuffle=seed % 10)
        write_parquet(place / "test.parquet", tables.test, test_kind)
        write_parquet(place / "sample.parquet", tables.sample, test_kind)
        clean = typed(place / "train.csv", place / "test.csv")
        assert differences(clean, typed(place / "train.parquet", place / "test.parquet")) == []
        wanted = submission(place, tables, place / "test.csv", place / "sample.csv", regression=regression)
        test, sample = place / "test.parquet", place / "sample.parquet"
        assert submission(place, tables, test, sample, regression=regression) == wanted


def check_mutation(seed: int, name: str, which: str) -> None:
    """A damaged file is refused with its line, or read as if it were whole."""
    tables = make_tables(seed)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for one in ("train", "test"):
            write_csv(place / f"{one}.csv", getattr(tables, one), Writing())
        clean = typed(place / "train.csv", place / "test.csv")
        rng = np.random.default_rng(seed)
        damaged = place / f"{which}.csv"
        damaged.write_bytes(MUTATIONS[name](damaged.read_bytes(), rng))
        found = judge(clean, place / "train.csv", place / "test.csv", is_harmless=name in HARMLESS)
    assert found in ("refused", "same")


@given(st.integers(0, 10**6), st.sampled_from(sorted(MUTATIONS)), st.sampled_from(["train", "test"]))
@no_hurry
def test_damage_is_refused_with_its_line(seed: int, name: str, which: str) -> None:
    check_mutation(seed, name, which)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_each_kind_of_damage(name: str) -> None:
    check_mutation(1, name, "test")


def test_a_torn_gz_file_is_refused(tmp_path: Path) -> None:
    data = encode(make_tables(0).train, Writing())
    for seed in range(10):
        path = tmp_path / f"{seed}.csv.gz"
        path.write_bytes(mutate_gz(data, np.random.default_rng(seed)))
        with pytest.raises(InputError, match="cannot be read as csv"):
            read_frame(path)


# what is told -------------------------------------------------------------------------------------------------------


def put(path: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a;b\n1;2\n", "a.csv: fields are separated by ';'"),
        (b"a\tb\n1\t2\n", "a.csv: fields are separated by tabs"),
        (b"a|b\n1|2\n", "a.csv: fields are separated by '|'"),
        (b"sep=;\r\na;b\r\n1;2\r\n", "a.csv: fields are separated by ';'"),
        ("a,b\n1,2\n".encode("utf-16"), "a.csv is read as UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "a.csv is read as UTF-16"),
        (b"a;b\n1,5;2\n", "a.csv: numbers have a decimal comma"),
        (
            b"a,b\n1,x\n2,K\xf6ln\n",
            "a.csv is not UTF-8 and is read as Windows-1252 (latin-1), such as 'Köln' in line 3: save it as UTF-8 if "
            "that looks wrong",
        ),
        (b"a,b\r1,2\r", "a.csv: lines end with a carriage return alone"),
        (b",a,b\n0,1,2\n1,1,2\n", "a.csv: the column 'Unnamed: 0' is the index that pandas writes, and is left out"),
        (b"a,b,\n1,2,\n1,2,\n", "a.csv: a column without a name and cells is left out"),
        (b"a,b\n1,2,\n1,2,\n", "a.csv: a column without a name and cells is left out"),
        (b"a,b,,\n1,2,,\n1,2,,\n", "a.csv: 2 columns without names and cells are left out"),
        (b"a,b\n1,2\n\n1,2\n\n\n", "a.csv: 3 blank lines, the first line 3, are skipped"),
        (b"a,b\n1,2\n\n1,2\n", "a.csv: a blank line, the first line 3, is skipped"),
        (b"a\n1\n\n2\n", "a.csv: a blank line, the first line 3, is read as a missing cell"),
        (b"a,b\n1,2\n3,4", "a.csv: line 3, the last, does not end as the others: check that it is complete"),
    ],
)
def test_what_is_not_plain_is_told(tmp_path: Path, content: bytes, says: str) -> None:
    path = put(tmp_path / "a.csv", content)
    read_frame(path)
    assert says in remarks(path)


def test_plain_files_are_no_news(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "größe,b\n1,2\n3,x\n")
    read_frame(path)
    assert remarks(path) == []


# damage, by example -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,c\n1,2,3\n1,2\n1,2,3\n", "line 3: expected 3 fields, found 2: '1,2'; repair the line"),
        ("a,b,c\n1,2,3\n1,2,3,4\n", "line 3: expected 3 fields, found 4"),
        ("a,b,c\n1,2,3\n1,2\n1,2,3,4\n", "line 3: expected 3 fields, found 2"),
        ('a,b,c\n1,"x\ny",3\n1,2\n', "line 4: expected 3 fields, found 2"),
        ("a,b,c\n1,2,3\n1;2;3\n", "line 3: expected 3 fields, found 1"),
        ("a,b,c\r\n1,2,3\r\n1,2\r\n", "line 3: expected 3 fields, found 2"),
        ("a,b,c\n1,2,3\n   \n1,2,3\n", "line 3: expected 3 fields, found 1"),
        ('a,b\n1,"x"\n2,"y\n3,"z"\n', "line 3: the quoted cell that begins here goes on behind its closing quote"),
        ('a,b\n1,"x"\n2,y"\n3,"z"\n', "line 3: a quote stands inside a cell"),
        ('a,b\n1,x"y\n2,"y"\n', "line 2: a quote stands inside a cell"),
        ('a,b\n1,"x"\n2,"y', "line 3: the file ends inside the quoted cell that begins here"),
        ("a,b\n1,2\n3\r,4\n", "line 3: a carriage return stands inside the line"),
        ("a\n1\n2\r3\n", "line 3: a carriage return stands inside the line"),
        ("a\n1\n2\n\n", "line 4: a blank line at the end may be a row with a missing cell, or nothing"),
        ("a\n1\n2,3\n", "line 3: expected 1 field, found 2"),
        ("a,b\nx,1\ny,2\na,b\nz,3\n", "line 4: the header stands here again"),
        (b"a,b\n1,2\n1,\x00\n", "zero bytes, the first in line 3"),
        ("ä,b\n1,Köln\n2,x\n".encode() + b"3,\xe9t\xe9\n4,z\n", "line 4: the byte 0xE9 is not UTF-8, but 2 other"),
        ("ä,b\n1,Köln\n".encode()[:-2] + b"\xc3", "line 2: the file ends inside a character of UTF-8"),
        (b"a,b\n1,K\xe4\xb8", "line 2: the file ends inside a character of UTF-8"),
        (b"a,b\n1,2\n\x81,3\n", "line 3: the byte 0x81 is neither UTF-8 nor latin-1"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "not utf-16-le"),
        ("a,,b\n1,,2\n" * 1 + "1,,2\n" * 300 + "1,x,2\n", "line 303: column 2 has no name and no cell but 'x'"),
    ],
)
def test_a_damaged_file_names_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = put(tmp_path / "a.csv", content)
    with pytest.raises(InputError) as caught:
        read_frame(path)
    assert message in str(caught.value)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_damage_behind_the_first_rows(tmp_path: Path) -> None:
    rows = [f"{number},word {number},{number / 8}" for number in range(60_000)]
    rows[50_000] = "1,2"
    path = put(tmp_path / "a.csv", "\n".join(["a,b,c", *rows]) + "\n")
    with pytest.raises(InputError, match="line 50002: expected 3 fields, found 2"):
        read_frame(path)
    rows[50_000] = "1,é,2"
    path = put(tmp_path / "b.csv", "\n".join(["a,b,c", *rows]).encode("cp1252") + b"\n")
    assert read_frame(path)["b"].iloc[50_000] == "é"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((7, '7,"word",'), "line 9: expected 4 fields, found 3"),
        ((150_000, '7,"word"'), "line 150002: expected 4 fields, found 2"),
        ((150_000, '7,"a, b",1.5'), "line 150002: expected 4 fields, found 3"),
        ((150_000, '7,wo"rd",1.5,y'), "line 150002: a quote stands inside a cell"),
        ((150_000, '7,"word,1.5,y'), "line 150002: the quoted cell that begins here goes on"),
        ((199_999, '7,"word,1.5,y'), "line 200001: the file ends inside the quoted cell"),
    ],
)
def test_damage_in_a_large_file_with_quotes(tmp_path: Path, change: tuple[int, str], message: str) -> None:
    words = "more of them in each line of the file"
    rows = [f'{number},"a word, or {number} {words}",{number},' for number in range(200_000)]
    rows[change[0]] = change[1]
    path = put(tmp_path / "a.csv", "\n".join(["a,b,c,d", *rows]) + "\n")
    assert path.stat().st_size > 10_000_000
    with pytest.raises(InputError, match=message):
        read_frame(path)


def test_a_large_file_with_quotes_and_holes_is_read(tmp_path: Path) -> None:
    rows = [f'{number},"a word, or ""{number}"" more of them\nin the file",{number},' for number in range(200_000)]
    path = put(tmp_path / "a.csv", "\n".join(["a,b,c,d", *rows]) + "\n")
    frame = read_frame(path)
    assert len(frame) == 200_000 and frame["c"].tolist() == list(range(200_000))
    assert remarks(path) == []


# what people have ---------------------------------------------------------------------------------------------------


def test_giant_cells_are_read(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", f"id,{'n' * 300_000},c\n1,{'x' * 204_000},2\n2,{'y' * 3_000_000},4\n")
    frame = read_frame(path)
    assert frame.iloc[:, 1].str.len().tolist() == [204_000, 3_000_000]
    assert read_header(path)[2] == "c" and frame["c"].tolist() == [2, 4]


def test_blank_lines_of_one_column_are_rows(tmp_path: Path) -> None:
    lines = [str(number) for number in range(60)]
    lines[20] = lines[40] = ""
    frame = read_frame(put(tmp_path / "a.csv", "x\n" + "\n".join(lines) + "\n"))
    assert len(frame) == 60
    assert frame["x"].isna().to_numpy().nonzero()[0].tolist() == [20, 40]
    assert frame["x"].iloc[59] == 59


def test_doubled_returns_of_windows(tmp_path: Path) -> None:
    assert read_frame(put(tmp_path / "a.csv", "a,b\r\r\n1,2\r\r\n3,4\r\r\n")).to_numpy().tolist() == [[1, 2], [3, 4]]


def test_quotes_that_are_inches(tmp_path: Path) -> None:
    frame = read_frame(put(tmp_path / "a.csv", 'a,b\n1,5" pipe\n2,3" pipe\n'))
    assert frame["b"].tolist() == ['5" pipe', '3" pipe']


def test_quoted_cells_hold_anything(tmp_path: Path) -> None:
    cells = ["a\nb", 'say "so"', "x,y", "a\r\nb", '"', "\n\n"]
    path = tmp_path / "a.csv"
    pd.DataFrame({"a": range(len(cells)), "b": cells}).to_csv(path, index=False)
    assert read_frame(path)["b"].tolist() == cells


@pytest.mark.parametrize("separator", [",", ";"])
def test_the_index_that_pandas_writes_is_left_out(tmp_path: Path, separator: str) -> None:
    frame = pd.DataFrame({"x": [1.5, 2.5, 3.5], "y": ["a", "b", "a"]})
    frame.to_csv(tmp_path / "once.csv", sep=separator)
    pd.read_csv(tmp_path / "once.csv", sep=separator).to_csv(tmp_path / "twice.csv", sep=separator)
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "shuffled.csv", sep=separator)
    for name in ("once.csv", "twice.csv", "shuffled.csv"):
        assert read_header(tmp_path / name) == list(read_frame(tmp_path / name)) == ["x", "y"]
    assert read_frame(tmp_path / "once.csv", columns=["Unnamed: 0"])["Unnamed: 0"].tolist() == [0, 1, 2]


def test_an_index_that_came_from_csv_into_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"Unnamed: 0": [0, 1], "x": [1, 1]}).to_parquet(tmp_path / "a.parquet")
    assert read_header(tmp_path / "a.parquet") == list(read_frame(tmp_path / "a.parquet")) == ["x"]
    assert "the column 'Unnamed: 0' is the index" in remarks(tmp_path / "a.parquet")[0]


@pytest.mark.parametrize("first", ["3,1\n3,2\n", "a,1\nb,2\n", "0.5,1\n1.5,2\n"])
def test_a_nameless_column_that_is_no_index_stays(tmp_path: Path, first: str) -> None:
    assert read_header(put(tmp_path / "a.csv", f",x\n{first}")) == ["Unnamed: 0", "x"]


def test_decimal_commas_behind_the_first_rows(tmp_path: Path) -> None:
    rows = "".join(f"{number};{number}\n" for number in range(500))
    frame = read_frame(put(tmp_path / "a.csv", f"a;b\n{rows}500;1,5\n"))
    assert frame["b"].iloc[-1] == 1.5 and frame["b"].dtype == np.float64


@pytest.mark.parametrize(
    ("content", "cell"),
    [
        ("a;b\n1;1,250\n2;3,500\n", 1.25),  # a semicolon spares the comma for decimals
        ("a\tb\n1\t1,250\n2\t3,500\n", "1,250"),  # may be a thousand: left to the columns' rules
        ("a\tb\n1\t1,25\n2\t3,500\n", 1.25),
        ("a;b;c\n1;1,5;0.5\n2;2,5;1.5\n", "1,5"),  # both marks: no decimal comma for the file
    ],
)
def test_commas_in_numbers(tmp_path: Path, content: str, cell: object) -> None:
    assert read_frame(put(tmp_path / "a.csv", content))["b"].iloc[0] == cell


def test_a_target_with_decimal_commas(tmp_path: Path) -> None:
    train = "id;x;y\n" + "".join(f"{i};{i},5;{i % 7},25\n" for i in range(40))
    test = "id;x\n" + "".join(f"{i};{i},5\n" for i in range(40, 50))
    seen = typed(put(tmp_path / "train.csv", train), put(tmp_path / "test.csv", test))
    assert seen["target"].task == "regression" and seen["y"][:3].tolist() == [0.25, 1.25, 2.25]


def test_both_files_have_the_same_decimal_mark(tmp_path: Path) -> None:
    """Alone, ``1,250`` may be a thousand; train shows that it is not."""
    train = "id\tx\ty\n" + "".join(f"{i}\t0,{i}\t{i % 2}\n" for i in range(100, 140))
    test = "id\tx\n" + "".join(f"{i}\t1,{i}\n" for i in range(140, 150))
    seen = typed(put(tmp_path / "train.csv", train), put(tmp_path / "test.csv", test))
    assert seen["kinds"]["x"] == "numeric"
    assert seen["train x"][0] == np.float32(0.1) and seen["test x"][0] == np.float32(1.14)
