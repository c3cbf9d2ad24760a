"""Text columns to a few dense components: word TF-IDF, reduced by a truncated SVD, and plain counts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table

N_COUNTS = 4
N_COMPONENTS = 32


@dataclass(frozen=True)
class _ColumnState:
    """One text column: its words, their weights, and the projection ``(n_components, n_words)``."""

    words: list[str]
    idf: NDArray[np.float64]
    components: NDArray[np.float64]


@dataclass(frozen=True)
class TextEncoder:
    """Components of every text column, fitted on a fold's train rows.

    Latent semantic analysis (Deerwester et al. 1990, Indexing by latent semantic analysis): sublinear TF-IDF of
    words in at least two rows, projected on the leading right singular vectors. Counts of characters, words, digits
    and capitals stand beside them. A column without two frequent words gives its counts only.
    """

    columns: tuple[_ColumnState, ...]

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: NDArray[np.int64],
        seed: int,
        *,
        max_words: int = 5000,
        n_components: int = N_COMPONENTS,
    ) -> "TextEncoder":
        """Fit on ``rows``; without text columns this does nothing and imports nothing."""
        columns = tuple(
            _fit_column(table.text(number, rows), seed, max_words, n_components)
            for number in range(len(table.schema.text))
        )
        return cls(columns)

    @property
    def n_outputs(self) -> int:
        """Columns that ``transform`` makes."""
        return sum(len(column.components) + N_COUNTS for column in self.columns)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """``(n_rows, n_outputs)`` float32."""
        blocks = [np.zeros((table.n_rows, 0), np.float32)]
        for number, column in enumerate(self.columns):
            texts = table.text(number)
            if len(column.words):
                weighted = _vectorizer(column.words, column.idf).transform(texts)
                blocks.append((weighted @ column.components.T).astype(np.float32))
            blocks.append(_counts(texts))
        return np.hstack(blocks)

    def save(self, folder: Path) -> None:
        """Write ``text.json`` and ``text.npz`` when there are text columns."""
        if not self.columns:
            return
        (folder / "text.json").write_text(json.dumps({"format": 1, "words": [c.words for c in self.columns]}))
        arrays: dict[str, Any] = {}
        for number, column in enumerate(self.columns):
            arrays[f"idf_{number}"], arrays[f"components_{number}"] = column.idf, column.components
        np.savez(folder / "text.npz", **arrays)

    @classmethod
    def load(cls, folder: Path) -> "TextEncoder":
        """Read what ``save`` wrote; an encoder without columns when it wrote nothing."""
        if not (folder / "text.json").exists():
            return cls(())
        words = json.loads((folder / "text.json").read_text())["words"]
        with np.load(folder / "text.npz", allow_pickle=False) as stored:
            return cls(
                tuple(
                    _ColumnState(column, stored[f"idf_{number}"], stored[f"components_{number}"])
                    for number, column in enumerate(words)
                )
            )


def _fit_column(texts: list[str], seed: int, max_words: int, n_components: int) -> _ColumnState:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(min_df=2, max_features=max_words, sublinear_tf=True)
    try:
        weighted = vectorizer.fit_transform(texts)
    except ValueError:  # no word stands in two rows
        return _ColumnState([], np.zeros(0), np.zeros((0, 0)))
    words = list(vectorizer.get_feature_names_out())
    if len(words) < 2:
        return _ColumnState([], np.zeros(0), np.zeros((0, 0)))
    svd = TruncatedSVD(min(n_components, len(words) - 1), random_state=seed % 2**32).fit(weighted)
    return _ColumnState(words, np.asarray(vectorizer.idf_), np.asarray(svd.components_))


def _vectorizer(words: list[str], idf: NDArray[np.float64]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(vocabulary=words, sublinear_tf=True)
    vectorizer.idf_ = idf
    return vectorizer


def _counts(texts: list[str]) -> NDArray[np.float32]:
    rows = [
        (len(text), len(text.split()), sum(c.isdigit() for c in text), sum(c.isupper() for c in text)) for text in texts
    ]
    return np.asarray(rows, np.float32).reshape(len(texts), N_COUNTS)
