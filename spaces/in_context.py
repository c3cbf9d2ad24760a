"""In-context foundation models: pretrained nets that read the train rows as they predict, and have no fit of their own.

Source: Hollmann et al. (2025), Accurate predictions on small data with a tabular foundation model, Nature 637; Qu et
al. (2025), TabICL, arXiv:2502.05564. What is stored of a fold is therefore its context, the encoded train rows; and
since every prediction reads all of them, the test rows are predicted by one model of all rows (``refits``).
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import FoldsmithError
from foldsmith.problem.goal import Goal, Task
from foldsmith.problem.tables import Table
from foldsmith.spaces import estimates
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.matrices import tree_matrices
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.space import Params
from foldsmith.spaces.training import torch_threads
from foldsmith.spaces.weights import Weights, find_weights, why_missing

GPU_ROWS = 1000  # from here on a GPU is worth its start
PREDICT_BLOCK = 10_000  # rows predicted at a time; each block reads the whole context again
LARGEST = 1e30  # of a cell: the libraries square and cube them in float64
EMBEDDING_BYTES = 4 * 192  # of a cell inside the net
NET_BYTES = 400 * estimates.MIB


@dataclass(frozen=True)
class Prompt:
    """What an estimator is built from, besides its weights; JSON values.

    Args:
        kind: of the goal.
        n_outputs: columns of a prediction.
        takes_median: values only: for absolute loss.
        params: a point of the family's space.
        seed: of the model.
        categorical: positions of the columns of category codes.
        weights: name of the weights' file.
        device: ``"cpu"`` or ``"cuda"``.
        batch_divisor: divide the number of views that the net sees at once by it.
    """

    kind: Task
    n_outputs: int
    takes_median: bool
    params: Params
    seed: int
    categorical: list[int]
    weights: str
    device: str = "cpu"
    batch_divisor: int = 1


@dataclass
class FittedInContext:
    """The context and an estimator that has read it.

    Args:
        prompt: what the estimator was built from.
        matrix: ``(n_train, n_columns)``, missing values as NaN.
        target: ``(n_train,)`` class codes or values.
        estimator: with ``predict_proba`` and ``classes_``, or ``predict(matrix, output_type=...)``; None when the
            train rows have one class only.
        threads: that a prediction may use.
    """

    prompt: Prompt
    encoder: TreeEncoder
    matrix: Matrix
    target: NDArray[Any]
    estimator: Any
    threads: int
    facts: dict[str, Any] = field(default_factory=dict)
    curve: None = None

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Chances or values, ``(n_rows, n_outputs)``; ``round`` has no meaning here."""
        matrix = _encoded(self.encoder, table)
        blocks = np.array_split(matrix, max(1, -(-len(matrix) // PREDICT_BLOCK)))
        with torch_threads(self.threads):
            parts = [
                self._chances(block) if self.prompt.kind != "regression" else self._values(block) for block in blocks
            ]
        return np.concatenate(parts).astype(np.float32)

    def _chances(self, matrix: Matrix) -> NDArray[np.float64]:
        """Chances of the goal's outputs; classes that the train rows lack have none."""
        n_classes = max(2, self.prompt.n_outputs)
        chances = np.zeros((len(matrix), n_classes))
        if self.estimator is None:
            chances[:, int(self.target[0])] = 1.0
        else:
            found = np.asarray(self.estimator.predict_proba(matrix), np.float64)
            chances[:, np.asarray(self.estimator.classes_, np.int64)] = found / found.sum(axis=1, keepdims=True)
        return chances[:, 1:] if self.prompt.n_outputs == 1 else chances

    def _values(self, matrix: Matrix) -> NDArray[np.float64]:
        output = "median" if self.prompt.takes_median else "mean"
        return np.asarray(self.estimator.predict(matrix, output_type=output), np.float64).reshape(-1, 1)

    def save(self, folder: Path) -> None:
        """Write the context as ``context.npz``, the prompt as ``prompt.json``, and the encoder; no weights."""
        np.savez(folder / "context.npz", matrix=self.matrix, target=self.target)
        (folder / "prompt.json").write_text(json.dumps({"format": 1, **asdict(self.prompt)}))
        self.encoder.save(folder)


class InContext(Family):
    """What in-context families share; a subclass names weights and builds the estimator."""

    stopping = "fixed"
    refits = True

    @abstractmethod
    def weights(self, goal: Goal) -> Sequence[Weights]:
        """Files that will do for the goal, best first."""

    @abstractmethod
    def estimator(self, prompt: Prompt, weights: Path) -> Any:
        """The library's estimator, which has read nothing yet; takes ``fit(matrix, target)``."""

    def caches(self) -> Sequence[Path]:
        """Folders where the library keeps weights, besides the hub's cache."""
        return ()

    def accepts(self, facts: Facts) -> str | None:
        """The weights are here, and the table is one that they were made for."""
        wanted = self.weights(facts.goal)
        found = find_weights(wanted, self.caches())
        return why_missing(wanted) if found is None else _why_too_large(found[0], facts)

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The net, and every cell of one view as the net embeds it."""
        n_columns = estimates.n_tree_columns(facts)
        cells = facts.n_rows * (n_columns + 4) * EMBEDDING_BYTES
        held = NET_BYTES + 7 * estimates.matrix_bytes(facts, n_columns) + estimates.output_bytes(facts) + 2 * cells
        return Resources(
            gpus=1.0 if facts.n_rows >= GPU_ROWS else 0.0,
            ram_bytes=estimates.WORKER_BYTES + estimates.TORCH_BYTES + held,
            vram_bytes=estimates.CONTEXT_BYTES + held,
        )

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Encode the train rows and hand them to the estimator.

        Raises:
            FoldsmithError: the weights are not on this machine, or there are too many rows for a CPU.
        """
        weights, path = self._found(self.weights(task.goal))
        if task.device == "cpu" and len(task.train_rows) > weights.max_cpu_rows:
            raise FoldsmithError(
                f"{self.name}: {len(task.train_rows)} train rows on a CPU, where {weights.name} is bearable up to "
                f"{weights.max_cpu_rows}; give the search a GPU, or leave the family out"
            )
        fold = tree_matrices(task)
        prompt = Prompt(
            kind=task.goal.kind,
            n_outputs=task.goal.n_outputs,
            takes_median=task.goal.loss == "absolute",
            params=dict(task.params),
            seed=task.seed % 2**31,
            categorical=fold.encoder.categorical,
            weights=weights.name,
            device=task.device,
            batch_divisor=task.batch_divisor,
        )
        matrix = _encoded(fold.encoder, task.table.take(task.train_rows))
        return self._read_in(prompt, fold.encoder, matrix, task.y[task.train_rows], path, task.threads)

    def load(self, folder: Path) -> FittedFold:
        """Read the context, find the weights again, and let the estimator read it.

        Raises:
            FoldsmithError: the weights that the model was made with are not on this machine.
        """
        import torch

        record = json.loads((folder / "prompt.json").read_text())
        prompt = Prompt(**{name: value for name, value in record.items() if name != "format"})
        known = [*self.weights(_goal_like(prompt))]
        _, path = self._found([weights for weights in known if weights.name == prompt.weights] or known)
        if prompt.device == "cuda" and not torch.cuda.is_available():
            prompt = Prompt(**{**asdict(prompt), "device": "cpu"})
        with np.load(folder / "context.npz", allow_pickle=False) as stored:
            matrix, target = stored["matrix"], stored["target"]
        return self._read_in(prompt, TreeEncoder.load(folder), matrix, target, path, torch.get_num_threads())

    def _found(self, wanted: Sequence[Weights]) -> tuple[Weights, Path]:
        found = find_weights(wanted, self.caches())
        if found is None:
            raise FoldsmithError(f"{self.name}: {why_missing(wanted)}")
        return found

    def _read_in(
        self, prompt: Prompt, encoder: TreeEncoder, matrix: Matrix, target: NDArray[Any], weights: Path, threads: int
    ) -> FittedInContext:
        has_choice = prompt.kind == "regression" or len(np.unique(target)) > 1
        estimator = self.estimator(prompt, weights) if has_choice else None
        if estimator is not None:
            with torch_threads(threads):
                estimator.fit(matrix, target)
        facts = {"device": _device_used(estimator, prompt.device), "weights": prompt.weights, "n_context": len(target)}
        return FittedInContext(prompt, encoder, matrix, target, estimator, threads, facts)


def _encoded(encoder: TreeEncoder, table: Table) -> Matrix:
    return np.clip(encoder.transform(table), -LARGEST, LARGEST)


def _goal_like(prompt: Prompt) -> Goal:
    """A goal that wants the same weights."""
    return Goal(prompt.kind, max(2, prompt.n_outputs) if prompt.kind != "regression" else 0, "log_loss", "log_loss")


def _why_too_large(weights: Weights, facts: Facts) -> str | None:
    n_columns = estimates.n_tree_columns(facts)
    for what, found, most in (
        ("rows", facts.n_rows, weights.max_rows),
        ("columns", n_columns, weights.max_columns),
        ("classes", facts.goal.n_classes, weights.max_classes),
    ):
        if found > most:
            return f"{found:,} {what}, but {weights.name} is made for at most {most:,}"
    if estimates.FIT_SHARE * facts.n_rows > weights.max_cpu_rows and not has_gpu():
        return (
            f"{facts.n_rows:,} rows need a GPU: without one {weights.name} is bearable up to {weights.max_cpu_rows:,}"
        )
    return None


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU; asks the driver, loads no framework."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    try:
        return bool(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def _device_used(estimator: Any, asked: str) -> str:
    """The device that the estimator says its net is on."""
    devices = getattr(estimator, "devices_", None) or (getattr(estimator, "device_", None) or asked,)
    return str(getattr(devices[0], "type", devices[0]))
