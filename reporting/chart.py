"""Charts as plain data for plotly.js: traces and a layout, small and without a theme of their own."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

DIGITS = 5
MAX_POINTS = 4000


@dataclass(frozen=True)
class Chart:
    """One chart.

    Args:
        name: its id in the page.
        traces: as plotly.js takes them.
        layout: axes and such; colours come from the page.
        height: pixels.
        caption: what to see in it, and how the numbers were obtained.
    """

    name: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 340
    caption: str = ""

    @property
    def anchor(self) -> str:
        """Its element in the page; sections have ids of their own."""
        return f"chart-{self.name}"

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {"id": self.anchor, "data": plain(self.traces), "layout": plain(self.layout), "height": self.height}


def plain(value: Any) -> Any:
    """Lists and rounded numbers of arrays; nan and infinity become null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}, "automargin": True, **more}


def scatter(x: Any, y: Any, name: str = "", mode: str = "markers", **more: Any) -> dict[str, Any]:
    """Points or a line; many points are drawn by WebGL-free sampling elsewhere."""
    return {"type": "scatter", "x": x, "y": y, "mode": mode, "name": name, **more}


def thinned(n: int, seed: int = 0) -> Any:
    """At most 4,000 of ``n`` places, at random and in order."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:MAX_POINTS])
