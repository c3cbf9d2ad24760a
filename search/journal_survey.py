"""What the lines of Optuna's journal say, one by one: which cannot be read, and which speak of what was never made.

A study and a trial have no number in their own line: it is the place of that line among its kind. When such a line is
lost, all later ones speak of the wrong trial, and Optuna passes over that without a word.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages.journal._storage import JournalOperation

_OF_STUDY = {
    JournalOperation.DELETE_STUDY,
    JournalOperation.SET_STUDY_USER_ATTR,
    JournalOperation.SET_STUDY_SYSTEM_ATTR,
    JournalOperation.CREATE_TRIAL,
}
_OF_TRIAL = {
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_STATE_VALUES,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}
# Beside ``op_code``; a line without one of these would end Optuna's reading with a KeyError.
_WORDS = {
    JournalOperation.CREATE_STUDY: ("study_name", "directions"),
    JournalOperation.SET_STUDY_USER_ATTR: ("user_attr",),
    JournalOperation.SET_STUDY_SYSTEM_ATTR: ("system_attr",),
    JournalOperation.CREATE_TRIAL: ("datetime_start",),
    JournalOperation.SET_TRIAL_PARAM: ("param_name", "param_value_internal", "distribution"),
    JournalOperation.SET_TRIAL_STATE_VALUES: ("state", "values"),
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE: ("step", "intermediate_value"),
    JournalOperation.SET_TRIAL_USER_ATTR: ("user_attr",),
    JournalOperation.SET_TRIAL_SYSTEM_ATTR: ("system_attr",),
}


class Census:
    """Counts studies and trials as lines make them, in the order of the file."""

    def __init__(self) -> None:
        self.n_lines = 0
        self._names: dict[str, int] = {}
        self._n_studies = 0
        self._n_trials = 0

    def add(self, log: Any) -> str | None:
        """Take note of a line; why it cannot be one of the journal, None if it can."""
        if (reason := self._why_not(log)) is not None:
            return reason
        self.n_lines += 1
        kind = log["op_code"]
        if kind == JournalOperation.CREATE_STUDY and log["study_name"] not in self._names:
            self._names[log["study_name"]] = self._n_studies
            self._n_studies += 1
        elif kind == JournalOperation.DELETE_STUDY:
            self._names = {name: number for name, number in self._names.items() if number != log["study_id"]}
        elif kind == JournalOperation.CREATE_TRIAL and log["study_id"] in self._names.values():
            self._n_trials += 1
        return None

    def _why_not(self, log: Any) -> str | None:
        if not isinstance(log, dict) or "worker_id" not in log:
            return "it is no line of a journal"
        kind = log.get("op_code")
        if kind not in set(JournalOperation):
            return f"op_code {kind!r} is none of Optuna's"
        lacking = [word for word in _WORDS.get(kind, ()) if word not in log]
        if lacking:
            return f"it has no {lacking[0]!r}"
        if kind in _OF_STUDY and not _is_below(log.get("study_id"), self._n_studies):
            return f"it speaks of study {log.get('study_id')!r}, which no line before makes"
        if kind in _OF_TRIAL and not _is_below(log.get("trial_id"), self._n_trials):
            return f"it speaks of trial {log.get('trial_id')!r}, which no line before makes"
        return None


def _is_below(number: Any, end: int) -> bool:
    return isinstance(number, int) and 0 <= number < end


@dataclass
class Survey:
    """What there is in a journal's file.

    Args:
        n_lines: all of them.
        bad: by number, from 1, why a line cannot be used.
        kept: the lines that can be used, as they are.
        cut_from: number of the first line that is set aside only because it may speak of another trial than it says:
            a line that was lost before it made one. None where nothing was lost but what the bad lines said.
    """

    n_lines: int = 0
    bad: dict[int, str] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)
    cut_from: int | None = None


def survey(path: Path) -> Survey:
    """Read a journal line by line.

    Lines after a bad one are used as long as all that they speak of was made by lines that are there. The first one
    of which that is not true shows that the bad line had made a trial or a study: then nothing after the bad line can
    be relied on.
    """
    found = Survey()
    census = Census()
    n_kept_before_bad = 0
    with open(path, "rb") as file:
        lines = list(file)
    for number, line in enumerate(lines, start=1):
        found.n_lines = number
        log, reason = _parse(line)
        if reason is None and (reason := census.add(log)) is not None and found.bad and "speaks of" in reason:
            found.cut_from = found.cut_from or min(found.bad) + 1
        if reason is not None:
            if not found.bad:
                n_kept_before_bad = len(found.kept)
            found.bad[number] = reason
        else:
            found.kept.append(line)
    if found.cut_from is not None:
        del found.kept[n_kept_before_bad:]
    return found


def _parse(line: bytes) -> tuple[Any, str | None]:
    if not line.endswith(b"\n"):
        return None, "it is cut off"
    if not line.strip(b"\0 \t\r\n"):
        return None, "it is blank"
    try:
        return json.loads(line), None
    except (ValueError, RecursionError) as error:
        return None, f"it is not valid JSON ({error})"
