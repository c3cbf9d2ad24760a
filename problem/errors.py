"""The errors that foldsmith raises on purpose, each with the exit code of the command line.

- FoldsmithError            1  something failed
  - InputError (ValueError) 2  a file, an option or a value given by the user is wrong
    - UnknownNameError (KeyError)  2  a name that is not registered; lists the nearest
    - DamagedFileError  2  a stored file is cut off, empty, or not what it should be; names the file
  - ContractError           3  refused: it would break a frozen fold plan, a metric or another driver's work
  - MissingPackageError (ImportError)  1  an optional package is not installed

FoldsmithWarning (UserWarning) is what goes on all the same, but must be known: the command line shows it as one line.
"""

import difflib
from collections.abc import Iterable

MAX_KNOWN = 30


class FoldsmithError(Exception):
    """Root of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class InputError(FoldsmithError, ValueError):
    """The user gave something that cannot work: says what is wrong, the value, and what to do."""

    exit_code = 2


class UnknownNameError(InputError, KeyError):
    """A name that is not among the known ones.

    Args:
        what: the kind of thing, e.g. ``"metric"``.
        name: what was given.
        known: the valid names.
        hint: a last sentence, e.g. where to look.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        nearest = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        known_names = ", ".join(names[:MAX_KNOWN])
        if len(names) > MAX_KNOWN:
            known_names += f", … ({len(names):,} in all)"
        super().__init__(f"unknown {what} {name!r}; {nearest}known: {known_names}{'; ' + hint if hint else ''}")
        self.name = name

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class DamagedFileError(InputError):
    """A file that foldsmith stored is not what it wrote; the message names it."""


class ContractError(FoldsmithError):
    """Refused, because it would change what stored results were made under."""

    exit_code = 3


class MissingPackageError(FoldsmithError, ImportError):
    """An optional package is missing; the message names what to install."""


class FoldsmithWarning(UserWarning):
    """Something was left out or done otherwise than asked; the message says what and why."""
