"""Whether a column of words is one of amounts, and how its numbers are read: decided over both files."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem.amounts import Amount, Mark, Reading, is_inexact, parse_amount, unit_of
from foldsmith.problem.cells import is_missing_word
from foldsmith.problem.decided import ColumnReading, is_too_much
from foldsmith.problem.errors import InputError
from foldsmith.problem.settings import advice
from foldsmith.problem.words import Both

_STRAYS = 0.01
_NEARLY = 0.5
_MANY = 20
_SAMPLE = 64
_LOOK = 2_000
_FEW_WHOLE = 0.02
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")


def amount_reading(both: Both, setting: str = "", *, is_set: bool = False) -> ColumnReading:
    """How the amounts of a column are read, in both files.

    Args:
        both: the column's cells.
        setting: ``decimal-point`` or ``decimal-comma`` where the user says so.
        is_set: the user says that it holds numbers: cells that are none become missing.

    Returns:
        The reading's text, '' for plain numbers; None for a column that is no column of amounts.

    Raises:
        InputError: train's cells are amounts, but those of test are others, or none.
    """
    words = [text for text in both.train.distinct if not is_missing_word(text)]
    sample = words[:: max(1, len(words) // _SAMPLE)]
    n_amounts = sum(parse_amount(text) is not None for text in sample)
    if not sample or n_amounts < (1 if is_set else 0.5 * len(sample)):
        return ColumnReading(None, () if is_set else _inexact(both, sample))
    return _Decision(both, setting, is_set=is_set).reading()


def _inexact(both: Both, sample: list[str]) -> tuple[str, ...]:
    """What is told of a column of numbers that are none: about five, less than five."""
    odd = [text for text in sample if is_inexact(text)]
    if len(both.train.distinct) < _MANY or len(odd) < 0.5 * len(sample):
        return ()
    row = both.texts.index(odd[0])
    return (
        f"column {both.name!r} holds inexact numbers, such as {both.shown(row, file=0)}, and is taken as words; write "
        "plain numbers to have them read as such",
    )


@dataclass(frozen=True)
class _Trouble:
    """Why the cells do not make one column of numbers: two cells that do not fit together."""

    what: str
    first: int
    second: int


class _Decision:
    """One column on its way to a reading."""

    def __init__(self, both: Both, setting: str, *, is_set: bool) -> None:
        self.both = both
        self.is_set = is_set
        self.setting = setting
        self.amounts = [parse_amount(text) for text in both.texts]
        self.is_word = np.array([not is_missing_word(text) for text in both.texts], dtype=bool)
        self.counts = (both.counts(0), both.counts(1))

    def reading(self) -> ColumnReading:
        chosen, trouble = self._choose((0, 1))
        if trouble is not None:
            return self._refuse(trouble)
        values = np.array([chosen.value(amount) for amount in self.amounts])
        lost = np.isnan(values) & self.is_word
        if self.counts[0][lost].any() and not self.is_set:
            return ColumnReading(None, self._nearly(lost))
        n_lost, n_present = int(self.counts[1][lost].sum()), int(self.counts[1][self.is_word].sum())
        if is_too_much(n_lost, n_present, is_set=self.is_set):
            raise self._other_words(values, lost)
        return ColumnReading(chosen.to_text(), self._tell(chosen, values))

    def _choose(self, files: tuple[int, ...]) -> tuple[Reading, _Trouble | None]:
        """The reading of some files' cells, and what speaks against any."""
        in_files = np.zeros(len(self.amounts), dtype=bool)
        for file in files:
            in_files |= self.counts[file] > 0
        rows = [int(row) for row in np.flatnonzero(in_files) if self.amounts[row] is not None]
        mark, trouble = self._mark(rows)
        if trouble is not None:
            return Reading(), trouble
        scales = self._scales(rows)
        units: dict[str, int] = {}
        for row in rows:
            amount = self._amount(row)
            if not amount.is_zero:
                units.setdefault(unit_of(amount, scales=scales), row)
        named = [unit for unit in units if unit]
        if len(named) > 1:
            return Reading(), _Trouble("two units", units[named[0]], units[named[1]])
        if named and "%" in named[0] and "" in units:
            return Reading(), _Trouble("cells with and without per cent", units[named[0]], units[""])
        return Reading(mark, named[0] if named else "", scales), None

    def _amount(self, row: int) -> Amount:
        amount = self.amounts[row]
        assert amount is not None, "rows are those of amounts"
        return amount

    def _mark(self, rows: list[int]) -> tuple[Mark, _Trouble | None]:
        if self.setting:
            return ("comma" if self.setting == "decimal-comma" else "point"), None
        points = [row for row in rows if self._amount(row).comma is None]
        commas = [row for row in rows if self._amount(row).point is None]
        either = [row for row in rows if _is_either(self._amount(row))]
        n_points, n_commas = self._cells(points), self._cells(commas)
        if points and commas and either and min(n_points, n_commas) > _STRAYS * (n_points + n_commas):
            return "point", _Trouble("decimal points and decimal commas", points[0], commas[0])
        if not points and not commas and _are_grouped([self.both.texts[row] for row in rows]):
            return "comma", None
        return ("comma" if n_commas > n_points else "point"), None

    def _scales(self, rows: list[int]) -> bool:
        """Whether ``k`` and ``M`` multiply: beside a currency, beside each other, or beside bare numbers."""
        found = [amount for row in rows if (amount := self._amount(row)).unit]
        if not found or not all(amount.scale for amount in found):
            return False
        scales = {amount.scale for amount in found}
        bare = any(not self._amount(row).unit and not self._amount(row).is_zero for row in rows)
        is_metres = {amount.unit for amount in found} == {"m"}
        return any(amount.currency for amount in found) or len(scales) > 1 or (bare and not is_metres)

    def _refuse(self, trouble: _Trouble) -> ColumnReading:
        """Two cells that do not fit: an error where test disagrees with train, words where train does with itself."""
        both, name = self.both, self.both.name
        _, alone = self._choose((0,))
        train, test = both.sources
        if self.is_set:
            raise InputError(
                f"column {name!r} cannot be numeric: it has {trouble.what}, {both.shown(trouble.first)} and "
                f"{both.shown(trouble.second)}; write them alike, or keep the words"
            )
        if alone is None and self._is_whole(0):
            rows = (trouble.first, trouble.second)
            cells = " and ".join(both.shown(row) for row in sorted(rows))
            raise InputError(
                f"column {name!r} has {trouble.what} in {train.name} and {test.name}: {cells}; write both files alike"
                + (
                    f", or say what a comma is with {advice(name, 'numeric:decimal-comma')}"
                    if "decimal" in trouble.what
                    else f", or keep the words with {advice(name, 'categorical')}"
                )
            )
        if not self._is_whole(0):
            return ColumnReading(None)
        return ColumnReading(
            None,
            (
                f"column {name!r} has {trouble.what}, {both.shown(trouble.first)} and {both.shown(trouble.second)}, "
                "and is taken as words; write them alike to have numbers",
            ),
        )

    def _other_words(self, values: NDArray[np.float64], lost: NDArray[np.bool_]) -> InputError:
        """Test's words are no numbers; amounts of train cannot be compared with them."""
        both, name = self.both, self.both.name
        good = self._first(~np.isnan(values), 0)
        bad = self._first(lost, 1)
        return InputError(
            f"column {name!r} holds numbers in {both.sources[0].name}, such as {both.shown(good, file=0)}, but "
            f"{self._share(1, lost):.0%} of the cells of {both.sources[1].name} are none, such as "
            f"{both.shown(bad, file=1)}; correct the file, or leave the column out with {advice(name, 'constant')}"
        )

    def _nearly(self, lost: NDArray[np.bool_]) -> tuple[str, ...]:
        """What is told of a column that is numbers but for a few cells."""
        words = int(self.counts[0][lost].sum())
        n_distinct = int(np.count_nonzero(~lost & self.is_word & (self.counts[0] > 0)))
        texts = self.both.texts
        codes = any(len(text) > 1 and text.startswith("0") and text.isdecimal() for text in texts)
        if self._share(0, lost) > 1 - _NEARLY or n_distinct < _MANY or codes:
            return ()
        name = self.both.name
        return (
            f"column {name!r} holds numbers but for {words} cell{'s' * (words > 1)}, such as "
            f"{self.both.shown(self._first(lost, 0), file=0)}, and is taken as words; correct them, or make them "
            f"missing with {advice(name, 'numeric')}",
        )

    def _tell(self, chosen: Reading, values: NDArray[np.float64]) -> tuple[str, ...]:
        """Once per column how its amounts were read."""
        odd = [row for row, amount in enumerate(self.amounts) if amount is not None and _is_odd(amount, values[row])]
        if not odd:
            return ()
        # The cell that says most: with a thousands separator or both marks.
        told = max(odd[:1000], key=lambda row: len(self.both.texts[row]))
        name = self.both.name
        line = f"column {name!r}: {self.both.shown(told)} is read as the number {values[told]:.12g}"
        negative = next((row for row in odd if "(" in self.both.texts[row] and row != told), None)
        if negative is not None:
            line += f", and {self.both.shown(negative)} as {values[negative]:.12g}"
        other = self._other_mark(told)
        if other is not None:
            line += f", and {self.both.shown(other)} as {values[other]:.12g}: points and commas are decimal marks here"
        bare = self._bare(chosen)
        if bare is not None:
            line += f", and {self.both.shown(bare)} as one in {chosen.unit} too"
        return (f"{line}; {advice(name, 'categorical')} keeps the words",)

    def _other_mark(self, told: int) -> int | None:
        """A cell that can only have the other decimal mark than a told one can only have."""
        first = self._amount(told)
        if first.point is not None and first.comma is not None:
            return None
        for row, amount in enumerate(self.amounts):
            if amount is not None and (amount.point if first.comma is None else amount.comma) is None:
                return row
        return None

    def _bare(self, chosen: Reading) -> int | None:
        """A cell without the unit that others have."""
        if not chosen.unit:
            return None
        return next(
            (
                row
                for row, amount in enumerate(self.amounts)
                if amount is not None and not amount.is_zero and not unit_of(amount, scales=chosen.scales)
            ),
            None,
        )

    def _is_whole(self, file: int) -> bool:
        """Whether every cell of a file is an amount."""
        is_amount = np.array([amount is not None for amount in self.amounts], dtype=bool)
        return not self.counts[file][~is_amount & self.is_word].any()

    def _share(self, file: int, mask: NDArray[np.bool_]) -> float:
        total = int(self.counts[file][self.is_word].sum())
        return float(self.counts[file][mask].sum()) / total if total else 0.0

    def _cells(self, rows: list[int]) -> int:
        return int(self.counts[0][rows].sum() + self.counts[1][rows].sum())

    def _first(self, mask: NDArray[np.bool_], file: int) -> int:
        return int(np.flatnonzero(mask & (self.counts[file] > 0))[0])


def _are_grouped(texts: list[str]) -> bool:
    """Whether points are thousands separators: three digits behind each, and beside them only numbers below 1000.

    A decimal point would leave fewer digits in one cell of ten, or three in whole numbers too.
    """
    grouped = [text for text in texts if "." in text]
    whole = [text for text in texts if text.strip().lstrip("+-").isdecimal()]
    return (
        len(grouped) >= _MANY
        and len(whole) > 0
        and all(_GROUPED.fullmatch(text.strip()) for text in grouped)
        and all(len(text.strip().lstrip("+-")) <= 3 for text in whole)
    )


def may_be_grouped(train: pd.Series, test: pd.Series) -> bool:
    """Whether numbers that were read with decimal points may have points for thousands; their text must tell."""
    values = pd.concat([train.iloc[:: max(1, len(train) // _LOOK)], test.iloc[:: max(1, len(test) // _LOOK)]])
    numbers = np.abs(values.to_numpy(dtype=np.float64))
    numbers = numbers[np.isfinite(numbers)]
    whole = numbers == np.trunc(numbers)
    parts = numbers[~whole]
    if len(parts) < _MANY or np.count_nonzero(whole) < _FEW_WHOLE * len(numbers) or numbers.max() >= 1000:
        return False
    return bool(parts.min() >= 1 and np.abs(parts * 1000 - np.rint(parts * 1000)).max() < 1e-6)


def _is_odd(amount: Amount, value: float) -> bool:
    """Whether a cell says another number than a program would read in it, or is read at all."""
    return not np.isnan(value) and not (amount.is_plain and value == amount.point)


def _is_either(amount: Amount) -> bool:
    return amount.point is not None and amount.comma is not None and amount.point != amount.comma
