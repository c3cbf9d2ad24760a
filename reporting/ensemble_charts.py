"""Charts of the ensemble and of the leaderboard."""

from typing import Any

import numpy as np

from foldsmith.reporting.chart import Chart, axis, scatter
from foldsmith.reporting.facts import Facts
from foldsmith.results.picks import error_correlations

MAX_MEMBERS = 40


def weights(facts: Facts) -> Chart | None:
    """The members of the best blend."""
    blend = facts.blend
    if blend is None:
        return None
    items = sorted(blend.params.items(), key=lambda item: abs(float(item[1])))
    bars = [{"type": "bar", "orientation": "h", "y": [name for name, _ in items], "x": [float(w) for _, w in items]}]
    layout = {"xaxis": axis("weight"), "yaxis": {"automargin": True}, "showlegend": False}
    return Chart(
        "weights", bars, layout, 80 + 26 * len(items), f"{blend.id}, {blend.family}: {blend.details.get('reason', '')}."
    )


def trace(facts: Facts) -> Chart | None:
    """In-sample score after each step of a selection, beside the nested score of the whole."""
    blend = facts.blend
    steps = [] if blend is None else blend.details.get("trace", [])
    if blend is None or blend.scores is None or len(steps) < 2:
        return None
    n = len(steps)
    lines = [
        scatter(
            list(range(1, n + 1)),
            [s["score"] for s in steps],
            "in-sample",
            "lines+markers",
            text=[s["member"] for s in steps],
        ),
        scatter([1, n], [blend.scores.value] * 2, "nested", "lines", line={"dash": "dash"}),
    ]
    caption = "In-sample scores flatter; the nested one is of folds whose rows had no part in the weights."
    return Chart(
        "trace", lines, {"xaxis": axis("members drawn"), "yaxis": axis(facts.problem.metric.title)}, 320, caption
    )


def correlations(facts: Facts) -> Chart | None:
    """Correlations of the members' errors, families side by side."""
    singles = [one for one in facts.members if one.kind != "blend"][:MAX_MEMBERS]
    if len(singles) < 2:
        return None
    ordered = sorted(singles, key=lambda one: (one.family, one.id))
    found = error_correlations(facts.problem.judge, [facts.competition.members.oof(one.id) for one in ordered], 5000)
    names = [one.id for one in ordered]
    heat = [
        {
            "type": "heatmap",
            "x": names,
            "y": names,
            "z": np.round(found, 3),
            "colorscale": "Viridis",
            "zmin": float(min(0.5, found.min())),
            "zmax": 1.0,
        }
    ]
    layout = {"xaxis": {"automargin": True, "tickangle": -60}, "yaxis": {"automargin": True, "autorange": "reversed"}}
    caption = f"Out-of-fold errors of the best {len(names)} members. Blends gain most from pairs that are dark."
    return Chart("correlations", heat, layout, 180 + 14 * len(names), caption)


def leaderboard(facts: Facts) -> Chart | None:
    """Public scores against validation, with the robust line and the luck of the public rows."""
    standing = facts.standing
    if standing is None:
        return None
    sent = [one for one in standing.entries if one.validation is not None and one.public is not None]
    if not sent:
        return None
    x = [float(one.validation or 0) for one in sent]
    noise = standing.noise if standing.noise == standing.noise else 0.0
    points = scatter(
        x,
        [one.public for one in sent],
        "submissions",
        text=[one.file for one in sent],
        error_y={"type": "constant", "value": noise},
    )
    traces = [points]
    caption = "Too few scored submissions for a line."
    if standing.line is not None:
        ends = [min(x), max(x)]
        traces.append(scatter(ends, [standing.line.at(end) for end in ends], "Theil-Sen line", "lines"))
        odd = [point.entry.file for point in standing.points if point.flag]
        caption = (
            f"Bars: one standard deviation of the luck of the public rows. Off the line: {', '.join(odd) or 'none'}."
        )
    return Chart("leaderboard", traces, {"xaxis": axis("validation"), "yaxis": axis("public score")}, 380, caption)


def drift(facts: Facts) -> Chart | None:
    """Predictions of train rows out of fold against those of test rows."""
    found = facts.predictions
    test = None if found is None else facts.test_values(found.member)
    if found is None or test is None:
        return None
    from scipy.stats import ks_2samp

    traces: list[dict[str, Any]] = []
    names = ["prediction"] if found.values.shape[1] == 1 else [f"chance of {name}" for name in facts.classes]
    output = 0 if found.values.shape[1] == 1 else int(np.argmax(found.values.var(axis=0)))
    low, high = (float(f(np.concatenate([found.values[:, output], test[:, output]]))) for f in (np.min, np.max))
    edges = np.linspace(low, high if high > low else low + 1, 41)
    for name, values in (("train, out of fold", found.values[:, output]), ("test", test[:, output])):
        shares = np.histogram(values, edges)[0] / max(1, len(values))
        traces.append({"type": "bar", "x": (edges[:-1] + edges[1:]) / 2, "y": shares, "name": name, "opacity": 0.6})
    ks = ks_2samp(found.values[:, output], test[:, output], method="asymp")
    caption = (
        f"Kolmogorov-Smirnov distance {ks.statistic:.3f} (p = {ks.pvalue:.2g}). Test is a mean of fold models, so it "
        "is a little less extreme even without drift."
    )
    layout = {"xaxis": axis(names[output]), "yaxis": axis("share of rows", tickformat=".0%"), "barmode": "overlay"}
    return Chart("drift", traces, layout, 300, caption)
