from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foldsmith.problem.columns import Column
from foldsmith.problem.errors import ContractError
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.spaces import text
from foldsmith.spaces.text import N_COUNTS, TextEncoder


def _table(*columns: list[str | None]) -> Table:
    frame = pd.DataFrame({f"t{number}": values for number, values in enumerate(columns)})
    return type_frame(frame, build_schema(frame, [Column(str(name), "text", "") for name in frame]))


TEXTS: list[str | None] = ["red apple pie", "green apple", "red car 42", "Green Car", None, "pie and pie"] * 3


def _rows(n_rows: int = 18) -> np.ndarray:
    return np.arange(n_rows)


def test_equal_texts_have_equal_components_and_words_matter() -> None:
    table = _table(TEXTS)
    matrix = TextEncoder.fit(table, _rows(), seed=0).transform(table)
    np.testing.assert_allclose(matrix[:6], matrix[6:12], atol=1e-6)
    assert np.abs(matrix[0] - matrix[2]).max() > 0.1
    assert np.isfinite(matrix).all()


def test_counts_of_characters_words_digits_and_capitals() -> None:
    table = _table(TEXTS)
    counts = TextEncoder.fit(table, _rows(), seed=0).transform(table)[:, -N_COUNTS:]
    np.testing.assert_array_equal(counts[2], [10, 3, 2, 0])
    np.testing.assert_array_equal(counts[3], [9, 2, 0, 2])
    np.testing.assert_array_equal(counts[4], [0, 0, 0, 0])


def test_only_the_fitted_rows_decide_the_words() -> None:
    other = [*TEXTS[:12], *["zebra zebra quagga"] * 6]
    first = TextEncoder.fit(_table(TEXTS), _rows(12), seed=0)
    second = TextEncoder.fit(_table(other), _rows(12), seed=0)
    for one, other_one in zip(first.columns[0], second.columns[0], strict=True):
        assert one.terms == other_one.terms
        np.testing.assert_array_equal(one.components, other_one.components)


def test_words_that_share_a_stem_are_alike_by_their_characters() -> None:
    texts: list[str | None] = ["winning prize", "won prizes", "meeting later", "met lately"] * 3
    table = _table(texts)
    encoder = TextEncoder.fit(table, _rows(12), seed=0)
    words, characters = encoder.columns[0]
    by_word, by_character = (block.transform([str(text) for text in texts[:4]]) for block in (words, characters))
    assert abs(by_word[0] @ by_word[1]) < 1e-5  # no word in common
    assert by_character[0] @ by_character[1] > by_character[0] @ by_character[2] + 0.1


def test_long_texts_are_read_by_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_CHARACTERS", 100)
    (blocks,) = TextEncoder.fit(_table(TEXTS), _rows(), seed=0).columns
    assert [block.analyzer for block in blocks] == [text.WORDS]


def test_another_format_is_refused(tmp_path: Path) -> None:
    TextEncoder.fit(_table(TEXTS), _rows(), seed=0).save(tmp_path)
    (tmp_path / "text.json").write_text('{"format": 1, "words": []}')
    with pytest.raises(ContractError, match="has format 1, this foldsmith reads format 2"):
        TextEncoder.load(tmp_path)


@pytest.mark.parametrize("texts", [["one", "two", "three"], ["", "", ""], ["same same"] * 3, ["! ?", "-", "."]])
def test_a_column_without_two_frequent_words_gives_counts_only(texts: list[str | None]) -> None:
    table = _table(texts)
    encoder = TextEncoder.fit(table, _rows(3), seed=0)
    assert encoder.transform(table).shape == (3, encoder.n_outputs) == (3, N_COUNTS)


def test_saved_encoders_transform_alike(tmp_path: Path) -> None:
    table = _table(TEXTS, TEXTS[::-1], [None] * 18)
    encoder = TextEncoder.fit(table, _rows(), seed=0)
    encoder.save(tmp_path)
    again = TextEncoder.load(tmp_path)
    assert again.n_outputs == encoder.n_outputs
    np.testing.assert_array_equal(again.transform(table), encoder.transform(table))


def test_without_text_nothing_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    table = type_frame(frame, build_schema(frame, [Column("x", "numeric", "")]))
    encoder = TextEncoder.fit(table, _rows(2), seed=0)
    encoder.save(tmp_path)
    assert not list(tmp_path.iterdir())
    assert TextEncoder.load(tmp_path).transform(table).shape == (2, 0)
