"""The live display of a search on stderr: a few lines on a terminal, plain log lines without one."""

import math
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from foldsmith.cli.stray import StrayOutput
from foldsmith.cli.tables import digits_for, number, score
from foldsmith.flow.durations import show_duration
from foldsmith.problem.decoration import Decorations
from foldsmith.search.snapshot import Snapshot, thinned

if TYPE_CHECKING:
    from foldsmith.problem.contract import Problem
    from foldsmith.search.snapshot import FamilyView, SlotView

BARS = "▁▂▃▄▅▆▇"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
LINE_SECONDS = 15.0
TREND_SECONDS = 60.0
MAX_MESSAGE = 300
MAX_SPARK, MIN_SPARK = 12, 6
MAX_BAR, MIN_BAR = 10, 6
GAP = 4
UNCHANGED = ", unchanged for a minute"
SCORE_WIDTH = len("0.8361 ±0.0102")

PHASES = {
    "starting": "starting",
    "stopping": "stopping (Ctrl-C again: at once)",
    "blending": "blending",
}


@dataclass(frozen=True)
class Scene:
    """What a display needs to know beside the snapshot.

    Args:
        submission: the file that always holds the best submission so far.
        n_folds: of a full cross-validation.
    """

    greater_is_better: bool
    n_folds: int
    submission: str


class Progress:
    """Shows snapshots while it is entered; what libraries print meanwhile goes to ``logs/driver.log``.

    Args:
        problem: for the metric's direction, the folds and the paths.
        console: stderr by default.
        started: when the command began, in seconds since the epoch; now by default.
        budget_seconds: None without a time budget.
    """

    def __init__(
        self,
        problem: "Problem",
        console: Console | None = None,
        *,
        started: float | None = None,
        budget_seconds: float | None = None,
    ) -> None:
        submission = str(problem.folder.submissions / "current.csv")
        self._scene = Scene(problem.metric.greater_is_better, problem.plan.n_folds, submission)
        self._stray = StrayOutput(problem.folder.logs / "driver.log")
        self._console = console
        self._began = started or time.time(), budget_seconds
        self._live: Live | None = None
        self._display: Display | None = None
        self._log: LineLog | None = None
        self._said = 0
        self._rig = ""
        self._guard = Decorations()

    def __enter__(self) -> "Progress":
        with self._guard("the progress display"):
            self._begin()
        return self

    def _begin(self) -> None:
        if self._console is None:
            self._stray.__enter__()
            self._console = _ScreenConsole(file=self._stray.screen, highlight=False)
        started, budget_seconds = self._began
        first = Snapshot("starting", time.time() - started, budget_seconds)
        if self._console.is_interactive:
            self._display = Display(self._scene, first)
            self._live = Live(
                self._display,
                console=self._console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._log = LineLog(self._scene, self._console)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard("the progress display"):
            if self._live is not None:
                self._live.stop()
        with self._guard("the end of the progress display"):
            self._stray.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot) -> None:
        """Take a snapshot, to be drawn at the next refresh, or write a line now and then; takes microseconds."""
        if snapshot.rig != self._rig:
            self._rig = snapshot.rig
            self._print(Text(f"rig  {snapshot.rig}"))
        for message in snapshot.messages[self._said :]:
            self._say(_shorten(message))
        self._said = len(snapshot.messages)
        if self._display is not None:
            self._display.take(snapshot)
        if self._log is not None:
            self._log.take(snapshot)

    def _say(self, message: str) -> None:
        """A message, in yellow."""
        self._print(Text(message, style="yellow"))

    def _print(self, text: Text) -> None:
        """Above the picture, wrapped and indented; in a log, one line."""
        assert self._console is not None
        if self._live is not None:
            self._console.print(Padding(text, (0, 0, 0, 2), expand=False))
        else:
            self._console.print(Text("  ").append_text(text), soft_wrap=True)


class _ScreenConsole(Console):
    """A console that asks its own file for the size: the usual descriptors may all lead elsewhere."""

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):
            return super().size
        return ConsoleDimensions(columns, lines) if columns and lines and "COLUMNS" not in os.environ else super().size

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


def _shorten(message: str) -> str:
    """One paragraph: the whole text stands in the member's record."""
    flat = " ".join(message.split())
    return flat if len(flat) <= MAX_MESSAGE else f"{flat[: MAX_MESSAGE - 1]}…"


class LineLog:
    """Plain lines for logs: at every change of phase, at every new best score, and each 15 seconds."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene = scene
        self._console = console
        self._line_at = -math.inf
        self._phase = ""
        self._best: float | None = None

    def take(self, snapshot: Snapshot) -> None:
        """Write what is new."""
        best = best_family(snapshot.families, greater_is_better=self._scene.greater_is_better)
        if best is not None and best.best != self._best:
            self._best = best.best
            self._write(f"{_clock(snapshot)}   best single: {best.name} {score(best.best, best.sem)}")
        if time.monotonic() - self._line_at >= LINE_SECONDS or snapshot.phase != self._phase:
            self._line_at = time.monotonic()
            self._phase = snapshot.phase
            ensemble = _ensemble(snapshot)
            parts = [_clock(snapshot), snapshot.phase, _counts(snapshot).plain, *([ensemble] if ensemble else [])]
            self._write("   ".join(parts))

    def _write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class Display:
    """The last snapshot as a picture that fits the console it is drawn on; its clock runs on between snapshots."""

    def __init__(self, scene: Scene, first: Snapshot) -> None:
        self._scene = scene
        self._taken = (first, time.monotonic())
        self._ensemble: deque[tuple[float, float]] = deque()

    def take(self, snapshot: Snapshot) -> None:
        """Remember a snapshot for the next refresh."""
        self._taken = (snapshot, time.monotonic())
        if snapshot.ensemble is not None and (not self._ensemble or self._ensemble[-1][1] != snapshot.ensemble[0]):
            self._ensemble.append((snapshot.elapsed_seconds, snapshot.ensemble[0]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        snapshot, taken_at = self._taken
        age = time.monotonic() - taken_at
        lines = draw(
            snapshot,
            self._scene,
            width=options.max_width,
            height=options.size.height,
            age_seconds=age,
            trend=self._trend(snapshot.elapsed_seconds + age),
        )
        yield Text("\n", no_wrap=True, overflow="crop").join(lines)

    def _trend(self, now: float) -> float | None:
        """How much the ensemble's score has changed in the last minute; None before it is a minute old."""
        while len(self._ensemble) > 1 and self._ensemble[1][0] <= now - TREND_SECONDS:
            self._ensemble.popleft()
        if not self._ensemble or self._ensemble[0][0] > now - TREND_SECONDS:
            return None
        return self._ensemble[-1][1] - self._ensemble[0][1]


def draw(
    snapshot: Snapshot,
    scene: Scene,
    *,
    width: int,
    height: int = 25,
    age_seconds: float = 0.0,
    trend: float | None = None,
) -> list[Text]:
    """The whole display: a headline, families on the left, busy workers on the right (below on a narrow screen).

    Args:
        width, height: of the screen, in cells; no line is wider, and there are fewer lines than ``height``.
        age_seconds: since the snapshot was taken.
        trend: change of the ensemble's score in the last minute.
    """
    head = headline(snapshot, age_seconds, width)
    foot = _footer(snapshot, scene, trend, width)
    waiting = _waiting(snapshot)
    room = max(2, height - len(head) - len(waiting) - len(foot) - 1)
    lines = [*head, *_body(snapshot, scene, age_seconds, width, room), *waiting, *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def headline(snapshot: Snapshot, age_seconds: float, width: int) -> list[Text]:
    """Clock, phase, trials and the ensemble's score; continued on further lines where the width is too small."""
    spinner = SPINNER[int(8 * (snapshot.elapsed_seconds + age_seconds)) % len(SPINNER)]
    parts = [Text(f"{spinner} {_clock(snapshot, age_seconds)}", style="bold")]
    if snapshot.phase in PHASES:
        parts.append(Text(PHASES[snapshot.phase], style="yellow" if snapshot.phase == "stopping" else ""))
    if snapshot.families or snapshot.phase != "starting":
        parts.append(_counts(snapshot))
    if ensemble := _ensemble(snapshot):
        parts.append(Text(ensemble, style="bold"))
    return _flow(parts, width)


def _flow(parts: Sequence[Text], width: int, indent: str = "") -> list[Text]:
    """Parts side by side while they fit, the rest on further, indented lines."""
    lines = [Text(indent)]
    for place, part in enumerate(parts):
        gap = "" if place == 0 else "   "
        if lines[-1].cell_len + len(gap) + part.cell_len > width and place > 0:
            lines.append(Text("  "))
            gap = ""
        lines[-1].append(gap).append_text(part)
    return lines


def _clock(snapshot: Snapshot, age_seconds: float = 0.0) -> str:
    """``4:12 of 10:00``; with a number of trials to do, when they are expected to be done."""
    clock = show_duration(snapshot.elapsed_seconds + age_seconds)
    if snapshot.budget_seconds is not None:
        clock += f" of {show_duration(snapshot.budget_seconds)}"
    if snapshot.n_trials_wanted is not None and snapshot.eta_seconds is not None and snapshot.phase == "searching":
        clock += f", about {show_duration(snapshot.eta_seconds - age_seconds)} to go"
    return clock


def _counts(snapshot: Snapshot) -> Text:
    n_trials = snapshot.n_complete + snapshot.n_running + snapshot.n_failed + snapshot.n_pruned
    wanted = snapshot.n_trials_wanted
    is_short = wanted is not None and n_trials < wanted  # other families and earlier calls may have done more
    text = Text(f"{n_trials} of {wanted} trials" if is_short else _plural(n_trials, "trial"))
    if snapshot.n_running:
        text.append(f" · {snapshot.n_running} running")
    if snapshot.n_failed:
        text.append(" · ").append(f"{snapshot.n_failed} failed", style="red")
    if snapshot.n_pruned:
        text.append(f" · {snapshot.n_pruned} pruned")
    return text


def _ensemble(snapshot: Snapshot) -> str:
    return "" if snapshot.ensemble is None else f"ensemble {score(*snapshot.ensemble)} (nested)"


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _footer(snapshot: Snapshot, scene: Scene, trend: float | None, width: int) -> list[Text]:
    """Where the submission lies, and whether waiting still pays."""
    label = "submission on disk: "
    path = scene.submission
    most = max(12, width - len(label) - 2)
    parts = [Text(label + (path if len(path) <= most else f"…{path[1 - most :]}"))]
    if snapshot.ensemble is None:
        parts.append(Text("(constant baseline)", style="dim"))
    else:
        value = snapshot.ensemble[0]
        facts = f"ensemble of {_plural(snapshot.ensemble_size, 'member')}"
        if trend is not None:
            facts += (
                f", {_signed(trend, digits_for(value))} in the last minute" if trend else ", unchanged for a minute"
            )
        parts.append(Text(facts, style="dim"))
    return _flow(parts, width, indent="  ")


def best_family(families: Sequence["FamilyView"], *, greater_is_better: bool) -> "FamilyView | None":
    """The family with the best score, the first of equal ones; None when none has a score."""
    return next((view for view in _ranked(families, greater_is_better) if view.best is not None), None)


def _ranked(families: Sequence["FamilyView"], greater_is_better: bool) -> list["FamilyView"]:
    """Families that took part, best first, those without a score last."""
    sign = -1.0 if greater_is_better else 1.0
    took_part = [view for view in families if view.n_trials or view.best is not None]
    return sorted(took_part, key=lambda view: math.inf if view.best is None else sign * view.best)


def _body(snapshot: Snapshot, scene: Scene, age_seconds: float, width: int, room: int) -> list[Text]:
    """Families beside busy workers; below each other where even short graphs do not fit beside each other."""
    left = _family_lines(snapshot, scene, MAX_SPARK)
    right = _worker_lines(snapshot, scene, age_seconds, MAX_BAR)
    excess = _width(left) + GAP + _width(right) - width
    if excess > MAX_SPARK - MIN_SPARK + MAX_BAR - MIN_BAR:
        spark_excess = min(MAX_SPARK, max(0, _width(left) - width))
        left = _cut(_family_lines(snapshot, scene, MAX_SPARK - spark_excess), room - min(len(right), max(2, room // 3)))
        return left + _cut([Text("  ").append_text(line) for line in right], room - len(left))
    if excess > 0:
        off_spark = min(excess, MAX_SPARK - MIN_SPARK)
        left = _family_lines(snapshot, scene, MAX_SPARK - off_spark)
        right = _worker_lines(snapshot, scene, age_seconds, MAX_BAR - (excess - off_spark))
    return _side_by_side(_cut(left, room), _cut(right, room), _width(left) + GAP)


def _signed(change: float, digits: int) -> str:
    """A change of a score, with its sign and the score's digits."""
    sign = "+" if change >= 0 else "-"
    return sign + number(abs(change), digits)


def _family_lines(snapshot: Snapshot, scene: Scene, spark_width: int) -> list[Text]:
    """``lightgbm  0.8361 ±0.0102  ▁▃▅▅▆▇  12 trials``: those that took part, best first; the best one is green."""
    families = _ranked(snapshot.families, scene.greater_is_better)
    digits = digits_for(families[0].best if families else None)
    name_width = max((len(view.name) for view in snapshot.families), default=0)  # the same from start to end
    rows = []
    for place, view in enumerate(families):
        style = "green" if place == 0 and view.best is not None else ""
        value = "-" if view.best is None else f"{number(view.best, digits)} ±{number(view.sem, digits)}"
        history = spark(view, greater_is_better=scene.greater_is_better, width=spark_width)
        trials = f"{view.n_trials} {'trial ' if view.n_trials == 1 else 'trials'}"
        rows.append(
            [
                Text(view.name.ljust(name_width), style=style),
                Text(value.rjust(SCORE_WIDTH), style=style),
                Text(history.ljust(spark_width)),
                Text(trials),
            ]
        )
    return [Text("  ").append_text(line) for line in _grid(rows, right=(1, 3))]


def _waiting(snapshot: Snapshot) -> list[Text]:
    names = [view.name for view in snapshot.families if not view.n_trials and view.best is None]
    return [Text(f"  waiting: {', '.join(names)}", style="dim")] if names else []


def _worker_lines(snapshot: Snapshot, scene: Scene, age_seconds: float, bar_width: int) -> list[Text]:
    """``cpu0  xgb-0007  fold 3/5  ▇▇▇▇▇▇▁▁▁▁  11 s``: one line per busy worker."""
    rows = []
    for slot in snapshot.slots:
        label = f"{slot.label}/{scene.n_folds}" if slot.label.startswith("fold ") else slot.label
        seconds = slot.seconds + age_seconds
        cells = [
            slot.name or f"cpu{slot.slot + 1}",
            slot.member.ljust(8),
            label.ljust(8),
            bar(slot, seconds, bar_width),
            f"{seconds:3.0f} s",
        ]
        rows.append([Text(cell) for cell in cells])
    return _grid(rows, right=(4,))


def _grid(rows: Sequence[Sequence[Text]], *, right: Sequence[int] = ()) -> list[Text]:
    """Rows of cells as lines, each column as wide as its widest cell; the columns ``right`` are right-aligned."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        line = Text()
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap, padding = "  " if place else "", " " * (width - cell.cell_len)
            if place in right:
                line.append(gap + padding).append_text(cell)
            else:
                line.append(gap).append_text(cell).append(padding)
        lines.append(line)
    return lines


def _width(lines: Sequence[Text]) -> int:
    return max((line.cell_len for line in lines), default=0)


def _cut(lines: list[Text], room: int) -> list[Text]:
    """At most ``room`` lines; the last one says how many are missing."""
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], Text(f"  … {len(lines) - room + 1} more", style="dim")] if room > 0 else []


def _side_by_side(left: Sequence[Text], right: Sequence[Text], start: int) -> list[Text]:
    """Two blocks, the right one starting at cell ``start``."""
    lines = []
    for place in range(max(len(left), len(right))):
        line = left[place].copy() if place < len(left) else Text()
        if place < len(right):
            line.append(" " * (start - line.cell_len)).append_text(right[place])
        lines.append(line)
    return lines


def spark(view: "FamilyView", *, greater_is_better: bool, width: int = MAX_SPARK) -> str:
    """The best-so-far history as at most ``width`` bars; higher is always better."""
    signed = [value if greater_is_better else -value for value in view.history if math.isfinite(value)]
    values = thinned(signed, width)
    if not values:
        return ""
    low, high = min(values), max(values)
    if high <= low:
        return BARS[len(BARS) // 2] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def bar(slot: "SlotView", seconds: float, width: int = MAX_BAR) -> str:
    """How much of the usual time has passed; dots where no time is known yet."""
    if not slot.expected_seconds:
        return "·" * width
    done = min(width, round(width * seconds / slot.expected_seconds))
    return "▇" * done + "▁" * (width - done)
