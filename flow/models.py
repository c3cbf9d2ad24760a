"""Which fitted models stay on disk: they are most of a study's size, and only the best are ever needed again."""

from collections.abc import Iterable, Sequence

from foldsmith.problem.contract import Problem
from foldsmith.results.fold_store import FoldStore
from foldsmith.results.members import Member, MemberStore


class ModelKeeper:
    """Deletes the models of members that ``[store] keep_models`` no longer covers; predictions always stay.

    Args:
        problem: for the config and the number of folds.
    """

    def __init__(self, problem: Problem, members: MemberStore) -> None:
        self._n_folds = problem.plan.n_folds
        self._members = members
        self._dropped: set[str] = set()
        rule = problem.config.store.keep_models
        self._keeps_all = rule == "all"
        self._keeps_blends = rule.endswith("+blend")
        self._n_best = 0 if self._keeps_all else int(rule.removeprefix("top:").removesuffix("+blend"))

    def trim(self, members: Sequence[Member], in_use: Iterable[str]) -> None:
        """Drop what is not covered.

        Args:
            members: complete trials, best first.
            in_use: members of the running ensemble.
        """
        if self._keeps_all:
            return
        keep = {member.id for member in members[: self._n_best]}
        if self._keeps_blends:
            blends = (member for member in self._members.all(states=["complete"]) if member.kind == "blend")
            keep.update(in_use, *(blend.params for blend in blends))
        for member in members:
            if member.id not in keep and member.id not in self._dropped and member.kind == "trial":
                for fold in range(self._n_folds):
                    _drop(self._members.fold(member.id, 0, fold))
                _drop(self._members.refit(member.id, 0))
                self._dropped.add(member.id)


def _drop(store: FoldStore) -> None:
    """Delete a model if there is one: only families that refit have one of all rows."""
    if store.state() != "missing":
        store.drop_model()
