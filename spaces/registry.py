"""Model families by name; a family's module is imported when it is asked for."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from foldsmith.problem.errors import InputError, MissingPackageError, UnknownNameError
from foldsmith.problem.usercode import load_object
from foldsmith.spaces.family import Family


@dataclass(frozen=True)
class FamilyEntry:
    """Where a family stands and what it needs.

    Args:
        target: ``module:Class``.
        package: the library that a plain install lacks, as it is imported and installed; None for none.
        extra: foldsmith's extra that brings the package; None for none.
        by_default: whether a search that names no family takes it.
    """

    target: str
    package: str | None = None
    extra: str | None = None
    by_default: bool = True

    @property
    def missing(self) -> str | None:
        """What is not installed and how to get it, None when nothing is missing; imports nothing."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        by_extra = f", or foldsmith with the extra [{self.extra}]" if self.extra else ""
        return f"the package {self.package!r} is not installed: pip install {self.package}{by_extra}"


# In the order in which a search starts them: the likely best first, then the ones that differ most from it.
FAMILIES = {
    "lightgbm": FamilyEntry("foldsmith.spaces.lightgbm:LightGBM"),
    "lightgbm_fe": FamilyEntry("foldsmith.spaces.lightgbm_fe:LightGBMFE"),
    "xgboost": FamilyEntry("foldsmith.spaces.xgboost:XGBoost"),
    "catboost": FamilyEntry("foldsmith.spaces.catboost:CatBoost", package="catboost", extra="catboost"),
    "linear": FamilyEntry("foldsmith.spaces.linear:Linear"),
    "extra_trees": FamilyEntry("foldsmith.spaces.forests:ExtraTrees"),
    "realmlp": FamilyEntry("foldsmith.spaces.realmlp:RealMLP"),
    "tabm": FamilyEntry("foldsmith.spaces.tabm:TabM"),
    "mlp": FamilyEntry("foldsmith.spaces.mlp:MLP"),
    "random_forest": FamilyEntry("foldsmith.spaces.forests:RandomForest"),
    "knn": FamilyEntry("foldsmith.spaces.knn:KNN"),
    "svm": FamilyEntry("foldsmith.spaces.svm:SVM", by_default=False),
    "gp": FamilyEntry("foldsmith.spaces.gp:GP", by_default=False),
    "tabicl": FamilyEntry("foldsmith.spaces.tabicl:TabICL", package="tabicl", extra="foundation", by_default=False),
    "tabpfn": FamilyEntry("foldsmith.spaces.tabpfn:TabPFN", package="tabpfn", extra="foundation", by_default=False),
}


def known_families() -> tuple[str, ...]:
    """Names of the families that ship with foldsmith, in starting order, installed or not."""
    return tuple(FAMILIES)


def available_families(*, by_default: bool = True) -> tuple[tuple[str, ...], dict[str, str]]:
    """What a search that names no family can take; asks without importing any library.

    Args:
        by_default: False counts the families that are off by default as well.

    Returns:
        Names in starting order, and the families whose package is missing, with the reason.
    """
    wanted = {name: entry for name, entry in FAMILIES.items() if entry.by_default or not by_default}
    skipped = {name: entry.missing for name, entry in wanted.items() if entry.missing is not None}
    return tuple(name for name in wanted if name not in skipped), skipped


def get_family(name: str, code_folder: Path | None = None) -> Family:
    """The family called ``name``, or the user's own ``module:Class`` from ``code_folder``.

    Raises:
        UnknownNameError: no such family.
        InputError: the user's object is not a family.
        MissingPackageError: the library behind the family is not installed.
    """
    if ":" in name:
        return _own_family(name, code_folder)
    if name not in FAMILIES:
        raise UnknownNameError("family", name, FAMILIES)
    entry = FAMILIES[name]
    if entry.missing is not None:
        raise MissingPackageError(f"family {name!r} cannot be used: {entry.missing}")
    module, class_name = entry.target.split(":")
    try:
        family: Family = getattr(importlib.import_module(module), class_name)()
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"family {name!r} needs the package {error.name!r}: pip install {error.name}"
        ) from None
    return family


def _own_family(name: str, code_folder: Path | None) -> Family:
    if code_folder is None:
        raise InputError(f"family {name!r} needs a competition folder with code/; it is loaded from there only")
    made = load_object(name, code_folder)()
    if not isinstance(made, Family):
        raise InputError(f"{name} is not a foldsmith.spaces.family.Family; derive the class from it")
    for attribute in ("name", "prefix"):
        if not isinstance(getattr(made, attribute, None), str):
            raise InputError(f"{name} has no {attribute}; give the class a short string {attribute!r}")
    return made
