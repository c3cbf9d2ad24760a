"""Text columns to a few dense components: TF-IDF of words and characters, reduced by a truncated SVD, and counts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Table
from foldsmith.spaces.formats import check_format

FORMAT = 2  # of what TextEncoder writes; 1 had words only
N_COUNTS = 4
N_COMPONENTS = 32  # of each block
WORDS, CHARACTERS = "word", "char_wb"  # scikit-learn's analyzers
LENGTHS = {WORDS: (1, 1), CHARACTERS: (2, 4)}  # of n-grams
MAX_CHARACTERS = 2_000_000  # of all train rows; n-grams of more take too long, and words tell enough of long texts


@dataclass(frozen=True)
class _Block:
    """Terms of one kind, their weights, and the projection ``(n_components, n_terms)``."""

    analyzer: str
    terms: list[str]
    idf: NDArray[np.float64]
    components: NDArray[np.float32]

    def transform(self, texts: list[str]) -> NDArray[np.float32]:
        """``(n_rows, n_components)``."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            vocabulary=self.terms, sublinear_tf=True, analyzer=self.analyzer, ngram_range=LENGTHS[self.analyzer]
        )
        vectorizer.idf_ = self.idf
        return np.asarray(vectorizer.transform(texts) @ self.components.T, np.float32)


@dataclass(frozen=True)
class TextEncoder:
    """Components of every text column, fitted on a fold's train rows.

    Latent semantic analysis (Deerwester et al. 1990, Indexing by latent semantic analysis): sublinear TF-IDF of
    words in at least two rows, projected on the leading right singular vectors. The same of character n-grams inside
    words, which see endings, spelling and digits, unless the texts are long. Counts of characters, words, digits and
    capitals stand beside them. A column without two frequent words gives its counts only.

    Args:
        columns: per text column its blocks, words first.
    """

    columns: tuple[tuple[_Block, ...], ...]

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
        """Fit on ``rows``, at most ``max_words`` terms a block; without text columns nothing is imported."""
        columns = (
            _fit_column(table.text(number, rows), seed, max_words, n_components)
            for number in range(len(table.schema.text))
        )
        return cls(tuple(columns))

    @property
    def n_outputs(self) -> int:
        """Columns that ``transform`` makes."""
        return sum(N_COUNTS + sum(len(block.components) for block in blocks) for blocks in self.columns)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """``(n_rows, n_outputs)`` float32."""
        parts = [np.zeros((table.n_rows, 0), np.float32)]
        for number, blocks in enumerate(self.columns):
            texts = table.text(number)
            parts += [*(block.transform(texts) for block in blocks), _counts(texts)]
        return np.hstack(parts)

    def save(self, folder: Path) -> None:
        """Write ``text.json`` and ``text.npz`` when there are text columns."""
        if not self.columns:
            return
        columns: list[dict[str, list[str]]] = []
        arrays: dict[str, Any] = {}
        for number, blocks in enumerate(self.columns):
            columns.append({block.analyzer: block.terms for block in blocks})
            for block in blocks:
                arrays[f"idf_{number}_{block.analyzer}"] = block.idf
                arrays[f"components_{number}_{block.analyzer}"] = block.components
        (folder / "text.json").write_text(json.dumps({"format": FORMAT, "columns": columns}))
        np.savez(folder / "text.npz", **arrays)

    @classmethod
    def load(cls, folder: Path) -> "TextEncoder":
        """Read what ``save`` wrote; an encoder without columns when it wrote nothing.

        Raises:
            ContractError: another version of foldsmith wrote it.
        """
        if not (folder / "text.json").exists():
            return cls(())
        record = json.loads((folder / "text.json").read_text())
        check_format(record["format"], FORMAT, folder / "text.json")
        with np.load(folder / "text.npz", allow_pickle=False) as file:
            stored = dict(file)
        return cls(
            tuple(
                tuple(
                    _Block(name, terms, stored[f"idf_{number}_{name}"], stored[f"components_{number}_{name}"])
                    for name, terms in blocks.items()
                )
                for number, blocks in enumerate(record["columns"])
            )
        )


def _fit_column(texts: list[str], seed: int, max_words: int, n_components: int) -> tuple[_Block, ...]:
    words = _fit_block(texts, WORDS, seed, max_words, n_components)
    if words is None:
        return ()
    if sum(map(len, texts)) > MAX_CHARACTERS:
        return (words,)
    characters = _fit_block(texts, CHARACTERS, seed, max_words, n_components)
    return (words,) if characters is None else (words, characters)


def _fit_block(texts: list[str], analyzer: str, seed: int, max_terms: int, n_components: int) -> _Block | None:
    """The fitted block; None when there are no two terms that stand in two rows."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        min_df=2, max_features=max_terms, sublinear_tf=True, analyzer=analyzer, ngram_range=LENGTHS[analyzer]
    )
    try:
        weighted = vectorizer.fit_transform(texts)
    except ValueError:  # no term stands in two rows
        return None
    terms = list(vectorizer.get_feature_names_out())
    if len(terms) < 2:
        return None
    svd = TruncatedSVD(min(n_components, len(terms) - 1), random_state=seed % 2**32).fit(weighted)
    return _Block(analyzer, terms, np.asarray(vectorizer.idf_), np.asarray(svd.components_, np.float32))


def _counts(texts: list[str]) -> NDArray[np.float32]:
    rows = [
        (len(text), len(text.split()), sum(c.isdigit() for c in text), sum(c.isupper() for c in text)) for text in texts
    ]
    return np.asarray(rows, np.float32).reshape(len(texts), N_COUNTS)
