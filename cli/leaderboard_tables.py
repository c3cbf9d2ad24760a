"""What ``lb``, ``shake`` and ``finals`` print."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from foldsmith.cli.tables import console, digits_for, fact, number, plain_table, signed_number

if TYPE_CHECKING:
    from foldsmith.flow.finals import Finals
    from foldsmith.flow.leaderboard import Standing
    from foldsmith.flow.shake import Shake
    from foldsmith.results.leaderboard import Budget
    from foldsmith.results.ledger import Entry

NOT_ALONE = "Nothing ticked: the platform takes the two best by public score, the way that loses most in a shake-up."


def print_entry(entry: "Entry") -> None:
    """One line of the ledger."""
    facts = [("cv", entry.cv), ("nested", entry.nested_cv), ("public", entry.public), ("private", entry.private)]
    shown = " · ".join(f"{name} {number(value)}" for name, value in facts if value is not None)
    console().print(f"{escape(entry.file)}  {entry.state}  {shown}  {entry.utc}".rstrip())


def print_standing(standing: "Standing") -> None:
    """The ledger's table and what the line says."""
    out = console()
    if not standing.entries:
        out.print("no submission yet; 'foldsmith submit make ID' writes one and begins the ledger")
        return
    points = {point.entry.file: point for point in standing.points}
    table = plain_table("file", "member", ">cv", ">nested", ">public", ">private", ">off the line", "", "state", "note")
    for entry in standing.entries:
        point = points.get(entry.file)
        off = "" if point is None else f"{signed_number(point.residual)} ({point.sigmas:+.1f} sd)"
        flag = f"[yellow]{point.flag}[/yellow]" if point is not None and point.flag else ""
        values = (number(value) for value in (entry.cv, entry.nested_cv, entry.public, entry.private))
        table.add_row(escape(entry.file), entry.member, *values, off, flag, entry.state, escape(entry.note))
    out.print(table)
    _print_line(out, standing)
    print_budget(standing.budget)


def _print_line(out: Console, standing: "Standing") -> None:
    line = standing.line
    if line is None:
        fact(out, "line", "needs three submissions with a public score and different validation scores")
    else:
        fact(
            out,
            "line",
            f"public = {number(line.intercept)} + {line.slope:.2f} x validation ({line.slope_low:.2f} to "
            f"{line.slope_high:.2f}), Theil-Sen over {line.n_points} · Spearman {line.spearman:.2f}",
        )
    if standing.points and standing.noise == standing.noise:
        fact(
            out,
            "luck",
            f"a public score is good to ±{number(standing.noise)} by its rows alone; {standing.near_ties} submissions "
            "lie closer than that to another: which of them is higher says nothing",
        )
    if any(point.flag == "believe the leaderboard" for point in standing.points):
        fact(out, "", "far off the line: the validation of that submission is wrong, not the leaderboard", "yellow")


def print_budget(budget: "Budget") -> None:
    """Submissions left today."""
    minutes = int(budget.resets_in.total_seconds() // 60)
    total = "" if budget.total_left is None else f" · {budget.total_left} until the deadline"
    fact(
        console(),
        "budget",
        f"{budget.left} of {budget.per_day} left today (UTC), renewed in {minutes // 60}:{minutes % 60:02d} h{total}",
    )


def print_shake(shake: "Shake") -> None:
    """Candidates under redrawn public and private rows."""
    out = console()
    out.print(
        f"{len(shake.candidates)} candidates by {shake.metric} on {shake.n_draws} draws of {shake.n_public:,} public "
        f"and {shake.n_private:,} private rows, from {shake.n_rows:,} out-of-fold rows"
    )
    table = plain_table(
        ">#", "member", ">validation", ">public sd", ">P(best public)", ">P(best private)", ">private rank", ">change"
    )
    digits = max(digits_for(one.validation) for one in shake.candidates)
    for one in shake.candidates:
        table.add_row(
            str(one.rank),
            one.member,
            number(one.validation, digits),
            f"±{number(one.public_sd, digits)}",
            f"{one.best_public:.0%}",
            f"{one.best_private:.0%}",
            f"{one.private_rank:.1f}",
            f"{one.rank_change:.1f}",
        )
    out.print(table)
    fact(out, "noise band", f"±{number(shake.gap_sd)} between the public scores of two equally good candidates (1 sd)")
    fact(
        out,
        "luck",
        f"{shake.luck_of_validation:.0%} of the distances in validation, {shake.luck_of_public:.0%} of those in a "
        "public score",
    )
    fact(
        out, "shake-up", f"the best public one is the best private one in {shake.public_winner_stays:.0%} of the draws"
    )
    fact(out, "scores", "out-of-fold (blends: nested), all rows together; labels by rules of the other folds")


def print_finals(found: "Finals") -> None:
    """The two files to tick, the other ways of selecting, and, once it is over, what each was worth."""
    out = console()
    pick = found.recommended
    out.print(f"select {' and '.join(f'[green]{escape(entry.file)}[/green]' for entry in pick.entries)}   {pick.what}")
    headers = ["way", "files", "validation", "public", ">alike"]
    headers += ["private", ">rank", ">regret"] if found.is_over else []
    table = plain_table("  " + headers[0], *headers[1:])
    for one in found.picks:
        row = [
            f"  {one.way}",
            " + ".join(entry.number or escape(entry.file) for entry in one.entries),
            " + ".join(number(entry.validation) for entry in one.entries),
            " + ".join(number(entry.public) for entry in one.entries),
            "-" if one.alike != one.alike else f"{one.alike:.2f}",
        ]
        if found.is_over:
            rank = "-" if one.rank is None else f"{one.rank} of {found.n_candidates}"
            row += [number(one.private), rank, number(one.regret)]
        table.add_row(*row)
    out.print(table)
    if found.n_public_scores < found.n_candidates:
        fact(out, "", f"{found.n_public_scores} of {found.n_candidates} have a public score; write more with 'lb log'")
    for file, reason in found.left_out.items():
        fact(out, "left out", f"{file}: {reason}")
    if not found.is_over:
        fact(out, "", NOT_ALONE, "yellow")
