"""Members that lie in the folder but have no trial in their study: their trials are made again from their records.

So it is after a journal was emptied, deleted or mended, and when a folder was restored from an older copy of it. What
was fitted is never fitted again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from foldsmith.problem.errors import FoldsmithError
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.sampling import point_key
from foldsmith.search.studies import FamilyStudy
from foldsmith.search.tally import NOT_COUNTED
from foldsmith.spaces.space import Float, Int, Params, Space

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def adopt_members(study: FamilyStudy, members: MemberStore, mine: Sequence[Member], n_folds: int) -> list[str]:
    """Give a study the trials of members that none of its trials names.

    Args:
        study: nobody else writes to it.
        mine: all members of the study's contract.
        n_folds: of the plan.

    Returns:
        The members that were adopted. A running one that has no fitted fold has nothing to be kept and is left alone,
        as is one whose parameters the space does not have.
    """
    named = {trial.user_attrs.get("member") for trial in study.trials()}
    lost = [
        member
        for member in mine
        if member.kind == "trial"
        and member.family == study.family
        and member.space_version == study.space.version
        and member.id not in named
        and (member.error or {}).get("reason") not in NOT_COUNTED
    ]
    adopted = []
    for member in sorted(lost, key=lambda one: (one.details.get("trial_number", 0), one.id)):
        template = trial_of(study, members, member, n_folds)
        if template is None:
            continue
        number = len(study.trials())
        study.optuna_study.add_trial(template)
        if member.details.get("trial_number") != number:
            members.write(replace(member, details={**member.details, "trial_number": number}))
        adopted.append(member.id)
    return adopted


def trial_of(study: FamilyStudy, members: MemberStore, member: Member, n_folds: int) -> FrozenTrial | None:
    """A member's trial as its records tell it; None when nothing of it is worth a trial."""
    provisional = _provisional(members, member, n_folds)
    if member.state == "running" and not provisional:
        return None
    try:
        study.space.check(member.params)
        return optuna.trial.create_trial(
            state=STATES[member.state],
            value=None if member.scores is None or member.state != "complete" else member.scores.value,
            params=dict(member.params),
            distributions=distributions(study.space, member.params),
            user_attrs={**_attributes(study, member, provisional), **_seed(study, member)},
            intermediate_values=_reports(study, provisional),
        )
    except (FoldsmithError, ValueError):  # the space has no such point, or the record no score
        return None


def distributions(space: Space, params: Params) -> dict[str, BaseDistribution]:
    """As :func:`foldsmith.search.sampling.suggest` has Optuna make them."""
    made: dict[str, BaseDistribution] = {}
    for name in params:
        param = space.params[name]
        if isinstance(param, Float):
            made[name] = FloatDistribution(param.low, param.high, log=param.log)
        elif isinstance(param, Int):
            made[name] = IntDistribution(param.low, param.high, log=param.log)
        else:
            made[name] = CategoricalDistribution(param.choices)
    return made


def _provisional(members: MemberStore, member: Member, n_folds: int) -> list[float]:
    """Scores of the first folds, as far as they are whole on disk; of a complete member those of its record else."""
    scores = []
    for fold in range(n_folds):
        store = members.fold(member.id, 0, fold)
        if store.state() == "missing":
            break
        value = store.fitted().get("provisional")
        if not isinstance(value, int | float):
            break
        scores.append(float(value))
    if len(scores) < n_folds and member.state == "complete" and member.scores is not None:
        return list(member.scores.per_fold)
    return scores


def _reports(study: FamilyStudy, provisional: Sequence[float]) -> dict[int, float]:
    if study.reporting == "fold score":
        return dict(enumerate(provisional))
    return {fold: sum(provisional[: fold + 1]) / (fold + 1) for fold in range(len(provisional))}


def _attributes(study: FamilyStudy, member: Member, provisional: Sequence[float]) -> dict[str, Any]:
    """What the trial told of itself, as the desk writes it."""
    told: dict[str, Any] = {"family": member.family, "policy": member.policy, "member": member.id, "adopted": True}
    if study.store is not None:
        told["store"] = study.store
    if "model" in member.seeds:
        told["model_seed"] = member.seeds["model"]
    if member.scores is not None:
        scores = member.scores
        told |= {"fold_scores": list(scores.per_fold), "sem": scores.sem, "pooled": scores.pooled}
        told |= {"rounds": member.details.get("rounds"), "seconds": round(member.seconds, 3)}
    elif member.state == "pruned":
        told |= {"fold_scores": list(provisional), "pruned": "by its record"}
    if member.error is not None:
        told |= {"error": member.error.get("reason", "error"), "error_message": member.error.get("message", "")}
    return told


def _seed(study: FamilyStudy, member: Member) -> dict[str, Any]:
    """Of a point that was tried before with another seed: the number of its first trial."""
    key = point_key(member.params)
    for trial in study.trials():
        if point_key(trial.params) == key and trial.user_attrs.get("model_seed") != member.seeds.get("model"):
            return {"seed_of": trial.user_attrs.get("seed_of", trial.number)}
    return {}
