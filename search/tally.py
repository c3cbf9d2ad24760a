"""What the trials of a study add up to, without looking at all of them each time."""

from collections import Counter
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from foldsmith.search.sampling import point_key

# Reasons of FAIL that say nothing about the parameters: such trials do not count, and their point may come again.
NOT_COUNTED = frozenset({"lost_ask", "out_of_time", "duplicate"})


def was_promoted(trial: FrozenTrial) -> bool:
    """Whether it is a pruned trial's second chance; such a trial is never pruned."""
    return "promoted_from" in trial.user_attrs


def was_enqueued(trial: FrozenTrial) -> bool:
    """Whether somebody put its point into the queue: a default, or a point chosen by hand."""
    return "fixed_params" in trial.system_attrs


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial counts against the trial budget; of a promoted one only the pruned trial does."""
    if was_promoted(trial):
        return False
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get("error") not in NOT_COUNTED
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class Tally:
    """Sums over a study's trials. Optuna refuses to change a trial that has ended, so each of those is read once.

    Args:
        model_seed: two trials are the same only if this is; also of trials that do not tell theirs.
    """

    def __init__(self, model_seed: int) -> None:
        self._model_seed = model_seed
        self._n_seen = 0
        self._open: list[FrozenTrial] = []
        self._ended: Counter[TrialState] = Counter()
        self._states: Counter[TrialState] = Counter()
        self._results: dict[str, FrozenTrial] = {}
        self._tried: set[str] = set()
        self._keys: dict[int, tuple[int, str, set[str]]] = {}
        self.has_pruned = False

    @property
    def states(self) -> Counter[TrialState]:
        """How many of the trials that count are in each state."""
        return self._states

    @property
    def n_counted(self) -> int:
        """Trials that count against the trial budget."""
        return self._states.total()

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Take note of all trials of the study, oldest first."""
        unsettled = [trials[trial.number] for trial in self._open] + list(trials[self._n_seen :])
        self._n_seen = len(trials)
        self._open = []
        for trial in unsettled:
            if trial.state.is_finished():
                self._settle(trial)
            else:
                self._open.append(trial)
        self._states = self._ended + Counter(trial.state for trial in self._open if counts(trial))

    def _settle(self, trial: FrozenTrial) -> None:
        self._keys.pop(trial.number, None)
        self.has_pruned |= trial.state == TrialState.PRUNED
        is_counted = counts(trial)
        if is_counted:
            self._ended[trial.state] += 1
            self._tried |= _points(trial)
        if (is_counted or (was_promoted(trial) and trial.state == TrialState.COMPLETE)) and self._is_same_model(trial):
            key = point_key(trial.params)
            self._results[key] = _more_useful(self._results.get(key), trial)

    def twin(self, key: str, number: int) -> FrozenTrial | None:
        """The trial, not ``number`` itself, that tried a point already: one with a result, if there is one.

        A pruned point was tried; had it been promoted, its second trial has the result.
        """
        found = self._results.get(key)
        for trial in self._open:
            if trial.number != number and counts(trial) and self._is_same_model(trial) and self._known(trial)[1] == key:
                found = _more_useful(found, trial)
        return found

    def untried(self, keys: Sequence[str]) -> set[str]:
        """Those points that no trial that counts has tried, and none waits for."""
        left = set(keys) - self._tried
        if left:
            for trial in self._open:
                if counts(trial) or trial.state == TrialState.WAITING:
                    left -= self._known(trial)[2]
        return left

    def _is_same_model(self, trial: FrozenTrial) -> bool:
        return bool(trial.user_attrs.get("model_seed", self._model_seed) == self._model_seed)

    def _known(self, trial: FrozenTrial) -> tuple[int, str, set[str]]:
        """Key and points of an open trial; its parameters come one by one while it is asked for, and then stay."""
        known = self._keys.get(trial.number)
        if known is None or known[0] != len(trial.params):
            known = self._keys[trial.number] = len(trial.params), point_key(trial.params), _points(trial)
        return known


def _points(trial: FrozenTrial) -> set[str]:
    """What the trial was asked for, and what it became."""
    return {point_key(trial.system_attrs.get("fixed_params", {})), point_key(trial.params)}


def _more_useful(one: FrozenTrial | None, other: FrozenTrial) -> FrozenTrial:
    """Of two trials of one point the one with a result; the older of two."""
    if one is None:
        return other
    return min(one, other, key=lambda trial: (trial.state != TrialState.COMPLETE, trial.number))
