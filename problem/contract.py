"""A problem ready to be searched: data, metric and a frozen fold plan, named by one hash, the contract."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foldsmith.problem import cells
from foldsmith.problem.config import Config, load_config, split_section
from foldsmith.problem.dataset import Dataset, open_dataset
from foldsmith.problem.errors import ContractError, DamagedFileError, InputError
from foldsmith.problem.files import digest, read_json, write_json
from foldsmith.problem.fit_units import BAND, BAND_IN_TIME, FitUnits
from foldsmith.problem.floors import ChanceFloor
from foldsmith.problem.fold_schemes import repeat_seed
from foldsmith.problem.folder import Folder, check_spelled
from foldsmith.problem.folds import FoldBasis, FoldPlan, FoldRequest, make_folds, read_assignment, spread_plan
from foldsmith.problem.goal import Goal
from foldsmith.problem.metrics import Metric, get_metric
from foldsmith.problem.reading import read_frame
from foldsmith.problem.scales import needs_order, require_order
from foldsmith.problem.scoring import Judge
from foldsmith.problem.tables import Schema
from foldsmith.problem.usercode import source_digest


@dataclass(frozen=True)
class Problem:
    """Everything that a member's predictions belong to."""

    folder: Folder
    config: Config
    data: Dataset
    metric: Metric
    plan: FoldPlan

    @property
    def goal(self) -> Goal:
        """What the families fit."""
        return self.metric.goal(self.data.target.task, len(self.data.target.classes))

    @property
    def judge(self) -> Judge:
        """The metric on this problem's labels and folds."""
        target = self.data.target
        return Judge(self.metric, target.task, len(target.classes), self.data.y, self.plan)

    @cached_property
    def contract(self) -> str:
        """Hash of (train fingerprint, targets, metric, fold plan): the namespace of studies, members and blends."""
        return contract_hash(self.folder, self.config, self.data.train_fingerprint, self.plan.hash)

    @cached_property
    def units(self) -> FitUnits | None:
        """The units that families fit values in; None where they fit classes."""
        if self.goal.is_classification:
            return None
        band = BAND_IN_TIME if self.plan.is_forward else BAND
        return FitUnits.of(self.data.y, log1p=self.goal.log1p, band=band)

    def units_of(self, record: dict[str, Any]) -> FitUnits | None:
        """The units that a stored model was fitted in; models of versions before 0.2 have plain ones.

        Args:
            record: of a fitted fold, see :class:`foldsmith.results.fold_store.FoldStore`.
        """
        if self.goal.is_classification:
            return None
        if "units" not in record:
            return FitUnits(log1p=self.goal.log1p)
        return FitUnits.from_json(record["units"])

    @cached_property
    def fit_y(self) -> NDArray[Any]:
        """``(n_rows,)`` labels as families fit them: class codes, or values in :attr:`units`."""
        return self.to_fit(self.data.y)

    def to_fit(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels ``(n,)`` of any rows as families fit them."""
        if self.units is None:
            return y
        return self.units.to_fit(y)

    def floor_of(self, repeat: int, fold: int | None) -> ChanceFloor | None:
        """The floor of a model's chances of classes that its train rows lack; None where it has all.

        Args:
            fold: whose model it is; None for a model of all rows.
        """
        rows = np.flatnonzero(~self.plan.holdout) if fold is None else self.plan.split(repeat, fold)[0]
        return ChanceFloor.of(self.metric, self.goal, self.data.y[rows])

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What each prediction column means: target, and class or None for a value."""
        target = self.data.target
        if self.goal.kind == "regression":
            return [{"target": target.name, "class": None}]
        classes = target.classes if self.goal.kind == "multiclass" else target.classes[1:]
        return [{"target": target.name, "class": name} for name in classes]


def contract_hash(folder: Folder, config: Config, train_fingerprint: str, fold_hash: str) -> str:
    """The contract's name, 12 hexadecimal digits; a user's metric counts with its source."""
    metric = config_metric(folder, config).name  # not as the file spells it: ROC-AUC is auc
    code = source_digest(metric, folder.code) if ":" in metric else ""
    return digest(train_fingerprint, config.data.target, metric, code, fold_hash)


def config_metric(folder: Folder, config: Config) -> Metric:
    """The metric that the config names."""
    return get_metric(config.problem.metric, folder.code)


def fold_request(config: Config) -> FoldRequest:
    """The split section as a request to make folds."""
    return FoldRequest(**config.split.model_dump())


def propose_plan(folder: Folder, config: Config, data: Dataset) -> FoldPlan:
    """Make the fold plan that the config asks for, without freezing it.

    Raises:
        InputError: too many folds, unknown group or time column, a fold file that does not fit.
    """
    return make_folds(fold_request(config), _fold_basis(folder, config, data))


def _fold_basis(folder: Folder, config: Config, data: Dataset) -> FoldBasis:
    """The columns that the config's folds are made from."""
    split, target = config.split, data.target
    columns = list(dict.fromkeys(name for name in (split.group, split.time, *split.stratify) if name))
    frame = read_frame(data.paths[0], columns=columns, keep_na=config.data.keep_na) if columns else None
    assignment = None
    if split.file:
        assignment = read_assignment(folder.resolve(split.file), data.train_ids, data.id_column)
    return FoldBasis(
        data.y,
        target.task,
        groups=None if frame is None or not split.group else frame[split.group].to_numpy(),
        times=None if frame is None or not split.time else _times(frame[split.time], data.train.schema),
        assignment=assignment,
        further=() if frame is None else tuple(frame[name].to_numpy() for name in split.stratify),
        classes=target.classes,
    )


def _times(series: pd.Series, schema: Schema) -> NDArray[Any]:
    """The times that order the rows, read as the table's column is: a day stays a day and a month a month."""
    formats = schema.time_formats.get(str(series.name))
    if formats is None:
        return np.asarray(series.to_numpy())
    return cells.times(series, formats).view("datetime64[us]")


def repeated_plan(problem: Problem, repeat: int) -> FoldPlan:
    """The same kind of folds drawn anew, without the frozen plan's holdout rows; ``repeat`` counts from 1.

    Raises:
        InputError: these folds have no chance in them.
    """
    split, frozen = problem.config.split, problem.plan
    if split.scheme in ("time", "purged", "imported", "leave_one_group_out"):
        raise InputError(
            f"{split.scheme} folds cannot be drawn anew: there is one such plan; 'foldsmith compare' redraws the rows"
        )
    request = replace(fold_request(problem.config), seed=repeat_seed(split.seed, repeat), n_repeats=1, holdout=0.0)
    basis = _fold_basis(problem.folder, problem.config, problem.data)
    return spread_plan(make_folds(request, basis.rows(~frozen.holdout)), frozen.holdout)


def freeze_plan(folder: Folder, config: Config, data: Dataset) -> FoldPlan:
    """Make the fold plan and freeze it for this train file.

    Raises:
        ContractError: this train file has a frozen plan already.
    """
    pointer = _plan_pointer(folder, data.train_fingerprint)
    if pointer.exists():
        frozen = read_json(pointer)["hash"]
        raise ContractError(
            f"the folds are frozen as {frozen}; results were made under them: use another folder for other folds"
        )
    plan = propose_plan(folder, config, data)
    folder.folds.mkdir(parents=True, exist_ok=True)
    plan.save(folder.folds / f"{plan.hash}.parquet")
    write_json(pointer, {"hash": plan.hash, "split": config.split.model_dump()})
    return plan


def freeze_as(folder: Folder, problem: Problem, plan: FoldPlan) -> None:
    """Freeze a given plan in another folder with the same train file, for folds that are drawn anew."""
    folder.folds.mkdir(parents=True, exist_ok=True)
    plan.save(folder.folds / f"{plan.hash}.parquet")
    pointer = _plan_pointer(folder, problem.data.train_fingerprint)
    write_json(pointer, {"hash": plan.hash, "split": problem.config.split.model_dump()})


def frozen_plan(folder: Folder, config: Config, data: Dataset) -> FoldPlan | None:
    """The plan frozen for this train file, None when there is none yet.

    Raises:
        ContractError: the config now asks for another split than the frozen one, or the stored plan was changed.
    """
    pointer = _plan_pointer(folder, data.train_fingerprint)
    if not pointer.exists():
        return None
    record = read_json(pointer)
    asked = config.split.model_dump()
    try:
        frozen = split_section(record["split"]).model_dump()
        path = folder.folds / f"{record['hash']}.parquet"
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise DamagedFileError(
            f"{pointer} does not say which folds were frozen; 'foldsmith repair' restores it"
        ) from None
    if frozen != asked:
        changed = sorted(key for key in asked if asked[key] != frozen[key])
        raise ContractError(
            f"the folds are frozen as {record['hash']}, but [split] in {folder.config.name} now asks for another "
            f"{', '.join(changed)}; put it back, or use another folder"
        )
    return FoldPlan.load(path)


def mend_plan(folder: Folder, config: Config, data: Dataset) -> bool:
    """Freeze once more what was frozen for this train file, where the record or the plan was damaged.

    The same config makes the same folds; those under which results were made lie in the folder under their hash.

    Returns:
        Whether something was damaged, and is whole now.
    """
    pointer = _plan_pointer(folder, data.train_fingerprint)
    if not pointer.exists():
        return False
    try:
        frozen_plan(folder, config, data)
        return False
    except InputError:
        plan = propose_plan(folder, config, data)
        if not (folder.folds / f"{plan.hash}.parquet").exists():
            return False
    except ContractError:
        plan = propose_plan(folder, config, data)
        if read_json(pointer).get("hash") != plan.hash:
            return False
        plan.save(folder.folds / f"{plan.hash}.parquet")
    write_json(pointer, {"hash": plan.hash, "split": config.split.model_dump()})
    return True


def is_frozen(problem: Problem) -> bool:
    """Whether the problem's fold plan is written down for its train file."""
    return _plan_pointer(problem.folder, problem.data.train_fingerprint).exists()


def _plan_pointer(folder: Folder, train_fingerprint: str) -> Path:
    return folder.folds / f"{train_fingerprint}.json"


def open_problem(root: Path, *, freeze: bool = False, propose: bool = False) -> Problem:
    """Open a competition folder.

    Args:
        freeze: make and freeze the proposed fold plan when there is none yet.
        propose: make it without freezing it.

    Raises:
        InputError: no config, wrong files or values, or no fold plan and not ``freeze``.
        ContractError: the frozen fold plan and the config differ.
    """
    check_spelled(root)
    folder = Folder(root)
    config = load_config(folder.config)
    data = open_dataset(folder, config)
    metric = config_metric(folder, config)
    metric.check_fits(data.target.task, len(data.target.classes), data.y)
    if needs_order(metric, data.target) and not config.problem.classes:
        require_order(metric, data.target)
    plan = frozen_plan(folder, config, data)
    if plan is None:
        if not (freeze or propose):
            raise InputError(f"no folds are frozen in {root}; run 'foldsmith folds make' or 'foldsmith search' first")
        plan = freeze_plan(folder, config, data) if freeze else propose_plan(folder, config, data)
    return Problem(folder, config, data, metric, plan)
