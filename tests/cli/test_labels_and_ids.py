"""From files as people have them to the right submission: labels, ids, samples, metrics."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

Foldsmith = Callable[..., Any]
N_TRAIN = 300
NBSP = "\N{NO-BREAK SPACE}"


def table(n: int = N_TRAIN + 60) -> pd.DataFrame:
    """Columns id, a, b, c, k, and a hidden signal s."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.arange(1000, 1000 + n),
            "a": rng.normal(size=n).round(4),
            "b": rng.normal(size=n).round(4),
            "c": rng.integers(0, 50, n),
            "k": rng.choice(list("uvw"), n),
        }
    )
    frame["s"] = frame["a"] + 0.5 * frame["b"] + 0.3 * rng.normal(size=n)
    return frame


class Ran(NamedTuple):
    code: int
    err: str
    submission: pd.DataFrame
    folder: Path


@pytest.fixture
def run(foldsmith: Foldsmith, tmp_path: Path) -> Callable[..., Ran]:
    """``run`` on a table with the labels ``y``; its numbered submission as text, an empty frame when there is none."""

    def start(
        y: Any,
        *words: object,
        frame: pd.DataFrame | None = None,
        train: dict[str, str] | None = None,
        test: dict[str, str] | None = None,
        sample: pd.DataFrame | None = None,
        n_train: int = N_TRAIN,
    ) -> Ran:
        whole = (table() if frame is None else frame).drop(columns="s", errors="ignore").assign(y=y)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        train_table = whole[:n_train].rename(columns=train or {})
        test_table = whole[n_train:].drop(columns="y").rename(columns=test or {})
        for name, made in (("train", train_table), ("test", test_table)):
            made.drop(columns="-", errors="ignore").to_csv(folder / f"{name}.csv", index=False)
        options: list[object] = ["--train", folder / "train.csv", "--test", folder / "test.csv", "--target", "y"]
        if sample is not None:
            sample.to_csv(folder / "sample.csv", index=False)
            options += ["--sample", folder / "sample.csv"]
        small = ["--families", "lightgbm,linear", "--trials", 2, "--executor", "inline", "--folds", 3]
        outcome = foldsmith("run", *options, *small, "--out", folder / "comp", *words)
        numbered = sorted((folder / "comp" / "submissions").glob("0*.csv"))
        written = pd.read_csv(numbered[-1], dtype=str, keep_default_na=False) if numbered else pd.DataFrame()
        return Ran(outcome.code, " ".join(outcome.err.split()), written, folder)

    return start


Run = Callable[..., Ran]


def of_signal(low: str, high: str) -> NDArray[Any]:
    return np.where(table()["s"] > 0, high, low).astype(object)


def three(*labels: str) -> NDArray[Any]:
    return np.array(labels, dtype=object)[np.digitize(table()["s"], [-0.4, 0.5])]


def share_right(ran: Ran, y: Any) -> float:
    return float((ran.submission["y"].to_numpy() == np.asarray(y)[N_TRAIN:].astype(str)).mean())


class TestLabels:
    def test_stray_blanks_make_no_class(self, run: Run) -> None:
        clean = of_signal("no", "yes")
        odd = clean.copy()
        odd[::7] = [f"{label} " for label in odd[::7]]
        odd[1::7] = [f"{NBSP}{label}" for label in odd[1::7]]
        ran = run(odd, "--metric", "accuracy")
        assert ran.code == 0 and share_right(ran, clean) > 0.85
        assert "labels stand with stray blanks, e.g." in ran.err
        assert set(ran.submission["y"]) == {"no", "yes"}

    @pytest.mark.parametrize(
        ("low", "high"),
        [("no", "Yes"), ("False", "True"), ("1", "2"), ("0.0", "1.0"), ("-1", "1"), ("n", "Y"), ("no churn", "churn")],
    )
    def test_labels_come_out_as_they_went_in(self, run: Run, low: str, high: str) -> None:
        y = of_signal(low, high)
        ran = run(y, "--metric", "f1", "--families", "linear", "--trials", 1)
        assert ran.code == 0 and share_right(ran, y) > 0.85
        assert f'positive = "{high}"' in (ran.folder / "comp" / "foldsmith.toml").read_text()

    @pytest.mark.parametrize(("low", "high", "is_told"), [("no", "Yes", False), ("1", "2", True), ("e", "p", True)])
    def test_the_positive_class_is_told(self, run: Run, low: str, high: str, is_told: bool) -> None:
        y = of_signal(low, high)
        ran = run(y, "--families", "linear", "--trials", 1)
        assert np.corrcoef(ran.submission["y"].astype(float), y[N_TRAIN:] == high)[0, 1] > 0.7
        assert ("the chance in a submission is that of" in ran.err) == is_told

    def test_case_is_asked_and_the_answer_works(self, run: Run) -> None:
        y = of_signal("no", "yes")
        odd = y.copy()
        odd[::5] = [label.title() for label in odd[::5]]
        ran = run(odd)
        assert ran.code == 2 and "differ only in upper and lower case" in ran.err
        assert "--classes no,yes, if not --classes No,Yes,no,yes" in ran.err
        ran = run(odd, "--classes", "no,yes", "--metric", "accuracy")
        assert ran.code == 0 and share_right(ran, y) > 0.85
        assert "labels stand in another case than the named classes" in ran.err

    def test_na_is_asked_and_both_ways_out_work(self, run: Run) -> None:
        y = three("EU", "US", "NA")
        ran = run(y, "--metric", "accuracy")
        assert ran.code == 2 and "cells 'NA' beside words such as" in ran.err
        assert 'keep_na = ["y"]' in ran.err and not (ran.folder / "comp").exists()
        ran = run(y, "--metric", "accuracy", "--keep-na", "y")
        assert ran.code == 0 and share_right(ran, y) > 0.75 and "the text 'NA' is a class" in ran.err
        assert {"NA", "EU"} <= set(ran.submission["y"])

    def test_na_among_named_classes_is_one(self, run: Run) -> None:
        y = three("EU", "US", "NA")
        ran = run(y, "--metric", "accuracy", "--classes", "EU,US,NA")
        assert ran.code == 0 and share_right(ran, y) > 0.75


class TestOrder:
    @pytest.mark.parametrize("labels", [("low", "mid", "high"), ("bad", "ok", "good"), ("none", "mild", "severe")])
    def test_a_known_scale_is_asked_and_the_answer_works(self, run: Run, labels: tuple[str, str, str]) -> None:
        y = three(*labels)
        ran = run(y, "--metric", "qwk")
        option = f"--classes {','.join(labels)}"
        assert ran.code == 2 and option in ran.err and not (ran.folder / "comp").exists()
        ran = run(y, "--metric", "qwk", *option.split())
        assert ran.code == 0 and share_right(ran, y) > 0.7
        text = (ran.folder / "comp" / "foldsmith.toml").read_text()
        assert f"classes = {list(labels)}".replace("'", '"') in text

    def test_unknown_words_are_asked(self, run: Run) -> None:
        ran = run(three("blue", "green", "red"), "--metric", "qwk")
        assert ran.code == 2 and "whose order foldsmith does not know" in ran.err and "[problem]" in ran.err

    def test_numbers_are_in_order(self, run: Run) -> None:
        y = three("1-2 years", "3-9 years", "10+ years")
        ran = run(y, "--metric", "qwk")
        assert ran.code == 0 and share_right(ran, y) > 0.7
        assert "ordered by their numbers, 1-2 years < 3-9 years < 10+ years" in ran.err

    def test_other_metrics_need_none(self, run: Run) -> None:
        y = three("low", "mid", "high")
        ran = run(y, "--metric", "accuracy", "--families", "linear", "--trials", 1)
        assert ran.code == 0 and share_right(ran, y) > 0.7

    def test_a_metric_changed_by_hand_is_asked_too(self, run: Run, foldsmith: Foldsmith) -> None:
        ran = run(three("low", "mid", "high"), "--metric", "accuracy", "--families", "linear", "--trials", 1)
        path = ran.folder / "comp" / "foldsmith.toml"
        path.write_text(path.read_text().replace('"accuracy"', '"qwk"'))
        outcome = foldsmith("-C", ran.folder / "comp", "search", "linear", "--trials", 1, "--executor", "inline")
        assert outcome.code == 2 and "--classes low,mid,high" in outcome.err


class TestMetrics:
    def test_a_metric_of_classes_makes_labels_of_whole_numbers(self, run: Run) -> None:
        frame = table(1260)
        y = np.concatenate([np.repeat(np.arange(1, 101), 12), np.arange(1, 61)])
        frame["c"] = y // 10
        few = ["--families", "linear", "--trials", 1]
        ran = run(y, "--metric", "accuracy", *few, frame=frame, n_train=1200)
        assert ran.code == 0
        text = (ran.folder / "comp" / "foldsmith.toml").read_text()
        assert 'task = "multiclass"' in text and "the metric is one of classes, 100 distinct labels" in text
        assert set(ran.submission["y"]) <= {str(label) for label in range(1, 101)}

    def test_a_metric_of_numbers_makes_values_of_0_and_1(self, run: Run) -> None:
        y = (table()["s"] > 0).astype(int)
        ran = run(y, "--metric", "rmse", "--families", "linear", "--trials", 1)
        assert ran.code == 0 and 'task = "regression"' in (ran.folder / "comp" / "foldsmith.toml").read_text()
        assert np.corrcoef(ran.submission["y"].astype(float), y[N_TRAIN:])[0, 1] > 0.7

    def test_words_and_a_metric_of_numbers(self, run: Run) -> None:
        ran = run(three("low", "mid", "high"), "--metric", "rmse")
        assert ran.code == 2 and "300 values that are not numbers in 300 rows, the first '" in ran.err

    def test_measurements_and_a_metric_of_classes(self, run: Run) -> None:
        ran = run(table()["s"].round(6), "--metric", "accuracy")
        assert ran.code == 2 and "use a metric of numbers such as rmse or mae" in ran.err


class TestIds:
    Y = (table()["s"] > 0).astype(int).to_numpy()
    IDS = table()["id"][N_TRAIN:].astype(str).tolist()

    def is_right(self, ran: Ran, id_name: str, ids: list[str] | None = None) -> None:
        assert ran.code == 0, ran.err
        assert list(ran.submission.columns) == [id_name, "y"]
        assert list(ran.submission[id_name]) == (self.IDS if ids is None else ids)
        rows = [self.IDS.index(str(int(float(name)))) for name in ran.submission[id_name]]
        assert np.corrcoef(ran.submission["y"].astype(float), self.Y[N_TRAIN:][rows])[0, 1] > 0.7

    @pytest.mark.parametrize(
        ("train", "test", "sample", "said"),
        [
            ("-", "test_id", None, "which only the test file has"),
            ("-", "test_id", "test_id", "which only the test file has"),
            ("-", "id", "id", "which only the test file has"),
            ("train_id", "test_id", None, "'train_id' in the train file and 'test_id' in the test file"),
            ("train_id", "test_id", "test_id", "'train_id' in the train file and 'test_id' in the test file"),
            ("train_id", "test_id", "id", "called 'id' in the sample submission"),
            ("ID ", "id", "Id", "called 'Id' in the sample submission and 'id' in the test file"),
            ("key", "key", "row", "called 'row' in the sample submission and 'key' in the test file"),
        ],
    )
    def test_names(self, run: Run, train: str, test: str, sample: str | None, said: str) -> None:
        frame = None if sample is None else pd.DataFrame({sample: self.IDS, "y": 0.5})
        few = ["--families", "linear", "--trials", 1]
        ran = run(self.Y, *few, train={"id": train}, test={"id": test}, sample=frame)
        self.is_right(ran, sample or test)
        assert said in ran.err

    def test_a_second_call_goes_on(self, run: Run) -> None:
        few = ["--families", "linear", "--trials", 1]
        for _ in range(2):
            self.is_right(run(self.Y, *few, train={"id": "-"}, test={"id": "test_id"}), "test_id")

    @pytest.mark.parametrize(
        ("spelled", "said"),
        [
            (lambda ids: ids[::-1], "in another order"),
            (lambda ids: [f"{name}.0" for name in ids], "matched as numbers"),
            (lambda ids: [f"{int(name):08d}" for name in ids], "matched as numbers"),
        ],
    )
    def test_the_samples_spelling_counts(self, run: Run, spelled: Callable[[list[str]], list[str]], said: str) -> None:
        ids = spelled(self.IDS)
        ran = run(self.Y, "--families", "linear", "--trials", 1, sample=pd.DataFrame({"id": ids, "y": 0.5}))
        self.is_right(ran, "id", ids)
        assert said in ran.err

    @pytest.mark.parametrize(
        ("ids", "said"),
        [
            ([*IDS[:-1], IDS[0]], "has the id '1300' more than once"),
            ([*IDS, "7"], "has 61 ids, 1 of them not in test, e.g. '7'; test has 60"),
            (IDS[:-2], "test has 60, 2 of them not in the sample, e.g. '1358'"),
        ],
    )
    def test_other_ids_are_named(self, run: Run, ids: list[str], said: str) -> None:
        ran = run(self.Y, sample=pd.DataFrame({"id": ids, "y": 0.5}))
        assert ran.code == 2 and said in ran.err and not (ran.folder / "comp").exists()

    @pytest.mark.parametrize("with_sample", [False, True])
    def test_na_is_an_id_like_any_other(self, run: Run, with_sample: bool) -> None:
        frame = table()
        frame["id"] = frame["id"].astype(str)
        for row, name in ((4, "nan"), (305, "NA"), (306, "null"), (310, "None"), (311, "N/A")):
            frame.loc[row, "id"] = name
        ids = frame["id"][N_TRAIN:].tolist()
        sample = pd.DataFrame({"id": ids[::-1], "y": 0.5}) if with_sample else None
        ran = run(self.Y, "--families", "linear", "--trials", 1, frame=frame, sample=sample)
        assert ran.code == 0 and list(ran.submission["id"]) == (ids[::-1] if with_sample else ids)

    def test_test_without_ids_goes_by_order(self, run: Run) -> None:
        sample = pd.DataFrame({"id": self.IDS, "y": 0.5})
        ran = run(self.Y, "--families", "linear", "--trials", 1, test={"id": "-"}, sample=sample)
        self.is_right(ran, "id")
        assert "rows of the sample submission are taken in test's order" in ran.err

    def test_columns_that_only_test_has_are_told(self, run: Run) -> None:
        frame = table()
        ran = run(self.Y, "--families", "linear", "--trials", 1, frame=frame, train={"c": "-"})
        self.is_right(ran, "id")
        assert "column 'c' only the test file has; not used" in ran.err


class TestSampleColumns:
    IDS = table()["id"][N_TRAIN:].tolist()
    Y = three("low", "mid", "high")

    def sample(self, *names: str, cell: object = 0.25) -> pd.DataFrame:
        return pd.DataFrame({"id": self.IDS, **dict.fromkeys(names, cell)})

    @pytest.mark.parametrize("pattern", ["{}_prob", "prob_{}", "p({})", "{}"])
    @pytest.mark.parametrize("spelled", [str.lower, str.title])
    def test_around_the_class(self, run: Run, pattern: str, spelled: Callable[[str], str]) -> None:
        names = [pattern.format(spelled(label)) for label in ("mid", "high", "low")]
        ran = run(self.Y, "--families", "linear", "--trials", 1, sample=self.sample(*names))
        assert ran.code == 0 and list(ran.submission.columns) == ["id", *names]
        best = ran.submission[names].astype(float).to_numpy().argmax(axis=1)
        assert (np.array(["mid", "high", "low"])[best] == self.Y[N_TRAIN:]).mean() > 0.7

    def test_a_class_that_train_lacks(self, run: Run) -> None:
        names = ["low_p", "mid_p", "high_p", "extreme_p"]
        ran = run(self.Y, sample=self.sample(*names))
        chances = ran.submission[names].astype(float)
        np.testing.assert_allclose(chances["extreme_p"], 1 / (300 + 4), rtol=1e-6)
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
        assert (
            "warning: the sample's column 'extreme_p' is of the class 'extreme', which no row of train has" in ran.err
        )

    def test_an_additional_column_is_named(self, run: Run) -> None:
        ran = run(self.Y, sample=self.sample("low", "mid", "high").assign(Usage="Public"))
        assert ran.code == 2 and "has a column 'Usage', but the predictions are for" in ran.err


class TestMissingClass:
    """A time plan in which one class occurs in the newest block only."""

    def made(self, run: Run, families: str) -> tuple[Ran, NDArray[Any]]:
        frame = table()
        y = three("a", "b", "c")
        y[:240] = np.where(y[:240] == "c", "b", y[:240])
        frame["t"] = pd.date_range("2020-01-01", periods=len(frame)).strftime("%Y-%m-%d")
        words = ["--time", "t", "--families", families, "--trials", len(families.split(","))]
        return run(y, *words, frame=frame), y

    @pytest.mark.parametrize("families", ["lightgbm,linear", "xgboost,extra_trees,knn"])
    def test_its_chance_has_a_floor(self, run: Run, families: str) -> None:
        ran, y = self.made(run, families)
        assert ran.code == 0 and re.search(r"lack a class: 'c' \(\d+ rows in all\) in all folds", ran.err)
        chances = ran.submission[["a", "b", "c"]].astype(float)
        np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
        assert chances["c"].min() >= 1 / 303
        truth = np.array(["abc".index(label) for label in y[N_TRAIN:]])
        loss = -np.log(chances.to_numpy()[np.arange(60), truth]).mean()
        assert loss < 3, "35 a row without a floor"

    def test_the_check_and_the_folds_tell(self, run: Run, foldsmith: Foldsmith) -> None:
        ran, _ = self.made(run, "linear")
        outcome = foldsmith("-C", ran.folder / "comp", "check")
        assert "the train rows of some folds lack a class" in " ".join(outcome.out.split())
        rows = pd.read_csv(ran.folder / "comp" / "submissions" / "current.csv")
        assert rows["c"].min() > 0.003
