"""Children that are forked while this process has handlers of its own for the signals that end processes."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from functools import cache

_ENDING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

_n_guards = 0


class _Mask(threading.local):
    """The signals that this thread blocked before the fork that it is in; None outside of a guarded fork."""

    before_fork: set[int] | None = None


_mask = _Mask()


@contextlib.contextmanager
def forked_children_end_as_told() -> Iterator[None]:
    """Let children that are forked meanwhile end when a signal tells them to.

    They inherit handlers (of a search, of Ray) that wait for something which they are no part of; and a signal that
    comes while a child is being made is forgotten by Python. So the signals wait until the child has no such handler.
    """
    global _n_guards
    guard_forks()
    try:
        yield
    finally:
        _n_guards -= 1


def guard_forks() -> None:
    """As ``forked_children_end_as_told``, for as long as this process lives."""
    global _n_guards
    _register_hooks()
    _n_guards += 1


@cache  # hooks cannot be taken back, so they are registered once
def _register_hooks() -> None:
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_forget_handlers)


def _hold_signals() -> None:
    if _n_guards:
        _mask.before_fork = set(signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS))


def _release_signals() -> None:
    if _mask.before_fork is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before_fork)
        _mask.before_fork = None


def _forget_handlers() -> None:
    if _mask.before_fork is None:
        return
    for number in _ENDING_SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    _mask.before_fork.discard(signal.SIGTERM)  # a thread that forks may block it, its child has to hear it
    _release_signals()
