"""From files to ``foldsmith.toml``: everything is checked before anything is written."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from foldsmith.flow.target import InferredTarget, infer_target
from foldsmith.problem.columns import Column, infer_columns
from foldsmith.problem.config import (
    Config,
    DataSection,
    ProblemSection,
    SearchSection,
    SplitSection,
    save_config,
    split_section,
)
from foldsmith.problem.contract import config_metric, propose_plan
from foldsmith.problem.dataset import (
    Dataset,
    Frames,
    open_dataset,
    read_frames,
    target_request,
    test_id_of,
    unknown_column,
)
from foldsmith.problem.decisions import default_decision
from foldsmith.problem.errors import ContractError, DamagedFileError, InputError
from foldsmith.problem.extra import read_extra
from foldsmith.problem.files import file_digest, read_json, write_json
from foldsmith.problem.floors import missing_class_remarks
from foldsmith.problem.fold_schemes import propose_n_folds
from foldsmith.problem.folder import Folder, check_spelled, is_utf8
from foldsmith.problem.goal import Task
from foldsmith.problem.ids import IdFiles, IdNames, find_ids
from foldsmith.problem.plain import as_names, plain
from foldsmith.problem.reading import read_header
from foldsmith.problem.settings import words_of
from foldsmith.problem.tables import Table, build_schema, type_frame
from foldsmith.problem.target import Target, read_target
from foldsmith.problem.words import Source
from foldsmith.results.submissions import SubmissionForm, constant_prediction, read_sample
from foldsmith.spaces.registry import get_family


@dataclass(frozen=True)
class SetupRequest:
    """What a person says about a new competition; None means infer.

    Args:
        train, test, sample: files.
        target, id, test_id, metric, task, positive: names.
        classes: all labels in order, from the lowest to the highest where the metric asks for it.
        keep_na: columns in which the text ``NA`` is a value.
        scheme, n_folds, group, time, gap, embargo, window, stratify, holdout, fold_file: the fold plan, as in
            :class:`foldsmith.problem.fold_schemes.FoldRequest`; the number of folds follows the rows.
        split_seed, model_seed, sampler_seed: the three seeds.
        families: names or ``module:Class``.
        extra: tables of more rows, with the target, that only train.
        columns: kinds by column, as in ``[columns]`` of the file; see :mod:`foldsmith.problem.settings`.
    """

    train: Path
    test: Path
    target: str
    sample: Path | None = None
    id: str | None = None
    metric: str | None = None
    task: Task | None = None
    positive: str | None = None
    test_id: str | None = None
    classes: tuple[str, ...] = ()
    keep_na: tuple[str, ...] = ()
    scheme: str | None = None
    n_folds: int | None = None
    group: str | None = None
    time: str | None = None
    gap: str | None = None
    embargo: str | None = None
    window: str | None = None
    stratify: tuple[str, ...] = ()
    holdout: float = 0.0
    fold_file: Path | None = None
    split_seed: int = 42
    model_seed: int = 0
    sampler_seed: int = 0
    families: tuple[str, ...] = ()
    extra: tuple[Path, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Python callers may give NumPy's numbers and texts, and paths as texts."""
        for one in fields(self):
            object.__setattr__(self, one.name, plain(getattr(self, one.name)))
        for name in ("train", "test", "sample", "fold_file"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        for name in ("families", "stratify", "classes", "keep_na"):
            object.__setattr__(self, name, as_names(getattr(self, name)))
        extra = [self.extra] if isinstance(self.extra, str | Path) else self.extra
        object.__setattr__(self, "extra", tuple(map(Path, extra)))


@dataclass(frozen=True)
class Setup:
    """A competition that was set up, and why it looks as it does.

    Args:
        remarks: how the files were understood where that is not plain from the files, one sentence each.
    """

    folder: Folder
    config: Config
    data: Dataset
    columns: tuple[Column, ...]
    reasons: dict[str, str]
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        data, problem = self.data, self.config.problem
        return (
            f"Setup({str(self.folder.root)!r}, {data.target.name}: {problem.task}, {problem.metric}, "
            f"{data.train.n_rows:,} train rows, {data.test.n_rows:,} test rows, {len(self.columns)} columns, "
            f"{len(self.remarks)} remarks)"
        )


def init(root: Path, request: SetupRequest) -> Setup:
    """Read the tables, infer what was not said, check that it can work, write ``foldsmith.toml``.

    Raises:
        InputError: whatever is wrong; then nothing was written.
        ContractError: ``root`` holds a competition already.
    """
    folder = Folder(root)
    if folder.config.exists():
        raise ContractError(f"{folder.config} exists already; edit it, or choose another folder")
    check_writable(root)
    ids = _find_ids(request)
    id_column, test_id = ids.stored
    frames = read_frames(
        request.train,
        request.test,
        target=request.target,
        id_column=id_column,
        test_id=test_id,
        as_text=words_of(request.columns),
        keep_na=request.keep_na,
    )
    target = infer_target(root, request, frames.train[request.target])
    config, columns, reasons = _infer(root, request, frames, ids, target)
    typed_test, remarks = _check(folder, config, frames, columns)
    extra_told = _extra_remarks(folder, config, typed_test, target.target)
    root.mkdir(parents=True, exist_ok=True)
    data = open_dataset(folder, config, frames, typed_test)
    write_json(_words_path(folder), {"words": _words(request)})
    save_config(folder.config, config, reasons)
    told = (*data.remarks, *ids.remarks, *target.remarks, *remarks, *extra_told)
    return Setup(folder, config, data, columns, reasons, told)


def _extra_remarks(folder: Folder, config: Config, typed_test: Table, target: Target) -> list[str]:
    """Refuse tables of more rows that do not fit; what is to be told of the others."""
    told: list[str] = []
    for name in config.data.extra:
        told += read_extra(folder.resolve(name), typed_test.schema, target, keep_na=config.data.keep_na).remarks
    return told


def _words_path(folder: Folder) -> Path:
    """What a competition was set up with, in the words of the request."""
    return folder.state / "init.json"


def _words(request: SetupRequest) -> dict[str, Any]:
    """A request as JSON values, its files as whole paths."""
    return {one.name: _plain(getattr(request, one.name)) for one in fields(request)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value.resolve()).decode(errors="backslashreplace")
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def check_same_words(root: Path, request: SetupRequest) -> None:
    """Refuse to set up again what was set up with other words; the same ones are no mistake: a cell was run again.

    Raises:
        ContractError: a word differs, or nobody knows with which words ``root`` was set up.
    """
    folder = Folder(root)
    try:
        before = read_json(_words_path(folder))["words"]
        usual = {one.name: _plain(one.default) for one in fields(SetupRequest) if one.default is not MISSING}
        before = {**usual, **before}
    except (FileNotFoundError, DamagedFileError, KeyError, TypeError):
        raise ContractError(
            f"{folder.config} exists already; open it with open_competition, edit it, or choose another folder"
        ) from None
    for name, value in _words(request).items():
        if value != before.get(name):
            raise ContractError(
                f"{folder.config} exists already, set up with {name}={before.get(name)!r}, not {value!r}; edit it, or "
                "choose another folder"
            )


def check_writable(root: Path) -> None:
    """Refuse a competition folder that is a file or cannot be written to, before anything is made."""
    check_spelled(root)
    if root.exists() and not root.is_dir():
        raise InputError(f"the output path {root} is a file; name a folder")
    parent = root
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"the output path {root} goes through {parent}, which is a file; name another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"the output path {root} cannot be written ({parent} is read-only); name another folder")


def _find_ids(request: SetupRequest) -> IdNames:
    """The ids; a target that train lacks is told before anything else."""
    header = read_header(request.train)
    if request.target not in header:
        raise InputError(unknown_column("target", request.target, request.train, header))
    return find_ids(IdFiles(request.train, request.test, request.target, request.sample, request.id, request.test_id))


def _infer(
    root: Path, request: SetupRequest, frames: Frames, ids: IdNames, found: InferredTarget
) -> tuple[Config, tuple[Column, ...], dict[str, str]]:
    target, metric = found.target, found.metric
    id_column, test_id = ids.stored
    # A group's rows never stand on both sides of a split: its name can only be learned by heart.
    overrides = dict(request.columns)
    if request.group is not None and request.group in frames.train.columns:
        overrides[request.group] = "id"
    columns = infer_columns(
        frames.train,
        frames.test,
        target=request.target,
        id_column=id_column,
        overrides=overrides,
        sources=(Source.of(request.train), Source.of(request.test)),
    )
    images = [column.name for column in columns if column.kind == "image"]
    if images:
        raise InputError(
            f"column {images[0]!r} holds paths of image files; they need the extra [image], which does not exist yet: "
            "drop the column"
        )
    for family in request.families:
        get_family(family, Folder(root).code)
    config = Config(
        data=DataSection(
            train=_stored_path(request.train, root),
            test=_stored_path(request.test, root),
            sample=None if request.sample is None else _stored_path(request.sample, root),
            id=id_column,
            test_id=test_id,
            target=[request.target],
            positive=target.positive,
            extra=tuple(_stored_path(path, root) for path in request.extra),
            keep_na=tuple(dict.fromkeys([*request.keep_na, *frames.keep_na])),
        ),
        problem=ProblemSection(task=target.task, metric=metric.name, classes=found.classes or None),
        split=_split(request, target.task, root, frames, found.y),
        columns=overrides,
        search=SearchSection(
            families=list(request.families), model_seed=request.model_seed, sampler_seed=request.sampler_seed
        ),
    )
    reasons = {f"column:{column.name}": f"{column.kind}, {column.reason}" for column in columns}
    if request.group in overrides:
        reasons[f"column:{request.group}"] = "id, the group: a name that can only be learned by heart"
    reasons["data.id"] = ids.reason
    reasons["problem.task"] = "given" if request.task else found.reason
    reasons["problem.metric"] = "given" if request.metric else f"the default for {target.task}"
    reasons["problem.classes"] = "given" if request.classes else "in the order of their numbers"
    return config, columns, reasons


def _split(request: SetupRequest, task: Task, root: Path, frames: Frames, y: NDArray[Any]) -> SplitSection:
    scheme = request.scheme
    if scheme is None:
        if request.fold_file is not None:
            scheme = "imported"
        elif request.time is not None:
            scheme = "time"
        elif request.group is not None:
            scheme = "group" if task == "regression" else "stratified_group"
        else:
            scheme = "stratified"
    values = {
        "scheme": scheme,
        "n_folds": request.n_folds or _n_folds(request, str(scheme), task, frames, y),
        "seed": request.split_seed,
        "group": request.group,
        "time": request.time,
        "gap": request.gap,
        "embargo": request.embargo,
        "window": request.window,
        "stratify": request.stratify,
        "holdout": request.holdout,
        "file": None if request.fold_file is None else _stored_path(request.fold_file, root),
    }
    return split_section(values)


def _n_folds(request: SetupRequest, scheme: str, task: Task, frames: Frames, y: NDArray[Any]) -> int:
    if scheme in ("time", "purged", "imported"):
        return 5
    is_grouped = request.group is not None and request.group in frames.train.columns
    return propose_n_folds(y, task, frames.train[request.group].nunique() if is_grouped else None)


def _stored_path(path: Path, root: Path) -> str:
    """Relative to the competition folder where the file lies inside it, else absolute.

    Raises:
        InputError: it cannot be written into ``foldsmith.toml``.
    """
    absolute, home = path.resolve(), root.resolve()
    name = str(absolute.relative_to(home)) if absolute.is_relative_to(home) else str(absolute)
    if not is_utf8(name):
        raise InputError(f"the path {path} is not UTF-8, which foldsmith.toml is written in; rename it")
    return name


def _check(
    folder: Folder, config: Config, frames: Frames, columns: tuple[Column, ...]
) -> tuple[Table, tuple[str, ...]]:
    """Metric, folds and sample must fit the data: the whole pipeline is walked once in memory.

    Returns:
        The typed test table, and what there is to say of folds and sample.
    """
    train, test = folder.resolve(config.data.train), folder.resolve(config.data.test)
    schema = build_schema(frames.train, columns, test=frames.test)
    if not any(column.kind not in ("id", "constant") for column in columns):
        raise InputError(f"{train.name} has no column to learn from besides id and target; add features")
    target, y, _ = read_target(frames.train[config.data.target[0]], target_request(config))
    metric = config_metric(folder, config)
    metric.check_fits(target.task, len(target.classes), y)
    table = type_frame(frames.test, schema)
    like_train = replace(table, n_rows=len(frames.train))  # nothing below looks at the values of train
    data = Dataset(
        like_train, table, target, y, file_digest(train), "", (train, test), config.data.id, test_id_of(config.data)
    )
    plan = propose_plan(folder, config, data)
    remarks = missing_class_remarks(plan, y, target)
    if config.data.sample is not None:
        sample = read_sample(folder.resolve(config.data.sample))
        form = SubmissionForm(target, metric, data.test_id_column, data.test_ids, sample, n_train=len(y))
        n_outputs = metric.goal(target.task, len(target.classes)).n_outputs
        decision = default_decision(metric, target.task, len(target.classes)) if metric.needs == "label" else None
        form.fill(constant_prediction(target, y, table.n_rows, n_outputs), decision)
        remarks = (*remarks, *form.remarks(n_outputs, decision))
    return table, remarks
