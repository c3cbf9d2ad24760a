"""Which models stay on disk when a search has made more members than are kept."""

from collections.abc import Callable

from foldsmith.flow.models import ModelKeeper
from foldsmith.problem.contract import Problem
from foldsmith.results.members import MemberStore


def make_members(problem: Problem, n_members: int) -> MemberStore:
    """Complete members of a family that is fitted fold by fold only."""
    from foldsmith import open_competition

    open_competition(problem.folder.root).search(["linear"], trials=n_members, executor="inline")
    return MemberStore(problem.folder)


def n_model_files(store: MemberStore, member: str) -> int:
    """Files of the folds that are neither records nor predictions."""
    kept = {"fitted.json", "done.json", "valid.npy", "test.npy", "curve.npy"}
    return len([path for path in store.path(member).glob("folds/*/*") if path.name not in kept])


def test_members_without_a_model_of_all_rows_are_trimmed(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem("binary")
    store = make_members(problem, 4)
    members = store.all(states=["complete"])
    config = problem.config.model_copy(
        update={"store": problem.config.store.model_copy(update={"keep_models": "top:1"})}
    )
    keeper = ModelKeeper(_with(problem, config), store)
    keeper.trim(members, in_use=[])
    keeper.trim(members, in_use=[])
    found = [n_model_files(store, member.id) for member in members]
    assert found[0] > 0 and found[1:] == [0, 0, 0]
    assert all(store.fold(member.id, 0, 0).state() == "done" for member in members)


def test_what_is_damaged_is_passed_over(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem("binary")
    store = make_members(problem, 3)
    members = store.all(states=["complete"])
    (store.fold(members[1].id, 0, 1).path / "fitted.json").write_text("{")
    config = problem.config.model_copy(
        update={"store": problem.config.store.model_copy(update={"keep_models": "top:1"})}
    )
    ModelKeeper(_with(problem, config), store).trim(members, in_use=[])
    assert n_model_files(store, members[2].id) == 0


def test_a_search_past_the_limit_has_no_warning(make_problem: Callable[..., Problem]) -> None:
    from foldsmith import open_competition

    problem = make_problem("binary")
    text = problem.folder.config.read_text()
    assert "top:30+blend" in text
    problem.folder.config.write_text(text.replace("top:30+blend", "top:2"))
    report = open_competition(problem.folder.root).search(["linear"], trials=12, executor="inline")
    assert report.warning is None
    store = MemberStore(problem.folder)
    assert 0 in [n_model_files(store, member.id) for member in store.all(states=["complete"])]


def _with(problem: Problem, config: object) -> Problem:
    from dataclasses import replace

    return replace(problem, config=config)  # type: ignore[arg-type]
