"""Labels as people write them: stray blanks, several spellings of one class, and texts that may mean a hole."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from foldsmith.problem import cells
from foldsmith.problem.dialect import MISSING_TOKENS
from foldsmith.problem.errors import InputError
from foldsmith.problem.positive import likely_positive

Tier = Literal["exact", "blanks", "number", "case", "letters"]
TIERS: tuple[Tier, ...] = ("exact", "blanks", "number", "case", "letters")
"""How a name may differ from a class, the closest first; see :class:`Spellings`."""

MAX_SHOWN = 5
HOLES = frozenset(token for token in MISSING_TOKENS if token.strip())
"""Texts that mean a hole in other columns; in a target of words they may be a class."""

_INVISIBLE = re.compile("[\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NON-JOINER}\N{WORD JOINER}\N{ZERO WIDTH NO-BREAK SPACE}]")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def without_blanks(text: str) -> str:
    """A label without blanks at its ends, with single blanks inside and its accents composed.

    Non-breaking and other Unicode blanks count as blanks; characters of no width are left out.

    >>> without_blanks("  new\N{NO-BREAK SPACE}york "), without_blanks("yes\N{ZERO WIDTH SPACE}")
    ('new york', 'yes')
    """
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).split())


def without_common_words(classes: Sequence[str]) -> list[str]:
    """``Stage I, Stage II`` and ``low_risk, high_risk`` without what all of them begin or end with."""
    words = [re.split(r"[\s_/.:-]+", without_blanks(name)) for name in classes]
    shortest = min(len(parts) for parts in words)
    head = 0
    while head < shortest - 1 and len({parts[head].casefold() for parts in words}) == 1:
        head += 1
    tail = 0
    while tail < shortest - 1 - head and len({parts[-1 - tail].casefold() for parts in words}) == 1:
        tail += 1
    return [" ".join(parts[head : len(parts) - tail]) for parts in words]


def clean_spellings(distinct: Sequence[str]) -> dict[str, str]:
    """Each distinct label's class: labels that differ in blanks only are one.

    A class whose labels all read the same but for blanks at their ends keeps what stands between.

    >>> clean_spellings(["yes", "yes ", "no"])
    {'yes': 'yes', 'yes ': 'yes', 'no': 'no'}
    """
    variants: dict[str, set[str]] = {}
    for text in distinct:
        variants.setdefault(without_blanks(text), set()).add(_INVISIBLE.sub("", text).strip())
    spelling = {key: next(iter(found)) if len(found) == 1 else key for key, found in variants.items()}
    return {text: spelling[without_blanks(text)] for text in distinct}


def clean_labels(texts: pd.Series) -> pd.Series:
    """A column of :func:`foldsmith.problem.cells.strings` with one spelling for each class."""
    names = cells.distinct(texts)
    spellings = clean_spellings(names)
    if all(spellings[name] == name for name in names):
        return texts
    return texts.map(spellings, na_action="ignore").astype(object)


def blanks_remark(texts: pd.Series, name: str) -> str | None:
    """A sentence about labels with stray blanks; None where there are none."""
    counts = texts.value_counts()
    spellings = clean_spellings([str(text) for text in counts.index])
    odd = {text: clean for text, clean in spellings.items() if text != clean}
    if not odd:
        return None
    n_rows = int(sum(counts[text] for text in odd))
    first, clean = next(iter(odd.items()))
    return f"target {name!r}: {n_rows} labels stand with stray blanks, e.g. {first!r}; they are read as {clean!r}"


def refuse_twins(counts: Mapping[str, int], name: str) -> None:
    """Refuse labels that are probably one class but differ in case, or in the way a number is written.

    Args:
        counts: rows by label, already without stray blanks.

    Raises:
        InputError: names two such labels and how to say what they are.
    """
    for key, what in ((str.casefold, "in upper and lower case"), (_number_key, "in the way the number is written")):
        groups: dict[str, list[str]] = {}
        for label in counts:
            groups.setdefault(key(label), []).append(label)
        twins = [group for group in groups.values() if len(group) > 1]
        if not twins:
            continue
        shown = " and ".join(f"{label!r} ({counts[label]} rows)" for label in twins[0][:2])
        more = f", and {len(twins) - 1} more such pairs" if len(twins) > 1 else ""
        merged = sorted(max(group, key=lambda label: counts[label]) for group in groups.values())
        if len(merged) == 2 and likely_positive(merged)[0] == 0:
            merged.reverse()  # the second one is the positive class
        raise InputError(
            f"target {name!r} has labels that differ only {what}: {shown}{more}; if they are one class say "
            f"{classes_option(merged)}, if not {classes_option(sorted(counts))}"
        )


def _number_key(text: str) -> str:
    return repr(float(text)) if _PLAIN_NUMBER.fullmatch(text) else text


def classes_option(classes: Sequence[str]) -> str:
    """``--classes …`` to be pasted into a shell.

    >>> classes_option(["low", "very high", "a,b"])
    '--classes \\'low,very high,"a,b"\\''
    """
    import csv
    import io
    import shlex

    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(classes)
    return f"--classes {shlex.quote(line.getvalue())}"


def split_classes(text: str | None) -> tuple[str, ...]:
    """What ``--classes`` was given: names between commas; one that holds a comma stands in double quotes.

    >>> split_classes('low, "a,b" ,high')
    ('low', 'a,b', 'high')
    """
    import csv

    if not text:
        return ()
    (fields,) = csv.reader([text], skipinitialspace=True)
    return tuple(field.strip() for field in fields if field.strip())


def resolve_holes(texts: pd.Series, name: str, *, classes: Sequence[str] = (), keep_na: bool = False) -> pd.Series:
    """Decide what texts such as ``NA`` and ``null`` are in a target.

    They are a class where the classes are declared with them, or ``keep_na`` says so. Among numbers they are holes
    and become missing, ``None`` and ``?`` too. Among words nobody can tell.

    Args:
        texts: as :func:`foldsmith.problem.cells.strings` gives them.

    Raises:
        InputError: there are such texts among words, and nobody has said what they are.
    """
    if texts.dtype != object:
        return texts
    names = cells.distinct(texts)
    spelled = [text for text in names if text.strip() in HOLES and text not in classes]
    words = [text for text in names if text.strip() not in HOLES]
    numbers, n_words = cells.numbers(pd.Series(words, dtype=object))
    are_numbers = bool(words) and n_words == 0 and not pd.isna(numbers).all()
    if are_numbers and not keep_na and not classes:
        holes = [text for text, value in zip(words, numbers, strict=True) if pd.isna(value)]
        gone = {*spelled, *holes}
        return texts.where(~texts.isin(gone), None) if gone else texts
    if not spelled or keep_na:
        return texts
    counts = Counter(text for text in texts if text in spelled)
    text, count = counts.most_common(1)[0]
    raise InputError(
        f"target {name!r} has {count} cells {text!r} beside words such as {_few(words)}, and it may be a class or a "
        f'hole; if it is a class put keep_na = ["{name}"] under [data] in foldsmith.toml (--keep-na {name}) or name '
        f"all classes with --classes, else remove those {count} rows"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:MAX_SHOWN])


class Spellings:
    """Finds the class that a name means, though it may be spelled a little differently.

    Each tier is tried in turn, over all classes, and counts only where a single class has that spelling: ``exact``;
    without stray ``blanks``; the same ``number`` (1 and 1.0 and 01); in another ``case``; the same ``letters`` and
    digits (``very_high`` and ``Very high``).

    Args:
        classes: labels.
        tiers: which of them may be used, the closest first.
    """

    def __init__(self, classes: Sequence[str], tiers: Sequence[Tier] = TIERS) -> None:
        self._tiers = tuple(tiers)
        self._known: dict[Tier, dict[str, int]] = {}
        for tier in tiers:
            keys = [_KEYS[tier](label) for label in classes]
            times = Counter(keys)
            self._known[tier] = {key: code for code, key in enumerate(keys) if key is not None and times[key] == 1}

    def find(self, name: str) -> tuple[int, Tier] | None:
        """The place of the class among ``classes``, and what had to be overlooked; None for no class."""
        for tier in self._tiers:
            key = _KEYS[tier](name)
            if key is not None and key in self._known[tier]:
                return self._known[tier][key], tier
        return None


def _as_number(text: str) -> str | None:
    plain = without_blanks(text)
    return repr(float(plain) + 0.0) if _PLAIN_NUMBER.fullmatch(plain) else None


def _letters(text: str) -> str | None:
    if _as_number(text) is not None:
        return None  # -1 is not 1
    return "".join(char for char in without_blanks(text).casefold() if char.isalnum()) or None


_KEYS = {
    "exact": lambda text: text,
    "blanks": without_blanks,
    "number": _as_number,
    "case": lambda text: without_blanks(text).casefold(),
    "letters": _letters,
}
