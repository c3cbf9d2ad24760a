"""``foldsmith``: the root command, and errors turned into one line and an exit code."""

import contextlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from foldsmith._version import __version__
from foldsmith.cli.machine import machine_fault, one_line
from foldsmith.problem.errors import FoldsmithError, FoldsmithWarning

ARGUMENTS = "foldsmith.arguments"  # in a context's meta: the words of the command line

# Command -> module under foldsmith.cli; a module is imported when its command is called or its help is asked for.
COMMANDS = {
    "run": ("running", "Files to submission: set up, search, blend, submit; goes on where it was."),
    "demo": ("running", "Run on real data that ships with scikit-learn, then check the held-out test."),
    "init": ("setup", "Set up a competition folder and say why it looks as it does."),
    "check": ("checking", "Look for leaks, duplicates, ignored groups, drift and other traps in the data."),
    "folds": ("setup", "Propose, make, import or show the fold plan."),
    "data": ("data", "Versions of the train and test file, and how they differ."),
    "search": ("running", "Search model families; extends what is there."),
    "resume": ("running", "Go on with the last search, with the time it had left."),
    "stop": ("watching", "Let running folds end, then stop; a second time ends it at once."),
    "status": ("watching", "What runs, and what was reached."),
    "watch": ("watching", "The live display of a search that another process runs."),
    "logs": ("watching", "The search's log, or a worker's."),
    "top": ("watching", "The table of members."),
    "show": ("watching", "Everything about one member."),
    "blend": ("combining", "Combine members into an ensemble."),
    "compare": ("combining", "Whether one member is better than another beyond luck."),
    "confirm": ("confirming", "Score the best members once more on folds drawn anew: the winner's curse."),
    "posthoc": ("combining", "Thresholds, multipliers and cut points, and what they are worth."),
    "holdout": ("data", "Score members on rows that no search, blend or rule has seen."),
    "pseudo": ("pseudo", "Label test rows per fold, for models to learn; full-data labels are refused."),
    "oof": ("oof", "Import predictions that were made elsewhere, and export those made here."),
    "submit": ("combining", "Write submission files."),
    "lb": ("leaderboard", "Keep the ledger of submissions and scores; what is left of today."),
    "shake": ("leaderboard", "What the luck of public and private rows may do."),
    "finals": ("leaderboard", "The two submissions to select, and what each way of selecting is worth."),
    "report": ("reporting", "Write one HTML file with plots, worst rows and provenance."),
    "dashboard": ("watching", "Serve the Optuna dashboard on 127.0.0.1."),
    "service": ("service", "Print a systemd unit that resumes the search after a reboot."),
    "space": ("spaces", "Show the search spaces, or shrink one around its best trials."),
    "portfolio": ("spaces", "Learn starting points from finished competitions."),
    "repair": ("repairing", "Mend the studies' journal after damage; keeps every member."),
    "mirror": ("mirroring", "Copy members and studies to an object store, and back."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and lines, and imports a command only when it is used."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a file that ends too early is no Ctrl-D, which click would take it for."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise FoldsmithError(
                f"a file that was read ends too early ({error}); 'foldsmith check --deep' names it"
            ) from error

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Remember the arguments: a command may run itself again, detached."""
        given = tuple(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[ARGUMENTS] = given
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"foldsmith.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "FOLDSMITH"},
    epilog="Example: foldsmith run --train train.csv --test test.csv --target Survived --time-budget 10m",
)
@click.option(
    "-C", "folder", type=click.Path(path_type=Path), default=Path("."), help="The competition folder; this one."
)
@click.version_option(__version__, prog_name="foldsmith")
@click.pass_context
def root(ctx: click.Context, folder: Path) -> None:
    """Hyperparameter and ensemble search for competitions: durable folds, honest scores, a submission at any time."""
    ctx.obj = folder


def run_command_line(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 bad input, 3 refused, 130 interrupted."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", FoldsmithWarning)
        warnings.showwarning = _show_warning
        code = _run(arguments)
    return _flushed(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        result: Any = root.main(list(arguments), prog_name="foldsmith", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except FoldsmithError as error:
        _say_error(str(error))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context else ""
        _say_error(error.format_message().rstrip(".") + hint)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; finished folds are saved, go on with 'foldsmith resume'", err=True)
        return 130
    except SystemExit as error:  # click's and rich's answer to a reader that is gone
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            return _let_go_of_stdout()
        if (line := machine_fault(error)) is not None:
            _say_error(line)
            return 1
        traceback.print_exc()  # our own fault: it is what a bug report needs
        _say_error(f"{type(error).__name__}: {error}")
        return 1


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Ours as one line; those of libraries as Python shows them."""
    if issubclass(category, FoldsmithWarning):
        click.echo(f"warning: {one_line(str(message))}", err=True)
    elif sys.stderr is not None:
        sys.stderr.write(warnings.formatwarning(message, category, *where[:2]))


def _flushed(code: int) -> int:
    """The exit code once all that was printed has really left this process: a pipe may be closed, a device full."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return _let_go_of_stdout()
    except OSError as error:
        _let_go_of_stdout()
        _say_error(f"the output could not be written: {error.strerror}")
        return 1
    except ValueError:  # closed by whoever called us
        pass
    return code


def _let_go_of_stdout() -> int:
    """What is still to be written goes nowhere, or Python would complain about it when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return 1


def _say_error(message: str) -> None:
    """One line of printable characters, whatever stands in a file name or a column name."""
    with contextlib.suppress(OSError):  # nobody hears it: the exit code says it
        click.echo(f"error: {one_line(message)}", err=True)
