"""What people see while a search runs: the right numbers, on any width, and plain lines without a terminal."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from foldsmith.cli.progress import Display, Progress, Scene, bar, best_family, draw, spark
from foldsmith.problem.contract import Problem
from foldsmith.search.snapshot import FamilyView, SlotView, Snapshot

WIDTHS = (60, 80, 100)
SCENE = Scene(greater_is_better=True, n_folds=5, submission="titanic/submissions/current.csv")
FAMILIES = (
    FamilyView("lightgbm", 12, 0.8361, 0.0102, (0.81, 0.82, 0.82, 0.8361)),
    FamilyView("xgboost", 7, 0.8339, 0.0087, (0.8339,)),
    FamilyView("extra_trees", 1),
    FamilyView("mlp", 0),
)
SLOTS = (SlotView(0, "xgb-0007", "fold 3", 11.0, 22.0), SlotView(1, "lgb-0013", "finish", 2.0, None))
SNAPSHOT = Snapshot(
    "searching",
    252.0,
    600.0,
    n_complete=20,
    n_running=4,
    n_failed=1,
    n_pruned=6,
    families=FAMILIES,
    slots=SLOTS,
    ensemble=(0.8429, 0.0091),
    ensemble_size=5,
)


def shown(snapshot: Snapshot, scene: Scene = SCENE, *, width: int = 100, **options: Any) -> str:
    """The picture as text."""
    return "\n".join(line.plain for line in draw(snapshot, scene, width=width, **options))


def line_with(text: str, words: str) -> str:
    """The only line that holds ``words``."""
    lines = [line for line in text.splitlines() if words in line]
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_shows_every_number_within_the_width(width: int) -> None:
    text = shown(SNAPSHOT, width=width)
    for words in (
        "4:12 of 10:00",
        "31 trials · 4 running · 1 failed · 6 pruned",
        "ensemble 0.8429 ±0.0091 (nested)",
        "0.8361 ±0.0102",
        "0.8339 ±0.0087",
        "xgb-0007  fold 3/5  ▇▇▇▇▇▁▁▁▁▁   11 s" if width != 80 else "xgb-0007  fold 3/5  ▇▇▇▇▇▁▁▁▁▁",
        "lgb-0013  finish",
        "waiting: mlp",
        "submission on disk: titanic/submissions/current.csv",
        "ensemble of 5 members",
    ):
        assert words in text
    assert all(cell_len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", [20, 40, *WIDTHS, 140])
def test_no_line_is_wider_than_the_console(width: int) -> None:
    long = "/very/long/path" * 12 + "/submissions/current.csv"
    families = tuple(replace(view, name=view.name * 3) for view in FAMILIES)
    slots = tuple(SlotView(k, f"lgb-{k:04d}", "fold 1", 9999.0, 3.0) for k in range(40))
    snapshot = replace(SNAPSHOT, phase="stopping", families=families, slots=slots, n_trials_wanted=4000)
    text = shown(snapshot, replace(SCENE, submission=long), width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_slots", [2, 64])
def test_fits_the_height(width: int, n_slots: int) -> None:
    slots = tuple(SlotView(k, f"lgb-{k:04d}", "fold 1", 1.0, 3.0) for k in range(n_slots))
    lines = shown(replace(SNAPSHOT, slots=slots), width=width, height=20).splitlines()
    assert len(lines) < 20
    assert any("more" in line for line in lines) == (n_slots == 64)
    assert any("lightgbm" in line for line in lines)


def test_families_stand_beside_workers_when_there_is_room() -> None:
    assert "cpu1" in line_with(shown(SNAPSHOT, width=100), "lightgbm")
    assert "cpu1" not in line_with(shown(SNAPSHOT, width=80), "lightgbm")


@pytest.mark.parametrize(("greater_is_better", "best"), [(True, "lightgbm"), (False, "xgboost")])
def test_direction_decides_which_family_leads(greater_is_better: bool, best: str) -> None:
    found = best_family(FAMILIES, greater_is_better=greater_is_better)
    assert found is not None and found.name == best
    lines = draw(SNAPSHOT, replace(SCENE, greater_is_better=greater_is_better), width=100)
    assert lines[1].plain.startswith(f"  {best} ")
    green = [line for line in lines if any(span.style == "green" for span in line.spans)]
    assert green == [lines[1]]


def test_no_family_leads_before_the_first_score() -> None:
    assert best_family(FAMILIES[2:], greater_is_better=True) is None
    lines = draw(replace(SNAPSHOT, families=FAMILIES[2:], ensemble=None), SCENE, width=100)
    assert not any(span.style == "green" for line in lines for span in line.spans)
    assert "(constant baseline)" in lines[-1].plain


def test_sparks_rise_when_the_score_gets_better() -> None:
    better = FamilyView("knn", 3, history=(1.0, 2.0, 3.0))
    assert spark(better, greater_is_better=True) == "▁▄▇"
    assert spark(better, greater_is_better=False) == "▇▄▁"
    assert spark(FamilyView("knn", 3, history=(0.5, 0.5)), greater_is_better=True) == "▄▄"
    assert spark(FamilyView("knn", 3, history=(float("nan"), 0.1, 0.2)), greater_is_better=True) == "▁▇"
    assert spark(FamilyView("knn", 0), greater_is_better=True) == ""
    many = FamilyView("knn", 40, history=tuple(range(40)))
    assert spark(many, greater_is_better=True, width=7) == "▁▂▃▄▅▆▇"
    assert spark(many, greater_is_better=True, width=0) == ""


def test_bars_show_how_much_of_the_usual_time_has_passed() -> None:
    slot = SlotView(0, "lgb-0001", "fold 1", 0.0, 10.0)
    assert [bar(slot, seconds, 4) for seconds in (0, 5, 10, 99)] == ["▁▁▁▁", "▇▇▁▁", "▇▇▇▇", "▇▇▇▇"]
    assert bar(replace(slot, expected_seconds=None), 3.0, 4) == "····"


def test_clock_and_workers_run_on_between_snapshots() -> None:
    text = shown(SNAPSHOT, age_seconds=9.0)
    assert "4:21 of 10:00" in text
    assert line_with(text, "xgb-0007").endswith("20 s")


def test_trials_to_do_come_with_the_time_to_go() -> None:
    counting = replace(SNAPSHOT, budget_seconds=None, n_trials_wanted=60, eta_seconds=100.0)
    assert "4:22, about 1:30 to go   31 of 60 trials" in shown(counting, age_seconds=10.0)
    assert "31 trials" in shown(replace(counting, n_trials_wanted=12))


def test_says_that_it_stops() -> None:
    assert "stopping (Ctrl-C again: at once)" in shown(replace(SNAPSHOT, phase="stopping"))
    assert "stopping" not in shown(SNAPSHOT)


@pytest.mark.parametrize(
    ("trend", "words"), [(0.0006, "+0.0006 in the last minute"), (-0.01, "-0.0100 in"), (0.0, "unchanged for a minute")]
)
def test_says_whether_waiting_pays(trend: float, words: str) -> None:
    assert words in shown(SNAPSHOT, trend=trend)
    assert "minute" not in shown(SNAPSHOT)


def test_trend_is_the_change_within_a_minute() -> None:
    display = Display(SCENE, replace(SNAPSHOT, ensemble=None))
    for elapsed, value in ((10.0, 0.80), (40.0, 0.82), (90.0, 0.83)):
        display.take(replace(SNAPSHOT, elapsed_seconds=elapsed, ensemble=(value, 0.01)))
    assert display._trend(60.0) is None
    assert display._trend(95.0) == pytest.approx(0.83 - 0.80)
    assert display._trend(120.0) == pytest.approx(0.83 - 0.82)
    assert display._trend(200.0) == 0.0


@pytest.fixture
def make_progress(make_problem: Callable[..., Problem]) -> Callable[..., tuple[Progress, io.StringIO]]:
    """A progress display that writes into a string, on a terminal or not."""

    def make(
        *, terminal: bool = False, environment: Mapping[str, str] | None = None, color_system: Any = None
    ) -> tuple[Progress, io.StringIO]:
        file = io.StringIO()
        console = Console(
            file=file,
            force_terminal=terminal,
            width=100,
            height=30,
            highlight=False,
            color_system=color_system,
            _environ={"TERM": "xterm", **(environment or {})},
        )
        return Progress(make_problem(), console), file

    return make


MakeProgress = Callable[..., tuple[Progress, io.StringIO]]


def test_without_a_terminal_lines_are_rare_and_plain(
    make_progress: MakeProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("foldsmith.cli.progress.time.monotonic", lambda: clock[0])
    shown_progress, file = make_progress()
    with shown_progress:
        for second in range(40):
            clock[0] = 100.0 + second
            shown_progress.show(replace(SNAPSHOT, elapsed_seconds=float(second)))
        shown_progress.show(replace(SNAPSHOT, elapsed_seconds=40.0, phase="blending"))
    lines = file.getvalue().splitlines()
    assert "\x1b" not in file.getvalue()
    assert [line.split()[0] for line in lines] == ["0:00", "0:00", "0:15", "0:30", "0:40"]
    assert lines[0] == "0:00 of 10:00   best single: lightgbm 0.8361 ±0.0102"
    counts = "31 trials · 4 running · 1 failed · 6 pruned"
    assert lines[1] == f"0:00 of 10:00   searching   {counts}   ensemble 0.8429 ±0.0091 (nested)"
    assert "   blending   " in lines[-1]


def test_without_a_terminal_each_new_best_score_has_a_line(make_progress: MakeProgress) -> None:
    shown_progress, file = make_progress()
    with shown_progress:
        for best in (None, 0.7, 0.7, 0.8):
            families = (FamilyView("linear", 3, best, 0.01), FamilyView("knn", 1, 0.6, 0.02))
            shown_progress.show(replace(SNAPSHOT, families=families))
    bests = re.findall(r"best single: (.*)", file.getvalue())
    assert bests == ["knn 0.6000 ±0.0200", "linear 0.7000 ±0.0100", "linear 0.8000 ±0.0100"]


@pytest.mark.parametrize("terminal", [True, False])
def test_messages_are_printed_once(make_progress: MakeProgress, terminal: bool) -> None:
    shown_progress, file = make_progress(terminal=terminal)
    with shown_progress:
        for messages in (("lgb-0001 failed (oom): [out] of\n  memory",), ("lgb-0001 failed (oom): …", "knn is out")):
            shown_progress.show(replace(SNAPSHOT, messages=messages))
            shown_progress.show(replace(SNAPSHOT, messages=messages))
    assert file.getvalue().count("lgb-0001 failed (oom): [out] of memory") == 1
    assert file.getvalue().count("knn is out") == 1


def test_long_messages_are_cut(make_progress: MakeProgress) -> None:
    shown_progress, file = make_progress()
    with shown_progress:
        shown_progress.show(replace(SNAPSHOT, messages=("x" * 5000,)))
    assert len(file.getvalue().splitlines()[0]) < 400


def test_on_a_terminal_the_picture_is_drawn_and_vanishes(make_progress: MakeProgress) -> None:
    shown_progress, file = make_progress(terminal=True)
    with shown_progress:
        shown_progress.show(SNAPSHOT)
    text = file.getvalue()
    assert "4:12 of 10:00" in text
    n_lines = len(draw(SNAPSHOT, SCENE, width=100, height=30))
    assert text.endswith("\x1b[1A\x1b[2K" * n_lines)  # as many lines are erased as were drawn
    assert "\x1b[?25h" in text  # the cursor is back


def test_the_picture_vanishes_when_the_search_fails(make_progress: MakeProgress) -> None:
    shown_progress, file = make_progress(terminal=True)
    with pytest.raises(RuntimeError, match="broken"), shown_progress:
        shown_progress.show(SNAPSHOT)
        raise RuntimeError("broken")
    assert file.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_without_colours_on_request(make_progress: MakeProgress, environment: dict[str, str]) -> None:
    shown_progress, file = make_progress(terminal=True, environment=environment, color_system="standard")
    with shown_progress:
        shown_progress.show(SNAPSHOT)
    assert "lightgbm" in file.getvalue()
    assert bool(re.search(r"\x1b\[[\d;]*3[0-7]m", file.getvalue())) == (not environment)


def test_a_dumb_terminal_gets_lines(make_progress: MakeProgress) -> None:
    shown_progress, file = make_progress(terminal=True, environment={"TERM": "dumb"})
    with shown_progress:
        shown_progress.show(SNAPSHOT)
    assert "\x1b[2K" not in file.getvalue()
    assert "searching" in file.getvalue()
