"""Blends of stored members: what may be blended, what is kept, and the running one beside a search."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import fitted_from_json
from foldsmith.ensembling.task import mix
from foldsmith.flow import ensemble
from foldsmith.flow.ensemble import (
    FEW_CANDIDATES,
    BlendRequest,
    RunningEnsemble,
    blend_members,
    candidates,
    compare_members,
    family_shares,
    keep_blend,
)
from foldsmith.flow.posthoc import posthoc
from foldsmith.flow.submission import current_path, make_submission, write_baseline, write_current
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.results.members import Member, MemberStore

MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def add_three(problem: Problem, add_member: AddMember) -> list[Member]:
    """Three members of falling quality, with test predictions that tell them apart."""
    rng = np.random.default_rng(0)
    y, n_test = problem.data.y.astype(float), problem.data.test.n_rows

    def prediction(noise: float) -> NDArray[Any]:
        values = y + noise * rng.normal(size=len(y))
        return values if problem.data.target.task == "regression" else 1 / (1 + np.exp(-4 * (values - 0.5)))

    return [
        add_member(problem, prediction(noise), np.linspace(0.1 * number, 1.0, n_test))
        for number, noise in enumerate((0.4, 0.6, 0.8), start=1)
    ]


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "auc"), ("binary", "f1"), ("regression", "rmse"), ("regression", "rmsle")]
)
def test_the_test_prediction_has_the_weights_of_the_oof(
    make_problem: MakeProblem, add_member: AddMember, task: str, metric: str
) -> None:
    problem = make_problem(task, metric=metric)
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    blended = blend_members(problem, store, candidates(problem, store))
    weights = blended.result.weights
    assert sum(weights.values()) == pytest.approx(1)
    expected = mix(weights, {name: store.test(name) for name in weights}, problem.metric.blend_space)
    np.testing.assert_array_equal(blended.test, expected)
    again = blend_members(problem, store, candidates(problem, store))
    assert again.result.weights == weights


def test_a_kept_blend_is_a_member_with_its_nested_oof(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="f1")
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    blended = blend_members(problem, store, candidates(problem, store))
    kept = [keep_blend(problem, store, blended), keep_blend(problem, store, blended, "b_mine")]
    assert [member.id for member in kept] == ["b01", "b_mine"]
    member = MemberStore(problem.folder).get("b01")
    assert (member.kind, member.state, member.policy, member.family) == ("blend", "complete", "nested", "greedy")
    assert member.scores == blended.result.nested
    assert member.params == blended.result.weights
    assert member.details["in_sample"] == blended.result.in_sample
    np.testing.assert_array_equal(store.oof("b01"), blended.result.nested_oof)
    np.testing.assert_array_equal(store.test("b01"), blended.test)
    decision = blended.result.decision
    assert decision is not None
    written = pd.read_csv(make_submission(problem, "b01"))
    np.testing.assert_array_equal(written["y"], problem.data.target.labels(decision.apply(blended.test)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lin-0001", "there is a member 'lin-0001' already; choose another name"),
        ("../b", r"blend name '\.\./b' may hold up to 60 letters, digits, '-' and '_' only"),
        ("", "blend name '' may hold up to 60 letters"),
        ("-", "blend name '-' may hold up to 60 letters"),
        ("b 1", "blend name 'b 1' may hold up to 60 letters"),
        ("b" * 61, "blend name 'bbb.* may hold up to 60 letters"),
        ("größe", "blend name 'größe' may hold up to 60 letters"),
    ],
)
def test_wrong_names_of_a_blend(make_problem: MakeProblem, add_member: AddMember, name: str, message: str) -> None:
    problem = make_problem()
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    blended = blend_members(problem, store, candidates(problem, store))
    before = sorted(problem.folder.members.iterdir())
    with pytest.raises(InputError, match=message):
        keep_blend(problem, store, blended, name)
    assert sorted(problem.folder.members.iterdir()) == before


def test_candidates_are_fresh_singles_best_first(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    one, two, three = add_three(problem, add_member)
    store = MemberStore(problem.folder)
    add_member(problem, problem.data.y, contract="other")
    add_member(problem, problem.data.y, test_fingerprint="old")
    store.write(replace(add_member(problem, problem.data.y), state="failed"))
    keep_blend(problem, store, blend_members(problem, store, [one, two]))
    found = candidates(problem, store)
    assert {member.id for member in found} == {one.id, two.id, three.id}
    values = [member.scores.value for member in found if member.scores is not None]
    assert values == sorted(values, reverse=True)
    assert [member.id for member in candidates(problem, store, [three.id])] == [three.id]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("lin-0009", UnknownNameError, "unknown member 'lin-0009'; did you mean"),
        ("lin-0004", InputError, "lin-0004 cannot be blended: it is failed"),
        ("lin-0005", InputError, "lin-0005 cannot be blended: it was made for another train file, metric or fold plan"),
        ("lin-0006", InputError, "lin-0006 cannot be blended: it predicts another test file"),
    ],
)
def test_what_cannot_be_blended_is_named(
    make_problem: MakeProblem, add_member: AddMember, name: str, error: type[Exception], message: str
) -> None:
    problem = make_problem()
    singles = add_three(problem, add_member)
    store = MemberStore(problem.folder)
    store.write(replace(add_member(problem, problem.data.y), state="failed"))
    add_member(problem, problem.data.y, contract="other")
    add_member(problem, problem.data.y, test_fingerprint="old")
    keep_blend(problem, store, blend_members(problem, store, singles))
    with pytest.raises(error, match=message):
        candidates(problem, store, [singles[0].id, name])


def test_families_take_turns() -> None:
    """Many members of one fast family do not crowd out the others."""

    def member(name: str, family: str) -> Member:
        return Member(name, "trial", "complete", "c", family, "auc")

    best_first = [member(f"knn-{n}", "knn") for n in range(4)] + [member(f"lgb-{n}", "lightgbm") for n in range(2)]
    order = [found.id for found in ensemble.spread(best_first)]
    assert order == ["knn-0", "lgb-0", "knn-1", "lgb-1", "knn-2", "knn-3"]
    assert ensemble.spread([]) == []


def test_shares_of_families_are_those_of_their_members(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    named = [replace(m, family=f) for m, f in zip(add_three(problem, add_member), ("a", "b", "a"), strict=True)]
    result = blend_members(problem, MemberStore(problem.folder), named).result
    shares = family_shares(result, [*named, replace(named[0], id="elsewhere", family="c")])
    assert shares["a"] == pytest.approx(result.shares.get(named[0].id, 0) + result.shares.get(named[2].id, 0))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["c"] == 0


def test_nothing_to_blend(make_problem: MakeProblem) -> None:
    problem = make_problem()
    store = MemberStore(problem.folder)
    with pytest.raises(InputError, match="there is no complete member to blend yet; run 'foldsmith search' first"):
        blend_members(problem, store, candidates(problem, store))


def test_the_running_ensemble_ends_with_all_members(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    write_baseline(problem)
    running = RunningEnsemble(problem)
    running.start()
    members = add_three(problem, add_member)
    running.notice(members[-1].id)
    blended = running.finish()
    assert running.error is None
    assert blended is not None and set(blended.members) == {member.id for member in members}
    written = pd.read_csv(current_path(problem))
    assert written["y"].nunique() > 1
    assert running.reserve_seconds > 1.5


def test_the_running_ensemble_writes_beside_the_search(
    make_problem: MakeProblem, add_member: AddMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    written = threading.Event()

    def write(*words: Any) -> None:
        write_current(*words)
        written.set()

    monkeypatch.setattr(ensemble, "write_current", write)
    running = RunningEnsemble(problem)
    add_three(problem, add_member)
    running.start()
    assert written.wait(30)
    assert current_path(problem).exists()
    assert running.finish() is running.best is not None


def test_a_worse_blend_does_not_replace_a_better_file(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    good = add_member(problem, problem.data.y, np.linspace(0, 1, problem.data.test.n_rows))
    running = RunningEnsemble(problem)
    running._update([good] * FEW_CANDIDATES)
    text = current_path(problem).read_text()
    bad = add_member(problem, 1.0 - problem.data.y)
    running._update([bad])
    assert current_path(problem).read_text() == text
    assert running.best is not None and running.best.members == (good.id,) * FEW_CANDIDATES


def test_a_blend_of_few_candidates_gives_way(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    running = RunningEnsemble(problem)
    running._update([add_member(problem, problem.data.y, np.linspace(0, 1, problem.data.test.n_rows))])
    later = add_member(problem, 1.0 - problem.data.y)
    running._update([later])
    assert running.best is not None and running.best.members == (later.id,)


def test_the_automatic_choice_has_the_last_word_where_there_is_time(
    make_problem: MakeProblem, add_member: AddMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    monkeypatch.setattr(ensemble, "FEW_CANDIDATES", 3)
    add_three(problem, add_member)
    methods: list[str] = []
    blend = ensemble.blend_members

    def record(*words: Any) -> Any:
        methods.append(words[3].method)
        return blend(*words)

    monkeypatch.setattr(ensemble, "blend_members", record)
    hurried = RunningEnsemble(problem, budget_seconds=0.01)
    hurried.start()
    hurried.finish()
    assert set(methods) == {"quick_greedy"}
    tried = threading.Event()
    calm = RunningEnsemble(problem)
    try_auto = calm._try_auto

    def try_it() -> None:
        try_auto()
        tried.set()

    monkeypatch.setattr(calm, "_try_auto", try_it)
    calm.start()
    assert tried.wait(60)
    assert calm.finish() is not None and calm.error is None
    assert methods[-1] == "auto" and methods.count("auto") == 2
    assert calm.reserve_seconds > 1.5 + 2 * calm._seconds


def test_without_members_there_is_no_ensemble(make_problem: MakeProblem) -> None:
    running = RunningEnsemble(make_problem())
    running.start()
    assert running.finish() is None
    assert RunningEnsemble(running._problem).finish() is None  # never started


def test_a_failing_blend_does_not_end_the_thread(
    make_problem: MakeProblem, add_member: AddMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    add_three(problem, add_member)
    failed = threading.Event()
    blend = ensemble.blend_members

    def fail_once(*words: Any) -> Any:
        if failed.is_set():
            return blend(*words)
        failed.set()
        raise MemoryError("too large")

    monkeypatch.setattr(ensemble, "blend_members", fail_once)
    running = RunningEnsemble(problem)
    running.start()
    assert failed.wait(30)
    assert running.finish() is not None
    assert isinstance(running.error, MemoryError)


def test_a_blend_is_a_member_of_the_next_level(make_problem: MakeProblem, add_member: AddMember) -> None:
    """Only where it is named; its out-of-fold prediction is the nested one."""
    problem = make_problem()
    one, two, _ = add_three(problem, add_member)
    store = MemberStore(problem.folder)
    first = keep_blend(problem, store, blend_members(problem, store, [one, two]))
    assert first.id not in [member.id for member in candidates(problem, store)]
    chosen = candidates(problem, store, [first.id, one.id])
    second = blend_members(problem, store, chosen, BlendRequest("top_mean"))
    assert set(second.result.weights) == {first.id, one.id}
    expected = (store.test(first.id) + store.test(one.id)) / 2
    np.testing.assert_allclose(second.test, expected, rtol=1e-6)


def test_a_stack_is_stored_and_predicts_the_test_rows(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    blended = blend_members(problem, store, candidates(problem, store), BlendRequest("linear_stack", insist=True))
    member = keep_blend(problem, store, blended)
    fitted = fitted_from_json(store.get(member.id).details["model"])
    again = fitted.predict({name: store.test(name) for name in fitted.weights})
    np.testing.assert_allclose(store.test(member.id), again, atol=1e-6)
    against = member.details["against_best"]
    assert against["member"] == candidates(problem, store)[0].id and against["n_resamples"] >= 100


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"method": "stack"}, "unknown blend method 'stack'"),
        ({"space": "cubes"}, "unknown blend space 'cubes'"),
        ({"method": "linear_stack"}, "linear_stack should not be used here: .* rows, fewer than 500"),
        ({"method": "convex", "bags": 3}, "bags are for greedy selection, not for convex"),
    ],
)
def test_what_should_not_be_done_is_refused(
    make_problem: MakeProblem, add_member: AddMember, request_: dict[str, Any], message: str
) -> None:
    problem = make_problem()
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    with pytest.raises(InputError, match=message):
        blend_members(problem, store, candidates(problem, store), BlendRequest(**request_))


def test_ranks_are_for_metrics_of_order(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem("regression", metric="rmse")
    add_three(problem, add_member)
    store = MemberStore(problem.folder)
    with pytest.raises(InputError, match="blend space 'rank' keeps the order only, but rmse looks at more"):
        blend_members(problem, store, candidates(problem, store), BlendRequest(space="rank"))


def test_members_are_compared_and_their_rules_judged(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem(metric="f1")
    one, _, three = add_three(problem, add_member)
    store = MemberStore(problem.folder)
    found = compare_members(problem, store, one.id, three.id)
    assert found.gain > 0 and found.probability > 0.5 and found.folds_won >= found.folds_lost
    rule = posthoc(problem, one.id)
    assert rule.in_sample >= rule.default and rule.rule["kind"] == "threshold"
    assert one.scores is not None and rule.nested == pytest.approx(one.scores.value)
    with pytest.raises(UnknownNameError, match="unknown member 'lin-0009'"):
        compare_members(problem, store, one.id, "lin-0009")


def test_the_bag_gain_is_told_where_the_folds_are_known(make_problem: MakeProblem, add_member: AddMember) -> None:
    problem = make_problem()
    one, two, three = add_three(problem, add_member)
    store = MemberStore(problem.folder)
    unknown = keep_blend(problem, store, blend_members(problem, store, [one, two], BlendRequest("top_mean")))
    assert unknown.details["bag_gain"] is None, "no member's fold models are known"
    rng = np.random.default_rng(0)
    for fold in range(problem.plan.n_folds):
        place = store.fold(one.id, 0, fold)
        place.path.mkdir(parents=True)
        test = store.test(one.id)
        place.save_done(None, (test * rng.uniform(0.8, 1.2, test.shape)).astype(np.float32), {})
    known = keep_blend(problem, store, blend_members(problem, store, [one, two], BlendRequest("top_mean")))
    found = known.details["bag_gain"]
    assert found["n_models"] == problem.plan.n_folds and found["without"] == [two.id]
    assert np.isfinite(found["gain"]) and found["sd"] >= 0
    place.save_done(None, np.zeros((3, test.shape[1]), np.float32), {})
    other_test = keep_blend(problem, store, blend_members(problem, store, [one, two], BlendRequest("top_mean")))
    assert other_test.details["bag_gain"] is None, "a fold predicts another test file"
