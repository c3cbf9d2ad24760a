"""What is decided of one column over both files, and how many cells that do not fit are borne."""

from dataclasses import dataclass

_MOST_LOST = 0.1
_MOST_LOST_IF_SET = 0.5


@dataclass(frozen=True)
class ColumnReading:
    """How a column is read, and what is to be told of it.

    Args:
        text: the reading for the schema; None where the column is none of this sort.
        remarks: sentences for people.
    """

    text: str | None
    remarks: tuple[str, ...] = ()


def is_too_much(n_lost: int, n_present: int, *, is_set: bool = False) -> bool:
    """Whether so many cells of a file do not fit their column that the file must be another one.

    Fewer become missing, and are told: a tenth, half where the user has set the kind, and always a single cell.
    """
    return n_lost > 1 and n_lost > (_MOST_LOST_IF_SET if is_set else _MOST_LOST) * n_present
