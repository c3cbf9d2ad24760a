"""Several drivers on one study: they never ask too much, and a dead one's trials are taken over once."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

import foldsmith.search.leases
from foldsmith.search.leases import Alone, AskingError, SharedLeases, leases_of
from foldsmith.search.storage import open_storage
from foldsmith.search.studies import Ask, FamilyStudy, counts
from foldsmith.spaces.space import Choice, Float, Params, Space

SPACE = Space("demo@1", {"rate": Float(0.0, 1.0), "kind": Choice(("a", "b"))})
DEFAULTS: list[Params] = [{"rate": rate / 10, "kind": "a"} for rate in range(5)]

Connect = Callable[..., SharedLeases]
Open = Callable[..., FamilyStudy]

# A driver in a process of its own; it answers each line of its input.
DRIVER = f"""
import json, sys, time
from pathlib import Path
from foldsmith.search.leases import SharedLeases
from foldsmith.search.storage import open_storage
from foldsmith.search.studies import FamilyStudy
from foldsmith.spaces.space import Choice, Float, Space
SPACE, DEFAULTS = {SPACE!r}, {DEFAULTS!r}
storage = open_storage(Path("unused"), sys.argv[1])
leases = SharedLeases(storage.engine, "c0ffee", lease_seconds=float(sys.argv[3]), ask_seconds=30)
study = FamilyStudy(storage, "c0ffee", "demo", SPACE, DEFAULTS, greater_is_better=True, seed=0, leases=leases)

def ask(member):
    asked = study.ask()
    if member:
        study.accept(asked, member, {{}})
    return asked.trial.number

def ask_until(n):
    numbers = []
    while True:
        with leases.asking():
            asked = study.ask() if study.n_counted() < n else None
        if asked is None:
            return numbers
        study.accept(asked, f"{{sys.argv[2]}}-{{asked.trial.number}}", {{}})
        if asked.trial.number % 3:
            study.complete(asked.trial, asked.params["rate"], {{}})
        numbers.append(asked.trial.number)

def adopt_for(seconds):
    members, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        members += [asked.member for asked in study.adopt()]
        assert not leases.renew()
        time.sleep(0.02)
    return members

def hang_while_asking():
    with leases.asking():
        print("null", flush=True)
        time.sleep(600)

print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"""


class DriverProcess:
    """A driver that does what it is told, and can be killed."""

    def __init__(self, url: str, name: str, lease_seconds: float) -> None:
        command = [sys.executable, "-c", DRIVER, url, name, str(lease_seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def wait_until_ready(self) -> None:
        """It has opened the study."""
        assert self._line() == "ready\n"

    def start(self, call: str) -> None:
        """Begin a call."""
        assert self.process.stdin is not None
        self.process.stdin.write(call + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """What the call returned."""
        return json.loads(self._line())

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def drivers(postgres_database: str) -> Iterator[list[DriverProcess]]:
    """Three driver processes that are ready; the first one's leases are short."""
    seconds = {"first": 3, "second": 60, "third": 60}
    made = [DriverProcess(postgres_database, name, lease_seconds) for name, lease_seconds in seconds.items()]
    try:
        for driver in made:
            driver.wait_until_ready()
        yield made
    finally:
        for driver in made:
            driver.kill()


@pytest.fixture
def connect(postgres_database: str) -> Connect:
    """Makes the leases of one more driver, with a storage of its own."""

    def make(contract: str = "c0ffee", **options: Any) -> SharedLeases:
        storage = open_storage(Path("unused"), postgres_database)
        assert isinstance(storage, RDBStorage)
        return SharedLeases(storage.engine, contract, **options)

    return make


@pytest.fixture
def open_study(postgres_database: str, connect: Connect) -> Open:
    """Opens the study as one more driver, ``store`` being its folder."""

    def make(store: str | None = None, leases: SharedLeases | None = None) -> FamilyStudy:
        return FamilyStudy(
            open_storage(Path("unused"), postgres_database),
            "c0ffee",
            "demo",
            SPACE,
            DEFAULTS,
            greater_is_better=True,
            seed=0,
            leases=leases or connect(),
            store=store,
        )

    return make


@pytest.fixture
def expire(postgres_database: str) -> Callable[[], None]:
    """Lets all leases expire."""

    def run() -> None:
        with psycopg.connect(postgres_database) as connection:
            connection.execute("UPDATE foldsmith_lease SET until = clock_timestamp()")

    return run


def leases_in(url: str) -> dict[int, Any]:
    """``until`` by trial."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT trial_id, until FROM foldsmith_lease").fetchall())


def wait_a_minute(leases: SharedLeases) -> None:
    """As if a minute had passed since it saw trials without a lease."""
    seen = leases._seen_without_lease
    leases._seen_without_lease = {trial: moment - timedelta(seconds=60) for trial, moment in seen.items()}


def fresh(study: FamilyStudy, member: str | None = "demo-1") -> Ask:
    """An ask bound to ``member``."""
    ask = study.ask()
    assert ask is not None
    assert member is None or study.accept(ask, member, {})
    return ask


# --- one driver ------------------------------------------------------------------------------------------------


def test_alone_everything_is_granted_once() -> None:
    leases = Alone()
    leases.hold(1)
    assert leases.claim([1, 2, 3]) == {2, 3}
    assert leases.claim([1, 2, 3]) == set()
    leases.release(2)
    assert leases.claim([2]) == {2}
    assert leases.keeps(9)
    assert leases.renew() == frozenset()
    with leases.asking(), leases.asking():
        assert leases.epoch == 0
    leases.close()
    assert leases.claim([1]) == {1}


def test_a_journal_needs_no_leases_and_a_database_does(tmp_path: Path, postgres_database: str) -> None:
    assert isinstance(leases_of(open_storage(tmp_path / "study.journal"), "c0ffee"), Alone)
    assert isinstance(leases_of(open_storage(Path("unused"), postgres_database), "c0ffee"), SharedLeases)


# --- a lease ---------------------------------------------------------------------------------------------------


def test_a_lease_is_claimed_once_when_it_has_expired(connect: Connect, expire: Callable[[], None]) -> None:
    first, second, third = connect(), connect(), connect()
    first.hold(1)
    first.hold(2)
    assert second.claim([1, 2]) == set()
    assert first.claim([1, 2]) == set()
    expire()
    assert first.keeps(2)  # nobody took it in time
    assert second.claim([1, 2]) == {1}
    assert third.claim([1, 2]) == set()
    assert second.keeps(1)


def test_a_lost_lease_is_reported_once(connect: Connect, expire: Callable[[], None]) -> None:
    first, second = connect(lease_seconds=0.001), connect()
    for trial_id in (1, 2, 3):
        first.hold(trial_id)
    expire()
    assert second.claim([2, 3]) == {2, 3}
    assert not first.keeps(3)
    assert first.renew() == {2}
    assert first.renew() == frozenset()
    first.release(2)  # must not end the lease that is now another driver's
    assert connect().claim([2]) == set()
    assert second.keeps(2)


def test_a_released_or_abandoned_lease(connect: Connect, postgres_database: str) -> None:
    first, second = connect(), connect()
    first.hold(1)
    first.hold(2)
    first.release(1)
    assert set(leases_in(postgres_database)) == {2}
    first.close()
    assert second.claim([2]) == {2}
    assert not first.keeps(2)


def test_renewing_writes_every_quarter_of_a_lease(
    connect: Connect, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(foldsmith.search.leases, "time", SimpleNamespace(monotonic=lambda: clock.now))
    leases = connect(lease_seconds=60)
    leases.hold(1)
    leases.hold(2)
    written = [leases_in(postgres_database)]
    for now in (100.0, 114.9, 115.1, 115.2, 130.0, 130.2):
        clock.now = now
        assert leases.renew() == frozenset()
        written.append(leases_in(postgres_database))
    is_renewed = [
        all(after[trial] > before[trial] for trial in (1, 2)) for before, after in itertools.pairwise(written)
    ]
    assert is_renewed == [False, False, True, False, False, True]
    assert len({str(leases) for leases in written}) == 3


def test_a_trial_without_a_lease_is_claimed_after_the_length_of_one(connect: Connect) -> None:
    first, second = connect(lease_seconds=60), connect(lease_seconds=60)
    assert first.claim([7]) == second.claim([7]) == set()
    assert first.claim([8]) == set()  # of another family's study
    assert first.claim([7]) == set()
    wait_a_minute(first)
    wait_a_minute(second)
    assert first.claim([7]) | second.claim([7]) == {7}
    assert first.claim([7]) == second.claim([7]) == set()


def test_a_trial_that_gets_its_lease_late_is_not_claimed(connect: Connect) -> None:
    first, second = connect(lease_seconds=60), connect()
    assert first.claim([7]) == set()
    second.hold(7)
    wait_a_minute(first)
    assert first.claim([7]) == set()
    assert second.keeps(7)


def test_a_trial_made_by_a_driver_that_was_too_slow_to_hold_it(connect: Connect) -> None:
    first, second = connect(lease_seconds=60), connect()
    assert first.claim([7]) == set()
    wait_a_minute(first)
    assert first.claim([7]) == {7}
    second.hold(7)
    assert not second.keeps(7)


def test_renewing_survives_a_database_that_is_away(
    connect: Connect, postgres_url: str, postgres_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    leases = connect(lease_seconds=0.001)
    leases.hold(1)
    name = postgres_database.rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        assert leases.renew() == frozenset()
        assert "the leases of 1 trials could not be renewed" in caplog.text
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert leases.renew() == frozenset()
    assert leases.keeps(1)


def test_leases_of_trials_that_ended_long_ago_are_forgotten(connect: Connect, postgres_database: str) -> None:
    first = connect()
    first.hold(1)
    first.hold(2)
    with psycopg.connect(postgres_database) as connection:
        connection.execute("UPDATE foldsmith_lease SET until = until - interval '8 days' WHERE trial_id = 1")
    connect()
    assert set(leases_in(postgres_database)) == {2}


# --- asking ----------------------------------------------------------------------------------------------------


def test_drivers_of_one_contract_ask_one_after_the_other(connect: Connect) -> None:
    first, second, other = connect(), connect(), connect("another")
    order = []

    def ask_too() -> None:
        with second.asking():
            order.append("second")

    with first.asking():
        waiting = threading.Thread(target=ask_too)
        waiting.start()
        with first.asking(), other.asking():  # nested, and of another contract
            waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert (first.epoch, second.epoch) == (1, 1)


def test_an_error_while_asking_frees_the_lock(connect: Connect) -> None:
    first, second = connect(), connect(ask_seconds=60)
    with pytest.raises(ZeroDivisionError), first.asking():
        1 / 0  # noqa: B018
    with second.asking():
        pass
    with first.asking():
        pass


def test_a_driver_that_hangs_while_asking(connect: Connect) -> None:
    first, second = connect(ask_seconds=30), connect(ask_seconds=0.1)
    message = r"another driver is asking for a trial and does not end \(.*lock timeout.*\); start the search again"
    with first.asking(), pytest.raises(AskingError, match=message), second.asking():
        pytest.fail("two drivers asked at once")


def test_a_driver_that_stood_still_while_asking(connect: Connect) -> None:
    first, second = connect(ask_seconds=0.1), connect(ask_seconds=30)
    message = r"the database took back the lock .* stood still for too long"
    with pytest.raises(AskingError, match=message), first.asking(), second.asking():
        pass  # the second one waits until the database ends the first one's transaction
    with first.asking():
        pass


# --- studies ---------------------------------------------------------------------------------------------------


def test_what_others_did_shows_while_asking(open_study: Open, connect: Connect) -> None:
    leases = connect()
    first, second = open_study(leases=leases), open_study()
    assert first.n_counted() == 0
    fresh(second)
    assert first.n_counted() == 0  # what was read is not two seconds old
    with leases.asking():
        assert first.n_counted() == 1
    assert fresh(first).params == DEFAULTS[1]


def test_a_trial_that_was_taken_over_is_told_by_its_new_driver_only(
    open_study: Open, expire: Callable[[], None]
) -> None:
    first, second = open_study(), open_study()
    asks = [fresh(first, f"demo-{number}") for number in range(4)]
    assert second.adopt() == []
    expire()
    adopted = second.adopt()
    assert [ask.member for ask in adopted] == [f"demo-{number}" for number in range(4)]
    assert [ask.params for ask in adopted] == [ask.params for ask in asks]
    assert not first.complete(asks[0].trial, 0.5, {"sem": 0.1})
    assert not first.fail(asks[1].trial, "error", "for a test")
    assert not first.prune(asks[2].trial, "for a test")
    assert not first.accept(asks[3], "demo-9", {})
    assert [trial.state for trial in second.trials()[:4]] == [TrialState.RUNNING] * 4
    assert not {"sem", "error", "pruned"} & {name for trial in second.trials() for name in trial.user_attrs}
    assert second.complete(adopted[0].trial, 0.25, {})
    first.report(asks[0].trial, 0, 0.5)  # it has ended
    assert second.frozen(adopted[0].trial).value == 0.25


def test_a_trial_that_somebody_else_ended_is_not_told_twice(open_study: Open) -> None:
    study = open_study()
    told, dropped = fresh(study), fresh(study)
    study._study._storage.set_trial_state_values(told.trial_id, TrialState.COMPLETE, [0.5])
    study._study._storage.set_trial_state_values(dropped.trial_id, TrialState.FAIL)
    assert not study.complete(told.trial, 0.9, {})
    assert not study.accept(dropped, "demo-2", {})
    assert study.frozen(told.trial).value == 0.5


def test_a_trial_of_another_folder_needs_a_new_member(open_study: Open, expire: Callable[[], None]) -> None:
    first = open_study(store="here")
    fresh(first, "demo-1")
    expire()
    (same,) = open_study(store="here").adopt()
    assert (same.member, same.store) == ("demo-1", None)
    expire()
    there = open_study(store="there")
    (other,) = there.adopt()
    assert (other.member, other.store, other.params) == (None, "here", same.params)
    assert there.accept(other, "demo-7", {"model_seed": 0})
    attributes = there.frozen(other.trial).user_attrs
    assert (attributes["member"], attributes["store"]) == ("demo-7", "there")


def test_a_promoted_trial_is_held_and_belongs_to_its_folder(open_study: Open, postgres_database: str) -> None:
    first, second = open_study(store="here"), open_study(store="there")
    ask = fresh(first)
    assert first.prune(ask.trial, "for a test")
    assert leases_in(postgres_database) == {}
    promoted = second.promote(second.trials()[0])
    assert (promoted.member, promoted.store) == (None, "here")
    assert set(leases_in(postgres_database)) == {promoted.trial_id}
    assert first.promote(first.trials()[0]).member == "demo-1"


def test_what_reports_mean_is_settled_before_anybody_asks(open_study: Open) -> None:
    first, second = open_study(), open_study()
    assert second.report_as(["running mean"])
    assert str(first.reporting) == "fold score"
    fresh(first)
    assert first.reporting == "running mean"
    assert not second.report_as(["fold score"])  # nothing was reported yet, but the first driver may any time


# --- processes -------------------------------------------------------------------------------------------------


def test_drivers_that_ask_at_once_make_exactly_the_trials_that_were_wanted(
    drivers: list[DriverProcess], open_study: Open
) -> None:
    for driver in drivers[:2]:
        driver.start("ask_until(40)")
    numbers = [driver.answer() for driver in drivers[:2]]
    assert all(numbers)  # both had a part in it
    trials = open_study().trials()
    assert sum(counts(trial) for trial in trials) == 40
    assert sorted(numbers[0] + numbers[1]) == [trial.number for trial in trials if counts(trial)]
    points = [trial.params for trial in trials if counts(trial)]
    assert len({str(point) for point in points}) == 40
    assert points[:5] == DEFAULTS
    assert sum("fixed_params" in trial.system_attrs for trial in trials) == 5
    assert all("member" in trial.user_attrs for trial in trials if counts(trial))


def test_survivors_take_over_the_trials_of_a_killed_driver_once(
    drivers: list[DriverProcess], open_study: Open, postgres_database: str
) -> None:
    victim, *survivors = drivers
    for member in ("kept-1", "kept-2", "kept-3", None):
        victim.start(f"ask({member!r})")
        victim.answer()
    for survivor in survivors:
        survivor.start("adopt_for(0.2)")
    assert [survivor.answer() for survivor in survivors] == [[], []]
    victim.kill()
    for survivor in survivors:
        survivor.start("adopt_for(4)")
    adopted = [survivor.answer() for survivor in survivors]
    assert sorted(adopted[0] + adopted[1]) == ["kept-1", "kept-2", "kept-3"]
    trials = open_study().trials()
    assert [trial.user_attrs.get("error", trial.state.name) for trial in trials[:4]] == ["RUNNING"] * 3 + ["lost_ask"]
    assert set(leases_in(postgres_database)) == {trial._trial_id for trial in trials[:3]}


def test_a_driver_killed_while_asking_keeps_nobody_waiting(drivers: list[DriverProcess]) -> None:
    drivers[0].start("hang_while_asking()")
    drivers[0].answer()
    drivers[1].start("ask('kept-1')")
    drivers[0].kill()
    assert drivers[1].answer() == 0
