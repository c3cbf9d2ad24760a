"""A copy of the store on an object store: pushed piece by piece, pulled only as far as it proves whole.

The names are those of the competition folder. Beside them lies one manifest per member with the size and digest of
each of its files. It is removed before a file of a member is replaced and written after the last one, so an upload
that was cut off leaves a member without a manifest, and such a member is never pulled.

    .foldsmith/members/<id>/…             models and arrays, each fold's records after them, meta.json last
    .foldsmith/mirror/members/<id>.json   the manifest
    .foldsmith/mirror/journal.json        size and digest of the journal; shared.json: of the files named last
    .foldsmith/study.journal, folds/, artifacts/, foldsmith.toml, code/
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from foldsmith.problem.errors import ContractError, FoldsmithError
from foldsmith.problem.files import FORMAT, file_digest, read_json, sync, write_bytes
from foldsmith.problem.folder import Folder
from foldsmith.results.fold_store import FoldStore
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.remote import Entry, Remote

MANIFESTS = ".foldsmith/mirror/members"
JOURNAL_MANIFEST = ".foldsmith/mirror/journal.json"
SHARED_MANIFEST = ".foldsmith/mirror/shared.json"
STAGES = ("missing", "fitted", "done")

Manifest = dict[str, Entry]
Pulled = Literal["fetched", "kept", "torn", "conflict"]


@dataclass
class PushReport:
    """What was uploaded; ``members`` are those of which something was new."""

    members: list[str] = field(default_factory=list)
    n_files: int = 0
    n_bytes: int = 0


@dataclass
class PullReport:
    """What became of each member on the mirror, by id; ``notes`` are for people.

    Args:
        torn: the upload was not finished, or the files are not what the manifest says.
        conflicts: another member with the same id lies here.
        journal: ``fetched``, ``kept`` (ours is as long or longer), ``diverged`` or ``none``.
    """

    fetched: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    journal: str = "none"


@dataclass(frozen=True)
class MirrorStatus:
    """How the mirror and the folder differ.

    Args:
        same: members that are there as they are here.
        behind: members that are not there, or not as they are here.
        only_there: whole members that are not here.
        torn: members whose upload was cut off.
        journal_behind_bytes: what the mirror's journal lacks; None when it is another one.
    """

    url: str
    same: list[str]
    behind: list[str]
    only_there: list[str]
    torn: list[str]
    journal_behind_bytes: int | None


class TornError(FoldsmithError):
    """What lies on the mirror is not what its manifest vouches for."""


class Mirror:
    """One competition folder and its mirror; for one thread at a time.

    Args:
        folder: what is mirrored, or restored.
        remote: where to.
    """

    def __init__(self, folder: Folder, remote: Remote) -> None:
        self._folder = folder
        self._remote = remote
        self._members = MemberStore(folder)
        self._known: dict[str, Manifest] | None = None
        self._shared: Manifest | None = None
        self._pictures: set[str] | None = None
        self._journal: Entry | None = None

    # --- pushing -----------------------------------------------------------------------------------------------

    def local_ids(self) -> list[str]:
        """Members that have a record."""
        return sorted(path.parent.name for path in self._folder.members.glob("*/meta.json"))

    def push_member(self, member_id: str, report: PushReport) -> None:
        """Upload what is new of a member: arrays and models first, records after what they vouch for, meta last.

        Raises:
            ContractError: the mirror holds another member under this id.
        """
        known = self._manifests().get(member_id, {})
        files = dict(self._member_files(member_id, known))
        if files == known:
            return
        manifest_name = f"{MANIFESTS}/{member_id}.json"
        if known:
            self._check_same(member_id, known)
            self._remote.remove(manifest_name)
            self._manifests()[member_id] = {}
        manifest: Manifest = {}
        for name, entry in files.items():
            if known.get(name) != entry:
                entry = self._remote.put(self._folder.root / name, name)
                report.n_files += 1
                report.n_bytes += entry["bytes"]
            manifest[name] = entry
        self._remote.put_bytes(_manifest_bytes(manifest), manifest_name)
        self._manifests()[member_id] = manifest
        report.members.append(member_id)
        for name in known.keys() - manifest.keys():  # models that the folder no longer keeps
            self._remote.remove(name)

    def _check_same(self, member_id: str, known: Manifest) -> None:
        try:
            there = self._read_member(self._name(self._members.path(member_id)), known)
        except TornError:
            return
        if _identity(there) != _identity(self._members.get(member_id)):
            raise ContractError(
                f"the mirror {self._remote.url} holds another member {member_id}: two searches write to it; "
                "give this folder a mirror of its own"
            )

    def push_shared(self, report: PushReport) -> None:
        """Upload config, own code, frozen folds and pictures of trials, where they are new or changed."""
        if self._shared is None:
            self._shared = _read_manifest(self._remote.read(SHARED_MANIFEST) or b"", "") or {}
        manifest = {self._name(path): _local_entry(path) for path in self._shared_files()}
        for name in manifest:
            if self._shared.get(name) != manifest[name]:
                manifest[name] = self._remote.put(self._folder.root / name, name)
                report.n_files += 1
                report.n_bytes += manifest[name]["bytes"]
        if manifest != self._shared:
            self._remote.put_bytes(_manifest_bytes(manifest), SHARED_MANIFEST)
            self._shared = manifest
        self._push_pictures(report)

    def _push_pictures(self, report: PushReport) -> None:
        """Pictures never change: their names say whether they are there."""
        here = self._folder.state / "artifacts"
        if not here.exists():
            return
        if self._pictures is None:
            self._pictures = set(self._remote.names(self._name(here)))
        for path in sorted(here.iterdir()):
            if path.is_file() and path.name not in self._pictures:
                report.n_bytes += self._remote.put(path, self._name(path))["bytes"]
                report.n_files += 1
                self._pictures.add(path.name)

    def push_journal(self, report: PushReport) -> None:
        """Upload the journal up to its last whole line, if it grew.

        Raises:
            ContractError: the mirror's journal is not the beginning of ours.
        """
        data = self._local_journal()
        entry = _entry(data)
        if self._journal is None:
            self._journal = self._journal_entry() or _entry(b"")
        if not data or entry == self._journal:
            return
        if _entry(data[: self._journal["bytes"]]) != self._journal:
            raise ContractError(
                f"the mirror {self._remote.url} holds the journal of another search, or of a later state of this one; "
                "give this folder a mirror of its own, or pull into a new folder and go on there"
            )
        self._remote.put_bytes(data, self._name(self._folder.journal))
        self._remote.put_bytes(json.dumps({"format": FORMAT, **entry}).encode(), JOURNAL_MANIFEST)
        self._journal = entry
        report.n_files += 1
        report.n_bytes += len(data)

    def _journal_entry(self) -> Entry | None:
        """Size and digest of the mirror's journal."""
        try:
            record = json.loads(self._remote.read(JOURNAL_MANIFEST) or b"")
            return {"bytes": int(record["bytes"]), "blake2b": str(record["blake2b"])}
        except (ValueError, KeyError, TypeError):
            return None

    def _local_journal(self) -> bytes:
        path = self._folder.journal
        data = path.read_bytes() if path.exists() else b""
        return data[: data.rfind(b"\n") + 1]

    def _shared_files(self) -> Iterator[Path]:
        folder = self._folder
        yield from (path for path in (folder.config, folder.launch, folder.driver) if path.exists())
        yield from (path for path in sorted(folder.code.rglob("*")) if path.is_file() and path.suffix != ".pyc")
        if folder.folds.exists():
            yield from (path for path in sorted(folder.folds.iterdir()) if _is_visible(path))

    def _member_files(self, member_id: str, known: Manifest) -> Iterator[tuple[str, Entry]]:
        """Name and entry of each file, in the order in which they are uploaded.

        Arrays are written before the record that goes with them: while that is as in ``known``, so are they, and
        gigabytes need not be read again to find out.
        """
        path = self._members.path(member_id)
        folds = path / "folds"
        for fold in sorted(folds.iterdir()) if folds.exists() else ():
            if not _is_visible(fold):
                continue
            store = FoldStore(fold)
            state = store.state()
            for record, is_there in (("fitted.json", state != "missing"), ("done.json", state == "done")):
                if is_there:
                    for name, entry in read_json(fold / record)["files"].items():
                        yield self._name(fold / name), entry
                    yield self._name(fold / record), _local_entry(fold / record)
        meta = path / "meta.json"
        is_known = meta.exists() and known.get(self._name(meta)) == _local_entry(meta)
        for name in ("oof.npy", "test.npy", "meta.json"):
            file = path / name
            if file.exists():
                entry = known.get(self._name(file)) if is_known else None
                is_same = entry is not None and entry["bytes"] == file.stat().st_size
                yield self._name(file), entry if is_same and entry is not None else _local_entry(file)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder.root).as_posix()

    def _manifests(self) -> dict[str, Manifest]:
        """By member, as they are on the mirror; read once."""
        if self._known is None:
            names = [name for name in self._remote.names(MANIFESTS) if name.endswith(".json")]
            found = self._remote.read_all(f"{MANIFESTS}/{name}" for name in names)
            read = {Path(name).stem: _read_manifest(data, Path(name).stem) for name, data in found.items()}
            self._known = {member: manifest for member, manifest in read.items() if manifest is not None}
        return self._known

    def _is_same(self, member_id: str, manifest: Manifest) -> bool:
        return dict(self._member_files(member_id, manifest)) == manifest

    # --- pulling -----------------------------------------------------------------------------------------------

    def pull(self) -> PullReport:
        """Restore what the mirror has and the folder lacks; call it while no search runs here.

        A member is taken only as a whole, a fold that is whole here is replaced only by one of a later stage, and the
        journal only by one that continues it.
        """
        report = PullReport()
        report.torn += self._pull_shared()
        for member_id in sorted(self._manifests()):
            becomes = self._pull_member(member_id, self._manifests()[member_id])
            {
                "fetched": report.fetched,
                "kept": report.kept,
                "torn": report.torn,
                "conflict": report.conflicts,
            }[becomes].append(member_id)
        report.torn = sorted({*report.torn, *self._torn()})
        report.journal = self._pull_journal()
        return report

    def _torn(self) -> list[str]:
        """Members with files but without a manifest."""
        return [name for name in self._remote.names(".foldsmith/members") if not self._manifests().get(name)]

    def _pull_shared(self) -> list[str]:
        """Fetch files that are missing here, those that are here stay as they are; names of those not whole."""
        torn = []
        manifest = _read_manifest(self._remote.read(SHARED_MANIFEST) or b"", "") or {}
        for name in manifest:
            if _is_shared(name) and not (self._folder.root / name).exists():
                try:
                    self._fetch(name, self._folder.root / name, manifest)
                except TornError:
                    torn.append(name)
        pictures = ".foldsmith/artifacts"
        for name in self._remote.names(pictures):
            path = self._folder.root / pictures / name
            if not path.exists() and (data := self._remote.read(f"{pictures}/{name}")) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, data)
        return torn

    def _pull_member(self, member_id: str, manifest: Manifest) -> Pulled:
        try:
            if not self._members.has(member_id):
                self._fetch_whole(member_id, manifest)
                return "fetched"
            return self._fetch_missing(member_id, manifest)
        except TornError:
            return "torn"

    def _fetch_whole(self, member_id: str, manifest: Manifest) -> None:
        """Fetch beside the members, then rename into place."""
        target = self._members.path(member_id)
        prefix = self._name(target)
        staged = self._folder.state / f"pulled-{uuid.uuid4().hex[:8]}.tmp"
        try:
            for name in manifest:
                self._fetch(name, staged / Path(name).relative_to(prefix), manifest)
            folds = sorted((staged / "folds").iterdir()) if (staged / "folds").exists() else []
            if not (staged / "meta.json").exists() or any(FoldStore(fold).state() == "missing" for fold in folds):
                raise TornError(f"{member_id} is not whole on {self._remote.url}")
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(target)
            sync(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _fetch_missing(self, member_id: str, manifest: Manifest) -> Pulled:
        """Complete a member that is here already."""
        path = self._members.path(member_id)
        prefix = self._name(path)
        here, there = self._members.get(member_id), self._read_member(prefix, manifest)
        if _identity(here) != _identity(there):
            return "conflict"
        if here.test_fingerprint != there.test_fingerprint:
            return "kept"  # ours was made ready for another test file
        is_new = False
        for fold in sorted({Path(name).parent for name in manifest if name.startswith(f"{prefix}/folds/")}):
            files = {name: entry for name, entry in manifest.items() if Path(name).parent == fold}
            store = FoldStore(self._folder.root / fold)
            stage = "done" if f"{fold.as_posix()}/done.json" in files else "fitted"
            if STAGES.index(store.state(verify=True)) < STAGES.index(stage):
                self._receive(store, files)
                is_new = True
        ends = here.state == "running" and there.state != "running"
        arrays = [name for name in ("oof.npy", "test.npy") if f"{prefix}/{name}" in manifest]
        for name in arrays:
            if ends or (here.state == there.state and not (path / name).exists()):
                self._fetch(f"{prefix}/{name}", path / name, manifest)
                is_new = True
        if ends:
            self._fetch(f"{prefix}/meta.json", path / "meta.json", manifest)
        return "fetched" if is_new or ends else "kept"

    def _receive(self, store: FoldStore, files: Manifest) -> None:
        def unpack(temporary: Path) -> None:
            for name in files:
                self._fetch(name, temporary / Path(name).name, files)

        try:
            store.receive(unpack)
        except FoldsmithError as error:
            raise TornError(str(error)) from None

    def _read_member(self, prefix: str, manifest: Manifest) -> Member:
        name = f"{prefix}/meta.json"
        data = self._remote.read(name)
        if data is None or _entry(data) != manifest.get(name):
            raise TornError(f"{name} is not what the manifest on {self._remote.url} says")
        return Member.from_json(json.loads(data))

    def _fetch(self, name: str, path: Path, manifest: Manifest) -> None:
        """Download one file and check it; it gets its name when it is whole.

        Raises:
            TornError: it is missing, or not what the manifest says.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            self._remote.fetch(name, temporary)
            if _local_entry(temporary) != manifest[name]:
                raise TornError(f"{name} is not what the manifest on {self._remote.url} says")
            sync(temporary)
            temporary.replace(path)
        except FileNotFoundError:
            raise TornError(f"{name} is missing on {self._remote.url}") from None
        finally:
            temporary.unlink(missing_ok=True)

    def _remote_journal(self) -> bytes | None:
        """The mirror's journal as far as its manifest vouches for it: a later upload only made it longer."""
        entry, data = self._journal_entry(), self._remote.read(self._name(self._folder.journal))
        if entry is None or data is None:
            return None
        return data[: entry["bytes"]] if _entry(data[: entry["bytes"]]) == entry else None

    def _pull_journal(self) -> str:
        here, there = self._local_journal(), self._remote_journal()
        if there is None:
            return "none"
        if here.startswith(there):
            return "kept"
        if not there.startswith(here):
            return "diverged"
        self._folder.state.mkdir(parents=True, exist_ok=True)
        write_bytes(self._folder.journal, there)
        return "fetched"

    # --- comparing ---------------------------------------------------------------------------------------------

    def status(self) -> MirrorStatus:
        """Compare without transferring a member."""
        manifests, here = self._manifests(), self.local_ids()
        same = [member for member in here if self._is_same(member, manifests.get(member, {}))]
        journal, there = self._local_journal(), self._remote_journal() or b""
        is_ours = journal.startswith(there) or there.startswith(journal)
        return MirrorStatus(
            self._remote.url,
            same,
            [member for member in here if member not in same],
            sorted(member for member in manifests.keys() - set(here) if manifests[member]),
            self._torn(),
            max(0, len(journal) - len(there)) if is_ours else None,
        )


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _is_shared(name: str) -> bool:
    """Whether a file belongs to no member, and a pull may put it into a competition folder."""
    alone = ("foldsmith.toml", ".foldsmith/launch.json", ".foldsmith/driver.json")
    return name in alone or name.startswith(("code/", ".foldsmith/folds/"))


def _identity(member: Member) -> tuple[Any, ...]:
    """What two members of one id must share to be the same one."""
    return member.kind, member.contract, member.family, member.created, member.params, member.seeds


def _entry(data: bytes) -> Entry:
    return {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=16).hexdigest()}


def _local_entry(path: Path) -> Entry:
    return {"bytes": path.stat().st_size, "blake2b": file_digest(path)}


def _manifest_bytes(manifest: Manifest) -> bytes:
    return json.dumps({"format": FORMAT, "files": manifest}, indent=1).encode() + b"\n"


def _read_manifest(data: bytes, member_id: str) -> Manifest | None:
    """A manifest; None when it is half-written or names files outside of its member (of the folder without one)."""
    prefix = f".foldsmith/members/{member_id}/" if member_id else ""
    try:
        files = {
            str(name): {"bytes": int(entry["bytes"]), "blake2b": str(entry["blake2b"])}
            for name, entry in json.loads(data)["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    steps = [step for name in files for step in name.split("/")]
    is_inside = all(name.startswith(prefix) for name in files) and not {"", ".", ".."} & set(steps)
    return files if is_inside else None
