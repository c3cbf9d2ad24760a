"""A trial as a small SVG: learning curves with the rounds that were chosen, and the scores of its folds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 720, 320
MAX_POINTS = 200
MAX_CURVES = 20
RESOLUTION = 1e-9  # of an axis, in parts of its values
SMALLEST, LARGEST = 1e-290, 1e300  # what an axis can show

# Dark enough for the picture's own light ground; the fold numbers below the dots are the legend.
_COLOURS = (
    "#2563eb",
    "#d97706",
    "#059669",
    "#dc2626",
    "#7c3aed",
    "#0891b2",
    "#be185d",
    "#65a30d",
    "#475569",
    "#92400e",
)
_STYLE = (
    "text{font:12px system-ui,'Segoe UI',Roboto,sans-serif;fill:#334155}"
    ".t{font-size:14px;font-weight:600;fill:#0f172a}.g{stroke:#e2e8f0}.a{stroke:#94a3b8;fill:none}"
    ".c{fill:none;stroke-width:1.6;stroke-linejoin:round}.m{stroke:#fff;stroke-width:1.5}"
)


@dataclass(frozen=True)
class FoldShape:
    """What the picture shows of a fold.

    Args:
        number: from 1.
        score: None, or not finite, when there is none.
        curve: ``(n_rounds,)``, None for a family without rounds.
        round: that predicts the fold, from 1; None when none was chosen.
    """

    number: int
    score: float | None
    curve: NDArray[np.float64] | None = None
    round: int | None = None


@dataclass(frozen=True)
class _Panel:
    """A plot's rectangle in pixels, and the values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def draw_trial(
    title: str,
    folds: Sequence[FoldShape],
    *,
    score_name: str,
    curve_name: str = "validation curve",
    mean: float | None = None,
    sem: float | None = None,
) -> str:
    """The picture as SVG text, 720 x 320.

    Args:
        folds: of one repeat, in order.
        score_name: the metric.
        curve_name: what the curves measure.
        mean, sem: of the fold scores; None, or not finite, when there are none.
    """
    has_curves = any(fold.curve is not None and np.isfinite(fold.curve).any() for fold in folds)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style>",
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" fill="#fff" stroke="#cbd5e1"/>',
        f'<text class="t" x="20" y="28">{_text(title, 64)}</text>',
    ]
    if has_curves:
        parts += _curves(folds, 64, 430, curve_name)
    parts += _dots(folds, 512 if has_curves else 74, 700, score_name, mean, sem)
    return "".join([*parts, "</svg>"])


def _text(text: str, limit: int = 200) -> str:
    """Printable and escaped: names come from people, and a browser may open the picture by itself."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return escape("".join(char if char.isprintable() else " " for char in short))


def _curves(folds: Sequence[FoldShape], left: float, right: float, name: str) -> list[str]:
    shown = [fold for fold in folds if fold.curve is not None and np.isfinite(fold.curve).any()][:MAX_CURVES]
    curves = [np.asarray(fold.curve, np.float64) for fold in shown]
    longest = max(len(curve) for curve in curves)
    panel = _Panel(left, right, 58, 268, (1, max(2, longest)), _curve_range(curves, longest))
    parts = [
        *_frame(panel, f"{name} by round", _ticks(*panel.x_range, n_most=5, whole=True)),
        f'<clipPath id="p"><rect x="{left}" y="58" width="{right - left}" height="210"/></clipPath>',
        '<g clip-path="url(#p)">',
    ]
    for fold, curve in zip(shown, curves, strict=True):
        picked = thinned_rows(len(curve))
        picked = picked[np.isfinite(curve[picked])]
        shown_values = np.clip(curve[picked], -LARGEST, LARGEST)
        xs, ys = panel.x(picked + 1), panel.y(shown_values)  # type: ignore[arg-type]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))  # type: ignore[attr-defined]
        parts.append(f'<polyline class="c" stroke="{_colour(fold)}" points="{points}"/>')
    parts.append("</g>")
    for fold, curve in zip(shown, curves, strict=True):
        if fold.round is not None and 1 <= fold.round <= len(curve) and math.isfinite(curve[fold.round - 1]):
            y = _inside(panel, float(curve[fold.round - 1]))
            parts.append(_dot(panel.x(fold.round), y, fold, f"fold {fold.number}: round {fold.round}"))
    return parts


def thinned_rows(n_rounds: int) -> NDArray[np.int64]:
    """At most ``MAX_POINTS`` rows of a curve, the first and the last among them.

    >>> thinned_rows(3).tolist()
    [0, 1, 2]
    """
    if n_rounds <= MAX_POINTS:
        return np.arange(n_rounds)
    return np.linspace(0, n_rounds - 1, MAX_POINTS).round().astype(np.int64)


def _curve_range(curves: Sequence[NDArray[np.float64]], longest: int) -> tuple[float, float]:
    """The first rounds fall far; they leave the picture, so that the rounds that matter are told apart."""
    skipped = min(longest // 20, min(len(curve) for curve in curves) // 2)
    values = np.concatenate([curve[skipped:] for curve in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    return _padded(float(values.min()), float(values.max()))


def _dots(
    folds: Sequence[FoldShape], left: float, right: float, name: str, mean: float | None, sem: float | None
) -> list[str]:
    scored = [fold for fold in folds if fold.score is not None and math.isfinite(fold.score)]
    if not scored:
        return [f'<text x="{(left + right) / 2:.0f}" y="165" text-anchor="middle">no fold was scored</text>']
    scores = [fold.score for fold in scored if fold.score is not None]
    band = sem if sem is not None and math.isfinite(sem) else 0.0
    has_mean = mean is not None and math.isfinite(mean)
    edges = [*scores, mean - band, mean + band] if has_mean and mean is not None else scores
    last = max(fold.number for fold in folds)
    panel = _Panel(left, right, 58, 268, (0.4, last + 0.6), _padded(min(edges), max(edges)))
    numbers = [float(fold.number) for fold in folds]
    step = math.ceil(len(numbers) / 15)  # more labels would run into each other
    parts = _frame(panel, f"{name} by fold", numbers[::step], has_x_grid=False)
    if has_mean and mean is not None:
        top, middle, bottom = (_inside(panel, value) for value in (mean + band, mean, mean - band))
        label = f"mean {mean:.5g} ± {band:.2g}" if band else f"mean {mean:.5g}"
        parts += [
            f'<rect x="{left}" y="{top:.1f}" width="{right - left}" height="{bottom - top:.1f}" fill="#64748b" '
            'fill-opacity=".16"/>',
            f'<path d="M{left} {middle:.1f}H{right}" stroke="#475569" stroke-width="1.5" stroke-dasharray="5 4"/>',
            f'<text x="{right}" y="28" text-anchor="end">{_text(label)}</text>',
        ]
    return [
        *parts,
        *(_dot(panel.x(fold.number), _inside(panel, fold.score or 0.0), fold, _dot_title(fold)) for fold in scored),
    ]


def _inside(panel: _Panel, value: float) -> float:
    return min(max(panel.y(value), panel.top), panel.bottom)


def _dot_title(fold: FoldShape) -> str:
    return f"fold {fold.number}: {fold.score:.6g}"


def _dot(x: float, y: float, fold: FoldShape, title: str) -> str:
    return f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_colour(fold)}"><title>{title}</title></circle>'


def _colour(fold: FoldShape) -> str:
    return _COLOURS[(fold.number - 1) % len(_COLOURS)]


def _frame(panel: _Panel, title: str, x_ticks: Sequence[float], *, has_x_grid: bool = True) -> list[str]:
    """Axes with their values, a grid, and the title above."""
    parts = [f'<text x="{panel.left}" y="50">{_text(title, 40)}</text>']
    y_ticks = _ticks(*panel.y_range)
    label = _labels(y_ticks)
    for value in y_ticks:
        y = panel.y(value)
        parts.append(f'<path class="g" d="M{panel.left} {y:.1f}H{panel.right}"/>')
        parts.append(f'<text x="{panel.left - 7}" y="{y + 4:.1f}" text-anchor="end">{label(value)}</text>')
    for value in x_ticks:
        x = panel.x(value)
        if has_x_grid:
            parts.append(f'<path class="g" d="M{x:.1f} {panel.top}V{panel.bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{panel.bottom + 18}" text-anchor="middle">{value:g}</text>')
    axis = "round" if has_x_grid else "fold"
    middle = (panel.left + panel.right) / 2
    parts.append(f'<text x="{middle:.0f}" y="{panel.bottom + 38}" text-anchor="middle">{axis}</text>')
    parts.append(f'<path class="a" d="M{panel.left} {panel.top}V{panel.bottom}H{panel.right}"/>')
    return parts


def _padded(low: float, high: float) -> tuple[float, float]:
    """A little more than the values' range, and never nothing.

    Values that differ in their last digits only are drawn as equal: no axis could tell them apart. Neither end is so
    large that the range between them is infinite.
    """
    low, high = max(low, -LARGEST), min(high, LARGEST)
    low, high = min(low, high), max(low, high)
    size = max(abs(low), abs(high))
    room = 0.06 * (high - low)
    if high - low <= RESOLUTION * size or room < SMALLEST:
        room = 0.02 * size if size >= SMALLEST / RESOLUTION else 1.0
    return low - room, high + room


def _ticks(low: float, high: float, n_most: int = 6, *, whole: bool = False) -> list[float]:
    """Round values inside the range, at most ``n_most``.

    >>> _ticks(0.81, 0.89, 5)
    [0.82, 0.84, 0.86, 0.88]
    """
    rough = (high - low) / n_most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _labels(ticks: Sequence[float]) -> Callable[[float], str]:
    """How to write tick values: with as many decimals as tell neighbours apart."""
    if len(ticks) < 2:
        return lambda value: f"{value:.4g}"
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 5 or max(abs(ticks[0]), abs(ticks[-1])) >= 1e6:
        return lambda value: f"{value:.3g}"
    return lambda value: f"{value:.{decimals}f}"
