"""What foldsmith costs beside a plain loop: the same LightGBM fits, both as whole processes, in one run.

    python benchmarks/overhead.py --train train.csv --test test.csv --target income --id id --metric auc

The plain loop reads the csv files, keeps its binned data between trials, records the same learning curves, makes the
same number of rounds, predicts the same rows, and stores nothing. Without files a made-up table of 30,000 rows is used.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Parse, run both sides, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--target", default="y")
    parser.add_argument("--id", default="id")
    parser.add_argument("--metric", default="auc")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--executor", default="local", choices=["local", "ray", "inline"])
    parser.add_argument("--quick", action="store_true", help="4 trials")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plain-loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain_loop:
        plain_loop(options.plain_loop)
        return
    if options.quick:
        options.trials = 4
    with tempfile.TemporaryDirectory() as folder:
        record = compare(Path(folder), options)
    print(json.dumps([record])) if options.json else print(
        *(f"{name:<24} {value}" for name, value in record.items()), sep="\n"
    )


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Time the search, then the loop that repeats its fits; both must find the same scores."""
    if options.train is None:
        _make_table(folder, options)
    root = folder / "comp"
    _timed(
        *("init", str(root), "--train", options.train, "--test", options.test, "--target", options.target),
        *("--id", options.id, "--metric", options.metric),
    )
    search = ("search", "lightgbm", "--trials", str(options.trials), "--workers", "1", "--executor", options.executor)
    ours = _timed("-C", str(root), *search)
    plan = _describe_fits(root, options)
    (folder / "plan.json").write_text(json.dumps(plan))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--plain-loop", str(folder / "plan.json")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    plain = time.perf_counter() - began
    gap = np.abs(np.array(json.loads(done.stdout)) - [trial["score"] for trial in plan["trials"]]).max()
    return {
        "name": f"overhead, {options.executor}",
        "trials": options.trials,
        "foldsmith_seconds": round(ours, 2),
        "plain_loop_seconds": round(plain, 2),
        "ratio": round(ours / plain, 3),
        "largest_score_gap": float(gap),
    }


def _timed(*arguments: Any) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "foldsmith", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def _make_table(folder: Path, options: argparse.Namespace) -> None:
    import pandas as pd
    from sklearn.datasets import make_classification

    X, y = make_classification(45_000, 14, n_informative=9, flip_y=0.1, random_state=0)
    frame = pd.DataFrame(X.round(3), columns=[f"x{number}" for number in range(14)])
    for column in ("x0", "x1", "x2", "x3"):
        frame[column] = "level " + pd.qcut(frame[column], 12, labels=False).astype(str)
    frame.insert(0, "id", range(len(frame)))
    options.train, options.test = folder / "train.csv", folder / "test.csv"
    frame.assign(y=y)[:30_000].to_csv(options.train, index=False)
    frame[30_000:].to_csv(options.test, index=False)


def _describe_fits(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the loop needs to make the same fits."""
    from foldsmith.problem.contract import open_problem
    from foldsmith.results.members import MemberStore
    from foldsmith.search.sampling import fold_seed
    from foldsmith.spaces.lightgbm import BINNING

    problem = open_problem(root)
    assert options.metric == "auc", "the loop scores the AUC only"
    members = MemberStore(problem.folder)
    trials = []
    for member in members.all(contract=problem.contract, states=["complete"]):
        assert member.scores is not None
        curves = [members.fold(member.id, 0, fold).curve() for fold in range(problem.plan.n_folds)]
        trials.append(
            {
                "params": member.params,
                "score": member.scores.value,
                "rounds": member.details["rounds"],
                "lengths": [len(curve) for curve in curves if curve is not None],
            }
        )
    schema = problem.data.train.schema
    return {
        "train": str(options.train),
        "test": str(options.test),
        "target": options.target,
        "positive": problem.data.target.classes[1],
        "numeric": list(schema.numeric),
        "categories": {name: list(schema.categories[name]) for name in schema.categorical},
        "folds": [problem.plan.split(0, fold)[1].tolist() for fold in range(problem.plan.n_folds)],
        "seeds": [fold_seed(0, 0, fold) % 2**31 for fold in range(problem.plan.n_folds)],
        "binning": BINNING,
        "trials": trials,
    }


def plain_loop(plan_file: Path) -> None:
    """What a careful person writes by hand; prints the score of every trial."""
    import lightgbm
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    plan = json.loads(plan_file.read_text())
    train, test = pd.read_csv(plan["train"]), pd.read_csv(plan["test"])
    y = (train[plan["target"]].astype(str) == plan["positive"]).to_numpy().astype(int)
    X, X_test = _matrix(train, plan), _matrix(test, plan)
    first = len(plan["numeric"])
    categorical = list(range(first, first + len(plan["categories"])))
    datasets = []
    for valid in plan["folds"]:
        is_valid = np.zeros(len(y), bool)
        is_valid[valid] = True
        shared: dict[str, Any] = {
            "categorical_feature": categorical,
            "params": {**plan["binning"], "num_threads": 1},
        }
        binned = lightgbm.Dataset(X[~is_valid], y[~is_valid], **shared).construct()
        held_out = lightgbm.Dataset(X[is_valid], y[is_valid], reference=binned, **shared).construct()
        datasets.append((binned, held_out, X[is_valid], y[is_valid]))
    scores = []
    for trial in plan["trials"]:
        on_folds, on_test = [], np.zeros(len(X_test))
        for fold, (binned, held_out, X_valid, y_valid) in enumerate(datasets):
            params = {
                **trial["params"],
                **plan["binning"],
                "objective": "binary",
                "metric": "auc",
                "bagging_freq": 1,
                "seed": plan["seeds"][fold],
                "deterministic": True,
                "force_col_wise": True,
                "num_threads": 1,
            }
            curve: dict[str, Any] = {}
            model = lightgbm.train(
                params,
                binned,
                trial["lengths"][fold],
                valid_sets=[held_out],
                callbacks=[lightgbm.record_evaluation(curve)],
                keep_training_booster=True,
            )
            rounds = trial["rounds"][fold]
            on_folds.append(roc_auc_score(y_valid, model.predict(X_valid, num_iteration=rounds, num_threads=1)))
            on_test += model.predict(X_test, num_iteration=rounds, num_threads=1) / len(datasets)
        scores.append(float(np.mean(on_folds)))
    print(json.dumps(scores))


def _matrix(frame: Any, plan: dict[str, Any]) -> Any:
    numbers = frame[plan["numeric"]].to_numpy(np.float32)
    codes = [_codes(frame[name], levels) for name, levels in plan["categories"].items()]
    return np.column_stack([numbers, *codes]).astype(np.float32)


def _codes(column: Any, levels: list[str]) -> Any:
    place = {level: float(code) for code, level in enumerate(levels)}
    return column.map(place).astype(np.float32).to_numpy()


if __name__ == "__main__":
    main()
