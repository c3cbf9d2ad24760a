"""Durations and times of day as people type them."""

import datetime
import re
import time

from foldsmith.problem.errors import InputError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Seconds of ``"90"``, ``"90s"``, ``"10m"``, ``"1h30m"``, ``"2d"``.

    >>> parse_duration("1h30m")
    5400.0

    Raises:
        InputError: not a duration, or not positive.
    """
    plain = text.strip().lower().replace(" ", "")
    match = _PATTERN.fullmatch(plain)
    if plain and match:
        seconds = sum(float(value) * unit for value, unit in zip(match.groups(), _UNITS.values(), strict=True) if value)
    else:
        try:
            seconds = float(plain)
        except ValueError:
            raise InputError(f"{text!r} is not a duration; write it as 90s, 10m, 1h30m or 2d") from None
    if not 0 < seconds < float("inf"):
        raise InputError(f"the duration {text!r} is not positive; write it as 90s, 10m, 1h30m or 2d")
    return seconds


_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(Z|[+-]\d{2}:\d{2})?", re.IGNORECASE)
_HOW = "write it as 07:30, 23:30Z or 2026-11-23T07:30"


def parse_until(text: str, now: float | None = None) -> float:
    """Seconds since the epoch of ``"07:30"`` (the next such local time), ``"23:30Z"``, ``"2026-11-23T07:30"``.

    A time without ``Z`` or an offset such as ``+02:00`` is local.

    >>> parse_until("1970-01-02T00:00Z", now=0.0)
    86400.0

    Args:
        now: seconds since the epoch; what "next" counts from.

    Raises:
        InputError: no such time, or one that has passed.
    """
    now = time.time() if now is None else now
    plain = text.strip()
    try:
        clock = _CLOCK.fullmatch(plain)
        found = _from_date(plain) if clock is None else _next_clock(clock, now)
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is not a time; {_HOW}") from None
    if found <= now:
        raise InputError(f"the time {text!r} has passed; give one that is still ahead")
    return found


def _from_date(text: str) -> float:
    if not re.match(r"\d{4}-\d{2}-\d{2}[T ]\d", text):  # a day alone leaves open which end of it is meant
        raise ValueError(text)
    return datetime.datetime.fromisoformat(text).timestamp()


def _next_clock(clock: re.Match[str], now: float) -> float:
    """The first moment after ``now`` at which a clock shows this; by the calendar, as a day may have 23 or 25 hours."""
    hours, minutes, seconds, zone = clock.groups()
    zone = zone and zone.upper()
    tz = None if zone is None else datetime.datetime.fromisoformat(f"2000-01-01T00:00{zone}").tzinfo
    wanted = datetime.time(int(hours), int(minutes), int(seconds or 0), tzinfo=tz)
    today = datetime.datetime.fromtimestamp(now, tz).date()
    days = (today + datetime.timedelta(days) for days in range(2))
    moments = [datetime.datetime.combine(day, wanted).timestamp() for day in days]
    return next((moment for moment in moments if moment > now), moments[-1])


def show_clock(moment: float) -> str:
    """``Tue 07:30``: a moment on the local clock, for the days around now."""
    return datetime.datetime.fromtimestamp(moment).strftime("%a %H:%M")


def show_duration(seconds: float) -> str:
    """``0:42``, ``12:05``, ``1:02:05``.

    >>> show_duration(3725)
    '1:02:05'
    """
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
