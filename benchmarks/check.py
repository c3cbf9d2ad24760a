"""What `foldsmith check` finds and what it costs: planted faults, clean data, a wide table.

    python benchmarks/check.py --data ../adult ../titanic

Ten faults (foldsmith/problem/audit/testing.py) are planted one at a time into each data set; each must be named, and
nothing but it may be an error. The clean sets must have no error at all. The wide table has 100,000 rows (80,000 of
them train) and 100 columns.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _pools import copy_set, make_set

SETS = ("breast_cancer", "diabetes", "wine")


def main() -> None:
    """Parse, plant, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--data", nargs="*", default=[], help="folders in competition form")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="one small set, a table of 5,000 rows")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.data, options.rows = ["diabetes"], [], 5_000
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        records = [record for source in [*options.sets, *options.data] for record in judge_set(home, source)]
        records.append(wide_table(home, options.rows))
    print(json.dumps(records)) if options.json else show(records)


def judge_set(home: Path, source: str) -> list[dict[str, Any]]:
    """The clean set, then each fault planted into it."""
    from foldsmith.problem.audit.testing import FAULTS

    clean, name = load_set(home, source)
    records = [{"name": f"{name}, clean", "set": name, "fault": "", **check(home, clean)}]
    for fault, (plant, code) in FAULTS.items():
        found = check(home, plant(clean, np.random.default_rng(1)))
        named = found["codes"].get(code, "")
        records.append({"name": f"{name}, {fault}", "set": name, "fault": fault, "named": named, **found})
    return records


def load_set(home: Path, source: str) -> tuple[Any, str]:
    """A data set as tables, with the group that its description names."""
    from foldsmith.problem.audit.testing import Tables

    path = Path(source)
    name, folder, target, metric = copy_set(path) if path.exists() else make_set(home, source)
    options = {"metric": metric}
    if path.exists() and (group := json.loads((path / "meta.json").read_text()).get("group")):
        options["group"] = group
    train, test = pd.read_csv(folder / "train.csv"), pd.read_csv(folder / "test.csv")
    return Tables(train, test, target, options=options), name


def check(home: Path, tables: Any) -> dict[str, Any]:
    """Codes with their severity, errors, and seconds."""
    from foldsmith.flow.competition import init

    with tempfile.TemporaryDirectory(dir=home) as folder:
        competition = init(Path(folder) / "comp", **tables.write(Path(folder)))
        competition.problem  # noqa: B018 - folds are made before the clock starts
        began = time.perf_counter()
        found = competition.check().findings
        seconds = time.perf_counter() - began
    codes = {finding.code: finding.severity for finding in found}
    errors = [finding.code for finding in found if finding.severity == "error"]
    return {"codes": codes, "errors": errors, "seconds": round(seconds, 2)}


def wide_table(home: Path, n_rows: int) -> dict[str, Any]:
    """70 columns of numbers, 25 of categories, five of whole numbers."""
    from foldsmith.problem.audit.testing import Tables

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"n{i}": rng.normal(size=n_rows).round(4) for i in range(70)}
    columns |= {f"c{i}": rng.choice([f"v{code}" for code in range(50)], n_rows) for i in range(25)}
    columns |= {f"i{i}": rng.integers(0, 5000, n_rows) for i in range(5)}
    frame = pd.DataFrame({"id": range(n_rows), **columns})
    frame["y"] = (frame["n0"] + rng.normal(size=n_rows) > 0).astype(int)
    cut = int(0.8 * n_rows)
    found = check(home, Tables(frame[:cut], frame[cut:].drop(columns="y"), "y"))
    return {"name": f"{n_rows:,} rows x 100 columns", "set": "drawn", "fault": "", **found}


def show(records: list[dict[str, Any]]) -> None:
    """A table for people."""
    for one in records:
        other = [code for code in one["errors"] if not one["fault"]]
        says = f"{one['named'] or 'MISSED':8}" if one["fault"] else f"{len(other)} errors"
        print(f"{one['name']:50} {says:10} {one['seconds']:6.2f} s   {' '.join(one['errors'])}")


if __name__ == "__main__":
    main()
