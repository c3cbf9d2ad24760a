"""Charts of the search: its history, what parameters matter, the folds, the costs."""

from collections import defaultdict
from typing import Any

import numpy as np

from foldsmith.reporting.chart import Chart, axis, scatter
from foldsmith.reporting.facts import Facts
from foldsmith.results.members import Member

MAX_BOXES = 15
MIN_TRIALS = 8
MAX_PARAMETERS = 8
MAX_SLICES = 6


def history(facts: Facts) -> Chart | None:
    """Scores in the order in which trials ended, the best so far, and the noise band of the best."""
    trials = sorted((one for one in facts.members if one.kind == "trial"), key=lambda one: (one.created, one.id))
    if not trials:
        return None
    place = {member.id: number for number, member in enumerate(trials, start=1)}
    by_family: dict[str, list[Member]] = defaultdict(list)
    for member in trials:
        by_family[member.family].append(member)
    traces = [
        scatter(
            [place[one.id] for one in group],
            [_value(one) for one in group],
            family,
            text=[one.id for one in group],
            hovertemplate="%{text}: %{y}<extra>" + family + "</extra>",
        )
        for family, group in sorted(by_family.items())
    ]
    best = _best_so_far([_value(one) for one in trials], facts.problem.metric.greater_is_better)
    traces.append(
        scatter(list(range(1, len(trials) + 1)), best, "best so far", "lines", line={"shape": "hv", "width": 2})
    )
    leader = next(one for one in facts.members if one.kind == "trial")
    shapes = []
    if leader.scores is not None and np.isfinite(leader.scores.sem):
        low, high = leader.scores.value - leader.scores.sem, leader.scores.value + leader.scores.sem
        shapes.append(
            {
                "type": "rect",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": low,
                "y1": high,
                "line": {"width": 0},
                "fillcolor": "rgba(128,128,128,0.18)",
                "layer": "below",
            }
        )
    failed = sum(one.state == "failed" for one in facts.others)
    caption = "Each point is a trial's cross-validated score; the band is the best trial's standard error over folds. "
    caption += f"{failed} trials failed, {len(facts.others) - failed} were pruned: they have no score."
    layout = {"xaxis": axis("trial"), "yaxis": axis(facts.problem.metric.title), "shapes": shapes}
    return Chart("history", traces, layout, 380, caption)


def _value(member: Member) -> float:
    return float("nan") if member.scores is None else member.scores.value


def _best_so_far(values: list[float], greater: bool) -> Any:
    filled = np.where(np.isfinite(values), values, -np.inf if greater else np.inf)
    return np.maximum.accumulate(filled) if greater else np.minimum.accumulate(filled)


def fold_boxes(facts: Facts) -> Chart | None:
    """The folds of the best members: which fold is odd, and how much of a lead is noise."""
    best = [one for one in facts.members[:MAX_BOXES] if one.scores is not None]
    if not best:
        return None
    traces: list[dict[str, Any]] = [
        {
            "type": "box",
            "name": one.id,
            "y": list(one.scores.per_fold),
            "boxpoints": "all",
            "jitter": 0.3,
            "pointpos": 0,
            "showlegend": False,
            "text": [f"fold {i + 1}" for i in range(len(one.scores.per_fold))],
        }
        for one in best
        if one.scores is not None
    ]
    caption = "Scores of single folds of the best members (blends: nested). Boxes that overlap are hardly different."
    return Chart(
        "folds", traces, {"yaxis": axis(facts.problem.metric.title), "xaxis": {"automargin": True}}, 380, caption
    )


def importance(facts: Facts, family: str) -> list[Chart]:
    """What the parameters of a family explain of its scores (fANOVA), and slices through the leading ones."""
    trials = [one for one in facts.members if one.kind == "trial" and one.family == family]
    names = _varied(trials)
    if len(trials) < MIN_TRIALS or not names:
        return []
    shares = _importances(trials, names, facts.problem.metric.greater_is_better)
    leading = sorted(shares, key=lambda name: shares[name])[-MAX_PARAMETERS:]
    bars = [{"type": "bar", "orientation": "h", "y": leading, "x": [shares[name] for name in leading]}]
    charts = [
        Chart(
            f"importance-{family}",
            bars,
            {"xaxis": axis("share of the variance of scores"), "yaxis": {"automargin": True}, "showlegend": False},
            60 + 28 * len(leading),
            f"{family}: functional ANOVA over {len(trials)} complete trials (Hutter, Hoos, Leyton-Brown 2014).",
        )
    ]
    for name in list(reversed(leading))[:MAX_SLICES]:
        x = [one.params.get(name) for one in trials]
        numbers = [v for v in x if isinstance(v, int | float) and not isinstance(v, bool)]
        wide = len(numbers) == len(x) and min(numbers) > 0 and max(numbers) / min(numbers) > 30
        layout = {
            "xaxis": axis(name, type="log") if wide else axis(name),
            "yaxis": axis(facts.problem.metric.title),
            "showlegend": False,
        }
        points = scatter(x, [_value(one) for one in trials], name, text=[one.id for one in trials])
        charts.append(Chart(f"slice-{family}-{name}", [points], layout, 240))
    return charts


def _varied(trials: list[Member]) -> list[str]:
    """Parameters that every trial has and that take several values."""
    shared = set.intersection(*(set(one.params) for one in trials)) if trials else set()
    return sorted(name for name in shared if len({str(one.params[name]) for one in trials}) > 1)


def _importances(trials: list[Member], names: list[str], greater: bool) -> dict[str, float]:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="maximize" if greater else "minimize")
        distributions = {name: _distribution([one.params[name] for one in trials]) for name in names}
        for one in trials:
            params = {name: _typed(one.params[name], distributions[name]) for name in names}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=_value(one)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, max_depth=32, seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    finally:
        optuna.logging.set_verbosity(level)


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > 30)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _typed(value: Any, distribution: Any) -> Any:
    return float(value) if hasattr(distribution, "low") else str(value)


def costs(facts: Facts) -> Chart | None:
    """Slot hours by family beside what they brought."""
    spent: dict[str, float] = defaultdict(float)
    for one in [*facts.members, *facts.others]:
        if one.kind == "trial":
            spent[one.family] += one.seconds
    if not spent:
        return None
    weights: dict[str, float] = defaultdict(float)
    if facts.blend is not None:
        for name, weight in facts.blend.params.items():
            if (part := facts.competition.members.find(name)) is not None:
                weights[part.family] += float(weight)
    families = sorted(spent, key=lambda family: spent[family])
    total = sum(spent.values()) or 1.0
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": families,
            "x": [spent[f] / total for f in families],
            "name": "share of the time",
        },
        {
            "type": "bar",
            "orientation": "h",
            "y": families,
            "x": [weights[f] for f in families],
            "name": "weight in the ensemble",
        },
    ]
    minutes = ", ".join(f"{family} {spent[family] / 60:.1f}" for family in reversed(families))
    layout = {"xaxis": axis("share", tickformat=".0%"), "yaxis": {"automargin": True}, "barmode": "group"}
    return Chart("costs", traces, layout, 80 + 40 * len(families), f"Slot minutes by family: {minutes}.")


def gain_per_hour(facts: Facts) -> Chart | None:
    """The best score against the time that was spent until then."""
    trials = sorted((one for one in facts.members if one.kind == "trial"), key=lambda one: (one.created, one.id))
    if len(trials) < 2:
        return None
    minutes = np.cumsum([one.seconds for one in trials]) / 60
    best = _best_so_far([_value(one) for one in trials], facts.problem.metric.greater_is_better)
    line = scatter(minutes, best, "best single", "lines", line={"shape": "hv"})
    layout = {"xaxis": axis("slot minutes"), "yaxis": axis(facts.problem.metric.title), "showlegend": False}
    return Chart(
        "gain", [line], layout, 280, "The best single score against the time of all complete trials until then."
    )
