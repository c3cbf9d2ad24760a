"""Help: every command is listed with its summary, and its example is one that would work."""

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from foldsmith import __version__
from foldsmith.cli.main import COMMANDS, root

Foldsmith = Callable[..., Any]


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and sub-command, as words."""
    context = click.Context(root)
    for name in COMMANDS:
        yield (name,)
        command = root.get_command(context, name)
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                yield (name, below)


def command_of(words: tuple[str, ...]) -> click.Command:
    command: click.Command | None = root
    for name in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(root), name)
    assert command is not None
    return command


def squeezed(text: str) -> str:
    return " ".join(text.split())


EVERY = list(commands())
every_command = pytest.mark.parametrize("words", EVERY, ids=" ".join)


def test_the_root_lists_every_command_with_its_summary(foldsmith: Foldsmith) -> None:
    outcome = foldsmith("--help")
    assert outcome.code == 0 and outcome.err == ""
    shown = squeezed(outcome.out)
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} {summary}" in shown
        assert summary.endswith(".") and summary[0].isupper()
    assert squeezed(outcome.out.split("\n\n")[-1]).startswith("Example: foldsmith run ")


@every_command
def test_help_ends_with_an_example(foldsmith: Foldsmith, words: tuple[str, ...]) -> None:
    outcome = foldsmith(*words, "--help")
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out == foldsmith(*words, "-h").out
    paragraphs = outcome.out.rstrip("\n").split("\n\n")
    assert squeezed(paragraphs[-1]).startswith(f"Example: foldsmith {words[0]}")
    assert squeezed(paragraphs[0]).startswith(f"Usage: foldsmith {' '.join(words)}")
    assert squeezed(paragraphs[1]).endswith(".")


@every_command
def test_the_example_parses(words: tuple[str, ...]) -> None:
    """Its options and arguments exist and have valid values; nothing is run."""
    context = click.Context(root, info_name="foldsmith")
    epilog = command_of(words).epilog
    assert epilog is not None
    example = shlex.split(epilog.removeprefix("Example: foldsmith "))
    assert example[0] == words[0]
    command: click.Command | None = root
    while isinstance(command, click.Group):
        command = command.get_command(context, example.pop(0))
    assert command is not None
    command.make_context("foldsmith", list(example), parent=context)


@every_command
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    command = command_of(words)
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help and option.help.rstrip().endswith("."), option.opts


def test_version(foldsmith: Foldsmith) -> None:
    outcome = foldsmith("--version")
    assert (outcome.code, outcome.out) == (0, f"foldsmith, version {__version__}\n")


@pytest.mark.parametrize("words", [[], ["folds"], ["submit"]])
def test_a_group_alone_shows_its_help(foldsmith: Foldsmith, words: list[str]) -> None:
    outcome = foldsmith(*words)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("Usage: foldsmith") and "Example:" in outcome.err
