"""Mending a competition folder after damage: the studies' journal, and predictions that the folds still hold."""

import contextlib
import datetime
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.fitted import fitted_from_json
from foldsmith.flow.launch import last_storage
from foldsmith.flow.search import racer_of
from foldsmith.problem.config import Pruner, load_config
from foldsmith.problem.contract import Problem, mend_plan, open_problem
from foldsmith.problem.dataset import open_dataset
from foldsmith.problem.errors import DamagedFileError, FoldsmithError, InputError
from foldsmith.problem.files import read_json, write_bytes, write_json
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore
from foldsmith.results.soundness import why_damaged
from foldsmith.search.jobs import mean_prediction
from foldsmith.search.journal_rebuild import rebuild_journal
from foldsmith.search.journal_survey import Survey, survey
from foldsmith.search.locks import claim_driver
from foldsmith.search.opening import open_studies
from foldsmith.search.racing import get_racer

CLAIMED = 1e-6  # relative difference of a score from the recorded one

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Repaired:
    """What was mended.

    Args:
        n_lines: of the journal as it was.
        bad_lines: by number, why a line could not be used; empty when all could.
        cut_from: first line that was set aside because a line lost before it had made a trial or a study; None else.
        kept_as: the journal as it was; None when it stays as it is.
        adopted: members whose trials were made again from their records.
        restored: members whose predictions were put together again from their folds.
        damaged: what is wrong with members that could not be mended, by id.
        n_members: that are whole, all contracts together.
    """

    n_lines: int = 0
    bad_lines: dict[int, str] = field(default_factory=dict)
    cut_from: int | None = None
    kept_as: str | None = None
    adopted: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    damaged: dict[str, str] = field(default_factory=dict)
    n_members: int = 0

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return asdict(self)


def repair(root: Path, say: Callable[[str], None] = lambda line: None) -> Repaired:
    """Mend what can be mended; nothing is deleted, and no member is fitted again.

    Args:
        say: gets lines for people meanwhile.

    Raises:
        ContractError: a search runs here.
        InputError: the data itself cannot be read.
    """
    config = load_config(Folder(root).config)
    if mend_plan(Folder(root), config, open_dataset(Folder(root), config)):
        say("the frozen folds are whole again: the config makes the same ones")
    problem = open_problem(root)
    lock, folder = claim_driver(problem.folder)
    with lock:
        found, kept_as = _mend_journal(folder)
        if _mend_identity(folder):
            say(f"{folder.store.name} names this folder again")
        members = MemberStore(folder)
        restored, damaged = _mend_members(problem, members)
        adopted = _adopt(problem, members, say)
    whole = [member for member in members.all(states=["complete"]) if member.id not in damaged]
    place = None if kept_as is None else str(kept_as)
    return Repaired(found.n_lines, found.bad, found.cut_from, place, adopted, restored, damaged, n_members=len(whole))


def _mend_journal(folder: Folder) -> tuple[Survey, Path | None]:
    """Write the journal anew without its bad lines, after keeping a copy; nothing is done where there are none."""
    journal = folder.journal
    if not journal.exists():
        return Survey(), None
    found = survey(journal)
    if not found.bad:
        return found, None
    now = datetime.datetime.now(datetime.UTC)
    kept_as = journal.with_name(f"{journal.name}.damaged-{now:%Y%m%d-%H%M%S}")
    shutil.copy2(journal, kept_as)
    with open(journal, "rb") as file:
        bad = [f"line {number}: {reason}\n" for number, reason in found.bad.items()]
        lines = [line for number, line in enumerate(file, start=1) if number in found.bad]
    write_bytes(kept_as.with_name(f"{kept_as.name}.lines"), "".join(bad).encode() + b"".join(lines))
    rebuild_journal(journal, found.kept, MemberStore(folder))
    return found, kept_as


def _mend_identity(folder: Folder) -> bool:
    """Give the folder back the name that its trials know it by; whether that was needed."""
    try:
        return not MemberStore(folder).identity
    except DamagedFileError:
        names: Counter[str] = Counter()
        if folder.journal.exists():
            for line in folder.journal.read_bytes().splitlines():
                with contextlib.suppress(ValueError, AttributeError):
                    names[json.loads(line).get("user_attr", {}).get("store", "")] += 1
        del names[""]
        name = names.most_common(1)[0][0] if names else uuid.uuid4().hex[:12]
        write_json(folder.store, {"id": name})
        return True


def _adopt(problem: Problem, members: MemberStore, say: Callable[[str], None]) -> tuple[str, ...]:
    """Give trials to members that have none, in the folder's own journal; a database is mended by its own tools."""
    if last_storage(problem.folder) or problem.config.search.storage:
        return ()
    mine = members.all(contract=problem.contract)
    families = tuple(dict.fromkeys(member.family for member in mine if member.kind == "trial"))
    if not families:
        return ()
    adopted: list[str] = []
    search = problem.config.search
    racer = get_racer(racer_of(_last_pruner(problem.folder) or search.pruner, problem.data.train.n_rows))
    try:
        open_studies(
            problem,
            families,
            racer,
            storage_url=None,
            seed=search.sampler_seed,
            model_seed=search.model_seed,
            say=say,
            on_adopted=adopted.extend,
        )
    except DamagedFileError:
        raise
    except FoldsmithError as error:  # such as a family whose package is gone; the next search adopts the others
        say(f"trials are made again by the next search: {error}")
    return tuple(adopted)


def _last_pruner(folder: Folder) -> Pruner | None:
    try:
        pruner: Pruner | None = read_json(folder.launch)["request"].get("pruner")
    except (OSError, InputError, KeyError, TypeError, AttributeError):
        return None
    return pruner


def _mend_members(problem: Problem, members: MemberStore) -> tuple[tuple[str, ...], dict[str, str]]:
    """Put damaged predictions together again; returns who was mended, and what is wrong with the others."""
    restored: list[str] = []
    damaged: dict[str, str] = {}
    for path in sorted(problem.folder.members.glob("*/meta.json")):
        name = path.parent.name
        try:
            member = members.get(name)
        except (DamagedFileError, PermissionError) as error:
            damaged[name] = str(error)
            continue
        if member.state != "complete" or member.contract != problem.contract:
            continue
        if (reason := why_damaged(problem, members, member)) is None:
            continue
        if _restore(problem, members, member):
            restored.append(name)
        else:
            damaged[name] = reason
    return tuple(restored), damaged


def _restore(problem: Problem, members: MemberStore, member: Member) -> bool:
    """Whether a member's predictions could be made again exactly from what its folds, or its members, hold."""
    try:
        if member.kind == "blend":
            return _restore_blend(problem, members, member)
        return member.kind == "trial" and _restore_trial(problem, members, member)
    except (FoldsmithError, OSError, KeyError, ValueError, TypeError):
        return False


def _restore_trial(problem: Problem, members: MemberStore, member: Member) -> bool:
    stores = [members.fold(member.id, 0, fold) for fold in range(problem.plan.n_folds)]
    if not all(store.state(verify=True) == "done" for store in stores):
        return False
    oof = np.full((problem.data.train.n_rows, problem.goal.n_outputs), np.nan, stores[0].valid().dtype)
    for fold, store in enumerate(stores):
        oof[problem.plan.split(0, fold)[1]] = store.valid()
    if not _is_claimed(problem, member, oof):
        return False
    refit = members.refit(member.id, 0)
    if refit.state(verify=True) == "done":
        test = np.asarray(refit.test())
    else:
        test = mean_prediction(problem, [store.test() for store in stores])
    members.finish(member, oof, test)
    return why_damaged(problem, members, member) is None


def _restore_blend(problem: Problem, members: MemberStore, member: Member) -> bool:
    """A blend's test prediction follows from its members; its nested predictions cannot be had again."""
    oof = np.asarray(members.oof(member.id))
    parts: Sequence[str] = list(member.params)
    if any(why_damaged(problem, members, members.get(name)) for name in parts) or not _is_claimed(problem, member, oof):
        return False
    fitted = fitted_from_json(member.details["model"])
    members.finish(member, oof, fitted.predict({name: members.test(name) for name in fitted.weights}))
    return why_damaged(problem, members, member) is None


def _is_claimed(problem: Problem, member: Member, oof: Rows) -> bool:
    """Whether predictions have the score that the record says."""
    if member.scores is None or len(oof) != problem.data.train.n_rows:
        return False
    value = score_oof(problem.judge, oof).value
    return abs(value - member.scores.value) <= CLAIMED * max(1e-3, abs(member.scores.value))
