"""Loading the user's code: names, errors, neighbours, pickling and changed files."""

import pickle
import sys
from pathlib import Path

import pytest

from foldsmith.problem.errors import InputError
from foldsmith.problem.usercode import load_object, source_digest


def test_an_object_is_loaded_once_and_pickles_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text("class Square:\n    side = 2\n")
    square = load_object("shapes:Square", tmp_path)
    assert square.side == 2 and square.__module__ == "foldsmith_usercode.shapes"
    assert load_object("shapes:Square", tmp_path) is square
    assert type(pickle.loads(pickle.dumps(square()))) is square
    assert str(tmp_path) not in sys.path


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    for value in (1, 2):  # of equal length and within a second: a stale .pyc would be taken
        (tmp_path / "changing.py").write_text(f"value = {value}\n")
        assert load_object("changing:value", tmp_path) == value
    assert not (tmp_path / "__pycache__").exists()


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text("folder = __file__\n")
        assert load_object("same:folder", tmp_path / name) == str(tmp_path / name / "same.py")


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_usercode.py").write_text("answer = 42\n")
    (tmp_path / "caller.py").write_text("from neighbour_of_usercode import answer\n")
    try:
        assert load_object("caller:answer", tmp_path) == 42
    finally:
        sys.modules.pop("neighbour_of_usercode", None)


@pytest.mark.parametrize("reference", ["mine", "mine:", ":f", "mine:f:g", "../mine:f", "pkg.mine:f", "mine:f()"])
def test_malformed_references(tmp_path: Path, reference: str) -> None:
    with pytest.raises(InputError, match="is not of the form 'module:name'"):
        load_object(reference, tmp_path)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "metrics.py").write_text("")
    with pytest.raises(InputError, match=r"there is no file .*metric\.py; did you mean 'metrics'\?"):
        load_object("metric:f", tmp_path)


def test_a_missing_name_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def weighted_mae(y, p): ...\n")
    with pytest.raises(InputError, match=r"defines no 'weigthed_mae'; did you mean 'weighted_mae'\?"):
        load_object("mine:weigthed_mae", tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "importing .*failing.py failed with SyntaxError"),
        ("import no_such_package_xyz\n", "failed with ModuleNotFoundError: No module named 'no_such_package_xyz'"),
        ("1 / 0\n", "failed with ZeroDivisionError: division by zero; correct the file"),
    ],
)
def test_a_file_that_fails_is_reported_and_not_kept(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "failing.py"
    path.write_text(source)
    with pytest.raises(InputError, match=message):
        load_object("failing:f", tmp_path)
    assert "foldsmith_usercode.failing" not in sys.modules
    path.write_text("f = 1\n")
    assert load_object("failing:f", tmp_path) == 1
    path.write_text(source)
    with pytest.raises(InputError, match=message):
        load_object("failing:f", tmp_path)
    assert sys.modules["foldsmith_usercode.failing"].f == 1  # what is pickled from the good version can be read
    del sys.modules["foldsmith_usercode.failing"]


def test_the_digest_follows_the_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("f = 1\n")
    first = source_digest("mine:f", tmp_path)
    assert source_digest("mine:f", tmp_path) == first and len(first) == 12
    path.write_text("f = 2\n")
    assert source_digest("mine:f", tmp_path) != first
    with pytest.raises(InputError, match="there is no file"):
        source_digest("yours:f", tmp_path)
