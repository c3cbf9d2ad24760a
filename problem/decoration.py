"""One guard around everything that only decorates: notes, pictures, hooks, mirrors, progress; it ends no search."""

import logging
from collections.abc import Callable
from types import TracebackType

logger = logging.getLogger(__name__)


class Decorations:
    """Makes guards, and says once of each thing that failed that it did.

    >>> guard = Decorations(print)
    >>> for _ in range(2):
    ...     with guard("the picture"):
    ...         raise ValueError("math domain error")
    the picture failed (ValueError: math domain error); everything else goes on

    Args:
        say: for people; the log gets the traceback in any case.
    """

    def __init__(self, say: Callable[[str], None] = lambda message: None) -> None:
        self._say = say
        self._told: dict[str, str] = {}

    @property
    def failures(self) -> tuple[str, ...]:
        """What was told so far."""
        return tuple(self._told.values())

    def __call__(self, what: str) -> "Guard":
        """A context that ends quietly whatever is raised in it, but for Ctrl-C.

        Args:
            what: fails, in words for people; told once.
        """
        return Guard(self, what)

    def note(self, what: str, error: BaseException) -> None:
        """Log the first failure of its kind, and tell people."""
        if what in self._told:
            return
        message = f"{what} failed ({words_of(error)}); everything else goes on"
        self._told[what] = message
        logger.warning(message, exc_info=error)
        self._say(message)


def words_of(error: BaseException) -> str:
    """Kind and text of an error; somebody else's may have a text that cannot be made."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception:
        return kind


class Guard:
    """One use of :class:`Decorations`."""

    def __init__(self, owner: Decorations, what: str) -> None:
        self._owner = owner
        self._what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        """Take every error but a person's own wish to stop, ``SystemExit`` and other odd ones too."""
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        try:
            self._owner.note(self._what, error)
        except Exception:  # no memory left, a message that cannot be made: nothing may come of that either
            return True
        return True
