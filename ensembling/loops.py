"""The loops over all members: numba's for much work where it is installed, else NumPy's."""

import importlib
from functools import cache
from types import ModuleType

# Compiling takes seconds, once per installation; for less than this NumPy is done before.
COMPILED_FROM = 500_000


def loops_for(n_values: int) -> ModuleType:
    """:mod:`foldsmith.ensembling.compiled` or :mod:`foldsmith.ensembling.plain`, which hold the same functions.

    Args:
        n_values: members times rows that a step looks at.
    """
    return compiled_loops() if n_values >= COMPILED_FROM else _module("plain")


def compiled_loops() -> ModuleType:
    """The compiled loops, or NumPy's where numba is missing."""
    try:
        return _module("compiled")
    except ImportError:
        return _module("plain")


@cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"foldsmith.ensembling.{name}")
