"""Workers that do not see the competition folder: they get a copy of what a fold reads, and send back what it wrote."""

import fcntl
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import tomlkit

from foldsmith.problem.contract import open_problem
from foldsmith.problem.extra import pseudo_folder
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.jobs import Job


def sees(root: Path, identity: str) -> bool:
    """Whether ``root`` is, on this machine too, the folder that calls itself ``identity``."""
    folder = Folder(root)
    return folder.store.exists() and MemberStore(folder).identity == identity


def pack_problem(root: Path) -> bytes:
    """A tar file of what fitting a fold reads: config, data files, parsed tables, fold plans, the user's code."""
    problem = open_problem(root)
    folder, packed = problem.folder, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        config = problem.config.model_dump(exclude_none=True)
        for name, path in zip(("train", "test"), problem.data.paths, strict=True):
            tar.add(path, f"data/{name}{''.join(path.suffixes)}")
            config["data"][name] = f"data/{name}{''.join(path.suffixes)}"
        extra = [folder.resolve(name) for name in problem.config.data.extra]
        config["data"]["extra"] = [f"data/extra-{number}-{path.name}" for number, path in enumerate(extra)]
        for name, path in zip(config["data"]["extra"], extra, strict=True):
            tar.add(path, name)
        if problem.config.data.pseudo is not None:
            labels = pseudo_folder(folder, problem.config.data.pseudo)
            tar.add(labels, labels.relative_to(root))
        text = tomlkit.dumps(config).encode()
        header = tarfile.TarInfo(folder.config.name)
        header.size = len(text)
        tar.addfile(header, io.BytesIO(text))
        if folder.code.exists():
            tar.add(folder.code, "code", filter=lambda entry: None if "__pycache__" in entry.name else entry)
        tar.add(folder.folds, folder.folds.relative_to(root))
        for path in folder.tables.iterdir():
            if path.name.startswith((problem.data.train_fingerprint, problem.data.test_fingerprint)):
                tar.add(path, path.relative_to(root))
    return packed.getvalue()


def settle(packed: bytes) -> Path:
    """Unpack ``packed`` once on this machine, however many workers ask; returns the copy's root."""
    name = hashlib.blake2b(packed, digest_size=8).hexdigest()
    root = Path(tempfile.gettempdir()) / f"foldsmith-{os.getuid()}-{name}"
    root.mkdir(mode=0o700, exist_ok=True)
    with open(root / ".settling", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / ".settled").exists():
            with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
                tar.extractall(root, filter="data")
            (root / ".settled").touch()
    return root


def pack_fold(root: Path, job: Job) -> bytes:
    """A tar file of the fold that ``job`` fitted, which is then deleted here."""
    assert job.fold is not None
    store = MemberStore(Folder(root)).fold(job.member, job.repeat, job.fold)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(store.path.iterdir()):
            tar.add(path, path.name)
    shutil.rmtree(store.path)
    return packed.getvalue()


def receive_fold(root: Path, job: Job, packed: bytes) -> None:
    """Put a packed fold where it belongs.

    Raises:
        FoldsmithError: it did not come whole.
    """
    assert job.fold is not None

    def unpack(folder: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")

    MemberStore(Folder(root)).fold(job.member, job.repeat, job.fold).receive(unpack)
