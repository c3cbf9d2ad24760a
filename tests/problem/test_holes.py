"""NA is a hole in one column and a word in the next: decided over both files, told, and changed by keep_na."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.config import load_config
from foldsmith.problem.dataset import Frames, open_dataset, read_frames
from foldsmith.problem.reading import MISSING_TOKENS, read_frame

N = 40


def write(folder: Path, columns: dict[str, list[str]], name: str) -> Path:
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def column(*cells: str, n_rows: int = N) -> list[str]:
    return [cells[row % len(cells)] for row in range(n_rows)]


def frames(folder: Path, train: dict[str, list[str]], test: dict[str, list[str]], **words: object) -> Frames:
    base = {"id": [str(row) for row in range(N)], "y": column("0", "1")}
    train_path = write(folder, {**base, **train}, "train")
    test_path = write(folder, {"id": [str(row) for row in range(N)], **test}, "test")
    return read_frames(train_path, test_path, target="y", id_column="id", **words)  # type: ignore[arg-type]


def test_na_among_numbers_is_a_hole_and_told(tmp_path: Path) -> None:
    columns = {"x": column("1", "NA", "3"), "z": column("NA", "0.5"), "w": column("1", "2")}
    found = frames(tmp_path, columns, columns)
    assert found.train["x"].isna().sum() == 13 and found.train["z"].dtype == np.float64
    assert found.keep_na == ()
    assert found.remarks == (
        "'NA' is read as missing in 2 columns; where it is a word, name the column in [data] of foldsmith.toml: "
        'keep_na = ["x", "z"]',
    )


def test_na_among_words_is_a_word_where_holes_are_empty(tmp_path: Path) -> None:
    columns = {"country": column("DE", "NA", "FR", "ZA"), "x": column("1", "", "2")}
    found = frames(tmp_path, columns, columns)
    assert set(found.train["country"]) == {"DE", "NA", "FR", "ZA"} == set(found.test["country"])
    assert found.keep_na == ("country",)
    assert found.remarks == (
        "'NA' is read as a word in 'country'; where it means missing, take the column out of keep_na in [data] of "
        "foldsmith.toml",
    )


def test_na_among_words_is_a_hole_where_numbers_write_holes_so(tmp_path: Path) -> None:
    """As R writes tables: every hole is NA."""
    columns = {"garage": column("attached", "NA", "built in"), "x": column("1", "NA", "2")}
    found = frames(tmp_path, columns, columns)
    assert found.train["garage"].isna().sum() == 13 == found.test["garage"].isna().sum()
    assert found.keep_na == ()
    assert "'NA' is read as missing in 2 columns" in found.remarks[0] and '"garage", "x"' in found.remarks[0]


def test_one_decision_for_both_files(tmp_path: Path) -> None:
    """The test file alone would say otherwise: there are no holes in its numbers, and no other words."""
    train = {"country": column("DE", "NA", "FR"), "x": column("1", "", "2")}
    test = {"country": column("NA"), "x": column("1")}
    found = frames(tmp_path, train, test)
    assert set(found.test["country"]) == {"NA"}
    train["x"] = column("1", "NA")
    found = frames(tmp_path, train, test)
    assert found.test["country"].isna().all() and found.train["country"].isna().sum() == 13


def test_words_in_one_file_only(tmp_path: Path) -> None:
    train = {"code": column("12", "A", "NA", "B", "C"), "x": column("1", "2")}
    test = {"code": column("12", "NA", "13"), "x": column("1", "2")}
    found = frames(tmp_path, train, test)
    assert found.keep_na == ("code",)
    assert set(found.test["code"]) == {"12", "NA", "13"}


@pytest.mark.parametrize("token", ["nan", "NaN", "<NA>", "#N/A", "-nan"])
def test_what_only_programs_write_is_a_hole(tmp_path: Path, token: str) -> None:
    columns = {"word": column("a", "b", token, "c")}
    found = frames(tmp_path, columns, columns)
    assert found.train["word"].isna().sum() == 10 and found.keep_na == ()


@pytest.mark.parametrize("token", ["NA", "N/A", "n/a", "null", "NULL"])
def test_what_people_write_may_be_a_word(tmp_path: Path, token: str) -> None:
    columns = {"word": column("a", "b", token, "c")}
    assert frames(tmp_path, columns, columns).keep_na == ("word",)


@pytest.mark.parametrize("others", [("yes", "no"), ("2020-01-03", "2021-05-30"), ("$1.50", "$2.70"), ("A1", "B2")])
def test_what_is_no_column_of_words_has_holes(tmp_path: Path, others: tuple[str, str]) -> None:
    columns = {"cell": column(*others, "NA")}
    found = frames(tmp_path, columns, columns)
    assert found.train["cell"].isna().sum() == 13 and found.keep_na == ()


def test_ids_have_no_holes_made_of_text(tmp_path: Path) -> None:
    ids = [*(str(row) for row in range(N - 3)), "NA", "null", "nan"]
    train = write(tmp_path, {"id": ids, "x": column("1", "2"), "y": column("0", "1")}, "train")
    test = write(tmp_path, {"id": ids, "x": column("1", "2")}, "test")
    found = read_frames(train, test, target="y", id_column="id")
    assert found.test["id"].tolist() == ids == found.train["id"].tolist()
    assert found.remarks == ()


def test_keep_na_decides(tmp_path: Path) -> None:
    columns = {"garage": column("attached", "NA", "built in"), "x": column("1", "NA", "2"), "z": column("NA", "3")}
    found = frames(tmp_path, columns, columns, keep_na=["garage", "x"])
    assert set(found.train["garage"]) == {"attached", "NA", "built in"} and set(found.test["x"]) == {"1", "NA", "2"}
    assert found.train["z"].isna().sum() == 20
    assert found.keep_na == ("garage", "x")
    with_words = {"country": column("DE", "NA", "FR")}
    assert frames(tmp_path, with_words, with_words, decide_na=False).train["country"].isna().sum() == 13


def test_the_decision_is_written_down_and_holds(tmp_path: Path) -> None:
    columns = {"id": [str(row) for row in range(N)], "country": column("DE", "NA", "FR"), "x": column("1", "", "2")}
    train = write(tmp_path, {**columns, "y": column("0", "1")}, "train")
    test = write(tmp_path, columns, "test")
    setup = init(tmp_path / "comp", SetupRequest(train, test, "y"))
    assert any("'NA' is read as a word in 'country'" in remark for remark in setup.remarks)
    assert setup.data.train.schema.categories["country"] == ("DE", "FR", "NA")
    config = load_config(setup.folder.config)
    assert config.data.keep_na == ("country",)
    again = open_dataset(setup.folder, config)
    assert again.train_fingerprint == setup.data.train_fingerprint
    setup.folder.config.write_text(setup.folder.config.read_text().replace('keep_na = ["country"]', "keep_na = []"))
    changed = open_dataset(setup.folder, load_config(setup.folder.config))
    assert changed.train.schema.categories["country"] == ("DE", "FR")
    assert (changed.train.codes[:, 0] == -1).sum() == 13


def test_a_single_file_goes_by_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, {"country": column("DE", "NA"), "x": column("1", "NA")}, "table")
    assert read_frame(path)["country"].isna().sum() == 20
    assert set(read_frame(path, keep_na=["country"])["country"]) == {"DE", "NA"}
    assert set(read_frame(path, as_text=["country"])["country"]) == {"DE", "NA"}


def test_words_that_come_late_keep_their_tokens(tmp_path: Path) -> None:
    cells = [*column("1", "NA", n_rows=1000), "north"]
    path = write(tmp_path, {"a": cells, "b": column("x", n_rows=1001)}, "table")
    assert read_frame(path, keep_na=["a"])["a"].value_counts()["NA"] == 500
    assert read_frame(path)["a"].isna().sum() == 500


@pytest.mark.parametrize("token", MISSING_TOKENS)
def test_blank_cells_are_missing_everywhere(tmp_path: Path, token: str) -> None:
    path = write(tmp_path, {"a": column("x", token), "b": column("1", token)}, "table")
    frame = read_frame(path, as_text=["a"])
    assert frame["a"].isna().sum() == (0 if token.strip() else 20)
    assert frame["b"].isna().sum() == 20
    pd.testing.assert_series_equal(frame["b"], read_frame(path, columns=["b"])["b"])
