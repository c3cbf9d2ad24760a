"""What a fold may cost, reckoned before any fold has run: good for an order, not for a promise."""

import math

from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts

# Seconds of one fold with the family's first point, one thread: start + per_cell * rows * columns * outputs / 1e6.
# The first seven were measured on tables of 150 to 6,000 rows and up to 30 columns, where single folds took between a
# third and three times as long; the others are guesses from what their authors report.
COSTS: dict[str, tuple[float, float]] = {
    "linear": (0.03, 1.0),
    "knn": (0.03, 2.0),
    "lightgbm": (0.1, 5.0),
    "xgboost": (0.15, 5.0),
    "extra_trees": (0.3, 15.0),
    "random_forest": (0.4, 20.0),
    "mlp": (1.5, 120.0),
    "catboost": (1.0, 30.0),
    "lightgbm_fe": (2.0, 60.0),
    "realmlp": (3.0, 250.0),
    "tabm": (5.0, 400.0),
    "tabpfn": (10.0, 300.0),
    "tabicl": (10.0, 300.0),
}
UNKNOWN = (1.0, 30.0)


def fold_seconds(family: str, facts: Facts) -> float:
    """About how long one fold of a family takes on one core."""
    start, per_cell = COSTS.get(family, UNKNOWN)
    outputs = facts.goal.n_outputs if facts.goal.kind == "multiclass" else 1
    cells = facts.n_rows * max(1, estimates.n_tree_columns(facts))
    return start + per_cell * cells * math.sqrt(outputs) / 1e6
