"""What each part of a search is worth: whole runs with one part taken away, scored on held-out rows.

    python benchmarks/ablations.py --data ../adult ../titanic --budget 60 --seeds 2

Each line is ``foldsmith run`` in a process of its own with the same budget, folds and seeds. A gain is the loss without
the part over the loss with everything, minus one: above zero the part earns its place. ``--data`` takes folders as
``policies.py`` does; without it, sets of scikit-learn are used.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import policies

NETS = {"mlp", "realmlp", "tabm"}
GENERATED = {"lightgbm_fe"}


def main() -> None:
    """Parse, run everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=None)
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--without", nargs="+", default=sorted(PARTS), choices=sorted(PARTS))
    parser.add_argument("--out", type=Path, help="a file of JSON lines; runs that it holds are not repeated")
    parser.add_argument("--quick", action="store_true", help="one small set, 10 s, two parts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.budget, options.without = ["diabetes"], 10.0, ["nets", "policy"]
    if options.sets is None:
        options.sets = [] if options.data else ["breast_cancer", "diabetes", "digits", "wine"]
    known = read(options.out)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        places = [policies.make_set(home, name) for name in options.sets] + [policies.copy_set(p) for p in options.data]
        runs = []
        for place in places:
            for seed in range(options.seeds):
                for part in [None, *options.without]:
                    key = (place[0], seed, part, options.budget)
                    record = known.get(key) or run(home, place, seed, part, options.budget)
                    runs.append(record)
                    if options.out and key not in known:
                        with open(options.out, "a") as file:
                            file.write(json.dumps(record) + "\n")
    records = summary(runs)
    print(json.dumps(records)) if options.json else show(records)


def read(path: Path | None) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Runs of before, by what they were."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    records = [json.loads(line) for line in lines]
    return {(r["set"], r["seed"], r["without"], r["budget"]): r for r in records}


def run(home: Path, place: tuple[str, Path, str, str], seed: int, part: str | None, budget: float) -> dict[str, Any]:
    """One run with a part taken away; its loss on the held-out rows."""
    name, data, target, metric = place
    root = home / f"{name}-{seed}-{part}"
    command = [sys.executable, "-m", "foldsmith"]
    files = ["--train", str(data / "train.csv"), "--test", str(data / "test.csv")]
    what = ["--target", target, "--id", "id", "--metric", metric]
    subprocess.run([*command, "init", str(root), *files, *what], check=True, capture_output=True)
    more = PARTS[part](root) if part is not None else []
    began = time.time()
    words = ["--time-budget", f"{budget:g}s", "--seed", str(seed), "--json", *more]
    done = subprocess.run([*command, "-C", str(root), "run", *words], check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    return {
        "set": name,
        "seed": seed,
        "without": part,
        "budget": budget,
        "loss": held_out_loss(root, data, facts, target),
        "nested": facts["nested_score"],
        "n_members": facts["n_members"],
        "seconds": round(time.time() - began, 1),
    }


def held_out_loss(root: Path, data: Path, facts: dict[str, Any], target: str) -> float:
    """The metric of the run's blend on the held-out rows, as a loss."""
    import pandas as pd

    from foldsmith.problem.contract import open_problem
    from foldsmith.problem.decisions import decision_from_json
    from foldsmith.results.members import MemberStore

    problem = open_problem(root)
    store = MemberStore(problem.folder)
    blend, predicted = store.get(facts["blend"]), store.test(facts["blend"])
    truth = policies.truth_of(problem, pd.read_csv(data / "test_labels.csv"), target)
    rule = blend.details.get("decision")
    values = predicted if rule is None else decision_from_json(rule).apply(predicted)
    score = problem.metric.score(truth, values)
    return float(1 - score if problem.metric.greater_is_better else score)


def _set_search(root: Path, key: str, value: str) -> list[str]:
    """Set a key of the section [search] of the run's foldsmith.toml."""
    import tomlkit

    config = root / "foldsmith.toml"
    document = tomlkit.parse(config.read_text())
    document["search"][key] = value
    config.write_text(tomlkit.dumps(document))
    return []


def _without_families(names: set[str]) -> list[str]:
    from foldsmith.spaces.registry import available_families

    return ["--families", ",".join(name for name in available_families()[0] if name not in names)]


# What is done to a fresh competition folder, and the options of the run.
PARTS = {
    "portfolio": lambda root: _set_search(root, "portfolio", "none"),
    "generated features": lambda root: _without_families(GENERATED),
    "nets": lambda root: _without_families(NETS),
    "policy": lambda root: ["--policy", "round-robin"],
    "cv-curve": lambda root: _set_search(root, "stopping", "scored"),
}


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per part: mean gain in per cent over sets, with its standard error, and the gain on each set."""
    whole = {(run["set"], run["seed"]): run["loss"] for run in runs if run["without"] is None}
    gains: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["without"] is not None:
            base = whole[run["set"], run["seed"]]
            gains[run["without"]][run["set"]].append(100 * (run["loss"] / max(base, 1e-12) - 1))
    records = []
    for part, by_set in gains.items():
        means = {name: statistics.fmean(values) for name, values in by_set.items()}
        error = statistics.stdev(means.values()) / len(means) ** 0.5 if len(means) > 1 else None
        records.append(
            {
                "name": f"without {part}",
                "gain_percent": round(statistics.fmean(means.values()), 3),
                "se": None if error is None else round(error, 3),
                "by_set": {name: round(mean, 3) for name, mean in means.items()},
            }
        )
    return records


def show(records: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    print("part                        loss without it, %     by set")
    for record in records:
        error = "" if record["se"] is None else f"+- {record['se']:.2f}"
        sets = ", ".join(f"{name} {gain:+.2f}" for name, gain in record["by_set"].items())
        print(f"{record['name']:<27} {record['gain_percent']:>+8.2f} {error:<10}   {sets}")


if __name__ == "__main__":
    main()
