"""Charts of one member's predictions: calibration, confusion, curves, residuals, slices."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from foldsmith.problem.decisions import Threshold
from foldsmith.reporting.chart import Chart, axis, scatter, thinned
from foldsmith.reporting.facts import Facts, Predictions

N_BINS = 12
MAX_SLICES = 12
MIN_ROWS = 20


def of_predictions(facts: Facts, found: Predictions) -> Iterator[Chart]:
    """Whatever fits the task."""
    if not facts.is_classification:
        yield from _residuals(facts, found)
        return
    yield _confusion(facts, found)
    if not len(found.confidence):
        return
    yield _calibration(facts, found)
    if found.values.shape[1] == 1:
        yield from _curves(facts, found)


def _calibration(facts: Facts, found: Predictions) -> Chart:
    """How often what is predicted with a chance comes true, in bins of equal numbers of rows."""
    chances = facts.chances(found.values)
    codes = [1] if chances.shape[1] == 2 else range(chances.shape[1])
    traces = []
    for code in codes:
        order = np.argsort(chances[:, code], kind="stable")
        bins = [part for part in np.array_split(order, N_BINS) if len(part)]
        traces.append(
            scatter(
                [chances[part, code].mean() for part in bins],
                [np.mean(found.y[part] == code) for part in bins],
                str(facts.classes[code]),
                "lines+markers",
            )
        )
    traces.append(scatter([0, 1], [0, 1], "perfect", "lines", line={"dash": "dot"}))
    layout = {"xaxis": axis("predicted chance", range=[0, 1]), "yaxis": axis("share that came true", range=[0, 1])}
    return Chart("calibration", traces, layout, 360, f"{N_BINS} bins of equal numbers of rows, out of fold.")


def _confusion(facts: Facts, found: Predictions) -> Chart:
    n = len(facts.classes)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (np.asarray(found.y, np.int64), found.labels.clip(0, n - 1)), 1)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [str(name) for name in facts.classes]
    text = [[f"{counts[i, j]:,}<br>{shares[i, j]:.0%}" for j in range(n)] for i in range(n)]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": shares,
        "colorscale": "Blues",
        "reversescale": True,
        "zmin": 0,
        "zmax": 1,
    }
    heat |= {"text": text, "texttemplate": "%{text}"} if n <= 12 else {"customdata": counts}
    layout = {"xaxis": axis("predicted", type="category"), "yaxis": axis("true", type="category", autorange="reversed")}
    rule = "labels by rules fitted on the other folds" if facts.problem.judge.needs_labels else "the most likely class"
    return Chart("confusion", [heat], layout, 260 + 26 * min(n, 20), f"Rows and their share of the true class; {rule}.")


def _curves(facts: Facts, found: Predictions) -> Iterator[Chart]:
    from sklearn.metrics import precision_recall_curve, roc_curve

    chance, y = found.values[:, 0], np.asarray(found.y)
    if len(np.unique(y)) < 2:
        return
    false, true, _ = roc_curve(y, chance)
    keep = thinned(len(false))
    traces = [
        scatter(false[keep], true[keep], "ROC", "lines"),
        scatter([0, 1], [0, 1], "chance", "lines", line={"dash": "dot"}),
    ]
    yield Chart(
        "roc",
        traces,
        {"xaxis": axis("false positive rate"), "yaxis": axis("true positive rate"), "showlegend": False},
        340,
        "ROC over all out-of-fold rows together; fold models may be calibrated differently.",
    )
    precision, recall, _ = precision_recall_curve(y, chance)
    keep = thinned(len(recall))
    traces = [
        scatter(recall[keep], precision[keep], "precision", "lines"),
        scatter([0, 1], [y.mean()] * 2, "share of positives", "lines", line={"dash": "dot"}),
    ]
    yield Chart(
        "precision-recall",
        traces,
        {"xaxis": axis("recall"), "yaxis": axis("precision")},
        340,
        "Of all out-of-fold rows.",
    )
    if facts.problem.metric.needs == "label" and facts.problem.metric.of_confusion is not None:
        yield _thresholds(facts, found)


def _thresholds(facts: Facts, found: Predictions) -> Chart:
    """The metric by threshold, on all rows and in each fold."""
    plan, metric = facts.problem.plan, facts.problem.metric
    levels = np.unique(np.quantile(found.values[:, 0], np.linspace(0.01, 0.99, 60)))
    folds = plan.valid_fold[0][found.rows]

    def scores(rows: Any) -> list[float]:
        return [metric.score(found.y[rows], Threshold(float(level)).apply(found.values[rows])) for level in levels]

    per_fold = np.array([scores(folds == fold) for fold in range(plan.n_folds)])
    low, high = np.nanmin(per_fold, axis=0), np.nanmax(per_fold, axis=0)
    traces = [
        scatter(levels, low, "lowest fold", "lines", line={"width": 0}, showlegend=False),
        scatter(
            levels,
            high,
            "between folds",
            "lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor="rgba(128,128,128,0.25)",
        ),
        scatter(levels, scores(np.arange(len(folds))), "all rows", "lines"),
    ]
    caption = (
        "A threshold chosen at the peak is scored too well on these rows; scores in this report are of thresholds "
    )
    return Chart(
        "thresholds",
        traces,
        {"xaxis": axis("threshold"), "yaxis": axis(metric.title)},
        320,
        caption + "fitted on other folds.",
    )


def _residuals(facts: Facts, found: Predictions) -> Iterator[Chart]:
    y, predicted = np.asarray(found.y, np.float64), found.values[:, 0]
    keep = thinned(len(y))
    points = scatter(predicted[keep], (y - predicted)[keep], "rows", marker={"size": 4, "opacity": 0.5})
    layout = {"xaxis": axis("predicted, out of fold"), "yaxis": axis("true less predicted"), "showlegend": False}
    yield Chart("residuals", [points], layout, 340, f"{len(keep):,} of {len(y):,} rows.")
    order = np.argsort(y, kind="stable")
    bins = [part for part in np.array_split(order, 10) if len(part)]
    names = [f"{y[part].min():.3g} to {y[part].max():.3g}" for part in bins]
    bars = [
        {
            "type": "bar",
            "x": names,
            "y": [np.abs(y - predicted)[part].mean() for part in bins],
            "name": "mean absolute error",
        },
        {
            "type": "bar",
            "x": names,
            "y": [(predicted - y)[part].mean() for part in bins],
            "name": "predicted too high by",
        },
    ]
    layout = {
        "xaxis": axis("target, in tenths of the rows", type="category"),
        "yaxis": axis(facts.problem.data.target.name),
    }
    yield Chart(
        "by-target",
        bars,
        {**layout, "barmode": "group"},
        360,
        "Models pull extremes towards the middle: the last bars say how far.",
    )


def slices(facts: Facts, found: Predictions) -> Chart | None:
    """Parts of the rows where the error is far from the mean: bins of numbers, categories."""
    overall, spread = float(found.losses.mean()), float(found.losses.std())
    parts = []
    for column in facts.exam.columns():
        values = column.train[found.rows]
        levels = facts.problem.data.train.schema.categories.get(column.name, ())
        for name, rows in _parts(values, column.kind, levels):
            n = len(rows)
            if n >= MIN_ROWS and spread > 0:
                mean = float(found.losses[rows].mean())
                parts.append(((mean - overall) / (spread / n**0.5), f"{column.name}: {name}", mean, n))
    if not parts:
        return None
    chosen = sorted(sorted(parts, key=lambda part: abs(part[0]), reverse=True)[:MAX_SLICES], key=lambda part: part[2])
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [label for _, label, _, _ in chosen],
            "x": [mean for *_, mean, _ in chosen],
            "text": [f"{n:,} rows, {z:+.1f} se" for z, _, _, n in chosen],
            "textposition": "auto",
        }
    ]
    what = "log loss" if len(found.confidence) else "absolute error"
    shapes = [
        {
            "type": "line",
            "x0": overall,
            "x1": overall,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"dash": "dot", "width": 1},
        }
    ]
    layout = {"xaxis": axis(f"mean {what}"), "yaxis": {"automargin": True}, "showlegend": False, "shapes": shapes}
    caption = f"The {len(chosen)} parts whose error is furthest from the mean (dotted), in standard errors of a part."
    return Chart("slices", bars, layout, 90 + 30 * len(chosen), caption)


def _parts(values: Any, kind: str, levels: Any) -> Iterator[tuple[str, Any]]:
    missing = np.isnan(values)
    if missing.any():
        yield "missing", np.flatnonzero(missing)
    known = np.flatnonzero(~missing)
    if kind == "datetime" or len(known) < MIN_ROWS:
        return
    if kind == "categorical" or len(np.unique(values[known])) <= 8:
        for code in np.unique(values[known]):
            label = str(levels[int(code)]) if kind == "categorical" and int(code) < len(levels) else f"{code:g}"
            yield label, known[values[known] == code]
        return
    for part in np.array_split(known[np.argsort(values[known], kind="stable")], 5):
        yield f"{values[part].min():.3g} to {values[part].max():.3g}", part
