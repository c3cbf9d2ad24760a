"""A user's transformers: what they see, what becomes of what they return, and what they are told when it is wrong."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.problem.errors import InputError
from foldsmith.problem.frames import as_frame
from foldsmith.problem.tables import Table
from foldsmith.spaces.features import Features, load_features, try_features
from foldsmith.spaces.toy import Problem, make_problem
from foldsmith.spaces.transformer import Transformer

HEAD = """
import numpy as np
import pandas as pd
from foldsmith.spaces.transformer import Transformer
"""


class LevelMeans(Transformer):
    """The target's mean per level, and how many rows were seen; the train rows get the mean without themselves."""

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> None:
        values = pd.Series(y, dtype="float64").groupby(X["größe"])
        self.means_, self.n_ = values.mean(), len(X)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"level mean": X["größe"].map(self.means_), "seen": float(self.n_)}, index=X.index)

    def fit_transform(self, X: pd.DataFrame, y: NDArray[Any]) -> pd.DataFrame:
        made = super().fit_transform(X, y)
        made["level mean"] -= 1000
        return made


class Spy(Transformer):
    """Remembers every value that it was fitted on."""

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> None:
        self.x_, self.y_ = X["x:1"].to_numpy(), y

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"known": X["x:1"].isin(self.x_)})


def doubled(X: pd.DataFrame) -> pd.DataFrame:
    X["twice"] = 2 * X["x:1"]
    return X


def features_of(*kinds: type[Transformer]) -> Features:
    return Features(tuple(kind.__name__ for kind in kinds), kinds, "abc123")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Features]:
    """Writes ``code/mine.py`` and loads names of it."""

    def write(source: str, *names: str) -> Features:
        (tmp_path / "mine.py").write_text(HEAD + textwrap.dedent(source))
        found = load_features([f"mine:{name}" for name in names], tmp_path)
        assert found is not None
        return found

    return write


def columns(table: Table) -> list[str]:
    return [column.name for column in table.schema.columns]


@pytest.fixture
def problem() -> Problem:
    return make_problem()


def test_fit_sees_the_train_rows_only(problem: Problem) -> None:
    fitted, made = features_of(Spy).fit(problem.table, problem.y, problem.train_rows, seed=3)
    spy: Any = fitted.parts()[0].transformer
    np.testing.assert_array_equal(spy.x_, problem.table.numeric[problem.train_rows, 0])
    np.testing.assert_array_equal(spy.y_, problem.y[problem.train_rows])
    assert spy.seed == 3
    known = as_frame(made)["known"].to_numpy()
    assert known[problem.train_rows].all() and not known[len(problem.train_rows) :].any()


def test_other_rows_change_nothing_that_is_learned(problem: Problem) -> None:
    y = problem.y.copy()
    y[problem.valid_rows] = 1 - y[problem.valid_rows]
    first, second = (
        features_of(LevelMeans).fit(problem.table, labels, problem.train_rows, seed=0)[1] for labels in (problem.y, y)
    )
    np.testing.assert_array_equal(first.numeric, second.numeric)


def test_fit_transform_is_for_the_train_rows_and_transform_for_all_others(problem: Problem) -> None:
    fitted, made = features_of(LevelMeans).fit(problem.table, problem.y, problem.train_rows, seed=0)
    of_all = as_frame(made)
    inside = np.isin(np.arange(problem.table.n_rows), problem.train_rows)
    known = of_all["level mean"].notna()
    assert (of_all["level mean"][inside & known] < 0).all() and (of_all["level mean"][~inside & known] >= 0).all()
    assert (of_all["seen"] == len(problem.train_rows)).all()
    frame = as_frame(problem.table.take(problem.train_rows))
    expected = pd.Series(problem.y[problem.train_rows]).groupby(frame["größe"]).mean()
    new = as_frame(fitted.columns(problem.table))
    np.testing.assert_allclose(new["level mean"], as_frame(problem.table)["größe"].map(expected), rtol=1e-4)


def test_kinds_of_new_columns(load: Callable[..., Features], problem: Problem) -> None:
    features = load(
        """
        def kinds(X):
            n = len(X)
            return pd.DataFrame({
                "number": X["x:1"] / 0, "whole": np.arange(n) % 1, "truth": X["x:1"] > 0,
                "word": np.where(X["x:1"] > 0, "up", None), "bin": pd.cut(X["x:1"], [-9, 0, 9]),
                "date": X["when"] + pd.Timedelta("1D"), "wait": X["when"] - pd.Timestamp("2021-01-01"),
                "boxed": X["x:1"].astype(object), "huge": X["x:1"].astype("float64") * 1e300,
            })

        def number(X):
            return pd.DataFrame({"none": X["x:1"].where(X["x:1"] > 0)})
        """,
        "number",
        "kinds",
    )
    with pytest.raises(InputError, match="'number' is missing in every train row"):
        load("def f(X): return pd.DataFrame({'number': X['x:1'] * np.nan})", "f").fit(
            problem.table, problem.y, problem.train_rows, 0
        )
    _, made = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    schema = made.schema
    assert schema.numeric == ("none", "number", "whole", "truth", "wait", "boxed", "huge")
    assert schema.categories == {"word": ("up",), "bin": ("(-9, 0]", "(0, 9]")}
    assert schema.datetime == ("date",)
    frame = as_frame(made)
    assert np.isnan(frame["number"]).all()  # infinite
    assert np.isfinite(frame["huge"]).all()
    assert frame["truth"].sum() == frame["word"].notna().sum() > 0


def test_unseen_levels_are_other_and_unchanged_columns_are_left_out(
    load: Callable[..., Features], problem: Problem
) -> None:
    features = load(
        """
        class Marks(Transformer):
            def fit(self, X, y):
                self.seen_ = set(X["x:1"])

            def transform(self, X):
                X["mark"] = np.where(X["x:1"].isin(self.seen_), "old", "new")
                return X
        """,
        "Marks",
    )
    _, made = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    assert columns(made) == ["mark"] and made.schema.categories == {"mark": ("old",)}
    assert (made.codes[problem.train_rows] == 0).all() and (made.codes[problem.valid_rows] == 1).all()
    joined = problem.table.join(made)
    assert joined.numeric is problem.table.numeric and joined.codes.shape[1] == problem.table.codes.shape[1] + 1


def test_each_transformer_sees_the_columns_of_those_before(load: Callable[..., Features], problem: Problem) -> None:
    features = load(
        """
        def ratio(X):
            return pd.DataFrame({"ratio": X["x:1"] / X['say "hi"']})

        class Center(Transformer):
            def fit(self, X, y):
                self.center_ = X["ratio"].median()
            def transform(self, X):
                return pd.DataFrame({"centred": X["ratio"] - self.center_})

        def positive(X):
            return pd.DataFrame({"above": X["centred"] > 0})
        """,
        "ratio",
        "Center",
        "positive",
    )
    assert features.n_stateless == 1
    fitted, made = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    assert columns(made) == ["ratio", "centred", "above"]
    frame = as_frame(made)
    np.testing.assert_allclose(frame["centred"][problem.train_rows].median(), 0, atol=1e-7)
    again = fitted.columns(problem.table.take(problem.valid_rows))
    np.testing.assert_array_equal(again.numeric, made.numeric[problem.valid_rows])


def test_a_stateless_transformer_is_computed_once_for_all_folds(
    load: Callable[..., Features], problem: Problem
) -> None:
    features = load(
        """
        CALLS = []
        def twice(X):
            CALLS.append(len(X))
            return pd.DataFrame({"twice": 2 * X["x:1"]})
        """,
        "twice",
    )
    calls = features.makers[0]().transform.__self__._function.__globals__["CALLS"]  # type: ignore[attr-defined]
    test = problem.table.take(np.arange(7))
    for rows in (problem.train_rows, problem.valid_rows):
        fitted, made = features.fit(problem.table, problem.y, rows, seed=0)
        np.testing.assert_array_equal(made.numeric[:, 0], 2 * problem.table.numeric[:, 0])
        fitted.columns(test)
    assert calls == [problem.table.n_rows, 7]


def test_saved_features_are_loaded(load: Callable[..., Features], problem: Problem, tmp_path: Path) -> None:
    source = """
        from pathlib import Path

        class Own(Transformer):
            def fit(self, X, y):
                self.sum_ = float(np.nansum(X["x:1"]))
            def transform(self, X):
                return pd.DataFrame({"own": X["x:1"] + self.sum_})
            def save(self, folder):
                (folder / "deep").mkdir()
                np.save(folder / "deep" / "sum.npy", self.sum_)
            def load(self, folder):
                self.sum_ = float(np.load(folder / "deep" / "sum.npy"))

        class Level(Transformer):
            def fit(self, X, y):
                self.counts_ = X["größe"].value_counts()
            def transform(self, X):
                return pd.DataFrame({"count": X["größe"].map(self.counts_), "is": X["größe"].fillna("none")})
        """
    features = load(source, "Own", "Level")
    fitted, made = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    fitted.save(tmp_path / "features.zip")
    again = load(source, "Own", "Level").load(tmp_path / "features.zip").columns(problem.table)
    np.testing.assert_array_equal(again.numeric, made.numeric)
    np.testing.assert_array_equal(again.codes, made.codes)
    assert again.schema == made.schema
    second, _ = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    second.save(tmp_path / "second.zip")
    assert (tmp_path / "second.zip").read_bytes() == (tmp_path / "features.zip").read_bytes()
    with pytest.raises(InputError, match=r"fitted with the features \w{6}, but \[features\] and code/ are now \w{6}"):
        load(source + "\n        # changed", "Own", "Level").load(tmp_path / "features.zip")


def test_what_is_learned_must_be_storable(load: Callable[..., Features], problem: Problem) -> None:
    features = load(
        """
        class Model(Transformer):
            def fit(self, X, y):
                self.model_ = object()
            def transform(self, X):
                return pd.DataFrame({"new": X["x:1"] * 2})
        """,
        "Model",
    )
    with pytest.raises(InputError, match="mine:Model: save failed with TypeError: attribute 'model_' is of the type"):
        features.fit(problem.table, problem.y, problem.train_rows, seed=0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "returned int; return a DataFrame"),
        ("return X[:5][['x:1']].rename(columns={'x:1': 'new'})", r"given 300 rows and returned 5; return one row"),
        ("return pd.DataFrame({'new': X['x:1'].sort_values()})", "in another order; keep the index of X"),
        ("return pd.DataFrame({3: X['x:1']})", "the column name 3 is no string"),
        ("return pd.DataFrame(np.ones((len(X), 2)), columns=['new', 'new'])", "the column 'new' twice"),
        ("return X", "returned no new column"),
        ("return X[['x:1']] * 2", "the column 'x:1' is there already"),
        ("return X.fillna({'größe': 'none'})", "the column 'größe' is there already; give the changed one another"),
        ("return pd.DataFrame({'new': X['größen']})", r"KeyError: 'größen'; did you mean 'größe'\?"),
        ("return pd.DataFrame({'new': X['zzz']})", "KeyError: 'zzz'; X has 'x:1', "),
        ("return 1 / 0", "mine:f: transform failed with ZeroDivisionError"),
        ("return pd.DataFrame({'new': X['x:1'] * np.nan})", "'new' is missing in every train row"),
        ("return pd.DataFrame({'new': X['x:1'] * 1j})", "'new' has complex numbers"),
    ],
)
def test_mistakes_are_named(load: Callable[..., Features], problem: Problem, body: str, message: str) -> None:
    features = load(f"def f(X):\n    {body}\n", "f")
    with pytest.raises(InputError, match=message):
        features.fit(problem.table, problem.y, problem.train_rows, seed=0)


def test_other_columns_at_prediction_are_a_mistake(load: Callable[..., Features], problem: Problem) -> None:
    features = load(
        """
        def f(X):
            return pd.get_dummies(X["größe"], prefix="is")
        """,
        "f",
    )
    fitted, _ = features.fit(problem.table, problem.y, problem.train_rows, seed=0)
    with pytest.raises(InputError, match="mine:f: transform returned .*, but 'is_large', .* in fit; return the same"):
        fitted.columns(problem.table.take(np.arange(1)))


def test_a_row_must_not_know_the_others(load: Callable[..., Features], problem: Problem) -> None:
    features = load("def f(X):\n    return pd.DataFrame({'z': X['x:1'] - X['x:1'].mean()})", "f")
    with pytest.raises(InputError, match="mine:f: column 'z' of a row depends on the other rows.*learn .* in fit"):
        try_features(features, problem.table, problem.y)


def test_a_try_tells_the_new_columns_and_sees_a_sample(problem: Problem) -> None:
    schema = try_features(features_of(Spy, LevelMeans), problem.table, problem.y)
    assert [column.name for column in schema.columns] == ["known", "level mean", "seen"]
    assert schema.columns[0].reason == "made by Spy"
    large, sizes = make_problem(n_rows=6000), []

    class Counts(Spy):
        def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> None:
            sizes.append(len(X))
            super().fit(X, y)

    try_features(features_of(Counts), large.table, large.y)
    assert sizes == [4000]


def test_functions_and_classes_are_loaded_before_anything_else(load: Callable[..., Features], tmp_path: Path) -> None:
    assert load_features([], tmp_path) is None
    with pytest.raises(InputError, match="there is no file .*mien.py; did you mean 'mine'"):
        (tmp_path / "mine.py").write_text("x = 1\n")
        load_features(["mien:x"], tmp_path)
    with pytest.raises(InputError, match="mine:x is neither a function of a frame nor a class derived from"):
        load_features(["mine:x"], tmp_path)
    with pytest.raises(InputError, match="mine:T has no transform"):
        load("class T(Transformer):\n    pass\n", "T")
    with pytest.raises(InputError, match=r"mine:T\(\) failed with TypeError: .*; it is made without arguments"):
        load("class T(Transformer):\n    def __init__(self, n): ...\n    def transform(self, X): ...\n", "T")
    with pytest.raises(InputError, match="names 'mine:f' twice"):
        load("def f(X): ...\n", "f", "f")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        load("1 / 0\n", "f")


def test_the_digest_follows_list_source_and_neighbours(load: Callable[..., Features], tmp_path: Path) -> None:
    source = "import helper_of_features\ndef f(X): ...\ndef g(X): ...\n"
    (tmp_path / "helper_of_features.py").write_text("import deeper_of_features\n")
    (tmp_path / "deeper_of_features.py").write_text("a = 1\n")
    (tmp_path / "unrelated.py").write_text("a = 1\n")
    first = load(source, "f", "g").digest
    assert load(source, "f", "g").digest == first and len(first) == 6
    (tmp_path / "unrelated.py").write_text("a = 2\n")
    assert load(source, "f", "g").digest == first
    assert load(source, "g", "f").digest != first
    assert load(source + "# more\n", "f", "g").digest != first
    (tmp_path / "deeper_of_features.py").write_text("a = 2\n")
    assert load(source, "f", "g").digest != first
