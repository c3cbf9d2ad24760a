"""Ray's own daemons die in the middle of a search."""

from collections.abc import Callable

import psutil

from foldsmith.problem.contract import Problem
from foldsmith.results.members import MemberStore
from foldsmith.search.driver import Driver
from foldsmith.search.executors.ray import RayExecutor
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.slots import Layout
from foldsmith.search.snapshot import Snapshot


def test_ray_is_started_again_when_its_daemons_die(
    problem: Problem, write_family: Callable[..., str], fits: Callable[[Problem], list[str]]
) -> None:
    """First the control store, then the raylet, each in the middle of a fold: nothing is lost, nothing is doubled."""
    family = write_family(problem, "wait 1", "fit")
    waits, go = problem.folder.code / "waits", problem.folder.code / "go"
    victims, seen = ["gcs_server", "raylet"], list[Snapshot]()

    def kill_next(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if not waits.exists():
            return
        waits.unlink()
        if not victims:
            go.touch()
            return
        daemon = victims.pop(0)
        (found,) = (child for child in psutil.Process().children(recursive=True) if child.name() == daemon)
        found.kill()

    executor = RayExecutor(problem.folder.root, Layout(1))  # no other fold ends between the two deaths
    driver = Driver(problem, SearchOptions((family,), 2), executor, Clock(), observe=kill_next)
    assert driver.run().ended == "done"
    assert victims == []
    assert [member.state for member in MemberStore(problem.folder).all()] == ["complete"] * 2
    assert len(fits(problem)) == len(set(fits(problem))) == 6
    broke = [message for message in seen[-1].messages if message.startswith("Ray broke down")]
    assert len(broke) == 2 and "starting it again (2 of" in broke[1]
    left = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    assert not [child for child in left if child.name() in ("raylet", "gcs_server")]


def test_a_ray_that_runs_already_is_left_alone(problem: Problem, write_family: Callable[..., str]) -> None:
    """Without an address a search starts a Ray of its own, whatever else was started on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    other = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    executor = RayExecutor(problem.folder.root, Layout(1))
    try:
        executor.start()
        assert ray.get_runtime_context().gcs_address != other.address
    finally:
        executor.shutdown()
        other.shutdown()  # type: ignore[no-untyped-call]
