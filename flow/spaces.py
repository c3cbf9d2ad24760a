"""The search spaces of a competition: as they are, and shrunk around what was found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit

from foldsmith.problem.config import Config, load_config, read_config_text
from foldsmith.problem.contract import config_metric, open_problem
from foldsmith.problem.dataset import open_dataset
from foldsmith.problem.errors import InputError
from foldsmith.problem.files import write_bytes
from foldsmith.problem.folder import Folder
from foldsmith.results.comparable import comparable, own_version
from foldsmith.results.members import MemberStore
from foldsmith.results.top import ranked
from foldsmith.spaces.family import Facts, Family
from foldsmith.spaces.libraries import library_names
from foldsmith.spaces.overrides import check_tables, family_space
from foldsmith.spaces.portfolio import chosen_portfolios, portfolio_points
from foldsmith.spaces.registry import available_families, get_family
from foldsmith.spaces.shrink import as_override, shrink_space
from foldsmith.spaces.space import Param, Params


@dataclass(frozen=True)
class SpaceView:
    """A family's space for a competition.

    Args:
        changed: names of the parameters that ``foldsmith.toml`` changes.
        points: tried first, in order; ``defaults`` are those of them that are the family's own.
        reason: why the family cannot take the problem, None if it can; then the rest is empty.
    """

    family: str
    version: str
    params: dict[str, Param]
    changed: tuple[str, ...]
    points: list[Params]
    defaults: list[Params]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "params": {name: param_json(param) for name, param in self.params.items()}}


@dataclass(frozen=True)
class Shrunk:
    """A space shrunk around its best trials.

    Args:
        n_trials: complete ones at different points.
        before, after: the parameters that became smaller.
        toml: the table ``[spaces.<family>]`` that says so.
    """

    family: str
    n_trials: int
    before: dict[str, Param]
    after: dict[str, Param]
    toml: str


def param_json(param: Param) -> dict[str, Any]:
    """A parameter as plain values, with its kind."""
    return {"kind": type(param).__name__.lower(), **asdict(param)}


def problem_facts(root: Path) -> tuple[Folder, Config, Facts]:
    """What families may know of a competition; its folds need not be frozen yet."""
    folder = Folder(root)
    config = load_config(folder.config)
    data = open_dataset(folder, config)
    goal = config_metric(folder, config).goal(data.target.task, len(data.target.classes))
    return folder, config, Facts(goal, data.train.schema, data.train.n_rows)


def view_spaces(root: Path, names: Sequence[str] = ()) -> list[SpaceView]:
    """The spaces of some families; of those that a search would take by default if none is named.

    Raises:
        InputError: an unknown family, or ``[spaces]`` or the portfolio is wrong.
    """
    folder, config, facts = problem_facts(root)
    names = names or config.search.families or available_families()[0]
    check_tables(config.spaces, names)
    return [_view(name, get_family(name, folder.code), folder, config, facts) for name in names]


def _view(name: str, family: Family, folder: Folder, config: Config, facts: Facts) -> SpaceView:
    if reason := family.accepts(facts):
        return SpaceView(name, "", {}, (), [], [], reason)
    own, space = family.space(facts), family_space(name, family, facts, config.spaces)
    changed = tuple(key for key, param in space.params.items() if param != own.params.get(key))
    portfolios = chosen_portfolios(config.search.portfolio, folder.root)
    defaults = portfolio_points(family, facts, space=space, portfolios=[])
    points = portfolio_points(family, facts, space=space, portfolios=portfolios)
    return SpaceView(name, space.version, dict(space.params), changed, points, defaults)


def shrink(root: Path, name: str, top: float = 0.2, *, write: bool = False) -> Shrunk:
    """Shrink a family's space around its best complete trials of this contract.

    Args:
        top: the share of trials that count as the best.
        write: put the ranges into ``foldsmith.toml``; other lines and comments stay. The next search of the family
            begins a new study in the smaller space.

    Raises:
        InputError: too few trials, a senseless share, or nothing gets smaller.
    """
    problem = open_problem(root)
    family = get_family(name, problem.folder.code)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    own, space = family.space(facts), family_space(name, family, facts, problem.config.spaces)
    complete = MemberStore(problem.folder).all(contract=problem.contract, states=["complete"])
    members = comparable(complete, name, own_version(own.version))
    best_first = ranked(members, greater_is_better=problem.metric.greater_is_better)
    after = shrink_space(space, [member.params for member in best_first], top)
    if not after:
        raise InputError(f"the best trials of {name} span its whole space; nothing to shrink, search on")
    values = {key: as_override(param, own.params.get(key)) for key, param in after.items()}
    if write:
        write_overrides(problem.folder.config, name, values)
    before = {key: space.params[key] for key in after}
    return Shrunk(name, len(members), before, after, overrides_toml(name, values))


def overrides_toml(name: str, values: dict[str, Any]) -> str:
    """The table of a family as it stands in ``foldsmith.toml``."""
    document = tomlkit.document()
    _lay(document, name, values)
    return tomlkit.dumps(document)


def write_overrides(path: Path, name: str, values: dict[str, Any]) -> None:
    """Put values into ``[spaces.<name>]``; everything else in the file stays as it is written."""
    document = tomlkit.parse(read_config_text(path))
    _lay(document, name, values)
    write_bytes(path, tomlkit.dumps(document).encode())


def _lay(document: Any, name: str, values: dict[str, Any]) -> None:
    if "spaces" not in document:
        document.add("spaces", tomlkit.table(is_super_table=True))
    if name not in document["spaces"]:
        document["spaces"].add(name, tomlkit.table())
    table = document["spaces"][name]
    for key, value in values.items():
        written = next((old for old in table if _is_same(name, old, key)), key)
        table[written] = _item(value)


def _is_same(family: str, one: str, other: str) -> bool:
    """Whether two names mean one parameter: people may have written an alias of the library's."""
    names = library_names(family)
    return one == other or (one in names and names[one] == names.get(other, other))


def _item(value: Any) -> Any:
    if not isinstance(value, dict):
        return tomlkit.item(value)
    table = tomlkit.inline_table()
    table.update(value)
    return table


def parse_share(text: str) -> float:
    """``"20%"`` or ``"0.2"`` as a share.

    Raises:
        InputError: neither of the two.
    """
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"--top {text!r} is no share; give 20%, or 0.2") from None
