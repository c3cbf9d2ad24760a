"""One column's values as strings, numbers, truth values and times."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem import cells


def test_numbers_have_one_spelling() -> None:
    assert cells.strings(pd.Series([1, 2])).tolist() == ["1", "2"]
    assert cells.strings(pd.Series([1.0, np.nan, 2.5])).tolist() == ["1", None, "2.5"]
    assert cells.strings(pd.Series([np.inf, 1e300])).tolist() == ["inf", "1e+300"]


def test_strings_of_mixed_and_categorical_columns() -> None:
    assert cells.strings(pd.Series([1, "a", None, " ", 2.0], dtype=object)).tolist() == ["1", "a", None, None, "2"]
    assert cells.strings(pd.Series(["b", None, "a"], dtype="category")).tolist() == ["b", None, "a"]
    assert cells.strings(pd.Series([[1, 2], None], dtype=object)).tolist() == ["[1, 2]", None]


def test_numbers_count_the_words() -> None:
    values, n_words = cells.numbers(pd.Series(["1", " 2.5 ", "None", "?", None, "many", "1e3"]))
    np.testing.assert_array_equal(values, [1, 2.5, np.nan, np.nan, np.nan, np.nan, 1000])
    assert n_words == 1


def test_durations_are_seconds() -> None:
    assert cells.numbers(pd.to_timedelta(pd.Series(["1h", "1s"])))[0].tolist() == [3600, 1]


def test_truth_values() -> None:
    words = pd.Series(["Yes", "no", "T", "false", "1", "0", "maybe", None])
    np.testing.assert_array_equal(cells.truth_values(words), [1, 0, 1, 0, 1, 0, np.nan, np.nan])
    assert cells.unknown_truth(words) == 1
    assert cells.truth_values(pd.Series([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-01-02", "2011-01-02"),
        ("2011-01-02 03:04:05", "2011-01-02T03:04:05"),
        ("2011-01-02T03:04:05.000006Z", "2011-01-02T03:04:05.000006"),
        ("2011-01-02T03:04+02:00", "2011-01-02T01:04"),
        ("1/2/2011", "2011-01-02"),
        ("13/2/2011", "2011-02-13"),
        ("02.01.2011 03:04", "2011-01-02T03:04"),
        ("2-Jan-2011", "2011-01-02"),
        ("January 2, 2011", "2011-01-02"),
        ("2011/01/02", "2011-01-02"),
        ("1/2/11 3:04 PM", "2011-01-02T15:04"),
        ("1600-01-01", "1600-01-01"),
    ],
)
def test_times(text: str, expected: str) -> None:
    pattern = cells.find_time_format([text])
    assert pattern is not None
    assert cells.times(pd.Series([text]), pattern).view("datetime64[us]")[0] == np.datetime64(expected)


@pytest.mark.parametrize("text", ["2011", "20110102", "1.5", "12:30", "A/5 21171", "10.5.3.2", "x", "3-4", "5 apples"])
def test_what_is_no_date(text: str) -> None:
    assert cells.find_time_format([text]) is None


def test_the_format_is_the_one_that_fits_all() -> None:
    assert cells.find_time_format(["01/02/2011", "03/04/2011"]) == "%m/%d/%Y"
    assert cells.find_time_format(["01/02/2011", "31/04/2011", "31/01/2011", "30/01/2011"]) is None
    assert cells.find_time_format(["01/02/2011", "31/05/2011"]) == "%d/%m/%Y"
    assert cells.find_time_format(["20110102"], integers=True) == "ISO8601"
    assert cells.find_time_format(["2011", "2012"], integers=True) == "%Y"
    assert cells.find_time_format([]) is None


def test_real_datetimes_become_utc() -> None:
    stamps = pd.to_datetime(pd.Series(["2011-01-01", None])).dt.tz_localize("Europe/Berlin")
    micros = cells.times(stamps, cells.ISO)
    assert micros.view("datetime64[us]")[0] == np.datetime64("2010-12-31T23:00")
    assert micros[1] == cells.MISSING_TIME
    days = pd.Series([date(2011, 1, 2), None], dtype=object)
    assert cells.times(days, cells.ISO).view("datetime64[us]")[0] == np.datetime64("2011-01-02")


def test_missing_time_is_nat() -> None:
    assert np.isnat(np.array([cells.MISSING_TIME]).view("datetime64[us]"))[0]
    assert cells.times(pd.Series(["x", None]), cells.ISO).tolist() == [cells.MISSING_TIME] * 2
