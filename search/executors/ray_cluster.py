"""Starting Ray here or joining one that runs, and noticing when it breaks."""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from foldsmith.problem.errors import InputError, MissingPackageError
from foldsmith.search.processes import MARK, kill_marked
from foldsmith.search.slots import Layout, cut

# Results only travel through the object store; tables are memory-mapped files and models stay on disk.
OBJECT_STORE_BYTES = 100 * 1024 * 1024
NAMESPACE = "foldsmith"
# Of the path that Ray's sockets lie below, and where to go when it is longer.
MAX_TEMP_BYTES = 36
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
ANSWER_SECONDS = 10.0  # of a cluster's head to a connection


def ray_module() -> Any:
    """Ray, imported when it is needed.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingPackageError("the ray executor needs the package ray: pip install 'ray[tune]'") from None
    return ray


class Membership:
    """This process's part in a Ray: one of its own, a cluster that it joined, or one that the caller had before.

    A Ray that somebody else started in this process is used as a cluster that was joined; it is neither changed nor
    shut down.

    Args:
        is_alone: nobody else works there, and it ends with this.
        is_mine: this process entered it here, and leaves it.
    """

    def __init__(self, *, is_alone: bool, is_mine: bool, mark: str) -> None:
        self.is_alone = is_alone
        self._is_mine = is_mine
        self._mark = mark

    def leave(self) -> None:
        """End or leave the Ray, unless it was there before; end what workers left behind."""
        if self._is_mine:
            try:
                stop()
            finally:
                _claim.release()
        kill_marked(self._mark)


_claim = threading.Lock()  # of a process's one Ray; held while it is foldsmith's own


def enter(address: str | None, layout: Layout, mark: str) -> Membership:
    """Use the Ray that this process has, else join the one at ``address``, else start one for ``layout``.

    Args:
        mark: by which processes that workers leave behind are known.

    Raises:
        InputError: there is none at ``address``, or this process's Ray cannot be used.
    """
    ray = ray_module()
    if not _claim.acquire(blocking=False):
        raise InputError(
            "another search in this process has started Ray for itself, and a process has one Ray only; "
            "run this search with the executor 'local', or in a process of its own"
        )
    try:
        is_theirs = bool(ray.is_initialized())
        if is_theirs:
            _check_theirs(address)
        elif address is None:
            _start_here(layout, mark)
        else:
            _join(address)
    except BaseException:
        _claim.release()
        raise
    if is_theirs:
        _claim.release()  # others may use it as well
    return Membership(is_alone=address is None and not is_theirs, is_mine=not is_theirs, mark=mark)


def is_claimed() -> bool:
    """Whether another search of this process has started Ray for itself."""
    return _claim.locked()


def _check_theirs(address: str | None) -> None:
    """Refuse to mix up Rays."""
    from ray.util.client import ray as client

    if client.is_connected():  # type: ignore[no-untyped-call]
        raise InputError(
            "this process is connected to a Ray as a client (ray://), which cannot hold fold workers; call "
            "ray.shutdown() first, or run the search with the executor 'local'"
        )
    mine = str(ray_module().get_runtime_context().gcs_address)
    if address is not None and _resolved(address) not in (None, mine):
        raise InputError(
            f"this process works with the Ray at {mine} already, not with the one at {address!r}; call ray.shutdown() "
            "first, or leave the address out"
        )


def _resolved(address: str) -> str | None:
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError, RuntimeError, OSError):
        return address


def _start_here(layout: Layout, mark: str) -> None:
    """Start a Ray of this machine that offers what ``layout`` says, and ends with this process."""
    # A worker's whole process group ends with it: what a family started does not stay behind.
    environment = {MARK: mark, "RAY_process_group_cleanup_enabled": "true"}
    if layout.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(layout.gpus)
    with _prepared(environment):
        ray_module().init(
            "local",  # without a word it would join whatever Ray was started on this machine before
            num_cpus=layout.n_slots,
            num_gpus=len(layout.gpus),
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            object_store_memory=OBJECT_STORE_BYTES,
            namespace=NAMESPACE,
            **short_temp_dir(),
        )


def short_temp_dir() -> dict[str, str]:
    """Where Ray is to keep its sockets, if not where it would by itself.

    The system takes a socket's path of at most 107 bytes, of which Ray's own names need up to 68; a TMPDIR of a batch
    system, or one that cannot be written to, would end it with an error.

    Raises:
        InputError: no short folder can be written to.
    """
    wanted = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    for folder in (wanted, *SHORT_FOLDERS):
        if len(os.fsencode(folder)) <= MAX_TEMP_BYTES and os.access(folder, os.W_OK | os.X_OK):
            return {} if folder == wanted else {"_temp_dir": os.path.join(folder, "ray")}
    raise InputError(
        f"Ray needs a folder with a path of at most {MAX_TEMP_BYTES} bytes for its sockets, and TMPDIR={wanted!r} is "
        "none, nor can /tmp be written to; set RAY_TMPDIR to one, or use --executor local"
    )


def _join(address: str) -> None:
    """Join a Ray that runs already, on this machine too.

    Raises:
        InputError: there is none at ``address``.
    """
    ray_module()
    with _prepared({}):
        try:
            _call_at(address)
            ray_module().init(address, configure_logging=False, log_to_driver=False, namespace=NAMESPACE)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"no Ray cluster answers at --address {address!r} ({reason}); start its head with "
                "'ray start --head', and 'ray start --address=HEAD:6379' on every machine, this one too"
            ) from None


def _call_at(address: str) -> None:
    """Raise what there is to raise before ``ray.init`` does: that one tries an address for many minutes."""
    from ray._private.services import canonicalize_bootstrap_address

    found = canonicalize_bootstrap_address(address)
    if found is None:
        raise ValueError("it would start a Ray of its own")
    host, _, port = found.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()


@contextmanager
def _prepared(environment: Mapping[str, str]) -> Iterator[None]:
    """The environment that Ray's processes inherit, and the handler of SIGTERM that ``ray.init`` would replace."""
    usage = os.environ.get("RAY_USAGE_STATS_ENABLED", "0")
    # By default Ray leaves all GPUs visible to an actor that asked for none.
    own = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1", "RAY_USAGE_STATS_ENABLED": usage, **environment}
    kept = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def home_node() -> str:
    """The id of the node that this process is on."""
    return str(ray_module().get_runtime_context().get_node_id())


def living_nodes(n_workers: int, per_gpu: int) -> dict[str, Layout]:
    """The nodes of the cluster that live and offer a core or a GPU, by id, cut into slots.

    Args:
        n_workers: CPU slots on each node at most; 0 for no bound.
        per_gpu: slots on each GPU.
    """
    nodes = {}
    for node in ray_module().nodes():
        if node["Alive"]:
            offers = node["Resources"]
            cores, n_gpus = int(offers.get("CPU", 0)), int(offers.get("GPU", 0))
            layout = cut(
                cores=cores,
                gpus=tuple(str(number) for number in range(n_gpus)),
                n_workers=min(n_workers, cores),
                per_gpu=per_gpu,
                ram_bytes=int(offers.get("memory", 0)),
            )
            layout = layout if cores else replace(layout, n_cpu=0)
            if layout.n_slots:
                nodes[str(node["NodeID"])] = layout
    return nodes


def is_broken() -> bool:
    """Whether a daemon of the Ray that this process started is dead: without them nothing new ever starts.

    Asked of the processes themselves: Ray's own client waits a minute for a dead control store, and then ends this
    process.
    """
    from ray._private import worker

    node = worker._global_node
    return node is not None and any(
        kind in ("raylet", "gcs_server") for kind, process in node.dead_processes() if process.poll() is not None
    )


def stop() -> None:
    """Leave Ray, and end it if this process started it."""
    from ray._private import worker

    ray = ray_module()
    if not ray.is_initialized():
        return
    if is_broken() and worker._global_node is not None:
        worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
    ray.shutdown()
