"""How test differs from train: column by column, and by a model that tells the two apart."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldsmith.problem.audit.exam import Exam, ExamColumn
from foldsmith.problem.audit.findings import Finding

LARGE = 0.1  # distance of two distributions that is worth a warning
CERTAIN = 1e-6  # p value, small enough for hundreds of columns
MAX_TABLE = 10_000  # rows of each side for the model
RISKY, WORTH_KNOWING = 0.8, 0.6  # AUC of that model
UNSEEN = 0.01
MAX_SHOWN = 3


@dataclass(frozen=True)
class Distance:
    """How far a column's test values are from its train values.

    Args:
        distance: Kolmogorov-Smirnov's D of numbers, total variation of categories; 0 to 1.
        p: of drawing both from one distribution.
        missing: test's share of missing values less train's.
        unseen: share of the test rows with a category that train lacks.
    """

    name: str
    distance: float
    p: float
    missing: float
    unseen: float = 0.0

    def to_json(self) -> dict[str, float]:
        """The numbers."""
        return {key: float(f"{value:.6g}") for key, value in vars(self).items() if key != "name"}


def distance(column: ExamColumn) -> Distance:
    """Compare a column's values in train and test."""
    from scipy.stats import chi2_contingency, ks_2samp

    train, test = column.train[np.isfinite(column.train)], column.test[np.isfinite(column.test)]
    missing = float(np.isnan(column.test).mean() - np.isnan(column.train).mean())
    if not len(train) or not len(test):
        return Distance(column.name, 0.0, 1.0, missing)
    if column.kind != "categorical":
        found = ks_2samp(train, test, method="asymp")
        return Distance(column.name, float(found.statistic), float(found.pvalue), missing)
    size = int(max(train.max(), test.max())) + 1
    counts = np.stack([np.bincount(part.astype(np.int64), minlength=size) for part in (train, test)])
    unseen = float(counts[1, counts[0] == 0].sum() / len(column.test))
    shares = counts / counts.sum(axis=1, keepdims=True)
    seen = counts[:, counts.sum(axis=0) > 0]
    p = float(chi2_contingency(seen).pvalue) if seen.shape[1] > 1 else 1.0
    return Distance(column.name, float(np.abs(shares[0] - shares[1]).sum() / 2), p, missing, unseen)


def drifted_columns(exam: Exam) -> Iterator[Finding]:
    """Columns that are distributed otherwise in test, and categories that train does not know."""
    distances = [distance(column) for column in exam.columns()]
    drifted = [one for one in distances if _drifts(one)]
    if drifted:
        drifted.sort(key=lambda one: max(one.distance, abs(one.missing)), reverse=True)
        shown = ", ".join(f"{one.name} ({max(one.distance, abs(one.missing)):.2f})" for one in drifted[:MAX_SHOWN])
        more = f" and {len(drifted) - MAX_SHOWN} more" if len(drifted) > MAX_SHOWN else ""
        yield Finding(
            "drift",
            "warning",
            f"test is distributed otherwise than train in {len(drifted)} columns: {shown}{more}",
            "drop them, or turn them into what both files share (rank, difference, ratio); see check --adversarial",
            tuple(one.name for one in drifted),
            evidence={one.name: one.to_json() for one in drifted},
        )
    unseen = [one for one in distances if one.unseen >= UNSEEN]
    if unseen:
        worst = max(unseen, key=lambda one: one.unseen)
        yield Finding(
            "unseen_category",
            "warning" if worst.unseen >= 0.2 else "info",
            f"{len(unseen)} columns have categories in test that train lacks, most of all {worst.name} "
            f"({worst.unseen:.0%} of the test rows)",
            "models see them as missing; if test is of other groups than train, use the scheme group",
            tuple(one.name for one in unseen),
            evidence={one.name: round(one.unseen, 4) for one in unseen},
        )


def _drifts(one: Distance) -> bool:
    """Far from train beyond luck; categories that are only new are another matter."""
    is_far = one.distance >= LARGE and one.p < CERTAIN and one.unseen < one.distance / 2
    return is_far or abs(one.missing) >= LARGE


@dataclass(frozen=True)
class Adversary:
    """A model that tells test rows from train rows.

    Args:
        auc: out of fold; 0.5: it cannot.
        importance: share of the gain by column, the greatest first.
    """

    auc: float
    importance: dict[str, float]


def adversary(exam: Exam, seed: int = 0) -> Adversary:
    """Fit LightGBM to tell test from train, out of fold, on up to 10,000 rows of each."""
    import lightgbm

    from foldsmith.problem.formulas import auc

    columns = list(exam.columns())
    rng = np.random.default_rng(seed)
    rows, others = (np.sort(rng.permutation(n)[:MAX_TABLE]) for n in (exam.train.n_rows, exam.test.n_rows))
    x = np.vstack(
        [
            np.stack([column.train[rows] for column in columns], axis=1),
            np.stack([column.test[others] for column in columns], axis=1),
        ]
    )
    y = np.repeat([0, 1], [len(rows), len(others)])
    categorical = [i for i, column in enumerate(columns) if column.kind == "categorical"]
    folds = rng.permutation(len(y)) % 3
    chance, gains = np.zeros(len(y)), np.zeros(len(columns))
    options = {"objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 20, "verbosity": -1}
    options |= {"num_threads": 1, "seed": seed, "max_bin": 63, "feature_fraction": 0.7}
    for fold in range(3):
        inside = folds != fold
        train = lightgbm.Dataset(
            x[inside],
            y[inside],
            categorical_feature=categorical or "auto",
            params={"max_bin": 63, "verbosity": -1},
        )
        model = lightgbm.train(options, train, num_boost_round=60)
        chance[~inside] = np.asarray(model.predict(x[~inside]), np.float64)
        gains += model.feature_importance("gain")
    order = np.argsort(-gains, kind="stable")
    total = max(float(gains.sum()), 1e-12)
    importance = {columns[i].name: float(gains[i] / total) for i in order if gains[i] > 0}
    return Adversary(auc(y, chance, None), importance)


def adversarial(exam: Exam) -> Iterator[Finding]:
    """Whether a model can tell test from train, and by which columns."""
    if not list(exam.columns()):
        return
    found = adversary(exam)
    by_name = {column.name: distance(column) for column in exam.columns() if column.name in list(found.importance)[:10]}
    severity = "warning" if found.auc >= RISKY else "info"
    leading = [name for name, share in found.importance.items() if share >= 0.1][:MAX_SHOWN]
    leading = leading or list(found.importance)[:1]
    if found.auc < WORTH_KNOWING:
        leading, message = [], "a model cannot tell test rows from train rows"
        advice = "nothing: validation on train rows is of the same kind"
    else:
        message = f"a model tells test rows from train rows with an AUC of {found.auc:.3f}, by {', '.join(leading)}"
        advice = f"drop or transform {leading[0]}" if found.importance[leading[0]] > 0.5 else "no column stands out"
        advice += "; or validate on the train rows that are most like test rows (time, or a group of its own)"
    yield Finding(
        "adversarial",
        severity,  # type: ignore[arg-type]
        message,
        advice,
        tuple(leading),
        evidence={
            "auc": round(found.auc, 4),
            "importance": {name: round(share, 4) for name, share in list(found.importance.items())[:10]},
            "distance": {name: round(one.distance, 4) for name, one in by_name.items()},
            "p": {name: float(f"{one.p:.3g}") for name, one in by_name.items()},
        },
    )
