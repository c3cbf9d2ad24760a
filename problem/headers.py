"""Column names of two files: which are the same but for blanks, case and invisible characters."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from foldsmith.problem.errors import InputError
from foldsmith.problem.texts import clean


def plain_name(name: str) -> str:
    """A column's name without what does not tell columns apart: ``"Age "`` and ``"age"`` are one.

    >>> plain_name(" Sepal\\u00a0 Length")
    'sepal length'
    """
    return clean(name).casefold()


def match_names(wanted: Sequence[str], header: Sequence[str], *, where: tuple[str, str]) -> dict[str, str]:
    """Which names of a file stand for names of another that it lacks.

    Args:
        wanted: the names of the first file.
        header: the names of the second.
        where: how messages call the two files.

    Returns:
        For each lacking name that differs by blanks, case or invisible characters only: the second file's name.

    Raises:
        InputError: two names of one file differ by just that, so that it is not clear which is meant.
    """
    lacking = [name for name in wanted if name not in header]
    spare = [name for name in header if name not in wanted]
    plain = Counter(plain_name(name) for name in spare)
    first = Counter(plain_name(name) for name in wanted)
    found = {}
    for name in lacking:
        near = [other for other in spare if plain_name(other) == plain_name(name)]
        if not near:
            continue
        if plain[plain_name(name)] > 1 or first[plain_name(name)] > 1:
            twins = near if len(near) > 1 else [other for other in wanted if plain_name(other) == plain_name(name)]
            file = where[1] if len(near) > 1 else where[0]
            raise InputError(
                f"column {name!r} of {where[0]} is not in {where[1]}, which has {near[0]!r}; {file} has "
                f"{' and '.join(map(repr, twins))}, so it is not clear which is meant: write the names alike"
            )
        found[name] = near[0]
    return found


def near_name(name: str, others: Iterable[str]) -> str | None:
    """The most similar of other names, None if none is."""
    plain = {plain_name(other).replace("_", " ").replace("-", " "): other for other in others}
    wanted = plain_name(name).replace("_", " ").replace("-", " ")
    near = difflib.get_close_matches(wanted, list(plain), n=1, cutoff=0.8)
    return plain[near[0]] if near else None
