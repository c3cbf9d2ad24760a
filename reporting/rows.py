"""Single rows: the worst ones with their columns, wrong and right cases side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.reporting.facts import Facts, Predictions

N_WORST = 50
MAX_COLUMNS = 30
MAX_TEXT = 80


@dataclass(frozen=True)
class RowTable:
    """Rows to look at.

    Args:
        title: what they are.
        header: names of the cells.
        rows: as text.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def worst_rows(facts: Facts, found: Predictions) -> list[RowTable]:
    """The 50 rows that cost most; of classes the surest wrong and the surest right ones, 25 each."""
    if not facts.is_classification:
        order = np.argsort(-found.losses, kind="stable")[:N_WORST]
        return [_table(facts, found, f"the {len(order)} rows with the greatest error", order)]
    sure = found.confidence if len(found.confidence) else -found.losses
    tables = []
    for title, rows in (("surest and wrong", ~found.right), ("surest and right", found.right)):
        places = np.flatnonzero(rows)
        order = places[np.argsort(-sure[places], kind="stable")][: N_WORST // 2]
        tables.append(_table(facts, found, f"{title}: {len(order)} of {len(places):,} rows", order))
    return tables


def _table(facts: Facts, found: Predictions, title: str, places: NDArray[np.int64]) -> RowTable:
    rows = found.rows[places]
    frame = facts.train.iloc[rows]
    target = facts.problem.data.target.name
    columns = [name for name in frame.columns if name != target][:MAX_COLUMNS]
    header = ("row", "true", "predicted", *(("sure",) if len(found.confidence) else ()), *columns)
    lines = []
    for place, (_, line) in zip(places, frame.iterrows(), strict=True):
        truth, predicted = shown_prediction(facts, found, int(place))
        sure = (f"{found.confidence[place]:.1%}",) if len(found.confidence) else ()
        cells = (cell_text(line[name]) for name in columns)
        lines.append((str(int(found.rows[place]) + 1), truth, predicted, *sure, *cells))
    return RowTable(title, header, tuple(lines))


def shown_prediction(facts: Facts, found: Predictions, place: int) -> tuple[str, str]:
    """Truth and prediction of a row as people read them."""
    if facts.is_classification:
        return str(facts.classes[int(found.y[place])]), str(facts.classes[int(found.labels[place])])
    return f"{float(found.y[place]):.6g}", f"{float(found.values[place, 0]):.6g}"


def cell_text(value: Any) -> str:
    """A cell of the file, cut where it is long; empty where missing."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
