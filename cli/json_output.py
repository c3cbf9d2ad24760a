"""Results for programs, on stdout."""

import json
import math
import sys
from typing import Any

import click


def print_json(record: Any) -> None:
    """Print one JSON value; numbers that JSON has no word for (nan, infinity) become null.

    Characters that stdout cannot spell are escaped as JSON does it.
    """
    text = json.dumps(plain(record), ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain(record))
    click.echo(text)


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
