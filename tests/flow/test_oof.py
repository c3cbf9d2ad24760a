"""Foreign predictions: good ones become members, planted faults are refused or marked, and nothing is half-written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.flow.ensemble import blend_members, candidates, keep_blend
from foldsmith.flow.oof import OofSource, external_rows, import_oof
from foldsmith.flow.submission import make_submission
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.goal import Task
from foldsmith.problem.metrics import get_metric, known_metrics
from foldsmith.results.external import foreign_folds
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.top import top_rows

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
EVERY = [(task, name) for task in TASKS for name in known_metrics() if task in get_metric(name).tasks]
MakeProblem = Callable[..., Problem]
AddMember = Callable[..., Member]


def chances(problem: Problem, seed: int = 0) -> NDArray[Any]:
    """Good out-of-fold predictions ``(n_rows, n_outputs)``."""
    rng = np.random.default_rng(seed)
    y, target = problem.data.y, problem.data.target
    if target.task == "regression":
        return np.asarray(y + 0.3 * rng.normal(size=len(y)))[:, None]
    if target.task == "binary":
        return (1 / (1 + np.exp(-3 * (y - 0.5 + 0.4 * rng.normal(size=len(y))))))[:, None]
    scores = np.exp(2 * np.eye(len(target.classes))[y] + 0.5 * rng.normal(size=(len(y), len(target.classes))))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def frame_of(problem: Problem, oof: NDArray[Any] | None = None) -> pd.DataFrame:
    """Predictions as a table with ids, columns named after the classes."""
    oof = chances(problem) if oof is None else oof
    classes = problem.data.target.classes
    names = list(classes) if oof.shape[1] == len(classes) else ["prediction"]
    return pd.DataFrame({"id": problem.data.train_ids, **dict(zip(names, oof.T, strict=True))})


def test_frame(problem: Problem) -> pd.DataFrame:
    """Test predictions in another order than the test file's."""
    n = problem.data.test.n_rows
    columns = problem.goal.n_outputs
    names = list(problem.data.target.classes) if columns > 1 else ["prediction"]
    values = np.linspace(0.1, 0.9, n)[:, None] if columns == 1 else np.full((n, columns), 1 / columns)
    frame = pd.DataFrame({"id": problem.data.test_ids, **dict(zip(names, values.T, strict=True))})
    return frame.sample(frac=1, random_state=1)


test_frame.__test__ = False  # type: ignore[attr-defined]


def save(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def npy(array: NDArray[Any], path: Path) -> Path:
    np.save(path, array)
    return path


def take(problem: Problem, oof: Path, test: Path | None = None, **facts: Any) -> Member:
    [member] = import_oof(problem, [OofSource("anna", oof, test, **facts)])
    return member


def refuse(problem: Problem, message: str, oof: Path, test: Path | None = None, **facts: Any) -> None:
    """The import must fail with this message and leave nothing behind."""
    before = sorted(problem.folder.state.rglob("*"))
    with pytest.raises(InputError, match=message):
        take(problem, oof, test, **facts)
    assert sorted(problem.folder.state.rglob("*")) == before


# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_rows_are_matched_by_id(make_problem: MakeProblem, tmp_path: Path, kind: Task, ending: str) -> None:
    problem = make_problem(kind)
    oof = chances(problem)
    shuffled = frame_of(problem, oof).sample(frac=1, random_state=0)
    test = save(test_frame(problem), tmp_path / f"t{ending}")
    member = take(problem, save(shuffled, tmp_path / f"oof{ending}"), test)
    store = MemberStore(problem.folder)
    assert (member.id, member.kind, member.family, member.policy) == ("ext-anna", "imported", "external", "unknown")
    np.testing.assert_allclose(store.oof("ext-anna"), oof, rtol=1e-5)
    assert store.test("ext-anna").shape == (problem.data.test.n_rows, problem.goal.n_outputs)
    assert member.details["matched"] == "id" and member.details["warnings"] == []
    assert make_submission(problem, "ext-anna").exists()


def test_order_tells_the_rows_of_npy_files(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    member = take(
        problem, npy(oof[:, 0], tmp_path / "oof.npy"), npy(np.linspace(0, 0.5, 12), tmp_path / "test.npy"), claimed=0.9
    )
    np.testing.assert_allclose(MemberStore(problem.folder).oof(member.id), oof, rtol=1e-5)
    [row] = external_rows(problem, MemberStore(problem.folder))
    assert (row.matched, row.test, row.rows, row.claimed, row.mark) == ("order", "yes", 60, 0.9, "!")
    assert row.difference == pytest.approx(row.score - 0.9 if row.score else None)


def test_two_columns_are_the_chances_of_both_classes(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    rounded = np.hstack([1 - oof, oof]).round(3)
    take(problem, npy(rounded, tmp_path / "oof.npy"))
    np.testing.assert_allclose(MemberStore(problem.folder).oof("ext-anna"), oof, atol=1e-3)


@pytest.mark.parametrize("name", ["{}", "p_{}", "{}_p"])
def test_columns_named_after_classes_are_put_in_order(make_problem: MakeProblem, tmp_path: Path, name: str) -> None:
    problem = make_problem("multiclass")
    oof = chances(problem)
    frame = frame_of(problem, oof)[["wild", "id", "calm", "fair"]]
    frame = frame.rename(columns={label: name.format(label) for label in ("wild", "calm", "fair")})
    member = take(problem, save(frame.assign(y="?"), tmp_path / "oof.csv"))
    np.testing.assert_allclose(MemberStore(problem.folder).oof("ext-anna"), oof, rtol=1e-5)
    assert member.details["classes"] == "name"


def test_labels_beside_the_predictions_are_no_predictions(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    take(
        problem, save(frame_of(problem, oof).assign(y=problem.data.y)[["y", "id", "prediction"]], tmp_path / "oof.csv")
    )
    np.testing.assert_allclose(MemberStore(problem.folder).oof("ext-anna"), oof, rtol=1e-5)
    only = frame_of(problem, oof).rename(columns={"prediction": "y"})
    [member] = import_oof(problem, [OofSource("only", save(only, tmp_path / "oof.csv"))])
    np.testing.assert_allclose(MemberStore(problem.folder).oof(member.id), oof, rtol=1e-5)


def test_a_table_that_pandas_wrote_with_its_index(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    pd.DataFrame(chances(problem)).to_csv(tmp_path / "oof.csv")  # columns "" and "0"
    pd.DataFrame(np.linspace(0, 1, 12)).to_csv(tmp_path / "test.csv")
    assert take(problem, tmp_path / "oof.csv", tmp_path / "test.csv").details["matched"] == "order"


def test_a_column_of_the_other_class_is_refused(
    make_problem: MakeProblem, make_frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], tmp_path: Path
) -> None:
    train, test = make_frames("binary")
    train["y"] = np.where(train["y"] == 1, "yes", "no")
    problem = make_problem(train=train, test=test)
    frame = frame_of(problem)
    path = save(frame.rename(columns={"prediction": "prob_no"}), tmp_path / "oof.csv")
    refuse(problem, "column 'prob_no' is named after 'no', but this problem wants the chance of 'yes'", path)
    assert (
        take(problem, save(frame.rename(columns={"prediction": "Prob_Yes"}), tmp_path / "oof.csv")).scores is not None
    )


@pytest.mark.parametrize("pattern", ["{}_prob", "P({})", "Status {}"])
def test_columns_around_the_class(make_problem: MakeProblem, tmp_path: Path, pattern: str) -> None:
    problem = make_problem("multiclass")
    frame = frame_of(problem)
    names = {name: pattern.format(name.title()) for name in problem.data.target.classes}
    plain = take(problem, save(frame, tmp_path / "oof.csv"))
    assert plain.scores is not None
    odd = save(frame.rename(columns=names)[["id", *reversed(names.values())]], tmp_path / "other.csv")
    [member] = import_oof(problem, [OofSource("bert", odd)])
    assert member.scores == plain.scores


def test_test_rows_without_ids_are_told(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    test = npy(np.linspace(0, 1, 12), tmp_path / "test.npy")
    member = take(problem, save(frame_of(problem), tmp_path / "oof.csv"), test)
    assert member.details["warnings"] == ["test.npy has no ids: its rows were taken in test's order"]


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_every_metric(make_problem: MakeProblem, tmp_path: Path, kind: Task, metric: str) -> None:
    problem = make_problem(kind, metric=metric)
    oof = chances(problem)
    if problem.goal.kind == "regression" and kind != "regression":
        oof = (problem.data.y + 0.1)[:, None]  # a value on the scale of the class codes
    member = take(problem, npy(oof, tmp_path / "oof.npy"))
    assert member.scores is not None and np.isfinite(member.scores.value) and member.details["warnings"] == []


def test_the_user_names_the_columns(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem("multiclass")
    oof = chances(problem)
    path = npy(np.hstack([oof[:, ::-1], oof * 7]), tmp_path / "oof.npy")
    refuse(problem, r"has 6 columns of predictions .* name those to take with --columns", path)
    take(problem, path, columns=("2", "1", "0"))
    np.testing.assert_allclose(MemberStore(problem.folder).oof("ext-anna"), oof, rtol=1e-5)


def test_without_a_test_prediction_it_is_for_analysis_only(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    member = take(problem, save(frame_of(problem), tmp_path / "oof.csv"))
    store = MemberStore(problem.folder)
    assert not (store.path(member.id) / "test.npy").exists()
    assert candidates(problem, store) == []
    with pytest.raises(InputError, match="ext-anna cannot be blended: it has no test prediction"):
        candidates(problem, store, ["ext-anna"])
    with pytest.raises(InputError, match="ext-anna cannot be submitted: it has no test prediction"):
        make_submission(problem, "ext-anna")


def test_several_files_by_a_pattern(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    for seed in (1, 2):
        npy(chances(problem, seed), tmp_path / f"oof_m.{seed}.npy")
        npy(np.linspace(0, 1, 12), tmp_path / f"test_m.{seed}.npy")
    pattern = OofSource("anna", tmp_path / "oof_*.npy", tmp_path / "test_*.npy")
    npy(chances(problem)[::-1], tmp_path / "oof_bad.npy")
    with pytest.raises(InputError, match=r"test_bad\.npy does not exist, which would go with .*oof_bad\.npy"):
        import_oof(problem, [pattern])
    npy(np.linspace(0, 1, 12), tmp_path / "test_bad.npy")
    npy(np.full((60, 1), np.nan), tmp_path / "oof_m.1.npy")
    with pytest.raises(InputError, match=r"nothing was imported, 2 are refused: .*oof_bad.* · .*oof_m\.1"):
        import_oof(problem, [pattern])
    assert MemberStore(problem.folder).all() == []
    (tmp_path / "oof_bad.npy").unlink()
    npy(chances(problem, 1), tmp_path / "oof_m.1.npy")
    assert [member.id for member in import_oof(problem, [pattern])] == ["ext-anna-m-1", "ext-anna-m-2"]
    with pytest.raises(InputError, match="is a pattern for several files, one --claimed"):
        import_oof(problem, [replace(pattern, claimed=0.5)])
    with pytest.raises(InputError, match="no file fits"):
        import_oof(problem, [OofSource("", tmp_path / "none_*.npy")])


# --- planted faults in rows ------------------------------------------------------------------------------------------


def test_missing_doubled_and_unknown_ids(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    good = frame_of(problem)
    bad = pd.concat([good.iloc[5:], good.iloc[10:12], good.iloc[:1].assign(id="x7")])
    refuse(
        problem,
        r"5 of 60 needed ids are missing, e\.g\. '001'; 2 ids stand there more than once, e\.g\. '011'; "
        r"1 ids are not in train, e\.g\. 'x7'; give each row of train once",
        save(bad, tmp_path / "oof.csv"),
    )
    refuse(problem, "5 of 60 needed ids are missing", save(good.iloc[5:], tmp_path / "oof.csv"))
    oof = save(good, tmp_path / "oof.csv")
    short = save(test_frame(problem).iloc[1:], tmp_path / "test.csv")
    refuse(problem, "1 of 12 needed ids are missing", oof, short)


def test_a_wrong_number_of_rows(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    message = "has 59 rows but train has 60; give the column 'id' to match by id"
    refuse(problem, message, npy(oof[1:], tmp_path / "oof.npy"))
    refuse(problem, message, save(frame_of(problem).iloc[1:].drop(columns="id"), tmp_path / "oof.csv"))
    refuse(
        problem,
        "has 60 rows but test has 12",
        npy(oof, tmp_path / "oof.npy"),
        npy(oof, tmp_path / "test.npy"),
    )


def test_shuffled_rows_without_ids(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    shuffled = npy(np.random.default_rng(3).permutation(oof), tmp_path / "oof.npy")
    refuse(
        problem,
        r"fit the labels no better than shuffled rows .*\(auc 0.\d+, a constant gives 0.5\).* give a file with the id",
        shuffled,
    )
    by_fold = npy(oof[np.argsort(problem.plan.valid_fold[0], kind="stable")], tmp_path / "oof.npy")
    refuse(problem, "they are shuffled, sorted by fold, or of another table", by_fold)


def test_a_claimed_score_shows_rows_that_are_shuffled_in_part(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    part = oof.copy()
    part[:24] = oof[:24][::-1]
    path = npy(part, tmp_path / "oof.npy")
    refuse(
        problem, r"recomputed auc is 0\.\d+, claimed was 0\.99\d*: some rows may be in another", path, claimed=0.9912
    )
    member = take(problem, save(frame_of(problem, part), tmp_path / "oof.csv"), claimed=0.9912)
    assert member.details["warnings"][0].startswith("the recomputed auc is 0.")


def test_a_weak_member_with_ids_is_marked(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem(metric="log_loss")
    oof = 0.1 + 0.8 * problem.data.y[:, None]  # good but for a few rows that log loss does not forgive
    oof[np.flatnonzero(problem.data.y)[:4]] = 1e-6
    member = take(problem, save(frame_of(problem, oof), tmp_path / "oof.csv"))
    assert "no better than the constant prediction's" in member.details["warnings"][0]
    wrong = frame_of(problem).assign(id=np.random.default_rng(0).permutation(problem.data.train_ids))
    [member] = import_oof(problem, [OofSource("wrong", save(wrong, tmp_path / "oof.csv"))])
    assert member.details["warnings"][0].startswith("the predictions fit the labels no better than shuffled rows")


# --- planted faults in numbers ---------------------------------------------------------------------------------------


def test_missing_and_infinite_values(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    oof[3:5], oof[7] = np.nan, np.inf
    message = "2 values are missing or nan and 1 infinite, the first in row 4"
    refuse(problem, message, npy(oof, tmp_path / "oof.npy"))
    refuse(problem, message, save(frame_of(problem, oof), tmp_path / "oof.csv"))


def test_what_is_no_chance(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    oof = chances(problem)
    path = tmp_path / "oof.npy"
    refuse(
        problem, r"60 of 60 chances lie outside 0 to 1, e\.g\. \S+ in row 1; export predict_proba", npy(oof + 2, path)
    )
    refuse(problem, "all 60 values are 0 or 1, these are labels", npy((oof > 0.5).astype(int), path))
    refuse(problem, "do not sum to 1, e.g. .* in row 1; divide", npy(np.hstack([oof, oof]), path))
    words = save(frame_of(problem).assign(prediction="yes"), tmp_path / "oof.csv")
    refuse(problem, "column 'prediction' of .* has 60 values that are no numbers, e.g. 'yes'; labels alone", words)


def test_labels_instead_of_chances_of_classes(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem("multiclass", metric="accuracy")
    labels = pd.DataFrame(
        {"id": problem.data.train_ids, "label": np.array(problem.data.target.classes)[problem.data.y]}
    )
    refuse(
        problem, "has 1 columns .*'label'.*'calm', 'fair', 'wild'.*; labels alone", save(labels, tmp_path / "oof.csv")
    )


def test_a_number_of_columns_that_does_not_fit(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem("multiclass")
    refuse(
        problem,
        r"has 2 columns of predictions \('0', '1'\), but this problem wants one chance for each of its 3",
        npy(chances(problem)[:, :2], tmp_path / "oof.npy"),
    )
    path = npy(chances(problem), tmp_path / "oof.npy")
    refuse(problem, "--columns names 2 columns, but", path, columns=("0", "1"))
    with pytest.raises(UnknownNameError, match="unknown column in .*'9'"):
        take(problem, path, columns=("0", "1", "9"))


def test_permuted_classes_without_names(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem("multiclass")
    oof = chances(problem)
    path = npy(oof[:, [1, 2, 0]], tmp_path / "oof.npy")
    refuse(
        problem,
        r"look like other classes than calm, fair, wild: \w+ is \S+ as given and would be .*--columns 2,0,1",
        path,
    )
    take(problem, path, columns=("2", "0", "1"))
    np.testing.assert_allclose(MemberStore(problem.folder).oof("ext-anna"), oof, rtol=1e-5)


def test_the_chance_of_the_other_class(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    path = save(frame_of(problem, 1 - chances(problem)), tmp_path / "oof.csv")
    refuse(problem, "they look like the chance of '0': auc is 0.0.* and would be 0.9", path)


def test_pickles_are_never_opened(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    path = tmp_path / "oof.pkl"
    frame_of(problem).to_pickle(path)
    refuse(problem, r"oof\.pkl is not read: loading a pickle can run code; save the predictions as \.csv", path)
    refuse(problem, r"x\.joblib is not read", tmp_path / "x.joblib")
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    refuse(problem, "holds Python objects, not plain numbers", tmp_path / "objects.npy")
    path.rename(tmp_path / "renamed.npy")
    refuse(problem, "renamed.npy (holds Python objects|cannot be read as npy)", tmp_path / "renamed.npy")
    np.savez(tmp_path / "several.npz", a=1)
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    refuse(problem, "several.npy holds several arrays", tmp_path / "several.npy")
    refuse(problem, "has 0 columns of predictions", npy(np.zeros((60, 0)), tmp_path / "empty.npy"))
    refuse(problem, "has the unknown ending '.dat'", tmp_path / "oof.dat")
    refuse(problem, "nowhere.npy does not exist", tmp_path / "nowhere.npy")


@pytest.mark.parametrize("name", ["", "a b", "../x", "-", "x" * 61])
def test_bad_names(make_problem: MakeProblem, tmp_path: Path, name: str) -> None:
    problem = make_problem()
    with pytest.raises(InputError, match="needs a name" if not name else "may hold up to 60 letters"):
        import_oof(problem, [OofSource(name, save(frame_of(problem), tmp_path / "oof.csv"))])


def test_a_taken_name(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    path = save(frame_of(problem), tmp_path / "oof.csv")
    take(problem, path)
    refuse(problem, "there is a member 'ext-anna' already; choose another name", path)


# --- folds -----------------------------------------------------------------------------------------------------------


def test_folds_are_compared(make_problem: MakeProblem, tmp_path: Path) -> None:
    problem = make_problem()
    path = save(frame_of(problem), tmp_path / "oof.csv")
    same, others = (problem.plan.valid_fold[0] + 1) % 3, np.arange(60) % 3
    table = pd.DataFrame({"id": problem.data.train_ids, "fold": same}).sample(frac=1, random_state=2)
    sources = {
        "csv": OofSource("csv", path, folds=save(table, tmp_path / "folds.csv")),
        "npy": OofSource("npy", path, folds=npy(same, tmp_path / "folds.npy")),
        "column": OofSource("column", save(frame_of(problem).assign(fold=same)[::-1], tmp_path / "with.csv")),
        "other": OofSource("other", path, folds=npy(others, tmp_path / "others.npy")),
        "merged": OofSource("merged", path, folds=npy(np.minimum(same, 1), tmp_path / "merged.npy")),
        "none": OofSource("none", path),
    }
    members = dict(zip(sources, import_oof(problem, list(sources.values())), strict=True))
    assert {name: foreign_folds(member) for name, member in members.items()} == {
        "csv": None,
        "npy": None,
        "column": None,
        "other": "different",
        "merged": "different",
        "none": "unknown",
    }
    marks = {row.member: row.marks for row in top_rows(MemberStore(problem.folder), None, greater_is_better=True)}
    assert marks["ext-csv"] == "" and marks["ext-other"] == marks["ext-none"] == "!"
    half = npy(others * 0.5, tmp_path / "half.npy")
    refuse(
        problem, r"holds float64 numbers of shape \(60,\), not a whole fold number for each of the 60", path, folds=half
    )


def test_a_blend_tells_of_foreign_folds(make_problem: MakeProblem, add_member: AddMember, tmp_path: Path) -> None:
    problem = make_problem()
    store = MemberStore(problem.folder)
    add_member(problem, chances(problem, 1))
    take(problem, save(frame_of(problem), tmp_path / "oof.csv"), save(test_frame(problem), tmp_path / "test.csv"))
    alone = keep_blend(problem, store, blend_members(problem, store, candidates(problem, store, ["lin-0001"])))
    mixed = keep_blend(problem, store, blend_members(problem, store, candidates(problem, store, ["ext-anna"])))
    assert foreign_folds(alone) is None and foreign_folds(mixed) == "unknown"
    marks = {row.member: row.marks for row in top_rows(store, None, greater_is_better=True)}
    assert (marks[alone.id], marks[mixed.id]) == ("n", "n!")


def test_rows_that_the_plan_leaves_out_may_be_missing(
    make_problem: MakeProblem, make_frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], tmp_path: Path
) -> None:
    train, test = (frame.assign(day=range(len(frame))) for frame in make_frames("regression"))
    problem = make_problem("regression", train=train, test=test, time="day")
    covered = problem.plan.coverage(0)
    assert 0 < covered.sum() < 60
    frame = frame_of(problem)
    member = take(problem, save(frame[covered], tmp_path / "oof.csv"))
    oof = np.asarray(MemberStore(problem.folder).oof(member.id))
    assert (np.isnan(oof[:, 0]) == ~covered).all()
    assert (member.details["rows"], member.details["n_rows"]) == (covered.sum(), 60)
    padded = chances(problem)
    padded[~covered] = np.nan
    [by_order] = import_oof(problem, [OofSource("padded", npy(padded, tmp_path / "oof.npy"))])
    assert by_order.scores == member.scores
