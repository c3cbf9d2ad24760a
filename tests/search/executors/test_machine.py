"""Every executor on machines as people have them: scripts without a guard, families that fork, move on or leave."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from foldsmith.problem.contract import Problem
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.driver import SearchFailedError
from foldsmith.search.executors.worker import DEVICE_ORDER, THREAD_LIMITS
from foldsmith.search.processes import MARK

EXECUTORS = ("inline", "local", "ray", "tune")

# What a fold of the toy family can do beside fitting; ``note`` keeps the processes that it leaves behind.
MORE = '''
    def note(self, *pids):
        with open(HERE / "left.pids", "a") as file:
            file.write("".join(f"{pid}\\n" for pid in pids))

    def pool(self):
        """A pool of forked processes, as a family with several workers has."""
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]

    def loader(self):
        """A DataLoader with worker processes."""
        import torch
        data = torch.utils.data.TensorDataset(torch.arange(8.0))
        batches = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork")
        assert sum(float(rows.sum()) for rows, in batches) == 28

    def futures(self):
        """Processes of the standard library's executor, which are started anew, not forked."""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(abs, -1).result() == 1

    def loky(self):
        """What scikit-learn does with n_jobs=2; its workers stay for the next call."""
        from joblib import Parallel, delayed
        assert Parallel(n_jobs=2)(delayed(abs)(number) for number in (-1, -2)) == [1, 2]
        import psutil
        children = psutil.Process().children(recursive=True)
        self.note(*[child.pid for child in children if "LokyProcess" in " ".join(child.cmdline())])

    def move(self):
        """Works in a folder of its own, which it removes."""
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)

    def leave(self):
        """Leaves processes behind: a plain one, one in a session of its own, one that was forked."""
        import subprocess
        plain = subprocess.Popen(["sleep", "600"])
        apart = subprocess.Popen(["sleep", "600"], start_new_session=True)
        forked = os.fork()
        if forked == 0:
            time.sleep(600)
            os._exit(0)
        self.note(plain.pid, apart.pid, forked)

    def stop(self):
        import sys
        sys.exit("enough")

    def tell(self):
        print("caf\\u00e9 \\u2192 \\U0001f600")
        os.environ["OMP_NUM_THREADS"] = "3"
'''

SCRIPT = """
import sys
from foldsmith import open_competition

print("main module runs", flush=True)
report = open_competition(sys.argv[1]).search([sys.argv[2]], trials=1, executor=sys.argv[3], workers=2)
print("ended", report.ended, flush=True)
"""


def write_toys(problem: Problem, write_family: Callable[..., str], *plan: str, name: str = "toys") -> str:
    """A family that does more than the usual one."""
    family = write_family(problem, *plan, name=name)
    with open(problem.folder.code / f"{name}.py", "a") as file:
        file.write(MORE)
    return family


def search(problem: Problem, *families: str, executor: str, n_trials: int = 1, **options: Any) -> str:
    """As from a notebook; how it ended."""
    from foldsmith import open_competition

    competition = open_competition(problem.folder.root)
    return competition.search(families, trials=n_trials, executor=executor, workers=2, **options).ended  # type: ignore[arg-type]


def members(problem: Problem) -> list[Member]:
    """All members, by id."""
    return MemberStore(problem.folder).all()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(autouse=True)
def stays_here() -> Iterator[None]:
    """No test changes what it found: the folder, the limits of libraries."""
    folder, limits = Path.cwd(), limits_here()
    yield
    moved, changed = Path.cwd(), limits_here()
    os.chdir(folder)
    assert (moved, changed) == (folder, limits)


def limits_here() -> dict[str, str | None]:
    """What a search sets for its workers, as it is in this process."""
    names = [*THREAD_LIMITS, *DEVICE_ORDER, MARK, "CUDA_VISIBLE_DEVICES", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"]
    return {name: os.environ.get(name) for name in names}


def run_script(problem: Problem, how: str, family: str, executor: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """A script without ``if __name__ == "__main__"``, from a file, from standard input, or as a word."""
    file = cwd / "search_it.py"
    file.write_text(SCRIPT)
    start = {"file": [str(file)], "stdin": ["-"], "word": ["-c", SCRIPT]}[how]
    words = [sys.executable, *start, str(problem.folder.root), family, executor]
    return subprocess.run(words, input=SCRIPT if how == "stdin" else "", cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("how", ["file", "stdin", "word"])
def test_workers_do_not_run_the_main_module(
    problem: Problem, write_family: Callable[..., str], tmp_path: Path, executor: str, how: str
) -> None:
    if how == "word" and executor in ("ray", "tune"):
        pytest.skip("as from standard input")
    done = run_script(problem, how, write_family(problem, "fit"), executor, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["main module runs", "ended done", ""]
    assert [member.state for member in members(problem)] == ["complete"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_families_may_start_processes(problem: Problem, write_family: Callable[..., str], executor: str) -> None:
    plan = ("pool", "loader", "futures", "loky")
    assert search(problem, write_toys(problem, write_family, *plan), executor=executor, n_trials=len(plan)) == "done"
    found = {member.params["do"]: (member.state, member.error) for member in members(problem)}
    assert found == {do: ("complete", None) for do in plan}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_nothing_that_a_family_starts_outlives_the_search(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None], executor: str
) -> None:
    family = write_toys(problem, write_family, "leave", "loky")
    assert search(problem, family, executor=executor, n_trials=2) == "done"
    left = [int(line) for line in (problem.folder.code / "left.pids").read_text().split()]
    assert len(left) >= 3 * 3 + 2
    until(lambda: all(map(is_gone, left)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_family_may_move_on(
    problem: Problem, write_family: Callable[..., str], monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    """The folder was named by a relative path, and neither the family's other folds nor other families notice."""
    monkeypatch.chdir(problem.folder.root.parent)
    from foldsmith import open_competition

    competition = open_competition(problem.folder.root.name)
    mover, other = write_toys(problem, write_family, "move"), write_toys(problem, write_family, "fit", name="others")
    here = Path.cwd()
    for families in ([mover], [other, "linear"]):
        report = competition.search(families, trials=len(families), executor=executor, workers=2)  # type: ignore[arg-type]
        assert (report.ended, report.warning) == ("done", None)
        assert Path.cwd() == here
        monkeypatch.chdir("/")  # as a notebook may
        here = Path.cwd()
    assert {member.state for member in members(problem)} == {"complete"} and len(competition.top()) == 3
    assert competition.submit("lin-0001").is_absolute()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_family_may_say_anything_and_leave(
    problem: Problem, write_family: Callable[..., str], monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    """``sys.exit`` in a fold ends a trial; text that the locale cannot spell ends nothing."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    family = write_toys(problem, write_family, *(["stop"] if executor == "inline" else ["stop", "tell"]))
    if executor == "inline":  # where a family prints, the test's own streams are
        with pytest.raises(SearchFailedError, match="no trial was completed; .*SystemExit: enough"):
            search(problem, family, executor=executor)
        return
    assert search(problem, family, executor=executor, n_trials=2) == "done"
    found = {member.params["do"]: member for member in members(problem)}
    assert found["tell"].state == "complete"
    assert found["stop"].error is not None and "SystemExit: enough" in found["stop"].error["message"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_failed_search_is_never_done(problem: Problem, write_family: Callable[..., str], executor: str) -> None:
    family = write_family(problem, "error", "error", "error", "fit")
    for _ in range(2):  # the second call finds the trials of the first one, tries anew, and does not say "done" either
        with pytest.raises(SearchFailedError, match="no trial was completed; .*ValueError: on purpose"):
            search(problem, family, executor=executor)
    assert [member.state for member in members(problem)] == ["failed", "failed"]
    with open(problem.folder.code / "toys.py", "a") as file:  # mended: the same call is no dead end
        file.write("\n    def error(self):\n        pass\n")
    assert search(problem, family, executor=executor) == "done"
    assert [member.state for member in members(problem)] == ["failed", "failed", "complete"]


def test_searches_in_two_threads(new_problem: Callable[[], Problem], write_family: Callable[..., str]) -> None:
    """Each has workers of its own, and the process's environment is what it was (see ``stays_here``)."""
    found: list[str] = []
    problems = [new_problem() for _ in range(3)]
    before = limits_here()
    threads = [
        threading.Thread(
            target=lambda problem=problem: found.append(
                search(problem, write_family(problem, *["fit"] * 3), executor="local", n_trials=3)
            )
        )
        for problem in problems
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert limits_here() == before
        threads[0].join(0.01)
    assert found == ["done"] * 3
    assert limits_here() == before


CLOSED = 'exec "$@" <&- >&- 2>&-'


@pytest.mark.parametrize("executor", EXECUTORS)
def test_without_standard_streams(problem: Problem, write_family: Callable[..., str], executor: str) -> None:
    family = write_family(problem, "fit")
    words = ["-m", "foldsmith", "-C", problem.folder.root, "search", family, "linear", "--trials", "2"]
    python = [sys.executable, *map(str, words), "--executor", executor]
    assert subprocess.run(["sh", "-c", CLOSED, "sh", *python], check=False).returncode == 0
    assert [member.state for member in members(problem)] == ["complete", "complete"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_script_without_standard_streams(
    problem: Problem, write_family: Callable[..., str], tmp_path: Path, executor: str
) -> None:
    family = write_family(problem, "fit")
    script = tmp_path / "search_it.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), str(problem.folder.root), family, executor]
    assert subprocess.run(["sh", "-c", CLOSED, "sh", *words], check=False).returncode == 0
    assert [member.state for member in members(problem)] == ["complete"]


def test_numpy_arguments(problem: Problem, write_family: Callable[..., str]) -> None:
    import pandas as pd

    from foldsmith import open_competition

    write_family(problem, "fit")
    competition = open_competition(problem.folder.root)
    report = competition.search(
        np.array(["linear", "knn"]),  # type: ignore[arg-type]
        trials=np.int64(2),  # type: ignore[arg-type]
        time_budget=np.float32(600),  # type: ignore[arg-type]
        workers=np.int8(1),  # type: ignore[arg-type]
        executor=np.str_("inline"),  # type: ignore[arg-type]
        model_seed=np.uint16(3),  # type: ignore[arg-type]
        fold_seconds=np.float64(50),
    )
    assert report.ended == "done"
    assert competition.resume().ended == "done"
    assert len(competition.top(np.int64(1))) == 1  # type: ignore[arg-type]
    assert competition.search(pd.Series(["linear"]), trials=np.int32(1), executor="inline").ended == "done"  # type: ignore[arg-type]
    blend = competition.blend(members=np.array(["lin-0001", "knn-0001"]))  # type: ignore[arg-type]
    assert competition.submit(np.str_(blend.id)).exists()


WITH_A_RAY = """
import sys
import ray
from foldsmith import open_competition

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=0)
class Counter:
    n = 0
    def add(self):
        self.n += 1
        return self.n

counter = Counter.remote()
assert ray.get(counter.add.remote()) == 1
address = ray.get_runtime_context().gcs_address
competition = open_competition(sys.argv[1])
for n_trials in (1, 2):
    print(competition.search([sys.argv[2]], trials=n_trials, executor=sys.argv[3]).ended, flush=True)
    assert ray.is_initialized() and ray.get_runtime_context().gcs_address == address
print("counted", ray.get(counter.add.remote()), flush=True)
try:
    competition.search([sys.argv[2]], trials=3, executor=sys.argv[3], address="127.0.0.1:1")
except Exception as error:
    print(error, flush=True)
print("counted", ray.get(counter.add.remote()), flush=True)
"""


@pytest.mark.parametrize("executor", ["ray", "tune"])
def test_a_ray_of_the_callers_is_used_and_left_alone(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None], executor: str
) -> None:
    family = write_toys(problem, write_family, "fit", "leave", "fit")
    words = [sys.executable, "-c", WITH_A_RAY, str(problem.folder.root), family, executor]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    said = [line for line in lines if line.startswith(("done", "counted", "this process"))]  # Ray itself says more
    assert [said[0], said[1], said[2], said[4]] == ["done", "done", "counted 2", "counted 3"]
    assert "this process works with the Ray at" in said[3] and "call ray.shutdown() first" in said[3]
    left = [int(line) for line in (problem.folder.code / "left.pids").read_text().split()]
    until(lambda: all(map(is_gone, left)))


TWO_RAYS = """
import sys, threading
from foldsmith import open_competition

def search(root):
    try:
        print(open_competition(root).search(["waiting:Toy"], trials=1, executor="ray").ended, flush=True)
    except Exception as error:
        print(error, flush=True)

first = threading.Thread(target=search, args=[sys.argv[1]])
first.start()
import os, time
while not os.path.exists(sys.argv[1] + "/code/waits"):
    time.sleep(0.05)
search(sys.argv[2])
print(open_competition(sys.argv[2]).search(["waiting:Toy"], trials=1, executor="auto").ended, flush=True)
open(sys.argv[1] + "/code/go", "w").close()
first.join()
"""


def test_a_process_has_one_ray_of_foldsmiths(
    new_problem: Callable[[], Problem], write_family: Callable[..., str]
) -> None:
    """A second search beside one that has Ray is told so, or does without."""
    first, second = new_problem(), new_problem()
    write_family(first, "wait", name="waiting")
    write_family(second, "fit", name="waiting")
    words = [sys.executable, "-c", TWO_RAYS, str(first.folder.root), str(second.folder.root)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert "another search in this process has started Ray" in lines[0] and "executor 'local'" in lines[0]
    assert lines[1:] == ["done", "done"], done.stderr
