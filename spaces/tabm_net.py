"""TabM's net behind the inputs and outputs that all nets have here; needs PyTorch and ``tabm`` at import."""

import warnings
from collections.abc import Sequence

import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from tabm import TabM
from torch import Tensor, nn


class TabMNet(nn.Module):
    """TabM-mini on a matrix of numbers ``(n, n_numbers)`` and codes ``(n, n_codes)``; gives ``(k, n, n_logits)``.

    Args:
        k: submodels.
        n_blocks: hidden layers.
        width: of each.
        dropout: share of hidden units dropped in training.
        embedding: size of a number's embedding.
        bins: per number the ascending edges of its bins, at least two.
        cardinalities: per column of codes how many there are.
        n_logits: outputs of a submodel.
    """

    def __init__(
        self,
        k: int,
        n_blocks: int,
        width: int,
        dropout: float,
        embedding: int,
        bins: Sequence[Sequence[float]],
        cardinalities: Sequence[int],
        n_logits: int,
    ) -> None:
        super().__init__()
        edges = [torch.tensor(column, dtype=torch.float32) for column in bins]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The .* feature has just two bin edges")  # as a column of 0 and 1 has
            embed = PiecewiseLinearEmbeddings(edges, embedding, activation=False, version="B") if edges else None
        self.n_hidden = k * max(width, len(bins) * embedding + sum(cardinalities))
        self.net = TabM.make(
            n_num_features=len(bins),
            cat_cardinalities=list(cardinalities),
            d_out=n_logits,
            num_embeddings=embed,
            n_blocks=n_blocks,
            d_block=width,
            dropout=dropout,
            k=k,
            arch_type="tabm-mini",
        )

    def forward(self, matrix: Tensor, codes: Tensor) -> Tensor:
        """Raw outputs of the submodels, which share the batch."""
        made: Tensor = self.net(matrix if matrix.shape[1] else None, codes if codes.shape[1] else None)
        return made.transpose(0, 1)
