"""``foldsmith.toml``: the only file of a competition folder that people write."""

import codecs
import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from foldsmith.problem.errors import ContractError, InputError, UnknownNameError
from foldsmith.problem.files import FORMAT, write_bytes
from foldsmith.problem.folds import Scheme
from foldsmith.problem.goal import Task
from foldsmith.problem.settings import parse_setting

Executor = Literal["auto", "ray", "local", "inline", "tune"]
Pruner = Literal["auto", "none", "halving", "median", "hyperband", "wilcoxon"]
Stopping = Literal["cv-curve", "scored"]
Policy = Literal["auto", "round-robin", "equal-time", "best-single", "ensemble-gain"]


def _is_setting(text: str) -> str:
    parse_setting("", text)
    return text


ColumnSetting = Annotated[str, AfterValidator(_is_setting)]
"""A kind, and after a colon how the cells are read; see :mod:`foldsmith.problem.settings`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """The files, and the names of id and target.

    ``extra`` are tables of more rows, with the target, that only train; ``pseudo`` names pseudo labels of test rows.
    ``test_id`` is the id's name in the test file where it differs from ``id``, the name in train; without ``id`` only
    test has ids, and ``""`` says that test has none. ``keep_na`` names columns in which the text ``NA`` and its like
    (``null``, ``nan``, ``N/A``) is a word; everywhere else but in ids it is a missing value.
    """

    train: str
    test: str
    sample: str | None = None
    id: str | None = None
    test_id: str | None = None
    target: list[str] = Field(min_length=1, max_length=1)
    positive: str | None = None
    extra: tuple[str, ...] = ()
    pseudo: str | None = None
    keep_na: tuple[str, ...] = ()


class ProblemSection(_Section):
    """What is predicted and how it is judged.

    ``classes`` are all labels of the target in order, from the lowest to the highest where the metric asks for it; the
    labels that train has, when left out.
    """

    task: Task
    metric: str
    classes: tuple[str, ...] | None = None


class SplitSection(_Section):
    """How the rows are cut into folds; frozen once by ``foldsmith folds make``."""

    scheme: Scheme
    n_folds: Annotated[int, Field(ge=2)] = 5
    n_repeats: Annotated[int, Field(ge=1)] = 1
    seed: int = 42
    group: str | None = None
    time: str | None = None
    gap: str | int | None = None
    embargo: str | int | None = None
    window: str | int | None = None
    stratify: tuple[str, ...] = ()
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    file: str | None = None


def split_section(values: dict[str, Any]) -> SplitSection:
    """A split section from words that people gave.

    Raises:
        InputError: a wrong value; names it and what is expected.
    """
    try:
        return SplitSection.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}={first.get('input')!r}: {first['msg']}; correct it") from None


class FeaturesSection(_Section):
    """Feature transformers of the user's own, ``"module:name"`` in ``code/``; each sees the columns of those before."""

    use: list[str] = Field(default_factory=list)


class SearchSection(_Section):
    """Defaults of ``foldsmith search`` and ``run``; flags go before them.

    ``portfolio`` is ``"none"``, for a start from the families' own defaults alone, or a file to use instead of the
    user's own portfolio.
    ``stopping`` is how boosting chooses its rounds: ``cv-curve`` by the other folds' curves, ``scored`` by the curve of
    the fold that is scored itself, as most scripts do: it flatters, and members made so are marked.
    """

    families: list[str] = Field(default_factory=list)
    executor: Executor = "auto"
    policy: Policy = "auto"
    pruner: Pruner = "auto"
    stopping: Stopping = "cv-curve"
    storage: str | None = None
    model_seed: Annotated[int, Field(ge=0)] = 0
    sampler_seed: Annotated[int, Field(ge=0)] = 0
    portfolio: Annotated[str, Field(min_length=1)] | None = None


class RigSection(_Section):
    """What a search may use of the machine; flags go before it.

    ``gpus`` are devices as ``CUDA_VISIBLE_DEVICES`` takes them, all by default; ``per_gpu`` says how many folds of a
    family share one (0 keeps it on the CPU); ``workers`` are CPU folds side by side, one per core by default.
    ``address`` is a Ray cluster's; ``shared_folder`` is false when its other machines do not see the competition
    folder at the same path.
    """

    workers: Annotated[int, Field(ge=0)] = 0
    gpus: list[str | int] | None = None
    per_gpu: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    ram_limit: str = "80%"
    fold_timeout: str | None = None
    address: str | None = None
    shared_folder: bool = True


class StoreSection(_Section):
    """What is kept of finished members: predictions always, fitted models as ``keep_models`` says.

    ``"all"``, ``"top:30"`` (of the members by score) or ``"top:30+blend"`` (and those that a blend uses).
    ``mirror`` is the URL of an object store (``s3://bucket/path``) that gets a copy of every finished member.
    """

    keep_models: Annotated[str, Field(pattern=r"^(all|top:\d+(\+blend)?)$")] = "top:30+blend"
    mirror: Annotated[str, Field(pattern=r"^[a-z0-9+]+://.+$")] | None = None


class LeaderboardSection(_Section):
    """What is known of the competition's leaderboard.

    ``per_day`` submissions are taken by UTC day; ``public_share`` of the test rows make the public score;
    ``deadline`` is ISO 8601, UTC without an offset; ``kaggle`` the competition's name there, for ``lb submit``.
    """

    per_day: Annotated[int, Field(ge=1)] = 5
    public_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    deadline: str | None = None
    kaggle: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None

    @field_validator("deadline")
    @classmethod
    def _is_a_moment(cls, text: str | None) -> str | None:
        if text is not None:
            datetime.datetime.fromisoformat(text)
        return text


class HooksSection(_Section):
    """Shell commands that are run beside a search, with one JSON object on stdin.

    ``on_best``: a new best score; ``on_finish``: the search ended by itself; ``on_fail``: it ended with an error, or
    a family was closed because its trials fail.
    """

    on_best: str | None = None
    on_finish: str | None = None
    on_fail: str | None = None


class Config(_Section):
    """The whole file.

    Args:
        columns: kinds that people know better than the inference.
        spaces: ranges that people change, by family and parameter; :mod:`foldsmith.spaces.overrides` reads them.
    """

    format: int = FORMAT
    data: DataSection
    problem: ProblemSection
    split: SplitSection
    columns: dict[str, ColumnSetting] = Field(default_factory=dict)
    features: FeaturesSection = Field(default_factory=FeaturesSection)
    search: SearchSection = Field(default_factory=SearchSection)
    rig: RigSection = Field(default_factory=RigSection)
    store: StoreSection = Field(default_factory=StoreSection)
    hooks: HooksSection = Field(default_factory=HooksSection)
    leaderboard: LeaderboardSection = Field(default_factory=LeaderboardSection)
    spaces: dict[str, dict[str, Any]] = Field(default_factory=dict)


def read_config_text(path: Path) -> str:
    """The text of a configuration file; editors of some systems put a byte-order mark first, or write UTF-16.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16 with its mark.
    """
    content = path.read_bytes()
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig").replace("\r\n", "\n")


def load_config(path: Path) -> Config:
    """Read and check ``foldsmith.toml``.

    Raises:
        InputError: no such file, broken TOML, or a wrong key or value; names the key and what is expected.
        ContractError: written by a newer foldsmith.
    """
    if not path.exists():
        raise InputError(f"no {path.name} in {path.parent}; start with 'foldsmith run --train … --test … --target …'")
    try:
        record = tomllib.loads(read_config_text(path))  # many times as fast as tomlkit, which keeps comments
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    its_format = record.get("format", FORMAT)
    if isinstance(its_format, int) and its_format > FORMAT:
        raise ContractError(f"{path} has format {its_format}, this foldsmith reads up to {FORMAT}; upgrade it")
    try:
        return Config.model_validate(record)
    except ValidationError as error:
        raise _as_input_error(path, error) from None


def _as_input_error(path: Path, error: ValidationError) -> InputError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return UnknownNameError(f"key of {path.name}", where, _known_keys())
    if first["type"] == "missing":
        return InputError(f"{path}: {where} is missing; add it")
    reason = first["msg"].removeprefix("Value error, ")
    return InputError(f"{path}: {where} = {first.get('input')!r}: {reason}; correct it")


def _known_keys() -> list[str]:
    keys = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{key}" for key in section.model_fields]
        else:
            keys.append(name)
    return keys


def save_config(path: Path, config: Config, reasons: dict[str, str]) -> None:
    """Write a commented ``foldsmith.toml``.

    Args:
        reasons: a comment per column name or section key (``problem.metric``), why it was inferred.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment("What foldsmith predicts here, and how. Change it before the folds are frozen;"))
    document.add(tomlkit.comment("afterwards another metric, split or train file starts a new set of results."))
    document.add("format", tomlkit.item(config.format))
    for name, section in config.model_dump(exclude_none=True).items():
        if isinstance(section, dict) and section and name != "columns":
            document.add(name, _table(name, section, reasons))
    columns = tomlkit.table()
    columns.add(
        tomlkit.comment(
            'inferred kinds; overrule one by a line such as  Ticket = "text"  or  Date = "datetime:day-first"'
        )
    )
    for column, kind in config.columns.items():
        columns.add(column, kind)
    for column, reason in reasons.items():
        if column.startswith("column:"):
            columns.add(tomlkit.comment(_one_line(f"{column.removeprefix('column:')}: {reason}")))
    document.add("columns", columns)
    write_bytes(path, tomlkit.dumps(document).rstrip("\n").encode() + b"\n")


def change_split(path: Path, split: dict[str, Any], columns: Mapping[str, str] | None = None) -> None:
    """Change keys of [split], and kinds of [columns], in a written file; its comments stay.

    Raises:
        InputError: as :func:`load_config`, before and after the change; then the file stays as it was.
    """
    _change(path, {"split": split, "columns": dict(columns or {})})


def change_data(path: Path, data: dict[str, Any]) -> None:
    """Change keys of [data]; None takes one away. See :func:`change_split`."""
    _change(path, {"data": data})


def _change(path: Path, sections: dict[str, dict[str, Any]]) -> None:
    load_config(path)
    document = tomlkit.parse(read_config_text(path))
    for section, values in sections.items():
        table: Any = document.setdefault(section, tomlkit.table())
        for key, value in values.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
    try:
        Config.model_validate(document.unwrap())
    except ValidationError as error:
        raise _as_input_error(path, error) from None
    write_bytes(path, tomlkit.dumps(document).encode())


def _one_line(text: str) -> str:
    """What may stand in a comment: TOML allows no line breaks and other control characters there."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _table(name: str, section: dict[str, Any], reasons: dict[str, str]) -> Any:
    table = tomlkit.table()
    for key, value in section.items():
        item = tomlkit.item(value)
        if reason := reasons.get(f"{name}.{key}"):
            item.comment(_one_line(reason))
        table.add(key, item)
    return table
