"""Runs the tests of search/ and its executors while other processes want all cores: nothing may depend on being fast.

    python benchmarks/under_load.py                  # eight busy processes, all tests, three times
    python benchmarks/under_load.py --quick --json   # once, the modules with the most waiting

Exit code 1 when a test failed in any round; the names of failed tests are told.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITES = ("tests/search",)  # its folder executors/ included
QUICK = (
    "tests/search/test_driver.py",
    "tests/search/test_faults.py",
    "tests/search/test_locks.py",
    "tests/search/test_memory.py",
    "tests/search/test_trial_cache.py",
    "tests/search/executors/test_conformance.py",
    "tests/search/executors/test_worker.py",
)
BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:  # it ends with whoever started it
    sum(range(100_000))
"""


@dataclass(frozen=True)
class Round:
    """One run of the tests.

    Args:
        load: processes that wanted a core in the minute before its end, as the system counts them.
        failed: tests, as pytest names them.
    """

    number: int
    seconds: float
    load: float
    n_passed: int
    failed: tuple[str, ...]


@contextlib.contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Processes that do nothing but compute, for as long as this one lives at most."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def run_tests(number: int, words: Sequence[str], workers: int) -> Round:
    """Run pytest once, and count."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile", *words]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 and not failed:
        failed = [f"pytest itself (exit code {done.returncode}): {done.stdout[-300:]} {done.stderr[-300:]}"]
    passed = re.search(r"(\d+) passed", done.stdout)
    n_passed = int(passed[1]) if passed else 0
    return Round(number, round(time.monotonic() - began, 1), round(os.getloadavg()[0], 1), n_passed, tuple(failed))


def main() -> None:
    """Read the options, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=8, help="processes that compute all the time; 8")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the tests; 3")
    parser.add_argument("--workers", type=int, default=2, help="of pytest; 2")
    parser.add_argument("--quick", action="store_true", help="one round of a part of the tests")
    parser.add_argument("--json", action="store_true", help="one list of records on stdout")
    parser.add_argument("tests", nargs="*", help="modules or folders instead of all of search/")
    options = parser.parse_args()
    words = options.tests or (QUICK if options.quick else SUITES)
    rounds = []
    with busy(options.busy):
        for number in range(1, (1 if options.quick else options.rounds) + 1):
            rounds.append(run_tests(number, words, options.workers))
            if not options.json:
                print(tell(rounds[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(one) for one in rounds], indent=1))
    sys.exit(any(one.failed for one in rounds))


def tell(one: Round) -> str:
    """One round for people.

    >>> tell(Round(1, 60.0, 9.5, 100, ()))
    'round 1: 100 passed, 0 failed in 60 s under a load of 9.5'
    """
    line = f"{one.n_passed} passed, {len(one.failed)} failed in {one.seconds:.0f} s under a load of {one.load}"
    return "\n".join([f"round {one.number}: {line}", *(f"  {name}" for name in one.failed)])


if __name__ == "__main__":
    main()
