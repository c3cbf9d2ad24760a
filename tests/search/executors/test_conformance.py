"""What every executor keeps, by what it says it can: results come once, faults stay in their slot."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from foldsmith.problem.contract import Problem
from foldsmith.problem.folder import Folder
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.executors.base import Executor, InfrastructureError
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.locks import FolderLock
from foldsmith.search.slots import Layout

EXECUTORS = {
    "inline": "inline:InlineExecutor",
    "local": "local:LocalExecutor",
    "ray": "ray:RayExecutor",
    "tune": "tune.executor:TuneExecutor",
}


@pytest.fixture(
    scope="module",
    params=EXECUTORS,
)
def executor(
    request: pytest.FixtureRequest, new_problem: Callable[[], Problem], write_family: Callable[..., str]
) -> Iterator[Executor]:
    """Each executor, started once, on a problem with a family of the user's own."""
    problem = new_problem()
    write_family(problem, "fit")
    module, _, name = EXECUTORS[request.param].partition(":")
    layout = () if request.param == "inline" else (Layout(2),)
    kind = getattr(importlib.import_module(f"foldsmith.search.executors.{module}"), name)
    made: Executor = kind(problem.folder.root, *layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_health_check_period_ms", "500")  # a dead node is noticed in seconds
        with made:
            yield made


@pytest.fixture
def store(executor: Executor) -> MemberStore:
    """The members of its problem."""
    return MemberStore(Folder(executor.root))


@pytest.fixture
def make_job(store: MemberStore) -> Callable[..., Job]:
    """A job of a new member."""

    def make(what: str, fold: int | None = 0) -> Job:
        member = store.reserve("toy")
        store.write(Member(member, "trial", "running", "c0ffee", "toys:Toy", "log_loss"))
        return Job(member, "toys:Toy", {"do": what, "shift": 0.1}, fold, model_seed=0)

    return make


@pytest.fixture
def do(executor: Executor) -> Callable[..., JobResult]:
    """Runs one job and gives its one result."""

    def run(job: Job) -> JobResult:
        slot = submit(executor, job)
        assert executor.running() == {slot: job}
        return collect(executor)

    return run


@pytest.fixture
def waits(executor: Executor) -> Iterator[Path]:
    """The file that a waiting job writes its process id to; waiting jobs may go on when the test is over."""
    code = executor.root / "code"
    yield code / "waits"
    for name in ("waits", "go"):
        (code / name).unlink(missing_ok=True)


def submit(executor: Executor, job: Job) -> int:
    """Start a job in the first free slot, whose number it gives."""
    number = next(slot.number for slot in executor.slots if slot.number not in executor.running())
    executor.submit(job, number)
    return number


def n_free(executor: Executor) -> int:
    """How many jobs can be submitted now."""
    return len(executor.slots) - len(executor.running())


def collect(executor: Executor) -> JobResult:
    """The one result that comes."""
    results: list[JobResult] = []
    while not results:
        results = executor.wait(0.5)
    assert len(results) == 1
    assert executor.running() == {}
    assert executor.wait(0) == []
    return results[0]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


class TestExecutor:
    """The suite; what an executor cannot do is skipped."""

    def test_a_job_gives_one_result(
        self, executor: Executor, make_job: Callable[..., Job], do: Callable[..., JobResult]
    ) -> None:
        assert n_free(executor) == executor.layout.n_slots
        job = make_job("fit")
        result = do(job)
        assert result.job == job
        assert result.fault is None
        assert result.provisional is not None and result.provisional > 0
        assert result.seconds > 0
        assert result.facts is not None
        assert (result.facts["pid"] != os.getpid()) == executor.capabilities.isolates_faults
        assert n_free(executor) == executor.layout.n_slots

    def test_folds_then_finish(
        self, make_job: Callable[..., Job], do: Callable[..., JobResult], store: MemberStore
    ) -> None:
        first = make_job("fit")
        for fold in (0, 1, 2, None):
            result = do(Job(first.member, first.family, first.params, fold, 0))
            assert result.fault is None, result.fault
        assert result.scores is not None
        member = store.get(first.member)
        assert member.state == "complete"
        assert member.scores == result.scores
        assert store.oof(member.id).shape == (60, 1) and store.test(member.id).shape == (12, 1)

    def test_a_python_error_has_its_traceback(self, make_job: Callable[..., Job], do: Callable[..., JobResult]) -> None:
        fault = do(make_job("error")).fault
        assert fault is not None
        assert (fault.reason, fault.message) == ("error", "ValueError: on purpose")
        assert "toys.py" in fault.tail and 'raise ValueError("on purpose")' in fault.tail

    def test_predictions_that_are_no_numbers(
        self, make_job: Callable[..., Job], do: Callable[..., JobResult], store: MemberStore
    ) -> None:
        job = make_job("nan")
        fault = do(job).fault
        assert fault is not None
        assert fault.reason == "not_finite"
        assert "20 of 20 rows have no finite prediction" in fault.message
        assert store.fold(job.member, 0, 0).state() == "missing"

    def test_a_fold_on_disk_is_not_fitted_again(
        self, executor: Executor, make_job: Callable[..., Job], do: Callable[..., JobResult]
    ) -> None:
        job = make_job("fit")
        first, again = do(job), do(job)
        assert again.fault is None
        assert again.provisional == first.provisional
        lines = (executor.root / ".foldsmith/logs/fits.log").read_text().splitlines()
        assert lines.count(f"{job.member} 0 0") == 1

    @pytest.mark.parametrize(("what", "message"), [("exit", "exit code 3"), ("crash", "SIGSEGV")])
    def test_a_crash_ends_its_job_only(
        self,
        executor: Executor,
        make_job: Callable[..., Job],
        do: Callable[..., JobResult],
        what: str,
        message: str,
    ) -> None:
        if not executor.capabilities.isolates_faults:
            pytest.skip("a crash would end this process")
        fault = do(make_job(what)).fault
        assert fault is not None
        assert fault.reason == "crashed"
        assert "the worker process died" in fault.message
        if executor.name == "local":
            assert message in fault.message
        if what == "crash":
            assert "Fatal Python error: Segmentation fault" in fault.tail
        assert do(make_job("fit")).fault is None

    def test_an_idle_worker_may_die(
        self, executor: Executor, make_job: Callable[..., Job], do: Callable[..., JobResult], until: Callable[..., None]
    ) -> None:
        if not executor.capabilities.isolates_faults:
            pytest.skip("the worker is this process")
        facts = do(make_job("fit")).facts
        assert facts is not None
        os.kill(facts["pid"], signal.SIGKILL)
        until(lambda: is_gone(facts["pid"]))
        result = do(make_job("fit"))
        assert result.fault is None or result.fault.reason == "crashed"  # which the driver tries once more
        assert do(make_job("fit")).fault is None

    def test_a_killed_job_says_so(
        self,
        executor: Executor,
        make_job: Callable[..., Job],
        do: Callable[..., JobResult],
        until: Callable[..., None],
        waits: Path,
    ) -> None:
        if not executor.capabilities.can_kill:
            pytest.skip("it cannot kill")
        job = make_job("wait")
        slot = submit(executor, job)
        until(waits.exists)
        executor.kill(slot)
        executor.kill(slot)  # the driver may ask again before the result has come
        result = collect(executor)
        assert result.job == job
        assert result.fault is not None and result.fault.reason == "killed"
        until(lambda: is_gone(int(waits.read_text())))
        assert do(make_job("fit")).fault is None

    def test_a_kill_that_comes_too_late(
        self,
        executor: Executor,
        make_job: Callable[..., Job],
        do: Callable[..., JobResult],
        until: Callable[..., None],
        store: MemberStore,
    ) -> None:
        """The result stands, and the next job in that slot is not taken for a killed one."""
        if not executor.capabilities.can_kill:
            pytest.skip("it cannot kill")
        job = make_job("fit")
        slot = submit(executor, job)
        until(lambda: store.fold(job.member, 0, 0).state() == "done")
        executor.kill(slot)
        result = collect(executor)
        assert result.fault is None or result.fault.reason == "killed"  # the fold was stored, the result half sent
        assert do(make_job("fit")).fault is None

    def test_slots_work_side_by_side(
        self, executor: Executor, make_job: Callable[..., Job], until: Callable[..., None], waits: Path
    ) -> None:
        if not executor.capabilities.runs_beside:
            pytest.skip("one job at a time")
        slots = {submit(executor, make_job("wait")), submit(executor, make_job("fit"))}
        assert len(slots) == 2 and n_free(executor) == 0
        until(waits.exists)
        quick: list[JobResult] = []
        while not quick:
            quick = executor.wait(0.5)
        assert [result.job.params["do"] for result in quick] == ["fit"]
        assert n_free(executor) == 1
        (waits.parent / "go").touch()
        assert collect(executor).job.params["do"] == "wait"

    def test_limits_of_a_cpu_job(
        self, executor: Executor, make_job: Callable[..., Job], do: Callable[..., JobResult]
    ) -> None:
        facts = do(make_job("fit")).facts
        assert facts is not None
        if executor.capabilities.isolates_faults:
            threads = {facts[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
            assert threads == {"1"}
            assert facts["CUDA_VISIBLE_DEVICES"] == ""

    def test_sigterm_stays_the_drivers(self, executor: Executor) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        assert not getattr(handler, "__module__", "").startswith("ray"), "ray.init set a handler that exits at once"

    def test_a_broken_ray_is_no_jobs_fault(
        self,
        executor: Executor,
        make_job: Callable[..., Job],
        do: Callable[..., JobResult],
        until: Callable[..., None],
        waits: Path,
    ) -> None:
        if executor.name not in ("ray", "tune"):
            pytest.skip("only Ray has a daemon that may die")
        job = make_job("wait")
        slot = submit(executor, job)
        until(waits.exists)
        (raylet,) = (child for child in psutil.Process().children(recursive=True) if child.name() == "raylet")
        raylet.kill()
        with pytest.raises(InfrastructureError, match="Ray broke down"):
            until(lambda: executor.wait(1))
        assert executor.running() == {slot: job}
        executor.shutdown()
        executor.start()
        assert do(make_job("fit")).fault is None


DRIVER = """
import sys
from pathlib import Path
from foldsmith.search.executors.local import LocalExecutor
from foldsmith.search.jobs import Job
from foldsmith.search.slots import Layout

if __name__ == "__main__":
    executor = LocalExecutor(Path(sys.argv[1]), Layout(2))
    executor.start()
    executor.submit(Job("toy-0001", "toys:Toy", {"do": "wait", "shift": 0.1}, 0, 0), 0)
    print("started", flush=True)
    executor.wait(600)
"""


def test_local_workers_die_with_their_driver(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None], tmp_path: Path
) -> None:
    write_family(problem, "wait")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, str(script), str(problem.folder.root)], stdout=subprocess.PIPE)
    until((problem.folder.code / "waits").exists)
    workers = [
        child for child in psutil.Process(driver.pid).children() if "resource_tracker" not in child.cmdline()[-1]
    ]
    assert len(workers) == 2
    lock = FolderLock(problem.folder.workers_lock)
    assert not lock.acquire()
    driver.kill()
    driver.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=600)
    assert len(gone) == 2 and not alive
    with lock:
        pass


def test_local_shutdown_ends_running_jobs(
    problem: Problem, write_family: Callable[..., str], until: Callable[..., None]
) -> None:
    from foldsmith.search.executors.local import LocalExecutor

    executor = LocalExecutor(problem.folder.root, Layout(1))
    with executor:
        executor.submit(Job("toy-0001", write_family(problem, "wait"), {"do": "wait", "shift": 0.1}, 0, 0), 0)
        until((problem.folder.code / "waits").exists)
    assert is_gone(int((problem.folder.code / "waits").read_text()))
    assert executor.running() == {}


def test_local_limits_are_not_the_drivers(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    from foldsmith.search.executors.local import LocalExecutor

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with LocalExecutor(problem.folder.root, Layout(1)):
        assert os.environ["OMP_NUM_THREADS"] == "7"
        assert "MKL_NUM_THREADS" not in os.environ


def test_results_that_came_before_ray_broke_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray
    from ray.exceptions import NodeDiedError

    from foldsmith.search.executors import ray as ray_executor

    jobs = [Job(f"toy-000{number}", "toys:Toy", {}, 0, 0) for number in range(3)]
    died: Any = NodeDiedError
    answers: dict[str, Any] = {
        "a": (JobResult(jobs[0], 1.0), None),
        "b": died("the node died"),
        "c": died("the node died"),
    }

    class Broken:
        """A Ray whose node died after the first result."""

        def wait(self, references: list[str], num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
            return references[:num_returns], references[num_returns:]

        exceptions = ray.exceptions

        def get(self, reference: str) -> Any:
            if isinstance(answers[reference], Exception):
                raise answers[reference]
            return answers[reference]

        def nodes(self) -> list[dict[str, Any]]:
            return [{"Alive": False}]

    monkeypatch.setattr(ray_executor, "ray_module", Broken)
    monkeypatch.setattr("foldsmith.search.executors.ray_cluster.is_broken", lambda: False)
    executor = ray_executor.RayExecutor(tmp_path, Layout(3))
    for slot, call in zip(executor.slots, "abc", strict=True):
        executor._workers[slot.number] = ray_executor._Worker(slot, None, call=call, job=jobs[slot.number])
    assert executor.wait(0) == [answers["a"][0]]
    assert executor.running() == {1: jobs[1], 2: jobs[2]}
    with pytest.raises(InfrastructureError, match="Ray broke down"):
        executor.wait(0)
    assert executor.running() == {1: jobs[1], 2: jobs[2]}
