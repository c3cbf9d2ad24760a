"""One Optuna study per family: asking, telling, adopting what a crash left, and counting what was done."""

import contextlib
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from foldsmith.search.journal import make_durable
from foldsmith.search.leases import Alone, Leases
from foldsmith.search.sampling import point_key, sampler_for, suggest
from foldsmith.search.tally import NOT_COUNTED as NOT_COUNTED
from foldsmith.search.tally import Tally
from foldsmith.search.tally import counts as counts
from foldsmith.search.tally import was_enqueued as was_enqueued
from foldsmith.search.tally import was_promoted as was_promoted
from foldsmith.search.trial_cache import TrialCache, WriteCounter
from foldsmith.spaces.space import Params, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the driver tells people what happens

Reporting = Literal["fold score", "running mean"]

# What the intermediate values of a study mean, as its attribute ``reported_values`` says it.
REPORTED_VALUES: dict[Reporting, str] = {
    "fold score": "provisional score of each fold, step = fold",
    "running mean": "mean of the provisional scores so far, step = number of folds - 1",
}

# So many duplicates in a row, all but one of random points, mean that a small space has nothing new to offer.
MAX_ATTEMPTS = 10


@dataclass(frozen=True)
class Ask:
    """A new trial, or an old one taken up again.

    Args:
        member: the id that its folds are stored under; None for a fresh ask, and for a trial whose folds lie elsewhere.
        same_as: number of the finished trial with the same parameters, whose result is reused.
        store: the other competition folder that holds the folds of a trial taken up; it needs a new member here.
        model_seed: of its estimators; None for the search's own.
    """

    trial: optuna.Trial
    params: Params
    member: str | None = None
    same_as: int | None = None
    store: str | None = None
    model_seed: int | None = None

    @property
    def trial_id(self) -> int:
        """What the leases know the trial by."""
        return self.trial._trial_id


class FamilyStudy:
    """The study ``<contract>/<family>``; only driver processes use it.

    A space of another version than the study's gets a study of its own, ``<contract>/<family> <version>``: Optuna
    cannot mix trials whose choices differ.

    Args:
        storage: opened by the driver.
        space: what is searched.
        defaults: points to try before the sampler decides, in this order.
        metric: what the dashboard calls the value.
        seed: of the sampler. ``model_seed`` is part of what makes two trials the same.
        leases: what this driver may touch when it shares the storage with others.
        store: id of the competition folder that holds this driver's folds.
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
        leases: Leases | None = None,
        store: str | None = None,
    ) -> None:
        self.family = family
        self.space = space
        self._seed = seed
        self._leases = leases or Alone()
        self._store = store
        self._storage = storage
        self._writes = writes = WriteCounter(get_storage(storage))
        with self._leases.asking():  # of two drivers that meet here one makes the study
            self._study = optuna.create_study(
                storage=cast(BaseStorage, writes),
                study_name=_study_name(storage, f"{contract}/{family}", space.version),
                direction="maximize" if greater_is_better else "minimize",
                load_if_exists=True,
            )
            if not self._study.user_attrs:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    self._study.set_metric_names([metric])
                self._study.set_user_attr("space_version", space.version)
                self._study.set_user_attr("reported_values", REPORTED_VALUES["fold score"])
        self._cache = TrialCache(self._study, writes, self._leases)
        self._tally = Tally(model_seed)
        self._tallied: tuple[int, list[FrozenTrial] | None] = (-1, None)
        self.reporting = self._read_reporting()
        for params in defaults:
            space.check(params)  # Optuna would fail in the middle of an ask, or take it as it is
        self._defaults = {point_key(params): params for params in defaults}

    @property
    def store(self) -> str | None:
        """Id of the competition folder that holds this driver's folds."""
        return self._store

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's own object, for what only describes trials."""
        return self._study

    def trials(self) -> list[FrozenTrial]:
        """All trials, oldest first; not to be changed. Cheap; what other drivers did shows while asking, or soon."""
        return self._cache.trials()

    def frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """What the storage knows of a trial now."""
        return self._study._storage.get_trial(trial._trial_id)

    @property
    def greater_is_better(self) -> bool:
        """The direction of the metric."""
        return self._study.direction == optuna.study.StudyDirection.MAXIMIZE

    def report_as(self, conventions: Sequence[Reporting]) -> bool:
        """Choose what intermediate values mean: the first of ``conventions``, while nothing was reported.

        Returns:
            Whether the study keeps to one of them. Reports of two kinds in one study could not be compared.
        """
        with self._leases.asking():  # of two drivers that meet here the second follows the first
            self.reporting = self._read_reporting()
            if self.reporting != conventions[0] and not any(self._has_reports(trial) for trial in self.trials()):
                self._study.set_user_attr("reported_values", REPORTED_VALUES[conventions[0]])
                self.reporting = conventions[0]
        return self.reporting in conventions

    def _has_reports(self, trial: FrozenTrial) -> bool:
        """Whether a trial has reports, or another driver may be about to write some."""
        is_open = self._leases.is_shared and trial.state == TrialState.RUNNING
        return is_open or bool(trial.intermediate_values)

    def _read_reporting(self) -> Reporting:
        texts = {text: reporting for reporting, text in REPORTED_VALUES.items()}
        # A crash while the study was made leaves none: it is set with the first racer, before anything is reported.
        return texts.get(self._study.user_attrs.get("reported_values", ""), "fold score")

    def fold_scores(self, trial: FrozenTrial) -> list[float]:
        """Provisional scores of the folds that were reported, in fold order."""
        values = [trial.intermediate_values[fold] for fold in range(len(trial.intermediate_values))]
        if self.reporting == "fold score":
            return values
        sums = [mean * (fold + 1) for fold, mean in enumerate(values)]
        # Differences of sums carry noise in the last digits; nobody should read it as part of a score.
        return [float(f"{new - old:.12g}") for old, new in zip([0.0, *sums], sums, strict=False)]

    def mean_after(self, trial: FrozenTrial, n_folds: int) -> float | None:
        """Mean provisional score of the first ``n_folds`` folds, None when the trial has not come so far."""
        values = trial.intermediate_values
        if n_folds < 1 or n_folds - 1 not in values:  # they come in order
            return None
        if self.reporting == "running mean":
            return values[n_folds - 1]
        return statistics.fmean(values[fold] for fold in range(n_folds))

    def would_prune(self, pruner: BasePruner, trial: FrozenTrial) -> bool:
        """Ask a pruner of Optuna; it sees the study's trials and nothing of ours."""
        return pruner.prune(self._study, trial)

    def n_counted(self) -> int:
        """Trials that count against ``--trials``: complete, pruned, running, or failed by their own fault."""
        return self.tally().n_counted

    def tally(self) -> Tally:
        """What the trials add up to, as far as trials have come or changed their state."""
        if not self._leases.is_shared and self._writes.n_turns == self._tallied[0]:
            return self._tally
        trials = self.trials()
        if trials is not self._tallied[1]:
            self._tally.update(trials)
        self._tallied = self._writes.n_turns, trials
        return self._tally

    def adopt(self) -> list[Ask]:
        """Take up RUNNING trials whose driver is gone; close those whose ask was never finished."""
        adopted = []
        running = {frozen._trial_id for frozen in self.trials() if frozen.state == TrialState.RUNNING}
        for trial_id in sorted(self._leases.claim(running)):
            trial = optuna.Trial(self._study, trial_id)
            frozen = self.frozen(trial)
            if frozen.state != TrialState.RUNNING:
                self._leases.release(trial_id)  # its driver finished it just now
            elif "member" not in frozen.user_attrs:
                self.fail(trial, "lost_ask", "the driver died while this trial was being made")
            else:
                adopted.append(self._taken_up(trial, frozen))
        return adopted

    def _taken_up(self, trial: optuna.Trial, frozen: FrozenTrial) -> Ask:
        """A trial with the member that ``frozen`` had, if that lies in this driver's folder."""
        store, seed = frozen.user_attrs.get("store", self._store), frozen.user_attrs.get("model_seed")
        if store == self._store:
            return Ask(trial, dict(frozen.params), frozen.user_attrs["member"], model_seed=seed)
        return Ask(trial, dict(frozen.params), store=store, model_seed=seed)

    def ask(self) -> Ask | None:
        """A trial with parameters never tried before, or with a result to reuse; None when the space ran dry.

        When the sampler repeats itself, as it does in a small space, its trial is closed and a random point is asked
        for. Only a point that somebody enqueued on purpose is answered with the result of its twin.
        """
        with self._leases.asking():
            return self._ask()

    def _ask(self) -> Ask | None:
        if self._leases.is_shared:
            self.reporting = self._read_reporting()  # another driver may have chosen it since we came
        self._enqueue_next_default()
        for attempt in range(MAX_ATTEMPTS):
            name, number = self._study.study_name, len(self.trials())
            self.tally()  # another driver may have come first
            self._study.sampler = sampler_for(self.space, name, self._seed, number, explore=attempt > 0)
            trial = self._study.ask()
            self._leases.hold(trial._trial_id)
            params = suggest(trial, self.space)
            twin = self._tally.twin(point_key(params), trial.number)
            if twin is None:
                return Ask(trial, params)
            if twin.state == TrialState.COMPLETE and self._was_enqueued(trial):
                return Ask(trial, params, same_as=twin.number)
            self.fail(trial, "duplicate", f"the same parameters as trial {twin.number}")
        return None

    def _was_enqueued(self, trial: optuna.Trial) -> bool:
        return was_enqueued(self.frozen(trial))

    def _enqueue_next_default(self) -> None:
        """Enqueue the first default that was not tried and does not wait (an ask lost in a crash is repeated).

        One at a time: what a search does not come to leaves no trial behind, and no ask writes more than one point.
        """
        untried = self.tally().untried(list(self._defaults))
        if key := next((key for key in self._defaults if key in untried), None):
            self._study.enqueue_trial(self._defaults[key])

    def accept(self, ask: Ask, member: str, attributes: dict[str, Any]) -> bool:
        """Bind a trial to its member: from now on a crash leaves a trial that can be adopted.

        Returns:
            False when another driver has taken the trial over; drop it.
        """
        if not self._leases.keeps(ask.trial_id):
            return False
        if self._store is not None:
            attributes = {**attributes, "store": self._store}
        try:
            for name, value in {**attributes, "member": member}.items():
                ask.trial.set_user_attr(name, value)
        except UpdateFinishedTrialError:
            return False
        make_durable(self._storage)  # without its trial a fitted fold would be an orphan
        return True

    def reuse(self, ask: Ask) -> bool:
        """Complete a trial with the result of its twin; False when another driver has taken it over."""
        assert ask.same_as is not None
        twin = self.trials()[ask.same_as]
        assert twin.value is not None
        same = {"family": self.family, "duplicate_of": twin.user_attrs.get("member", twin.number)}
        return self.complete(ask.trial, twin.value, same)

    def report(self, trial: optuna.Trial, fold: int, score: float) -> None:
        """Write a fold's provisional score by the study's convention, once; folds come in order."""
        known = self.frozen(trial).intermediate_values
        if fold in known:
            return
        if self.reporting == "running mean":
            assert fold == len(known), "a mean over folds needs the folds before"
            score = (known.get(fold - 1, 0.0) * fold + score) / (fold + 1)
        with contextlib.suppress(UpdateFinishedTrialError):  # another driver took it over and ended it
            trial.report(score, fold)

    def complete(self, trial: optuna.Trial, value: float, attributes: dict[str, Any]) -> bool:
        """Finish a trial with its cross-validated value; False when another driver has taken it over."""
        return self._tell(trial, attributes, value=value)

    def _tell(
        self,
        trial: optuna.Trial,
        attributes: dict[str, Any],
        *,
        value: float | None = None,
        state: TrialState | None = None,
    ) -> bool:
        """Finish a trial that is still this driver's, and give up its lease."""
        if not self._leases.keeps(trial._trial_id):
            return False
        is_open = not self.frozen(trial).state.is_finished()
        try:
            if is_open:
                for name, attribute in attributes.items():
                    trial.set_user_attr(name, attribute)
                self._study.tell(trial, value, state)
                make_durable(self._storage)
        except UpdateFinishedTrialError:
            is_open = False
        self._leases.release(trial._trial_id)
        return is_open

    def prune(self, trial: optuna.Trial, reason: str, attributes: Mapping[str, Any] | None = None) -> bool:
        """Finish a trial before its last fold; False when another driver has taken it over.

        Optuna makes the last intermediate value its value; the sampler ranks it below all complete ones, and among
        pruned ones by the number of folds, then by that value.
        """
        known = {**(attributes or {}), "fold_scores": self.fold_scores(self.frozen(trial)), "pruned": reason}
        return self._tell(trial, known, state=TrialState.PRUNED)

    def promote(self, pruned: FrozenTrial) -> Ask:
        """A new RUNNING trial at the point of a pruned one, with its member, and so with its fitted folds.

        It does not count against ``--trials``, as the pruned one did. One write makes it whole: after a crash it can
        be adopted, or was never there. Drivers that share a study choose what to promote while asking.
        """
        kept = {name: value for name, value in pruned.user_attrs.items() if name not in ("fold_scores", "pruned")}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=pruned.params,
            distributions=pruned.distributions,
            user_attrs={**kept, "promoted_from": pruned.number},
            intermediate_values=pruned.intermediate_values,
        )
        return self._taken_up(self._begin(template), pruned)

    def n_seeds(self, number: int) -> int:
        """With how many model seeds the point of a trial was tried, the trial's own included."""
        return 1 + len([trial for trial in self.trials() if trial.user_attrs.get("seed_of") == number])

    def repeat(self, number: int, model_seed: int) -> Ask:
        """A new RUNNING trial at the point of a complete one, with another seed of the model."""
        first = self.trials()[number]
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=first.params,
            distributions=first.distributions,
            user_attrs={"seed_of": number, "model_seed": model_seed},
        )
        return Ask(self._begin(template), dict(first.params), model_seed=model_seed)

    def _begin(self, template: FrozenTrial) -> optuna.Trial:
        trial_id = self._study._storage.create_new_trial(self._study._study_id, template_trial=template)
        make_durable(self._storage)
        self._leases.hold(trial_id)
        return optuna.Trial(self._study, trial_id)

    def fail(self, trial: optuna.Trial, reason: str, message: str, attributes: Mapping[str, Any] | None = None) -> bool:
        """Finish a trial as FAIL with a reason class; False when another driver has taken it over."""
        known = {**(attributes or {}), "error": reason, "error_message": message}
        return self._tell(trial, known, state=TrialState.FAIL)


def studied_families(storage: BaseStorage, contract: str) -> list[str]:
    """Families that have a study under ``contract``, in order of name."""
    names = [study.study_name for study in storage.get_all_studies()]
    return sorted({name.split("/", 1)[1].split(" ")[0] for name in names if name.startswith(f"{contract}/")})


def _study_name(storage: BaseStorage, name: str, version: str) -> str:
    versions = {study.study_name: study.user_attrs.get("space_version") for study in storage.get_all_studies()}
    return name if versions.get(name) in (None, version) else f"{name} {version}"
