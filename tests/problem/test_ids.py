"""Which column names the rows, in train, in test and in the sample."""

from pathlib import Path

import pytest

from foldsmith.problem.errors import InputError
from foldsmith.problem.ids import IdFiles, IdNames, find_ids

ROWS = 4


def files(folder: Path, train: str, test: str, sample: str | None = None, **said: str) -> IdFiles:
    """Csv files with these columns; ids count from 10 in train and from 20 in test, other cells are 0."""

    def write(name: str, header: str, first: int) -> Path:
        names = header.split(",")
        rows = [",".join(str(first + row) if "id" in name.lower() else "0" for name in names) for row in range(ROWS)]
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
        return folder / name

    sample_path = None if sample is None else write("sample.csv", sample, 20)
    return IdFiles(write("train.csv", train, 10), write("test.csv", test, 20), "y", sample_path, **said)


@pytest.mark.parametrize(
    ("train", "test", "sample", "found", "stored"),
    [
        ("id,a,y", "id,a", None, ("id", "id"), ("id", None)),
        ("id,a,y", "id,a", "id,y", ("id", "id"), ("id", None)),
        ("key,a,y", "key,a", None, (None, None), (None, None)),
        ("a,y", "test_id,a", None, (None, "test_id"), (None, "test_id")),
        ("a,y", "test_id,a", "test_id,y", (None, "test_id"), (None, "test_id")),
        ("a,y", "id,a", "id,y", (None, "id"), (None, "id")),
        ("a,y", "id,a", None, (None, "id"), (None, "id")),
        ("train_id,a,y", "test_id,a", None, ("train_id", "test_id"), ("train_id", "test_id")),
        ("train_id,a,y", "test_id,a", "test_id,y", ("train_id", "test_id"), ("train_id", "test_id")),
        ("train_id,a,y", "test_id,a", "id,y", ("train_id", "test_id"), ("train_id", "test_id")),
        ("id_train,a,y", "id_test,a", "id_test,y", ("id_train", "id_test"), ("id_train", "id_test")),
        ("id,a,y", "test_id,a", "test_id,y", ("id", "test_id"), ("id", "test_id")),
        ("Id,a,y", "id,a", None, ("Id", "id"), ("Id", "id")),
        ("ID ,a,y", " id,a", "Id,y", ("ID ", " id"), ("ID ", " id")),
        ("Row ID,a,y", "row_id,a", None, ("Row ID", "row_id"), ("Row ID", "row_id")),
        ("order_id,a,y", "order_id,a", "id,y", ("order_id", "order_id"), ("order_id", None)),
        ("id,a,y", "id,a", "y,id", ("id", "id"), ("id", None)),
        ("id,a,y", "a", None, ("id", None), ("id", "")),
        ("train_id,a,y", "a", None, ("train_id", None), ("train_id", "")),
        ("a,y", "a", None, (None, None), (None, None)),
        ("a,y", "Unnamed: 0,a", None, (None, None), (None, None)),
    ],
)
def test_the_id_is_found(
    tmp_path: Path,
    train: str,
    test: str,
    sample: str | None,
    found: tuple[str | None, str | None],
    stored: tuple[str | None, str | None],
) -> None:
    names = find_ids(files(tmp_path, train, test, sample))
    assert (names.train, names.test) == found
    assert names.stored == stored


@pytest.mark.parametrize(
    ("train", "test", "remarks"),
    [
        ("id,a,y", "id,a", []),
        ("a,y", "id,a", ["the id is 'id', which only the test file has: rows of train are known by their number"]),
        ("id,a,y", "a", ["the id is 'id', which only the train file has: rows of test are known by their order"]),
        ("train_id,y", "test_id", ["the id is 'train_id' in the train file and 'test_id' in the test file"]),
        ("id,a,y", "id,a,b", ["column 'b' only the test file has; not used"]),
        ("id,a,y", "id,a,b,c", ["columns 'b', 'c' only the test file has; not used"]),
        ("id,a,y", "id,a,y", ["the test file has the target 'y' too; it is not looked at"]),
    ],
)
def test_what_is_not_plain_is_told(tmp_path: Path, train: str, test: str, remarks: list[str]) -> None:
    assert list(find_ids(files(tmp_path, train, test)).remarks) == remarks


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"id": "uid"}, ("uid", "uid")),
        ({"id": "test_id"}, ("train_id", "test_id")),
        ({"id": "train_id"}, ("train_id", "test_id")),
        ({"id": "uid", "test_id": "test_id"}, ("uid", "test_id")),
        ({"test_id": "test_id"}, ("train_id", "test_id")),
    ],
)
def test_what_is_said_counts_first(tmp_path: Path, said: dict[str, str], found: tuple[str, str]) -> None:
    names = find_ids(files(tmp_path, "train_id,uid,y", "test_id,uid", "test_id,y", **said))
    assert (names.train, names.test, names.reason) == (*found, "given")


def test_a_repeated_column_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,y\n1,0\n2,1\n")
    (tmp_path / "test.csv").write_text("shop_id,a\n7,1\n7,2\n")
    names = find_ids(IdFiles(tmp_path / "train.csv", tmp_path / "test.csv", "y"))
    assert names == IdNames(None, None, "", ("column 'shop_id' only the test file has; not used",))


def test_an_unknown_test_id(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"test_id 'idd' is not a column of test.csv; columns: id, a"):
        find_ids(files(tmp_path, "id,a,y", "id,a", test_id="idd"))
