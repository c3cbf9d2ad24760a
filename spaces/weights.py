"""Pretrained weights as files: where they are looked for, and what a model made with them was made for.

foldsmith only reads them. A search on many workers should not download the same gigabyte in each, and some libraries
would open a browser to have a licence accepted; so the files are there before a search begins, or the family is
skipped with the command that fetches them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "FOLDSMITH_WEIGHTS"


@dataclass(frozen=True)
class Weights:
    """A pretrained model in one file, and the tables that its documentation recommends it for.

    Args:
        name: of the file, as its makers publish it.
        repository: on the Hugging Face hub.
        max_rows: of a table, predicted rows not counted.
        max_columns: of the encoded matrix.
        max_cpu_rows: what its makers find bearable without a GPU.
        max_classes: of the target.
    """

    name: str
    repository: str
    max_rows: int
    max_columns: int
    max_cpu_rows: int
    max_classes: int = 10

    @property
    def fetch_command(self) -> str:
        """What puts the file into the hub's cache, once, where there is a network."""
        return f"hf download {self.repository} {self.name}"


def find_weights(wanted: Sequence[Weights], caches: Sequence[Path] = ()) -> tuple[Weights, Path] | None:
    """The first of ``wanted`` that is a file, and where.

    Args:
        wanted: best first.
        caches: folders of the library's own, after the folder that ``FOLDSMITH_WEIGHTS`` names and before the hub's.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    for folder in ([Path(given).expanduser()] if given else []) + list(caches):
        for weights in wanted:
            if (folder / weights.name).is_file():
                return weights, folder / weights.name
    for weights in wanted:
        if (path := _in_hub_cache(weights)) is not None:
            return weights, path
    return None


def _in_hub_cache(weights: Weights) -> Path | None:
    """The file in the Hugging Face cache, the newest snapshot first; looks at the disk only."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = cache / f"models--{weights.repository.replace('/', '--')}" / "snapshots"
    found = [path for path in folder.glob(f"*/{weights.name}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def why_missing(wanted: Sequence[Weights]) -> str:
    """For people: no file was found, and what to do."""
    given = os.environ.get(FOLDER_VARIABLE)
    now = f"now {given!r}" if given else "not set"
    return (
        f"no pretrained weights on this machine; put {' or '.join(weights.name for weights in wanted[:2])} into the "
        f"folder that {FOLDER_VARIABLE} names ({now}), or fetch it once: {wanted[0].fetch_command}"
    )
