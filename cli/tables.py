"""What commands print when they are done: tables and summaries, on stdout."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from foldsmith.flow.competition import Blend, Competition, RunResult
    from foldsmith.flow.setup import Setup
    from foldsmith.flow.status import Status
    from foldsmith.problem.contract import Problem
    from foldsmith.results.members import Member


def console() -> Console:
    """Stdout, without wrapping long paths when it is not a terminal."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=200)


def number(value: float | None, digits: int = 4) -> str:
    """A score, ``-`` when there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def score(value: float | None, sem: float | None) -> str:
    """Score with its standard error."""
    return number(value) if sem is None or sem != sem else f"{number(value)} ±{sem:.4f}"


def _plain_table(*headers: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    return table


def print_setup(setup: "Setup", problem: "Problem | None") -> None:
    """What was inferred, and why."""
    out = Console(stderr=True, highlight=False)
    config, data = setup.config, setup.data
    arrow = "higher is better" if _greater(setup) else "lower is better"
    name = setup.folder.root.resolve().name
    out.print(
        f"[bold]{escape(name)}[/bold] · {data.target.task} · {escape(config.problem.metric)} ({arrow}) · "
        f"{data.train.n_rows:,} train rows · {data.test.n_rows:,} test rows"
    )
    kinds: dict[str, int] = {}
    for column in setup.columns:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    counts = "  ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: -pair[1]))
    out.print(f"  columns   {counts}     why: comments in {escape(str(setup.folder.config))}")
    split = config.split
    frozen = "not frozen yet" if problem is None else f"frozen as {problem.plan.hash}"
    out.print(f"  folds     {split.n_folds} {split.scheme}, seed {split.seed}, {frozen}")
    target = setup.reasons.get("problem.task", "")
    out.print(f"  target    {escape(data.target.name)}: {data.target.task}, {escape(target)}")


def _greater(setup: "Setup") -> bool:
    from foldsmith.problem.contract import config_metric

    return config_metric(setup.folder, setup.config).greater_is_better


def print_folds(facts: dict[str, Any]) -> None:
    """One line per fold."""
    out = console()
    out.print(f"{facts['n_folds']} {facts['scheme']} folds, seed {facts['seed']}, frozen as {facts['hash']}")
    table = _plain_table(">fold", ">train", ">valid", "target")
    for fold in facts["folds"]:
        rest = {key: value for key, value in fold.items() if key not in ("repeat", "fold", "train_rows", "valid_rows")}
        table.add_row(f"{fold['fold'] + 1}", f"{fold['train_rows']:,}", f"{fold['valid_rows']:,}", escape(_facts(rest)))
    out.print(table)


def _facts(values: dict[str, Any]) -> str:
    parts = []
    for key, value in values.items():
        if isinstance(value, dict):
            parts += [f"{name} {share:.3f}" for name, share in value.items()]
        else:
            parts.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return "  ".join(parts)


def print_top(problem: "Problem", *, n: int, failed: bool = False) -> None:
    """The best members, or the failed trials."""
    from foldsmith.results.members import MemberStore
    from foldsmith.results.top import top_rows

    out = console()
    better = problem.metric.greater_is_better
    rows = top_rows(MemberStore(problem.folder), problem.contract, greater_is_better=better, failed=failed)[:n]
    if not rows:
        out.print("no failed trials" if failed else "no members yet; start with 'foldsmith search'")
        return
    if failed:
        table = _plain_table("member", "family", "error")
        for row in rows:
            table.add_row(row.member, row.family, escape(row.error))
        out.print(table)
        return
    table = _plain_table(
        ">#", "member", "family", f"{problem.metric.name} ± sem", "folds", ">pooled", "stop", ">seconds"
    )
    for place, row in enumerate(rows, start=1):
        table.add_row(
            str(place),
            row.member,
            row.family,
            f"{score(row.value, row.sem)} {row.marks}".rstrip(),
            " ".join(f"{value:.3f}" for value in row.folds[:10]),
            number(row.pooled),
            row.policy,
            f"{row.seconds:.1f}",
            style="green" if place == 1 else None,
        )
    out.print(table)
    if any(row.marks for row in rows):
        out.print("n nested score: weights chosen on other folds than the ones they score")


def print_member(problem: "Problem", member: "Member") -> None:
    """Everything that is stored of a member."""
    out = console()
    out.print(f"[bold]{member.id}[/bold] · {member.kind} · {escape(member.family)} · {member.state}")
    if member.scores is not None:
        scores = member.scores
        kind = "nested" if member.kind == "blend" else "cross-validated"
        out.print(f"  {member.metric}   {score(scores.value, scores.sem)} ({kind}), pooled {number(scores.pooled)}")
        out.print(f"  folds   {' '.join(number(value) for value in scores.per_fold)}")
        if scores.untuned is not None:
            out.print(f"  plain rule   {number(scores.untuned)} (labels without tuned thresholds)")
    if "in_sample" in member.details:
        out.print(f"  in-sample   {number(member.details['in_sample'])} (flatters)")
    out.print(f"  rounds chosen by   {member.policy}")
    for name, value in member.params.items():
        out.print(f"  {escape(name)} = {value if not isinstance(value, float) else f'{value:.6g}'}")
    if member.error is not None:
        out.print(f"  [red]{member.error['reason']}[/red]: {escape(member.error['message'])}")
        if member.error["tail"]:
            out.print(escape(member.error["tail"]))
    out.print(f"  files   {problem.folder.members / member.id}")


def print_status(status: "Status") -> None:
    """A few lines on what runs and what was reached."""
    out = console()
    running = "nothing runs" if status.driver is None else f"process {status.driver} is {status.phase}"
    if status.phase == "interrupted":
        running = "interrupted; go on with 'foldsmith resume'"
    out.print(f"{escape(status.folder)} · {escape(status.metric)} · {running}")
    out.print(f"  folds     {status.folds}")
    states = " · ".join(f"{count} {state}" for state, count in sorted(status.states.items()))
    out.print(f"  trials    {states or 'none yet'}")
    if status.members:
        out.print(f"  families  {' · '.join(f'{name} {count}' for name, count in sorted(status.members.items()))}")
    for kind, (member, value, sem) in status.best.items():
        out.print(f"  best {kind:<7}  {member}   {score(value, sem)}{' (nested)' if kind == 'blend' else ''}")
    if status.submission:
        out.print(f"  submission  {escape(status.submission)}")


def print_blend(competition: "Competition", blend: "Blend") -> None:
    """In-sample and nested score beside the best single member, and the weights."""
    from foldsmith.flow.ensemble import candidates

    singles = candidates(competition.problem, competition.members)
    _print_scores(blend, singles[0] if singles else None)


def _print_scores(blend: "Blend | None", best: "Member | None") -> None:
    out = console()
    table = _plain_table("", "", ">in-sample", ">nested ± sem")
    if best is not None and best.scores is not None:
        table.add_row("best single", best.id, number(best.scores.value), score(best.scores.value, best.scores.sem))
    if blend is not None:
        table.add_row(
            "ensemble",
            f"[green]{blend.id}[/green]",
            number(blend.in_sample_score),
            score(blend.nested_score, blend.nested_sem),
        )
    out.print(table)
    if blend is not None:
        out.print(f"members      {_weights(blend.weights)}")


def _weights(weights: dict[str, float], most: int = 6) -> str:
    shown = [f"{name} {weight:.2f}" for name, weight in list(weights.items())[:most]]
    rest = len(weights) - most
    return " · ".join([*shown, *([f"{rest} more"] if rest > 0 else [])])


def print_run(result: "RunResult") -> None:
    """The end of ``run``."""
    from foldsmith.flow.durations import show_duration

    out = console()
    out.print(f"[bold]done[/bold] in {show_duration(result.seconds)} · {result.n_members} members · {result.metric}")
    _print_scores(result.blend, result.best)
    if result.blend is None:
        out.print("[yellow]no member was finished in time: the submission is the constant baseline[/yellow]")
    out.print(f"submission   {escape(str(result.submission))}")
    _print_next(
        ["foldsmith run --time-budget 1h     go on from here", "foldsmith top                      all members"]
    )


def _print_next(lines: Sequence[str]) -> None:
    for place, line in enumerate(lines):
        console().print(f"{'next:  ' if place == 0 else '       '}{line}", style="dim")
