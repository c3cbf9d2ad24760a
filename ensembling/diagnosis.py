"""Why an ensemble is as it is: what each member carries, what others would add, and who errs alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.greedy import shown
from foldsmith.ensembling.kernels import make_kernel
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.task import BlendTask, EnsembleResult, Predictions
from foldsmith.problem.goal import Outputs

Floats = NDArray[np.float64]
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ALIKE = 0.95  # correlation of errors from which members are of one cluster


@dataclass(frozen=True)
class Explanation:
    """A diagnosis on out-of-fold rows, in the metric's units; in-sample for the weights.

    Args:
        score: of the ensemble on the rows that fitted it.
        without: score by member if its weight went to the others.
        added: by outside member, the best score that giving it a share would reach, and that share.
        names: members in the order of the matrix: those of the ensemble, then the outside ones.
        correlation: ``(n, n)`` of errors.
        clusters: of members whose errors correlate by 0.95 or more, the greatest first.
    """

    score: float
    without: dict[str, float]
    added: dict[str, tuple[float, float]]
    names: tuple[str, ...]
    correlation: Floats
    clusters: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "score": self.score,
            "without": self.without,
            "added": {name: {"score": score, "share": share} for name, (score, share) in self.added.items()},
            "members": list(self.names),
            "error_correlation": np.round(self.correlation, 4).tolist(),
            "clusters": [list(cluster) for cluster in self.clusters],
        }


def explain(result: EnsembleResult, predictions: Predictions, task: BlendTask) -> Explanation:
    """Diagnose an ensemble against all candidates that it could have used.

    Args:
        predictions: of its members and of outside ones, ``(n_rows, n_outputs)``.
    """
    inside = [name for name in result.weights if name in predictions]
    outside = [name for name in predictions if name not in result.weights]
    blended = np.full_like(next(iter(predictions.values())), np.nan)
    blended[task.rows] = result.predict({name: predictions[name][task.rows] for name in inside})
    parts = {f"without {name}": _without(result, predictions, task, name) for name in inside if len(inside) > 1}
    pool = Pool({"": blended, **parts, **{name: predictions[name] for name in outside}}, task)
    kernel = make_kernel(pool)
    alone = dict(zip(pool.names, kernel.losses(1.0).tolist(), strict=True))
    kernel.add(0, 1.0)
    by_share = np.stack([kernel.losses(share) for share in SHARES])
    by_share[~np.isfinite(by_share)] = np.inf
    best = by_share.argmin(axis=0)
    added = {
        name: (shown(pool, float(by_share[best[place], place])), SHARES[best[place]])
        for place, name in enumerate(pool.names)
        if name in outside and np.isfinite(by_share[best[place], place])
    }
    without = {name: shown(pool, alone.get(f"without {name}", alone[""])) for name in inside if len(inside) > 1}
    everyone = Pool({name: predictions[name] for name in (*inside, *outside)}, task)
    correlation, names = error_correlation(everyone), everyone.names
    return Explanation(shown(pool, alone[""]), without, added, names, correlation, _clusters(names, correlation))


def _without(result: EnsembleResult, predictions: Predictions, task: BlendTask, name: str) -> Outputs:
    """The ensemble's prediction with the member's place taken by the mean of the others."""
    others = {other: weight for other, weight in result.weights.items() if other != name}
    total = sum(abs(weight) for weight in others.values()) or 1.0
    stand_in = sum(
        abs(weight) / total * predictions[other][task.rows].astype(np.float64) for other, weight in others.items()
    )
    given = {other: predictions[other][task.rows] for other in others}
    given[name] = np.asarray(stand_in, predictions[name].dtype)
    blended = np.full_like(predictions[name], np.nan)
    blended[task.rows] = result.predict(given)
    return blended


def error_correlation(pool: Pool) -> Floats:
    """``(n_members, n_members)`` correlation of the members' errors: residuals, or 1 - chance of the true class."""
    if pool.is_chance:
        errors = 1.0 - np.asarray(pool.true_class, np.float64)
    else:
        errors = np.asarray(pool.columns, np.float64) - pool.target
    errors = errors - errors.mean(axis=1, keepdims=True)
    norms = np.sqrt((errors**2).sum(axis=1))
    norms[norms == 0] = 1.0
    return np.asarray((errors @ errors.T) / np.outer(norms, norms))


def _clusters(names: Sequence[str], correlation: Floats) -> tuple[tuple[str, ...], ...]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(names) < 2:
        return (tuple(names),)
    distance = (1 - (correlation + correlation.T) / 2).clip(0)
    np.fill_diagonal(distance, 0.0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - ALIKE, "distance")
    groups = [
        tuple(name for name, label in zip(names, labels, strict=True) if label == one) for one in np.unique(labels)
    ]
    return tuple(sorted(groups, key=lambda group: -len(group)))
