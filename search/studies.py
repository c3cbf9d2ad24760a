"""One Optuna study per family: asking, telling, adopting what a crash left, and counting what was done."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from foldsmith.search.sampling import point_key, sampler_for, suggest
from foldsmith.spaces.space import Params, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the driver tells people what happens

# Reasons of FAIL that say nothing about the parameters: such trials do not count, and their point may come again.
NOT_COUNTED = frozenset({"lost_ask", "out_of_time", "duplicate"})


# So many duplicates in a row, all but one of random points, mean that a small space has nothing new to offer.
MAX_ATTEMPTS = 10


@dataclass(frozen=True)
class Ask:
    """A new trial, or an old one taken up again.

    Args:
        member: the id that its folds are stored under; None for a fresh ask.
        same_as: number of the finished trial with the same parameters, whose result is reused.
    """

    trial: optuna.Trial
    params: Params
    member: str | None = None
    same_as: int | None = None


class FamilyStudy:
    """The study ``<contract>/<family>``; only the driver process uses it.

    A space of another version than the study's gets a study of its own, ``<contract>/<family> <version>``: Optuna
    cannot mix trials whose choices differ.

    Args:
        storage: opened by the driver.
        space: what is searched.
        defaults: points to try before the sampler decides.
        metric: what the dashboard calls the value.
        seed: of the sampler. ``model_seed`` is part of what makes two trials the same.
    """

    def __init__(
        self,
        storage: BaseStorage,
        contract: str,
        family: str,
        space: Space,
        defaults: Sequence[Params],
        *,
        metric: str = "score",
        greater_is_better: bool,
        seed: int,
        model_seed: int = 0,
    ) -> None:
        self.family = family
        self.space = space
        self._seed = seed
        self._model_seed = model_seed
        self._study = optuna.create_study(
            storage=storage,
            study_name=_study_name(storage, f"{contract}/{family}", space.version),
            direction="maximize" if greater_is_better else "minimize",
            load_if_exists=True,
        )
        if not self._study.user_attrs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._study.set_metric_names([metric])
            self._study.set_user_attr("space_version", space.version)
            self._study.set_user_attr("reported_values", "provisional score of each fold, step = fold")
        for params in defaults:
            space.check(params)  # Optuna would fail in the middle of an ask, or take it as it is
        self._defaults = list(defaults)

    def trials(self) -> list[FrozenTrial]:
        """All trials, oldest first; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def n_counted(self) -> int:
        """Trials that count against ``--trials``: complete, pruned, running, or failed by their own fault."""
        return sum(counts(trial) for trial in self.trials())

    def adopt(self) -> list[Ask]:
        """Take up RUNNING trials of a dead driver; close those whose ask was never finished."""
        adopted = []
        for frozen in self.trials():
            if frozen.state != TrialState.RUNNING:
                continue
            trial = optuna.Trial(self._study, frozen._trial_id)
            member = frozen.user_attrs.get("member")
            if member is None:
                self.fail(trial, "lost_ask", "the driver died while this trial was being made")
            else:
                adopted.append(Ask(trial, dict(frozen.params), member))
        return adopted

    def ask(self) -> Ask | None:
        """A trial with parameters never tried before, or with a result to reuse; None when the space ran dry.

        When the sampler repeats itself, as it does in a small space, its trial is closed and a random point is asked
        for. Only a point that somebody enqueued on purpose is answered with the result of its twin.
        """
        self._enqueue_defaults()
        for attempt in range(MAX_ATTEMPTS):
            done = self.trials()
            name, number = self._study.study_name, len(done)
            self._study.sampler = sampler_for(self.space, name, self._seed, number, explore=attempt > 0)
            trial = self._study.ask()
            params = suggest(trial, self.space)
            twin = self._twin(done, params, trial.number)
            if twin is None:
                return Ask(trial, params)
            if twin.state == TrialState.COMPLETE and self._was_enqueued(trial):
                return Ask(trial, params, same_as=twin.number)
            self.fail(trial, "duplicate", f"the same parameters as trial {twin.number}")
        return None

    def _was_enqueued(self, trial: optuna.Trial) -> bool:
        return "fixed_params" in self._study._storage.get_trial(trial._trial_id).system_attrs

    def _twin(self, trials: Iterable[FrozenTrial], params: Params, number: int) -> FrozenTrial | None:
        key = point_key(params)
        for frozen in trials:
            same_seed = frozen.user_attrs.get("model_seed", self._model_seed) == self._model_seed
            if frozen.number != number and counts(frozen) and same_seed and point_key(frozen.params) == key:
                return frozen
        return None

    def _enqueue_defaults(self) -> None:
        """Enqueue the defaults that were not tried and do not wait already (an ask lost in a crash is repeated)."""
        taken = set()
        for frozen in self.trials():
            if counts(frozen) or frozen.state == TrialState.WAITING:
                taken |= {point_key(frozen.system_attrs.get("fixed_params", {})), point_key(frozen.params)}
        for params in self._defaults:
            if point_key(params) not in taken:
                self._study.enqueue_trial(params)

    def accept(self, ask: Ask, member: str, attributes: dict[str, Any]) -> None:
        """Bind a fresh trial to its member: from now on a crash leaves a trial that can be adopted."""
        for name, value in attributes.items():
            ask.trial.set_user_attr(name, value)
        ask.trial.set_user_attr("member", member)

    def reuse(self, ask: Ask) -> None:
        """Complete a trial with the result of its twin."""
        assert ask.same_as is not None
        twin = self.trials()[ask.same_as]
        ask.trial.set_user_attr("duplicate_of", twin.user_attrs.get("member", twin.number))
        self._study.tell(ask.trial, twin.value)

    def report(self, trial: optuna.Trial, fold: int, score: float) -> None:
        """Write a fold's provisional score, once."""
        if fold not in self._study._storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(score, fold)

    def complete(self, trial: optuna.Trial, value: float, attributes: dict[str, Any]) -> None:
        """Finish a trial with its cross-validated value."""
        for name, attribute in attributes.items():
            trial.set_user_attr(name, attribute)
        self._study.tell(trial, value)

    def fail(self, trial: optuna.Trial, reason: str, message: str) -> None:
        """Finish a trial as FAIL with a reason class."""
        trial.set_user_attr("error", reason)
        trial.set_user_attr("error_message", message)
        self._study.tell(trial, state=TrialState.FAIL)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial counts against the trial budget."""
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get("error") not in NOT_COUNTED
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def studied_families(storage: BaseStorage, contract: str) -> list[str]:
    """Families that have a study under ``contract``, in order of name."""
    names = [study.study_name for study in storage.get_all_studies()]
    return sorted({name.split("/", 1)[1].split(" ")[0] for name in names if name.startswith(f"{contract}/")})


def _study_name(storage: BaseStorage, name: str, version: str) -> str:
    versions = {study.study_name: study.user_attrs.get("space_version") for study in storage.get_all_studies()}
    return name if versions.get(name) in (None, version) else f"{name} {version}"
