"""What a search may use of this machine: what is there, what the config says, what was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.search.memory import parse_bytes
from foldsmith.search.rig import Gpu, Rig, detect_rig
from foldsmith.search.slots import Layout, cut, shares
from foldsmith.spaces.estimates import WORKER_BYTES
from foldsmith.spaces.family import Facts
from foldsmith.spaces.lightgbm import can_use_cuda
from foldsmith.spaces.registry import get_family

CROWD = 2  # workers a core, above which somebody may not know what they asked for
VRAM_SHARE = 0.95  # of what is free: the driver keeps a little for itself


@dataclass(frozen=True)
class RigRequest:
    """What somebody asked for; None means as the config says.

    Args:
        workers: CPU folds side by side; 0 for one per core.
        gpus: devices to use, none of them when empty.
        per_gpu: folds of a family on one device; 0 keeps it on the CPU.
        ram_limit: ``"12G"`` or ``"80%"`` of what is free.
        joins_cluster: other machines take part, whose GPUs are not known yet.
    """

    workers: int = 0
    gpus: tuple[str, ...] | None = None
    per_gpu: Mapping[str, int] | None = None
    ram_limit: str | None = None
    joins_cluster: bool = False


@dataclass(frozen=True)
class RigPlan:
    """How the machine is used.

    Args:
        gpu_shares: of a GPU that a fold takes, by family; 0 for a CPU family.
        notice: for people, None when there is nothing to say.
    """

    rig: Rig
    layout: Layout
    gpu_shares: dict[str, float]
    notice: str | None = None

    def describe(self) -> str:
        """One line for people.

        >>> RigPlan(Rig(8, 64 << 30, 60 << 30), Layout(8), {}).describe()
        '8 cores · 64 GiB RAM · no GPU · 8 CPU slots'
        """
        n_gpu = len(self.layout.gpus) * self.layout.per_gpu
        slots = [f"{self.layout.n_cpu} CPU slot{'s' if self.layout.n_cpu != 1 else ''}"]
        if n_gpu:
            slots.append(f"{n_gpu} GPU slot{'s' if n_gpu != 1 else ''}")
        return f"{self.rig.describe()} · {', '.join(slots)}"


def plan_rig(problem: Problem, families: Sequence[str], request: RigRequest, rig: Rig | None = None) -> RigPlan:
    """Cut this machine into slots for ``families``.

    Args:
        rig: as detected; looked at now when None.

    Raises:
        InputError: a GPU that is not there, an unknown family, a memory limit that is none.
    """
    config = problem.config.rig
    rig = rig or detect_rig()
    asked = request.gpus if request.gpus is not None else None if config.gpus is None else map(str, config.gpus)
    gpus = rig.gpus if asked is None else tuple(_gpu(rig, name) for name in asked)
    per_gpu = {**config.per_gpu, **(request.per_gpu or {})}
    for name in per_gpu:
        get_family(name, problem.folder.code)
    none: dict[str, float] = dict.fromkeys(families, 0.0)
    # Other nodes of a cluster may have GPUs that this machine has not.
    wanted, notice = _shares(problem, families, per_gpu) if gpus or request.joins_cluster else (none, None)
    positive = [share for share in wanted.values() if share > 0]
    n_workers = request.workers or config.workers
    layout = cut(
        cores=rig.cores,
        gpus=tuple(gpu.id for gpu in gpus) if positive else (),
        n_workers=n_workers,
        per_gpu=int(1 / min(positive) + 1e-6) if positive else 1,
        ram_bytes=parse_bytes(request.ram_limit or config.ram_limit, of=rig.free_bytes),
        vram_bytes=min((int(VRAM_SHARE * gpu.free_bytes) for gpu in gpus), default=0),
    )
    notices = [text for text in (notice, _crowd(n_workers, rig)) if text is not None]
    return RigPlan(rig, layout, wanted, "; ".join(notices) or None)


def _crowd(n_workers: int, rig: Rig) -> str | None:
    """A warning when far more workers were asked for than there are cores for."""
    if n_workers <= CROWD * rig.cores:
        return None
    gib = n_workers * WORKER_BYTES / 2**30
    return (
        f"--workers {n_workers} are far more than the {rig.cores} core{'s' if rig.cores > 1 else ''} here: folds slow "
        f"each other down, and the idle workers alone take about {gib:.1f} GiB of {rig.ram_bytes / 2**30:.1f} GiB; "
        "leave --workers out for one per core"
    )


def _gpu(rig: Rig, name: str) -> Gpu:
    for gpu in rig.gpus:
        if gpu.id == name:
            return gpu
    if not rig.gpus:
        raise InputError(
            f"GPU {name!r} was asked for, but no GPU is visible here; check nvidia-smi, or leave --gpus out"
        )
    raise UnknownNameError("GPU", name, (gpu.id for gpu in rig.gpus), "see nvidia-smi")


def _shares(
    problem: Problem, families: Sequence[str], per_gpu: Mapping[str, int]
) -> tuple[dict[str, float], str | None]:
    """What each family takes of a GPU: as chosen, else as it wishes for data of this size."""
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    chosen = shares(per_gpu)
    wanted = {}
    for name in families:
        family = get_family(name, problem.folder.code)
        defaults = [] if family.accepts(facts) else family.defaults(facts)
        wish = family.resources(facts, defaults[0]).gpus if defaults else 0.0
        wanted[name] = chosen.get(name, wish)
    if wanted.get("lightgbm") and not can_use_cuda():
        wanted["lightgbm"] = 0.0
        return wanted, "lightgbm stays on the CPU: the installed build cannot train with CUDA"
    return wanted, None
