"""Finding the rows of a table in files that were made elsewhere: by id, or by their order."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError


class RowKey:
    """The rows of train or of test; the index over their ids is made once, on the first file that has ids.

    Args:
        table: ``"train"`` or ``"test"``, for messages.
        needed: bool ``(n_rows,)``, the rows that every file must have.
        ids: gives the table's ids, as text.
        id_column: None when the table has no ids.
    """

    def __init__(
        self, table: str, needed: NDArray[np.bool_], ids: Callable[[], Sequence[str]], id_column: str | None
    ) -> None:
        self.needed = needed
        self.id_column = id_column
        self._table = table
        self._ids = ids

    @cached_property
    def _index(self) -> "pd.Index[str]":
        return pd.Index(list(self._ids()), dtype=object)

    def by_order(self, n_rows: int, where: str) -> NDArray[np.int64]:
        """The rows of a file without ids, which must be as many.

        Raises:
            InputError: they are not.
        """
        if n_rows != len(self.needed):
            hint = f"give the column {self.id_column!r} to match by id" if self.id_column else "give one row for each"
            raise InputError(f"{where} has {n_rows:,} rows but {self._table} has {len(self.needed):,}; {hint}")
        return np.arange(n_rows)

    def by_id(self, file_ids: pd.Series, where: str) -> NDArray[np.int64]:
        """For each row of the table its row in the file, -1 where the file lacks one that is not needed.

        Raises:
            InputError: ids are missing, doubled or unknown; the message counts them and gives an example of each.
        """
        found = self._index.get_indexer(pd.Index(file_ids))
        times = np.bincount(found[found >= 0], minlength=len(self.needed))
        missing = np.flatnonzero(self.needed & (times == 0))
        doubled = np.flatnonzero(times > 1)
        unknown = np.flatnonzero(found < 0)
        faults = [
            f"{len(rows):,} {what}, e.g. {example(rows[0])!r}"
            for rows, what, example in (
                (missing, f"of {int(self.needed.sum()):,} needed ids are missing", self._index.__getitem__),
                (doubled, "ids stand there more than once", self._index.__getitem__),
                (unknown, f"ids are not in {self._table}", file_ids.iloc.__getitem__),
            )
            if len(rows)
        ]
        if faults:
            raise InputError(f"{where}: {'; '.join(faults)}; give each row of {self._table} once")
        places = np.full(len(self.needed), -1, np.int64)
        places[found] = np.arange(len(found))
        return places
