"""What a search is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SearchOptions:
    """What a search is asked to do.

    Args:
        families: names, in starting order.
        n_trials: the total over these families and over all calls; None for no limit.
        budget_seconds: for display, and for what is worth trying; the clock keeps the time.
        n_slots: folds that are expected to run side by side.
        model_seed: of the estimators. ``sampler_seed``: of the samplers.
        policy: which family gets the next trial, a name of :data:`foldsmith.search.policies.POLICIES`; ``"auto"`` takes
            turns without a time budget, and spends time where the ensemble gains most with one.
        racer: who decides after a few folds whether a trial gets the others.
        gpu_shares: of a GPU that a fold takes, by family, where somebody chose; 0 keeps a family on the CPU.
        fold_seconds: a fold that takes longer is ended; None for many times the family's usual time.
        storage_url: of a database that several drivers share; None for the folder's journal.
        rig: what is told of the machine; ``notices``: what is told first.
    """

    families: tuple[str, ...]
    n_trials: int | None = None
    budget_seconds: float | None = None
    n_slots: int = 1
    model_seed: int = 0
    sampler_seed: int = 0
    policy: str = "auto"
    racer: str = "none"
    gpu_shares: Mapping[str, float] = field(default_factory=dict)
    fold_seconds: float | None = None
    storage_url: str | None = None
    rig: str = ""
    notices: tuple[str, ...] = ()
