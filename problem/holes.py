"""Which cells are holes: ``NA`` is a missing value in one column and a word in the next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from foldsmith.problem import cells
from foldsmith.problem.dialect import MISSING_TOKENS

MACHINE_MADE = frozenset(("NaN", "nan", "-nan", "<NA>", "#N/A"))
"""Tokens that only programs write; the others may be words: Namibia, not applicable, a surname."""

_TOKENS = frozenset(token for token in MISSING_TOKENS if token.strip())
_LONGEST = max(len(token) for token in _TOKENS)
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Holes:
    """What became of cells such as ``NA``.

    Args:
        kept: columns in which they are words.
        remarks: one sentence each.
    """

    kept: tuple[str, ...]
    remarks: tuple[str, ...]


def without_tokens(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with the tokens of these columns, where they hold words, as missing."""
    words = set(word_columns(frame))
    for name in columns:
        if name in words and _tokens_of(frame[name]):
            frame[name] = frame[name].mask(frame[name].isin(_TOKENS))
    return frame


def settle_holes(
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    number_holes: dict[str, str],
    keep: Collection[str] = (),
    decide: bool = True,
    as_text: Collection[str] = (),
) -> Holes:
    """Decide for each column of words, over both files, whether its tokens are holes, and make them missing there.

    A token is a hole where it is machine-made (``nan``), where columns of numbers write their holes with it, where the
    other cells are not mostly words without digits (dates, codes, amounts), or where they are a pair such as yes and
    no. Else it is a word. Columns with tokens of both sorts have holes.

    Args:
        train, test: as :func:`foldsmith.problem.reading.read_words` gives them; changed in place.
        number_holes: how holes of columns of numbers are written, from :func:`foldsmith.problem.reading.number_holes`.
        keep: columns in which tokens are words whatever speaks against it.
        decide: whether there may be others; otherwise tokens are holes in all others.
        as_text: ids and their like, in which nothing but a blank cell is missing.
    """
    found = _tokens(train, test, as_text)
    spelled = MACHINE_MADE.union(number_holes.values())
    kept = []
    for name, tokens in found.items():
        if name in keep or (decide and not tokens & spelled and _are_words(train, test, name)):
            kept.append(name)
    lost = {name: tokens for name, tokens in found.items() if name not in kept}
    for frame in (train, test):
        without_tokens(frame, [name for name in lost if name in frame])
    says = _remarks(number_holes, lost, {name: found[name] for name in kept})
    return Holes(tuple(kept), says)


def _tokens(train: pd.DataFrame, test: pd.DataFrame, as_text: Collection[str]) -> dict[str, frozenset[str]]:
    """The tokens in each column of words of train, in the files' order."""
    found = {}
    words = [set(word_columns(frame)) for frame in (train, test)]
    for name in train.columns:
        if name in as_text:
            continue
        here: set[str] = set()
        for frame, its_words in zip((train, test), words, strict=True):
            if name in its_words:
                here |= _tokens_of(frame[name])
        if here:
            found[str(name)] = frozenset(here)
    return found


def _tokens_of(series: pd.Series) -> set[str]:
    """The tokens among a column's strings. They are short, which is quickly seen of most cells that are none."""
    if series.dtype == object:
        return {value for value in series if isinstance(value, str) and value in _TOKENS}
    texts = pa.array(series, type=pa.large_string(), from_pandas=True)
    is_short = pc.less_equal(pc.binary_length(texts), _LONGEST)
    if not pc.any(is_short).as_py():
        return set()
    return set(pc.unique(texts.filter(is_short)).to_pylist()) & _TOKENS


def word_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that were read as strings, looked up at once: there may be thousands."""
    return [
        str(name)
        for name, dtype in frame.dtypes.items()
        if pd.api.types.is_object_dtype(dtype)
        or (not pd.api.types.is_numeric_dtype(dtype) and pd.api.types.is_string_dtype(dtype))
    ]


def _are_words(train: pd.DataFrame, test: pd.DataFrame, name: str) -> bool:
    """Whether the cells beside the tokens are mostly words without digits, and no pair of truth values."""
    columns = [frame[name] for frame in (train, test) if name in frame]
    values = {str(value) for column in columns for value in column.dropna().unique()} - _TOKENS
    if not values or cells.boolean_pair(sorted(values)):
        return False
    has_digits = np.array([any(char.isdecimal() for char in value) for value in values])
    return bool(has_digits.mean() < 0.5)


def _remarks(
    numbers: dict[str, str], lost: dict[str, frozenset[str]], kept: dict[str, frozenset[str]]
) -> tuple[str, ...]:
    says = []
    if numbers or lost:
        tokens = sorted({*numbers.values(), *(token for found in lost.values() for token in found)})
        names = [*lost, *(name for name in numbers if name not in lost)]
        count = f"{len(names)} column{'s' if len(names) > 1 else ''}"
        keep = _listed(names, quote='"')
        says.append(
            f"{_listed(tokens)} {'is' if len(tokens) == 1 else 'are'} read as missing in {count}; where it is a word, "
            f"name the column in [data] of foldsmith.toml: keep_na = [{keep}]"
        )
    if kept:
        tokens = sorted({token for found in kept.values() for token in found})
        says.append(
            f"{_listed(tokens)} {'is' if len(tokens) == 1 else 'are'} read as a word in {_listed(list(kept))}; where "
            "it means missing, take the column out of keep_na in [data] of foldsmith.toml"
        )
    return tuple(says)


def _listed(names: Sequence[str], quote: str = "'") -> str:
    shown = ", ".join(f"{quote}{name}{quote}" for name in names[:_MOST_SHOWN])
    return f"{shown}, …" if len(names) > _MOST_SHOWN else shown
