"""Fold plans: the properties every plan keeps, files, imported folds, messages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldsmith.problem import folds
from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.problem.fold_schemes import propose_n_folds, repeat_seed
from foldsmith.problem.fold_strata import joint_strata, regression_bins
from foldsmith.problem.folds import FoldBasis, FoldPlan, FoldRequest, Scheme, describe, read_assignment
from foldsmith.problem.goal import Task

DAY = 86_400_000_000  # microseconds


def make_folds(request: FoldRequest, y: Any, task: Task, **columns: Any) -> FoldPlan:
    return folds.make_folds(request, FoldBasis(y, task, **columns))


def classes_of(n_rows: int, n_classes: int = 2) -> Any:
    return np.arange(n_rows, dtype=np.int32) % n_classes


def assert_partition(plan: FoldPlan) -> None:
    """Each row is validated once per repeat, and trains in all other folds."""
    for repeat in range(plan.n_repeats):
        validated = np.zeros(plan.n_rows, dtype=int)
        for fold in range(plan.n_folds):
            train, valid = plan.split(repeat, fold)
            assert train.dtype == valid.dtype == np.int64
            assert len(valid) > 0
            assert np.array_equal(np.sort(np.concatenate([train, valid])), np.arange(plan.n_rows))
            assert (np.diff(train) > 0).all()
            assert (np.diff(valid) > 0).all()
            validated[valid] += 1
        assert (validated == 1).all()
        assert plan.coverage(repeat).all()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["plain", "stratified"]),
    st.sampled_from(["multiclass", "regression"]),
    st.integers(2, 5),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.integers(15, 60),
)
def test_shuffled_plans(scheme: Scheme, task: Task, n_folds: int, n_repeats: int, seed: int, n_rows: int) -> None:
    y = classes_of(n_rows, 3) if task == "multiclass" else np.random.default_rng(seed).normal(size=n_rows)
    request = FoldRequest(scheme, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
    plan = make_folds(request, y, task)
    assert_partition(plan)
    sizes = [np.bincount(row, minlength=n_folds) for row in plan.valid_fold]
    assert np.max(sizes) - np.min(sizes) <= (1 if scheme == "plain" else 3)
    again = make_folds(request, y, task)
    assert again == plan
    assert again.hash == plan.hash
    assert np.array_equal(again.valid_fold, plan.valid_fold)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["group", "stratified_group"]), st.sampled_from(["binary", "regression"]), st.integers(0, 999))
def test_group_plans(scheme: Scheme, task: Task, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.array([f"g{number}" for number in rng.integers(0, 12, 90)], dtype=object)
    y = rng.permutation(classes_of(90)) if task == "binary" else rng.normal(size=90)
    plan = make_folds(FoldRequest(scheme, n_folds=3, n_repeats=2, seed=seed, group="g"), y, task, groups=groups)
    assert_partition(plan)
    for repeat in range(2):
        for fold in range(3):
            train, valid = plan.split(repeat, fold)
            assert not set(groups[train]) & set(groups[valid])
    assert plan.details["group"] == "g"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=30, max_size=80).filter(lambda days: len(set(days)) >= 8),
    st.integers(2, 5),
    st.sampled_from([None, "1d", "12h"]),
)
def test_time_plans(days: list[int], n_folds: int, gap: str | None) -> None:
    days[0] = -10  # so that a gap of a day leaves something to train on
    times = (np.array(days) * DAY).view("datetime64[us]")
    request = FoldRequest("time", n_folds=n_folds, gap=gap, time="when")
    plan = make_folds(request, classes_of(len(days)), "binary", times=times)
    width = np.timedelta64({None: 0, "1d": DAY, "12h": DAY // 2}[gap], "us")
    before = times.min()
    for fold in range(n_folds):
        train, valid = plan.split(0, fold)
        assert len(train) > 0
        assert len(valid) > 0
        assert times[train].max() + width < times[valid].min()
        assert times[valid].min() > before
        before = times[valid].max()
        everything_earlier = np.flatnonzero(times + width < times[valid].min())
        assert np.array_equal(train, everything_earlier)
    never = np.flatnonzero(~plan.coverage(0))
    assert np.array_equal(never, np.flatnonzero(plan.valid_fold[0] == -1))
    assert times[never].max() < times[plan.coverage(0)].min()


def test_time_blocks_are_equal() -> None:
    times = np.random.default_rng(0).permutation(60)
    plan = make_folds(FoldRequest("time", n_folds=5), classes_of(60), "binary", times=times)
    assert np.bincount(plan.valid_fold[0] + 1).tolist() == [10] * 6
    assert [len(plan.split(0, fold)[0]) for fold in range(5)] == [10, 20, 30, 40, 50]
    shuffled = make_folds(FoldRequest("time", n_folds=5, seed=7), classes_of(60), "binary", times=times)
    assert shuffled == plan


@pytest.mark.parametrize("gap", [3, "3", " 3 "])
def test_a_gap_in_rows(gap: str | int) -> None:
    request = FoldRequest("time", n_folds=2, gap=gap)
    plan = make_folds(request, classes_of(30), "binary", times=np.arange(30.0))
    assert plan.split(0, 0)[0].tolist() == list(range(7))
    assert plan.split(0, 0)[1].tolist() == list(range(10, 20))


@pytest.mark.parametrize(
    "times",
    [
        [f"2011-01-{day:02d} 00:00:00" for day in range(1, 31)],
        [f"{day:02d}.01.2011" for day in range(1, 31)],
        pd.date_range("2011-01-01", periods=30),
        pd.date_range("2011-01-01", periods=30, tz="UTC"),
    ],
)
def test_times_of_any_form(times: Any) -> None:
    plan = make_folds(FoldRequest("time", n_folds=2, gap="2d"), classes_of(30), "binary", times=times)
    assert plan.split(0, 0)[0].tolist() == list(range(8))
    assert plan.details == {"gap": "2d"}


def test_numbers_written_as_strings_order_as_numbers() -> None:
    times = np.array([str(number) for number in range(30)], dtype=object)
    plan = make_folds(FoldRequest("time", n_folds=2), classes_of(30), "binary", times=times)
    assert plan.split(0, 1)[1].tolist() == list(range(20, 30))


def test_stratified_folds_have_the_class_shares() -> None:
    y = np.repeat([0, 1, 2], [52, 100, 8])
    plan = make_folds(FoldRequest(n_folds=4), y, "multiclass")
    for fold in range(4):
        assert np.bincount(y[plan.split(0, fold)[1]]).tolist() == [13, 25, 2]


def test_the_first_repeat_is_scikit_learns() -> None:
    from sklearn.model_selection import StratifiedKFold

    y = classes_of(40)
    plan = make_folds(FoldRequest(n_repeats=2, seed=7), y, "binary")
    reference = StratifiedKFold(5, shuffle=True, random_state=7).split(np.zeros((40, 1)), y)
    for fold, (train, valid) in enumerate(reference):
        assert np.array_equal(plan.split(0, fold)[0], train)
        assert np.array_equal(plan.split(0, fold)[1], valid)
    assert not np.array_equal(plan.valid_fold[0], plan.valid_fold[1])


def test_seeds_share_no_repeat() -> None:
    seeds = {repeat_seed(seed, repeat) for seed in range(20) for repeat in range(20)}
    assert len(seeds) == 400


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=4, max_size=300), st.integers(2, 4))
def test_regression_bins(values: list[float], n_folds: int) -> None:
    bins, n_bins = regression_bins(np.array(values), n_folds)
    assert n_bins <= 1 + np.log2(len(values))
    assert np.bincount(bins, minlength=n_bins).min() >= n_folds
    by_bin = [np.array(values)[bins == number] for number in range(n_bins)]
    assert all(low.max() <= high.min() for low, high in zip(by_bin, by_bin[1:], strict=False))


def test_bins_are_in_the_details() -> None:
    plan = make_folds(FoldRequest(), np.arange(100.0), "regression")
    assert plan.details == {"bins": 7}


def test_plans_cannot_be_changed() -> None:
    plan = make_folds(FoldRequest(), classes_of(40), "binary")
    with pytest.raises(ValueError, match="read-only"):
        plan.valid_fold[0, 0] = 3


def test_holdout_rows_are_in_neither() -> None:
    plan = make_folds(FoldRequest(), classes_of(40), "binary")
    holdout = np.arange(40) < 7
    held = replace(plan, holdout=holdout)
    assert held != plan
    for fold in range(5):
        train, valid = held.split(0, fold)
        assert min(train[0], valid[0]) == 7 or min(train[0], valid[0]) > 7
        assert len(train) + len(valid) == 33
    assert np.array_equal(held.coverage(0), ~holdout)


def test_the_hash_is_of_the_splits_only() -> None:
    plan = make_folds(FoldRequest(), classes_of(40), "binary")
    assert len(plan.hash) == 12
    assert replace(plan, seed=1, details={"x": 1}, scheme="plain") == plan
    assert len({plan, replace(plan, seed=1)}) == 1
    assert make_folds(FoldRequest(seed=43), classes_of(40), "binary") != plan
    assert plan != plan.hash


def plans() -> dict[str, FoldPlan]:
    y = classes_of(40)
    shuffled = make_folds(FoldRequest(n_repeats=3), y, "binary")
    return {
        "shuffled": shuffled,
        "time": make_folds(FoldRequest("time", gap=2, time="größe"), y, "binary", times=np.arange(40)),
        "holdout": replace(shuffled, holdout=np.arange(40) < 4),
    }


@pytest.mark.parametrize("name", ["shuffled", "time", "holdout"])
def test_save_and_load(tmp_path: Path, name: str) -> None:
    plan = plans()[name]
    path = tmp_path / "a.parquet"
    plan.save(path)
    loaded = FoldPlan.load(path)
    assert loaded == plan
    for field in ("scheme", "n_folds", "n_repeats", "seed", "details"):
        assert getattr(loaded, field) == getattr(plan, field)
    for repeat in range(plan.n_repeats):
        for fold in range(plan.n_folds):
            for ours, theirs in zip(plan.split(repeat, fold), loaded.split(repeat, fold), strict=True):
                assert np.array_equal(ours, theirs)
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize(("column", "name"), [("valid_0", "shuffled"), ("train_0", "time"), ("holdout", "holdout")])
def test_a_changed_plan_is_refused(tmp_path: Path, column: str, name: str) -> None:
    path = tmp_path / "a.parquet"
    plans()[name].save(path)
    table = pq.read_table(path)
    values = table.column(column).to_numpy().copy()
    values[20] = not values[20] if values.dtype == bool else (values[20] + 1) % 5
    index = table.schema.get_field_index(column)
    pq.write_table(table.set_column(index, table.schema.field(column), [values]), path)
    with pytest.raises(ContractError, match=r"a.parquet was changed: its folds hash to \w{12}, frozen was \w{12}"):
        FoldPlan.load(path)


def test_what_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fold plan at .*; make one with 'foldsmith folds make'"):
        FoldPlan.load(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"junk")
    with pytest.raises(ContractError, match="is no fold plan or is damaged"):
        FoldPlan.load(tmp_path / "a.parquet")
    pd.DataFrame({"valid_0": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ContractError, match="is no fold plan or is damaged"):
        FoldPlan.load(tmp_path / "a.parquet")


def test_a_newer_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("foldsmith.problem.folds.FORMAT", 2)
        plans()["shuffled"].save(tmp_path / "a.parquet")
    with pytest.raises(ContractError, match="has format 2, this foldsmith reads up to 1; upgrade foldsmith"):
        FoldPlan.load(tmp_path / "a.parquet")


def options(scheme: Any = "stratified", **fields: Any) -> dict[str, Any]:
    """A request and data in one dict, with what is needed unless given."""
    data: dict[str, Any] = {
        name: fields.pop(name) for name in ("y", "groups", "times", "assignment", "classes") if name in fields
    }
    return {"request": FoldRequest(scheme, **fields), "y": classes_of(40), "task": "binary", **data}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (options(n_folds=1), "n_folds=1 but a fold needs rows to train on; give at least 2"),
        (options("plain", n_folds=41), "n_folds=41 but train has 40 rows; lower n_folds"),
        (options(n_repeats=0), "n_repeats=0; give at least 1"),
        (options(seed=-1), "seed=-1 is out of range"),
        (
            options(y=np.repeat([0, 1], [37, 3]), classes=("common", "rare")),
            "n_folds=5 but class 'rare' has 3 rows; lower n_folds to 3 or merge the class",
        ),
        (options(y=np.repeat([0, 1], [39, 1])), "n_folds=5 but class '1' has 1 row; merge the class or drop its row"),
        (options("group"), "scheme='group' needs a column whose rows stay together"),
        (
            options("group", group="g", groups=np.arange(40) % 3),
            "n_folds=5 but group column 'g' has 3 groups; lower n_folds to 3",
        ),
        (options("group", group="g", groups=np.zeros(40)), "group column 'g' has the same value in every row"),
        (
            options("stratified_group", group="g", groups=np.array([None, *range(39)], dtype=object)),
            "group column 'g' has 1 missing values, the first in row 1",
        ),
        (options("time"), "scheme='time' needs a column that orders the rows"),
        (options("time", n_repeats=2, times=np.arange(40)), "n_repeats=2 but time has one order only"),
        (
            options("time", time="t", times=np.array([*range(39), np.nan])),
            "time column 't' has 1 missing or unreadable values, the first in row 40",
        ),
        (
            options("time", time="t", times=[None, *pd.date_range("2011", periods=39)]),
            "time column 't' has 1 missing or unreadable values, the first in row 1",
        ),
        (
            options("time", time="t", times=["soon"] * 40),
            "time column 't' holds neither dates in a known format nor numbers, e.g. 'soon'",
        ),
        (options("time", times=np.arange(40) % 4), "time column has 4 distinct values .* lower n_folds to 3"),
        (options("time", times=np.zeros(40)), "the time column has 1 distinct values; choose another column"),
        (options("time", gap=-1, times=np.arange(40)), "gap=-1 is negative"),
        (options("time", gap="7 moons", times=np.arange(40)), "gap='7 moons' is no duration"),
        (options("time", gap="7d", times=np.arange(40)), "gap='7d' is a duration but the time column holds plain"),
        (options("time", gap=7, times=np.arange(40)), "gap=7 rows leaves fold 0 no rows to train on"),
        (
            options("time", gap="90d", times=pd.date_range("2011", periods=40)),
            "gap=90 days 00:00:00 leaves fold 0 no rows to train on",
        ),
        (options("imported"), "scheme='imported' needs a file with a fold per row"),
        (options("imported", assignment=np.array([0, 1], np.int16)), "have 2 rows but train has 40"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_folds(arguments.pop("request"), arguments.pop("y"), arguments.pop("task"), **arguments)


def test_unknown_scheme() -> None:
    with pytest.raises(UnknownNameError, match="unknown fold scheme 'groups'; did you mean 'group'"):
        make_folds(FoldRequest("groups"), classes_of(40), "binary")  # type: ignore[arg-type]


def write_csv(path: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_imported_folds_are_matched_by_id(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", id=["03", "01", "02", "99"], fold=[5, 1, 3, 0])
    assignment = read_assignment(path, ["01", "02", "03"], "id")
    assert assignment.dtype == np.int16
    assert assignment.tolist() == [0, 1, 2]
    request = FoldRequest("imported", file="f.csv")
    plan = make_folds(request, classes_of(3), "binary", assignment=assignment)
    assert (plan.n_folds, plan.details) == (3, {"file": "f.csv"})
    assert_partition(plan)


def test_imported_folds_in_the_order_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pd.DataFrame({"kfold": [2.0, -1.0, 7.0]}).to_parquet(path)
    assignment = read_assignment(path, ["0", "1", "2"], None)
    assert assignment.tolist() == [0, -1, 1]
    assert read_assignment(path, ["a", "b", "c"], "id").tolist() == [0, -1, 1]
    plan = make_folds(FoldRequest("imported"), classes_of(3), "binary", assignment=assignment)
    assert plan.coverage(0).tolist() == [True, False, True]
    assert plan.split(0, 0)[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "a", "b"], "fold": [0, 1, 0]}, "f.csv has 1 repeated ids, e.g. 'a'; keep one row per id"),
        ({"id": ["a", "c"], "fold": [0, 1]}, "f.csv lacks 1 of 2 train ids, e.g. 'b'; add a fold for each"),
        ({"id": ["a", "b"], "fold": [0.5, 1]}, "'fold' of .*f.csv has 1 values that are not whole .* '0.5' in row 1"),
        (
            {"id": ["a", "b"], "fold": [0, None]},
            "has 1 values that are not whole fold numbers, the first None in row 2",
        ),
        (
            {"id": ["a", "b"], "fold": ["x", "y"]},
            "has 2 values that are not whole fold numbers, the first 'x' in row 1",
        ),
        ({"id": ["a", "b"], "fold": [-2, 0]}, "has 1 values that are not whole fold numbers, the first '-2'"),
        ({"id": ["a", "b"], "fold": [3, 3]}, r"f.csv assigns train's rows to 1 fold\(s\) only"),
        ({"id": ["a", "b"], "x": [0, 1], "z": [1, 1]}, "f.csv has no column 'fold' but 'id', 'x', 'z'"),
        ({"fold": [0, 1, 0]}, "f.csv has 3 rows but train has 2; add the column 'id' to match by id"),
    ],
)
def test_imported_errors(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_assignment(write_csv(tmp_path / "f.csv", **columns), ["a", "b"], "id")


def test_describe_classes() -> None:
    y = np.repeat([0, 1], [30, 10])
    record = describe(make_folds(FoldRequest(n_folds=5, n_repeats=2), y, "binary"), y, "binary", classes=("no", "yes"))
    assert (record["n_rows"], record["holdout_rows"], record["never_validated_rows"]) == (40, 0, 0)
    assert len(record["folds"]) == 10
    assert record["folds"][7] == {
        "repeat": 1,
        "fold": 2,
        "train_rows": 32,
        "valid_rows": 8,
        "class_shares": {"no": 0.75, "yes": 0.25},
        "classes_not_in_train": [],
    }


def test_describe_regression_and_lost_classes() -> None:
    times = np.arange(30)
    plan = make_folds(FoldRequest("time", n_folds=2), times.astype(float), "regression", times=times)
    record = describe(plan, times.astype(float), "regression")
    assert record["never_validated_rows"] == 10
    assert [fold["target_mean"] for fold in record["folds"]] == [14.5, 24.5]
    late = describe(plan, np.repeat([0, 1], [15, 15]), "binary")
    assert [fold["classes_not_in_train"] for fold in late["folds"]] == [["1"], []]


class TestProposedNumber:
    """How many folds there are when nobody said."""

    @pytest.mark.parametrize(("n_rows", "expected"), [(100, 8), (9_999, 8), (10_000, 5), (249_999, 5), (250_000, 3)])
    def test_fewer_folds_for_more_rows(self, n_rows: int, expected: int) -> None:
        assert propose_n_folds(np.zeros(n_rows), "regression") == expected

    def test_never_more_than_the_rarest_class_or_the_groups_or_the_rows(self) -> None:
        assert propose_n_folds(np.array([0] * 90 + [1] * 6 + [2] * 4), "multiclass") == 4
        assert propose_n_folds(np.array([0] * 90 + [1]), "binary") == 2
        assert propose_n_folds(np.arange(6.0), "regression") == 6
        assert propose_n_folds(np.array([0, 1] * 50), "binary", n_groups=3) == 3


def in_time(n: int = 100, **options: Any) -> FoldPlan:
    return make_folds(FoldRequest("time", 4, time="t", **options), classes_of(n), "binary", times=np.arange(n))


def test_a_sliding_window_is_as_long_as_asked() -> None:
    plan = in_time(window=15, gap=2)
    for fold in range(4):
        train, valid = plan.split(0, fold)
        assert len(train) == 15 and train.max() == valid.min() - 3
    assert plan.details == {"time": "t", "gap": 2, "window": 15} and plan.is_forward
    days = pd.date_range("2024-01-01", periods=100, freq="D").to_numpy()
    dated = make_folds(FoldRequest("time", 4, window="20d", gap="2d"), classes_of(100), "binary", times=days)
    for fold in range(4):
        train, valid = dated.split(0, fold)
        assert days[train.max()] < days[valid.min()] - np.timedelta64(2, "D") and 18 <= len(train) <= 20
    assert in_time(window=1000) == in_time(), "a window longer than the past is everything"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=40, max_size=80), st.integers(2, 4), st.integers(0, 4), st.integers(0, 4))
def test_purged_blocks_keep_their_distance(days: list[int], n_folds: int, gap: int, embargo: int) -> None:
    times = np.array(days, "datetime64[D]").astype("datetime64[us]")
    request = FoldRequest("purged", n_folds, time="t", gap=f"{gap}d", embargo=f"{embargo}d")
    try:
        plan = make_folds(request, classes_of(len(days)), "binary", times=times)
    except InputError:
        return
    assert plan.coverage(0).all() and not plan.is_forward
    for fold in range(n_folds):
        train, valid = plan.split(0, fold)
        first, last = times[valid].min(), times[valid].max()
        before, after = times[train][times[train] < first], times[train][times[train] > last]
        assert len(before) + len(after) == len(train), "nothing in between"
        assert (before < first - np.timedelta64(gap, "D")).all() and (after > last + np.timedelta64(embargo, "D")).all()


def test_an_embargo_in_rows_is_the_gap_by_default() -> None:
    plan = make_folds(FoldRequest("purged", 4, gap=3), classes_of(40), "binary", times=np.arange(40))
    train, valid = plan.split(0, 1)
    assert (valid.min(), valid.max()) == (10, 19) and train.tolist() == [*range(7), *range(23, 40)]


def test_each_group_is_left_out_once() -> None:
    groups = np.repeat(["c", "a", "b"], [5, 3, 4])
    plan = make_folds(FoldRequest("leave_one_group_out", group="g"), classes_of(12), "binary", groups=groups)
    assert plan.n_folds == 3
    assert [set(groups[plan.split(0, fold)[1]]) for fold in range(3)] == [{"c"}, {"a"}, {"b"}]


def test_further_columns_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    site = rng.choice(["x", "y", "z"], 3000, p=[0.7, 0.25, 0.05])
    age = rng.normal(50, 10, 3000)
    y = (rng.random(3000) < np.where(site == "z", 0.9, 0.1)).astype(int)
    request = FoldRequest("stratified", 5, stratify=("site", "age"))
    plan = make_folds(request, y, "binary", further=(site, age))
    for column in (site == "z", age > 60, (site == "z") & (y == 1)):
        counts = np.bincount(plan.valid_fold[0], weights=column, minlength=5)
        assert np.ptp(counts) <= 0.1 * counts.mean() + 3
    assert plan.details["stratify"] == ["site", "age"]
    assert plan != make_folds(FoldRequest("stratified", 5), y, "binary")


def test_rare_combinations_are_told_apart_by_fewer_columns() -> None:
    codes = joint_strata(np.array([0, 0, 0, 0, 1, 1, 1, 1]), [list("aaabbbbb")], 3)
    assert len(set(codes[:3])) == 1 and codes[3] not in codes[:3] and len(set(codes[4:])) == 1
    missing = joint_strata(np.zeros(8, int), [[None, "a"] * 4], 2)
    assert len(set(missing)) == 2


@pytest.mark.parametrize("scheme", ["plain", "stratified", "group", "stratified_group", "time", "purged", "imported"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_holdout_is_seen_by_no_fold(scheme: Scheme, task: Task) -> None:
    n = 200
    rng = np.random.default_rng(0)
    y = classes_of(n) if task == "binary" else rng.normal(size=n)
    groups, times = np.arange(n) // 4, rng.permutation(n)
    more = {"groups": groups, "times": times, "assignment": (np.arange(n) % 3).astype(np.int16)}
    request = FoldRequest(scheme, 4, group="g", time="t", holdout=0.2)
    plan = make_folds(request, y, task, **more)
    assert 0.15 <= plan.holdout.mean() <= 0.25
    for fold in range(plan.n_folds):
        train, valid = plan.split(0, fold)
        assert len(train) and len(valid) and not plan.holdout[train].any() and not plan.holdout[valid].any()
    assert not plan.coverage(0)[plan.holdout].any() and plan.details["holdout"] == 0.2
    if "group" in scheme:
        assert not set(groups[plan.holdout]) & set(groups[~plan.holdout])
    if scheme in ("time", "purged"):
        assert times[plan.holdout].min() > times[~plan.holdout].max()
    if scheme == "stratified" and task == "binary":
        assert abs(y[plan.holdout].mean() - 0.5) < 0.03
    assert plan == make_folds(request, y, task, **more)
    assert plan != make_folds(replace(request, holdout=0.0), y, task, **more)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (FoldRequest("plain", holdout=0.7), "holdout=0.7 is not a share"),
        (FoldRequest("time", window=5, time="t", gap=200), "gap=200 rows, window=5 rows leave fold 0 no rows"),
        (FoldRequest("plain", window=5), "window is for the scheme time, not for plain"),
        (FoldRequest("time", embargo=5), "embargo is for the scheme purged, not for time"),
        (FoldRequest("group", stratify=("a",)), "stratify is for the schemes stratified and stratified_group"),
        (FoldRequest("purged", 2, gap=60, time="t"), "gap=60 rows and embargo=60 rows leave fold 0 no rows"),
        (FoldRequest("purged", 2, embargo="soon", time="t"), "embargo='soon' is no duration"),
        (FoldRequest("purged", 2), "scheme='purged' needs a column that orders the rows"),
        (FoldRequest("leave_one_group_out", group="g"), "group column 'g' has 250 groups, a fold for each"),
        (FoldRequest("leave_one_group_out", n_repeats=2), "whose rows stay together"),
    ],
)
def test_more_errors(request_: FoldRequest, message: str) -> None:
    n = 250 if request_.group else 100
    times = np.arange(n) if request_.time else None
    groups = np.arange(n) if request_.group else None
    with pytest.raises(InputError, match=message):
        make_folds(request_, classes_of(n), "binary", times=times, groups=groups)
