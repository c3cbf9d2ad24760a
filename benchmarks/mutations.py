"""What comes of damaged files, and of one table in every dialect.

    python benchmarks/mutations.py --mutations 500 --dialects 200

Each mutation harms train or test of a small competition at a random place (foldsmith/problem/testing.py). The file
must be refused with its line, or be read as the whole one is: anything else is wrong without a word. Each dialect
writes both files in another way; what a search sees of them must be the same. Seeds that fail are printed, to
be kept as examples in tests/problem/test_dialects.py.
"""

import argparse
import csv
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Parse, harm, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--dialects", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others count on")
    parser.add_argument("--quick", action="store_true", help="40 of each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.mutations = options.dialects = 40
    records = mutations(options.seed, options.mutations)
    records.append(dialects(options.seed, options.dialects))
    print(json.dumps(records)) if options.json else show(records)


def mutations(first: int, count: int) -> list[dict[str, Any]]:
    """A record for each kind of damage."""
    from foldsmith.problem.testing import MUTATIONS

    names = sorted(MUTATIONS)
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    failed: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    began = time.perf_counter()
    for seed in range(first, first + count):
        name = names[seed % len(names)]
        which = ("train", "test")[seed // len(names) % 2]
        outcome = one_mutation(seed, name, which)
        found[name][outcome if outcome in ("refused", "same") else "wrong"] += 1
        if outcome not in ("refused", "same"):
            failed[name].append({"seed": seed, "file": which, "outcome": outcome})
    seconds = round((time.perf_counter() - began) / max(1, count), 3)
    return [
        {"name": f"mutation, {name}", **{key: found[name][key] for key in ("refused", "same", "wrong")}}
        | {"seconds_each": seconds, "failed": failed[name]}
        for name in names
    ]


def one_mutation(seed: int, name: str, which: str) -> str:
    """What came of one harmed file, see :func:`foldsmith.problem.testing.judge`."""
    from foldsmith.problem.testing import HARMLESS, MUTATIONS, Writing, judge, make_tables, typed, write_csv

    tables = make_tables(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for one in ("train", "test"):
            write_csv(place / f"{one}.csv", getattr(tables, one), Writing())
        clean = typed(place / "train.csv", place / "test.csv")
        harmed = place / f"{which}.csv"
        harmed.write_bytes(MUTATIONS[name](harmed.read_bytes(), np.random.default_rng(seed)))
        try:
            return judge(clean, place / "train.csv", place / "test.csv", is_harmless=name in HARMLESS)
        except Exception as error:  # what is no InputError ends a command with a traceback
            return f"{type(error).__name__}: {error}"


def dialects(first: int, count: int) -> dict[str, Any]:
    """Tables written in drawn dialects beside the plain ones."""
    began = time.perf_counter()
    failed = []
    for seed in range(first, first + count):
        outcome = one_dialect(seed)
        if outcome:
            failed.append({"seed": seed, "outcome": outcome})
    return {
        "name": "dialects",
        "same": count - len(failed),
        "wrong": len(failed),
        "seconds_each": round((time.perf_counter() - began) / max(1, count), 3),
        "failed": failed,
    }


def one_dialect(seed: int) -> str:
    """What differs between the plain files and those in a drawn dialect, or what went wrong; empty when nothing."""
    from foldsmith.problem.testing import PARQUET, Writing, differences, make_tables, typed, write_csv, write_parquet

    rng = np.random.default_rng(seed)
    tables = make_tables(seed, regression=bool(rng.integers(2)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        others = []
        for name in ("train", "test"):
            columns = getattr(tables, name)
            write_csv(place / f"{name}.csv", columns, Writing())
            if rng.random() < 0.25:
                others.append(place / f"{name}-other.parquet")
                write_parquet(others[-1], columns, str(rng.choice(PARQUET)), shuffle=int(rng.integers(100)))
            else:
                others.append(place / f"{name}-other{rng.choice(['.csv', '.csv.gz'])}")
                write_csv(others[-1], columns, _draw(rng))
        clean = typed(place / "train.csv", place / "test.csv")
        try:
            return ", ".join(differences(clean, typed(*others)))
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _draw(rng: np.random.Generator) -> Any:
    from foldsmith.problem.testing import Writing

    separator = str(rng.choice([",", ";", "\t", "|"]))
    encoding = str(rng.choice(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    return Writing(
        separator=separator,
        decimal="." if separator == "," else str(rng.choice([".", ","])),
        newline=str(rng.choice(["\n", "\r\n", "\r"])),
        encoding=encoding,
        quoting=int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        bom=encoding in ("utf-16-le", "utf-16-be") or (encoding == "utf-8" and bool(rng.integers(2))),
        index=bool(rng.integers(2)),
        trailing=bool(rng.integers(2)),
        shuffle=int(rng.integers(100)),
        final_newline=bool(rng.integers(2)),
    )


def show(records: list[dict[str, Any]]) -> None:
    """A line per kind, then what failed."""
    for one in records:
        counts = "  ".join(f"{key} {one[key]:4}" for key in ("refused", "same", "wrong") if key in one)
        print(f"{one['name']:30} {counts}   {one['seconds_each']:.3f} s each")
        for case in one["failed"]:
            print(f"    {case}")


if __name__ == "__main__":
    main()
