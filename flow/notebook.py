"""Progress of a search in a notebook: one line that is replaced, or, where it cannot be, a new one now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from foldsmith.flow.durations import show_duration
from foldsmith.problem.metrics import Metric
from foldsmith.search.snapshot import Snapshot

Observer = Callable[[Snapshot], None]

REPLACE_SECONDS = 1.0  # between two states of the line
LINE_SECONDS = 30.0  # between two lines, where they pile up
MAX_MESSAGES = 20


@contextmanager
def observer(metric: Metric, given: Observer | None) -> Iterator[Observer]:
    """Who looks at a search: whoever was given, a line of progress in IPython, else nobody."""
    if given is not None:
        yield given
        return
    shell = interactive_shell()
    if shell is None:
        yield lambda snapshot: None
        return
    line = ProgressLine(metric, _replacer(shell))
    try:
        yield line.show
    finally:
        line.end()


def interactive_shell() -> Any:
    """IPython's shell that this code runs in, None outside of one; IPython itself is not imported."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return None
    try:
        return ipython.get_ipython()
    except Exception:  # half imported, or another module of that name: no reason to end a search
        return None


def _replacer(shell: Any) -> Callable[[str], None] | None:
    """How a line is replaced in a notebook; None in a terminal."""
    if "zmq" not in type(shell).__name__.lower():
        return None
    from IPython.display import display  # type: ignore[import-not-found]

    handle = display({"text/plain": "the search begins"}, raw=True, display_id=True)
    return None if handle is None else lambda text: handle.update({"text/plain": text}, raw=True)


class ProgressLine:
    """Takes snapshots and shows few of them.

    Args:
        metric: whose greater or smaller values are better.
        replace: shows a text in place of the one before; None to print lines one below another.
    """

    def __init__(self, metric: Metric, replace: Callable[[str], None] | None = None) -> None:
        self._metric = metric
        self._replace = replace
        self._shown_at = -LINE_SECONDS
        self._phase = ""
        self._best: float | None = None
        self._n_said = 0
        self._last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Take a snapshot; it is shown when it tells something new and the last one is old enough."""
        for message in snapshot.messages[self._n_said :][:MAX_MESSAGES]:
            print(message[:300], flush=True)
        self._n_said = len(snapshot.messages)
        self._last = snapshot
        age = time.monotonic() - self._shown_at
        if self._replace is not None:
            if age >= REPLACE_SECONDS:
                self._draw(snapshot)
        elif age >= LINE_SECONDS or snapshot.phase != self._phase:
            self._draw(snapshot)

    def end(self) -> None:
        """Leave the last state on the page."""
        if self._last is not None and self._replace is not None:
            self._draw(self._last)

    def _draw(self, snapshot: Snapshot) -> None:
        self._shown_at = time.monotonic()
        self._phase = snapshot.phase
        text = describe(snapshot, self._metric)
        if self._replace is not None:
            self._replace(text)
        else:
            print(text, flush=True)


def describe(snapshot: Snapshot, metric: Metric) -> str:
    """``0:12 of 1:00  searching  3 trials (1 running)  best lightgbm 0.9172  ensemble 0.9181``."""
    clock = show_duration(snapshot.elapsed_seconds)
    if snapshot.budget_seconds is not None:
        clock += f" of {show_duration(snapshot.budget_seconds)}"
    n_trials = snapshot.n_complete + snapshot.n_running + snapshot.n_failed + snapshot.n_pruned
    wanted = "" if snapshot.n_trials_wanted is None else f" of {snapshot.n_trials_wanted}"
    states = [(snapshot.n_running, "running"), (snapshot.n_failed, "failed"), (snapshot.n_pruned, "pruned")]
    told = ", ".join(f"{count} {name}" for count, name in states if count)
    parts = [clock, snapshot.phase, f"{n_trials}{wanted} trials" + (f" ({told})" if told else "")]
    scored = [family for family in snapshot.families if family.best is not None]
    if scored:
        sign = 1.0 if metric.greater_is_better else -1.0
        best = max(scored, key=lambda family: sign * (family.best or 0.0))
        parts.append(f"best {best.name} {best.best:.6g}")
    if snapshot.ensemble is not None:
        parts.append(f"ensemble {snapshot.ensemble[0]:.6g}")
    return "   ".join(parts)
