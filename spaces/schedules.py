"""Schedules of a training run: a factor as a function of how far it has come, 0 at the start and 1 at the end."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]

CYCLE_ENDS = 1 / 15, 3 / 15, 7 / 15, 1.0  # of coslog4


def coslog4(progress: float) -> float:
    """Four cosine cycles, each twice as long as the one before: 0, up to 1 and down to 0 again.

    Source: Holzmueller, Grinsztajn & Steinwart (2024, arXiv:2407.04491), section 3.

    >>> [round(coslog4(t), 3) for t in (0, 1 / 15, 3 / 15, 7 / 15, 1)]
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))


def flat_cos(progress: float) -> float:
    """1 for the first half, then half a cosine down to 0 (same source)."""
    return 1.0 if progress < 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * progress - 1)))


def warm_cosine(progress: float) -> float:
    """Up to 1 within two hundredths, then half a cosine down to 0."""
    return min(50 * progress, 0.5 + 0.5 * math.cos(math.pi * progress))
