"""Reading parquet files: every type becomes what the same table has when it is read from csv."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foldsmith.problem.csv_file import unreadable
from foldsmith.problem.dialect import is_nameless, refuse_duplicates
from foldsmith.problem.errors import InputError


def parquet_names(path: Path) -> list[str]:
    """All column names but those of nameless indexes that pandas stores as columns.

    Raises:
        InputError: no parquet file, or a name twice.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, "parquet", error) from None
    names = [name for name in schema.names if not name.startswith("__index_level_")]
    refuse_duplicates(path, names)
    return names


def parquet_index(path: Path) -> list[str]:
    """Leading columns called ``Unnamed: 0``: an index that came from a csv file, if it numbers the rows."""
    names = parquet_names(path)
    index: list[str] = []
    for name in names:
        if not is_nameless(name) or len(index) + 1 == len(names):
            break
        try:
            column = pq.read_table(path, columns=[name], partitioning=None).column(name)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, "parquet", error) from None
        is_whole = pa.types.is_integer(column.type) and column.null_count == 0
        if not is_whole or pc.count_distinct(column).as_py() < len(column):
            break
        index.append(name)
    return index


def read_parquet(path: Path, wanted: Sequence[str], as_text: Collection[str]) -> pd.DataFrame:
    """Read the wanted columns, in this order.

    Raises:
        InputError: a damaged file, or bytes that are no text.
    """
    try:
        # One file, not a data set: a folder such as ``day=1/`` in the path would otherwise add a column.
        with pq.ParquetFile(path) as file:
            n_rows = file.metadata.num_rows
            table = file.read(columns=list(wanted))
        arrays = [_plain(path, name, table.column(name), as_string=name in as_text) for name in wanted]
        frame: pd.DataFrame = pa.table(arrays, names=list(wanted)).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, "parquet", error) from None
    if len(frame) != n_rows:
        raise InputError(f"{path} says that it has {n_rows:,} rows, but {len(frame):,} were read; write it again")
    return frame


def _plain(path: Path, name: str, column: pa.ChunkedArray, *, as_string: bool) -> pa.ChunkedArray:
    """A column as numbers, strings, booleans or timestamps: no dictionaries, decimals, clock times or bare bytes."""
    column = _storage(column)
    kind = column.type
    if _is_bytes(kind):
        column = _as_words(path, name, column)
    elif pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())
    elif pa.types.is_time(kind):
        column = column.cast(pa.string())  # 12:30:00, as in csv
    if as_string:
        return _as_text(column)
    if pa.types.is_decimal(kind):
        return column.cast(pa.string()).cast(pa.float64())  # by way of their digits: a direct cast is off by one place
    if pa.types.is_float16(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(column), pa.float64())])
    if pa.types.is_boolean(kind) and column.null_count:
        return _truth_words(column)
    return column


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of dictionaries, runs and extension types."""
    while True:
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        elif pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        elif pa.types.is_run_end_encoded(kind):
            column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
        else:
            return column


def _is_bytes(kind: pa.DataType) -> bool:
    is_fixed = pa.types.is_fixed_size_binary(kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or is_fixed)


def _as_words(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        raise InputError(
            f"{path}: column {name!r} holds bytes that are no text in UTF-8; store it as strings, or drop it"
        ) from None


def _truth_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Truth values with holes as the words that a csv file has."""
    words = pa.array(["False", "True"], pa.large_string())
    chunks = [words.take(chunk.cast(pa.int8())) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.large_string())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as a csv file has them, whole numbers without a fraction: an id 7 may be stored as 7.0."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_boolean(kind):
        return _truth_words(column)
    if pa.types.is_floating(kind):
        values = column.to_numpy().astype(np.float64)
        texts = [_number_text(float(value)) for value in values]
        return pa.chunked_array([pa.array(texts, pa.large_string())])
    return column.cast(pa.string())


def _number_text(value: float) -> str | None:
    if np.isnan(value):
        return None
    return str(int(value)) if abs(value) < 2**53 and value.is_integer() else repr(value)
