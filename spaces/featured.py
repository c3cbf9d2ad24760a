"""Any family on a table with a user's features: it sees more columns and knows nothing of where they come from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.tables import Schema, Table
from foldsmith.spaces import estimates
from foldsmith.spaces.family import Facts, Family, FittedFold, FoldTask, Resources
from foldsmith.spaces.features import Features, FittedFeatures
from foldsmith.spaces.space import Params, Space
from foldsmith.spaces.transformer import seed_of

FILE = "features.zip"


class FittedFeatured:
    """A fitted model and the transformers that make its columns."""

    def __init__(self, fitted: FittedFold, columns: FittedFeatures, features: Features) -> None:
        self._fitted = fitted
        self._columns = columns
        self._features = features

    @property
    def curve(self) -> NDArray[np.float64] | None:
        """The model's."""
        return self._fitted.curve

    @property
    def facts(self) -> dict[str, Any]:
        """The model's, and which features it was fitted with."""
        used = {"digest": self._features.digest, "use": list(self._features.references)}
        return {**self._fitted.facts, "features": used}

    def predict(self, table: Table, round: int | None = None) -> NDArray[np.float32]:
        """Make the new columns, then the model's prediction."""
        return self._fitted.predict(table.join(self._columns.columns(table)), round)

    def save(self, folder: Path) -> None:
        """The model's files, and the transformers as one zip file."""
        self._fitted.save(folder)
        self._columns.save(folder / FILE)


class Featured(Family):
    """A family whose tables have a user's features beside their own columns.

    Args:
        family: fits the wider table.
        features: fitted on each fold's train rows.
        schema: of the new columns, as a sample has them; a worker, which only fits and loads, needs none.
    """

    def __init__(self, family: Family, features: Features, schema: Schema | None = None) -> None:
        for name in {**vars(Family), **Family.__annotations__}:
            if not name.startswith("_") and not callable(getattr(family, name)):
                setattr(self, name, getattr(family, name))  # what the family declares of itself
        self._family = family
        self._features = features
        self._schema = schema

    def _wider(self, facts: Facts) -> Facts:
        assert self._schema is not None, "the new columns are known after a sample was fitted"
        return replace(facts, schema=facts.schema.join(self._schema))

    def accepts(self, facts: Facts) -> str | None:
        """Whether the family can fit the wider table."""
        return self._family.accepts(self._wider(facts))

    def space(self, facts: Facts) -> Space:
        """The family's for the wider table; its version says which features these are."""
        space = self._family.space(self._wider(facts))
        return replace(space, version=space.version + self._features.suffix)

    def defaults(self, facts: Facts) -> list[Params]:
        """The family's for the wider table."""
        return self._family.defaults(self._wider(facts))

    def resources(self, facts: Facts, params: Params) -> Resources:
        """The family's for the wider table, and the rows as a frame while the features are made."""
        wider = self._wider(facts)
        resources = self._family.resources(wider, params)
        if not resources.ram_bytes:
            return resources
        frames = 2 * estimates.matrix_bytes(wider, len(wider.schema.columns))
        return replace(resources, ram_bytes=resources.ram_bytes + frames)

    def fit_fold(self, task: FoldTask) -> FittedFold:
        """Fit the transformers on the train rows, once per worker, then the family on the wider table.

        Raises:
            InputError: a transformer failed, or what it returned cannot be used.
        """

        def make() -> tuple[FittedFeatures, Table]:
            return self._features.fit(task.table, task.y, task.train_rows, seed_of(task.fold_key))

        columns: FittedFeatures
        made: Table
        columns, made = task.cache.get(
            ("features", self._features.digest, task.fold_key),
            make,
            lambda found: found[1].numeric.nbytes + found[1].codes.nbytes + found[1].datetimes.nbytes,
        )
        key = f"{self._features.digest}/{task.fold_key}"
        fitted = self._family.fit_fold(replace(task, table=task.table.join(made), fold_key=key))
        return FittedFeatured(fitted, columns, self._features)

    def load(self, folder: Path) -> FittedFold:
        """Read the model and the transformers."""
        return FittedFeatured(self._family.load(folder), self._features.load(folder / FILE), self._features)
