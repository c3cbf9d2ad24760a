"""TabPFN: a prior-data fitted net for tables (Hollmann et al. 2025, Nature 637; arXiv:2511.08667 and later reports).

Its newer weights may not be used commercially; nothing of them is part of foldsmith.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foldsmith.problem.goal import Goal
from foldsmith.spaces.family import Facts
from foldsmith.spaces.in_context import InContext, Prompt
from foldsmith.spaces.space import Choice, Params, Space
from foldsmith.spaces.weights import Weights

# The rows, columns and CPU rows that the library itself allows each version. From version 3 on that is 1,000,000 and
# 20,000: we stay at a tenth, since the out-of-fold prediction and the refit read them six times.
LARGE = {"max_rows": 100_000, "max_columns": 2000, "max_cpu_rows": 5000}
MEDIUM = {"max_rows": 50_000, "max_columns": 2000, "max_cpu_rows": 1000}
SMALL = {"max_rows": 10_000, "max_columns": 500, "max_cpu_rows": 1000}

BOTH = (
    Weights("tabpfn-v3.5-20260909.safetensors", "Prior-Labs/tabpfn_3_5", **LARGE),
    Weights("tabpfn-v3.5-fast-20260909.safetensors", "Prior-Labs/tabpfn_3_5", **LARGE),
)
CLASSIFIERS = (
    Weights("tabpfn-v3-classifier-v3_default.ckpt", "Prior-Labs/tabpfn_3", **LARGE),
    Weights("tabpfn-v2.6-classifier-v2.6_default.ckpt", "Prior-Labs/tabpfn_2_6", **MEDIUM),
    Weights("tabpfn-v2.5-classifier-v2.5_default.ckpt", "Prior-Labs/tabpfn_2_5", **MEDIUM),
    Weights("tabpfn-v2-classifier-finetuned-zk73skhh.ckpt", "Prior-Labs/TabPFN-v2-clf", **SMALL),
)
REGRESSORS = (
    Weights("tabpfn-v3-regressor-v3_default.ckpt", "Prior-Labs/tabpfn_3", **LARGE),
    Weights("tabpfn-v2.6-regressor-v2.6_default.ckpt", "Prior-Labs/tabpfn_2_6", **MEDIUM),
    Weights("tabpfn-v2.5-regressor-v2.5_default.ckpt", "Prior-Labs/tabpfn_2_5", **MEDIUM),
    Weights("tabpfn-v2-regressor.ckpt", "Prior-Labs/TabPFN-v2-reg", **SMALL),
)


class TabPFN(InContext):
    """TabPFN with the newest weights that are on the machine; what is searched are the views of its ensemble."""

    name = "tabpfn"
    prefix = "pfn"

    def weights(self, goal: Goal) -> Sequence[Weights]:
        """Version 3.5 serves both kinds of goal, earlier ones have a file for each."""
        return BOTH + (CLASSIFIERS if goal.is_classification else REGRESSORS)

    def caches(self) -> Sequence[Path]:
        """Where the library puts what it downloads, on Linux."""
        given = os.environ.get("TABPFN_MODEL_CACHE_DIR")
        return (Path(given or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tabpfn").expanduser(),)

    def space(self, facts: Facts) -> Space:
        """``"auto"`` is what the weights' own record says."""
        return Space(
            "tabpfn@1",
            {
                "n_estimators": Choice(("auto", 4, 16)),
                "softmax_temperature": Choice(("auto", 0.8, 1.0, 1.1)),
                "average_before_softmax": Choice((False, True)),
            },
        )

    def defaults(self, facts: Facts) -> list[Params]:
        """The library's own point, then more views that are averaged before they become chances."""
        own: Params = {"n_estimators": "auto", "softmax_temperature": "auto", "average_before_softmax": False}
        return [own, {**own, "n_estimators": 16, "average_before_softmax": True}]

    def estimator(self, prompt: Prompt, weights: Path) -> Any:
        """The library's classifier or regressor, on a file and a device of our choice."""
        from tabpfn import TabPFNClassifier, TabPFNRegressor

        options: dict[str, Any] = {
            **prompt.params,
            "categorical_features_indices": prompt.categorical,
            "model_path": str(weights),
            "device": prompt.device,
            "ignore_pretraining_limits": True,  # ours are checked before the search begins
            "random_state": prompt.seed,
        }
        return TabPFNRegressor(**options) if prompt.kind == "regression" else TabPFNClassifier(**options)
