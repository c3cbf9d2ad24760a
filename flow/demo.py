"""Real data that ships with scikit-learn, in competition form, with the test labels kept aside."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from foldsmith.flow.setup import check_writable
from foldsmith.problem.errors import UnknownNameError


@dataclass(frozen=True)
class DemoSet:
    """A data set of scikit-learn and the metric that its demo uses."""

    loader: str
    target: str
    metric: str
    about: str


DEMO_SETS = {
    "breast_cancer": DemoSet(
        "load_breast_cancer", "diagnosis", "log_loss", "569 tumours, malignant or benign (UCI, Wolberg et al. 1995)"
    ),
    "digits": DemoSet("load_digits", "digit", "accuracy", "1,797 handwritten digits of 8 x 8 pixels (UCI)"),
    "diabetes": DemoSet(
        "load_diabetes", "progression", "rmse", "442 patients, progression after a year (Efron et al. 2004)"
    ),
    "wine": DemoSet("load_wine", "cultivar", "log_loss", "178 wines of three cultivars (UCI)"),
}


@dataclass(frozen=True)
class DemoFiles:
    """Where the demo's files lie; ``labels`` holds the answers that no search sees."""

    train: Path
    test: Path
    sample: Path
    labels: Path
    target: str
    metric: str


def make_demo(folder: Path, name: str) -> DemoFiles:
    """Write train, test, sample submission and held-out labels (30 % of the rows) of a data set.

    Raises:
        UnknownNameError: no such data set.
        InputError: the folder cannot be written.
    """
    if name not in DEMO_SETS:
        raise UnknownNameError("demo data set", name, DEMO_SETS)
    check_writable(folder)
    from sklearn import datasets

    demo = DEMO_SETS[name]
    bunch = getattr(datasets, demo.loader)(as_frame=True)
    frame: pd.DataFrame = bunch.data.copy()
    labels = bunch.target
    frame[demo.target] = labels if demo.metric == "rmse" else [str(bunch.target_names[code]) for code in labels]
    frame = frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
    frame.insert(0, "id", range(len(frame)))
    n_test = round(0.3 * len(frame))
    test, train = frame.iloc[:n_test], frame.iloc[n_test:]
    folder.mkdir(parents=True, exist_ok=True)
    files = DemoFiles(
        folder / "train.csv",
        folder / "test.csv",
        folder / "sample_submission.csv",
        folder / "test_labels.csv",
        demo.target,
        demo.metric,
    )
    train.to_csv(files.train, index=False)
    test.drop(columns=demo.target).to_csv(files.test, index=False)
    test[["id", demo.target]].to_csv(files.labels, index=False)
    _sample(train, test, demo).to_csv(files.sample, index=False)
    return files


def _sample(train: pd.DataFrame, test: pd.DataFrame, demo: DemoSet) -> pd.DataFrame:
    """The constant submission that a competition would hand out."""
    sample = test[["id"]].copy()
    labels = train[demo.target]
    if demo.metric == "log_loss" and labels.nunique() > 2:
        for name, share in labels.value_counts(normalize=True).sort_index().items():
            sample[name] = share
    elif demo.metric == "accuracy":
        sample[demo.target] = labels.mode()[0]
    else:
        sample[demo.target] = 0.5
    return sample


def score_demo(files: DemoFiles, submission: Path) -> float:
    """The submission's score on the held-out labels, computed with scikit-learn, not with our own metrics."""
    from sklearn import metrics

    truth = pd.read_csv(files.labels)
    guess = pd.read_csv(submission)
    joined = truth.merge(guess, on="id", suffixes=("_true", ""), validate="1:1")
    y = truth[files.target]
    if files.metric == "rmse":
        return float(metrics.root_mean_squared_error(y, joined[files.target]))
    if files.metric == "accuracy":
        return float(metrics.accuracy_score(y.astype(str), joined[files.target].astype(str)))
    classes = sorted(y.unique())
    if len(classes) == 2:
        return float(metrics.log_loss(y == classes[1], joined[files.target]))
    return float(metrics.log_loss(y, joined[classes], labels=classes))
