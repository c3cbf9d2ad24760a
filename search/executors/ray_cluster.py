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


def start_here(layout: Layout) -> None:
    """Start a Ray of this machine that offers what ``layout`` says, and ends with this process."""
    with _prepared({"CUDA_VISIBLE_DEVICES": ",".join(layout.gpus)} if layout.gpus else {}):
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


def join(address: str) -> None:
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
    # By default Ray leaves all GPUs visible to an actor that asked for none.
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


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
