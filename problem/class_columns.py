"""Which class a column of chances is of: ``mid``, ``Mid``, ``prob_mid``, ``mid_prob``, ``p(mid)``, ``Status_C``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from foldsmith.problem.labels import Spellings, without_blanks, without_common_words

_CHANCE_WORDS = frozenset({"p", "pr", "prob", "probs", "proba", "probability", "chance", "pred", "prediction", "score"})
_TRIED = 3  # classes whose columns are looked for to find the prefix and the suffix


@dataclass(frozen=True)
class ClassColumns:
    """Columns by class.

    Args:
        by_class: the column of each class that has one.
        unknown: columns with the same prefix and suffix around what is no class, and what that is.
        others: columns of another form.
    """

    by_class: dict[str, str]
    unknown: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def match_classes(names: Sequence[str], classes: Sequence[str]) -> ClassColumns:
    """Find the columns of the classes.

    All columns have the same prefix and suffix around the class. The class itself may differ from its label in
    blanks and case, a number in how it is written, as :class:`foldsmith.problem.labels.Spellings` says. Of several
    readings the one that finds most classes counts, then the one with the shortest prefix and suffix.

    Args:
        names: of columns.
        classes: labels, two or more.

    >>> match_classes(["id", "p(low)", "p(HIGH)"], ["high", "low"]).by_class
    {'low': 'p(low)', 'high': 'p(HIGH)'}
    """
    best = ClassColumns({}, {}, tuple(names))
    for labels in (list(classes), without_common_words(classes)):  # Class_1 and Class_2 may be called 1 and 2
        spellings = Spellings(labels)
        for prefix, suffix in _affixes(names, labels):
            found = _with_affixes(names, classes, spellings, prefix, suffix)
            if len(found.by_class) > len(best.by_class):
                best = found
        if len(best.by_class) == len(classes):
            break
    return best


def _affixes(names: Sequence[str], classes: Sequence[str]) -> list[tuple[str, str]]:
    """Prefixes and suffixes that occur around one of a few classes, the shortest first, none at all before them."""
    found = {("", "")}
    for label in sorted(classes, key=len, reverse=True)[:_TRIED]:
        for word in {label, without_blanks(label).replace(" ", "_"), re.sub(r"\.0$", "", label)}:
            for name in names:
                for match in re.finditer(re.escape(word), name, re.IGNORECASE):
                    found.add((name[: match.start()], name[match.end() :]))
    return sorted(found, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))


def _with_affixes(
    names: Sequence[str], classes: Sequence[str], spellings: Spellings, prefix: str, suffix: str
) -> ClassColumns:
    by_class: dict[str, str] = {}
    unknown: dict[str, str] = {}
    others: list[str] = []
    exact: set[str] = set()
    for name in names:
        has_both = name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
        inner = name[len(prefix) : len(name) - len(suffix)] if has_both else None
        place = None if inner is None else spellings.find(inner)
        if inner is None:
            others.append(name)
        elif place is None:
            unknown[name] = inner
        else:
            label, is_exact = classes[place[0]], place[1] == "exact"
            if label in by_class and (not is_exact or label in exact):
                others.append(name)
                continue
            if label in by_class:
                others.append(by_class[label])
            by_class[label] = name
            exact |= {label} if is_exact else set()
    return ClassColumns(by_class, unknown, tuple(others))


def named_class(name: str, classes: Sequence[str], target: str) -> int | None:
    """The one class that a single column of chances is named after, as in ``prob_no``; None where it names none.

    >>> named_class("prob_no", ["no", "yes"], "y"), named_class("y", ["no", "yes"], "y")
    (0, None)
    """
    if without_blanks(name).casefold() == without_blanks(target).casefold():
        return None
    spellings = Spellings(classes)
    whole = spellings.find(name)
    if whole is not None and not re.fullmatch(r"[-+.\d]+", name):  # a column 0 may only have lost its name
        return whole[0]
    words = [word for word in re.split(r"[^0-9A-Za-z.+-]+|_", name) if word]
    target_words = {word.casefold() for word in re.split(r"[\W_]+", target) if word}
    said = [word for word in words if word.casefold() not in _CHANCE_WORDS and word.casefold() not in target_words]
    has_chance_word = any(word.casefold() in _CHANCE_WORDS for word in words)
    if not has_chance_word or not said:
        return None
    found = spellings.find(" ".join(said))
    return None if found is None else found[0]
