"""Members on disk: anything with out-of-fold and test predictions under one contract.

members/<id>/meta.json, oof.npy, test.npy, folds/…
"""

import re
import shutil
import uuid
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from foldsmith.problem.errors import DamagedFileError, FoldsmithWarning, UnknownNameError
from foldsmith.problem.files import read_array, read_json, write_array, write_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.goal import Outputs
from foldsmith.problem.scoring import Scores
from foldsmith.results.fold_store import FoldStore

Stamp = tuple[int, int, int]
Kind = Literal["trial", "blend", "imported"]
State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Member:
    """What is known of a member apart from its arrays.

    Args:
        id: short and sortable, ``lgb-0012``.
        contract: hash of train file, target, metric and fold plan that the predictions belong to.
        family: of a trial; the method of a blend.
        policy: how the number of rounds was chosen (``cv-curve``, ``scored``, ``inner``, ``fixed``).
        params: of a trial; for a blend its weights by member id.
        scores: None until complete. A blend's scores are nested.
        seconds: CPU-slot seconds of all folds.
        seeds: ``model`` and ``sampler``.
        test_fingerprint: of the test file that ``test.npy`` predicts; empty when there is no such prediction.
        error: reason class and message of a failed trial.
        details: everything else that the family, the blend or the search wants remembered.
    """

    id: str
    kind: Kind
    state: State
    contract: str
    family: str
    metric: str
    policy: str = "fixed"
    space_version: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    scores: Scores | None = None
    seconds: float = 0.0
    seeds: dict[str, int] = field(default_factory=dict)
    test_fingerprint: str = ""
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    error: dict[str, str] | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``meta.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Member":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: something is missing, or is not of its kind.
        """
        return _MEMBERS.validate_python({key: record[key] for key in cls.__dataclass_fields__ if key in record})

    def __repr__(self) -> str:
        value = "no score" if self.scores is None else f"{self.metric} {self.scores.value:.6g}"
        return f"Member({self.id!r}, {self.kind}, {self.family}, {self.state}, {value})"


_MEMBERS = TypeAdapter(Member)


class MemberStore:
    """All members of a competition folder; safe for one writer per member and any number of readers."""

    def __init__(self, folder: Folder) -> None:
        self._root = folder.members
        self._identity = folder.store
        self._read: dict[str, tuple[Stamp, Member]] = {}
        self.judged: dict[Path, tuple[Stamp, str | None]] = {}  # what :mod:`.soundness` found of each array

    @property
    def identity(self) -> str:
        """What tells this store from that of another copy of the folder; made on the first call."""
        if not self._identity.exists():
            write_json(self._identity, {"id": uuid.uuid4().hex[:12]})
        try:
            return str(read_json(self._identity)["id"])
        except (DamagedFileError, KeyError):
            raise DamagedFileError(
                f"{self._identity} does not name this folder any more; 'foldsmith repair' restores it"
            ) from None

    def reserve(self, prefix: str) -> str:
        """A new id ``prefix-0001``, ``prefix-0002``, … reserved by creating its folder.

        A blend's prefix ``b`` gives ``b01``, ``b02``, …
        """
        self._root.mkdir(parents=True, exist_ok=True)
        pattern = re.compile(re.escape(prefix) + (r"(\d+)" if prefix == "b" else r"-(\d+)"))
        taken = [int(match[1]) for path in self._root.iterdir() if (match := pattern.fullmatch(path.name))]
        number = max(taken, default=0) + 1
        while True:
            member_id = f"b{number:02d}" if prefix == "b" else f"{prefix}-{number:04d}"
            try:
                (self._root / member_id).mkdir()
            except FileExistsError:
                number += 1
                continue
            return member_id

    def path(self, member_id: str) -> Path:
        """The member's folder."""
        return self._root / member_id

    def fold(self, member_id: str, repeat: int, fold: int) -> FoldStore:
        """One fold of the member."""
        return FoldStore(self._root / member_id / "folds" / f"{repeat}-{fold}")

    def refit(self, member_id: str, repeat: int) -> FoldStore:
        """The model that was fitted once more on all rows, for families that ask for it."""
        return FoldStore(self._root / member_id / "folds" / f"all-{repeat}")

    def stored_folds(self, member_id: str) -> list[FoldStore]:
        """The folds and refits that the member's folder holds, in order of name."""
        folders = sorted((self._root / member_id / "folds").glob("*-*"))
        return [FoldStore(path) for path in folders if path.is_dir() and not path.name.startswith(".")]

    def write(self, member: Member) -> None:
        """Write or replace ``meta.json``."""
        write_json(self._root / member.id / "meta.json", member.to_json())

    def finish(self, member: Member, oof: Outputs, test: Outputs | None) -> None:
        """Write the arrays ``(n_rows, n_outputs)``, ``(n_test, n_outputs)`` and then the complete record.

        Without a test prediction the member is for analysis only.
        """
        folder = self._root / member.id
        write_array(folder / "oof.npy", oof, sync_folder=False)
        if test is not None:
            write_array(folder / "test.npy", test, sync_folder=False)
        self.write(replace(member, state="complete"))

    def discard(self, member_id: str) -> None:
        """Delete what there is of a member that could not be written to its end."""
        shutil.rmtree(self._root / member_id, ignore_errors=True)

    def has(self, member_id: str) -> bool:
        """Whether the member has a record."""
        return (self._root / member_id / "meta.json").exists()

    def get(self, member_id: str) -> Member:
        """One member.

        Raises:
            UnknownNameError: no such member.
            DamagedFileError: its record cannot be read.
        """
        path = self._root / member_id / "meta.json"
        if Path(member_id).name != member_id or not path.exists():
            raise UnknownNameError("member", member_id, (member.id for member in self.all()))
        stamp = stamp_of(path)
        if member_id not in self._read or self._read[member_id][0] != stamp:
            self._read[member_id] = (stamp, _read_member(path))
        return self._read[member_id][1]

    def find(self, member_id: str) -> Member | None:
        """One member; None when there is none, or, with a warning, when its record is damaged."""
        if Path(member_id).name != member_id or not self.has(member_id):
            return None
        try:
            return self.get(member_id)
        except (DamagedFileError, PermissionError) as error:
            left_out(member_id, str(error))
            return None

    def all(self, *, contract: str | None = None, states: Iterable[State] | None = None) -> list[Member]:
        """Members sorted by id; of one contract and of some states if given.

        One whose record is damaged is left out, with a warning that names the file.
        """
        if not self._root.exists():
            return []
        wanted = None if states is None else set(states)
        members = [self.find(path.parent.name) for path in sorted(self._root.glob("*/meta.json"))]
        return [
            member
            for member in members
            if member is not None
            and (contract is None or member.contract == contract)
            and (wanted is None or member.state in wanted)
        ]

    def oof(self, member_id: str) -> Outputs:
        """``(n_rows, n_outputs)`` memory-mapped; NaN where the fold plan covers no row."""
        return self._array(member_id, "oof.npy")

    def test(self, member_id: str) -> Outputs:
        """``(n_test, n_outputs)`` memory-mapped."""
        return self._array(member_id, "test.npy")

    def _array(self, member_id: str, name: str) -> Outputs:
        path = self._root / member_id / name
        try:
            return read_array(path)
        except FileNotFoundError:
            raise DamagedFileError(f"{path} is missing; restore the file") from None


def left_out(member_id: str, reason: str) -> None:
    """Warn of a member that takes no part."""
    warnings.warn(f"{member_id} is left out: {reason}", FoldsmithWarning, stacklevel=3)


def stamp_of(path: Path) -> Stamp:
    """What changes with a file's content; two writes may fall into one tick of the clock."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


def _read_member(path: Path) -> Member:
    record = read_json(path)
    try:
        member = Member.from_json(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field_name = ".".join(map(str, first["loc"]))
        raise DamagedFileError(
            f"{path} is not the record of a member ({field_name}: {first['msg']}); restore the file"
        ) from None
    if member.id != path.parent.name:
        raise DamagedFileError(f"{path} is the record of {member.id!r}, another member; restore the file")
    return member
