"""The net of RealMLP, for some members at once: each parameter has the member as its first axis.

Source: Holzmueller, Grinsztajn & Steinwart (2024), Better by Default, arXiv:2407.04491, section 3 and appendix A. This
module needs PyTorch at import; import it where a net is made. Shapes: m members, n rows, the rest as named.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

N_FREQUENCIES = 16
N_WAVES = 3  # outputs of a number's periodic embedding beside the number itself
HULL = 5  # rows whose random mean a neuron's bias starts from


@dataclass(frozen=True)
class RealMLPShape:
    """What has to be known to rebuild the net.

    Args:
        n_members: nets that are trained side by side.
        n_numbers: the first columns of the matrix; they get periodic embeddings.
        n_columns: of the matrix.
        cardinalities: of the columns of codes.
        embedding: size of a code's embedding.
        n_logits: outputs.
        width: of each hidden layer.
        n_layers: hidden layers.
        activation: ``"selu"`` or ``"mish"``.
        sigma: deviation of the frequencies at the start.
    """

    n_members: int
    n_numbers: int
    n_columns: int
    cardinalities: tuple[int, ...]
    embedding: int
    n_logits: int
    width: int
    n_layers: int
    activation: str
    sigma: float

    @property
    def n_inputs(self) -> int:
        """Columns that the first layer sees."""
        return self.n_columns + N_WAVES * self.n_numbers + self.embedding * len(self.cardinalities)


class RealMLPNet(nn.Module):
    """Embeddings, a learned scale per input, hidden layers with parametric activations, and a linear output.

    ``forward`` takes a matrix ``(m, n, n_columns)`` and codes ``(m, n, n_codes)``, or the same rows for all members
    without the first axis, and gives ``(m, n, n_logits)``. Dropout draws from ``generators``, one a member.
    """

    def __init__(self, shape: RealMLPShape) -> None:
        super().__init__()
        m, width = shape.n_members, shape.width
        self.shape = shape
        self.dropout = 0.0
        self.generators: list[torch.Generator] = []
        self.periodic = PeriodicEmbedding(m, shape.n_numbers)
        self.embedding = CodeEmbedding(m, shape.cardinalities, shape.embedding)
        self.scale = nn.Parameter(torch.ones(m, 1, shape.n_inputs))
        sizes = [shape.n_inputs] + [width] * shape.n_layers
        self.hidden = nn.ModuleList(NTKLinear(m, n_in, n_out) for n_in, n_out in zip(sizes, sizes[1:], strict=False))
        self.slopes = nn.ParameterList(torch.ones(m, 1, width) for _ in range(shape.n_layers))
        self.last = NTKLinear(m, sizes[-1], shape.n_logits)

    @property
    def n_hidden(self) -> int:
        """Values of a row in the widest layer."""
        return self.shape.n_members * max(self.shape.width, self.shape.n_inputs, N_FREQUENCIES * self.shape.n_numbers)

    def initialise(self, matrix: Tensor, codes: Tensor, seeds: Sequence[int], n_rows: int = 2048) -> None:
        """Random weights, each layer's scaled by what it makes of some train rows; all on the CPU.

        Args:
            matrix: ``(n_train, n_columns)``.
            codes: ``(n_train, n_codes)``.
            seeds: one a member; a member depends on its own seed alone.
            n_rows: how many rows to look at.
        """
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        rows = torch.stack([torch.randperm(len(matrix), generator=rng)[:n_rows] for rng in rngs])
        with torch.no_grad():
            self.periodic.initialise(self.shape.sigma, rngs)
            self.embedding.initialise(rngs)
            x = self._features(matrix[rows], codes[rows])
            for layer, slope in self._layers():
                x = self._activate(layer.initialise(x, rngs), slope)
            self.last.initialise(x, rngs)

    def forward(self, matrix: Tensor, codes: Tensor) -> Tensor:
        """Raw outputs ``(m, n, n_logits)``."""
        m = self.shape.n_members
        if matrix.ndim == 2:
            matrix, codes = matrix.expand(m, -1, -1), codes.expand(m, -1, -1)
        x = self._features(matrix, codes) * self.scale
        for layer, slope in self._layers():
            x = self._drop(self._activate(layer(x), slope))
        return torch.as_tensor(self.last(x))

    def groups(self, learning_rate: float, factors: dict[str, float]) -> list[dict[str, Any]]:
        """Parameter groups by their role; ``factors`` multiply the rate, biases have no weight decay.

        Roles are ``scale``, ``bias``, ``slope``, ``periodic``, ``first`` (weights of the first layer) and ``weight``.
        """
        roles: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            roles.setdefault(_role(name), []).append(parameter)
        return [
            {"params": found, "lr": learning_rate * factors.get(role, 1.0), "decays": role != "bias", "role": role}
            for role, found in roles.items()
        ]

    def _layers(self) -> Iterator[tuple[Any, Tensor]]:
        return zip(self.hidden, self.slopes, strict=True)

    def _features(self, matrix: Tensor, codes: Tensor) -> Tensor:
        numbers, rest = matrix[..., : self.shape.n_numbers], matrix[..., self.shape.n_numbers :]
        parts = [self.periodic(numbers), numbers, rest]
        return torch.cat([*parts, self.embedding(codes)] if codes.shape[-1] else parts, dim=-1)

    def _activate(self, x: Tensor, slope: Tensor) -> Tensor:
        """Between x itself and the activation of x, neuron by neuron; the slopes start at the activation."""
        made = torch.selu(x) if self.shape.activation == "selu" else functional.mish(x)
        return torch.lerp(x, made, slope)

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        keep = 1 - self.dropout
        masks = torch.empty_like(x)
        for mask, generator in zip(masks, self.generators, strict=True):
            mask.bernoulli_(keep, generator=generator)
        return x * masks.div_(keep)


class NTKLinear(nn.Module):
    """A linear layer a member, in the neural tangent parametrisation: ``x @ weight / sqrt(n_in) + bias``."""

    def __init__(self, n_members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_members, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_out))
        self.gain = 1 / math.sqrt(max(1, n_in))

    def forward(self, x: Tensor) -> Tensor:
        """``(m, n, n_in)`` to ``(m, n, n_out)``."""
        return torch.baddbmm(self.bias, x, self.weight, alpha=self.gain)

    def initialise(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
        """Normal weights, then scaled so that each neuron has deviation 1 on ``x``, and biases inside the data.

        A bias is minus a random convex combination of five of the neuron's values, so that its kink lies within the
        data (after Steinwart 2019, arXiv:1903.11482). Returns the layer's outputs.
        """
        for member, rng in enumerate(rngs):
            weight = torch.randn(self.weight.shape[1:], generator=rng)
            made = self.gain * (x[member] @ weight)
            deviation = made.std(dim=0, correction=0)
            deviation[deviation < 1e-6] = 1.0
            self.weight[member] = weight / deviation
            self.bias[member, 0] = -_inside(made / deviation, rng)
        return torch.as_tensor(self(x))


def _inside(values: Tensor, rng: torch.Generator) -> Tensor:
    """Per column of ``(n, n_out)`` a random convex combination of five values."""
    n, n_out = values.shape
    rows = torch.randint(n, (HULL, n_out), generator=rng)
    shares = torch.empty(HULL, n_out).exponential_(generator=rng)
    return (values.gather(0, rows) * shares).sum(dim=0) / shares.sum(dim=0)


class PeriodicEmbedding(nn.Module):
    """Per number 16 cosines of it and a linear map of them to 3 values (PBLD; the number itself stands beside them)."""

    def __init__(self, n_members: int, n_numbers: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.zeros(n_members, n_numbers, 1, N_FREQUENCIES))
        self.phase = nn.Parameter(torch.zeros(n_members, n_numbers, 1, N_FREQUENCIES))
        self.weight = nn.Parameter(torch.zeros(n_members, n_numbers, N_FREQUENCIES, N_WAVES))
        self.offset = nn.Parameter(torch.zeros(n_members, n_numbers, 1, N_WAVES))

    def initialise(self, sigma: float, rngs: Sequence[torch.Generator]) -> None:
        """Frequencies of deviation ``sigma``, phases all around, small linear maps."""
        limit = 1 / math.sqrt(N_FREQUENCIES)
        for member, rng in enumerate(rngs):
            self.frequency[member].normal_(0, sigma, generator=rng)
            self.phase[member].uniform_(-math.pi, math.pi, generator=rng)
            self.weight[member].uniform_(-limit, limit, generator=rng)
            self.offset[member].uniform_(-limit, limit, generator=rng)

    def forward(self, numbers: Tensor) -> Tensor:
        """``(m, n, n_numbers)`` to ``(m, n, 3 * n_numbers)``."""
        column = numbers.transpose(1, 2).unsqueeze(-1)  # (m, n_numbers, n, 1): one matrix product a number
        waves = torch.cos(torch.addcmul(self.phase, column, 2 * math.pi * self.frequency))
        return (waves @ self.weight + self.offset).permute(0, 2, 1, 3).flatten(2)


class CodeEmbedding(nn.Module):
    """A vector per code, all columns in one table ``(m, all codes, size)``."""

    def __init__(self, n_members: int, cardinalities: Sequence[int], size: int) -> None:
        super().__init__()
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        self.starts: Tensor
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64), persistent=False)
        self.table = nn.Parameter(torch.zeros(n_members, sum(cardinalities), size))

    def initialise(self, rngs: Sequence[torch.Generator]) -> None:
        """Normal vectors; zero for code 0, which may have no train row: an unseen level then adds nothing."""
        for member, rng in enumerate(rngs):
            self.table[member].normal_(generator=rng)
        self.table[:, self.starts] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        """``(m, n, n_codes)`` to ``(m, n, n_codes * size)``."""
        m, n_all, size = self.table.shape
        first = torch.arange(m, device=codes.device).view(m, 1, 1) * n_all
        return functional.embedding(codes + self.starts + first, self.table.view(m * n_all, size)).flatten(2)


def _role(name: str) -> str:
    if name.endswith("bias"):
        return "bias"
    if name == "hidden.0.weight":
        return "first"
    return {"scale": "scale", "slopes": "slope", "periodic": "periodic"}.get(name.split(".")[0], "weight")
