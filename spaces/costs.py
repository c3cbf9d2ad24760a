"""What a fold may cost, reckoned before any fold has run: good for an order, not for a promise."""

import math

from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts

# Seconds of one fold with the family's first point, one thread: start + per_cell * rows * columns * outputs / 1e6.
COSTS: dict[str, tuple[float, float]] = {
    "linear": (0.05, 1.5),
    "knn": (0.05, 3.0),
    "lightgbm": (0.3, 10.0),
    "extra_trees": (0.4, 10.0),
    "random_forest": (0.6, 25.0),
    "xgboost": (0.5, 20.0),
    "mlp": (2.0, 20.0),
    "catboost": (2.0, 30.0),
    "lightgbm_fe": (3.0, 60.0),
    "realmlp": (5.0, 100.0),
    "tabm": (8.0, 300.0),
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
