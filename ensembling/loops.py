"""The loops over all members: numba's where it is installed, else NumPy's."""

import importlib
from functools import cache
from types import ModuleType


@cache
def loops() -> ModuleType:
    """:mod:`foldsmith.ensembling.compiled`, or :mod:`foldsmith.ensembling.plain` without numba; loaded when needed.

    Both hold the same functions. Compiled code is kept on disk, so only the first process of an installation waits.
    """
    try:
        return importlib.import_module("foldsmith.ensembling.compiled")
    except ImportError:
        return importlib.import_module("foldsmith.ensembling.plain")
