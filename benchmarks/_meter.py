"""What processes cost: CPU seconds of a whole tree, memory of one process, and the sampler's part of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


def tree_cpu_seconds() -> float:
    """CPU time of this process and all its descendants, those included that ended and were waited for."""
    import psutil

    own = psutil.Process()
    return sum(_cpu_seconds(process) for process in [own, *own.children(recursive=True)])


def _cpu_seconds(process: Any) -> float:
    import psutil

    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def rss_mb() -> float:
    """Resident memory of this process, in MB."""
    import psutil

    return float(psutil.Process().memory_info().rss / 1e6)


@dataclass
class SamplerMeter:
    """CPU seconds that Optuna's TPE took in this thread."""

    seconds: float = 0.0
    _depth: int = field(default=0, repr=False)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Count while inside."""
        from optuna.samplers import TPESampler

        names = ("infer_relative_search_space", "sample_relative", "sample_independent", "after_trial")
        kept = {name: getattr(TPESampler, name) for name in names}
        for name, method in kept.items():
            setattr(TPESampler, name, self._timed(method))
        try:
            yield
        finally:
            for name, method in kept.items():
                setattr(TPESampler, name, method)

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            self._depth += 1
            try:
                return method(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.thread_time() - began

        return timed


@dataclass
class Marks:
    """CPU and wall time between two moments of one run.

    Args:
        n: trials between the moments.
        is_warm: whether what happens only once has happened; the first moment comes then.
        at_end: called at the second moment.
    """

    n: int
    is_warm: Callable[[], bool]
    at_end: Callable[[], None]
    sampler: SamplerMeter = field(default_factory=SamplerMeter)
    n_before: int = 0
    _seen: int = -1
    _first: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _last: tuple[float, float, float] | None = None

    def trial_ended(self) -> None:
        """To be called as each trial ends."""
        if self._last is not None:
            return
        if self._seen < 0:
            self.n_before += 1
            if self.is_warm():
                self._seen, self._first = 0, self._now()
            return
        self._seen += 1
        if self._seen == self.n:
            self._last = self._now()
            self.at_end()

    def _now(self) -> tuple[float, float, float]:
        return tree_cpu_seconds(), time.perf_counter(), self.sampler.seconds

    @property
    def cpu_ms_per_trial(self) -> float:
        """Of the whole tree."""
        return self._per_trial(0)

    @property
    def wall_ms_per_trial(self) -> float:
        """Of the run."""
        return self._per_trial(1)

    @property
    def sampler_ms_per_trial(self) -> float:
        """CPU of the sampler alone."""
        return self._per_trial(2)

    def _per_trial(self, which: int) -> float:
        assert self._last is not None, "the run ended too early"
        return 1000 * (self._last[which] - self._first[which]) / self.n
