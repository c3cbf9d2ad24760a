"""A journal written anew from the lines of a damaged one that can be used, and from the members' records."""

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from foldsmith.problem.files import sync, write_bytes
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.journal import make_durable, open_journal


def rebuild_journal(path: Path, lines: Sequence[bytes], members: MemberStore) -> None:
    """Replace a journal by one of the same studies and trials, under the same numbers.

    A trial that lost what binds it to its member gets it back; one that ended with other parameters than its member
    has, or without any, cannot be relied on: it is kept as a failed one that does not count.

    Args:
        lines: that can be used, in their order.
        members: of the folder.
    """
    kept, made = path.with_name(f"{path.name}.kept.tmp"), path.with_name(f"{path.name}.rebuilt.tmp")
    made.unlink(missing_ok=True)
    try:
        write_bytes(kept, b"".join(lines))
        storage = open_journal(made)
        _copy(open_journal(kept), storage, {member.id: member for member in members.all()})
        make_durable(storage)
        sync(made)
        os.replace(made, path)
        sync(path.parent)
    finally:
        kept.unlink(missing_ok=True)
        made.unlink(missing_ok=True)


def _copy(old: BaseStorage, new: BaseStorage, members: dict[str, Member]) -> None:
    """All studies, then all trials in the order in which they were made: their ids stay what they are."""
    places: dict[int, int] = {}
    trials: list[tuple[int, FrozenTrial]] = []
    for study in old.get_all_studies():
        places[study._study_id] = new.create_new_study(study.directions, study.study_name)
        for name, value in study.system_attrs.items():
            new.set_study_system_attr(places[study._study_id], name, value)
        for name, value in study.user_attrs.items():
            new.set_study_user_attr(places[study._study_id], name, value)
        of_study = old.get_all_trials(study._study_id)
        named = {trial.user_attrs.get("member") for trial in of_study}
        family = study.study_name.split("/", 1)[-1].split(" ")[0]
        unnamed = {
            member.details.get("trial_number"): member
            for member in members.values()
            if member.kind == "trial" and member.family == family and member.id not in named
        }
        for trial in of_study:
            trials.append((places[study._study_id], _sound(trial, members, unnamed.get(trial.number))))
    for place, trial in sorted(trials, key=lambda pair: pair[1]._trial_id):
        new.create_new_trial(place, template_trial=trial)


def _sound(trial: FrozenTrial, members: dict[str, Member], unnamed: Member | None) -> FrozenTrial:
    """A trial as it may stand in the new journal."""
    told = dict(trial.user_attrs)
    if "member" not in told and unnamed is not None and unnamed.params == trial.params:
        told["member"] = unnamed.id
    member = members.get(str(told.get("member", "")))
    is_whole = "duplicate_of" in told or (member is not None and member.params == trial.params)
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and is_whole:
        return _copied(trial, trial.state, told)
    if trial.state == TrialState.FAIL and "error" in told:
        return _copied(trial, trial.state, told)
    if trial.state in (TrialState.WAITING, TrialState.RUNNING) and (member is None or is_whole):
        is_open = member is None or member.state == "running"  # what ended without a word of it is adopted again
        if is_open:
            return _copied(trial, trial.state, told)
    told = {name: value for name, value in told.items() if name != "member"}
    lost = {"error": "lost_ask", "error_message": "the journal was damaged where this trial is told"}
    return _copied(trial, TrialState.FAIL, {**told, **lost})


def _copied(trial: FrozenTrial, state: TrialState, told: dict[str, Any]) -> FrozenTrial:
    return optuna.trial.FrozenTrial(
        number=trial.number,
        trial_id=trial._trial_id,
        state=state,
        value=None,
        values=trial.values if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        datetime_start=trial.datetime_start,
        datetime_complete=(trial.datetime_complete or datetime.datetime.now()) if state.is_finished() else None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=told,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )
