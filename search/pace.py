"""Time: how much is left, what a trial will take, and until when a fold may run."""

import math
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

# Once something is known to finish, a family that was never timed is tried only when at least this much is left:
# its first fold may cost an import of many seconds.
LEAST_TRY_SECONDS = 10.0

RECENT = 10  # times remembered per family
# A fold that takes this many times its family's usual time, and at least ten minutes, hangs; the first one of a family
# has six hours.
HANGS_AFTER = 30
LEAST_PATIENCE_SECONDS = 600.0
UNTIMED_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Clock:
    """One deadline over search, ensemble and submission.

    Args:
        deadline: seconds since the epoch; None for no limit.
        reserve: seconds that what follows the search will need, asked anew each time.
    """

    deadline: float | None = None
    reserve: Callable[[], float] = lambda: 0.0

    def left(self) -> float:
        """Seconds that the search still has; infinite without a deadline."""
        return math.inf if self.deadline is None else self.deadline - self.reserve() - time.time()


class Pace:
    """Measured times per family, and what follows from them.

    Args:
        n_slots: jobs of a family that can run side by side; nodes come and go, so it is asked each time.
        n_folds: of a full cross-validation.
        reckon: seconds that a family's fold may take, by the shape of the table; None where nobody knows. Measured
            times of other families correct it, for machines differ.
    """

    def __init__(
        self,
        clock: Clock,
        n_slots: Callable[[str], int],
        n_folds: int,
        reckon: Callable[[str], float | None] = lambda family: None,
    ) -> None:
        self._clock = clock
        self._n_slots = n_slots
        self._n_folds = n_folds
        self._reckon = reckon
        self._fold_seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._finish_seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._spent: dict[str, float] = defaultdict(float)

    def note(self, family: str, seconds: float, *, is_finish: bool) -> None:
        """Remember how long a job took."""
        (self._finish_seconds if is_finish else self._fold_seconds)[family].append(seconds)
        self._spent[family] += seconds

    def spent(self, family: str) -> float:
        """Slot seconds used by a family so far."""
        return self._spent[family]

    def fold_seconds(self, family: str) -> float | None:
        """Typical time of a fold, None before the first one."""
        recent = self._fold_seconds[family]
        return statistics.median(recent) if recent else None

    def expected_seconds(self, family: str) -> float | None:
        """Typical time of a fold, reckoned before the first one; None where nobody knows."""
        measured = self.fold_seconds(family)
        if measured is not None:
            return measured
        reckoned = self._reckon(family)
        return None if reckoned is None else reckoned * self._drift()

    def _drift(self) -> float:
        """How much longer folds take here than was reckoned, 1 while nothing is known."""
        ratios = [
            statistics.median(seconds) / reckoned
            for name, seconds in self._fold_seconds.items()
            if seconds and (reckoned := self._reckon(name))
        ]
        return statistics.median(ratios) if ratios else 1.0

    def remaining(self, family: str, n_folds: int) -> float:
        """Expected wall seconds to fit ``n_folds`` more folds and finish the member; 0 where nobody knows."""
        fold = self.expected_seconds(family) or 0.0
        finish = self._finish_seconds[family]
        # An untimed finish predicts train and test once: cheaper than a fold.
        return self._waves(family, n_folds) * fold + (statistics.median(finish) if finish else 0.5 * fold)

    def fits(self, family: str, n_folds: int | None = None) -> bool:
        """Whether a trial (or the rest of one) is expected to end in time."""
        left = self._clock.left()
        if math.isinf(left):
            return True
        if self.fold_seconds(family) is None:
            if not any(self._finish_seconds.values()):
                return left > 0  # something must be first
            if self.expected_seconds(family) is None:
                return left > LEAST_TRY_SECONDS
        return self.remaining(family, self._n_folds if n_folds is None else n_folds) <= left

    def trial_deadline(self, family: str) -> float | None:
        """When a trial that starts now should have all folds fitted.

        An untimed family may use half of what is left, so that one slow family cannot eat a whole budget; more where
        that is known to be too little for it, since what is cut short was spent for nothing. A point that costs many
        times what its family usually does is worth at most a tenth of what is left.
        """
        left = self._clock.left()
        if math.isinf(left):
            return None
        expected = self.remaining(family, self._n_folds)
        is_timed = self.fold_seconds(family) is not None
        wanted = max(0.1 * left, 2 * expected) if is_timed else max(0.5 * left, 1.5 * expected)
        return time.time() + min(0.9 * left, wanted)

    def fold_deadline(self, family: str, trial_deadline: float | None, n_folds_left: int) -> float | None:
        """When a fold that starts now should end, so that the trial's other waves of folds get as much time."""
        if trial_deadline is None or n_folds_left == 0:
            return None
        now = time.time()
        return now + max(0.0, trial_deadline - now) / self._waves(family, n_folds_left)

    def patience(self, family: str) -> float:
        """Seconds after which a job of the family must be hanging, far beyond what its folds usually take."""
        usual = self.fold_seconds(family)
        return UNTIMED_SECONDS if usual is None else max(LEAST_PATIENCE_SECONDS, HANGS_AFTER * usual)

    def _waves(self, family: str, n_folds: int) -> int:
        return math.ceil(n_folds / max(1, self._n_slots(family)))
