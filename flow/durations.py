"""Durations as people type them."""

import re

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


def show_duration(seconds: float) -> str:
    """``0:42``, ``12:05``, ``1:02:05``.

    >>> show_duration(3725)
    '1:02:05'
    """
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
