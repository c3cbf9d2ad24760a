"""One fold of one member on disk: a fitted model first, its predictions later, each appearing whole or not at all.

    members/<id>/folds/<repeat>-<fold>/
        model files, curve.npy, fitted.json     stage 1, appears by one rename of the folder
        valid.npy, test.npy, done.json          stage 2, done.json last

Families that are fitted once more on all rows have no ``test.npy`` in their folds; that model and its ``test.npy``
stand beside them in ``all-<repeat>``. Both records hold the size and BLAKE2b digest of the files that they vouch for.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foldsmith.problem.errors import DamagedFileError, FoldsmithError
from foldsmith.problem.files import file_digest, json_bytes, read_array, read_json, sync, write_array, write_json
from foldsmith.problem.goal import Outputs

FoldState = Literal["missing", "fitted", "done"]


@dataclass(frozen=True)
class FoldStore:
    """The folder of one fold.

    Args:
        path: ``members/<id>/folds/<repeat>-<fold>``.
    """

    path: Path

    def state(self, *, verify: bool = False) -> FoldState:
        """How far the fold is; with ``verify`` a record counts only if the files it vouches for are unharmed."""
        if not self._vouched("fitted.json", verify):
            return "missing"
        return "done" if self._vouched("done.json", verify) else "fitted"

    def save_fitted(
        self, save_model: Callable[[Path], None], curve: NDArray[np.float64] | None, record: dict[str, Any]
    ) -> None:
        """Stage 1: write model and curve into a temporary folder, make them durable, rename it into place."""

        def fill(temporary: Path) -> None:
            save_model(temporary)
            if curve is not None:
                np.save(temporary / "curve.npy", curve, allow_pickle=False)
            names = sorted(file.name for file in temporary.iterdir())
            (temporary / "fitted.json").write_bytes(json_bytes({**record, "files": _vouch(temporary, names)}))

        self._appear(fill)

    def receive(self, unpack: Callable[[Path], None]) -> None:
        """Take a fold that was fitted elsewhere: ``unpack`` puts its files into a folder, which must prove whole.

        Raises:
            FoldsmithError: the files are not what their records vouch for.
        """

        def fill(temporary: Path) -> None:
            unpack(temporary)
            if FoldStore(temporary).state(verify=True) == "missing":
                raise FoldsmithError(f"fold {self.path.name} of {self.path.parent.parent.name} came incomplete")

        self._appear(fill)

    def _appear(self, fill: Callable[[Path], None]) -> None:
        """Fill a temporary folder, make it durable, rename it into place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.mkdir()
        try:
            fill(temporary)
            for path in (*temporary.iterdir(), temporary):
                sync(path)
            if self.path.exists():  # a harmed fold is fitted again; a whole one never comes here
                shutil.rmtree(self.path)
            os.rename(temporary, self.path)
            sync(self.path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def save_done(self, valid: Outputs | None, test: Outputs | None, record: dict[str, Any]) -> None:
        """Stage 2: predictions of the validation rows ``(n_valid, n_outputs)`` and of the test rows.

        Where the family is fitted once more on all rows, a fold has no test rows, and that model no validation rows.
        """
        made = {name: rows for name, rows in (("valid.npy", valid), ("test.npy", test)) if rows is not None}
        for name, rows in made.items():
            write_array(self.path / name, rows, sync_folder=False)
        write_json(self.path / "done.json", {**record, "files": _vouch(self.path, made)})

    def forget_predictions(self) -> None:
        """Undo stage 2: the predictions were made for another test file. The record goes first."""
        for name in ("done.json", "valid.npy", "test.npy"):
            (self.path / name).unlink(missing_ok=True)

    def drop_model(self) -> None:
        """Delete the model; curve, predictions and records stay. The record stops vouching for it first.

        A fold that is not there, or whose record cannot be read, is left as it is.
        """
        try:
            record = self.fitted()
        except (FileNotFoundError, DamagedFileError):
            return
        files = record["files"]
        if record.get("model_dropped"):
            return
        kept = {name: entry for name, entry in files.items() if name == "curve.npy"}
        write_json(self.path / "fitted.json", {**record, "files": kept, "model_dropped": True})
        for name in files.keys() - kept.keys():
            (self.path / name).unlink(missing_ok=True)

    def fitted(self) -> dict[str, Any]:
        """The record of stage 1."""
        return read_json(self.path / "fitted.json")

    def done(self) -> dict[str, Any]:
        """The record of stage 2."""
        return read_json(self.path / "done.json")

    def curve(self) -> NDArray[np.float64] | None:
        """``(n_rounds,)`` the learning curve, None for a model without rounds."""
        path = self.path / "curve.npy"
        return np.asarray(read_array(path)) if path.exists() else None

    def valid(self) -> Outputs:
        """``(n_valid, n_outputs)`` memory-mapped."""
        return read_array(self.path / "valid.npy")

    def test(self) -> Outputs:
        """``(n_test, n_outputs)`` memory-mapped."""
        return read_array(self.path / "test.npy")

    def _vouched(self, name: str, verify: bool) -> bool:
        try:
            files = read_json(self.path / name)["files"]
            return all(_is_whole(self.path / file, entry, verify) for file, entry in files.items())
        except (OSError, FoldsmithError, KeyError, TypeError, AttributeError):
            return False


def _vouch(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": (folder / name).stat().st_size, "blake2b": file_digest(folder / name)} for name in names}


def _is_whole(path: Path, entry: dict[str, Any], verify: bool) -> bool:
    return path.stat().st_size == entry["bytes"] and (not verify or file_digest(path) == entry["blake2b"])
