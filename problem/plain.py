"""Arguments as people give them in notebooks, NumPy's numbers and texts among them, made plain Python."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def plain(value: Any) -> Any:
    """NumPy scalars, and those inside lists, tuples, dicts and sets, as Python's own; other paths as ``Path``.

    Arrays and pandas' columns of one dimension become lists; everything else stays what it is.

    >>> plain(np.int64(3)), plain((np.str_("auc"), np.bool_(True))), plain({"a": np.float32(0.5)})
    (3, ('auc', True), {'a': 0.5})
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return [plain(entry) for entry in value.tolist()]
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "tolist"):
        return [plain(entry) for entry in value.tolist()]
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(plain(entry) for entry in value)
    if isinstance(value, Mapping) and type(value) is dict:
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, os.PathLike) and not isinstance(value, Path):
        return Path(os.fsdecode(value))
    return value


def as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names as a person may give them: one, several with commas between, or a sequence.

    >>> as_names("linear, knn"), as_names(["linear"])
    (('linear', 'knn'), ('linear',))
    """
    if isinstance(names, str):
        return tuple(filter(None, (name.strip() for name in names.split(","))))
    return tuple(names)


def takes_plain(function: Callable[P, R]) -> Callable[P, R]:
    """A function that gets :func:`plain` arguments whatever its caller has."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*[plain(value) for value in args], **{name: plain(value) for name, value in kwargs.items()})

    return call
