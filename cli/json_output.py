"""Results for programs, on stdout."""

import json
import math
from typing import Any

import click


def print_json(record: Any) -> None:
    """Print one JSON value; numbers that JSON has no word for (nan, infinity) become null."""
    click.echo(json.dumps(plain(record), ensure_ascii=False))


def plain(value: Any) -> Any:
    """The value with null for every number that is not finite.

    >>> plain({"sem": float("nan"), "folds": (1.0, 2.0)})
    {'sem': None, 'folds': [1.0, 2.0]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
