"""foldsmith: hyperparameter and ensemble search for competitions.

Offers ``init`` and ``open_competition`` (see :mod:`foldsmith.flow`), loaded on first use so that importing
foldsmith costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

from foldsmith._version import __version__

if TYPE_CHECKING:
    from foldsmith.flow.competition import Competition, init, open_competition

__all__ = ["Competition", "__version__", "init", "open_competition"]


def __getattr__(name: str) -> Any:
    if name in ("Competition", "init", "open_competition"):
        from foldsmith.flow import competition

        return getattr(competition, name)
    raise AttributeError(f"module 'foldsmith' has no attribute {name!r}")
