"""Reading files: what survives unchanged, and one line for everything that can go wrong."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.reading import MISSING_TOKENS, fingerprint, read_frame, read_header


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def message(path: Path) -> str:
    """The error of reading, which must be one line that names the file."""
    with pytest.raises(InputError) as caught:
        read_frame(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def test_csv_types(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "a.csv", "n,f,s,b\n1,0.5,x,True\n2,,y,False\n"))
    assert list(frame) == ["n", "f", "s", "b"]
    assert frame["n"].tolist() == [1, 2]
    assert frame["f"].isna().tolist() == [False, True]
    assert frame["s"].tolist() == ["x", "y"]
    assert frame["b"].tolist() == [True, False]


def test_gz_and_parquet_read_like_csv(tmp_path: Path) -> None:
    text = "id,x,s\n1,0.5,a\n2,1.5,\n"
    plain = read_frame(write(tmp_path / "a.csv", text))
    pd.testing.assert_frame_equal(read_frame(write(tmp_path / "a.csv.gz", text)), plain)
    plain.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.parquet"), plain)
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        assert read_header(tmp_path / name) == ["id", "x", "s"]


@pytest.mark.parametrize("token", MISSING_TOKENS)
def test_missing_tokens(tmp_path: Path, token: str) -> None:
    frame = read_frame(write(tmp_path / "a.csv", f"x,y\n1,a\n{token},{token}\n"))
    assert frame.isna().to_numpy().tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("word", ["None", "none", "NONE", "-", "?", "missing"])
def test_none_stays_a_string(tmp_path: Path, word: str) -> None:
    assert read_frame(write(tmp_path / "a.csv", f"x,y\n1,a\n{word},b\n"))["x"].tolist() == ["1", word]


@pytest.mark.parametrize("identifier", ["00123", "9007199254740993", "123456789012345678901234567890", "1e5", "True"])
def test_ids_survive_as_text(tmp_path: Path, identifier: str) -> None:
    path = write(tmp_path / "a.csv", f"id,x\n{identifier},1\n7,2\n")
    assert read_frame(path, as_text=["id", "absent"])["id"].tolist() == [identifier, "7"]


def test_parquet_ids_survive_as_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array([2**53 + 1, None], pa.int64())}), tmp_path / "a.parquet")
    assert read_frame(tmp_path / "a.parquet", as_text=["id"])["id"].tolist()[0] == "9007199254740993"


def test_large_integers_stay_exact(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path / "a.csv", "x,y\n9007199254740993,1\n"))["x"].tolist() == [9007199254740993]


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    assert list(read_frame(path, columns=["c", "a"])) == ["c", "a"]
    read_frame(path).to_parquet(tmp_path / "a.parquet")
    assert list(read_frame(tmp_path / "a.parquet", columns=["c", "a"])) == ["c", "a"]
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(UnknownNameError, match="unknown column in .* 'd'"):
            read_frame(tmp_path / name, columns=["d"])


def test_names_with_any_characters(tmp_path: Path) -> None:
    names = ["Jitter:RAP", 'a "quoted" name', " blank ", "größe", "a,b", "x\ny", "名前", "{json}", "[0]"]
    frame = pd.DataFrame([range(len(names))], columns=names)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert read_header(tmp_path / name) == names
        assert list(read_frame(tmp_path / name)) == names


def test_an_empty_name_is_numbered_as_in_pandas(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,,y\n0,1,2\n3,1,2\n")
    assert read_header(path) == list(read_frame(path)) == ["x", "Unnamed: 1", "y"]


def test_byte_order_mark_and_blank_first_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbf" + "\n\nä,b\n1,2\n".encode())
    assert read_header(path) == ["ä", "b"]
    assert read_frame(path)["ä"].tolist() == [1]


def test_latin_1_text_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "größe,x\nMünchen,1\n".encode("latin-1"))
    assert read_frame(path)["größe"].tolist() == ["München"]
    assert read_header(path) == ["größe", "x"]


def test_parquet_types_become_plain(tmp_path: Path) -> None:
    table = pa.table(
        {
            "category": pa.array(["a", "b", None]).dictionary_encode(),
            "decimal": pa.array(["1.5", "2.5", None]).cast(pa.decimal128(10, 2)),
            "date": pa.array([0, 1, None], pa.int32()).cast(pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    frame = read_frame(tmp_path / "a.parquet")
    assert frame["category"].tolist()[:2] == ["a", "b"]
    assert frame["decimal"].tolist()[:2] == [1.5, 2.5]
    assert frame["date"].dtype.kind == "M"
    assert frame.isna().iloc[2].all()


def test_a_parquet_index_without_a_name_is_dropped(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2]}, index=[5, 9]).to_parquet(tmp_path / "a.parquet")
    assert list(read_frame(tmp_path / "a.parquet")) == read_header(tmp_path / "a.parquet") == ["x"]


def test_missing_file_folder_and_suffix(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    assert "is a folder" in message(tmp_path / "b.csv")
    assert "unknown ending '.xlsx'; convert it to one of .csv, .csv.gz, .tsv, " in message(tmp_path / "a.xlsx")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "is empty" in message(tmp_path / name)


def test_no_content_and_no_rows(tmp_path: Path) -> None:
    assert "is empty" in message(write(tmp_path / "a.csv", "\n\n"))
    assert "is empty" in message(write(tmp_path / "a.csv.gz", ""))
    assert "no rows" in message(write(tmp_path / "a.csv", "x,y\n"))
    pd.DataFrame({"x": []}).to_parquet(tmp_path / "a.parquet")
    assert "no rows" in message(tmp_path / "a.parquet")


def test_duplicated_names(tmp_path: Path) -> None:
    assert "has 'x' more than once" in message(write(tmp_path / "a.csv", "x,y,x\n1,2,3\n"))
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"]), tmp_path / "a.parquet")
    assert "has 'y' more than once" in message(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.random.default_rng(0).bytes(2000), "not a text file"),
        (b"PAR1\x00\x00", "is a parquet file"),
        (gzip.compress(b"x\n1\n", mtime=0), "compressed with gzip"),
        (b"x,y\n\xe9\x01,2\n", "neither UTF-8 nor latin-1"),
        (b'x,y\n"1,2\n3,4\n', "line 2: the file ends inside the quoted cell"),
        (b"x,y\n1,2\n1,2,3\n", "line 3: expected 2 fields, found 3: '1,2,3'"),
        (b"x,y\n1,2,3\n", "2 names but 3 fields"),
    ],
)
def test_what_is_no_csv(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in message(write(tmp_path / "a.csv", content))


def test_broken_gz_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 999)[:-20])
    assert "cannot be read as csv" in message(tmp_path / "a.csv.gz")
    (tmp_path / "b.csv.gz").write_bytes(b"x,y\n1,2\n")
    assert "cannot be read as csv" in message(tmp_path / "b.csv.gz")
    (tmp_path / "a.parquet").write_bytes(b"x,y\n1,2\n")
    assert "cannot be read as parquet" in message(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_header(tmp_path / "a.parquet")


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.csv", "x\n1\n"), write(tmp_path / "b.csv", "x\n1\n")
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(write(tmp_path / "c.csv", "x\n2\n"))
    with pytest.raises(InputError, match="does not exist"):
        fingerprint(tmp_path / "d.csv")
