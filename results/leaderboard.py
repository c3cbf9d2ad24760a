"""What a column of leaderboard scores says about a column of cross-validated ones."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldsmith.results.ledger import Entry

FLAG = 3.0  # standard deviations of the public score from which a point is odd
BELIEVE = 10.0  # from which the leaderboard is to be believed, not the validation
MIN_POINTS = 3
TO_SD = 1.4826  # median absolute deviation of a normal distribution to its standard deviation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """LB = ``intercept`` + ``slope`` CV, the Theil-Sen line: the median slope of all pairs of points.

    Sources: Theil 1950, A rank-invariant method of linear and polynomial regression analysis; Sen 1968, Estimates of
    the regression coefficient based on Kendall's tau. Up to 29 % of the points may be wild.

    Args:
        slope, intercept: of the line.
        slope_low, slope_high: 95 % confidence limits of the slope.
        spread: robust standard deviation of the residuals (1.4826 times their median absolute deviation).
        spearman: rank correlation of CV and LB; nan where one of them is constant.
        n_points: that the line was laid through.
    """

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    spread: float
    spearman: float
    n_points: int

    def at(self, cv: float) -> float:
        """The leaderboard score that the line expects."""
        return self.intercept + self.slope * cv


def robust_line(cv: Sequence[float], public: Sequence[float]) -> Line | None:
    """The line through points ``(n,)``, ``(n,)``; None with fewer than three, or with one value of CV only."""
    from scipy.stats import spearmanr, theilslopes

    x, y = np.asarray(cv, np.float64), np.asarray(public, np.float64)
    if len(x) < MIN_POINTS or len(np.unique(x)) < 2:
        return None
    slope, _, low, high = theilslopes(y, x)
    intercept = float(np.median(y - slope * x))
    residuals = y - slope * x - intercept
    spread = TO_SD * float(np.median(np.abs(residuals - np.median(residuals))))
    varied = len(np.unique(y)) > 1
    spearman = float(spearmanr(x, y).statistic) if varied else float("nan")
    return Line(float(slope), intercept, float(low), float(high), spread, spearman, len(x))


@dataclass(frozen=True)
class Point:
    """An entry of the ledger against the line.

    Args:
        residual: public score above the line, in the metric's units.
        noise: standard deviation of the public score from the luck of its rows; of the residuals where unknown.
        flag: ``""``, ``"odd"`` or ``"believe the leaderboard"``.
    """

    entry: Entry
    residual: float
    noise: float
    flag: str

    @property
    def sigmas(self) -> float:
        """The residual in standard deviations; 0 where there is no noise to compare with."""
        return self.residual / self.noise if self.noise > 0 else 0.0


def judge_points(entries: Sequence[Entry], line: Line, noise_of: dict[str, float]) -> list[Point]:
    """Each scored entry against the line.

    Args:
        entries: with a validation and a public score; see :func:`scored`.
        noise_of: standard deviation of the public score by file, where it is known.
    """
    points = []
    for entry in entries:
        assert entry.validation is not None and entry.public is not None
        residual = entry.public - line.at(entry.validation)
        noise = noise_of.get(entry.file, line.spread)
        sigmas = abs(residual) / noise if noise > 0 else 0.0
        flag = "believe the leaderboard" if sigmas >= BELIEVE else "odd" if sigmas > FLAG else ""
        points.append(Point(entry, residual, noise, flag))
    return points


def scored(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that have both a validation and a public score."""
    return [entry for entry in entries if entry.validation is not None and entry.public is not None]


def near_ties(entries: Sequence[Entry], noise: float) -> int:
    """Submissions whose public score lies within ``noise`` of another's: which of those is higher is luck."""
    public = np.array([entry.public for entry in entries if entry.public is not None], np.float64)
    gaps = np.abs(public[:, None] - public)
    np.fill_diagonal(gaps, np.inf)
    return int((gaps.min(axis=1, initial=np.inf) <= noise).sum())


@dataclass(frozen=True)
class Budget:
    """Submissions of a UTC day.

    Args:
        used: submitted today; rejected files take no slot.
        left: of today.
        resets_in: until midnight UTC.
        total_left: until the deadline, today included; None without one.
    """

    per_day: int
    used: int
    left: int
    resets_in: datetime.timedelta
    total_left: int | None = None


def submission_budget(
    entries: Sequence[Entry], per_day: int, now: datetime.datetime, deadline: datetime.datetime | None = None
) -> Budget:
    """What is left of the day that ``now`` lies in, by UTC.

    Args:
        now, deadline: with a time zone.
    """
    now = now.astimezone(datetime.UTC)
    used = sum(
        entry.state == "submitted" and (time := entry.time) is not None and time.date() == now.date()
        for entry in entries
    )
    midnight = datetime.datetime.combine(now.date() + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    left = max(0, per_day - used)
    total = None
    if deadline is not None:
        days = (deadline.astimezone(datetime.UTC).date() - now.date()).days
        total = 0 if deadline < now else left + per_day * days
    return Budget(per_day, used, left, midnight - now, total)
