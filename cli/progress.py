"""The live display of a search on stderr: a few lines on a terminal, plain log lines without one."""

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from foldsmith.cli.tables import number
from foldsmith.flow.durations import show_duration

if TYPE_CHECKING:
    from foldsmith.problem.contract import Problem
    from foldsmith.search.snapshot import FamilyView, SlotView, Snapshot

BARS = "▁▂▃▄▅▆▇"
LINE_SECONDS = 15.0


class Progress:
    """Shows snapshots while it is entered.

    Args:
        problem: for the metric's name and direction.
        console: stderr by default.
    """

    def __init__(self, problem: "Problem", console: Console | None = None) -> None:
        self._metric = problem.metric
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._said = 0
        self._line_at = -math.inf
        self._phase = ""

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: "Snapshot") -> None:
        """Draw a snapshot, or write a line now and then."""
        for message in snapshot.messages[self._said :]:
            self._console.print(f"  {escape(message)}", style="yellow")
        self._said = len(snapshot.messages)
        if self._live is not None:
            self._live.update(draw(snapshot, greater_is_better=self._metric.greater_is_better))
        elif time.monotonic() - self._line_at >= LINE_SECONDS or snapshot.phase != self._phase:
            self._line_at = time.monotonic()
            self._phase = snapshot.phase
            self._console.print(_headline(snapshot).plain, soft_wrap=True)


def draw(snapshot: "Snapshot", *, greater_is_better: bool) -> RenderableType:
    """The whole display: a headline, families on the left, slots on the right."""
    families = Table(box=None, pad_edge=False, show_header=False)
    best = _best_family(snapshot, greater_is_better)
    for view in snapshot.families:
        style = "green" if view.name == best else None
        score = "-" if view.best is None else f"{number(view.best)} ±{number(view.sem)}"
        trials = f"{view.n_trials} trial{'' if view.n_trials == 1 else 's'}"
        families.add_row(
            Text(view.name, style=style or ""), Text(score, style=style or ""), spark(view, greater_is_better), trials
        )
    slots = Table(box=None, pad_edge=False, show_header=False)
    for slot in snapshot.slots:
        slots.add_row(f"cpu{slot.slot}", slot.member, slot.label, _bar(slot), f"{slot.seconds:.0f} s")
    sides = Table.grid(padding=(0, 4))
    sides.add_row(families, slots)
    return Group(_headline(snapshot), sides)


def _best_family(snapshot: "Snapshot", greater_is_better: bool) -> str | None:
    scored = [(view.best, view.name) for view in snapshot.families if view.best is not None]
    if not scored:
        return None
    return (max if greater_is_better else min)(scored)[1]


def _headline(snapshot: "Snapshot") -> Text:
    clock = show_duration(snapshot.elapsed_seconds)
    if snapshot.budget_seconds is not None:
        clock += f" of {show_duration(snapshot.budget_seconds)}"
    n_trials = snapshot.n_complete + snapshot.n_running + snapshot.n_failed + snapshot.n_pruned
    wanted = "" if snapshot.n_trials_wanted is None else f" of {snapshot.n_trials_wanted}"
    parts = [f"{n_trials}{wanted} trials", f"{len(snapshot.slots)} folds running"]
    if snapshot.n_failed:
        parts.append(f"{snapshot.n_failed} failed")
    if snapshot.n_pruned:
        parts.append(f"{snapshot.n_pruned} pruned")
    line = Text(f"{clock}   {snapshot.phase}   " + " · ".join(parts))
    if snapshot.ensemble is not None:
        value, sem = snapshot.ensemble
        line.append(
            f"   ensemble of {snapshot.ensemble_size} {number(value)} ±{number(sem)} (nested)", style="bold green"
        )
    if snapshot.eta_seconds is not None and snapshot.budget_seconds is None:
        line.append(f"   about {show_duration(snapshot.eta_seconds)} to go")
    return line


def spark(view: "FamilyView", greater_is_better: bool) -> str:
    """The best-so-far history as bars; higher is always better."""
    values = [value if greater_is_better else -value for value in view.history[-12:] if value == value]
    if not values:
        return ""
    low, high = min(values), max(values)
    if high <= low:
        return BARS[len(BARS) // 2] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def _bar(slot: "SlotView", width: int = 10) -> str:
    if not slot.expected_seconds:
        return "·" * width
    done = min(width, round(width * slot.seconds / slot.expected_seconds))
    return "▇" * done + "▁" * (width - done)
