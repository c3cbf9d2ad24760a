"""Stored models predict rows that were not there when they were fitted: a new test file, or the holdout."""

from functools import cached_property

from foldsmith.ensembling.fitted import fitted_from_json
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.problem.goal import Outputs
from foldsmith.problem.tables import Table
from foldsmith.results.fold_store import FoldStore
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.jobs import mean_prediction, model_outputs
from foldsmith.spaces.family import Family, FittedFold
from foldsmith.spaces.featured import Featured
from foldsmith.spaces.features import Features, load_features
from foldsmith.spaces.registry import get_family

Rows = Outputs


class Predictor:
    """Members' stored models on any rows of one problem.

    Args:
        problem: whose members predict.
    """

    def __init__(self, problem: Problem, members: MemberStore) -> None:
        self._problem = problem
        self._members = members

    def predict(self, member: Member, table: Table) -> Rows:
        """``(n_rows, n_outputs)`` the mean of a trial's fold models, or a blend of its members' means.

        Raises:
            InputError: a model is not kept, was fitted with other features, or the member was made elsewhere.
        """
        if member.kind == "blend":
            fitted = fitted_from_json(member.details["model"])
            return fitted.predict({name: self.predict(self._members.get(name), table) for name in fitted.weights})
        return mean_prediction(self._problem, self.predict_folds(member, table))

    def predict_folds(self, member: Member, table: Table) -> list[Rows]:
        """One prediction per fold's model; of a family that is fitted once more on all rows, that model's alone."""
        if member.kind != "trial":
            raise InputError(f"{member.id} was made elsewhere, there is no model of it; import its prediction again")
        family = self._family(member)
        stores = self._stores(member, family)
        return [
            model_outputs(
                self._load(member, family, store),
                table,
                _round(store),
                self._problem.units_of(store.fitted()),
                self._problem.floor_of(0, None if family.refits else fold),
            )
            for fold, store in enumerate(stores)
        ]

    def why_not(self, member: Member) -> str | None:
        """Why a member's models cannot predict; None when they can."""
        try:
            if member.kind == "blend":
                weights = fitted_from_json(member.details["model"]).weights
                reasons = (self.why_not(self._members.get(name)) for name in weights)
                return next((reason for reason in reasons if reason), None)
            if member.kind != "trial":
                return f"{member.id} was made elsewhere"
            for store in self._stores(member, self._family(member)):
                if reason := _why_unfit(member, store):
                    return reason
        except InputError as error:
            return str(error)
        return None

    def _stores(self, member: Member, family: Family) -> list[FoldStore]:
        if family.refits:
            return [self._members.refit(member.id, 0)]
        return [self._members.fold(member.id, 0, fold) for fold in range(self._problem.plan.n_folds)]

    def _load(self, member: Member, family: Family, store: FoldStore) -> FittedFold:
        if reason := _why_unfit(member, store):
            raise InputError(
                f'{reason}, so it cannot predict new rows; set keep_models = "all" in [store] before a search to keep '
                "every model"
            )
        return family.load(store.path)

    @cached_property
    def _features(self) -> Features | None:
        return load_features(self._problem.config.features.use, self._problem.folder.code)

    def _family(self, member: Member) -> Family:
        family = get_family(member.family, self._problem.folder.code)
        mine = "" if self._features is None else self._features.suffix
        version = member.space_version.partition("+extra-")[0]
        if version and version != version.partition("+features-")[0] + mine:
            raise InputError(f"{member.id} was fitted with other features than the code has now; put the code back")
        return family if self._features is None else Featured(family, self._features)


def _why_unfit(member: Member, store: FoldStore) -> str | None:
    """Why a stored model cannot predict: not kept, or not the one that its record vouches for; None when it can."""
    if not store.path.exists():
        return f"the models of {member.id} are not kept"
    if store.state(verify=True) == "missing":
        return f"a model of {member.id} is damaged ({store.path})"
    return f"the models of {member.id} are not kept" if store.fitted().get("model_dropped") else None


def _round(store: FoldStore) -> int | None:
    """The round that the fold's predictions were made with."""
    return store.done().get("round") if store.state() == "done" else None
