"""Which nodes of a Ray offer slots to the Tune executor, and what a slot asks of its node."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.executors import ray_cluster
from foldsmith.search.executors.ray_cluster import ray_module
from foldsmith.search.executors.satellite import sees
from foldsmith.search.slots import HOME, Layout, Slot

LOOK_SECONDS = 2.0
# A node offers 1 of a resource with its own name; a slot takes as many of these shares as its number on the node.
SHARE = 1e-4
MAX_SLOTS = 140  # 1 + 2 + … + 140 shares are still less than 1


class TuneNodes:
    """The nodes that see the competition folder, and how each is cut into slots.

    Args:
        root: the competition folder.
        layout: of this machine.
        n_workers: CPU slots on each node at most; 0 for one per core.
        shares_folder: False keeps to this machine.
    """

    def __init__(self, root: Path, layout: Layout, *, n_workers: int, shares_folder: bool) -> None:
        self.layouts: dict[str, Layout] = {}
        self._root = root
        self._layout = layout
        self._n_workers = n_workers
        self._shares_folder = shares_folder
        self._ids: dict[str, str] = {}
        self._probes: dict[str, Any] = {}
        self._n_slots = 0
        self._looked_at = 0.0

    def add_home(self) -> dict[Slot, dict[str, float]]:
        """The slots of this machine, with the resources that each asks for."""
        return self._add(HOME, self._layout, ray_cluster.home_node())

    def look(self, wait_seconds: float = 0.0) -> dict[Slot, dict[str, float]]:
        """Slots of nodes that have come since the last look and see the folder, with what each asks for.

        Args:
            wait_seconds: for the answers of nodes that were not asked before.
        """
        if not wait_seconds and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return {}
        self._looked_at = time.monotonic()
        living = ray_cluster.living_nodes(self._n_workers, self._layout.per_gpu)
        home = ray_cluster.home_node()
        for node_id in sorted(living, key=lambda node_id: node_id != home):  # Ray's order is by chance
            if node_id not in self._probes and (self._shares_folder or node_id == home):
                self._probes[node_id] = self._probe(node_id)
        asked = {probe: node_id for node_id, probe in self._probes.items() if probe is not None}
        if not asked:
            return {}
        answers, _ = ray_module().wait(list(asked), num_returns=len(asked), timeout=wait_seconds)
        found: dict[Slot, dict[str, float]] = {}
        for answer in answers:
            node_id = asked[answer]
            self._probes[node_id] = None  # it is asked once
            if node_id in living and _is_yes(answer):
                found.update(self._welcome(living[node_id], node_id, is_home=node_id == home))
        return found

    def has_left(self, node: str) -> bool:
        """Whether the node is gone."""
        return not any(entry["Alive"] and entry["NodeID"] == self._ids[node] for entry in ray_module().nodes())

    def _probe(self, node_id: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node_id, soft=False)
        task = ray_module().remote(sees).options(num_cpus=0, max_retries=0, scheduling_strategy=place)
        return task.remote(self._root, MemberStore(Folder(self._root)).identity)

    def _welcome(self, layout: Layout, node_id: str, *, is_home: bool) -> dict[Slot, dict[str, float]]:
        if is_home:  # the driver's own machine keeps its memory limit: others may work there too
            ram_bytes = min(filter(None, (layout.ram_bytes, self._layout.ram_bytes)), default=0)
            layout = replace(layout, ram_bytes=ram_bytes)
        return self._add(HOME if is_home else f"node{len(self._ids) + 1}", layout, node_id)

    def _add(self, node: str, layout: Layout, node_id: str) -> dict[Slot, dict[str, float]]:
        if layout.n_slots > MAX_SLOTS:
            raise InputError(f"{layout.n_slots} slots on one node are more than {MAX_SLOTS}; lower --workers")
        self.layouts[node], self._ids[node] = layout, node_id
        address = next(entry["NodeManagerAddress"] for entry in ray_module().nodes() if entry["NodeID"] == node_id)
        slots = layout.slots(self._n_slots, node=node)
        self._n_slots += len(slots)
        return {slot: resources(slot, layout, number, address) for number, slot in enumerate(slots, 1)}


def resources(slot: Slot, layout: Layout, number: int, address: str) -> dict[str, float]:
    """What a slot asks of its node; no two slots ask for the same, so that Tune cannot mix them up.

    Args:
        number: of the slot on its node, from 1 on.
        address: of the node.

    >>> resources(Slot(2, "gpu0a", "0"), Layout(2, ("0",), per_gpu=2, cores=4), 3, "10.0.0.7")
    {'node:10.0.0.7': 0.0003, 'CPU': 1.0, 'GPU': 0.5}
    """
    asked = {f"node:{address}": round(number * SHARE, 4)}
    # A GPU fold needs a core for its own thread, if there is one for it.
    if slot.gpu is None or (layout.cores or layout.n_slots) >= layout.n_slots:
        asked["CPU"] = 1.0
    if slot.gpu is not None:
        asked["GPU"] = int(10_000 / layout.per_gpu) / 10_000
    return asked


def has_lost_control() -> bool:
    """Whether the control store of the Ray that this process started is dead."""
    from ray._private import worker

    node = worker._global_node
    return node is not None and any(kind == "gcs_server" for kind, _ in node.dead_processes())


def _is_yes(answer: Any) -> bool:
    try:
        return bool(ray_module().get(answer))
    except ray_module().exceptions.RayError:  # the node left again, or has no foldsmith
        return False
