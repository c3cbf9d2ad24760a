"""What checking every line of a csv file costs, beside pandas alone on the same file.

    python benchmarks/reading.py --gigabytes 1 --kinds plain quoted

``plain`` has 30 columns of numbers with gaps, nine of words and one of dates, without a quote; in ``quoted`` all words
are quoted, in ``commas`` one column of words holds separators, ``crlf`` has the line ends of Windows, ``tokens`` writes
gaps as NA. Both readers take turns; seconds are CPU seconds of the process, the least of ``--repeats``, so that what
else runs on the machine counts little. ``pandas`` is one call of ``read_csv`` with the same words for missing values.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("plain", "quoted", "commas", "crlf", "tokens")
_BLOCK_ROWS = 20_000


def main() -> None:
    """Parse, measure each kind of file, print a record for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of each file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="files of 50 MB")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.gigabytes = 0.05
    records = []
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            make_file(path, kind, int(options.gigabytes * 1e9))
            records.append(measure(path, kind, options.repeats))
    print(json.dumps(records)) if options.json else show(records)


def make_file(path: Path, kind: str, n_bytes: int) -> None:
    """About so many bytes of rows; blocks of the same rows, since the parser does not notice."""
    head, block = _block(kind)
    with open(path, "wb") as file:
        file.write(head)
        for _ in range(max(1, round(n_bytes / len(block)))):
            file.write(block)


def _block(kind: str) -> tuple[bytes, bytes]:
    import pandas as pd

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": np.arange(_BLOCK_ROWS)}
    for number in range(30):
        values = rng.normal(size=_BLOCK_ROWS).round(4)
        columns[f"number {number}"] = np.where(rng.random(_BLOCK_ROWS) < 0.05 * (number % 3), np.nan, values)
    for number in range(9):
        words = [f"level {level}" for level in range((5, 30, 200)[number % 3])]
        if kind == "commas" and number == 0:
            words = [f"{word}, and more" for word in words]
        columns[f"word {number}"] = rng.choice(words, _BLOCK_ROWS)
    columns["date"] = (1.6e9 + rng.integers(10**8, size=_BLOCK_ROWS)).astype("datetime64[s]")
    columns["y"] = rng.integers(2, size=_BLOCK_ROWS)
    text = pd.DataFrame(columns).to_csv(
        index=False,
        na_rep="NA" if kind == "tokens" else "",
        quoting=2 if kind == "quoted" else 0,  # all but numbers
        lineterminator="\r\n" if kind == "crlf" else "\n",
    )
    data = text.encode()
    end = data.index(b"\n") + 1
    return data[:end], data[end:]


def measure(path: Path, kind: str, repeats: int) -> dict[str, Any]:
    """The least CPU seconds of each reader."""
    from foldsmith.problem import csv_file
    from foldsmith.problem.reading import read_frame

    seconds: dict[str, list[float]] = {"pandas": [], "checked": []}
    for _ in range(repeats):
        seconds["pandas"].append(_seconds(lambda: _plain(path)))
        csv_file._KNOWN.clear()  # as if the file were new
        seconds["checked"].append(_seconds(lambda: read_frame(path)))
    pandas, checked = min(seconds["pandas"]), min(seconds["checked"])
    return {
        "name": f"reading, {kind}",
        "gigabytes": round(path.stat().st_size / 1e9, 3),
        "pandas_seconds": round(pandas, 2),
        "checked_seconds": round(checked, 2),
        "more_percent": round(100 * (checked / pandas - 1), 1),
    }


def _plain(path: Path) -> Any:
    import pandas as pd

    from foldsmith.problem.reading import MISSING_TOKENS

    with open(path, "rb") as file:
        return pd.read_csv(
            file,
            encoding="utf-8-sig",
            index_col=False,
            keep_default_na=False,
            na_values=list(MISSING_TOKENS),
            low_memory=False,
        )


def _seconds(read: Callable[[], Any]) -> float:
    began = time.process_time()
    read()
    return time.process_time() - began


def show(records: list[dict[str, Any]]) -> None:
    """A line per kind."""
    for one in records:
        print(
            f"{one['name']:20} {one['gigabytes']:6.3f} GB   pandas {one['pandas_seconds']:7.2f} s   "
            f"checked {one['checked_seconds']:7.2f} s   {one['more_percent']:+.1f} %"
        )


if __name__ == "__main__":
    main()
