"""One self-contained HTML file: everything inside, nothing is fetched."""

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from foldsmith import __version__
from foldsmith.problem.files import write_bytes
from foldsmith.reporting import ensemble_charts, prediction_charts, search_charts
from foldsmith.reporting.chart import Chart, plain
from foldsmith.reporting.facts import Facts
from foldsmith.reporting.rows import RowTable, worst_rows
from foldsmith.results.obtained import obtained
from foldsmith.results.top import top_rows


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        anchor, title: of its heading.
        intro: a sentence, as text.
        charts: drawn in order, two side by side where there is room.
        body: HTML that is safe already.
    """

    anchor: str
    title: str
    intro: str = ""
    charts: tuple[Chart, ...] = ()
    body: str = ""


def write_report(facts: Facts, path: Path) -> Path:
    """Write the report atomically and return its path."""
    write_bytes(path, render(facts).encode())
    return path


def render(facts: Facts) -> str:
    """The page as text."""
    sections = [section for section in _sections(facts) if section.charts or section.body]
    charts = [chart.to_json() for section in sections for chart in section.charts]
    name = facts.competition.root.resolve().name
    template = files("foldsmith.reporting").joinpath("page.html").read_text(encoding="utf-8")
    parts = {
        "title": html.escape(f"{name}: {facts.problem.metric.title}"),
        "navigation": "".join(f'<a href="#{one.anchor}">{html.escape(one.title)}</a>' for one in sections),
        "sections": "\n".join(_section_html(one) for one in sections),
        "charts": _script_json(charts),
        "members": _script_json(member_rows(facts)),
        "plotly": _plotly(),
        "version": html.escape(__version__),
    }
    for key, text in parts.items():
        template = template.replace(f"<!--{key}-->", text, 2 if key == "title" else 1)
    return template


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element, whatever a column's values are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _section_html(section: Section) -> str:
    charts = "".join(
        f'<figure><div class="chart" id="{html.escape(chart.anchor)}" style="height:{chart.height}px"></div>'
        f"<figcaption>{html.escape(chart.caption)}</figcaption></figure>"
        for chart in section.charts
    )
    intro = f"<p>{html.escape(section.intro)}</p>" if section.intro else ""
    grid = f'<div class="charts">{charts}</div>' if charts else ""
    return f'<section id="{section.anchor}"><h2>{html.escape(section.title)}</h2>{intro}{section.body}{grid}</section>'


def _sections(facts: Facts) -> Iterator[Section]:
    yield Section("summary", "Summary", body=_summary(facts))
    yield Section("members", "Members", body='<div id="member-table"></div>')
    trials = [search_charts.history(facts), search_charts.fold_boxes(facts)]
    yield Section("search", "Search", charts=_there(trials))
    families = dict.fromkeys(one.family for one in facts.members if one.kind == "trial")
    matters = [chart for family in families for chart in search_charts.importance(facts, family)]
    yield Section(
        "parameters",
        "Parameters",
        "What a family's parameters explain of its scores, and slices through the leading ones.",
        tuple(matters),
        "" if matters else "<p>No family has eight complete trials yet.</p>",
    )
    blends = [ensemble_charts.weights(facts), ensemble_charts.trace(facts), ensemble_charts.correlations(facts)]
    yield Section("ensemble", "Ensemble", charts=_there(blends))
    board = ensemble_charts.leaderboard(facts)
    missing = "<p>No scored submission in the ledger yet: foldsmith lb log FILE --public SCORE.</p>"
    yield Section("leaderboard", "Leaderboard", charts=_there([board]), body="" if board else missing)
    yield from _prediction_sections(facts)
    yield Section("costs", "Costs", charts=_there([search_charts.costs(facts), search_charts.gain_per_hour(facts)]))
    yield Section("provenance", "Provenance", body=_provenance(facts))


def _prediction_sections(facts: Facts) -> Iterator[Section]:
    found = facts.predictions
    if found is None or facts.member is None:
        return
    about = f"Out-of-fold predictions of {found.member} ({obtained(facts.problem, facts.member).label})."
    charts = tuple(prediction_charts.of_predictions(facts, found))
    yield Section("predictions", "Predictions", about, (*charts, *_there([ensemble_charts.drift(facts)])))
    yield Section(
        "slices",
        "Error by slice",
        "Where the model is worse or better than on the whole.",
        _there([prediction_charts.slices(facts, found)]),
    )
    yield Section(
        "rows",
        "Single rows",
        "Look at them: a wrong label, a missing column and a bug look different.",
        body="".join(map(_table_html, worst_rows(facts, found))),
    )


def _there(charts: list[Chart | None]) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)


def _table_html(table: RowTable) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in table.header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    made = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h3>{html.escape(table.title)}</h3><div class="scroll">{made}</div>'


def member_rows(facts: Facts) -> dict[str, Any]:
    """The member table as data."""
    metric = facts.problem.metric
    rows = top_rows(facts.competition.members, facts.problem.contract, greater_is_better=metric.greater_is_better)
    return {
        "greater": metric.greater_is_better,
        "metric": metric.title,
        "rows": [
            plain(
                [
                    one.member,
                    one.family,
                    one.value,
                    one.sem,
                    list(one.folds),
                    one.pooled,
                    one.policy,
                    one.seconds,
                    one.marks,
                ]
            )
            for one in rows
        ],
    }


def summary_lines(facts: Facts) -> list[str]:
    """What was found, in plain words."""
    problem, metric = facts.problem, facts.problem.metric
    better = "higher is better" if metric.greater_is_better else "lower is better"
    singles = [one for one in facts.members if one.kind != "blend"]
    families = len({one.family for one in singles})
    lines = [
        f"{problem.data.train.n_rows:,} train rows, {problem.data.test.n_rows:,} test rows, "
        f"{len(problem.data.train.schema.columns)} columns; judged by {metric.title} ({better}) in "
        f"{problem.plan.n_folds} {problem.plan.scheme} folds ({problem.plan.hash}).",
        f"{len(singles)} complete members of {families} families.",
    ]
    best, blend = facts.best_single, facts.blend
    if best is not None and best.scores is not None:
        lines.append(
            f"The best single member, {best.id}, scores {_score(best.scores.value, best.scores.sem)} "
            f"({obtained(problem, best).label})."
        )
    if blend is not None and blend.scores is not None:
        lines.append(
            f"The ensemble {blend.id} of {len(blend.params)} members scores "
            f"{_score(blend.scores.value, blend.scores.sem)} nested; on the rows that fitted it "
            f"{blend.details['in_sample']:.5g}, which flatters."
        )
        against = blend.details.get("against_best") or {}
        if against.get("probability") is not None and against.get("member") != blend.id:
            lines.append(
                f"It is better than {against['member']} with probability {against['probability']:.2f}, by "
                f"{against['gain']:+.4g} ± {against['sem']:.2g} (paired bootstrap over folds and rows)."
            )
        bag = blend.details.get("bag_gain")
        if bag:
            lines.append(
                f"On test the mean of the {bag['n_models']} fold models is expected to gain {bag['gain']:+.3g} ± "
                f"{bag['sd']:.2g} over one of them, which these scores are of."
            )
    if facts.standing is not None and facts.standing.line is not None:
        line = facts.standing.line
        lines.append(
            f"On the leaderboard: public = {line.intercept:.4g} + {line.slope:.2f} x validation, over {line.n_points} "
            "submissions."
        )
    return lines


def _score(value: float, sem: float) -> str:
    return f"{value:.5g} ± {sem:.2g}" if sem == sem else f"{value:.5g}"


def _summary(facts: Facts) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in summary_lines(facts))
    findings = "".join(
        f'<li class="{one.severity}"><b>{one.severity} {one.code}</b>: {html.escape(one.message)}. '
        f"<i>{html.escape(one.advice)}</i></li>"
        for one in facts.findings
        if one.severity != "info"
    )
    return lines + (f"<h3>What the checks of the data say</h3><ul>{findings}</ul>" if findings else "")


def _provenance(facts: Facts) -> str:
    problem = facts.problem
    entries = {
        "contract": problem.contract,
        "train": f"{problem.data.paths[0].name}, {problem.data.train_fingerprint}",
        "test": f"{problem.data.paths[1].name}, {problem.data.test_fingerprint}",
        "folds": f"{problem.plan.n_folds} {problem.plan.scheme}, seed {problem.plan.seed}, {problem.plan.hash}",
        "metric": problem.metric.name,
        "foldsmith": __version__,
    }
    if facts.member is not None:
        entries["looked at"] = f"{facts.member.id}, made {facts.member.created}"
        entries |= {name: version for name, version in facts.member.versions.items() if name != "foldsmith"}
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(text))}</td></tr>" for name, text in entries.items()
    )
    return f'<div class="scroll"><table class="plain"><tbody>{rows}</tbody></table></div>'
