"""A systemd user unit that goes on with a competition's search."""

import re
from pathlib import Path

from foldsmith.problem.errors import InputError

# 2: nothing is left to do (the time is used up) or the input is wrong; 3: refused, a search runs already; 130: stopped.
# None of them gets better by a restart. KillMode=mixed: only the driver hears SIGTERM, and lets its workers' folds
# end. OOMPolicy: a worker that takes too much memory must not end the others.
UNIT = """\
[Unit]
Description=foldsmith search in {title}
StartLimitIntervalSec=1h
StartLimitBurst=5

[Service]
Type=simple
WorkingDirectory={directory}
ExecStart={python} -P -m foldsmith -C {root} resume
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 3 130
SuccessExitStatus=130
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=10min
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def unit(root: Path, python: Path) -> str:
    """The unit's text.

    Args:
        root: the competition folder, absolute.
        python: the interpreter that has foldsmith, absolute.

    Raises:
        InputError: a path that no unit file can name.
    """
    for path in (root, python):
        _refuse_unwritable(path)
    return UNIT.format(
        title=_specifiers(str(root)),
        directory=_specifiers(str(root)),
        python=_program(python),
        root=_argument(root),
    )


def unit_name(root: Path) -> str:
    """``foldsmith-titanic.service``, of letters that a shell and systemd take as they are.

    >>> unit_name(Path("/data/Titanic (2)"))
    'foldsmith-titanic-2.service'
    """
    word = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")
    return f"foldsmith-{word or 'search'}.service"


def _refuse_unwritable(path: Path) -> None:
    """A unit file is lines of UTF-8; it drops blanks at a line's end, and a backslash there joins two lines."""
    text = str(path)
    if not text.isprintable() or text != text.rstrip() or text.endswith("\\"):
        raise InputError(f"a systemd unit cannot name the path {text!r}; rename or move the folder")


def _specifiers(text: str) -> str:
    """``%`` starts a specifier everywhere in a unit."""
    return text.replace("%", "%%")


def _argument(path: Path) -> str:
    """A word of a command line, where ``$`` starts a variable."""
    return _quoted(str(path).replace("$", "$$"))


def _program(path: Path) -> str:
    """The first word: ``$`` means itself there, but quotes and backslashes are refused, so ``env`` runs such a one."""
    is_odd = any(char in str(path) for char in "'\"\\")
    return f"/usr/bin/env {_argument(path)}" if is_odd else _quoted(str(path))


def _quoted(text: str) -> str:
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
