"""A family's study: what is asked next, what counts, and what a crash leaves."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from foldsmith.problem.errors import InputError
from foldsmith.search.journal import open_journal
from foldsmith.search.studies import MAX_ATTEMPTS, NOT_COUNTED, Ask, FamilyStudy, counts, studied_families
from foldsmith.spaces.space import Choice, Condition, Float, Int, Params, Space

SPACE = Space(
    "demo@1",
    {
        "kind": Choice(("a", "b")),
        "rate": Float(1e-3, 1.0, log=True),
        "depth": Int(1, 9, when=Condition("kind", ("b",))),
    },
)
DEFAULTS: list[Params] = [{"kind": "a", "rate": 0.1}, {"kind": "b", "rate": 0.5, "depth": 3}]
SMALL = Space("small@1", {"kind": Choice(("a", "b", "c"))})

Reopen = Callable[..., FamilyStudy]


@pytest.fixture
def reopen(journal: Path) -> Reopen:
    """Opens the study as a new driver does: a new storage over the same journal."""

    def open_again(
        space: Space = SPACE, defaults: list[Params] | None = None, *, seed: int = 0, model_seed: int = 0
    ) -> FamilyStudy:
        return FamilyStudy(
            open_journal(journal),
            "c0ffee",
            "demo",
            space,
            DEFAULTS if defaults is None else defaults,
            greater_is_better=False,
            seed=seed,
            model_seed=model_seed,
        )

    return open_again


def fresh(study: FamilyStudy) -> Ask:
    """The next ask, which there must be."""
    ask = study.ask()
    assert ask is not None
    return ask


def accept(study: FamilyStudy, ask: Ask) -> None:
    """Bind it to a member."""
    study.accept(ask, f"demo-{ask.trial.number:04d}", {"model_seed": 0})


def finish(study: FamilyStudy, ask: Ask) -> None:
    """Complete it with a value that depends on its point."""
    accept(study, ask)
    study.complete(ask.trial, float(str(ask.params.get("rate", 0))), {})


def asks(study: FamilyStudy, n: int) -> list[Params]:
    """Ask, accept and complete ``n`` times, one after the other."""
    points = []
    for _ in range(n):
        ask = fresh(study)
        finish(study, ask)
        points.append(ask.params)
    return points


def states(study: FamilyStudy) -> list[str]:
    """State or reason of each trial, in order."""
    return [trial.user_attrs.get("error", trial.state.name) for trial in study.trials()]


def test_a_resumed_study_goes_on_as_if_never_interrupted(reopen: Reopen, tmp_path: Path, journal: Path) -> None:
    whole = asks(reopen(), 12)
    journal.rename(tmp_path / "uninterrupted.journal")
    parts = asks(reopen(), 5) + asks(reopen(), 7)
    assert parts == whole
    assert whole[:2] == DEFAULTS
    assert len({str(point) for point in whole}) == 12


def test_another_seed_is_another_sequence(reopen: Reopen, tmp_path: Path, journal: Path) -> None:
    first = asks(reopen(), 6)
    journal.rename(tmp_path / "first.journal")
    second = asks(reopen(seed=1), 6)
    assert second[:2] == first[:2] == DEFAULTS
    assert all(a != b for a, b in zip(first[2:], second[2:], strict=True))


def test_defaults_come_first_and_once(reopen: Reopen) -> None:
    study = reopen()
    assert [fresh(study).params for _ in range(2)] == DEFAULTS
    assert fresh(study).params not in DEFAULTS
    again = reopen()
    assert fresh(again).params not in DEFAULTS
    assert sum("fixed_params" in trial.system_attrs for trial in again.trials()) == 2


def test_a_default_whose_ask_was_lost_is_asked_again(reopen: Reopen) -> None:
    fresh(reopen())  # and the driver dies before it is accepted
    study = reopen()
    assert study.adopt() == []
    assert [fresh(study).params for _ in range(2)] == DEFAULTS
    assert fresh(study).params not in DEFAULTS


@pytest.mark.parametrize("reason", sorted(NOT_COUNTED - {"duplicate"}))
def test_a_default_that_failed_through_no_fault_of_its_own_is_asked_again(reopen: Reopen, reason: str) -> None:
    study = reopen(defaults=DEFAULTS[:1])
    ask = fresh(study)
    accept(study, ask)
    study.fail(ask.trial, reason, "for a test")
    assert fresh(study).params == DEFAULTS[0]


def test_a_default_that_failed_by_itself_is_not(reopen: Reopen) -> None:
    study = reopen(defaults=DEFAULTS[:1])
    ask = fresh(study)
    accept(study, ask)
    study.fail(ask.trial, "error", "for a test")
    assert fresh(study).params != DEFAULTS[0]


def test_a_default_that_was_sampled_before_is_not_enqueued(reopen: Reopen) -> None:
    study = reopen(SMALL, [])
    ask = fresh(study)
    accept(study, ask)
    study.fail(ask.trial, "error", "for a test")
    later = reopen(SMALL, [ask.params])
    assert {str(fresh(later).params) for _ in range(2)} == {str({"kind": k}) for k in "abc"} - {str(ask.params)}
    assert not any("fixed_params" in trial.system_attrs for trial in later.trials())


def test_an_enqueued_duplicate_reuses_the_result(reopen: Reopen) -> None:
    study = reopen(SMALL, [{"kind": "a"}, {"kind": "b"}, {"kind": "c"}])
    asks(study, 3)
    study._study.enqueue_trial({"kind": "b"})
    repeated = fresh(study)
    assert repeated.same_as is not None and repeated.member is None
    study.reuse(repeated)
    trials = study.trials()
    assert trials[3].state == TrialState.COMPLETE
    assert trials[3].value == trials[repeated.same_as].value
    assert trials[3].user_attrs["duplicate_of"] == f"demo-{repeated.same_as:04d}"
    assert study.n_counted() == 4


def test_another_model_seed_is_no_duplicate(reopen: Reopen) -> None:
    asks(reopen(SMALL, [{"kind": "a"}, {"kind": "b"}, {"kind": "c"}]), 3)
    assert fresh(reopen(SMALL, [], model_seed=1)).same_as is None


def test_a_duplicate_of_a_running_trial_is_not_counted(reopen: Reopen) -> None:
    study = reopen(SMALL, [{"kind": "a"}])
    accept(study, fresh(study))
    points = [fresh(study).params["kind"] for _ in range(2)]
    assert sorted(map(str, points)) == ["b", "c"]
    assert study.n_counted() == 3
    assert set(states(study)) <= {"RUNNING", "duplicate"}
    assert study.ask() is None  # nothing is left of this space
    assert study.n_counted() == 3


def test_a_small_space_runs_dry(reopen: Reopen) -> None:
    study = reopen(SMALL, [{"kind": "a"}, {"kind": "b"}, {"kind": "c"}])
    asks(study, 3)
    assert study.ask() is None
    assert states(study)[3:] == ["duplicate"] * MAX_ATTEMPTS
    assert study.n_counted() == 3


def test_a_space_of_another_version_has_its_own_study(reopen: Reopen) -> None:
    asks(reopen(), 3)
    wider = Space("demo@2", {"kind": Choice(("a", "b", "c"))})
    study = reopen(wider, [{"kind": "c"}])
    assert fresh(study).params == {"kind": "c"}
    assert study.trials()[0].number == 0
    assert len(reopen().trials()) == 3
    assert len(reopen(wider, []).trials()) == 1


def test_a_trial_is_durable_before_its_folds_run_and_after_it_ended(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = reopen()
    ask = fresh(study)
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    accept(study, ask)
    assert len(synced) == 1
    study.report(ask.trial, 0, 0.5)
    assert len(synced) == 1
    study.complete(ask.trial, 0.5, {})
    assert len(synced) == 2


def test_a_lost_ask_is_closed_and_not_counted(reopen: Reopen) -> None:
    fresh(reopen())
    study = reopen()
    assert study.n_counted() == 1
    assert study.adopt() == []
    assert states(study)[0] == "lost_ask"
    assert study.n_counted() == 0
    assert study.trials()[0].user_attrs["error_message"].startswith("the driver died")


@pytest.mark.filterwarnings("error")  # Optuna keeps the first report of a fold, and warns
def test_running_trials_are_adopted_with_their_member(reopen: Reopen) -> None:
    first = reopen()
    finish(first, fresh(first))
    open_ask = fresh(first)
    accept(first, open_ask)
    first.report(open_ask.trial, 0, 0.5)

    study = reopen()
    (adopted,) = study.adopt()
    assert (adopted.member, adopted.params, adopted.same_as) == ("demo-0001", open_ask.params, None)
    study.report(adopted.trial, 0, 0.9)  # it was reported already
    study.report(adopted.trial, 1, 0.6)
    study.complete(adopted.trial, 0.55, {"sem": 0.1})
    trial = study.trials()[1]
    assert (trial.state, trial.value, trial.intermediate_values) == (TrialState.COMPLETE, 0.55, {0: 0.5, 1: 0.6})
    assert trial.user_attrs["sem"] == 0.1
    assert reopen().adopt() == []


def test_what_counts(reopen: Reopen) -> None:
    study = reopen(defaults=[])
    for reason in ("error", "crashed", "not_finite", *sorted(NOT_COUNTED)):
        study.fail(fresh(study).trial, reason, "for a test")
    finish(study, fresh(study))
    accept(study, fresh(study))
    waiting = optuna.load_study(study_name="c0ffee/demo", storage=study._study._storage)
    waiting.enqueue_trial({"kind": "a", "rate": 0.9})
    pruned = optuna.trial.create_trial(state=TrialState.PRUNED, value=0.5)
    assert counts(pruned)
    assert study.n_counted() == 3 + 1 + 1
    assert study.trials()[-1].state == TrialState.WAITING


def test_a_failure_keeps_its_reason(reopen: Reopen) -> None:
    study = reopen()
    study.fail(fresh(study).trial, "error", "ValueError: on purpose")
    trial = study.trials()[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs == {"error": "error", "error_message": "ValueError: on purpose"}


def test_direction_and_name(reopen: Reopen, journal: Path) -> None:
    reopen()
    FamilyStudy(open_journal(journal), "c0ffee", "mod:Cls", SPACE, [], greater_is_better=True, seed=0)
    FamilyStudy(open_journal(journal), "other", "demo", SPACE, [], greater_is_better=True, seed=0)
    directions = {
        study.study_name: study.direction.name for study in optuna.get_all_study_summaries(open_journal(journal))
    }
    assert directions == {"c0ffee/demo": "MINIMIZE", "c0ffee/mod:Cls": "MAXIMIZE", "other/demo": "MAXIMIZE"}
    assert studied_families(open_journal(journal), "c0ffee") == ["demo", "mod:Cls"]
    assert studied_families(open_journal(journal), "nobody") == []


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ({"kind": "c", "rate": 0.1}, "demo@1: kind='c' is outside"),
        ({"kind": "a", "rate": 2.0}, "demo@1: rate=2.0 is outside"),
        ({"kind": "b", "rate": 0.1}, "demo@1 needs the parameter 'depth'"),
    ],
)
def test_a_default_outside_its_space_is_refused(reopen: Reopen, default: Params, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reopen(defaults=[default])


MANY: list[Params] = [{"kind": "a", "rate": (number + 1) / 100} for number in range(30)]


def test_many_points_come_in_their_order_over_several_calls(reopen: Reopen) -> None:
    points = [point for n in (7, 11, 12) for point in asks(reopen(defaults=MANY), n)]
    assert points == MANY
    study = reopen(defaults=MANY)
    asks(study, 1)
    assert sum("fixed_params" in trial.system_attrs for trial in study.trials()) == 30


def test_an_ask_writes_no_more_points_than_it_takes(reopen: Reopen, journal: Path) -> None:
    """Otherwise a search that ends early leaves trials that wait, and a long list costs at every start."""
    study = reopen(defaults=MANY)
    asks(study, 2)  # the first one also makes the study
    sizes = []
    for _ in range(6):
        before = len(journal.read_bytes().splitlines())
        asks(study, 1)
        sizes.append(len(journal.read_bytes().splitlines()) - before)
    assert len(set(sizes)) == 1
    assert not any(trial.state == TrialState.WAITING for trial in study.trials())


def test_several_asks_in_flight_get_different_points(reopen: Reopen) -> None:
    study = reopen(defaults=MANY)
    assert [fresh(study).params for _ in range(4)] == MANY[:4]


def test_enqueued_points_are_the_samplers_start(reopen: Reopen, tmp_path: Path, journal: Path) -> None:
    """After ten of them it models what it saw: with values turned around it goes elsewhere, at random it would not."""
    near = []
    for sign in (1, -1):
        study = reopen(defaults=MANY[:20])
        for _ in range(20):
            ask = fresh(study)
            accept(study, ask)
            study.complete(ask.trial, sign * float(str(ask.params["rate"])), {})
        drawn = [fresh(study).params["rate"] for _ in range(12)]
        near.append(sorted(float(str(rate)) for rate in drawn)[6])
        journal.rename(tmp_path / f"{sign}.journal")
    assert near[0] < near[1] / 2
