"""Points of one space made into points of another: what is missing is filled in, what does not fit is clipped."""

import math
from collections.abc import Mapping
from typing import Any

from foldsmith.spaces.space import Choice, Float, Int, Param, Params, Space, Value


def fit_point(point: Mapping[str, Any], space: Space, base: Mapping[str, Value]) -> Params:
    """The point of ``space`` that is nearest to ``point``; a point of the space stays as it is.

    Args:
        point: of another problem's space, another version or a narrower one: names that ``space`` lacks are dropped.
        base: gives what ``point`` does not say; where it does not either, the middle of the range.

    >>> space = Space("demo@1", {"depth": Int(2, 8), "rate": Float(0.01, 1.0, log=True)})
    >>> fit_point({"depth": 12, "colour": "red"}, space, {"rate": 0.3})
    {'depth': 8, 'rate': 0.3}
    """
    fitted: Params = {}
    for name, param in space.params.items():
        if param.when is None or param.when.holds(fitted):
            fitted[name] = _fit_value(param, point.get(name), base.get(name))
    return fitted


def _fit_value(param: Param, value: Any, base: Any) -> Value:
    if isinstance(param, Choice):
        known = (one for one in (value, base) if param.contains(one))
        return next(known, param.choices[0])
    wanted = next((one for one in (value, base) if _is_number(one)), None)
    if wanted is None:
        return middle(param)
    if param.contains(wanted):
        return wanted  # type: ignore[no-any-return]  # a number, as checked
    clipped = min(max(wanted, param.low), param.high)
    return round(clipped) if isinstance(param, Int) else float(clipped)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def middle(param: Float | Int) -> float | int:
    """The middle of a range on its own scale."""
    centre = math.sqrt(param.low * param.high) if param.log else (param.low + param.high) / 2
    return min(max(round(centre), param.low), param.high) if isinstance(param, Int) else centre
