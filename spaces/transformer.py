"""Features of a user's own: what a transformer in the competition's ``code/`` folder is.

``foldsmith.toml`` names transformers, or plain functions of a frame, as ``"module:name"``::

    [features]
    use = ["my_features:ratios", "my_features:TargetMeans"]
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.spaces.state import load_state, save_state


class Transformer(ABC):
    """Makes new columns of a table's columns; one object per fold, made without arguments.

    ``fit`` gets the fold's train rows and their labels and nothing else, so it cannot leak. What it finds is kept in
    attributes, which are written and read without pickle (see :func:`foldsmith.spaces.state.save_state`); what it
    leaves in ``self`` passes through ``save`` and ``load`` before ``transform`` is called on other rows.

    ``X`` has a default index and the columns of the table (not the id, constant ones and paths of images): numbers
    as float32, categories and texts as strings, dates; then the columns of the transformers before this one.
    It may be written to. ``y`` is what models are fitted on: class codes 0, 1, …, or values (their ``log1p`` when the
    metric is rmsle).

    A transformer without a ``fit`` is stateless: it is computed once for all folds.

    Attributes:
        is_stateless: True says that ``fit`` learns nothing.
        seed: for random numbers; differs between folds and is the same in every run.
    """

    is_stateless: bool = False
    seed: int = 0

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> Any:  # noqa: B027
        """Learn from the train rows; what it returns is ignored."""

    @abstractmethod
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """New columns for each row of ``X``, which may be any rows, even one alone.

        What a row gets must not depend on the other rows: what is to be known of them is learned in ``fit``.

        Returns:
            A frame with one row per row of ``X``, in its order. Numbers and booleans become numeric columns, strings
            and categories categorical ones with the levels of the train rows, dates date columns; infinite numbers are
            missing. Columns of ``X`` that come back unchanged are left out.
        """

    def fit_transform(self, X: pd.DataFrame, y: NDArray[Any]) -> pd.DataFrame:
        """Fit, and the new columns of the train rows.

        Overwrite it where a train row's columns must not know its own label, as a target mean would: give each row
        one that was fitted on other rows.
        """
        self.fit(X, y)
        return self.transform(X)

    def save(self, folder: Path) -> None:
        """Write what ``fit`` found into ``folder``, without pickle; by default all attributes."""
        save_state(vars(self), folder)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote into a new object."""
        vars(self).update(load_state(folder))


@final
class FunctionTransformer(Transformer):
    """A plain function of a frame, which is a stateless transformer."""

    is_stateless = True

    def __init__(self, function: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        self._function = function

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """What the function returns."""
        return self._function(X)

    def save(self, folder: Path) -> None:
        """Nothing is to be kept."""

    def load(self, folder: Path) -> None:
        """Nothing was kept."""


def is_stateless(transformer: Transformer) -> bool:
    """Whether it says so, or has no fit of its own."""
    kind = type(transformer)
    has_fit = kind.fit is not Transformer.fit or kind.fit_transform is not Transformer.fit_transform
    return transformer.is_stateless or not has_fit


def seed_of(fold_key: str) -> int:
    """A transformer's seed in a fold.

    >>> seed_of("3f0a/0-1") == seed_of("3f0a/0-1") != seed_of("3f0a/0-2")
    True
    """
    return int(np.random.SeedSequence(list(fold_key.encode())).generate_state(1)[0])
