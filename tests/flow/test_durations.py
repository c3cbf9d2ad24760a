"""Durations and times of day, in and out."""

import datetime
import time
from collections.abc import Iterator

import pytest

from foldsmith.flow.durations import parse_duration, parse_until, show_clock, show_duration
from foldsmith.problem.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("0.5", 0.5),
        ("1.5h", 5400),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1d2h3m4s", 93784),
        (" 1H 30M ", 5400),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "soon", "10 minutes", "m", "10x", "1m1h", "1h-3m", "10m10m", "1,5h", "."])
def test_no_duration(text: str) -> None:
    with pytest.raises(InputError, match="is not a duration; write it as 90s, 10m, 1h30m or 2d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0", "0s", "0h0m", "-5", "nan", "inf", "-inf", "1e999"])
def test_not_positive(text: str) -> None:
    with pytest.raises(InputError, match="is not positive; write it as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (42, "0:42"), (59.6, "1:00"), (725, "12:05"), (3725, "1:02:05"), (-3, "0:00"), (359999, "99:59:59")],
)
def test_show(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clocks change on 29 March and 25 October 2026."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """The moment of an ISO time with an offset."""
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        ("2026-11-22T23:00+01:00", "07:30", "2026-11-23T07:30+01:00"),
        ("2026-11-22T05:00+01:00", "07:30", "2026-11-22T07:30+01:00"),
        ("2026-11-22T05:00+01:00", "7:30", "2026-11-22T07:30+01:00"),
        ("2026-11-22T07:30+01:00", "07:30", "2026-11-23T07:30+01:00"),
        ("2026-11-22T07:30:01+01:00", "07:30:02", "2026-11-22T07:30:02+01:00"),
        ("2026-12-31T23:00+01:00", "00:15", "2027-01-01T00:15+01:00"),
        ("2026-11-22T23:00+01:00", "23:30Z", "2026-11-22T23:30+00:00"),
        ("2026-11-23T00:29+01:00", "23:30z", "2026-11-22T23:30+00:00"),
        ("2026-11-23T00:31+01:00", "23:30Z", "2026-11-23T23:30+00:00"),
        ("2026-11-22T23:00+01:00", "07:30-05:00", "2026-11-23T07:30-05:00"),
        ("2026-11-22T23:00+01:00", "2026-11-23T07:30", "2026-11-23T07:30+01:00"),
        ("2026-11-22T23:00+01:00", " 2026-11-23 07:30 ", "2026-11-23T07:30+01:00"),
        ("2026-11-22T23:00+01:00", "2026-11-23T07:30Z", "2026-11-23T07:30+00:00"),
        ("2026-03-28T22:00+01:00", "07:30", "2026-03-29T07:30+02:00"),  # a night of 8.5 hours
        ("2026-10-24T22:00+02:00", "07:30", "2026-10-25T07:30+01:00"),  # and one of 10.5
    ],
)
def test_until(now: str, text: str, moment: str) -> None:
    assert parse_until(text, at(now)) == at(moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "7",
        "24:00",
        "07:60",
        "7:3",
        "07:30:61",
        "-7:30",
        "07:30+99:00",
        "2026-11-23",
        "2026-13-01T07:30",
        "8h",
    ],
)
def test_no_time(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a time; write it as 07:30, 23:30Z or 2026-11-23T07:30"):
        parse_until(text)


@pytest.mark.parametrize("text", ["2020-01-01T00:00", "2020-01-01T00:00Z", "1000-01-01T00:00+00:00"])
def test_a_time_that_has_passed(text: str) -> None:
    with pytest.raises(InputError, match=f"the time '{text[:4]}.* has passed; give one that is still ahead"):
        parse_until(text)


@pytest.mark.usefixtures("berlin")
def test_show_clock() -> None:
    assert show_clock(at("2026-11-24T06:30+00:00")) == "Tue 07:30"
