"""Ray over several nodes, all on this machine: who works where, nodes that come and go, copies of the folder."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.driver import Driver
from foldsmith.search.executors import ray_cluster, satellite
from foldsmith.search.executors.inline import InlineExecutor
from foldsmith.search.executors.ray import RayExecutor
from foldsmith.search.jobs import Job, JobResult
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import HOME, Layout
from foldsmith.search.snapshot import Snapshot

WriteFamily = Callable[..., str]
STORE_BYTES = 80 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with a core and a GPU, and a node with a core and two GPUs."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_health_check_period_ms", "300")  # a dead node is noticed in seconds
        head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            made.add_node(num_cpus=1, num_gpus=2, object_store_memory=STORE_BYTES)
            yield made
        finally:
            made.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def join(cluster: Any) -> Iterator[Callable[..., RayExecutor]]:
    """An executor on the cluster whose workers have all arrived."""
    made: list[RayExecutor] = []

    def start(problem: Problem, **options: Any) -> RayExecutor:
        executor = RayExecutor(problem.folder.root, Layout(1), address=cluster.address, **options)
        made.append(executor)
        executor.start()
        arrive(executor)
        return executor

    yield start
    for executor in made:
        copies = {worker.copy for worker in executor._workers.values() if worker.copy is not None}
        executor.shutdown()
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)


def arrive(executor: RayExecutor) -> None:
    """Wait for all workers that are on their way."""
    while executor.is_warming:
        assert executor.wait(0.1) == []


def do(executor: RayExecutor, job: Job, slot: int) -> JobResult:
    """One job's one result."""
    executor.submit(job, slot)
    results: list[JobResult] = []
    while not results:
        results = executor.wait(0.2)
    assert len(results) == 1
    return results[0]


def by_name(executor: RayExecutor) -> dict[str, int]:
    """Numbers of the slots."""
    return {slot.name: slot.number for slot in executor.slots}


def member_of(problem: Problem) -> str:
    """A new member of the toy family."""
    store = MemberStore(problem.folder)
    member = store.reserve("toy")
    store.write(Member(member, "trial", "running", problem.contract, "toys:Toy", problem.metric.name))
    return member


def search(problem: Problem, family: str, executor: Any, **others: Any) -> str:
    """A trial per point of the family's plan."""
    return Driver(problem, SearchOptions((family,), 3), executor, Clock(), **others).run().ended


def records(problem: Problem) -> list[dict[str, Any]]:
    """What the stored folds recorded."""
    store = MemberStore(problem.folder)
    return [store.fold(member.id, 0, fold).fitted() for member in store.all() for fold in range(3)]


def test_slots_of_all_nodes_with_their_devices(
    problem: Problem, write_family: WriteFamily, join: Callable[..., RayExecutor]
) -> None:
    write_family(problem, "fit")
    before = signal.getsignal(signal.SIGTERM)
    executor = join(problem)
    assert signal.getsignal(signal.SIGTERM) == before
    slots = by_name(executor)
    assert sorted(slots) == ["cpu1", "cpu1@node2", "gpu0", "gpu0@node2", "gpu1@node2"]
    assert {slot.node for slot in executor.slots} == {HOME, "node2"} == set(executor.layouts)
    assert all(slot.sees_folder for slot in executor.slots)
    member = member_of(problem)
    facts = {}
    for fold, name in enumerate(("cpu1@node2", "gpu1@node2", "gpu0")):
        result = do(executor, Job(member, "toys:Toy", {"do": "fit", "shift": 0.1}, fold, 0), slots[name])
        assert result.fault is None, result.fault
        facts[name] = result.facts or {}
    assert {name: fact["CUDA_VISIBLE_DEVICES"] for name, fact in facts.items()} == {
        "cpu1@node2": "",
        "gpu1@node2": "1",
        "gpu0": "0",
    }
    assert len({fact["pid"] for fact in facts.values()}) == 3
    # A driver that was killed waits for the workers of all nodes.
    from foldsmith.search.locks import FolderLock

    assert not FolderLock(problem.folder.workers_lock).acquire()


def test_nodes_that_do_not_see_the_folder_fit_the_same(
    new_problem: Callable[[], Problem],
    write_family: WriteFamily,
    join: Callable[..., RayExecutor],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fits: Callable[[Problem], list[str]],
) -> None:
    """They get a copy with the user's code and send folds back; what only home can do is done there."""
    away, here = new_problem(), new_problem()
    for problem in (away, here):
        write_family(problem, "fit", "fit", "fit")
    executor = join(away, shares_folder=False)
    sees = {slot.name: slot.sees_folder for slot in executor.slots}
    assert sees == {"cpu1": True, "gpu0": True, "cpu1@node2": False, "gpu0@node2": False, "gpu1@node2": False}
    copies = {worker.copy for worker in executor._workers.values() if worker.copy is not None}
    (copy,) = copies
    finishes: list[str] = []
    real = executor.submit

    def submit(job: Job, slot: int) -> None:
        if job.fold is None:
            finishes.append(next(other.node for other in executor.slots if other.number == slot))
        real(job, slot)

    monkeypatch.setattr(executor, "submit", submit)
    monkeypatch.setattr(executor, "start", lambda: None)  # it has started
    assert search(away, "toys:Toy", executor) == "done"
    assert search(here, "toys:Toy", InlineExecutor(here.folder.root)) == "done"
    stores = [MemberStore(problem.folder) for problem in (away, here)]
    for member in stores[1].all():
        other = stores[0].get(member.id)
        assert (other.state, other.params) == ("complete", member.params)
        assert other.scores == member.scores
        for read in (MemberStore.oof, MemberStore.test):
            assert np.array_equal(read(stores[0], member.id), read(stores[1], member.id))
    slots = {record["slot"] for record in records(away)}
    assert slots == {"cpu1", "cpu1@node2"}
    assert set(finishes) == {HOME} and len(finishes) == 3
    assert sorted(fits(away)) == sorted(fits(here)) and len(fits(away)) == 9
    assert not list((copy / ".foldsmith/members").glob("*/folds/*/*")), "the folds were not taken away"


def test_a_crash_on_another_node_has_its_log(
    problem: Problem, write_family: WriteFamily, join: Callable[..., RayExecutor]
) -> None:
    write_family(problem, "crash", "fit")
    with open(problem.folder.code / "toys.py", "a") as file:
        file.write("\n    def eat(self):\n        taken = np.ones(40 << 20)\n        time.sleep(30)\n")
    executor = join(problem, shares_folder=False)
    slot = by_name(executor)["cpu1@node2"]
    job = Job(member_of(problem), "toys:Toy", {"do": "crash", "shift": 0.1}, 0, 0)
    fault = do(executor, job, slot).fault
    assert fault is not None and fault.reason == "crashed"
    assert "Fatal Python error: Segmentation fault" in fault.tail
    arrive(executor)
    job = Job(job.member, "toys:Toy", {"do": "eat", "shift": 0.1}, 0, 0, ram_limit_bytes=280 << 20)
    result = do(executor, job, slot)
    assert result.fault is not None
    assert result.fault.reason == "oom" and "its limit was 0.27 GiB" in result.fault.message
    assert result.peak_bytes > 280 << 20


def test_a_fold_that_comes_incomplete(
    problem: Problem, write_family: WriteFamily, join: Callable[..., RayExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from foldsmith.search.executors import ray as ray_executor

    write_family(problem, "fit")
    executor = join(problem, shares_folder=False)
    slot = by_name(executor)["cpu1@node2"]
    job = Job(member_of(problem), "toys:Toy", {"do": "fit", "shift": 0.1}, 0, 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            ray_executor, "receive_fold", lambda root, job, packed: satellite.receive_fold(root, job, packed[:700])
        )
        fault = do(executor, job, slot).fault
    assert fault is not None and fault.reason == "crashed"
    assert MemberStore(problem.folder).fold(job.member, 0, 0).state() == "missing"
    assert do(executor, job, slot).fault is None
    assert MemberStore(problem.folder).fold(job.member, 0, 0).state(verify=True) != "missing"


def test_nodes_come_and_go_while_folds_run(
    problem: Problem,
    cluster: Any,
    write_family: WriteFamily,
    monkeypatch: pytest.MonkeyPatch,
    fits: Callable[[Problem], list[str]],
) -> None:
    """A third node joins a search and is killed with a fold on it: the fold is fitted elsewhere, nothing is doubled."""
    monkeypatch.setattr("foldsmith.search.executors.ray.LOOK_FOR_NODES_SECONDS", 0.1)
    family = write_family(problem, "wait", "wait", "wait")
    code = problem.folder.code
    executor = RayExecutor(problem.folder.root, Layout(1), address=cluster.address)
    added: list[Any] = []
    killed: list[Job] = []
    seen: list[Snapshot] = []

    def act(snapshot: Snapshot) -> None:
        """All folds wait; they may go on when the third node has come, has got one, was killed, and has left."""
        seen.append(snapshot)
        names = {slot.name for slot in executor.slots}
        running = {job.slot: job for job in executor.running().values()}
        if not added and (code / "waits").exists():
            added.append(cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES))
        elif not killed and "cpu1@node3" in running:
            killed.append(running["cpu1@node3"])
            cluster.remove_node(added[0], allow_graceful=False)
        elif killed and "cpu1@node3" not in names and names:
            assert "cpu1@node2" in names
            (code / "go").touch()

    assert search(problem, family, executor, observe=act) == "done"
    record = MemberStore(problem.folder).fold(killed[0].member, 0, killed[0].fold or 0).fitted()
    assert record["slot"] in ("cpu1", "cpu1@node2")
    assert {member.state for member in MemberStore(problem.folder).all()} == {"complete"}
    assert len(MemberStore(problem.folder).all()) == 3
    assert len(fits(problem)) == len(set(fits(problem))) == 9
    assert not any("failed" in message for message in seen[-1].messages)


def test_a_cluster_whose_workers_cannot_start(problem: Problem, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from foldsmith.search.executors import ray as ray_executor
    from foldsmith.search.executors.base import InfrastructureError

    class Lame(ray_executor.FoldWorker):
        """As on a machine that lacks a package."""

        def arrive(self, root: str, identity: str, shares_folder: bool) -> tuple[str, bool]:
            raise ModuleNotFoundError("No module named 'foldsmith'")

    monkeypatch.setattr(ray_executor, "FoldWorker", Lame)
    executor = RayExecutor(problem.folder.root, Layout(1), address=cluster.address)
    executor.start()
    try:
        with pytest.raises(InfrastructureError, match="no worker of the cluster could start: .*No module named 'folds"):
            arrive(executor)
    finally:
        executor.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "local", "no.such.host.invalid:6379"])
def test_a_wrong_address_is_said_at_once(address: str) -> None:
    with pytest.raises(InputError, match=f"no Ray cluster answers at --address '{address}' .*ray start --head"):
        ray_cluster.enter(address, Layout(1), "mark")
