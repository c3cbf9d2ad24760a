"""Accidents of encoding: columns without information, tokens read as missing, spellings of one category."""

from collections import Counter
from collections.abc import Iterator

from foldsmith.problem.audit.exam import Exam
from foldsmith.problem.audit.findings import Finding
from foldsmith.problem.cells import numbers
from foldsmith.problem.reading import MISSING_TOKENS, is_csv, read_words

LIKE_MISSING = {"?", "-", "--", ".", "none", "missing", "unknown", "nil", "-999", "-9999", "#value!", "n.a."}
MAX_SHOWN = 3


def constant_columns(exam: Exam) -> Iterator[Finding]:
    """Columns of a single value, which foldsmith leaves out."""
    names = tuple(column.name for column in exam.train.schema.columns if column.kind == "constant")
    if names:
        yield Finding(
            "constant_column",
            "info",
            f"{len(names)} columns hold a single value in train: {', '.join(names[:MAX_SHOWN])}",
            "they are left out; check that they were exported as they should be",
            names,
        )


def odd_categories(exam: Exam) -> Iterator[Finding]:
    """Levels that mean missing, numbers among words, and spellings that differ by case or blanks."""
    for name, levels in exam.train.schema.categories.items():
        tokens = [level for level in levels if level.strip().lower() in LIKE_MISSING]
        if tokens:
            yield Finding(
                "missing_token",
                "info",
                f"{name} has the category {tokens[0]!r}, which often means missing; it is kept as a category",
                "replace it by an empty cell if it means missing",
                (name,),
                evidence={"tokens": tokens},
            )
        words = [level for level, value in zip(levels, _values(levels), strict=True) if value != value]
        if len(levels) >= 10 and 0 < len(words) <= 0.1 * len(levels):
            yield Finding(
                "numbers_as_words",
                "warning",
                f"{name} holds numbers but for {', '.join(map(repr, words[:MAX_SHOWN]))}, and is taken as a category",
                "correct those cells, or set the column to numeric in [columns]",
                (name,),
                evidence={"words": words[:20]},
            )
        spellings = Counter(level.strip().casefold() for level in levels)
        twice = [spelling for spelling, count in spellings.items() if count > 1]
        if twice:
            yield Finding(
                "category_spelling",
                "warning",
                f"{name} has {len(twice)} categories in several spellings, such as "
                f"{', '.join(repr(level) for level in levels if level.strip().casefold() == twice[0])}",
                "write each of them in one way",
                (name,),
                evidence={"categories": twice[:20]},
            )


def _values(levels: tuple[str, ...]) -> list[float]:
    import pandas as pd

    return [float(value) for value in numbers(pd.Series(list(levels), dtype="str"))[0]]


def tokens_read_as_missing(exam: Exam) -> Iterator[Finding]:
    """Cells such as NA or null in columns of words: read as missing beside empty ones, they may mean something else."""
    path = exam.problem.data.paths[0]
    schema = exam.train.schema
    names = [name for i, name in enumerate(schema.categorical) if (exam.train.codes[:, i] < 0).any()]
    if not names or not is_csv(path):
        return
    table = read_words(path, columns=names, as_text=names)
    for name in names:
        counts = Counter(cell for cell in table[name].fillna("") if cell in MISSING_TOKENS)
        spelled = {token: count for token, count in counts.items() if token.strip()}
        if spelled and len(counts) > 1:
            token, count = max(spelled.items(), key=lambda item: item[1])
            yield Finding(
                "read_as_missing",
                "warning",
                f"{name} has {count} cells {token!r} and {sum(counts.values()) - count} others, all missing here",
                f"if {token!r} means something, name the column in keep_na under [data] of foldsmith.toml",
                (name,),
                sum(counts.values()),
                evidence=dict(counts),
            )
