from collections.abc import Sequence

import numpy as np
import pandas as pd

from foldsmith.problem.columns import Column
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces.dates import MOST_DATES, date_gaps, date_parts, n_gaps
from foldsmith.spaces.encoding import DenseEncoder, TreeEncoder


def _table(*columns: Sequence[str | None]) -> Table:
    frame = pd.DataFrame(
        {f"d{number}": pd.Series(list(values), dtype="object") for number, values in enumerate(columns)}
    )
    return type_frame(frame, build_schema(frame, [Column(str(name), "datetime", "") for name in frame]))


def test_days_between_each_two_dates() -> None:
    table = _table(
        ["2024-01-01", "2024-02-28", None], ["2024-01-11", "2024-03-01", "2024-01-01"], ["2023-12-31"] * 2 + [None]
    )
    np.testing.assert_array_equal(date_gaps(table), [[10, -1, -11], [2, -59, -61], [np.nan] * 3])


def test_hours_are_parts_of_a_day() -> None:
    table = _table(["2024-01-01 00:00:00"], ["2024-01-01 06:00:00"])
    np.testing.assert_array_equal(date_gaps(table), [[0.25]])


def test_one_date_has_no_gap_and_many_have_a_bounded_number() -> None:
    assert date_gaps(_table(["2024-01-01"])).shape == (1, 0)
    many = _table(*[["2024-01-01"]] * (MOST_DATES + 3))
    assert date_gaps(many).shape == (1, n_gaps(MOST_DATES + 3)) == (1, 15)


def test_gaps_reach_both_encoders() -> None:
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(1000, size=80), unit="D")
    stay = rng.integers(1, 30, size=80)
    end = start + pd.to_timedelta(stay, unit="D")
    table = _table(*([str(day) for day in times.strftime("%Y-%m-%d")] for times in (start, end)))
    for encoder in (TreeEncoder.fit(table, np.arange(80), seed=0), DenseEncoder.fit(table, np.arange(80), seed=0)):
        matrix = np.nan_to_num(encoder.transform(table))
        assert max(abs(np.corrcoef(column, stay)[0, 1]) for column in matrix.T if column.std()) > 0.999


def test_seconds_of_one_day_stay_apart() -> None:
    stamps = pd.date_range("2024-05-01 08:00:00", periods=5000, freq="s")
    table = _table(stamps.strftime("%Y-%m-%d %H:%M:%S").tolist())
    days = date_parts(table)[:, 0]
    assert len(np.unique(days)) == 5000
    later = type_frame(pd.DataFrame({"d0": ["2024-05-01 08:00:00"]}), table.schema)
    assert date_parts(later)[0, 0] == days[0]


def test_days_of_years_are_counted_from_1970() -> None:
    table = _table(["1970-01-02", "2024-05-01", "2001-01-01 12:00:00"])
    assert date_parts(table)[:, 0].tolist() == [1.0, 19844.0, 11323.5]
