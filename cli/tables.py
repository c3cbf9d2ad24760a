"""What commands print when they are done: tables and summaries, on stdout."""

import math
import shlex
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from foldsmith.ensembling.comparison import Comparison
    from foldsmith.ensembling.diagnosis import Explanation
    from foldsmith.flow.competition import Blend, Competition, RunResult
    from foldsmith.flow.posthoc import Posthoc
    from foldsmith.flow.propose import Proposal
    from foldsmith.flow.setup import Setup
    from foldsmith.flow.status import Status
    from foldsmith.problem.audit.audit import Audit
    from foldsmith.problem.contract import Problem
    from foldsmith.results.external import ExternalRow
    from foldsmith.results.members import Member
    from foldsmith.results.top import TopRow

LABEL_WIDTH = 13
NO_BREAK = "\N{NO-BREAK SPACE}"
MAX_NAMES = 3
MAX_WEIGHTS = 4
MAX_ERROR = 300
MAX_OUTSIDE = 10
MAX_CORRELATED = 12
LOG_LINES = 2

MARKS = {
    "n": "nested score: weights chosen on other folds than the ones they score",
    "e": "boosting rounds chosen by the fold that is scored: flatters, up to 7 % of the error on small data",
    "!": "made under other or unknown folds: good for averages, not for a stacker that is fitted on them",
}

# Columns of ``top`` that a narrow terminal goes without, the first to go first.
DISPENSABLE = ("seconds", "stop", "pooled", "folds")


def console(*, stderr: bool = False) -> Console:
    """Stdout (or stderr); as wide as anything that is printed when it is not a terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=1000)


TINY_DIGITS = 9  # what a score that is nothing but zeros would be shown with


def digits_for(value: float | None) -> int:
    """Digits after the point that a score is shown with: four, fewer for large values, more for tiny ones.

    >>> digits_for(0.8361), digits_for(541.2), digits_for(0.000318)
    (4, 2, 7)
    """
    size = 0.0 if value is None or not math.isfinite(value) else abs(value)
    if size >= 10:
        return max(1, 4 - math.floor(math.log10(size)))
    return min(9, 3 - math.floor(math.log10(size))) if 0 < size < 0.01 else 4


def number(value: float | None, digits: int | None = None) -> str:
    """A score, ``-`` when there is none.

    >>> number(0.83612), number(541.2468), number(None)
    ('0.8361', '541.25', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    shown_digits = digits_for(value) if digits is None else digits
    if is_extreme(value) and (abs(value) > 1 or shown_digits >= TINY_DIGITS):
        return f"{value:.4e}"
    return f"{value:.{shown_digits}f}"


def is_extreme(value: float) -> bool:
    """Whether a score is so large or so small that only powers of ten can be read.

    >>> is_extreme(1e40), is_extreme(3e-9), is_extreme(541.2), is_extreme(0.0)
    (True, True, False, False)
    """
    return math.isfinite(value) and value != 0 and not 1e-6 <= abs(value) < 1e9


def score(value: float | None, sem: float | None, digits: int | None = None) -> str:
    """A score with its standard error, both with as many digits.

    >>> score(0.8361, 0.01021)
    '0.8361 ±0.0102'
    """
    digits = digits_for(value) if digits is None else digits
    if sem is None or math.isnan(sem):
        return number(value, digits)
    if value is not None and is_extreme(value):
        return f"{number(value)} ±{sem:.4e}"
    return f"{number(value, digits)} ±{sem:.{digits}f}"


def _short(value: float, digits: int) -> str:
    """``.838``: without the zero before the point.

    >>> _short(0.8379, 3), _short(-0.25, 2), _short(12.34, 1)
    ('.838', '-.25', '12.3')
    """
    text = number(value, digits)
    return text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text


def plain_table(*headers: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    return table


def fact(out: Console, label: str, text: str, style: str = "") -> None:
    """``  label       text``, continued below the text; neither words (paths among them) nor ``a · b`` items break."""
    start = f"  {label:<{LABEL_WIDTH}}"
    items = text.split(" · ")
    kept = " · ".join(item.replace(" ", NO_BREAK) for item in items) if len(items) > 1 else text
    width = max(20, out.width - len(start))
    lines = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False) or [""]
    for place, line in enumerate(lines):
        first = Text(start if place == 0 else " " * len(start))
        out.print(first.append(line.replace(NO_BREAK, " "), style=style), soft_wrap=True)


def print_setup(setup: "Setup", problem: "Problem | None", found: "Audit | None" = None) -> None:
    """What was inferred, and why: the result of ``init`` (without ``problem``), a remark before a run.

    Args:
        found: by the quick checks of the data.
    """
    out = console(stderr=problem is not None)
    config, data = setup.config, setup.data
    arrow = "higher is better" if _greater(setup) else "lower is better"
    name = setup.folder.root.resolve().name
    out.print(
        f"[bold]{escape(name)}[/bold] · {data.target.task} · {escape(config.problem.metric)} ({arrow}) · "
        f"{data.train.n_rows:,} train rows · {data.test.n_rows:,} test rows",
        soft_wrap=True,
    )
    fact(out, "target", f"{data.target.name}: {data.target.task}, {setup.reasons.get('problem.task', '')}")
    fact(out, "columns", _kinds(setup))
    split = config.split
    frozen = "not frozen yet" if problem is None else f"frozen as {problem.plan.hash}"
    n_folds = split.n_folds if problem is None else problem.plan.n_folds
    held_out = f", {split.holdout:.0%} of the rows held out" if split.holdout else ""
    fact(out, "folds", f"{n_folds} {split.scheme}, seed {split.seed}{held_out}, {frozen}")
    for remark in setup.remarks:
        fact(out, "note", remark, "yellow")
    if found is not None:
        _print_worst(out, found)
    fact(out, "written", f"{setup.folder.config}   (the comments say why)")
    if problem is None:
        _print_next(out, setup.folder.root, [("search --time-budget 10m", "freeze the folds and begin")])
    else:
        out.print()


def print_proposal(proposal: "Proposal") -> None:
    """The folds that the data calls for, why, and what to write."""
    out = console()
    for reason in proposal.reasons:
        fact(out, "because", escape(reason))
    if not proposal.changes:
        fact(out, "folds", f"stay as they are: {proposal.scheme}")
        return
    out.print("[bold]\\[split][/bold]")
    for key, value in proposal.changes.items():
        out.print(f"{key} = {value!r}".replace("'", '"'))
    if proposal.is_frozen:
        fact(out, "", "folds are frozen and have results: use a new folder for these", "yellow")


def _print_worst(out: Console, found: "Audit") -> None:
    """The first errors and warnings of the quick checks, and where to read all of them."""
    grave = [finding for finding in found.findings if finding.severity != "info"]
    for finding in grave[:MAX_NAMES]:
        style = "red" if finding.severity == "error" else "yellow"
        fact(out, "check", f"{finding.severity}: {escape(finding.message)}", style)
    more = f"{len(grave) - MAX_NAMES} more: " if len(grave) > MAX_NAMES else ""
    if grave:
        fact(out, "", f"{more}foldsmith check says what to do")
    else:
        fact(out, "check", "no leak, drift or ignored group found by the quick checks")


def _greater(setup: "Setup") -> bool:
    from foldsmith.problem.contract import config_metric

    return config_metric(setup.folder, setup.config).greater_is_better


def _kinds(setup: "Setup") -> str:
    """``5 numeric · 4 categorical · 1 text (Name) · 1 id (id)``: the rare kinds with their columns."""
    names: dict[str, list[str]] = {}
    for column in setup.columns:
        names.setdefault(column.kind, []).append(column.name)
    parts = []
    for kind, columns in sorted(names.items(), key=lambda pair: -len(pair[1])):
        is_rare = kind not in ("numeric", "categorical") and len(columns) <= MAX_NAMES
        parts.append(f"{len(columns)} {kind}" + (f" ({', '.join(columns)})" if is_rare else ""))
    return " · ".join(parts)


def print_folds(facts: dict[str, Any]) -> None:
    """One line per fold."""
    out = console()
    seed = "" if facts["seed"] is None else f"seed {facts['seed']}, "
    out.print(f"{facts['n_folds']} {facts['scheme']} folds, {seed}frozen as {facts['hash']}")
    table = plain_table(*([">repeat"] if facts["n_repeats"] > 1 else []), ">fold", ">train", ">valid")
    table.add_column(_share_header(facts["folds"]))
    for fold in facts["folds"]:
        repeat = [f"{fold['repeat'] + 1}"] if facts["n_repeats"] > 1 else []
        sizes = f"{fold['fold'] + 1}", f"{fold['train_rows']:,}", f"{fold['valid_rows']:,}"
        table.add_row(*repeat, *sizes, _shares(fold))
    out.print(table)
    for count, what in ((facts["holdout_rows"], "held out"), (facts["never_validated_rows"], "never validated")):
        if count:
            out.print(f"{count:,} rows are {what}")


def _share_header(folds: Sequence[dict[str, Any]]) -> str:
    return "target mean" if folds and "target_mean" in folds[0] else "classes in valid"


def _shares(fold: dict[str, Any]) -> Text:
    """The target of a fold's validation rows."""
    if "target_mean" in fold:
        return Text(number(fold["target_mean"]))
    text = Text("  ".join(f"{name} {share:.3f}" for name, share in fold["class_shares"].items()))
    if fold["classes_not_in_train"]:
        text.append(f"  not in train: {', '.join(fold['classes_not_in_train'])}", style="yellow")
    return text


def print_top(problem: "Problem", *, n: int, failed: bool = False) -> None:
    """The best members, or the failed trials."""
    from foldsmith.results.members import MemberStore
    from foldsmith.results.top import top_rows

    out = console()
    better = problem.metric.greater_is_better
    rows = top_rows(MemberStore(problem.folder), problem.contract, greater_is_better=better, failed=failed)[:n]
    if not rows:
        out.print("no failed trials" if failed else "no members yet; start with 'foldsmith search'")
    elif failed:
        out.print(_failed_table(rows))
    else:
        out.print(_top_table(rows, problem.metric.name, out))
        out.print(how_scored(problem), soft_wrap=True)
        for mark, meaning in MARKS.items():
            if any(mark in row.marks for row in rows):
                out.print(f"{mark}  {meaning}", soft_wrap=True)


def how_scored(problem: "Problem") -> str:
    """What all scores of a table have in common."""
    plan, aggregate = problem.plan, problem.metric.aggregate.replace("_", " ")
    labels = ", labels by rules of the other folds" if problem.judge.needs_labels else ""
    return f"out of fold, {aggregate} over {plan.n_folds} {plan.scheme} folds {plan.hash}{labels}"


def print_external(rows: Sequence["ExternalRow"]) -> None:
    """Imported members: what was claimed, and what was found."""
    out = console()
    digits = digits_for(rows[0].score)
    table = plain_table(
        "member", f"{rows[0].metric} ± sem", ">claimed", ">difference", "folds", "rows by", ">rows", "test", "file"
    )
    for row in rows:
        table.add_row(
            row.member,
            score(row.score, row.sem, digits),
            number(row.claimed, digits),
            "-" if row.difference is None else f"{row.difference:+.{digits}f}",
            f"{row.folds} {row.mark}".rstrip(),
            row.matched,
            f"{row.rows:,} of {row.n_rows:,}",
            row.test,
            Text(row.file),
        )
    out.print(table)
    if any(row.mark for row in rows):
        out.print(f"!  {MARKS['!']}", soft_wrap=True)
    if any(row.test == "no" for row in rows):
        out.print("without a test prediction a member is for analysis only", soft_wrap=True)
    for row in rows:
        for warning in row.warnings:
            out.print(Text(f"{row.member}: {warning}", style="yellow"), soft_wrap=True)


def _failed_table(rows: Sequence["TopRow"]) -> Table:
    table = plain_table("member", "family", "reason")
    table.add_column("error, and the end of its log", overflow="fold")
    for row in rows:
        error = Text(textwrap.shorten(row.error, MAX_ERROR, placeholder=" …"))
        for line in _telling_lines(row.tail, row.error):
            error.append(f"\n{textwrap.shorten(line, MAX_ERROR, placeholder=' …')}", style="dim")
        table.add_row(row.member, row.family, row.reason, error)
    return table


def _telling_lines(tail: str, error: str) -> list[str]:
    """Where it happened: the last frame of a traceback (its very end is the error once more), the first of a crash."""
    lines = [line.strip() for line in tail.splitlines() if line.strip() and error not in line]
    crash = next((place for place, line in enumerate(lines) if "most recent call first" in line), None)
    return lines[-LOG_LINES:] if crash is None else lines[crash + 1 :][:LOG_LINES]


def _top_table(rows: Sequence["TopRow"], metric: str, out: Console) -> Table:
    """As many columns as the console is wide enough for."""
    headers = [">#", "member", "family", f"{metric} ± sem", "folds", ">pooled", "stop", ">seconds"]
    digits = digits_for(rows[0].value)
    n_folds = max(len(row.folds) for row in rows)
    headers[4] = f"folds 1-{n_folds}" if n_folds <= 10 else f"folds 1-10 of {n_folds}"
    records = [
        (
            str(place),
            row.member,
            row.family,
            f"{score(row.value, row.sem, digits)} {row.marks}".rstrip(),
            " ".join(_short(value, max(1, digits - 1)) for value in row.folds[:10]),
            number(row.pooled, digits),
            row.policy,
            f"{row.seconds:.1f}",
        )
        for place, row in enumerate(rows, start=1)
    ]
    shown = list(range(len(headers)))
    for dispensable in ("", *DISPENSABLE):
        shown = [k for k in shown if not dispensable or not headers[k].removeprefix(">").startswith(dispensable)]
        table = plain_table(*(headers[k] for k in shown))
        for place, record in enumerate(records):
            table.add_row(*(Text(record[k]) for k in shown), style="green" if place == 0 else None)
        if Measurement.get(out, out.options.update(max_width=10_000), table).maximum <= out.width:
            break
    return table


def print_member(problem: "Problem", member: "Member") -> None:
    """Everything that is stored of a member."""
    from foldsmith.results.obtained import obtained

    out = console()
    out.print(f"[bold]{member.id}[/bold] · {member.kind} · {escape(member.family)} · {member.state}")
    if member.scores is not None:
        scores = member.scores
        how = obtained(problem, member)
        digits = digits_for(scores.value)
        fact(out, member.metric, f"{score(scores.value, scores.sem)}, pooled {number(scores.pooled, digits)}")
        fact(out, "obtained", how.label)
        fact(out, "folds", "  ".join(number(value, digits) for value in scores.per_fold))
        if scores.untuned is not None:
            fact(out, "plain rule", f"{number(scores.untuned, digits)} (labels without tuned thresholds)")
    if "in_sample" in member.details:
        fact(out, "in-sample", f"{number(member.details['in_sample'])} (flatters)")
    if member.kind == "trial":
        fact(out, "stopping", _rounds(member))
        fact(out, "time", f"{member.seconds:.1f} s over all folds")
    if member.kind == "imported":
        _print_origin(out, member)
    _print_params(out, "weights" if member.kind == "blend" else "params", member.params)
    if member.error is not None:
        fact(out, "error", f"{member.error['reason']}: {member.error['message']}", style="red")
        if member.error["tail"]:
            out.print(Text(member.error["tail"].rstrip()), soft_wrap=True)
    fact(out, "files", str(problem.folder.members / member.id))


def _print_origin(out: Console, member: "Member") -> None:
    """Where an imported member comes from, and what was found on the way in."""
    details = member.details
    claimed = "nothing" if details["claimed"] is None else number(details["claimed"])
    fact(out, "claimed", claimed)
    fact(out, "made under", f"{details['folds']} folds")
    fact(out, "source", f"{details['source']['oof']['file']}, rows by {details['matched']}")
    for warning in details["warnings"]:
        fact(out, "warning", warning, style="yellow")


def _rounds(member: "Member") -> str:
    rounds = [str(count) for count in member.details.get("rounds", []) if count is not None]
    return member.policy + (f", rounds of the folds: {', '.join(rounds)}" if rounds else "")


def _print_params(out: Console, label: str, params: dict[str, Any]) -> None:
    width = max((len(name) for name in params), default=0)
    for place, (name, value) in enumerate(params.items()):
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        start = f"  {label if place == 0 else '':<{LABEL_WIDTH}}"
        out.print(Text(f"{start}{name:<{width}}  {text}"), soft_wrap=True)


def print_status(status: "Status") -> None:
    """A few lines on what runs and what was reached."""
    from foldsmith.flow.durations import show_duration

    out = console()
    running = "nothing runs" if status.driver is None else f"process {status.driver} is {status.phase}"
    if status.phase == "interrupted":
        running = "interrupted; go on with 'foldsmith resume'"
    snapshot = status.snapshot
    if snapshot is not None:
        budget = snapshot["budget_seconds"]
        running += f" since {show_duration(snapshot['elapsed_seconds'])}"
        running += f" of {show_duration(budget)}" if budget is not None else ""
    out.print(Text(f"{status.folder} · {status.metric} · {running}"), soft_wrap=True)
    if status.other_drivers:
        fact(out, "drivers", f"and {' and '.join(map(str, status.other_drivers))} on the same study")
    if status.note:
        fact(out, "note", status.note, "yellow")
    fact(out, "rig", status.rig)
    fact(out, "folds", status.folds)
    unfinished = "running" if status.driver is not None else "unfinished"
    states = " · ".join(
        f"{count} {unfinished if state == 'running' else state}" for state, count in sorted(status.states.items())
    )
    fact(out, "trials", states or "none yet")
    for slot in snapshot["slots"] if snapshot is not None else ():
        fact(out, slot["name"], f"{slot['member']}  {slot['label']}  {slot['seconds']:.0f} s")
    if status.members:
        fact(out, "families", " · ".join(f"{name} {count}" for name, count in sorted(status.members.items())))
    for kind, (member, value, sem) in status.best.items():
        fact(out, f"best {kind}", f"{member}  {score(value, sem)}{' (nested)' if kind == 'blend' else ''}")
    if status.submission:
        fact(out, "submission", status.submission)


def print_blend(competition: "Competition", blend: "Blend") -> None:
    """In-sample and nested score beside the best single member, and the weights."""
    from foldsmith.flow.ensemble import candidates

    singles = candidates(competition.problem, competition.members)
    out = console()
    _print_scores(out, blend, singles[0] if singles else None, blend.metric)
    fact(out, blend.method, escape(blend.reason))
    if len(blend.by_method) > 1:
        fact(out, "nested", " · ".join(f"{name} {number(value)}" for name, value in blend.by_method.items()))
    _print_next(out, competition.root, [(f"submit make {blend.id}", "write its submission")])


def print_explanation(found: "Explanation", metric: str) -> None:
    """What each member carries, what others would add, and whose errors are alike."""
    out = console()
    table = plain_table("  member", f">{metric} without it", ">change")
    for name, value in sorted(found.without.items(), key=lambda item: -abs(item[1] - found.score)):
        table.add_row(f"  {name}", number(value), signed_number(value - found.score))
    if table.row_count:
        out.print(table)
    table = plain_table("  outside", f">{metric} with it", ">change", ">share")
    ordered = sorted(found.added.items(), key=lambda item: -abs(item[1][0] - found.score))
    for name, (value, share) in ordered[:MAX_OUTSIDE]:
        table.add_row(f"  {name}", number(value), signed_number(value - found.score), f"{share:.2f}")
    if table.row_count:
        out.print(table)
    _print_correlation(out, found)
    for cluster in found.clusters:
        if len(cluster) > 1:
            fact(out, "alike", " · ".join(cluster))


def _print_correlation(out: Console, found: "Explanation") -> None:
    shown = found.names[:MAX_CORRELATED]
    table = plain_table("  errors", *(f">{name}" for name in shown))
    for row, name in enumerate(shown):
        table.add_row(f"  {name}", *(f"{found.correlation[row, column]:.2f}" for column in range(len(shown))))
    out.print(table)


def signed_number(value: float) -> str:
    """A difference with its sign.

    >>> signed_number(0.0012), signed_number(-3.5)
    ('+0.001200', '-3.5000')
    """
    return ("+" if value >= 0 else "-") + number(abs(value))


def print_comparison(competition: "Competition", first: str, second: str, found: "Comparison") -> None:
    """Both scores, the gain with its error, how probable it is, and the folds."""
    from foldsmith.results.obtained import obtained

    out = console()
    problem, metric = competition.problem, competition.problem.metric
    table = plain_table(f"  {metric.name}", "", ">score ± sem")
    how = []
    for name in (first, second):
        member = competition.members.get(name)
        scores = member.scores
        assert scores is not None
        how.append(obtained(problem, member))
        table.add_row(f"  {name}", how[-1].marks, score(scores.value, scores.sem))
    out.print(table)
    if not how[0].is_comparable(how[1]):
        fact(out, "mark", f"of different kinds: {how[0].label}; and {how[1].label}", "yellow")
    fact(out, "gain", f"{signed_number(found.gain)} ± {number(found.sem)} of {first} over {second}")
    n_folds = problem.plan.n_folds
    fact(out, "better", f"with P = {found.probability:.2f}, in {found.folds_won} of {n_folds} folds")


def print_posthoc(found: "Posthoc") -> None:
    """The rule and its three scores."""
    out = console()
    table = plain_table(f"  {found.metric}", ">score", "")
    table.add_row("  default", number(found.default), "the plain rule")
    table.add_row("  nested", number(found.nested), "fitted on the other folds: what to expect")
    table.add_row("  in-sample", number(found.in_sample), "fitted on the rows that it is scored on")
    out.print(table)
    rule = {key: value for key, value in found.rule.items() if key != "kind"}
    fact(out, found.rule["kind"], " ".join(str(value) for value in rule.values()))


def _print_scores(out: Console, blend: "Blend | None", best: "Member | None", metric: str) -> None:
    table = plain_table(f"  {metric}", "", ">in-sample", ">nested ± sem")
    if best is not None and best.scores is not None:
        value, sem = best.scores.value, best.scores.sem
        table.add_row("  best single", best.id, number(value), score(value, sem))
    if blend is not None:
        nested = score(blend.nested_score, blend.nested_sem)
        table.add_row("  ensemble", f"[green]{blend.id}[/green]", number(blend.in_sample_score), nested)
    if table.row_count:
        out.print(table)
    if blend is not None:
        fact(out, "members", _weights(blend))
        if blend.foreign:
            fact(out, "", f"! {MARKS['!']}")
        if blend.against_best and blend.against_best["member"] not in ("", blend.id):
            against = blend.against_best
            fact(
                out,
                "against best",
                f"better than {against['member']} with P = {against['probability']:.2f}: "
                f"{signed_number(against['gain'])} ± {number(against['sem'])}",
            )
        if blend.bag_gain:
            fact(out, "bag gain", _bag_gain(blend.bag_gain))


def _bag_gain(found: dict[str, Any]) -> str:
    text = f"{signed_number(found['gain'])} ± {number(found['sd'])} expected on test from the mean of "
    text += f"{found['n_models']} fold models"
    without = found["without"]
    return text + (f"; only the mean is known of {len(without)} of the members" if without else "")


def _weights(blend: "Blend") -> str:
    weights = blend.weights
    marks = dict.fromkeys(blend.foreign, "!")
    shown = [f"{name}{marks.get(name, '')} {weight:.2f}" for name, weight in list(weights.items())[:MAX_WEIGHTS]]
    rest = len(weights) - MAX_WEIGHTS
    return " · ".join([*shown, *([f"{rest} more"] if rest > 0 else [])])


def print_run(
    competition: "Competition", result: "RunResult", budget_seconds: float | None = None, *, held_out: str = ""
) -> None:
    """The end of ``run``; ``held_out`` says how the submission did on labels that no search saw."""
    out = console()
    print_done(competition, result.seconds, budget_seconds)
    _print_scores(out, result.blend, result.best, result.metric)
    if result.blend is None:
        out.print("[yellow]no member was finished in time: the submission is the constant baseline[/yellow]")
    problem = competition.problem
    sample = problem.config.data.sample
    like = f", ids and header as in {Path(sample).name}" if sample else ""
    fact(out, "submission", str(result.submission))
    fact(out, "", f"{problem.data.test.n_rows:,} rows{like}")
    if held_out:
        fact(out, "held-out", held_out)
    _print_next(
        out,
        competition.root,
        [
            ("run --time-budget 1h", "go on from here"),
            ("top", "all members"),
            ("dashboard", "Optuna's dashboard in the browser"),
        ],
    )


def print_done(competition: "Competition", seconds: float, budget_seconds: float | None = None) -> None:
    """``done in 9:58 of 10:00 · 58 trials (44 complete, 12 pruned, 2 failed: oom) · 51 members``; all calls' trials."""
    from foldsmith.flow.durations import show_duration

    members = competition.members.all(contract=competition.problem.contract)
    budget = "" if budget_seconds is None else f" of {show_duration(budget_seconds)}"
    n_members = sum(member.state == "complete" and member.kind != "blend" for member in members)
    parts = [
        f"[bold]done[/bold] in {show_duration(seconds)}{budget}",
        _trial_counts([member for member in members if member.kind == "trial"]),
        f"{n_members} member{'' if n_members == 1 else 's'}",
    ]
    console().print(" · ".join(parts), soft_wrap=True)


def _trial_counts(trials: Sequence["Member"]) -> str:
    """``58 trials (44 complete, 12 pruned, 2 failed: oom)``."""
    from foldsmith.search.studies import NOT_COUNTED

    counted = [trial for trial in trials if trial.error is None or trial.error["reason"] not in NOT_COUNTED]
    states = Counter(str(trial.state) for trial in counted)
    reasons = Counter(trial.error["reason"] for trial in counted if trial.error is not None)
    parts = []
    for state, name in (
        ("complete", "complete"),
        ("pruned", "pruned"),
        ("failed", "failed"),
        ("running", "unfinished"),
    ):
        if count := states[state]:
            why = f": {', '.join(reasons)}" if state == "failed" and reasons else ""
            parts.append(f"{count} {name}{why}")
    total = f"{len(counted)} trial{'' if len(counted) == 1 else 's'}"
    return f"{total} ({', '.join(parts)})" if parts else total


def _print_next(out: Console, root: Path, commands: Sequence[tuple[str, str]]) -> None:
    """What to do next, ready to be pasted: with ``-C`` unless the competition is the current folder."""
    place = "" if root.resolve() == Path.cwd() else f"-C {shlex.quote(str(root))} "
    width = max(len(command) for command, _ in commands)
    for line, (command, why) in enumerate(commands):
        start = "\nnext:  " if line == 0 else "       "
        out.print(Text(f"{start}foldsmith {place}{command:<{width}}   {why}", style="dim"), soft_wrap=True)
