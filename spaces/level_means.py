"""Categorical columns by the target's mean per level, for models that read levels as numbers or one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.goal import Goal
from foldsmith.spaces.scaling import Matrix
from foldsmith.spaces.target_encoding import Levels, TargetEncoding, cross_fitted, inner_folds, target_columns


@dataclass(frozen=True)
class LevelMeans:
    """One encoding per column; ``encodings`` stand in the order of ``columns``, positions in ``Table.codes``."""

    columns: NDArray[np.int64]
    encodings: tuple[TargetEncoding, ...]

    @classmethod
    def fit_transform(
        cls, codes: Levels, columns: NDArray[np.int64], y: NDArray[Any], goal: Goal, seed: int
    ) -> tuple["LevelMeans", Matrix]:
        """Fit on all rows; the matrix returned is cross-fitted and not ``transform`` of these rows.

        Args:
            codes: ``(n_rows, n_codes)``, -1 for missing, which is a level of its own.
            columns: which ones to encode.
            y: ``(n_rows,)`` class codes or values.
            goal: what is fitted.
            seed: of the inner folds.
        """
        targets, folds = target_columns(y, goal), inner_folds(y, seed)
        encodings, parts = [], [np.zeros((len(codes), 0), np.float32)]
        for column in columns:
            levels = codes[:, column] + 1
            n_levels = int(levels.max(initial=0)) + 1
            encodings.append(TargetEncoding.fit(levels, targets, n_levels))
            parts.append(cross_fitted(levels, targets, n_levels, folds))
        return cls(columns, tuple(encodings)), np.hstack(parts)

    @classmethod
    def none(cls) -> "LevelMeans":
        """Encodes nothing."""
        return cls(np.zeros(0, np.int64), ())

    @property
    def n_outputs(self) -> int:
        """Columns that ``transform`` makes."""
        return sum(len(encoding.prior) for encoding in self.encodings)

    def transform(self, codes: Levels) -> Matrix:
        """``(n_rows, n_outputs)`` float32; the prior for levels that the fit did not see."""
        pairs = zip(self.columns, self.encodings, strict=True)
        parts = [encoding.transform(codes[:, column] + 1) for column, encoding in pairs]
        return np.hstack([np.zeros((len(codes), 0), np.float32), *parts])

    def arrays(self) -> dict[str, Any]:
        """State as named arrays for an npz file."""
        state: dict[str, Any] = {"encoded": self.columns}
        for place, encoding in enumerate(self.encodings):
            state |= {f"means_{place:05d}": encoding.means, f"prior_{place:05d}": encoding.prior}
        return state

    @classmethod
    def from_arrays(cls, stored: Any) -> "LevelMeans":
        """Read what ``arrays`` named, from a mapping with more keys perhaps."""
        places = range(len(stored["encoded"]))
        encodings = (TargetEncoding(stored[f"means_{place:05d}"], stored[f"prior_{place:05d}"]) for place in places)
        return cls(stored["encoded"], tuple(encodings))
