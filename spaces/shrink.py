"""Ranges shrunk around the best trials: what people do by hand after the first hundred trials."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foldsmith.problem.errors import InputError
from foldsmith.spaces.space import Choice, Float, Int, Param, Space

MIN_TRIALS = 20  # complete ones; the best fifth of fewer says nothing about a range
MIN_TOP = 5
MIN_VALUES = 3  # a conditional parameter that is there in fewer of the best trials keeps its range
MARGIN = 0.1  # of the best trials' span, on each side
LEAST_MARGIN = 0.05  # of the old range, on each side


def shrink_space(space: Space, trials: Sequence[Mapping[str, Any]], top: float) -> dict[str, Param]:
    """The parameters whose ranges get smaller, with their new ranges.

    A range becomes the span of the best trials' values on the parameter's own scale, with a margin; choices that
    none of the best trials has are dropped. A conditional parameter counts in the trials that have it.

    Args:
        trials: parameters of the complete trials, best first.
        top: the share of them that count as the best, above 0 and at most 1.

    Raises:
        InputError: too few trials, or a senseless share.
    """
    if not 0 < top <= 1:
        raise InputError(f"--top {top:.0%} is not above 0 % and at most 100 %; take 20%, for example")
    if len(trials) < MIN_TRIALS:
        raise InputError(
            f"{space.version} has {len(trials)} complete trials at different points, shrinking needs {MIN_TRIALS}; "
            "search on"
        )
    best = trials[: max(MIN_TOP, math.ceil(top * len(trials)))]
    shrunk = {}
    for name, param in space.params.items():
        values = [trial[name] for trial in best if name in trial]
        smaller = _shrunk_choices(param, values) if isinstance(param, Choice) else _shrunk_range(param, values)
        if smaller != param:
            shrunk[name] = smaller
    return shrunk


def _shrunk_choices(param: Choice, values: Sequence[Any]) -> Choice:
    kept = tuple(choice for choice in param.choices if choice in values)
    return Choice(kept, param.when) if kept and len(values) >= MIN_VALUES else param


def _shrunk_range(param: Float | Int, values: Sequence[Any]) -> Float | Int:
    known = [value for value in values if param.contains(value)]
    if len(known) < MIN_VALUES:
        return param
    low, high = (math.log(end) if param.log else end for end in (min(known), max(known)))
    whole = math.log(param.high / param.low) if param.log else param.high - param.low
    margin = max(MARGIN * (high - low), LEAST_MARGIN * whole)
    least, most = (math.exp(end) if param.log else end for end in (low - margin, high + margin))
    if isinstance(param, Float):
        least, most = max(param.low, _rounded(least, math.floor)), min(param.high, _rounded(most, math.ceil))
        return Float(least, most, param.log, param.when)
    least, most = max(param.low, math.floor(least)), min(param.high, math.ceil(most))
    return Int(least, most, param.log, param.when) if least < most else param


def _rounded(value: float, towards: Any) -> float:
    """Three digits, rounded outwards.

    >>> _rounded(0.012345, math.floor), _rounded(0.012345, math.ceil)
    (0.0123, 0.0124)
    """
    if value == 0:
        return 0.0
    unit = math.floor(math.log10(abs(value))) - 2
    digits = round(value / 10.0**unit, 6)  # 0.95 is often 0.9499999999999999 here
    return float(f"{towards(digits) * 10.0**unit:.12g}")


def as_override(param: Param, own: Param | None) -> Any:
    """A parameter as a value of ``[spaces.<family>]`` that reads back as it is.

    Args:
        own: the parameter in the family's own space, None when that has none: its scale need not be told.

    >>> as_override(Float(0.02, 0.05, log=True), Float(0.01, 0.1, log=True))
    [0.02, 0.05]
    """
    if isinstance(param, Choice):
        is_plain = isinstance(own, Choice) or len(param.choices) != 2 or any(isinstance(c, str) for c in param.choices)
        return list(param.choices) if is_plain else {"choices": list(param.choices)}
    own_log = not isinstance(own, Choice | None) and own.log
    if param.log == own_log and not isinstance(own, Choice):
        return [param.low, param.high]
    return {"low": param.low, "high": param.high, "log": param.log}
