"""What a fold may cost, reckoned before any fold has run: good for an order, not for a promise."""

import math

from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts
from foldsmith.spaces.nets import first_fold_seconds

# Seconds of one fold with the first point, one thread: start + per_cell * rows * columns / 1e6 * root of the outputs,
# and what each column takes by itself, see below.
# Measured on tables of 300 to 40,000 rows and 8 to 45 columns with the points of a short search; in-context models are
# guesses from what their authors report.
COSTS: dict[str, tuple[float, float]] = {
    "linear": (0.03, 1.5),
    "knn": (0.03, 4.5),
    "lightgbm": (0.05, 1.8),
    "xgboost": (0.1, 1.9),
    "extra_trees": (0.3, 11.0),
    "random_forest": (0.4, 14.0),
    "mlp": (0.5, 25.0),
    "catboost": (0.2, 10.0),
    "lightgbm_fe": (0.15, 17.0),
    "realmlp": (0.6, 38.0),
    "tabm": (1.2, 16.0),
    "gp": (0.5, 60.0),
    "svm": (0.05, 10.0),
    "tabpfn": (10.0, 300.0),
    "tabicl": (10.0, 300.0),
}
# On large tables a short search's boosting takes greater steps and fewer rounds: measured up to 300,000 x 40.
POWERS = {"lightgbm": 0.7, "xgboost": 0.7}
# Seconds a column of a fold takes however few rows there are: each has a histogram in each round, or bins of its own.
# Measured on 200 rows of 5,000 columns, where a fold of the families without an entry takes what its cells say or less.
PER_COLUMN = {"xgboost": 8e-4, "lightgbm": 1e-4, "lightgbm_fe": 4e-4, "tabm": 1.5e-3}
UNKNOWN = (1.0, 30.0)


def fold_seconds(family: str, facts: Facts) -> float:
    """About how long one fold of a family takes on one core."""
    start, per_cell = COSTS.get(family, UNKNOWN)
    outputs = facts.goal.n_outputs if facts.goal.kind == "multiclass" else 1
    n_columns = max(1, estimates.n_tree_columns(facts))
    cells = facts.n_rows * n_columns
    start += PER_COLUMN.get(family, 0.0) * n_columns
    least = start + per_cell * math.sqrt(outputs) * math.pow(cells / 1e6, POWERS.get(family, 1.0))
    # These size themselves to the time: where it is long their first point takes its share of it.
    return max(least, first_fold_seconds(facts) / 2) if family in ("realmlp", "tabm") else least
