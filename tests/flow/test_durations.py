"""Durations in and out."""

import pytest

from foldsmith.flow.durations import parse_duration, show_duration
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
