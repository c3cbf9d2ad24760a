"""What the Optuna dashboard shows of a trial: a note in Markdown and a picture, written before the trial is told.

optuna_dashboard offers a function for notes, but importing it costs a driver more than a second; the two attributes
that it would write are written here, and the tests read them with its own functions.
"""

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from foldsmith.problem.errors import FoldsmithError
from foldsmith.results.fold_store import FoldStore
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.picture import FoldShape, draw_trial

# The dashboard splits longer notes into several attributes; one is enough, and can be replaced in one step.
MAX_NOTE_LENGTH = 2045
MAX_FOLDS = 12
MAX_PARAMS = 14
LOG_LINES = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldNote:
    """What is known of a fitted fold.

    Args:
        is_provisional: the score was measured before the fold's round was chosen.
        round: None for a model without rounds, or when the member was not finished.
    """

    fold: int
    score: float | None
    is_provisional: bool
    round: int | None
    seconds: float
    device: str
    stopped_by: str
    store: FoldStore


def artifact_store(journal: Path) -> FileSystemArtifactStore:
    """Where pictures of trials lie: ``artifacts`` beside the journal; reading needs no folder, writing makes it."""
    return FileSystemArtifactStore(artifact_folder(journal.parent))


def artifact_folder(state: Path) -> Path:
    """``artifacts`` in the folder ``.foldsmith``."""
    return state / "artifacts"


def describe_trial(
    study: optuna.Study,
    trial: optuna.Trial | FrozenTrial,
    member: Member,
    store: MemberStore,
    *,
    default: Mapping[str, Any] | None = None,
    curve_name: str = "validation curve",
) -> None:
    """Write a trial's note and picture; again, it replaces them.

    Call it before the trial is told: a finished trial, which Optuna refuses to change, stays as it is. A disk that is
    full or a file that cannot be read costs the note, never the search.

    Args:
        member: as stored, complete, pruned or failed.
        default: parameters to compare with; the study's first enqueued point when None.
        curve_name: what the family's learning curves measure.
    """
    try:
        folds = read_folds(member, store)
        picture = _save_picture(study, trial, member, folds, store.path(member.id).parents[1], curve_name)
        default = _first_point(study) if default is None else default
        _save_note(study, trial, trial_note(member, folds, default, picture))
    except UpdateFinishedTrialError:
        logger.info("%s was ended by another driver, which describes it", member.id)
    except (OSError, FoldsmithError) as error:
        logger.warning("no note on %s in the dashboard: %s", member.id, error)


def read_folds(member: Member, store: MemberStore) -> list[FoldNote]:
    """The fitted folds of the member's first repeat, in order."""
    numbers = sorted(int(path.name[2:]) for path in (store.path(member.id) / "folds").glob("0-*"))
    folds = {number: store.fold(member.id, 0, number) for number in numbers}
    return [_read_fold(member, number, fold) for number, fold in folds.items() if fold.state() != "missing"]


def _read_fold(member: Member, number: int, fold: FoldStore) -> FoldNote:
    record = fold.fitted()
    facts = record.get("facts") or {}
    rounds = member.details.get("rounds") or []
    is_scored = member.scores is not None and number < len(member.scores.per_fold)
    return FoldNote(
        number,
        member.scores.per_fold[number] if is_scored and member.scores is not None else record.get("provisional"),
        not is_scored,
        rounds[number] if number < len(rounds) else None,
        float(record.get("seconds", 0.0)),
        str(facts.get("device", "cpu")),
        str(facts.get("stopped_by", "")),
        fold,
    )


def trial_note(member: Member, folds: Iterable[FoldNote], default: Mapping[str, Any], picture: str) -> str:
    """The note in Markdown, at most ``MAX_NOTE_LENGTH`` characters; what matters least is cut.

    Args:
        default: the family's usual parameters, empty when there are none to compare with.
        picture: address of the picture in the dashboard.
    """
    folds = list(folds)
    head, rest = [_headline(member)], [f"![folds of {member.id}]({picture})"]
    if member.error is not None:
        message = _code(member.error.get("message", ""), 300)
        head.append(f"**{_code(member.error.get('reason', 'error'))}**: {message}")
    if folds:
        rest.append(_fold_table(folds))
    rest += [_param_table(member.params, default), f"[picture alone]({picture})"]
    room = MAX_NOTE_LENGTH - len("\n\n".join([*head, *rest]))
    return "\n\n".join([*head, *_log_block(member, room), *rest])[:MAX_NOTE_LENGTH]


def _headline(member: Member) -> str:
    words = [f"**{_code(member.id)}**", _code(member.family), member.state]
    if member.scores is not None:
        scores = member.scores
        words.append(f"{_code(member.metric)} **{scores.value:.6g}** ± {scores.sem:.2g}, pooled {scores.pooled:.6g}")
        words.append(f"{member.seconds:.3g} s")
    return " · ".join(words)


def _fold_table(folds: list[FoldNote]) -> str:
    score = "provisional score" if any(fold.is_provisional for fold in folds) else "score"
    names = "&emsp;|&emsp;".join(["fold", score, "round", "seconds", "device", "stopped by"])
    lines = [f"|&emsp;{names}&emsp;|", "|-:|-:|-:|-:|:-:|:-:|"]
    for fold in folds[:MAX_FOLDS]:
        score = "" if fold.score is None else f"{fold.score:.6g}"
        round = "" if fold.round is None else str(fold.round)
        words = [str(fold.fold + 1), score, round, f"{fold.seconds:.3g}", _plain(fold.device), _plain(fold.stopped_by)]
        lines.append(f"| {' | '.join(words)} |")
    if len(folds) > MAX_FOLDS:
        lines.append(f"| … | {len(folds) - MAX_FOLDS} more | | | | |")
    return "\n".join(lines)


def _param_table(params: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    changed = {name: value for name, value in params.items() if name not in default or default[name] != value}
    if not changed:
        return "All parameters are the family's default." if params else "No parameters."
    lines = ["What differs from the default:", "", "| parameter |&emsp;value |&emsp;default |", "|:-|-:|-:|"]
    for name, value in list(changed.items())[:MAX_PARAMS]:
        usual = _code(_value(default[name])) if name in default else ""
        lines.append(f"| {_code(name)} | {_code(_value(value))} | {usual} |")
    if len(changed) > MAX_PARAMS:
        lines.append(f"| … | {len(changed) - MAX_PARAMS} more | |")
    return "\n".join(lines)


def _log_block(member: Member, room: int) -> list[str]:
    """The last lines of a failed trial's log that fit, as a block of code; empty when none do."""
    tail = "" if member.error is None else member.error.get("tail", "")
    lines = [line.replace("```", "'''") for line in tail.rstrip().splitlines()[-LOG_LINES:]]
    room -= len("\n\n```text\n\n```")
    while lines and len("\n".join(lines)) > room:
        lines.pop(0)
    return ["```text\n" + "\n".join(lines) + "\n```"] if lines else []


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _code(text: str, limit: int = 60) -> str:
    """Somebody else's words as a code span: neither Markdown, nor HTML, nor the end of a table cell."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"`{_plain(short) or ' '}`"


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "/").split())


def _first_point(study: optuna.Study) -> dict[str, Any]:
    """The first point that was enqueued: the family's first default; empty when the sampler chose it."""
    storage = study._storage
    try:
        first = storage.get_trial_id_from_study_id_trial_number(study._study_id, 0)
    except KeyError:
        return {}
    point: dict[str, Any] = storage.get_trial(first).system_attrs.get("fixed_params", {})
    return point


def _save_picture(
    study: optuna.Study,
    trial: optuna.Trial | FrozenTrial,
    member: Member,
    folds: list[FoldNote],
    state: Path,
    curve_name: str,
) -> str:
    """Draw and store the picture; its address in the dashboard."""
    shapes = [FoldShape(fold.fold + 1, fold.score, fold.store.curve(), fold.round) for fold in folds]
    scores = member.scores
    svg = draw_trial(
        f"{member.id}  {member.family}{'' if member.state == 'complete' else '  ' + member.state}",
        shapes,
        score_name=member.metric if scores is not None else f"{member.metric} (provisional)",
        curve_name=curve_name,
        mean=None if scores is None else scores.mean,
        sem=None if scores is None else scores.sem,
    )
    pictures = artifact_folder(state)
    pictures.mkdir(parents=True, exist_ok=True)
    storage = study._storage
    name = f"{member.id}.svg"
    kept = [meta for meta in get_all_artifact_meta(trial, storage=storage) if meta.filename == name]
    with tempfile.TemporaryDirectory(dir=pictures, prefix=".new-") as folder:
        (Path(folder) / name).write_text(svg, encoding="utf-8")
        if kept:  # a trial taken up again after a crash has its picture already
            identity = kept[0].artifact_id
            (Path(folder) / name).replace(pictures / identity)
        else:
            identity = upload_artifact(
                artifact_store=FileSystemArtifactStore(pictures),
                file_path=str(Path(folder) / name),
                study_or_trial=trial,
                storage=storage,
                mimetype="image/svg+xml",
            )
    return f"/artifacts/{study._study_id}/{trial._trial_id}/{identity}"


def _save_note(study: optuna.Study, trial: optuna.Trial | FrozenTrial, note: str) -> None:
    """As optuna_dashboard stores it; the version last, for without it the note is not there."""
    key = f"dashboard:{trial._trial_id}"
    study._storage.set_study_system_attr(study._study_id, f"{key}:note_str:0", note)
    study._storage.set_study_system_attr(study._study_id, f"{key}:note_ver", 1)
