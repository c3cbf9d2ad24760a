"""The line through validation and public scores, the points off it, and the days of UTC: answers known beforehand."""

import datetime

import numpy as np
import pytest

from foldsmith.results.leaderboard import judge_points, near_ties, robust_line, scored, submission_budget
from foldsmith.results.ledger import Entry


def points(n: int, outlier: float = 0.0) -> list[Entry]:
    """Points on public = 0.1 + 0.9 cv, give or take 0.0005; the fourth one off by ``outlier``."""
    rng = np.random.default_rng(2)
    made = []
    for i, cv in enumerate(np.linspace(0.80, 0.85, n)):
        public = 0.1 + 0.9 * cv + 0.0005 * rng.normal() + (outlier if i == 3 else 0)
        made.append(Entry(f"{i:04d}.csv", cv=float(cv), public=float(public), state="submitted"))
    return made


def columns(entries: list[Entry]) -> tuple[list[float], list[float]]:
    return [one.cv or 0.0 for one in entries], [one.public or 0.0 for one in entries]


def test_a_planted_outlier_is_flagged_and_the_line_is_unmoved() -> None:
    clean, planted = points(23), points(23, outlier=0.03)
    line, moved = robust_line(*columns(clean)), robust_line(*columns(planted))
    assert line is not None and moved is not None
    assert line.slope == pytest.approx(0.9, abs=0.02) and line.at(0.82) == pytest.approx(0.838, abs=0.0005)
    assert moved.at(0.82) == pytest.approx(line.at(0.82), abs=0.0003) and moved.n_points == 23
    assert line.slope_low < 0.9 < line.slope_high and line.spearman > 0.99
    assert line.spread == pytest.approx(0.0005, rel=0.5)
    assert not any(point.flag for point in judge_points(clean, line, {}) if abs(point.sigmas) < 3)
    flagged = [point for point in judge_points(planted, moved, {}) if point.flag]
    assert [point.entry.file for point in flagged][:1] == ["0003.csv"] and flagged[0].flag == "believe the leaderboard"
    odd = judge_points(planted, moved, {entry.file: 0.006 for entry in planted})
    assert [(point.entry.file, point.flag) for point in odd if point.flag] == [("0003.csv", "odd")]
    assert odd[3].sigmas == pytest.approx(5, abs=0.3) and odd[3].residual == pytest.approx(0.03, abs=0.002)


def test_too_little_for_a_line() -> None:
    assert robust_line([0.8, 0.9], [0.7, 0.8]) is None
    assert robust_line([0.8, 0.8, 0.8], [0.7, 0.8, 0.9]) is None
    flat = robust_line([0.7, 0.8, 0.9], [0.5, 0.5, 0.5])
    assert flat is not None and np.isnan(flat.spearman) and flat.slope == 0
    (point,) = judge_points([Entry("a.csv", cv=0.8, public=0.5)], flat, {})
    assert (point.sigmas, point.flag) == (0.0, "")


def test_scored_and_near_ties() -> None:
    entries = [
        Entry("a", cv=0.9, nested_cv=0.8, public=0.7),
        Entry("b", public=0.701),
        Entry("c", cv=0.8),
        Entry("d", public=0.9),
    ]
    assert [entry.file for entry in scored(entries)] == ["a"]
    assert near_ties(entries, 0.0015) == 2 and near_ties(entries, 0.0005) == 0
    assert near_ties(entries[-1:], 1.0) == 0 == near_ties([], 1.0)


def test_days_end_at_midnight_utc() -> None:
    utc = datetime.UTC
    entries = [
        Entry("yesterday", state="submitted", utc="2026-11-25T23:59:59Z"),
        Entry("first", state="submitted", utc="2026-11-26T00:00:00Z"),
        Entry("with an offset", state="submitted", utc="2026-11-26T01:30:00+02:00"),  # 23:30 of the 25th
        Entry("refused", state="rejected", utc="2026-11-26T10:00:00Z"),
        Entry("only made", state="made", utc="2026-11-26T10:00:00Z"),
        Entry("some time", state="submitted"),
    ]
    late = datetime.datetime(2026, 11, 26, 23, 59, 30, tzinfo=utc)
    budget = submission_budget(entries, 5, late)
    assert (budget.used, budget.left, budget.resets_in.total_seconds()) == (1, 4, 30)
    abroad = late.astimezone(datetime.timezone(datetime.timedelta(hours=9)))  # there it is the 27th
    assert submission_budget(entries, 5, abroad) == budget
    after = submission_budget(entries, 5, late + datetime.timedelta(seconds=30))
    assert (after.used, after.left) == (0, 5)
    deadline = datetime.datetime(2026, 11, 28, 23, 59, tzinfo=utc)
    assert submission_budget(entries, 5, late, deadline).total_left == 4 + 2 * 5
    assert submission_budget(entries, 1, late, late - datetime.timedelta(1)).total_left == 0
    assert submission_budget(entries, 1, late).left == 0
