"""The levels of a categorical column: what makes two cells the same one, and what is told of spellings that differ."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.texts import clean
from foldsmith.problem.words import Source, Words, cell

_MOST_UNSEEN = 0.9
_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.(\d*?)0*)?")


def levels_of(words: Words) -> tuple[str, ...]:
    """The levels in order; blanks around a cell and invisible characters are no part of one."""
    return tuple(sorted({clean(text) for text in words.distinct} - {""}))


def plain_number(text: str) -> str:
    """A number in one spelling, without a plus, leading zeros and zeros after the point; other texts as they are.

    >>> plain_number("+007.50"), plain_number("A7")
    ('7.5', 'A7')
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    sign = "-" if match[1] == "-" else ""
    return f"{sign}{match[2]}" + (f".{match[3]}" if match[3] else "")


_SPELLINGS: tuple[Callable[[str], str], ...] = (str.casefold, plain_number)


@dataclass(frozen=True)
class Matched:
    """Where the strings of a file stand among a column's levels.

    Args:
        positions: ``(n,)`` for each string its level, ``len(levels)`` for one that is none, -1 for missing.
        respelled: strings that are no level as written, but one in another case or as the same number.
    """

    positions: NDArray[np.int32]
    respelled: tuple[int, ...]


def match_levels(texts: Sequence[str], levels: Sequence[str]) -> Matched:
    """Find each string among the levels.

    A string that is none of them is looked up without regard to case, then as a number (``007`` and ``7.0`` for ``7``);
    each only where no two levels differ by just that, for then it means something.

    Args:
        texts: distinct strings.
        levels: from :func:`levels_of`.
    """
    place = {level: number for number, level in enumerate(levels)}
    names = [clean(text) for text in texts]
    positions = np.array([place.get(name, len(levels)) if name else -1 for name in names], dtype=np.int32)
    unknown = np.flatnonzero(positions == len(levels))
    respelled = []
    for spelling in _SPELLINGS if len(unknown) else ():
        places = {spelling(level): number for number, level in enumerate(levels)}
        if len(places) < len(levels):
            continue
        for row in unknown:
            found = places.get(spelling(names[row]), len(levels))
            if positions[row] == len(levels) != found:
                positions[row] = found
                respelled.append(int(row))
    return Matched(positions, tuple(respelled))


def spelling_remarks(name: str, words: Words, source: Source, levels: Sequence[str]) -> tuple[str, ...]:
    """What is told of a column's cells in one file: stray blanks, other spellings, levels that train lacks.

    Args:
        name: of the column.
        words: its cells.
        source: the file.
        levels: the column's levels.
    """
    matched = match_levels(words.distinct, levels)
    remarks = []
    stray = [row for row, text in enumerate(words.distinct) if clean(text) not in (text, "")]
    if stray:
        remarks.append(_stray_blanks(name, words, source, stray))
    if matched.respelled:
        row = matched.respelled[0]
        n_cells = int(words.counts[list(matched.respelled)].sum())
        shown = cell(words.distinct[row], source.at(words.row(row)))
        remarks.append(
            f"column {name!r}: {n_cells:,} cell{'s' * (n_cells > 1)} of {source.name} such as {shown} are written "
            f"otherwise in train; read as {levels[matched.positions[row]]!r}"
        )
    unseen = matched.positions == len(levels)
    n_unseen = int(words.counts[unseen].sum())
    if n_unseen > _MOST_UNSEEN * words.n_present:
        row = int(np.flatnonzero(unseen)[0])
        remarks.append(
            f"column {name!r}: {n_unseen:,} of {words.n_present:,} cells of {source.name} hold words that train lacks, "
            f"such as {cell(words.distinct[row], source.at(words.row(row)))}; train has {levels[0]!r}"
        )
    return tuple(remarks)


def _stray_blanks(name: str, words: Words, source: Source, stray: list[int]) -> str:
    row = stray[0]
    n_cells = int(words.counts[stray].sum())
    shown = cell(words.distinct[row], source.at(words.row(row)))
    return (
        f"column {name!r}: {n_cells:,} cell{'s' * (n_cells > 1)} of {source.name} have stray blanks or invisible "
        f"characters, such as {shown}; read as {clean(words.distinct[row])!r}"
    )
