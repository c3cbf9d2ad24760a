"""Searches killed at random moments and resumed lose nothing, double nothing and compute nothing twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[2] / "benchmarks/kills.py"


@pytest.mark.slow
@pytest.mark.parametrize("kinds", ["everything", "driver,actor"])
def test_kill_and_resume(kinds: str) -> None:
    command = [
        sys.executable,
        str(KILLS),
        "--kills",
        "4",
        "--trials",
        "9",
        "--longest",
        "3",
        "--json",
        "--kinds",
        kinds,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = json.loads(done.stdout)
    assert record["faults"] == []
    assert record["kills"] >= 1
    assert record["counted_trials"] == 9
    assert record["members"] == 9
    assert record["folds_recomputed"] == record["folds_in_flight"]
