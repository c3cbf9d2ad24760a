"""The benchmarks' own parts do what their numbers rest on."""

import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.contract import open_problem
from foldsmith.results.members import MemberStore
from foldsmith.search.driver import Driver
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of ``benchmarks/``, which are scripts beside each other."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


def test_simulated_slots_leave_what_real_ones_leave(load: Any, tmp_path: Path) -> None:
    noop, simulated = load("_noop"), load("_simulated")
    root = noop.make_noop(tmp_path / "noop")
    problem = open_problem(root)
    executor = simulated.SimulatedExecutor(root, 4)
    assert Driver(problem, SearchOptions((noop.FAMILY,), 3), executor, Clock()).run().ended == "done"
    members = MemberStore(problem.folder)
    complete = members.all(states=["complete"])
    assert len(complete) == 3
    for member in complete:
        states = [members.fold(member.id, 0, fold).state(verify=True) for fold in range(noop.N_FOLDS)]
        assert states == ["done"] * noop.N_FOLDS
        assert np.isfinite(members.oof(member.id)).all()


def test_busy_share_is_slot_seconds_over_all(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = load("_simulated")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    book = simulated.BusyBook(2, low=4.0, high=4.0, settle_seconds=1.0, window_seconds=4.0)
    now = 101.0
    book.draw(1)
    now = 103.0
    book.draw(2)  # all are busy: the window is 104 to 108
    assert book.fill_seconds == 3.0
    assert book.busy_share() == pytest.approx((1 + 3) / 8)
    now = 108.0
    book.check_time()
    now = 108.5
    with pytest.raises(simulated.EnoughError):
        book.check_time()


def test_a_driver_that_never_fills_the_slots_is_measured_too(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = load("_simulated")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    book = simulated.BusyBook(2, low=1.0, high=1.0, settle_seconds=0.0, window_seconds=1.0)
    now = 101.0 + simulated.FILL_SECONDS
    book.check_time()
    now += 2
    with pytest.raises(simulated.EnoughError):
        book.check_time()
    assert book.busy_share() == 0.0


def test_sparse_arrays_read_as_zeros(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "oof.npy"
    load("engine").sparse_array(path, 100_000)
    array = np.load(path, mmap_mode="r")
    assert (array.shape, array.dtype, float(array.sum())) == ((100_000, 1), np.dtype(np.float32), 0.0)
    assert path.stat().st_blocks * 512 < 100_000


def test_marks_measure_between_two_moments(load: Any) -> None:
    ended: list[bool] = []
    marks: Any = load("_meter").Marks(2, lambda: marks.n_before == 3, lambda: ended.append(True))
    for _ in range(4):
        marks.trial_ended()
    assert not ended
    marks.trial_ended()
    marks.trial_ended()  # a trial that was still on its way
    assert ended == [True]
    assert (marks.n_before, marks.wall_ms_per_trial > 0) == (3, True)


def test_torn_starts_are_no_starts(load: Any, tmp_path: Path) -> None:
    (tmp_path / ".foldsmith").mkdir()
    (tmp_path / ".foldsmith" / "starts.log").write_text('[1, "knn", {"k": 3}, 0]\n[2, "kn')
    kills = load("kills")
    assert kills._starts(tmp_path) == [[1, "knn", {"k": 3}, 0]]
    assert kills._what([1, "knn", {"k": 3}, 0]) == kills._what([2, "knn", {"k": 3}, 0])


def measured_of(portfolio: Any, errors: list[list[float]]) -> Any:
    """Two defaults and two points of linear, with made-up errors on sets of toy rows."""
    from foldsmith.spaces.toy import make_problem

    configs = [
        portfolio.Config("linear", None, 0),
        portfolio.Config("linear", None, 1),
        portfolio.Config("linear", {"C": 5.0, "numeric": "quantile"}),
        portfolio.Config("knn", None, 0),
    ]
    facts = [make_problem("binary").facts] * len(errors)
    return portfolio.Measured(configs, facts, np.array(errors), np.ones((len(errors), len(configs))))


def test_a_portfolio_is_derived_from_what_was_measured(load: Any) -> None:
    portfolio = load("portfolio")
    measured = measured_of(portfolio, [[0.4, 0.3, 0.1, 0.2], [0.4, 0.3, 0.1, 0.2], [0.2, 0.3, 0.4, 0.1]])
    assert portfolio.pick(measured)[:2] == [3, 2]
    derived = portfolio.derive(measured, ["linear", "knn"])
    assert derived.first[:2] == ("knn", "linear")
    shipped = portfolio.hand_made()
    first, *others = derived.points["linear"]
    assert (dict(first.params), first.rows) == ({"C": 5.0, "numeric": "quantile"}, "small")
    assert tuple(others) == shipped.points["linear"]
    assert all(derived.points[name] == shipped.points[name] for name in ("knn", "xgboost"))
    assert set(derived.weights) == set(shipped.weights)
    points_only = portfolio.derive(measured, ["linear", "knn"], order=False)
    assert (points_only.first, points_only.weights) == (shipped.first, shipped.weights)
    assert points_only.points == derived.points


def test_the_check_knows_the_best_list_from_a_random_one(load: Any) -> None:
    portfolio = load("portfolio")
    measured = measured_of(portfolio, [[0.3, 0.4, 0.1, 0.2]] * 3)  # what two sets say holds on the third
    records = {record["name"]: record for record in portfolio.check(measured, ["linear", "knn"])}
    assert records["portfolio_greedy"]["gap_after_1"] == 0
    assert 0.4 < records["portfolio_random"]["gap_after_1"] < 0.8  # of gaps 0, 2/3, 1 and 1, one at random
    assert records["portfolio_random"]["gap_after_4"] == 0
    assert records["portfolio_by_hand"]["n_sets"] == 3


def test_points_are_cross_validated_as_a_search_does(load: Any, tmp_path: Path) -> None:
    from foldsmith.spaces.registry import get_family

    bench = load("_measured")
    which = bench.open_set("iris", tmp_path / "iris", n_rows=90, n_folds=3)
    assert which.problem.data.train.n_rows == 90 and which.problem.plan.n_folds == 3
    family = get_family("linear")
    good, seconds = bench.Bench(which, fold_seconds=60).error(family, {"C": 1.0, "numeric": "standard"})
    poor, _ = bench.Bench(which, fold_seconds=60).error(family, {"C": 1e-4, "numeric": "standard"})
    failed, _ = bench.Bench(which, fold_seconds=60).error(family, {"C": 1.0})
    assert 0 < good < 0.3 < poor < 1.1 and failed == float("inf") and seconds > 0


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost", "linear"])
def test_families_are_their_libraries_called_by_hand(load: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    families = load("families")
    if hasattr(module := getattr(families, name, None), "MAX_ROUNDS"):
        monkeypatch.setattr(module, "MAX_ROUNDS", 20)
    for table in families.GOALS:
        record = families.compare(name, table, 300, 2, 1)
        assert record["score_ours"] == pytest.approx(record["score_reference"], rel=1e-3)
        assert record["ratio_seconds"] > 0
        if name != "linear":
            assert record["largest_difference"] < 1e-5


def test_big_data_sets_up_a_table_of_every_kind_and_tells_the_seconds(load: Any, tmp_path: Path) -> None:
    big = load("big_data")
    big.make_files(tmp_path, big.Shape(200, 4, 3, 1))
    first = (tmp_path / "train.csv").read_bytes()
    big.make_files(tmp_path, big.Shape(200, 4, 3, 1))
    assert (tmp_path / "train.csv").read_bytes() == first
    record = big.setup(tmp_path)
    assert {"read_seconds", "infer_seconds", "type_seconds", "save_seconds", "all_seconds"} <= record.keys()
    assert record["all_seconds"] >= record["read_seconds"] > 0
    schema = open_problem(tmp_path / "comp").data.train.schema
    assert [len(schema.numeric), len(schema.categorical), len(schema.datetime)] == [4, 3, 1]
    assert big.read_members(tmp_path / "comp") == {}


def test_big_data_sees_a_processs_memory_and_ends_what_takes_too_much(load: Any) -> None:
    big = load("big_data")
    hoarder = "import time; kept = bytearray(300_000_000); kept[::4096] = b'1' * len(kept[::4096]); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", hoarder])
    peak = big.watch(process, 0.25)
    process.wait()
    assert peak.is_over and 0.25 < peak.pss < 0.6 and peak.rss >= peak.pss


def test_reading_is_measured_on_files_that_are_right(load: Any, tmp_path: Path) -> None:
    reading = load("reading")
    reading.make_file(tmp_path / "table.csv", "commas", 1000)
    record = reading.measure(tmp_path / "table.csv", "commas", 1)
    assert record["name"] == "reading, commas" and record["pandas_seconds"] > 0
    assert load("mutations").one_mutation(0, "drop_field", "test") == "refused"
