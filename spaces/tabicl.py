"""TabICL: an open in-context model for tables (Qu et al. 2025, arXiv:2502.05564 and 2026, arXiv:2602.11139)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foldsmith.problem.goal import Goal
from foldsmith.spaces.family import Facts
from foldsmith.spaces.in_context import InContext, Prompt
from foldsmith.spaces.space import Choice, Float, Int, Param, Params, Space
from foldsmith.spaces.weights import Weights

REPOSITORY = "jingang/TabICL"
GPU_BATCH = 8  # views at once, the library's own default; one at a time on a CPU, where more only takes memory
# README: "excellent performance on benchmarks with 300 to 100,000 training samples and up to 2,000 features".
LIMITS = {"max_rows": 100_000, "max_columns": 2000, "max_cpu_rows": 10_000}
CLASSIFIER = Weights("tabicl-classifier-v2-20260212.ckpt", REPOSITORY, **LIMITS)
REGRESSOR = Weights("tabicl-regressor-v2-20260212.ckpt", REPOSITORY, **LIMITS)


class TabICL(InContext):
    """TabICLv2 with the weights that the library takes by default; what is searched are the views of its ensemble."""

    name = "tabicl"
    prefix = "icl"

    def weights(self, goal: Goal) -> Sequence[Weights]:
        """One file for classes, one for values."""
        return (CLASSIFIER,) if goal.is_classification else (REGRESSOR,)

    def space(self, facts: Facts) -> Space:
        """Little to search: how many views, how they are normalised, and for classes how sure they are."""
        params: dict[str, Param] = {
            "n_estimators": Int(2, 32, log=True),
            "normalize": Choice(("power", "quantile", "robust")),
            "outlier_threshold": Float(2.0, 12.0),
        }
        if facts.goal.is_classification:
            params["softmax_temperature"] = Float(0.7, 1.2)
        return Space("tabicl@1", params)

    def defaults(self, facts: Facts) -> list[Params]:
        """The library's own point, then other views of the columns."""
        own: Params = {"n_estimators": 8, "normalize": "power", "outlier_threshold": 4.0}
        if facts.goal.is_classification:
            own["softmax_temperature"] = 0.9
        return [own, {**own, "normalize": "quantile", "outlier_threshold": 8.0}]

    def estimator(self, prompt: Prompt, weights: Path) -> Any:
        """The library's classifier or regressor, on a file and a device of our choice."""
        from tabicl import TabICLClassifier, TabICLRegressor

        params = dict(prompt.params)
        options: dict[str, Any] = {
            "norm_methods": ["none", params.pop("normalize")],
            "batch_size": max(1, GPU_BATCH // prompt.batch_divisor) if prompt.device == "cuda" else 1,
            "model_path": weights,
            "allow_auto_download": False,
            "device": prompt.device,
            "random_state": prompt.seed,
            "n_jobs": 1,  # the threads are ours to set, around the call
            **params,
        }
        return TabICLRegressor(**options) if prompt.kind == "regression" else TabICLClassifier(**options)
