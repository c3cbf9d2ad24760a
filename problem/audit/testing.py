"""Ten faults to plant into clean tables: what a check must name, for tests and benchmarks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Plant = Callable[["Tables", np.random.Generator], "Tables"]

WRONG_METRIC = '''
import numpy as np


def off_by(y, prediction):
    """Mean error, said to be better when greater."""
    return float(np.mean(np.abs(np.asarray(y, float) - np.asarray(prediction, float))))


off_by.greater_is_better = True
off_by.needs = {needs!r}
off_by.tasks = {tasks!r}
'''


@dataclass(frozen=True)
class Tables:
    """A competition's tables before it is set up.

    Args:
        target, id: column names.
        options: for ``init``.
        code: of ``code/metrics.py``, empty for none.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    target: str
    id: str = "id"
    options: dict[str, Any] = field(default_factory=dict)
    code: str = ""

    @property
    def y(self) -> pd.Series:
        """Labels as numbers: values, or codes of classes."""
        labels = self.train[self.target]
        return labels if pd.api.types.is_numeric_dtype(labels.dtype) else labels.astype("category").cat.codes

    @property
    def is_regression(self) -> bool:
        """Whether the labels are values."""
        return pd.api.types.is_float_dtype(self.y.dtype) or self.y.nunique() > 20

    def with_column(self, name: str, train: Any, test: Any) -> "Tables":
        """With one feature more."""
        return self.with_tables(self.train.assign(**{name: train}), self.test.assign(**{name: test}))

    def with_tables(self, train: pd.DataFrame, test: pd.DataFrame) -> "Tables":
        """The same competition with other tables."""
        return Tables(train, test, self.target, self.id, self.options, self.code)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files into a folder, and code into its ``comp``; returns the arguments of ``init`` for that."""
        folder.mkdir(parents=True, exist_ok=True)
        self.train.to_csv(folder / "train.csv", index=False)
        self.test.to_csv(folder / "test.csv", index=False)
        if self.code:
            code = folder / "comp" / "code"
            code.mkdir(parents=True)
            (code / "metrics.py").write_text(self.code)
        files = {"train": folder / "train.csv", "test": folder / "test.csv"}
        return {**files, "target": self.target, "id": self.id, **self.options}


def _encoded(tables: Tables, rng: np.random.Generator) -> Tables:
    """A column of noise with 300 levels, target encoded over all rows, smoothed by 10."""
    n, y = len(tables.train), tables.y
    levels = rng.integers(0, min(300, n // 4), n + len(tables.test))
    goal = y if tables.is_regression else (y == y.mode()[0]).astype(float)
    sums, counts = goal.groupby(levels[:n]).sum(), goal.groupby(levels[:n]).size()
    means = ((sums + 10 * goal.mean()) / (counts + 10)).reindex(range(int(levels.max()) + 1), fill_value=goal.mean())
    return tables.with_column("shop_rate", means.to_numpy()[levels[:n]], means.to_numpy()[levels[n:]])


def _copied(tables: Tables, rng: np.random.Generator) -> Tables:
    y = tables.y.to_numpy(float)
    noise = 0.01 * y.std() * rng.normal(size=len(y))
    return tables.with_column("outcome_score", y + noise, rng.choice(y, len(tables.test)))


def _telling_id(tables: Tables, rng: np.random.Generator) -> Tables:
    """Rows were numbered after they had been sorted by the target, then shuffled."""
    order = np.argsort(np.argsort(tables.y.to_numpy(float) + 0.3 * tables.y.std() * rng.normal(size=len(tables.y))))
    test_ids = rng.permutation(np.arange(len(order), len(order) + len(tables.test)))
    return tables.with_tables(tables.train.assign(**{tables.id: order}), tables.test.assign(**{tables.id: test_ids}))


def _duplicated(tables: Tables, rng: np.random.Generator) -> Tables:
    """As many copies as 30 % of the rows, under new ids, shuffled in."""
    copies = tables.train.sample(frac=0.43, random_state=0)
    train = pd.concat([tables.train, copies]).sample(frac=1, random_state=1).reset_index(drop=True)
    first = 10_000_000
    test = tables.test.assign(**{tables.id: np.arange(first, first + len(tables.test))})
    return tables.with_tables(train.assign(**{tables.id: np.arange(len(train))}), test)


def _grouped(tables: Tables, rng: np.random.Generator) -> Tables:
    """Customers of about twenty rows with a like target; those of test are others, and folds know nothing of them."""
    y = tables.y.to_numpy(float)
    rank = np.argsort(np.argsort(y + 0.5 * y.std() * rng.normal(size=len(y)), kind="stable"))
    names = rng.permutation(len(y) // 20 + 1)
    others = rng.integers(len(names), 2 * len(names), len(tables.test))
    return tables.with_column("customer", names[rank // 20], others)


def _from_the_future(tables: Tables, rng: np.random.Generator) -> Tables:
    """Test is the last months; a tenth of the train rows lie among them."""
    start = pd.Timestamp("2024-01-01")
    days = rng.uniform(0, 300, len(tables.train))
    late = rng.random(len(days)) < 0.1
    days[late] = rng.uniform(300, 365, int(late.sum()))
    test_days = rng.uniform(300, 365, len(tables.test))
    stamps = [(start + pd.to_timedelta(part, unit="D")).strftime("%Y-%m-%d %H:%M:%S") for part in (days, test_days)]
    return tables.with_column("sold_at", *stamps)


def _drifted(tables: Tables, rng: np.random.Generator) -> Tables:
    """A meter that went on counting."""
    return tables.with_column("meter", rng.normal(size=len(tables.train)), 1 + rng.normal(size=len(tables.test)))


def _permuted(tables: Tables, rng: np.random.Generator) -> Tables:
    """A slow signal along the ids, and a test file whose features were shuffled away from them."""
    n = len(tables.train) + len(tables.test)
    signal = np.convolve(rng.normal(size=n + 30), np.ones(31) / 31**0.5, "valid")
    ids = rng.permutation(n)
    inside, outside = np.sort(ids[: len(tables.train)]), np.sort(ids[len(tables.train) :])
    made = tables.with_column("level", signal[inside], rng.permutation(signal[outside]))
    return made.with_tables(made.train.assign(**{tables.id: inside}), made.test.assign(**{tables.id: outside}))


def _dated(tables: Tables, rng: np.random.Generator) -> Tables:
    """Cases with greater labels were closed later: a date that is known only afterwards."""
    y = tables.y.to_numpy(float)
    days = 60 * np.argsort(np.argsort(y)) / len(y) if tables.is_regression else 20 * y + rng.uniform(0, 15, len(y))
    start = pd.Timestamp("2024-01-01")
    opened = [start + pd.to_timedelta(rng.uniform(0, 3000, n), unit="D") for n in (len(y), len(tables.test))]
    lasted = pd.to_timedelta(days, unit="D"), pd.to_timedelta(rng.uniform(0, 60, len(tables.test)), unit="D")
    closed = [(begin + more).strftime("%Y-%m-%d %H:%M:%S") for begin, more in zip(opened, lasted, strict=True)]
    stamps = [begin.strftime("%Y-%m-%d %H:%M:%S") for begin in opened]
    return tables.with_column("opened_at", *stamps).with_column("closed_at", *closed)


def _misjudged(tables: Tables, rng: np.random.Generator) -> Tables:
    needs, tasks = ("value", ("regression",)) if tables.is_regression else ("label", ("binary", "multiclass"))
    options = {**tables.options, "metric": "metrics:off_by"}
    code = WRONG_METRIC.format(needs=needs, tasks=tasks)
    return Tables(tables.train, tables.test, tables.target, tables.id, options, code)


FAULTS: dict[str, tuple[Plant, str]] = {
    "globally target-encoded column": (_encoded, "target_encoded"),
    "target copy with tiny noise": (_copied, "target_copy"),
    "id that predicts the target": (_telling_id, "id_predicts_target"),
    "duplicated rows": (_duplicated, "duplicate_rows"),
    "ignored group": (_grouped, "ignored_group"),
    "rows from the future": (_from_the_future, "time_leak"),
    "drifted test column": (_drifted, "drift"),
    "permuted test rows": (_permuted, "permuted_rows"),
    "label leak through a date": (_dated, "target_copy"),
    "wrong direction of the metric": (_misjudged, "metric_mismatch"),
}
"""By name: how to plant the fault, and the code that a check must give."""
